//! Counts, booleans and categories: what components expect of them, how well that is known, and their statistics.
//!
//! Events bring few of all the values that there may be, so what a value is worth in every component is worked out when it comes.

use std::sync::LazyLock;

use pulp::{Arch, Simd, WithSimd};

use super::batch::{Batch, MISSING};
use super::kernel::{Matrix, total};
use super::prior::Prior;
use super::statistics::{Numbers, Statistics, Sum};
use super::tally::Tally;
use super::values::Values;
use crate::dist::beta::Beta;
use crate::dist::family::ExponentialFamily;
use crate::dist::gamma::{self, Gamma};
use crate::dist::lanes::{LANES, Lanes, ln};
use crate::dist::special::ln_gamma;

/// Expected log masses of the columns that are no numbers, a row a component.
#[derive(Clone, Debug)]
pub struct ExpectedMasses {
    /// `(E ln λ, E λ)` `[columns][rows]`.
    rates: Vec<Vec<(f64, f64)>>,
    booleans: Vec<Vec<[f64; 2]>>,
    categories: Vec<Values>,
}

/// Predictive log masses of the columns that are no numbers, a row a component, and last the background if there is to be one.
#[derive(Clone, Debug)]
pub struct PredictiveMasses {
    rates: Vec<Rates>,
    booleans: Vec<Vec<[f64; 2]>>,
    categories: Vec<Values>,
    variances: Variances,
}

/// Variances of log masses under the posterior, `[columns][components]` each.
#[derive(Clone, Debug)]
struct Variances {
    /// Polynomials in the count.
    counts: Vec<Vec<[f64; 3]>>,
    /// Of (false, true).
    booleans: Vec<Vec<[f64; 2]>>,
}

/// Counts above this are taken for it, so that their log masses stay finite.
const MOST: f64 = 1e300;

/// Counts below this have their factorials and predictive masses at hand.
const AT_HAND: usize = 64;

/// ln x! of counts at hand.
static LN_FACTORIALS: LazyLock<[f64; AT_HAND]> = LazyLock::new(|| std::array::from_fn(|x| ln_gamma(x as f64 + 1.0)));

impl ExpectedMasses {
    /// What `components` expect.
    pub fn new(prior: &Prior, components: &[&Statistics]) -> Self {
        let (rates, chances) = posteriors(prior, components);
        let sides = |chance: &Beta| {
            let [yes, no] = chance.to_mean();
            [no, yes]
        };
        Self {
            rates: rates.iter().map(|column| column.iter().map(|rate| (rate.expected_ln(), rate.mean())).collect()).collect(),
            booleans: chances.iter().map(|column| column.iter().map(sides).collect()).collect(),
            categories: (0..prior.values.len()).map(|column| Values::expected(prior, column, components)).collect(),
        }
    }

    /// Adds the expected log masses of the batch's cells to `log` `[rows, events]`.
    pub fn add_to(&self, batch: &Batch, log: &mut Matrix) {
        let (counts, booleans) = batch.sums.split_at(self.rates.len());
        for (cells, rates) in counts.iter().zip(&self.rates) {
            for (event, &x) in cells.iter().enumerate().filter(|(_, x)| !x.is_nan()) {
                let x = x.min(MOST);
                let ln_factorial = if x < AT_HAND as f64 { LN_FACTORIALS[x as usize] } else { ln_gamma(x + 1.0) };
                for (row, (ln, mean)) in rates.iter().enumerate() {
                    *log.at(row, event) += x * ln - mean - ln_factorial;
                }
            }
        }
        add_booleans(&self.booleans, booleans, log);
        self.categories.iter().zip(&batch.categories).for_each(|(values, slots)| values.add_to(slots, log));
    }
}

