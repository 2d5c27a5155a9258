//! A site: the evidence of one partition, and exactly which of its events it holds.

use super::{EventTime, Trail};
use crate::calibration::Calibrator;
use crate::models::Evidence;
use crate::record::{Head, Offset, Span};

/// How far a sum of ones may be from their number, relative to it.
const WHOLE: f64 = 1e-9;

/// What one partition has taught.
#[derive(Clone, Debug, PartialEq)]
pub struct Site<E> {
    /// Natural parameters, which add.
    pub evidence: E,
    /// Surprisals of the events in the evidence.
    pub calibrator: Calibrator,
    /// What followed the events one by one, as of the last in the evidence.
    pub trail: Trail,
    /// Where the partition's evidence begins: no event before this offset was ever in it.
    pub begun_at: Offset,
    /// Every event before this offset is in the evidence, but for the forgotten; none from it on.
    pub covers_to: Offset,
    /// Events taken in since the partition began, without forgetting; those of refused blocks are counted.
    pub events: u64,
    /// Of these: events of refused blocks.
    pub refused: u64,
    /// Learning steps taken.
    pub step: u64,
    /// How far the events' own time has come.
    pub time: EventTime,
    /// What was taken out of the evidence, or is never to come in, in the order in which that was asked for.
    pub forgotten: Vec<Forgotten>,
}

/// Events that are not to be in the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// Which.
    pub span: Span,
    /// How that came to be.
    pub means: Means,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
}

/// How events were forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// Before they were learnt.
    Unlearnt,
    /// Their evidence was subtracted.
    Subtracted,
    /// The evidence went back to before them, and what came after is learnt again.
    Relearnt,
    /// The evidence went back to an earlier snapshot, and they are what came after.
    RolledBack,
}

impl Means {
    /// The name by which people know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unlearnt => "unlearnt",
            Self::Subtracted => "subtracted",
            Self::Relearnt => "relearnt",
            Self::RolledBack => "rolled back",
        }
    }
}

impl<E> Site<E> {
    /// A site that begins at `from` with the evidence of nothing.
    pub fn new(nothing: E, from: Offset) -> Self {
        Self {
            evidence: nothing,
            calibrator: Calibrator::default(),
            trail: Trail::default(),
            begun_at: from,
            covers_to: from,
            events: 0,
            refused: 0,
            step: 0,
            time: EventTime::default(),
            forgotten: Vec::new(),
        }
    }

    /// Whether every event taken in counts 1 in the evidence: none is partly forgotten, nor was less than believed.
    pub fn is_whole(&self) -> bool
    where
        E: Evidence,
    {
        (self.evidence.gathered() - self.events as f64).abs() <= WHOLE * self.events as f64
    }

    /// Whether the event at `offset` is not to be in the evidence.
    pub fn is_forgotten(&self, offset: Offset) -> bool {
        self.forgotten.iter().any(|forgotten| forgotten.span.contains(offset))
    }

    /// The first offset from `from` on that is not forgotten.
    pub fn first_kept(&self, mut from: Offset) -> Offset {
        while let Some(forgotten) = self.forgotten.iter().find(|forgotten| forgotten.span.contains(from)) {
            from = forgotten.span.to;
        }
        from
    }

    /// Whether the first of `heads` is forgotten, and how many from it on are so alike.
    pub(super) fn stretch(&self, heads: &[Head]) -> (bool, usize) {
        if self.forgotten.is_empty() {
            return (false, heads.len());
        }
        let forgotten = heads.first().is_some_and(|head| self.is_forgotten(head.offset));
        let other = heads.iter().position(|head| self.is_forgotten(head.offset) != forgotten);
        (forgotten, other.unwrap_or(heads.len()))
    }
}
