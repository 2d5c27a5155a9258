//! The arithmetic of number columns by themselves, eight events at a time: log densities, their variances, and statistics.
//!
//! The two matrix products of a mixture, `log joint = statistics · expected natural parameters` and `new statistics = responsibilitiesᵀ ·
//! statistics`, written about each component's mean, where they don't cancel.

use std::f64::consts::{LN_2, PI};
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::batch::NumberColumns;
use super::kernel::{Matrix, TILE, logarithms, select, tile, total};
use super::statistics::Moments;
use crate::dist::lanes::{LANES, Lanes, across, ln, vectors, vectors_mut};
use crate::dist::normal_gamma::{FARTHEST_SQUARE, NormalGamma};
use crate::dist::special::{LN_TAU, digamma, ln_gamma_half_step, trigamma};

/// Expected log densities of normals, a row a component: `Σ_d constant − weight · (z − centre)²`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gaussians {
    /// Columns.
    pub dim: usize,
    /// `[rows, dim]`.
    pub centre: Vec<f64>,
    /// ½ E τ `[rows, dim]`; 0 for a column that is not live.
    pub weight: Vec<f64>,
    /// `½ (E ln τ − ln 2π − 1/κ)` `[rows, dim]`.
    pub constant: Vec<f64>,
    /// What they come from, and ln ψ `[rows, dim]`.
    pub beliefs: Vec<(NormalGamma, f64)>,
}

/// Log densities of Student's t, a row a component: `Σ_d peak − exponent · ln(1 + inverse · (z − centre)²)`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Students {
    /// Columns.
    pub dim: usize,
    /// `[rows, dim]`.
    pub centre: Vec<f64>,
    /// `1/(ν s²)` `[rows, dim]`; 0 for a column that is not live.
    pub inverse: Vec<f64>,
    /// `(ν + 1)/2` `[rows, dim]`.
    pub exponent: Vec<f64>,
    /// `[rows, dim]`.
    pub peak: Vec<f64>,
    /// Variances of the components' log densities under the posterior, as polynomials in `(z − centre)²` `[components, dim]`; zeros for a
    /// column that is not live. The background, whose row comes last, has none.
    pub variances: Vec<[f64; 3]>,
}

impl Gaussians {
    /// The table of `beliefs` `[rows, dim]` about columns of which some are `live` `[dim]`.
    pub fn new(beliefs: Vec<NormalGamma>, live: &[bool]) -> Self {
        let ln_scatters = logarithms(beliefs.iter().map(|belief| belief.scatter).collect());
        let len = beliefs.len();
        let [centre, weight, constant] = [(); 3].map(|()| Vec::with_capacity(len));
        let mut table = Self { dim: live.len(), centre, weight, constant, beliefs: Vec::with_capacity(len) };
        // Columns seen equally often share what depends on the count only.
        let mut shared = (f64::NAN, 0.0);
        for ((belief, ln_scatter), live) in beliefs.into_iter().zip(ln_scatters).zip(live.iter().cycle()) {
            let NormalGamma { mean, strength, dof, scatter } = belief;
            if dof != shared.0 {
                shared = (dof, digamma(0.5 * dof) + LN_2 - LN_TAU - 1.0 / strength);
            }
            table.centre.push(mean);
            table.weight.push(if *live { 0.5 * dof / scatter } else { 0.0 });
            table.constant.push(if *live { 0.5 * (shared.1 - ln_scatter) } else { 0.0 });
            table.beliefs.push((belief, ln_scatter));
        }
        table
    }

    /// Adds the log densities of numbers to `log` `[rows, events]`.
    pub fn add_to(&self, numbers: &NumberColumns, log: &mut Matrix) {
        let rows = self.centre.len().checked_div(self.dim).unwrap_or(0);
        (0..rows).for_each(|row| Arch::new().dispatch(AddGaussian { table: self, row, numbers, out: log.row_mut(row) }));
    }
}

struct AddGaussian<'a> {
    table: &'a Gaussians,
    row: usize,
    numbers: &'a NumberColumns,
    out: &'a mut [Lanes],
}