impl PredictiveMasses {
    /// What `components` predict.
    pub fn new(prior: &Prior, components: &[&Statistics], background: bool) -> Self {
        let (mut rates, chances) = posteriors(prior, components);
        let variances = Variances {
            counts: rates.iter().map(|column| column.iter().map(|rate| rate.log_mass_variance_polynomial()).collect()).collect(),
            booleans: chances
                .iter()
                .map(|column| column.iter().map(|chance| swap(chance.log_mass_variance())).collect())
                .collect(),
        };
        let sides = |chance: &Beta| swap(chance.predictive_log_mass());
        let mut booleans: Vec<Vec<[f64; 2]>> = chances.iter().map(|column| column.iter().map(sides).collect()).collect();
        if background {
            rates.iter_mut().zip(&prior.rates).for_each(|(column, rate)| column.push(*rate));
            booleans.iter_mut().for_each(|column| column.push([0.5_f64.ln(); 2]));
        }
        Self {
            rates: rates.into_iter().map(Rates::new).collect(),
            booleans,
            categories: (0..prior.values.len()).map(|column| Values::predictive(prior, column, components, background)).collect(),
            variances,
        }
    }

    /// Adds the log masses of the batch's cells to `log` `[rows, events]`.
    pub fn add_to(&self, batch: &Batch, log: &mut Matrix) {
        let (counts, booleans) = batch.sums.split_at(self.rates.len());
        self.rates.iter().zip(counts).for_each(|(rates, cells)| rates.add_to(cells, log));
        add_booleans(&self.booleans, booleans, log);
        self.categories.iter().zip(&batch.categories).for_each(|(values, slots)| values.add_to(slots, log));
    }

    /// Adds the variances of the log masses of `events` in component `row` to `variances`.
    pub fn add_variances(&self, row: usize, batch: &Batch, events: &[usize], variances: &mut [f64]) {
        let (counts, booleans) = batch.sums.split_at(self.rates.len());
        for (at, event) in events.iter().enumerate() {
            let present = |cells: &Vec<f64>| Some(cells[*event]).filter(|x| !x.is_nan());
            for (cells, column) in counts.iter().zip(&self.variances.counts) {
                variances[at] += present(cells).map_or(0.0, |x| gamma::log_mass_variance(column[row], x));
            }
            for (cells, column) in booleans.iter().zip(&self.variances.booleans) {
                variances[at] += present(cells).map_or(0.0, |x| column[row][usize::from(x != 0.0)]);
            }
            for (slots, values) in batch.categories.iter().zip(&self.categories) {
                let slot = Some(slots[*event]).filter(|slot| *slot != MISSING);
                variances[at] += slot.map_or(0.0, |slot| values.log_mass_variance(row, slot));
            }
        }
    }
}

/// (true, false) as (false, true), by which a cell is looked up.
fn swap([yes, no]: [f64; 2]) -> [f64; 2] {
    [no, yes]
}

fn add_booleans(columns: &[Vec<[f64; 2]>], cells: &[Vec<f64>], log: &mut Matrix) {
    for (cells, chances) in cells.iter().zip(columns) {
        for (event, x) in cells.iter().enumerate().filter(|(_, x)| !x.is_nan()) {
            let side = usize::from(*x != 0.0);
            chances.iter().enumerate().for_each(|(row, chance)| *log.at(row, event) += chance[side]);
        }
    }
}

/// A count column's negative binomials, a row each.
#[derive(Clone, Debug)]
struct Rates {
    gammas: Vec<Gamma>,
    /// Shapes, rates' `ln(b + 1)` and log masses of 0, eight rows at a time.
    lanes: Vec<[Lanes; 3]>,
}

impl Rates {
    fn new(gammas: Vec<Gamma>) -> Self {
        let lanes = |rows: &[Gamma]| {
            let lane = |of: fn(&Gamma) -> f64| std::array::from_fn(|i| rows.get(i).map_or(1.0, of));
            [lane(|rate| rate.shape), lane(|rate| (rate.rate + 1.0).ln()), lane(|rate| rate.predictive_log_mass(0.0))]
        };
        Self { lanes: gammas.chunks(LANES).map(lanes).collect(), gammas }
    }

