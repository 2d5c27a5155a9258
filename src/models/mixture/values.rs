//! A category column's values: what they are worth in each component, worked out for those that come.

use std::sync::Arc;

use pulp::{Arch, Simd, WithSimd};

use super::batch::MISSING;
use super::kernel::Matrix;
use super::prior::Prior;
use super::statistics::Statistics;
use super::tally::Tally;
use crate::dist::lanes::{LANES, Lanes, digamma, ln};
use crate::dist::special::{self, trigamma};

/// Log masses of a category's values: `f(concentration of the value) − f(sum of all)`, with f = ψ₀ for expected log masses and ln for
/// predictive ones.
#[derive(Clone, Debug)]
pub struct Values {
    expected: bool,
    /// Prior concentrations `[slots]`.
    prior: Arc<Vec<f64>>,
    /// What each component has seen, `[components]`.
    seen: Vec<Tally>,
    /// f of the sums of all concentrations `[components]`.
    totals: Vec<f64>,
    /// ψ₁ of them; empty for expected masses.
    trigammas: Vec<f64>,
    /// The log mass of every value in the background, if there is one.
    background: Option<f64>,
}

impl Values {
    /// Expected log masses of column `column`.
    pub fn expected(prior: &Prior, column: usize, components: &[&Statistics]) -> Self {
        let totals = sums(prior, column, components).map(special::digamma).collect();
        Self { expected: true, totals, trigammas: Vec::new(), background: None, ..Self::new(prior, column, components) }
    }

    /// Predictive log masses of column `column`. In the background all values are alike.
    pub fn predictive(prior: &Prior, column: usize, components: &[&Statistics], background: bool) -> Self {
        let sums: Vec<f64> = sums(prior, column, components).collect();
        Self {
            expected: false,
            totals: sums.iter().map(|sum| sum.ln()).collect(),
            trigammas: sums.iter().map(|sum| trigamma(*sum)).collect(),
            background: background.then(|| -(prior.values[column].len() as f64).ln()),
            ..Self::new(prior, column, components)
        }
    }

    fn new(prior: &Prior, column: usize, components: &[&Statistics]) -> Self {
        Self {
            expected: false,
            prior: Arc::clone(&prior.values[column]),
            seen: components.iter().map(|component| component.categories[column].clone()).collect(),
            totals: Vec::new(),
            trigammas: Vec::new(),
            background: None,
        }
    }

    /// Adds the log masses of the values in `slots` to `log` `[components and background, events]`.
    pub fn add_to(&self, slots: &[usize], log: &mut Matrix) {
        // Which of the values that come is which.
        let (mut known, mut came) = (vec![MISSING; self.prior.len()], Vec::new());
        for &slot in slots.iter().filter(|slot| **slot != MISSING) {
            if known[slot] == MISSING {
                known[slot] = came.len();
                came.push(slot);
            }
        }
        let masses = Arch::new().dispatch(Masses { values: self, slots: &came });
        let rows = self.seen.len();
        for (event, &slot) in slots.iter().enumerate().filter(|(_, slot)| **slot != MISSING) {
            let masses = &masses[known[slot] * rows..][..rows];
            masses.iter().chain(&self.background).enumerate().for_each(|(row, mass)| *log.at(row, event) += mass);
        }
    }

    /// `Var ln θ` of the value in `slot` in a component.
    pub fn log_mass_variance(&self, component: usize, slot: usize) -> f64 {
        trigamma(self.concentration(component, slot)) - self.trigammas[component]
    }

    fn concentration(&self, component: usize, slot: usize) -> f64 {
        self.prior[slot] + self.seen[component].slot(slot)
    }
}

/// The sums of all concentrations `[components]`.
fn sums(prior: &Prior, column: usize, components: &[&Statistics]) -> impl Iterator<Item = f64> {
    let before: f64 = prior.values[column].iter().sum();
    components.iter().map(move |component| before + component.categories[column].total())
}

/// Log masses of values `[slots, components]`.
struct Masses<'a> {
    values: &'a Values,
    slots: &'a [usize],
}

impl WithSimd for Masses<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<f64> {
        let Self { values, slots } = self;
        let mut out = Vec::with_capacity(slots.len() * values.totals.len());
        for &slot in slots {
            for (at, totals) in values.totals.chunks(LANES).enumerate() {
                let mut lanes: Lanes = [1.0; LANES];
                for (i, lane) in lanes.iter_mut().enumerate().take(totals.len()) {
                    *lane = values.concentration(at * LANES + i, slot);
                }
                let lanes = if values.expected { digamma(lanes) } else { ln(lanes) };
                out.extend(lanes.iter().zip(totals).map(|(value, total)| value - total));
            }
        }
        out
    }
}
