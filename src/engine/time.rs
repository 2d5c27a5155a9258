//! The events' own time: how far it has come, and how much of it passes with a block, by clocks of which some are wrong.
//!
//! A block's time is the median over its events and, where they are few, over the last ones before it. So a minority of wild clocks
//! moves nothing, not even among a partition's first events, which are learnt one by one.

/// Times of the last events that are kept.
pub const RECENT: usize = 15;
/// Fewer times than these have no median that one of them couldn't move at will.
const FEW: usize = 3;

/// How far the events of a partition have come, by their own time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventTime {
    /// In milliseconds since 1970.
    pub now_ms: Option<i64>,
    /// Times of the last events that had one, in their order: [`RECENT`] at most.
    pub recent_ms: Vec<i64>,
}

impl EventTime {
    /// Time after a block of events at `times`, in their order, and how many milliseconds have passed since the block before it.
    ///
    /// It is the lower median of the block's times, or of the last [`RECENT`] if the block has fewer. It never runs backwards once so many
    /// are known; until then it can be put right. None passes before there are [`FEW`], whose time may be anyone's.
    pub(super) fn after(&self, times: &[i64]) -> (Self, f64) {
        if times.is_empty() {
            return (self.clone(), 0.0);
        }
        let mut window = [&self.recent_ms, times].concat();
        let recent_ms = window[window.len().saturating_sub(RECENT)..].to_vec();
        window.drain(..window.len() - window.len().min(times.len().max(RECENT)));
        window.sort_unstable();
        let median = window[(window.len() - 1) / 2];
        let before = self.now_ms.unwrap_or(median);
        let now = if self.recent_ms.len() < RECENT { median } else { median.max(before) };
        let passed = if self.recent_ms.len() < FEW { 0.0 } else { now.saturating_sub(before).max(0) as f64 };
        (Self { now_ms: Some(now), recent_ms }, passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Time after each of some blocks, and how much has passed with it.
    fn follow<'a>(blocks: impl IntoIterator<Item = &'a [i64]>) -> Vec<(Option<i64>, f64)> {
        let mut time = EventTime::default();
        let block = |times: &[i64]| {
            let passed;
            (time, passed) = time.after(times);
            (time.now_ms, passed)
        };
        blocks.into_iter().map(block).collect()
    }

    /// A second an event, but for those that `wild` says, one by one.
    fn singly(events: i64, wild: impl Fn(i64) -> Option<i64>) -> Vec<(Option<i64>, f64)> {
        let times: Vec<i64> = (0..events).map(|event| wild(event).unwrap_or(1000 * event)).collect();
        follow(times.chunks(1))
    }

    #[test]
    fn time_is_a_blocks_median_and_never_runs_backwards() {
        let block = |from: i64| (from..from + 31).rev().collect::<Vec<_>>();
        let found = follow([&[], &block(0)[..], &[], &block(100), &block(50), &block(101)]);
        assert_eq!(
            found,
            [(None, 0.0), (Some(15), 0.0), (Some(15), 0.0), (Some(115), 100.0), (Some(115), 0.0), (Some(116), 1.0)]
        );
    }

    #[test]
    fn in_small_blocks_it_is_that_of_the_last_fifteen_events() {
        let found = singly(100, |_| None);
        assert_eq!(found[99], (Some(92_000), 1000.0));
        assert_eq!(found[0..4], [(Some(0), 0.0), (Some(0), 0.0), (Some(1000), 0.0), (Some(1000), 0.0)]);
        let passed: f64 = found.iter().map(|(_, passed)| passed).sum();
        assert_eq!(passed, 91_000.0, "all but what passed while there were two");
    }

    /// Wherever it stands, and whatever it shows.
    #[test]
    fn one_wild_clock_moves_nothing() {
        let right: f64 = singly(100, |_| None).iter().map(|(_, passed)| passed).sum();
        for at in 0..100 {
            for shown in [i64::MIN, 0, 1 << 60, i64::MAX] {
                let found = singly(100, |event| (event == at).then_some(shown));
                let passed: f64 = found.iter().map(|(_, passed)| passed).sum();
                assert!((passed - right).abs() <= 3000.0, "{passed} instead of {right} with {shown} at {at}");
                assert!(found[99].0.is_some_and(|now| (now - 92_000).abs() <= 1000), "{:?} with {shown} at {at}", found[99]);
            }
        }
    }

    #[test]
    fn nor_do_seven_of_fifteen() {
        let found = singly(300, |event| (event >= 20 && event % 15 < 7).then_some(i64::MAX));
        let passed: f64 = found.iter().map(|(_, passed)| passed).sum();
        assert!((280_000.0..300_000.0).contains(&passed), "{passed}");
    }

    #[test]
    fn the_ends_of_time_are_a_finite_distance_apart() {
        for (one, other) in [(i64::MIN, i64::MAX), (i64::MAX, i64::MIN), (0, i64::MAX), (i64::MIN, 0)] {
            let found = follow([&[one; 20][..], &[other; 20]]);
            assert!(found.iter().all(|(_, passed)| passed.is_finite() && *passed >= 0.0), "{found:?}");
        }
    }
}
