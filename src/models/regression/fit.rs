//! A block taken into the normal posterior of linear predictors, where the likelihood is not normal.
//!
//! Each row becomes a *pseudo-observation* of each contrast of its predictors: a normal likelihood `N(t | η, 1/w)` with
//! `w = E[−∂² ln p]` and `w t = E[∂ ln p] + w E η`, expectations under the q that results. This is the rule's natural-gradient step,
//! `Λ += Σ w φφᵀ`, `h += Σ w t φ` with φ = (1, z), taken at its own fixed point: q maximises the block's bound
//! `Σ E_q ln p(y | η) − KL(q ‖ q before)` (Khan & Rue 2023, section 1.3; Challis & Barber 2013; Chang et al. 2022). Steps that lower
//! the bound are shortened.

use super::batch::{Observed, Raw};
use super::joint::Joint;
use super::predictor::{Predicted, Prior};
use super::target::{Coefficients, Expected, Site, Target};
use super::tensors::Placed;
use super::units::Units;
use crate::models::{NotFinite, Progress, Standard};

/// What is measured in no unit: the pseudo-targets.
pub const PLAIN: Standard = Standard { location: 0.0, scale: 1.0 };

/// The least weight: below it nothing is said, and t is still a number.
const LEAST_WEIGHT: f64 = 1e-20;

/// A step shorter than this share of the natural-gradient step is none.
const SHORTEST: f64 = 1e-3;

/// Steps end when no predictor has moved by more than this many standard deviations.
const SETTLED: f64 = 1e-3;

/// As long as a predictor moves by more than this many standard deviations, as it may when little is known, steps go on beyond those
/// asked for.
const MOVING: f64 = 0.3;

/// No step beyond those asked for comes after so many.
const MOST_STEPS: usize = 20;

/// What is believed without the rows, and all that a step needs to know.
pub struct Before<'a, C> {
    pub units: &'a Units,
    pub prior: Prior,
    /// All other pseudo-observations, a sum a contrast.
    pub pseudo: &'a [Joint],
    /// q of them.
    pub coefficients: &'a C,
}

/// Rows to be taken in.
pub struct Rows<'a> {
    pub placed: &'a Placed<'a>,
    pub raw: &'a Raw<'a>,
    /// How many times each counts.
    pub times: &'a [f64],
}

/// q with some pseudo-observations of the rows in it.
struct State<T: Target> {
    coefficients: T::Coefficients,
    predicted: Vec<Expected<T>>,
    /// Pseudo-observations by the natural gradient, `[rows, contrasts]`.
    natural: Vec<Site>,
    /// `Σ E_q ln p − KL(q ‖ q before)`, each row as often as it counts.
    bound: f64,
}

