//! Counts, booleans and categories: what components expect of them, and their statistics.

use super::frame::{Batch, MISSING};
use super::kernel::{self, Matrix};
use super::prior::Prior;
use super::statistics::{Numbers, Statistics, Sum};
use crate::dist::beta::Beta;
use crate::dist::family::ExponentialFamily;
use crate::dist::gamma::Gamma;
use crate::dist::special::{digamma, ln_gamma};

/// What components expect of the columns that are no numbers: a row a component, in each table.
#[derive(Clone, Debug)]
pub struct Discrete {
    counts: Vec<Vec<Rate>>,
    /// Log masses of (false, true) `[columns][rows]`.
    booleans: Vec<Vec<[f64; 2]>>,
    categories: Vec<Vec<Values>>,
}

/// Log masses of a category's values: `f(concentration of the slot) − f(sum of all)`, worked out for those that come.
#[derive(Clone, Debug)]
struct Values {
    concentrations: Vec<f64>,
    total: f64,
    /// ψ₀ for expected log masses, ln for predictive ones.
    f: fn(f64) -> f64,
}

impl Values {
    fn new(concentrations: Vec<f64>, f: fn(f64) -> f64) -> Self {
        Self { total: f(concentrations.iter().sum()), concentrations, f }
    }

    fn log_mass(&self, slot: usize) -> f64 {
        (self.f)(self.concentrations[slot]) - self.total
    }
}

/// Log masses of a count.
#[derive(Clone, Debug)]
enum Rate {
    /// `x · E ln λ − E λ − ln x!`.
    Expected { ln: f64, mean: f64 },
    /// Negative binomial, with the first masses at hand.
    Predictive(Gamma, Vec<f64>),
}

/// Counts above this are taken for it, so that their log masses stay finite.
const MOST: f64 = 1e300;

/// Counts below this have their predictive mass at hand.
const AT_HAND: usize = 64;

impl Rate {
    fn expected(gamma: &Gamma) -> Self {
        Self::Expected { ln: gamma.expected_ln(), mean: gamma.mean() }
    }

    fn predictive(gamma: Gamma) -> Self {
        let total = (gamma.rate + 1.0).ln();
        let mut mass = gamma.predictive_log_mass(0.0);
        let mut masses = Vec::with_capacity(AT_HAND);
        for x in 0..AT_HAND {
            masses.push(mass);
            // p(x + 1) / p(x) = (a + x) / ((x + 1)(b + 1)).
            mass += ((gamma.shape + x as f64) / (x as f64 + 1.0)).ln() - total;
        }
        Self::Predictive(gamma, masses)
    }
}

impl Discrete {
    /// Expected log masses, for learning.
    pub fn expected(prior: &Prior, components: &[Statistics]) -> Self {
        let (rates, chances) = posteriors(prior, components);
        let ln = |chance: &Beta| {
            let [yes, no] = chance.to_mean();
            [no, yes]
        };
        Self {
            counts: rates.into_iter().map(|column| column.iter().map(Rate::expected).collect()).collect(),
            booleans: chances.iter().map(|column| column.iter().map(ln).collect()).collect(),
            categories: values(prior, components, digamma),
        }
    }

    /// Predictive log masses, for scoring. The last row is the background, if there is to be one.
    pub fn predictive(prior: &Prior, components: &[Statistics], background: bool) -> Self {
        let (rates, chances) = posteriors(prior, components);
        let ln = |chance: &Beta| {
            let [yes, no] = chance.predictive_log_mass();
            [no, yes]
        };
        let mut tables = Self {
            counts: rates.into_iter().map(|column| column.into_iter().map(Rate::predictive).collect()).collect(),
            booleans: chances.iter().map(|column| column.iter().map(ln).collect()).collect(),
            categories: values(prior, components, f64::ln),
        };
        if background {
            tables.counts.iter_mut().zip(&prior.rates).for_each(|(column, rate)| column.push(Rate::predictive(*rate)));
            tables.booleans.iter_mut().for_each(|column| column.push([0.5_f64.ln(); 2]));
            for (column, values) in tables.categories.iter_mut().zip(&prior.values) {
                column.push(Values::new(vec![1.0; values.len()], f64::ln));
            }
        }
        tables
    }