impl WithSimd for AddGaussian<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let count = vectors::<S>(self.out).len();
        let mut at = 0;
        while at + TILE <= count {
            self.tile::<S, TILE>(simd, at);
            at += TILE;
        }
        while at < count {
            self.tile::<S, 1>(simd, at);
            at += 1;
        }
    }
}

impl AddGaussian<'_> {
    #[inline(always)]
    fn tile<S: Simd, const T: usize>(&mut self, simd: S, at: usize) {
        let Gaussians { dim, centre, weight, constant, .. } = self.table;
        let first = self.row * dim;
        let mut total: [S::f64s; T] = tile::<S, T>(self.out, at);
        for d in 0..*dim {
            let z: [S::f64s; T] = tile::<S, T>(self.numbers.column(d), at);
            let [centre, weight, constant] = [centre, weight, constant].map(|table| simd.splat_f64s(table[first + d]));
            let present = self.numbers.presence(d).map(|present| tile::<S, T>(present, at));
            for t in 0..T {
                let gap = simd.sub_f64s(z[t], centre);
                let density = simd.sub_f64s(constant, simd.mul_f64s(simd.mul_f64s(gap, gap), weight));
                let density = present.map_or(density, |present| simd.mul_f64s(present[t], density));
                total[t] = simd.add_f64s(total[t], density);
            }
        }
        vectors_mut::<S>(self.out)[at..at + T].copy_from_slice(&total);
    }
}

impl Students {
    /// Adds the predictive of a component with `beliefs`, each with ln ψ, about columns of which some are `live`.
    pub fn push(&mut self, beliefs: &[(NormalGamma, f64)], live: &[bool]) {
        // Columns seen equally often share what depends on the count only.
        let (mut dof_before, mut widening, mut peak, mut of_half) = (f64::NAN, 1.0, 0.0, 0.0);
        for ((belief, ln_scatter), live) in beliefs.iter().zip(live) {
            let NormalGamma { mean, strength, dof, scatter } = *belief;
            if dof != dof_before {
                // The predictive's peak is at ψ(κ + 1)/κ.
                widening = (strength + 1.0) / strength;
                peak = ln_gamma_half_step(0.5 * dof) - 0.5 * (PI * widening).ln();
                (dof_before, of_half) = (dof, trigamma(0.5 * dof));
            }
            self.centre.push(mean);
            self.inverse.push(if *live { 1.0 / (scatter * widening) } else { 0.0 });
            self.exponent.push(0.5 * (dof + 1.0));
            self.peak.push(if *live { peak - 0.5 * ln_scatter } else { 0.0 });
            self.variances.push(if *live { belief.log_density_variance_polynomial(of_half) } else { [0.0; 3] });
        }
    }

    /// Adds the background: Student's t with `dof` degrees of freedom and squared scale `square_scale` about 0 in every column.
    pub fn push_background(&mut self, dof: f64, square_scale: f64, live: &[bool]) {
        let peak = ln_gamma_half_step(0.5 * dof) - 0.5 * (PI * dof * square_scale).ln();
        for live in live {
            self.centre.push(0.0);
            self.inverse.push(if *live { 1.0 / (dof * square_scale) } else { 0.0 });
            self.exponent.push(0.5 * (dof + 1.0));
            self.peak.push(if *live { peak } else { 0.0 });
        }
    }

    /// Adds the log densities of numbers to `log` `[rows, events]`, from row `first` on.
    pub fn add_to(&self, numbers: &NumberColumns, first: usize, log: &mut Matrix) {
        let rows = self.centre.len().checked_div(self.dim).unwrap_or(0);
        (0..rows).for_each(|row| Arch::new().dispatch(AddStudent { table: self, row, numbers, out: log.row_mut(first + row) }));
    }
}

/// Factors multiplied before a logarithm is taken of the product.
const FACTORS: usize = 32;

struct AddStudent<'a> {
    table: &'a Students,
    row: usize,
    numbers: &'a NumberColumns,
    out: &'a mut [Lanes],
}

