//! Bytes to events and results to bytes.
//!
//! Owns what a field may hold and how messages are laid out. Never guesses, and knows nothing of where bytes come from or go.

pub(crate) mod cell;
pub mod json;
pub(crate) mod timestamp;
pub mod wire;

use crate::features::Rows;
use crate::record::Reason;

/// What an event says beside its cells.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Decoded {
    /// The value of the timestamp column, in milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
}

/// Why bytes are not an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// The kind of fault.
    pub reason: Reason,
    /// The place, the value and what would be right.
    pub detail: String,
}

/// Turns a record's value into a row.
pub trait Decode: Send + Sync + std::fmt::Debug {
    /// Appends the event in `payload` to `rows`; a fault leaves them as they were.
    fn decode(&self, payload: &[u8], rows: &mut Rows) -> Result<Decoded, Fault>;
}
