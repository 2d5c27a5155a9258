//! What was to be expected of a field, from its predictive.

use super::{Expected, Explanation, INTERVAL};
use crate::dist::solve::falling_root_between;
use crate::dist::student::Student;
use crate::features::{RowsView, Schema};
use crate::models::{Contribution, Model, Standard};

/// Scales from its middle within which any Student's t with a mean has the interval.
const REACH: f64 = 7.0;

/// Half of the interval of a normal, in standard deviations.
const NORMAL_REACH: f64 = 1.644_853_626_951_472_7;

/// Steps in which counts are looked through at most.
const MOST_STEPS: f64 = 4096.0;

impl Explanation {
    /// By a model that predicts one column, the `target` in `schema`: all of the surprisal of `row` is that column's. Where it is
    /// missing there is nothing to account for, and nothing is said of a surprisal that is no number.
    pub(in crate::models) fn of_target<M: Model>(
        model: &M,
        posterior: &M::Posterior,
        row: RowsView<'_>,
        (schema, target): (&Schema, usize),
        expected: impl FnOnce() -> Option<Expected>,
    ) -> Option<Self> {
        if row.row(0)[target].is_nan() {
            return Some(Self::default());
        }
        let mut surprisals = Vec::new();
        model.score(posterior, row, &mut surprisals);
        let nats = surprisals.first().map(|surprisal| surprisal.nats).filter(|nats| nats.is_finite())?;
        let column = schema.columns()[target].name.clone();
        Some(Self { contributions: vec![Contribution { column, nats, expected: expected() }], nearest: None })
    }
}

impl Expected {
    /// That of a column that has always been the same.
    pub(in crate::models) fn always(value: f64) -> Self {
        Self::Number { mean: value, lower: value, upper: value }
    }

    /// That of a normal number.
    pub(in crate::models) fn normal(mean: f64, sd: f64) -> Self {
        Self::Number { mean, lower: mean - NORMAL_REACH * sd, upper: mean + NORMAL_REACH * sd }
    }

    /// That of a mixture of Student's t, each with its share, in `units`. None where rounding hides the quantiles.
    pub(in crate::models) fn students(parts: &[(f64, Student)], units: Standard) -> Option<Self> {
        let mean = parts.iter().map(|(share, part)| share * part.location).sum::<f64>();
        let low = parts.iter().map(|(_, part)| part.location - REACH * part.scale).fold(f64::INFINITY, f64::min);
        let high = parts.iter().map(|(_, part)| part.location + REACH * part.scale).fold(f64::NEG_INFINITY, f64::max);
        let sum = |of: &dyn Fn(&Student) -> f64| parts.iter().map(|(share, part)| share * of(part)).sum::<f64>();
        let quantile = |level: f64| {
            let gap = |x: f64| (level - sum(&|part| part.tails(x).0), -sum(&|part| part.ln_density(x).exp()));
            falling_root_between(mean, (low, high), gap)
        };
        let raw = |z: f64| units.location + units.scale * z;
        let (lower, upper) = (quantile(0.5 - 0.5 * INTERVAL)?, quantile(0.5 + 0.5 * INTERVAL)?);
        Some(Self::Number { mean: raw(mean), lower: raw(lower), upper: raw(upper) })
    }

    /// That of a count of which next to none is above `most`, from its probabilities. Many counts are looked through in steps of
    /// several.
    pub(in crate::models) fn count(mean: f64, most: f64, mass: impl Fn(f64) -> f64) -> Self {
        let step = (most / MOST_STEPS).max(1.0).ceil();
        let middle = |at: f64| at + (0.5 * (step - 1.0)).floor();
        let (mut below, mut lower, mut at) = (0.0, None, 0.0);
        loop {
            below += step * mass(middle(at));
            if lower.is_none() && below >= 0.5 - 0.5 * INTERVAL {
                lower = Some(middle(at));
            }
            if below >= 0.5 + 0.5 * INTERVAL || at > most {
                return Self::Number { mean, lower: lower.unwrap_or(middle(at)), upper: middle(at) };
            }
            at += step;
        }
    }

    /// That of a column of few values, from their probabilities: the first of the likeliest. None if there are no values.
    pub(in crate::models) fn likeliest(values: impl Iterator<Item = (String, f64)>) -> Option<Self> {
        let best = values.reduce(|best, next| if next.1 > best.1 { next } else { best });
        best.map(|(likeliest, probability)| Self::Value { likeliest, probability })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::gamma::Gamma;
    use crate::dist::testing::assert_close;

    #[test]
    fn the_interval_of_a_mixture_holds_its_mass() {
        let parts = [(0.3, Student::new(3.0, -5.0, 0.5)), (0.7, Student::new(50.0, 2.0, 1.5))];
        let units = Standard { location: 10.0, scale: 2.0 };
        let Some(Expected::Number { mean, lower, upper }) = Expected::students(&parts, units) else { panic!("a number") };
        assert_close(mean, 10.0 + 2.0 * (0.3 * -5.0 + 0.7 * 2.0), 1e-12);
        let below = |x: f64| parts.iter().map(|(share, part)| share * part.tails((x - 10.0) / 2.0).0).sum::<f64>();
        assert_close(below(lower), 0.05, 1e-9);
        assert_close(below(upper), 0.95, 1e-9);
    }

    #[test]
    fn the_interval_of_a_count_is_that_of_sums_over_all_counts() {
        for (shape, rate) in [(2.0, 0.5), (40.0, 0.02), (900.0, 0.001)] {
            let gamma = Gamma { shape, rate };
            let most = gamma.mean() * 4.0 + 40.0;
            let mass = |x: f64| gamma.predictive_log_mass(x).exp();
            let Expected::Number { lower, upper, .. } = Expected::count(gamma.mean(), most, mass) else { panic!("a number") };
            let quantile = |level: f64| {
                let mut below = 0.0;
                (0..).map(f64::from).find(|x| {
                    below += mass(*x);
                    below >= level
                })
            };
            let step = (most / MOST_STEPS).max(1.0).ceil();
            assert!((lower - quantile(0.05).expect("some")).abs() <= step - 1.0, "{lower}");
            assert!((upper - quantile(0.95).expect("some")).abs() <= step - 1.0, "{upper}");
        }
    }
}
