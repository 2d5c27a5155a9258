//! Targets with one linear predictor: a boolean, `logit p = η`, and a count, `ln rate = η`.

use super::fit::PLAIN;
use super::joint::Joint;
use super::predictor::{Predicted, Predictor, Prior};
use super::target::{Coefficients, Site, Target};
use super::tensors::Placed;
use super::units::{Axis, Units};
use crate::dist::solve::falling_root;
use crate::features::Kind;
use crate::inference::likelihood::{Bernoulli, Likelihood, LogLikelihood, Poisson, Predictive};
use crate::models::NotFinite;

/// Where an observation tells more of its predictor than this many times what is known of it, its pseudo-observation is looked for by
/// itself first.
const TELLING: f64 = 0.1;

/// Rounds of looking for a row's own fixed point.
const MOST_ROUNDS: usize = 50;

/// Where no root is looked for any more.
const FURTHEST: f64 = 1e9;

impl Coefficients for Predictor {
    type Predicted = Predicted;

    fn new(units: Units, pseudo: &[Joint], prior: Prior) -> Result<Self, NotFinite> {
        Self::new(units, &pseudo[0], PLAIN, prior)
    }

    fn predict(&self, placed: &Placed<'_>) -> Vec<Predicted> {
        Self::predict(self, placed).into_iter().map(Predicted::within_reach).collect()
    }

    fn ln_determinant(&self) -> f64 {
        Self::ln_determinant(self)
    }

    fn distance(&self, other: &Self) -> f64 {
        Self::distance(self, other)
    }

    fn kl(&self) -> f64 {
        Self::kl(self, 1.0)
    }

    fn axes(&self) -> &[Axis] {
        &self.axes
    }

    fn coefficients(&self) -> Vec<Vec<Predicted>> {
        vec![[self.intercept()].into_iter().chain(Self::coefficients(self)).collect()]
    }
}

/// A likelihood of one linear predictor, with the columns that it is for.
pub trait Single: Likelihood + Default {
    /// The model's name.
    const KIND: &'static str;
    /// The kind of column that it predicts.
    const COLUMN: &'static str;
}

impl Single for Bernoulli {
    const KIND: &'static str = "logistic_regression";
    const COLUMN: &'static str = "boolean";
}

impl Single for Poisson {
    const KIND: &'static str = "poisson_regression";
    const COLUMN: &'static str = "count";
}

impl<L: Single> Target for L {
    const KIND: &'static str = L::KIND;
    const COLUMN: &'static str = L::COLUMN;
    type Coefficients = Predictor;

    fn new(_: Kind) -> Self {
        Self::default()
    }

    fn classes(&self) -> usize {
        0
    }

    fn contrasts(&self) -> usize {
        1
    }

    fn contrasts_of<'a>(&'a self, predicted: &'a Predicted) -> impl Iterator<Item = Predicted> + 'a {
        std::iter::once(*predicted)
    }

    fn expected(&self, targets: &[f64], predicted: &[Predicted]) -> (Vec<f64>, Vec<Site>) {
        let pairs = targets.iter().zip(predicted);
        pairs
            .map(|(y, predicted)| {
                let expected = Likelihood::expected(*self, *y, predicted.mean, predicted.variance);
                (expected.value, natural(*predicted, expected))
            })
            .unzip()
    }

    fn alone(&self, targets: &[f64], predicted: &[Predicted]) -> Vec<Site> {
        targets.iter().zip(predicted).map(|(y, predicted)| alone(*self, *y, *predicted)).collect()
    }

    fn predictive(&self, targets: &[f64], predicted: &[Predicted]) -> Vec<Predictive> {
        let pairs = targets.iter().zip(predicted);
        pairs.map(|(y, predicted)| Likelihood::predictive(*self, *y, predicted.mean, predicted.variance)).collect()
    }
}

/// The natural gradient's.
fn natural(predicted: Predicted, expected: LogLikelihood) -> Site {
    Site { weight: expected.precision, shift: expected.gradient + expected.precision * predicted.mean }
}

/// The pseudo-observation of a row as if it were the only one of the block, given what was expected of it before: at the fixed point
/// where the row tells much, since the natural gradient can lead far astray there, and after one step elsewhere.
fn alone<L: Likelihood>(likelihood: L, y: f64, before: Predicted) -> Site {
    let Predicted { mean, variance } = before;
    let expected = likelihood.expected(y, mean, variance);
    if variance * expected.precision <= TELLING {
        return natural(before, expected);
    }
    let (mut at, mut found) = (before, expected);
    for _ in 0..MOST_ROUNDS {
        // With the variance held, E η is the root of the bound's slope, which falls.
        let slope = |x: f64| {
            let expected = likelihood.expected(y, x, at.variance);
            ((mean - x) / variance + expected.gradient, -1.0 / variance - expected.precision)
        };
        let Some(root) = near_root(mean, |x| slope(x).0).and_then(|near| falling_root(near, slope)) else {
            return Site::default();
        };
        found = likelihood.expected(y, root, at.variance);
        let next = 1.0 / (1.0 / variance + found.precision);
        let change = (next / at.variance).ln().abs();
        // Half of the way on a logarithmic scale, since the wider the variance the narrower the next.
        at = Predicted { mean: root, variance: (at.variance * next).sqrt() };
        if change < 1e-6 {
            break;
        }
    }
    natural(at, LogLikelihood { gradient: (at.mean - mean) / variance, ..found })
}

/// A number within 1 of the root of a falling function, which may be far from `start` and steep as an exponential on the way: there
/// Newton's method would go on in steps of 1.
fn near_root(start: f64, function: impl Fn(f64) -> f64) -> Option<f64> {
    let direction = if function(start) > 0.0 { 1.0 } else { -1.0 };
    let (mut near, mut far, mut step) = (start, start + direction, 1.0);
    while function(far) * direction > 0.0 {
        (near, step) = (far, 2.0 * step);
        far += direction * step;
        if step > FURTHEST {
            return None;
        }
    }
    while (far - near).abs() > 1.0 {
        let middle = 0.5 * (near + far);
        if function(middle) * direction > 0.0 { near = middle } else { far = middle }
    }
    Some(0.5 * (near + far))
}
