//! The past of one partition: what was last seen of each key.
//!
//! Copies share all that has not changed since (persistent maps), so that a step can be undone and a snapshot taken at no cost that grows
//! with the number of keys.

use std::collections::VecDeque;
use std::sync::Arc;

use rpds::{HashTrieMapSync, RedBlackTreeMapSync};

use super::Per;
use super::past::Past;

/// What a table has to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) per: Per,
    pub(super) max_keys: usize,
    /// Cells looked back at, and how many events.
    pub(super) reaches: Vec<(usize, usize)>,
}

impl Layout {
    /// Makes room for the last `events` values of `cell`.
    pub(super) fn reach(&mut self, cell: usize, events: usize) {
        match self.reaches.iter_mut().find(|(of, _)| *of == cell) {
            Some((_, reach)) => *reach = events.max(*reach),
            None => self.reaches.push((cell, events)),
        }
    }
}

/// What the events of one partition have left behind, as far as a [`Derivation`](super::Derivation) looks back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// What it was made for, in words.
    pub(super) formulas: Arc<[String]>,
    pub(super) tables: Vec<Table>,
}

/// The past of each key of one kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Table {
    /// Cells and reaches, as the layout has them.
    pub(super) reaches: Arc<[(usize, usize)]>,
    pub(super) pasts: HashTrieMapSync<Arc<[u8]>, Past>,
    /// The keys by when they were last seen.
    pub(super) order: RedBlackTreeMapSync<u64, Arc<[u8]>>,
    /// Events so far.
    pub(super) seen: u64,
}

impl Memory {
    pub(super) fn new(formulas: Vec<String>, layouts: &[Layout]) -> Self {
        let table = |layout: &Layout| Table { reaches: layout.reaches.clone().into(), ..Table::default() };
        Self { formulas: formulas.into(), tables: layouts.iter().map(table).collect() }
    }

    /// Whether nothing was ever to be remembered.
    pub fn is_blank(&self) -> bool {
        self.formulas.is_empty()
    }

    /// Whether `other` was made for the same columns.
    pub fn is_of_the_same(&self, other: &Self) -> bool {
        let reaches = |memory: &Self| memory.tables.iter().map(|table| Arc::clone(&table.reaches)).collect::<Vec<_>>();
        self.formulas == other.formulas && reaches(self) == reaches(other)
    }

    /// What it was made for, in words.
    pub fn formulas(&self) -> &[String] {
        &self.formulas
    }

    /// Keys whose past is remembered.
    pub fn keys(&self) -> usize {
        self.tables.iter().map(|table| table.pasts.size()).sum()
    }

    pub(super) fn past(&self, table: usize, key: &[u8]) -> Option<&Past> {
        self.tables[table].pasts.get(key)
    }

    /// Takes an event of `key` in.
    pub(super) fn follow(&mut self, table: usize, layout: &Layout, key: &[u8], row: &[f64], time_ms: Option<i64>) {
        let Table { pasts, order, seen, reaches } = &mut self.tables[table];
        *seen += 1;
        if let Some(past) = pasts.get_mut(key) {
            let name = order.get(&past.used).map_or_else(|| key.into(), Arc::clone);
            order.remove_mut(&past.used);
            order.insert_mut(*seen, name);
            past.used = *seen;
            past.push(reaches, row, time_ms);
            return;
        }
        while pasts.size() >= layout.max_keys {
            let Some((used, oldest)) = order.first().map(|(used, key)| (*used, Arc::clone(key))) else { break };
            order.remove_mut(&used);
            pasts.remove_mut(&oldest);
        }
        let mut past =
            Past { used: *seen, time_ms: None, recent: reaches.iter().map(|(cell, _)| (*cell, VecDeque::new())).collect() };
        past.push(reaches, row, time_ms);
        let name: Arc<[u8]> = key.into();
        order.insert_mut(*seen, Arc::clone(&name));
        pasts.insert_mut(name, past);
    }
}
