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
    /// How far the events' own time has come, in milliseconds since 1970.
    pub time_ms: Option<i64>,
}

impl<E> Site<E> {
    /// A site that begins at `from` with the evidence of nothing.
    pub fn new(nothing: E, from: Offset) -> Self {
        Self { evidence: nothing, calibrator: Calibrator::default(), covers_to: from, events: 0, step: 0, time_ms: None }
    }

    /// How far time has come with a block of events at `times`, which are sorted, and how many milliseconds have passed. A block's time
    /// is its median, which one event with a wild clock doesn't move, and time never runs backwards.
    pub(super) fn elapsed(&self, times: &mut [i64]) -> (Option<i64>, f64) {
        times.sort_unstable();
        let Some(time) = times.get(times.len() / 2).map(|time| self.time_ms.map_or(*time, |before| before.max(*time))) else {
            return (self.time_ms, 0.0);
        };
        (Some(time), time.saturating_sub(self.time_ms.unwrap_or(time)) as f64)
    }
}
