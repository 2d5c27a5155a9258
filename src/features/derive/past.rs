//! What is remembered of the events of one key.

use std::borrow::Cow;
use std::collections::VecDeque;

use xxhash_rust::xxh3::xxh3_128;

/// Bytes by which a key is known at most.
const MAX_KEY_BYTES: usize = 64;

/// The last values of the cells that are looked back at, and the last time.
#[derive(Clone, Debug)]
pub struct Past {
    /// The count of events in the table when the key was last seen.
    pub(super) used: u64,
    /// When the last event happened that had a time, in milliseconds since 1970.
    pub(super) time_ms: Option<i64>,
    /// Of each cell, by its index: the latest at the back. NaN is missing.
    pub(super) recent: Vec<(usize, VecDeque<f64>)>,
}

/// Bit by bit: what is missing equals what is missing.
impl PartialEq for Past {
    fn eq(&self, other: &Self) -> bool {
        let bits = |past: &Self| -> Vec<(usize, Vec<u64>)> {
            past.recent.iter().map(|(cell, values)| (*cell, values.iter().map(|value| value.to_bits()).collect())).collect()
        };
        (self.used, self.time_ms) == (other.used, other.time_ms) && bits(self) == bits(other)
    }
}

impl Past {
    fn values(&self, cell: usize) -> Option<&VecDeque<f64>> {
        self.recent.iter().find(|(of, _)| *of == cell).map(|(_, values)| values)
    }

    /// The value of `cell` so many events ago, if there were so many.
    pub(super) fn ago(&self, cell: usize, events: usize) -> Option<f64> {
        let values = self.values(cell)?;
        values.len().checked_sub(events).map(|at| values[at])
    }

    /// The values of `cell` of the last `events` events, the oldest first.
    pub(super) fn last(&self, cell: usize, events: usize) -> impl Iterator<Item = f64> + Clone {
        self.values(cell).into_iter().flat_map(move |values| values.range(values.len().saturating_sub(events)..).copied())
    }

    /// Takes in an event. `reaches` says of each cell how many values are kept.
    pub(super) fn push(&mut self, reaches: &[(usize, usize)], row: &[f64], time_ms: Option<i64>) {
        self.time_ms = time_ms.or(self.time_ms);
        for ((cell, reach), (_, values)) in reaches.iter().zip(&mut self.recent) {
            if values.len() == *reach {
                values.pop_front();
            }
            values.push_back(if row[*cell].is_finite() { row[*cell] } else { f64::NAN });
        }
    }
}

/// What a key is known by: itself, or of a long one the beginning and a hash of the whole.
pub(super) fn identity(key: &[u8]) -> Cow<'_, [u8]> {
    if key.len() <= MAX_KEY_BYTES {
        return Cow::Borrowed(key);
    }
    let hash = xxh3_128(key).to_be_bytes();
    Cow::Owned([&key[..MAX_KEY_BYTES - hash.len()], &hash].concat())
}
