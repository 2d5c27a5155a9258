//! What a component is expected to be before it has events of its own: empirical Bayes, from what all components have in common.
//!
//! In standard units a number's location is 0 and its variance the pooled within-component one; rates, chances and values are
//! expected to be as over all events. Also the closed-form evidence for a set of events being one component.

use pulp::{Arch, Simd, WithSimd};

use super::evidence::MixtureEvidence;
use super::frame::{Frame, Layout};
use super::statistics::{Cloud, Moments, Numbers, Statistics, Sum};
use crate::dist::beta::Beta;
use crate::dist::family::ExponentialFamily;
use crate::dist::gamma::Gamma;
use crate::dist::lanes::{self, LANES};
use crate::dist::normal_gamma::NormalGamma;
use crate::dist::normal_wishart::{NormalWishart, NotPositiveDefinite};
use crate::dist::special::ln_gamma;

/// κ₀: how many events the prior location of a number is worth. Little: components may lie anywhere.
const LOCATION_EVENTS: f64 = 0.1;

/// How many events of unit variance the pooled variance starts from.
const POOL_EVENTS: f64 = 20.0;

/// Variance added to each value, in units of the column's: nothing is known more finely than a thirtieth of a standard deviation,
/// or repeated values would make a component infinitely sure.
const RESOLUTION: f64 = 1e-3;

/// How many events the pooled share of a value is worth, in chances and categories.
const SHARE_EVENTS: f64 = 5.0;

/// What each value is worth beside that: Jeffreys' half an event.
const HALF: f64 = 0.5;

/// The prior of every component, in standard units.
#[derive(Clone, Debug)]
pub struct Prior {
    /// ν₀: how many events the prior variance is worth.
    scale_events: f64,
    /// Of each number.
    pub variance: Vec<f64>,
    /// Variance added to each value of each number.
    resolution: Vec<f64>,
    /// Whether each number has varied. One that has not says nothing about who belongs to whom.
    live: Vec<bool>,
    /// Log normaliser of the priors of all numbers that have varied, each by itself.
    numbers_normaliser: f64,
    /// Of each count.
    pub rates: Vec<Gamma>,
    /// Of each boolean.
    pub chances: Vec<Beta>,
    /// Concentrations of the values of each category, slot 0 being all that are not told apart or have not come.
    pub values: Vec<Vec<f64>>,
    /// ln Γ of them.
    ln_gammas: Vec<Vec<f64>>,
}

impl Prior {
    /// The prior that `evidence` suggests, with `components` its components in standard units.
    pub fn new(layout: &Layout, scale_events: f64, frame: &Frame, evidence: &MixtureEvidence, components: &[Statistics]) -> Self {
        let dim = layout.numbers.len();
        let adapts = |d: usize| frame.live[d] && !frame.fixed[d];
        let variance = (0..dim).map(|d| {
            let (mut count, mut scatter) = (POOL_EVENTS, POOL_EVENTS);
            for component in components {
                let (n, v) = match &component.numbers {
                    Numbers::Diagonal(columns) => (columns[d].count, columns[d].scatter),
                    Numbers::Full(cloud) => (cloud.count, cloud.scatter[(d, d)]),
                };
                (count, scatter) = (count + n, scatter + v);
            }
            if adapts(d) { scatter / count } else { 1.0 }
        });
        let (counts, booleans) = evidence.total.sums.split_at(layout.counts.len());
        let values =
            evidence.total.categories.iter().zip(&evidence.vocabularies).enumerate().map(|(column, (slots, vocabulary))| {
                let seen: f64 = slots.iter().sum();
                let share = |slot| if seen > 0.0 { evidence.total.slot(column, slot) / seen } else { 0.0 };
                (0..=vocabulary.len()).map(|slot| HALF + SHARE_EVENTS * share(slot)).collect()
            });
        let mut prior = Self {
            scale_events,
            live: frame.live.clone(),
            numbers_normaliser: 0.0,
            variance: variance.collect(),
            resolution: (0..dim).map(|d| if adapts(d) { RESOLUTION } else { 0.0 }).collect(),
            // An exponential with the pooled mean, to which one event of mean 1 is added.
            rates: counts.iter().map(|column| Gamma { shape: 1.0, rate: (1.0 + column.count) / (1.0 + column.sum) }).collect(),
            chances: booleans.iter().map(Self::chance).collect(),
            values: values.collect(),
            ln_gammas: Vec::new(),
        };
        prior.ln_gammas = prior.values.iter().map(|values| values.iter().map(|value| ln_gamma(*value)).collect()).collect();
        prior.numbers_normaliser = (0..dim).filter(|d| frame.live[*d]).map(|d| prior.number(d).log_normaliser()).sum();
        prior
    }

    fn chance(pooled: &Sum) -> Beta {
        let share = if pooled.count > 0.0 { pooled.sum / pooled.count } else { 0.5 };
        Beta { yes: HALF + SHARE_EVENTS * share, no: HALF + SHARE_EVENTS * (1.0 - share) }
    }

    /// The prior of a number by itself.
    pub fn number(&self, column: usize) -> NormalGamma {
        let scatter = self.scale_events * self.variance[column];
        NormalGamma { mean: 0.0, strength: LOCATION_EVENTS, dof: self.scale_events, scatter }
    }