impl WithSimd for AddStudent<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { table, row, numbers, out } = self;
        let at = |d: usize| row * table.dim + d;
        let before = out.to_vec();
        let mut products = vec![[0.0; LANES]; numbers.groups];
        let mut first = 0;
        while first < table.dim {
            // Columns with one exponent share a logarithm.
            let exponent = table.exponent[at(first)];
            let alike = (first..table.dim.min(first + FACTORS)).take_while(|d| table.exponent[at(*d)] == exponent);
            let columns = first..first + alike.count();
            self::products(simd, table, row, numbers, columns.clone(), &mut products);
            // Summed column by column either way: an event's bits don't depend on which others lack a number.
            let whole = columns.clone().map(|d| table.peak[at(d)]).sum::<f64>();
            let gaps = columns.clone().any(|d| !numbers.complete[d]);
            for (group, (out, product)) in out.iter_mut().zip(&products).enumerate() {
                let peak = if gaps { peaks(table, row, numbers, columns.clone(), group) } else { [whole; LANES] };
                let logarithm = ln(*product);
                for i in 0..LANES {
                    out[i] += if product[i] < f64::INFINITY { peak[i] - exponent * logarithm[i] } else { f64::NAN };
                }
            }
            first = columns.end;
        }
        for event in 0..numbers.events {
            let log = &mut out.as_flattened_mut()[event];
            if log.is_nan() {
                *log = before.as_flattened()[event] + one_by_one(table, row, numbers, event);
            }
        }
    }
}

/// Sums of the peaks of those of the columns that are present.
#[inline(always)]
fn peaks(table: &Students, row: usize, numbers: &NumberColumns, columns: Range<usize>, group: usize) -> Lanes {
    let mut sum = [0.0; LANES];
    for d in columns {
        let present = numbers.presence(d).map_or([1.0; LANES], |present| present[group]);
        for i in 0..LANES {
            sum[i] += present[i] * table.peak[row * table.dim + d];
        }
    }
    sum
}

/// Products of `1 + inverse · (z − centre)²` over some of the columns.
#[inline(always)]
fn products<S: Simd>(simd: S, table: &Students, row: usize, numbers: &NumberColumns, columns: Range<usize>, out: &mut [Lanes]) {
    let count = vectors::<S>(out).len();
    let mut at = 0;
    while at + TILE <= count {
        let products = product_tile::<S, TILE>(simd, table, row, numbers, columns.clone(), at);
        vectors_mut::<S>(out)[at..at + TILE].copy_from_slice(&products);
        at += TILE;
    }
    while at < count {
        let products = product_tile::<S, 1>(simd, table, row, numbers, columns.clone(), at);
        vectors_mut::<S>(out)[at..=at].copy_from_slice(&products);
        at += 1;
    }
}

#[inline(always)]
fn product_tile<S: Simd, const T: usize>(
    simd: S,
    table: &Students,
    row: usize,
    numbers: &NumberColumns,
    columns: Range<usize>,
    at: usize,
) -> [S::f64s; T] {
    let one = simd.splat_f64s(1.0);
    let mut product = [one; T];
    for d in columns {
        let z: [S::f64s; T] = tile::<S, T>(numbers.column(d), at);
        let [centre, inverse] = [&table.centre, &table.inverse].map(|table_of| simd.splat_f64s(table_of[row * table.dim + d]));
        let present = numbers.presence(d).map(|present| tile::<S, T>(present, at));
        for t in 0..T {
            let gap = simd.sub_f64s(z[t], centre);
            let square = simd.mul_f64s(simd.mul_f64s(gap, gap), inverse);
            let square = present.map_or(square, |present| simd.mul_f64s(present[t], square));
            product[t] = simd.mul_f64s(product[t], simd.add_f64s(one, square));
        }
    }
    product
}

/// The log density of an event so far out that a product has overflown, by a logarithm a column.
#[cold]
fn one_by_one(table: &Students, row: usize, numbers: &NumberColumns, event: usize) -> f64 {
    let log_density = |d: usize| {
        let at = row * table.dim + d;
        let z = numbers.get(event, d)?;
        Some(table.peak[at] - table.exponent[at] * (1.0 + (z - table.centre[at]).powi(2) * table.inverse[at]).ln())
    };
    (0..table.dim).filter_map(log_density).sum()
}

impl Students {
    /// Variances of a component's log densities under the posterior `[events]`.
    pub fn log_density_variances(&self, row: usize, numbers: &NumberColumns) -> Vec<f64> {
        let columns = row * self.dim..(row + 1) * self.dim;
        let (centre, polynomials) = (&self.centre[columns.clone()], &self.variances[columns]);
        Arch::new().dispatch(Variances { centre, polynomials, numbers })
    }
}

