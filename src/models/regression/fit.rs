//! A block taken into the normal posterior of a linear predictor, where the likelihood is not normal.
//!
//! Each row becomes a *pseudo-observation*: a normal likelihood `N(t | η, 1/w)` with `w = E[−∂² ln p]` and `w t = E[∂ ln p] + w E η`,
//! expectations under the q that results. This is the rule's natural-gradient step, `Λ += Σ w φφᵀ`, `h += Σ w t φ`, taken at its own
//! fixed point: q maximises the block's bound `Σ E_q ln p(y | η) − KL(q ‖ q before)` (Khan & Rue 2023, section 1.3; Challis & Barber
//! 2013; Chang et al. 2022). Steps that don't raise the bound are shortened.

use super::batch::{Raw, Table};
use super::joint::Joint;
use super::predictor::{Predicted, Predictor, Prior};
use super::units::Units;
use crate::dist::solve::falling_root;
use crate::inference::likelihood::{Likelihood, LogLikelihood};
use crate::models::{NotFinite, Progress, Standard};

/// What is measured in no unit: the pseudo-targets.
pub const PLAIN: Standard = Standard { location: 0.0, scale: 1.0 };

/// A row's pseudo-observation: weight w and shift `w t`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Site {
    /// w.
    pub weight: f64,
    /// `w t`.
    pub shift: f64,
}

/// The least weight: below it nothing is said, and t is still a number.
const LEAST_WEIGHT: f64 = 1e-20;

/// Where an observation tells more of its predictor than this many times what is known of it, its pseudo-observation is looked for by
/// itself first.
const TELLING: f64 = 0.1;

/// A step shorter than this share of the natural-gradient step is none.
const SHORTEST: f64 = 1e-3;

/// Steps end when no predictor has moved by more than this many standard deviations.
const SETTLED: f64 = 1e-3;

/// What is believed without the rows, and all that a step needs to know.
pub struct Before<'a> {
    pub units: &'a Units,
    pub prior: Prior,
    /// All other pseudo-observations.
    pub pseudo: &'a Joint,
    /// q of them.
    pub predictor: &'a Predictor,
}

/// Rows to be taken in.
pub struct Rows<'a> {
    pub table: &'a Table,
    pub raw: &'a Raw,
    /// How many times each counts.
    pub times: &'a [f64],
}

/// q with some pseudo-observations of the rows in it.
struct State {
    predictor: Predictor,
    predicted: Vec<Predicted>,
    expected: Vec<LogLikelihood>,
    /// `Σ E_q ln p − KL(q ‖ q before)`, each row as often as it counts.
    bound: f64,
}