    /// The posterior of a number by itself.
    pub fn observe_number(&self, column: usize, seen: &Moments) -> NormalGamma {
        self.number(column).observe(seen.count, seen.mean, seen.scatter + self.resolution[column] * seen.count)
    }

    /// The prior of all numbers jointly; each by itself has that of [`number`](Self::number).
    pub fn numbers(&self) -> NormalWishart {
        let dim = self.variance.len();
        let scatter = nalgebra::DVector::from_iterator(dim, self.variance.iter().map(|v| self.scale_events * v));
        NormalWishart {
            mean: nalgebra::DVector::zeros(dim),
            strength: LOCATION_EVENTS,
            dof: self.scale_events + dim as f64 - 1.0,
            scatter: nalgebra::DMatrix::from_diagonal(&scatter),
        }
    }

    /// The posterior of all numbers jointly.
    pub fn observe_numbers(&self, seen: &Cloud) -> NormalWishart {
        let mut posterior = self.numbers().observe(seen.count, &seen.mean, &seen.scatter);
        for (d, resolution) in self.resolution.iter().enumerate() {
            posterior.scatter[(d, d)] += resolution * seen.count;
        }
        posterior
    }

    /// The marginal of the numbers that have varied.
    pub fn of_live(&self, belief: &NormalWishart) -> NormalWishart {
        let live: Vec<usize> = (0..self.live.len()).filter(|d| self.live[*d]).collect();
        NormalWishart {
            mean: belief.mean.select_rows(&live),
            strength: belief.strength,
            dof: belief.dof - (self.live.len() - live.len()) as f64,
            scatter: belief.scatter.select_rows(&live).select_columns(&live),
        }
    }

    /// The posterior concentrations of a category's values, slot 0 first.
    pub fn observe_values(&self, column: usize, seen: &Statistics) -> Vec<f64> {
        self.values[column].iter().enumerate().map(|(slot, prior)| prior + seen.slot(column, slot)).collect()
    }

    /// The closed-form log marginal likelihood of events with these statistics being one component, but for terms that any
    /// partition of the same events shares.
    pub fn log_evidence(&self, seen: &Statistics) -> Result<f64, NotPositiveDefinite> {
        let mut sum = match &seen.numbers {
            Numbers::Diagonal(columns) => {
                // As `NormalGamma::log_normaliser`; columns seen equally often share what depends on the count only.
                let mut shared = (f64::NAN, 0.0);
                let log_normaliser = |number: NormalGamma| {
                    if number.dof != shared.0 {
                        shared = (number.dof, ln_gamma(0.5 * number.dof) - 0.5 * number.strength.ln());
                    }
                    shared.1 - 0.5 * number.dof * (0.5 * number.scatter).ln()
                };
                let live = columns.iter().enumerate().filter(|(d, _)| self.live[*d]);
                let posterior = live.map(|(d, column)| self.observe_number(d, column));
                posterior.map(log_normaliser).sum::<f64>() - self.numbers_normaliser
            }
            Numbers::Full(cloud) => {
                let of_live = |belief: &NormalWishart| self.of_live(belief).factored();
                of_live(&self.observe_numbers(cloud))?.log_normaliser() - of_live(&self.numbers())?.log_normaliser()
            }
        };
        let (counts, booleans) = seen.sums.split_at(self.rates.len());
        for (rate, column) in self.rates.iter().zip(counts) {
            sum += rate.observe(column.count, column.sum).log_normaliser() - rate.log_normaliser();
        }
        for (chance, column) in self.chances.iter().zip(booleans) {
            sum += chance.observe(column.count, column.sum).log_normaliser() - chance.log_normaliser();
        }
        for ((values, ln_gammas), counts) in self.values.iter().zip(&self.ln_gammas).zip(&seen.categories) {
            // As the difference of `dirichlet::log_normaliser`.
            let (rise, came) = Arch::new().dispatch(Rise { values, ln_gammas, counts });
            let total: f64 = values.iter().sum();
            sum += rise - (ln_gamma(total + came) - ln_gamma(total));
        }
        Ok(sum)
    }
}

/// `Σ ln Γ(a + n) − ln Γ(a)` over the values of a category, and `Σ n`.
struct Rise<'a> {
    values: &'a [f64],
    ln_gammas: &'a [f64],
    counts: &'a [f64],
}

impl WithSimd for Rise<'_> {
    type Output = (f64, f64);

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> (f64, f64) {
        let Self { values, ln_gammas, counts } = self;
        let (mut rise, mut came) = (0.0, 0.0);
        for ((values, ln_gammas), counts) in values.chunks(LANES).zip(ln_gammas.chunks(LANES)).zip(counts.chunks(LANES)) {
            let mut after = [1.0; LANES];
            for ((after, value), count) in after.iter_mut().zip(values).zip(counts) {
                *after = value + count;
                came += count;
            }
            let after = lanes::ln_gamma(after);
            for (i, before) in ln_gammas.iter().enumerate().take(counts.len()) {
                rise += after[i] - before;
            }
        }
        (rise, came)
    }
}