struct Variances<'a> {
    centre: &'a [f64],
    polynomials: &'a [[f64; 3]],
    numbers: &'a NumberColumns,
}

impl WithSimd for Variances<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f64> {
        let mut out = vec![[0.0; LANES]; self.numbers.groups];
        let count = vectors::<S>(&out).len();
        let mut at = 0;
        while at + TILE <= count {
            let variances = self.tile::<S, TILE>(simd, at);
            vectors_mut::<S>(&mut out)[at..at + TILE].copy_from_slice(&variances);
            at += TILE;
        }
        while at < count {
            let variances = self.tile::<S, 1>(simd, at);
            vectors_mut::<S>(&mut out)[at..=at].copy_from_slice(&variances);
            at += 1;
        }
        let mut out = out.into_flattened();
        out.truncate(self.numbers.events);
        out
    }
}

impl Variances<'_> {
    #[inline(always)]
    fn tile<S: Simd, const T: usize>(&self, simd: S, at: usize) -> [S::f64s; T] {
        let farthest = simd.splat_f64s(FARTHEST_SQUARE);
        let mut total = [simd.splat_f64s(0.0); T];
        for (d, polynomial) in self.polynomials.iter().enumerate() {
            let z: [S::f64s; T] = tile::<S, T>(self.numbers.column(d), at);
            let [constant, linear, square] = polynomial.map(|coefficient| simd.splat_f64s(coefficient));
            let centre = simd.splat_f64s(self.centre[d]);
            let present = self.numbers.presence(d).map(|present| tile::<S, T>(present, at));
            for t in 0..T {
                let gap = simd.sub_f64s(z[t], centre);
                let q = simd.min_f64s(simd.mul_f64s(gap, gap), farthest);
                let variance = simd.add_f64s(constant, simd.mul_f64s(q, simd.add_f64s(linear, simd.mul_f64s(q, square))));
                let variance = present.map_or(variance, |present| simd.mul_f64s(present[t], variance));
                total[t] = simd.add_f64s(total[t], variance);
            }
        }
        total
    }
}

/// Moments of numbers in standard units `[dim]`, weighted by a row of responsibilities. `centre` `[dim]` is about where they lie.
pub fn moments(numbers: &NumberColumns, responsibilities: &Matrix, row: usize, centre: &[f64]) -> Vec<Moments> {
    let events = responsibilities.above(row, 0.0);
    let weights = responsibilities.row(row);
    if events.len() == numbers.events {
        Arch::new().dispatch(Gather { numbers, weights, centre })
    } else {
        Arch::new().dispatch(Gather { numbers: &numbers.select(&events), weights: &select(weights, &events), centre })
    }
}

struct Gather<'a> {
    numbers: &'a NumberColumns,
    weights: &'a [Lanes],
    centre: &'a [f64],
}

impl WithSimd for Gather<'_> {
    type Output = Vec<Moments>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<Moments> {
        let Self { numbers, weights, centre } = self;
        let events = total(weights);
        let mut out = vec![Moments::default(); centre.len()];
        for (d, about) in centre.iter().enumerate() {
            let column = numbers.column(d);
            let (mut first, mut second, mut count) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
            let presence = numbers.presence(d);
            if presence.is_none() {
                for (z, r) in column.iter().zip(weights) {
                    for i in 0..LANES {
                        let gap = z[i] - about;
                        let weighted = r[i] * gap;
                        first[i] += weighted;
                        second[i] += weighted * gap;
                    }
                }
            } else {
                for ((z, r), present) in column.iter().zip(weights).zip(presence.unwrap_or_default()) {
                    for i in 0..LANES {
                        let gap = z[i] - about;
                        let weight = r[i] * present[i];
                        count[i] += weight;
                        first[i] += weight * gap;
                        second[i] += weight * gap * gap;
                    }
                }
            }
            let count = if presence.is_none() { events } else { across(&count) };
            if count > 0.0 {
                let mean = across(&first) / count;
                out[d] = Moments { count, mean: about + mean, scatter: (across(&second) - mean * mean * count).max(0.0) };
            }
        }
        out
    }
}
