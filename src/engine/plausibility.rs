//! Robust learning: an event is believed as far as it is plausible.
//!
//! An event of density p(x) is learnt with the weight `min(1, √(p(x) / p₀))`, where p₀ is the density that one event in twenty of those
//! seen so far was below, and three standard deviations of what that is by chance: of n, a share of `0.05 + 3 √(0.05 · 0.95 / n)`. In nats:
//! `exp(−½ max(0, s − s₀))`, with s₀ the surprisal that this share is above. So what a single event adds to
//! a statistic falls as its square root of a density does, however far out it is. A new regime is learnt once it persists: when one
//! event in twenty is of it, s₀ is where it is. An event that the model doesn't judge is believed: nothing speaks against it.
//!
//! Sources: Basu et al. 1998 (density power weights); Duran-Martín et al. 2024 (weighted likelihoods in filters).

use crate::calibration::Tail;
use crate::features::{Rows, RowsView};

/// The power of the density that an event is weighted by.
const POWER: f64 = 0.5;

/// Events seen before any is doubted.
const EXPERIENCE: f64 = 100.0;

/// The least weight: an event of less is not believed at all, so that nothing of it, as its square, is left however far out it is.
const LEAST: f64 = 1e-8;

/// The weights of events with these `surprisals`, in nats, as far as they were judged; none where all are 1.
pub fn weights(seen: &Tail, surprisals: &[Option<f64>]) -> Vec<f64> {
    let experienced = seen.events() >= EXPERIENCE;
    // Where more than may be the exception is too rare for the sketch, the model is what is wrong.
    let believed = experienced.then(|| seen.quantile(1.0 - seen.exceptions())).flatten();
    let Some(believed) = believed else { return Vec::new() };
    let weight = |surprisal: f64| (-POWER * (surprisal - believed).max(0.0)).exp();
    let whole = |weight: f64| if weight < LEAST { 0.0 } else { weight };
    surprisals.iter().map(|surprisal| surprisal.map_or(1.0, |surprisal| whole(weight(surprisal)))).collect()
}

/// Those of `rows` that are believed at all, with what is left of their `weights`.
pub fn believed(rows: RowsView<'_>, weights: &mut Vec<f64>, categories: &[usize]) -> Rows {
    let mut believed = Rows::new(rows.width());
    let some = (0..rows.len()).filter(|row| weights[*row] > 0.0);
    some.for_each(|row| believed.extend(rows.slice(row..row + 1), categories));
    weights.retain(|weight| *weight > 0.0);
    believed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::Calibrator;

    /// Surprisals of an exponential distribution: a share is above minus its logarithm.
    fn seen(count: usize) -> Tail {
        let mut calibrator = Calibrator::default();
        let surprisals: Vec<f64> = (0..count).map(|index| -(1.0 - (index as f64 + 0.5) / count as f64).ln()).collect();
        calibrator.learn(1.0, &surprisals);
        calibrator.tail()
    }

    #[test]
    fn weights_are_the_root_of_the_density_beyond_the_percentile() {
        let share = 0.05 + 3.0 * (0.05 * 0.95 / 20_000_f64).sqrt();
        let beyond = |nats: f64| nats - share.ln();
        let surprisals = [-5.0, 0.0, 2.88, beyond(1.0), beyond(8.0), beyond(36.0), beyond(38.0), f64::INFINITY];
        let weights = weights(&seen(20_000), &surprisals.map(Some));
        let expected = [1.0, 1.0, 1.0, (-0.5_f64).exp(), (-4.0_f64).exp(), (-18.0_f64).exp(), 0.0, 0.0];
        assert_eq!(weights.len(), expected.len());
        for (weight, expected) in weights.iter().zip(expected) {
            assert!((weight - expected).abs() <= 0.02 * expected, "{weights:?}");
        }
    }

    #[test]
    fn nobody_is_doubted_before_much_is_seen() {
        assert!(weights(&seen(99), &[Some(1e9)]).is_empty());
        assert!(weights(&Tail::default(), &[Some(1e9)]).is_empty());
    }

    #[test]
    fn what_persists_is_believed() {
        let mut calibrator = Calibrator::default();
        calibrator.learn(1.0, &[1.0; 1000]);
        assert_eq!(weights(&calibrator.tail(), &[Some(40.0), None]), [0.0, 1.0]);
        calibrator.learn(1.0, &[40.0; 200]);
        assert!(weights(&calibrator.tail(), &[Some(40.0)]).iter().all(|weight| *weight > 0.99));
    }
}
