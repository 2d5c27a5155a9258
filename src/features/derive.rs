//! Columns that are worked out from an event's time and from what came before it: seasons, gaps, lags, differences, rolling statistics.
//!
//! A [`Derivation`] says which, and appends them to the columns of an event. What it takes to know the past is a [`Memory`], a fold over
//! the events of one partition: bounded, kept in the snapshot, and cheap to copy, since copies share what hasn't changed. Every derived
//! cell is a function of the event and of the events before it, so it can be known when the event is scored; NaN says that there is no
//! such past yet. Times are UTC.

mod formula;
mod memory;
mod past;
mod season;
mod snapshot;

use super::{Column, Kind, RowsView, Schema};

pub use formula::{Formula, Phase, Statistic};
pub use memory::Memory;
pub use season::Season;

use memory::Layout;

/// Events that a lag, a difference or a window reaches back at most.
pub const MAX_REACH: usize = 2048;

/// Keys remembered where nobody says how many.
pub const DEFAULT_KEYS: usize = 10_000;

/// Bytes of the values that a partition's memory may come to hold.
pub const MAX_MEMORY_BYTES: usize = 64 << 20;

/// Bytes that a key takes beside its values, about.
const KEY_BYTES: usize = 300;

/// Whose past it is that an event is held against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Per {
    /// That of all events of the partition.
    #[default]
    Partition,
    /// That of the events with the same record key. An event without a key has none.
    RecordKey,
    /// That of the events with the same text in this cell, a category's. An event without one has none.
    Cell(usize),
}

/// A column to be derived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived {
    /// Unique name, by which people know the column.
    pub name: String,
    /// What it is.
    pub formula: Formula,
    /// Whose past it is about; a season has none.
    pub per: Per,
    /// Keys whose past is remembered: for a new one that of the key not seen for longest is dropped.
    pub max_keys: usize,
}

/// What is known of an event beside its cells.
#[derive(Clone, Copy, Debug, Default)]
pub struct About<'a> {
    /// The record's key.
    pub key: Option<&'a [u8]>,
    /// The event's time in milliseconds since 1970.
    pub time_ms: Option<i64>,
}

/// Columns derived from an event and its past.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Derivation {
    /// With the memory's table that holds the past which each is about.
    derived: Vec<(Derived, Option<usize>)>,
    columns: Vec<Column>,
    layouts: Vec<Layout>,
}

impl Derivation {
    /// Columns `derived` from those of `schema`, which the configuration has checked.
    pub fn new(schema: &Schema, derived: Vec<Derived>) -> Self {
        let mut derivation = Self::default();
        for derived in derived {
            // In place of a path in the event: by this, evidence of another formula is told from evidence of this one.
            let path = vec![derived.words(schema)];
            derivation.columns.push(Column { name: derived.name.clone(), path, kind: Kind::Number });
            let table = (!derived.formula.is_timeless()).then(|| derivation.table(&derived));
            derivation.derived.push((derived, table));
        }
        derivation
    }

    /// The table that holds the past which `derived` is about, with room for what it has to reach.
    fn table(&mut self, derived: &Derived) -> usize {
        let per = derived.per;
        let max_keys = if per == Per::Partition { 1 } else { derived.max_keys };
        let same = |layout: &Layout| layout.per == per && layout.max_keys == max_keys;
        let table = self.layouts.iter().position(same).unwrap_or_else(|| {
            self.layouts.push(Layout { per, max_keys, reaches: Vec::new() });
            self.layouts.len() - 1
        });
        if let Some((cell, events)) = derived.formula.reach() {
            self.layouts[table].reach(cell, events);
        }
        table
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.derived.is_empty()
    }

    /// The columns that are derived.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The columns of `schema`, and the derived ones behind them.
    pub fn widen(&self, schema: &Schema) -> Schema {
        Schema::new(schema.columns().iter().chain(&self.columns).cloned().collect())
    }

    /// A derived column that, with the past, tells the cell `target` of the same event.
    pub fn betrays(&self, target: usize) -> impl Iterator<Item = &str> {
        let betrays = move |formula: &Formula| matches!(formula, Formula::Difference { of, .. } if *of == target);
        self.derived.iter().filter(move |(derived, _)| betrays(&derived.formula)).map(|(derived, _)| derived.name.as_str())
    }

    /// Bytes that a memory may come to hold, about.
    pub fn memory_bytes(&self) -> usize {
        let values = |layout: &Layout| layout.reaches.iter().map(|(_, events)| events).sum::<usize>();
        let key = |layout: &Layout| values(layout).saturating_mul(size_of::<f64>()).saturating_add(KEY_BYTES);
        let bytes = self.layouts.iter().map(|layout| key(layout).saturating_mul(layout.max_keys));
        bytes.fold(0, usize::saturating_add)
    }

    /// The past before any event.
    pub fn memory(&self) -> Memory {
        Memory::new(self.columns.iter().map(|column| format!("{} = {}", column.name, column.path[0])).collect(), &self.layouts)
    }

    /// Appends to `cells` each of `rows` with its derived cells behind it: `[rows, columns + derived]`. With `follow` each event becomes
    /// a part of the past of those after it; otherwise it leaves no trace.
    pub fn derive<'a>(
        &self,
        memory: &mut Memory,
        rows: RowsView<'_>,
        about: impl Iterator<Item = About<'a>>,
        follow: bool,
        cells: &mut Vec<f64>,
    ) {
        cells.reserve(rows.len() * (rows.width() + self.derived.len()));
        for (index, about) in (0..rows.len()).zip(about) {
            let row = rows.row(index);
            cells.extend_from_slice(row);
            let keys = self.layouts.iter().map(|layout| match layout.per {
                Per::Partition => Some(&b""[..]),
                Per::RecordKey => about.key,
                Per::Cell(cell) => rows.text(row[cell]).map(str::as_bytes),
            });
            let keys: Vec<_> = keys.map(|key| key.map(past::identity)).collect();
            for (Derived { formula, .. }, table) in &self.derived {
                let past = table.and_then(|table| memory.past(table, keys[table].as_deref()?));
                let value = formula.value(row, about.time_ms, past);
                // A difference may be too large for a number.
                cells.push(if value.is_finite() { value } else { f64::NAN });
            }
            if follow {
                for (table, (layout, key)) in self.layouts.iter().zip(keys).enumerate() {
                    key.into_iter().for_each(|key| memory.follow(table, layout, &key, row, about.time_ms));
                }
            }
        }
    }
}

impl Derived {
    /// The formula in words.
    fn words(&self, schema: &Schema) -> String {
        let formula = self.formula.words(schema);
        match self.per {
            _ if self.formula.is_timeless() => formula,
            Per::Partition => formula,
            Per::RecordKey => format!("{formula} of each of {} record keys", self.max_keys),
            Per::Cell(cell) => format!("{formula} of each of {} values of {}", self.max_keys, schema.columns()[cell].name),
        }
    }
}

#[cfg(test)]
mod tests;