impl<C: Coefficients> Before<'_, C> {
    /// The pseudo-observations of the rows `[rows, contrasts]` after at most `steps` steps from `start`, or from nothing, and some more
    /// where these lead far.
    pub fn take<T: Target<Coefficients = C>>(
        &self,
        target: &T,
        rows: &Rows<'_>,
        start: Option<Vec<Site>>,
        steps: usize,
    ) -> Result<(Vec<Site>, Progress), NotFinite> {
        let predicted = self.coefficients.predict(rows.placed);
        let (values, natural) = target.expected(&rows.placed.table.targets, &predicted);
        let before = values.iter().sum();
        let (mut sites, mut state, mut next);
        match start {
            Some(start) => {
                state = self.state(target, rows, &start)?;
                (sites, next) = (start, state.natural.clone());
            }
            None => {
                next = target.alone(&rows.placed.table.targets, &predicted);
                sites = vec![Site::default(); next.len()];
                let bound = values.iter().zip(rows.times).map(|(value, times)| times * value).sum();
                state = State { coefficients: self.coefficients.clone(), predicted, natural, bound };
            }
        }
        let mut clipped = false;
        for step in 1..=steps.max(MOST_STEPS) {
            let mut share = 1.0;
            let better = loop {
                let mixed: Vec<Site> = sites.iter().zip(&next).map(|(from, to)| from.towards(*to, share)).collect();
                // A q that can't be is not better, nor is a bound that is not a number.
                match self.state(target, rows, &mixed) {
                    Ok(other) if other.bound >= state.bound - 1e-9 * state.bound.abs() => break Some((mixed, other)),
                    _ if share <= SHORTEST => break None,
                    _ => (share, clipped) = (0.5 * share, true),
                }
            };
            let Some((mixed, other)) = better else { break };
            let most = moved(target, &state, &other);
            (sites, state) = (mixed, other);
            next.clone_from(&state.natural);
            if most <= SETTLED || step >= steps && most <= MOVING {
                break;
            }
        }
        let step_norm = state.coefficients.distance(self.coefficients);
        Ok((sites, Progress { expected_log_likelihood: Some(before), step_norm: Some(step_norm), clipped }))
    }

    fn state<T: Target<Coefficients = C>>(&self, target: &T, rows: &Rows<'_>, sites: &[Site]) -> Result<State<T>, NotFinite> {
        let contrasts = target.contrasts();
        let mut sum = self.pseudo.to_vec();
        sum.iter_mut().zip(&statistics(rows.raw, sites, rows.times, contrasts)).for_each(|(sum, news)| sum.add(news));
        let coefficients = C::new(self.units.clone(), &sum, self.prior)?;
        let predicted = coefficients.predict(rows.placed);
        let (values, natural) = target.expected(&rows.placed.table.targets, &predicted);
        // With Λ = Λ before + Σ w φφᵀ, KL(q ‖ q before) = ½ (ln|Λ| − ln|Λ before| + Δᵀ Λ before Δ − Σ w Var η): unlike log normalisers,
        // of which large counts make large numbers, nothing here cancels.
        let term = |(site, contrast): (&Site, Predicted)| 0.5 * site.weight * contrast.variance;
        let terms =
            predicted.iter().zip(&values).zip(sites.chunks_exact(contrasts)).map(|((predicted, value), sites)| {
                value + sites.iter().zip(target.contrasts_of(predicted)).map(term).sum::<f64>()
            });
        let sum: f64 = terms.zip(rows.times).map(|(term, times)| times * term).sum();
        let determinants = coefficients.ln_determinant() - self.coefficients.ln_determinant();
        let bound = sum - 0.5 * (determinants + self.coefficients.distance(&coefficients).powi(2));
        Ok(State { coefficients, predicted, natural, bound })
    }
}

/// The most standard deviations that a contrast has moved by.
fn moved<T: Target>(target: &T, from: &State<T>, to: &State<T>) -> f64 {
    let pairs = from.predicted.iter().zip(&to.predicted);
    let pairs = pairs.flat_map(|(from, to)| target.contrasts_of(from).zip(target.contrasts_of(to)));
    pairs.map(|(from, to)| (from.mean - to.mean).abs() / to.variance.sqrt()).fold(0.0, f64::max)
}

/// The statistics of pseudo-observations `[rows, contrasts]`, each row counted so many `times`: a sum a contrast.
pub fn statistics(raw: &Raw<'_>, sites: &[Site], times: &[f64], contrasts: usize) -> Vec<Joint> {
    let of = |contrast: usize| {
        let sites = || sites.iter().skip(contrast).step_by(contrasts);
        Observed {
            weights: sites().zip(times).map(|(site, times)| times * site.weight.max(LEAST_WEIGHT)).collect(),
            targets: sites().map(|site| site.shift / site.weight.max(LEAST_WEIGHT)).collect(),
        }
    };
    raw.weighted(&(0..contrasts).map(of).collect::<Vec<_>>())
}

impl Site {
    fn towards(self, other: Self, share: f64) -> Self {
        let mix = |from: f64, to: f64| if share == 1.0 { to } else { (1.0 - share) * from + share * to };
        Self { weight: mix(self.weight, other.weight), shift: mix(self.shift, other.shift) }
    }
}