    /// Adds the log masses of the batch's cells to `log` `[rows, events]`.
    pub fn add_to(&self, batch: &Batch, log: &mut Matrix) {
        let (counts, booleans) = batch.sums.split_at(self.counts.len());
        for (cells, rates) in counts.iter().zip(&self.counts) {
            for (event, &x) in cells.iter().enumerate().filter(|(_, x)| !x.is_nan()) {
                let x = x.min(MOST);
                let ln_factorial = if let Some(Rate::Expected { .. }) = rates.first() { ln_gamma(x + 1.0) } else { 0.0 };
                for (row, rate) in rates.iter().enumerate() {
                    *log.at(row, event) += match rate {
                        Rate::Expected { ln, mean } => x * ln - mean - ln_factorial,
                        Rate::Predictive(_, masses) if x < AT_HAND as f64 => masses[x as usize],
                        Rate::Predictive(gamma, _) => gamma.predictive_log_mass(x),
                    };
                }
            }
        }
        for (cells, chances) in booleans.iter().zip(&self.booleans) {
            for (event, x) in cells.iter().enumerate().filter(|(_, x)| !x.is_nan()) {
                let side = usize::from(*x != 0.0);
                chances.iter().enumerate().for_each(|(row, chance)| *log.at(row, event) += chance[side]);
            }
        }
        for (slots, rows) in batch.categories.iter().zip(&self.categories) {
            // Log masses `[slots][rows]` of the values that have come so far.
            let known = rows.first().map_or(0, |values| values.concentrations.len());
            let mut masses: Vec<Option<Vec<f64>>> = vec![None; known];
            for (event, &slot) in slots.iter().enumerate().filter(|(_, slot)| **slot != MISSING) {
                let masses = masses[slot].get_or_insert_with(|| rows.iter().map(|values| values.log_mass(slot)).collect());
                masses.iter().enumerate().for_each(|(row, mass)| *log.at(row, event) += mass);
            }
        }
    }
}

/// Posteriors of counts and of booleans, `[columns][components]`.
pub fn posteriors(prior: &Prior, components: &[Statistics]) -> (Vec<Vec<Gamma>>, Vec<Vec<Beta>>) {
    let split = prior.rates.len();
    let of = |at: usize| components.iter().map(move |component| component.sums[at]);
    let rates = prior.rates.iter().enumerate().map(|(c, rate)| of(c).map(|seen| rate.observe(seen.count, seen.sum)).collect());
    let chance = |(c, chance): (usize, &Beta)| of(split + c).map(|seen| chance.observe(seen.count, seen.sum)).collect();
    (rates.collect(), prior.chances.iter().enumerate().map(chance).collect())
}

fn values(prior: &Prior, components: &[Statistics], f: fn(f64) -> f64) -> Vec<Vec<Values>> {
    let column = |c| components.iter().map(|component| Values::new(prior.observe_values(c, component), f)).collect();
    (0..prior.values.len()).map(column).collect()
}

/// Statistics of the columns that are no numbers, under one row of responsibilities, put together with those of `numbers`.
pub fn gather(batch: &Batch, responsibilities: &Matrix, row: usize, numbers: Numbers) -> Statistics {
    let weights = responsibilities.row(row).as_flattened();
    let sum = |cells: &Vec<f64>| {
        let mut sum = Sum::default();
        for (x, weight) in cells.iter().zip(weights).filter(|(x, _)| !x.is_nan()) {
            sum.count += weight;
            sum.sum += weight * x;
        }
        sum
    };
    let slots = |cells: &Vec<usize>| {
        let last = cells.iter().copied().filter(|slot| *slot != MISSING).max().unwrap_or(0);
        let mut counts = vec![0.0; last + 1];
        for (slot, weight) in cells.iter().zip(weights).filter(|(slot, _)| **slot != MISSING) {
            counts[*slot] += weight;
        }
        counts
    };
    Statistics {
        events: kernel::total(responsibilities.row(row)),
        numbers,
        sums: batch.sums.iter().map(sum).collect(),
        categories: batch.categories.iter().map(slots).collect(),
    }
}