impl Before<'_> {
    /// The pseudo-observations of the rows after at most `steps` steps from `start`, or from nothing.
    pub fn take<L: Likelihood>(
        &self,
        likelihood: L,
        rows: &Rows<'_>,
        start: Option<Vec<Site>>,
        steps: usize,
    ) -> Result<(Vec<Site>, Progress), NotFinite> {
        let predicted = predict(self.predictor, rows);
        let expected = expectations(likelihood, rows, &predicted);
        let before = expected.iter().map(|expected| expected.value).sum();
        let (mut sites, mut state, mut next);
        match start {
            Some(start) => {
                state = self.state(likelihood, rows, &start)?;
                (sites, next) = (start, state.natural_gradient());
            }
            None => {
                let pairs = predicted.iter().zip(&expected).zip(&rows.table.targets);
                next = pairs.map(|((predicted, expected), y)| alone(likelihood, *y, *predicted, *expected)).collect();
                sites = vec![Site::default(); rows.table.len()];
                let bound = expected.iter().zip(rows.times).map(|(expected, times)| times * expected.value).sum();
                state = State { predictor: self.predictor.clone(), predicted, expected, bound };
            }
        }
        let mut clipped = false;
        for _ in 0..steps {
            let mut share = 1.0;
            let better = loop {
                let mixed: Vec<Site> = sites.iter().zip(&next).map(|(from, to)| from.towards(*to, share)).collect();
                // A q that can't be is not better, nor is a bound that is not a number.
                match self.state(likelihood, rows, &mixed) {
                    Ok(other) if other.bound >= state.bound - 1e-9 * state.bound.abs() => break Some((mixed, other)),
                    _ if share <= SHORTEST => break None,
                    _ => (share, clipped) = (0.5 * share, true),
                }
            };
            let Some((mixed, other)) = better else { break };
            let moved = |(from, to): (&Predicted, &Predicted)| (from.mean - to.mean).abs() / to.variance.sqrt();
            let most = state.predicted.iter().zip(&other.predicted).map(moved).fold(0.0, f64::max);
            (sites, state) = (mixed, other);
            next = state.natural_gradient();
            if most <= SETTLED {
                break;
            }
        }
        let step_norm = state.predictor.distance(self.predictor);
        Ok((sites, Progress { expected_log_likelihood: Some(before), step_norm: Some(step_norm), clipped }))
    }

    fn state<L: Likelihood>(&self, likelihood: L, rows: &Rows<'_>, sites: &[Site]) -> Result<State, NotFinite> {
        let mut sum = self.pseudo.clone();
        sum.add(&statistics(rows.raw, sites, rows.times));
        let predictor = Predictor::new(self.units.clone(), &sum, PLAIN, self.prior)?;
        let predicted = predict(&predictor, rows);
        let expected = expectations(likelihood, rows, &predicted);
        // q ∝ q before · Π exp(h η − ½ w η²), so KL(q ‖ q before) = Σ E[h η − ½ w η²] − A + A before.
        let terms = predicted.iter().zip(&expected).zip(sites).map(|((Predicted { mean, variance }, expected), site)| {
            expected.value + 0.5 * site.weight * (variance + mean * mean) - site.shift * mean
        });
        let sum: f64 = terms.zip(rows.times).map(|(term, times)| times * term).sum();
        let bound = sum + predictor.log_normaliser() - self.predictor.log_normaliser();
        Ok(State { predictor, predicted, expected, bound })
    }
}

impl State {
    fn natural_gradient(&self) -> Vec<Site> {
        self.predicted.iter().zip(&self.expected).map(|(predicted, expected)| Site::of(*predicted, *expected)).collect()
    }
}

/// The statistics of pseudo-observations, each counted so many `times`.
pub fn statistics(raw: &Raw, sites: &[Site], times: &[f64]) -> Joint {
    let weights: Vec<f64> = sites.iter().zip(times).map(|(site, times)| times * site.weight.max(LEAST_WEIGHT)).collect();
    raw.weighted(&weights, sites.iter().map(|site| site.shift / site.weight.max(LEAST_WEIGHT)))
}

fn predict(predictor: &Predictor, rows: &Rows<'_>) -> Vec<Predicted> {
    predictor.predict(rows.table).into_iter().map(Predicted::within_reach).collect()
}

impl Site {
    /// The natural gradient's.
    fn of(predicted: Predicted, expected: LogLikelihood) -> Self {
        Self { weight: expected.precision, shift: expected.gradient + expected.precision * predicted.mean }
    }

    fn towards(self, other: Self, share: f64) -> Self {
        let mix = |from: f64, to: f64| if share == 1.0 { to } else { (1.0 - share) * from + share * to };
        Self { weight: mix(self.weight, other.weight), shift: mix(self.shift, other.shift) }
    }
}

fn expectations<L: Likelihood>(likelihood: L, rows: &Rows<'_>, predicted: &[Predicted]) -> Vec<LogLikelihood> {
    let pairs = rows.table.targets.iter().zip(predicted);
    pairs.map(|(y, predicted)| likelihood.expected(*y, predicted.mean, predicted.variance)).collect()
}

/// The pseudo-observation of a row as if it were the only one of the block, given what was expected of it before: at the fixed point
/// where the row tells much, since the natural gradient can lead far astray there, and after one step elsewhere.
fn alone<L: Likelihood>(likelihood: L, y: f64, before: Predicted, expected: LogLikelihood) -> Site {
    let Predicted { mean, variance } = before;
    if variance * expected.precision <= TELLING {
        return Site::of(before, expected);
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
    let found = LogLikelihood { gradient: (at.mean - mean) / variance, ..found };
    Site::of(at, found)
}

/// Rounds of looking for a row's own fixed point.
const MOST_ROUNDS: usize = 50;

/// Where no root is looked for any more.
const FURTHEST: f64 = 1e9;

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
