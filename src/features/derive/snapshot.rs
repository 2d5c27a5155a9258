//! A memory as named tensors and back.
//!
//! Of each table: the keys in the order in which they were last seen, each byte a character (a key need not be UTF-8); when that was, by
//! the count of events; the last times; and the values of all keys and cells one after another, the oldest first, with the places of those
//! that are missing.

use std::collections::VecDeque;
use std::sync::Arc;

use super::memory::{Memory, Table};
use super::past::Past;
use super::{MAX_MEMORY_BYTES, MAX_REACH};
use crate::checkpoint::{CheckpointError, Reader, Tensor};
use crate::features::MAX_COLUMNS;

const FORMULAS: &str = "features.formulas";

impl Memory {
    /// The memory as named tensors, all that [`restore`](Self::restore) needs.
    pub fn tensors(&self) -> Vec<Tensor> {
        if self.is_blank() {
            return Vec::new();
        }
        let mut tensors = vec![Tensor::text(FORMULAS, self.formulas.to_vec())];
        for (index, table) in self.tables.iter().enumerate() {
            table.tensors(index, &mut tensors);
        }
        tensors
    }

    /// The memory from the tensors that [`tensors`](Self::tensors) gave.
    pub fn restore(tensors: &[Tensor]) -> Result<Self, CheckpointError> {
        let has = |name: &str| tensors.iter().any(|tensor| tensor.name == name);
        if !has(FORMULAS) {
            return Ok(Self::default());
        }
        let formulas = Reader(tensors).text(FORMULAS)?.into();
        let tables = (0..).take_while(|index| has(&name(*index, "reaches"))).map(|index| Table::restore(index, Reader(tensors)));
        Ok(Self { formulas, tables: tables.collect::<Result<_, _>>()? })
    }
}

fn name(table: usize, part: &str) -> String {
    format!("features.{table}.{part}")
}

impl Table {
    fn tensors(&self, index: usize, tensors: &mut Vec<Tensor>) {
        let mut list = |part: &str, shape: &[usize], data: Vec<i64>| tensors.push(Tensor::i64(name(index, part), shape, data));
        let keys: Vec<_> = self.order.values().map(|key| (key, &self.pasts[key])).collect();
        let (count, cells) = (keys.len(), self.reaches.len());
        list("reaches", &[cells, 2], self.reaches.iter().flat_map(|(cell, reach)| [*cell as i64, *reach as i64]).collect());
        list("seen", &[1], vec![self.seen as i64]);
        list("used", &[count], keys.iter().map(|(_, past)| past.used as i64).collect());
        list("timed", &[count], keys.iter().map(|(_, past)| i64::from(past.time_ms.is_some())).collect());
        list("times", &[count], keys.iter().map(|(_, past)| past.time_ms.unwrap_or(0)).collect());
        let rings = || keys.iter().flat_map(|(_, past)| past.recent.iter().map(|(_, values)| values));
        list("lengths", &[count, cells], rings().map(|values| values.len() as i64).collect());
        let mut values: Vec<f64> = rings().flatten().copied().collect();
        let missing: Vec<i64> = (0..).zip(&values).filter(|(_, value)| value.is_nan()).map(|(at, _)| at).collect();
        list("missing", &[missing.len()], missing);
        values.iter_mut().filter(|value| value.is_nan()).for_each(|value| *value = 0.0);
        tensors.push(Tensor::f64(name(index, "values"), &[values.len()], values));
        let text = |key: &Arc<[u8]>| key.iter().map(|byte| char::from(*byte)).collect();
        tensors.push(Tensor::text(name(index, "keys"), keys.iter().map(|(key, _)| text(key)).collect()));
    }

    fn restore(index: usize, reader: Reader<'_>) -> Result<Self, CheckpointError> {
        let name = |part: &str| name(index, part);
        let wrong = |part: &str, detail: String| CheckpointError::BadValue { name: name(part), detail };
        let cells = reader.length(&name("reaches"))?;
        let reaches: Arc<[_]> = {
            let flat = reader.within(0..=MAX_COLUMNS as i64, &name("reaches"), &[cells, 2])?;
            flat.chunks_exact(2).map(|pair| (pair[0] as usize, pair[1] as usize)).collect()
        };
        if let Some((_, reach)) = reaches.iter().find(|(_, reach)| !(1..=MAX_REACH).contains(reach)) {
            return Err(wrong("reaches", format!("{reach} events, expected 1 to {MAX_REACH}")));
        }
        let keys = reader.text(&name("keys"))?;
        let count = keys.len();
        let seen = reader.within(0..=i64::MAX, &name("seen"), &[1])?[0];
        let used = reader.within(1..=seen, &name("used"), &[count])?;
        if let Some(pair) = used.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(wrong("used", format!("{} before {}, expected ascending counts", pair[0], pair[1])));
        }
        let timed = reader.within(0..=1, &name("timed"), &[count])?;
        let times = reader.i64(&name("times"), &[count])?;
        let lengths = reader.within(0..=MAX_REACH as i64, &name("lengths"), &[count, cells])?;
        if let Some((length, (_, reach))) =
            lengths.iter().zip(reaches.iter().cycle()).find(|(length, (_, reach))| **length as usize > *reach)
        {
            return Err(wrong("lengths", format!("{length} values, expected at most {reach}")));
        }
        let total: usize = lengths.iter().map(|length| *length as usize).sum();
        if total > MAX_MEMORY_BYTES / size_of::<f64>() {
            return Err(wrong("lengths", format!("{total} values, expected at most {MAX_MEMORY_BYTES} bytes of them")));
        }
        let mut values = reader.f64(&name("values"), &[total])?.to_vec();
        let missing = reader.length(&name("missing"))?;
        for at in reader.within(0..=total as i64 - 1, &name("missing"), &[missing])? {
            values[*at as usize] = f64::NAN;
        }
        let mut table = Self { reaches: Arc::clone(&reaches), seen: seen as u64, ..Self::default() };
        let mut values = values.into_iter();
        for (at, text) in keys.iter().enumerate() {
            let bytes = text.chars().map(|letter| u8::try_from(u32::from(letter)));
            let key: Arc<[u8]> =
                bytes.collect::<Result<_, _>>().map_err(|_| wrong("keys", format!("{text:?} is not of bytes")))?;
            let lengths = &lengths[at * cells..(at + 1) * cells];
            let ring = |((cell, _), length): (&(usize, usize), &i64)| -> (usize, VecDeque<f64>) {
                (*cell, values.by_ref().take(*length as usize).collect())
            };
            let recent = reaches.iter().zip(lengths).map(ring).collect();
            let past = Past { used: used[at] as u64, time_ms: (timed[at] == 1).then_some(times[at]), recent };
            table.order.insert_mut(past.used, Arc::clone(&key));
            table.pasts.insert_mut(key, past);
        }
        Ok(table)
    }
}
