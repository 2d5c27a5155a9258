//! A site: the evidence of one partition, and exactly which of its events it holds.

use crate::calibration::Calibrator;
use crate::record::Offset;

/// What one partition has taught.
#[derive(Clone, Debug, PartialEq)]
pub struct Site<E> {
    /// Natural parameters, which add.
    pub evidence: E,
    /// Surprisals of the events in the evidence.
    pub calibrator: Calibrator,
    /// Every event before this offset is in the evidence, none from it on.
    pub covers_to: Offset,
    /// Events taken in since the partition began, without forgetting; those of refused blocks are counted.
    pub events: u64,
    /// Learning steps taken.
    pub step: u64,
}

impl<E> Site<E> {
    /// A site that begins at `from` with the evidence of nothing.
    pub fn new(nothing: E, from: Offset) -> Self {
        Self { evidence: nothing, calibrator: Calibrator::default(), covers_to: from, events: 0, step: 0 }
    }
}
