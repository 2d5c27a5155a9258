//! What is normal for all times, for the hour of the day and for the hour of the week: hierarchical means and variances with forgetting.
//!
//! Each level has bins, and a bin's mean and variance are shrunk towards those of the level above by a few visits' worth. Hours are
//! UTC, by the event's own time; a week begins on a Thursday, as 1970 did. An event without a time has the first level only.

use super::average::Average;
use super::predictive::Member;
use crate::dist::student::Student;

/// Bins of each level.
const BINS: [usize; LEVELS] = [1, 24, 168];

/// Levels of the hierarchy.
pub const LEVELS: usize = 3;

/// Bins of all levels.
pub const ALL_BINS: usize = 1 + 24 + 168;

/// Events after which a bin's evidence weighs half: a visit to one of b bins stands for b events.
const HALF_LIFE: f64 = 16_000.0;

/// Visits that the level above is worth.
const PARENT: [f64; LEVELS] = [1.0, 4.0, 4.0];

/// Share of the typical step's square that no scale's square is below. What a level holds to be far out counts for little in its
/// variance, which without this would stay as it was when a series that was constant begins to vary; what is typical of steps has
/// followed after a thousand events.
const STEPS: f64 = 0.1;

/// The least variance: its root is still far above the smallest number.
const FLOOR: f64 = 1e-200;

const HOUR_MS: i64 = 3_600_000;

/// What has been seen in one bin.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bin {
    /// Effective number of visits.
    pub weight: f64,
    /// Their mean.
    pub mean: f64,
    /// Their variance.
    pub variance: f64,
}

/// The evidence of all bins, level after level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Context {
    /// See [`BINS`].
    pub bins: [Bin; ALL_BINS],
    /// Of the levels.
    pub average: Average<LEVELS>,
}

impl Default for Context {
    fn default() -> Self {
        Self { bins: [Bin::default(); ALL_BINS], average: Average::default() }
    }
}

/// Where the bin of each level stands at `time_ms`, as far as there is a time.
fn places(time_ms: Option<i64>) -> ([usize; LEVELS], usize) {
    let Some(time) = time_ms else { return ([0; LEVELS], 1) };
    let hour = time.div_euclid(HOUR_MS);
    let of = |level: usize| hour.rem_euclid(BINS[level] as i64) as usize;
    ([0, 1 + of(1), 25 + of(2)], LEVELS)
}

impl Context {
    /// All that has been seen.
    pub fn whole(&self) -> Bin {
        self.bins[0]
    }

    /// The variance of all times, no less than a tenth of `step`, the typical step's square.
    pub fn variance(&self, step: f64) -> f64 {
        self.whole().variance.max(STEPS * step)
    }

    /// What each level expects at `time_ms`, once something has been seen: Student's t with `max(2, κ + W)` degrees of freedom about
    /// `m = (κ m′ + W M) / (κ + W)`, with squared scale `v (1 + 1/(κ + W))` and v shrunk likewise; m′ and v′ are those of the level above.
    /// v is at least a tenth of `step`, the typical step's square.
    pub fn predict(&self, time_ms: Option<i64>, step: f64) -> Vec<Member> {
        let (places, levels) = places(time_ms);
        let weights = self.average.weights(levels);
        let Bin { mean: all, variance, .. } = self.whole();
        let least = variance + 1e-6 * all * all + FLOOR;
        let (mut mean, mut spread) = (all, least);
        let mut members = Vec::with_capacity(levels);
        for level in 0..levels {
            let bin = self.bins[places[level]];
            let count = PARENT[level] + bin.weight;
            let share = bin.weight / count;
            mean += share * (bin.mean - mean);
            spread += share * (bin.variance - spread);
            let leverage = 1.0 / count;
            let scale = ((spread.max(STEPS * step) + 1e-9 * least + FLOOR) * (1.0 + leverage)).sqrt();
            members.push(Member { weight: weights[level], student: Student::new(count.max(2.0), mean, scale), leverage });
        }
        members
    }

    /// Learns `x`, with the weight that each level's prediction gives it.
    pub fn learn(&mut self, time_ms: Option<i64>, x: f64, weights: &[f64]) {
        let (places, levels) = places(time_ms);
        for ((bin, bins), weight) in places.iter().zip(BINS).zip(weights).take(levels) {
            let bin = &mut self.bins[*bin];
            bin.weight = (-(bins as f64) / HALF_LIFE).exp2() * bin.weight + weight;
            let (rate, gap) = (weight / bin.weight, x - bin.mean);
            bin.mean += rate * gap;
            bin.variance = (1.0 - rate) * (bin.variance + rate * gap * gap);
        }
    }
}
