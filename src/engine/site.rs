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

#[cfg(test)]
mod tests {
    use super::*;

    /// Of one block, by one site after the other.
    fn elapsed(blocks: &[&[i64]]) -> Vec<(Option<i64>, f64)> {
        let mut site = Site::new((), Offset(0));
        let block = |times: &&[i64]| {
            let (time, elapsed) = site.elapsed(&mut times.to_vec());
            site.time_ms = time;
            (time, elapsed)
        };
        blocks.iter().map(block).collect()
    }

    #[test]
    fn time_is_a_blocks_median_and_never_runs_backwards() {
        assert_eq!(
            elapsed(&[&[], &[5, 1, 9], &[], &[3], &[8]]),
            [(None, 0.0), (Some(5), 0.0), (Some(5), 0.0), (Some(5), 0.0), (Some(8), 3.0)]
        );
        assert_eq!(elapsed(&[&[10], &[20, i64::MIN, i64::MAX]]), [(Some(10), 0.0), (Some(20), 10.0)], "one wild clock of three");
    }

    #[test]
    fn the_ends_of_time_are_a_finite_distance_apart() {
        for times in [[i64::MIN, i64::MAX], [i64::MAX, i64::MIN], [0, i64::MAX], [i64::MIN, 0]] {
            let found = elapsed(&[&times[..1], &times[1..]]);
            assert!(found.iter().all(|(_, elapsed)| elapsed.is_finite() && *elapsed >= 0.0), "{found:?}");
        }
    }
}