    fn add_to(&self, cells: &[f64], log: &mut Matrix) {
        let at_hand = |x: f64| x < AT_HAND as f64;
        let most = cells.iter().copied().filter(|x| at_hand(*x)).fold(-1.0, f64::max);
        let masses = Arch::new().dispatch(Masses { rates: self, count: (most + 1.0) as usize });
        for (event, &x) in cells.iter().enumerate().filter(|(_, x)| !x.is_nan()) {
            for (row, gamma) in self.gammas.iter().enumerate() {
                *log.at(row, event) += match at_hand(x) {
                    true => masses[x as usize * self.lanes.len() + row / LANES][row % LANES],
                    false => gamma.predictive_log_mass(x.min(MOST)),
                };
            }
        }
    }
}

/// Log masses `[0..count, rows]` by `p(x + 1) / p(x) = (a + x) / ((x + 1)(b + 1))`.
struct Masses<'a> {
    rates: &'a Rates,
    count: usize,
}

impl WithSimd for Masses<'_> {
    type Output = Vec<Lanes>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<Lanes> {
        let stride = self.rates.lanes.len();
        let mut masses = vec![[0.0; LANES]; self.count * stride];
        for (at, [shape, ln_rate, first]) in self.rates.lanes.iter().enumerate() {
            let mut mass = *first;
            for x in 0..self.count {
                masses[x * stride + at] = mass;
                let mut ratio = *shape;
                for i in 0..LANES {
                    ratio[i] = (shape[i] + x as f64) / (x as f64 + 1.0);
                }
                let ratio = ln(ratio);
                for i in 0..LANES {
                    mass[i] += ratio[i] - ln_rate[i];
                }
            }
        }
        masses
    }
}

/// Posteriors of counts and of booleans, `[columns][components]`.
pub fn posteriors(prior: &Prior, components: &[&Statistics]) -> (Vec<Vec<Gamma>>, Vec<Vec<Beta>>) {
    let split = prior.rates.len();
    let of = |at: usize| components.iter().map(move |component| component.sums[at]);
    let rates = prior.rates.iter().enumerate().map(|(c, rate)| of(c).map(|seen| rate.observe(seen.count, seen.sum)).collect());
    let chance = |(c, chance): (usize, &Beta)| of(split + c).map(|seen| chance.observe(seen.count, seen.sum)).collect();
    (rates.collect(), prior.chances.iter().enumerate().map(chance).collect())
}

/// Statistics of events under `responsibilities` `[components, events]`, from those of their numbers.
pub fn gather(batch: &Batch, responsibilities: &Matrix, numbers: Vec<Numbers>) -> Vec<Statistics> {
    let component = |(row, numbers)| {
        let events: Vec<(usize, f64)> =
            responsibilities.above(row, 0.0).into_iter().map(|event| (event, responsibilities.get(row, event))).collect();
        Statistics {
            events: total(responsibilities.row(row)),
            numbers,
            sums: batch.sums.iter().map(|cells| sum(cells, &events)).collect(),
            categories: batch.categories.iter().map(|slots| tally(slots, &events)).collect(),
        }
    };
    numbers.into_iter().enumerate().map(component).collect()
}

fn sum(cells: &[f64], events: &[(usize, f64)]) -> Sum {
    let mut sum = Sum::default();
    for (x, weight) in events.iter().map(|(event, weight)| (cells[*event], weight)).filter(|(x, _)| !x.is_nan()) {
        sum.count += weight;
        sum.sum += weight * x;
    }
    sum
}

fn tally(slots: &[usize], events: &[(usize, f64)]) -> Tally {
    let seen = || events.iter().map(|(event, weight)| (slots[*event], weight)).filter(|(slot, _)| *slot != MISSING);
    let mut counts = vec![0.0; seen().map(|(slot, _)| slot).max().unwrap_or(0) + 1];
    seen().for_each(|(slot, weight)| counts[slot] += weight);
    Tally::new(counts)
}
