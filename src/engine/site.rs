//! A site: the evidence of one partition, and exactly which of its events it holds.

use super::Trail;
use crate::calibration::Calibrator;
use crate::record::{Head, Offset, Span};

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
    /// How far the events' own time has come, in milliseconds since 1970.
    pub time_ms: Option<i64>,
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
            time_ms: None,
            forgotten: Vec::new(),
        }
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

    /// Of one block after the other, by one site.
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
