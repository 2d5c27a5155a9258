//! Where events stand and what is kept of them: partitions, offsets, records and runs of decoded events.
//!
//! Owns the vocabulary that every other part speaks. Knows nothing of Kafka, files or models.

use std::fmt;

use crate::features::{Rows, RowsView};

/// A partition of the events topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub i32);

/// A position in a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub i64);

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Offset {
    /// The position right after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Positions from one up to another, which is not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub from: Offset,
    /// The one after the last.
    pub to: Offset,
}

impl Span {
    /// Whether `offset` is among them.
    pub fn contains(&self, offset: Offset) -> bool {
        self.from <= offset && offset < self.to
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.to <= self.from
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.from, self.to)
    }
}

/// What is kept of an event beside its values, to say later which one a score is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// Where the event stands in its partition.
    pub offset: Offset,
    /// The event's time in milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
    /// The record's key.
    pub key: Option<Box<[u8]>>,
}

/// Why a record could not be scored. The names are labels of metrics and values on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No value, or no bytes in it.
    Empty,
    /// More bytes than the configured limit.
    TooLarge,
    /// Bytes that are not UTF-8.
    InvalidUtf8,
    /// Text that is not JSON.
    InvalidJson,
    /// JSON, but not an object.
    NotAnObject,
    /// Nested deeper than the limit.
    TooDeep,
    /// A field whose type is not its column's.
    WrongType,
    /// A number that is not finite or a count that is negative or not whole.
    OutOfRange,
}

impl Reason {
    /// All reasons, in the order of the wire contract.
    pub const ALL: [Self; 8] = [
        Self::Empty,
        Self::TooLarge,
        Self::InvalidUtf8,
        Self::InvalidJson,
        Self::NotAnObject,
        Self::TooDeep,
        Self::WrongType,
        Self::OutOfRange,
    ];

    /// The reason in snake case, as metrics label it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLarge => "too_large",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::InvalidJson => "invalid_json",
            Self::NotAnObject => "not_an_object",
            Self::TooDeep => "too_deep",
            Self::WrongType => "wrong_type",
            Self::OutOfRange => "out_of_range",
        }
    }
}

/// A record that could not be decoded, with all that is needed to find out why.
#[derive(Clone, Debug, PartialEq)]
pub struct Dead {
    /// Which record it is.
    pub head: Head,
    /// The record's bytes, cut at what a message may hold.
    pub payload: Vec<u8>,
    /// How many bytes there were.
    pub payload_bytes: usize,
    /// The kind of fault.
    pub reason: Reason,
    /// The place, the value and what would be right.
    pub detail: String,
}

/// A run of consecutive records of one partition: decoded events in log order, and the dead among them.
#[derive(Clone, Debug)]
pub struct Run {
    /// Whose records these are.
    pub partition: Partition,
    /// The first record's offset.
    pub from: Offset,
    /// The offset after the last record, decoded or dead.
    pub next: Offset,
    /// One a decoded event, in the order of `rows`.
    pub heads: Vec<Head>,
    /// The decoded events, `[heads.len(), columns]`.
    pub rows: Rows,
    /// Records that could not be decoded.
    pub dead: Vec<Dead>,
    /// Bytes of all records' values.
    pub bytes: usize,
}

impl Run {
    /// An empty run of events `columns` wide that starts at `from`.
    pub fn new(partition: Partition, from: Offset, columns: usize) -> Self {
        Self { partition, from, next: from, heads: Vec::new(), rows: Rows::new(columns), dead: Vec::new(), bytes: 0 }
    }

    /// Records in the run, decoded and dead.
    pub fn len(&self) -> usize {
        self.heads.len() + self.dead.len()
    }

    /// Whether the run holds no record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where an event, or a dead record, doesn't come after the one before it: its offset, and the least that would be in order.
    pub fn disorder(&self) -> Option<(Offset, Offset)> {
        let first = |offsets: &mut dyn Iterator<Item = Offset>| {
            let mut expected = self.from;
            offsets.chain([self.next]).find_map(|offset| {
                let found = (offset < expected).then_some((offset, expected));
                expected = offset.next();
                found
            })
        };
        first(&mut self.heads.iter().map(|head| head.offset))
            .or_else(|| first(&mut self.dead.iter().map(|dead| dead.head.offset)))
    }

    /// All events of the run.
    pub fn events(&self) -> RowsView<'_> {
        self.rows.view()
    }
}
