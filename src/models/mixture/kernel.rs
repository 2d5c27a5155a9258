//! The arithmetic of diagonal number columns, eight events at a time: log densities, responsibilities and their statistics.
//!
//! The two matrix products of a mixture, `log joint = statistics · expected natural parameters` and `new statistics = responsibilitiesᵀ ·
//! statistics`, written about each component's mean, where they don't cancel. The processor's widest vectors are found at run time;
//! nothing is fused or reordered, so all of them give the same bits.

use pulp::{Arch, Simd, WithSimd};

use super::frame::Batch;
use super::statistics::Moments;
use crate::dist::lanes::{LANES, Lanes, exp, ln};

/// A matrix `[rows, events]` with the events in lane groups: `[row * groups + group]`.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// Lane groups in a row.
    pub groups: usize,
    /// Rows one after another.
    pub lanes: Vec<Lanes>,
}

impl Matrix {
    /// Each row filled with one number.
    pub fn filled(rows: impl IntoIterator<Item = f64>, groups: usize) -> Self {
        Self { groups, lanes: rows.into_iter().flat_map(|value| std::iter::repeat_n([value; LANES], groups)).collect() }
    }

    /// One row of ones, with zeros beyond the last event.
    pub fn ones(events: usize, groups: usize) -> Self {
        let lane = |group: usize| std::array::from_fn(|i| if group * LANES + i < events { 1.0 } else { 0.0 });
        Self { groups, lanes: (0..groups).map(lane).collect() }
    }

    /// An element.
    pub fn at(&mut self, row: usize, event: usize) -> &mut f64 {
        &mut self.lanes[row * self.groups + event / LANES][event % LANES]
    }

    /// An element.
    pub fn get(&self, row: usize, event: usize) -> f64 {
        self.lanes[row * self.groups + event / LANES][event % LANES]
    }

    /// A row's lane groups.
    pub fn row(&self, row: usize) -> &[Lanes] {
        &self.lanes[row * self.groups..(row + 1) * self.groups]
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.lanes.len().checked_div(self.groups).unwrap_or(0)
    }
}

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
}

impl Gaussians {
    /// Adds the log densities of the batch's numbers to `log` `[rows, events]`.
    pub fn add_to(&self, batch: &Batch, log: &mut Matrix) {
        Arch::new().dispatch(AddGaussians { table: self, batch, log });
    }
}

impl Students {
    /// Adds the log densities of the batch's numbers to `log` `[rows, events]`, from row `first` on.
    pub fn add_to(&self, batch: &Batch, first: usize, log: &mut Matrix) {
        Arch::new().dispatch(AddStudents { table: self, batch, first, log });
    }
}

struct AddGaussians<'a> {
    table: &'a Gaussians,
    batch: &'a Batch,
    log: &'a mut Matrix,
}

impl WithSimd for AddGaussians<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { table, batch, log } = self;
        let (dim, groups) = (table.dim, batch.groups);
        for row in 0..table.centre.len().checked_div(dim).unwrap_or(0) {
            let columns = row * dim..(row + 1) * dim;
            let (centre, weight) = (&table.centre[columns.clone()], &table.weight[columns.clone()]);
            let constant = &table.constant[columns];
            let whole: f64 = (0..dim).filter(|d| batch.complete[*d]).map(|d| constant[d]).sum();
            for group in 0..groups {
                let mut total = [whole; LANES];
                for d in 0..dim {
                    let z = &batch.standard[d * batch.stride + group];
                    if batch.complete[d] {
                        for i in 0..LANES {
                            let gap = z[i] - centre[d];
                            total[i] -= gap * gap * weight[d];
                        }
                    } else {
                        let present = &batch.present[d * batch.stride + group];
                        for i in 0..LANES {
                            let gap = z[i] - centre[d];
                            total[i] += present[i] * (constant[d] - gap * gap * weight[d]);
                        }
                    }
                }
                let out = &mut log.lanes[row * groups + group];
                for i in 0..LANES {
                    out[i] += total[i];
                }
            }
        }
    }
}

/// Factors multiplied before a logarithm is taken of the product.
const FACTORS: usize = 16;

struct AddStudents<'a> {
    table: &'a Students,
    batch: &'a Batch,
    first: usize,
    log: &'a mut Matrix,
}

impl WithSimd for AddStudents<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { table, batch, first, log } = self;
        let (dim, groups) = (table.dim, batch.groups);
        let rows = table.centre.len().checked_div(dim).unwrap_or(0);
        for row in 0..rows {
            let columns = row * dim..(row + 1) * dim;
            let (centre, inverse) = (&table.centre[columns.clone()], &table.inverse[columns.clone()]);
            let (exponent, peak) = (&table.exponent[columns.clone()], &table.peak[columns]);
            let whole: f64 = (0..dim).filter(|d| batch.complete[*d]).map(|d| peak[d]).sum();
            for group in 0..groups {
                // Columns with one exponent share one logarithm. Should a product overflow, each takes its own.
                let mut factors = FACTORS;
                let total = loop {
                    let mut total = [whole; LANES];
                    let mut product = [1.0; LANES];
                    let mut most = 0.0;
                    let mut multiplied = 0;
                    for d in 0..dim {
                        let z = &batch.standard[d * batch.stride + group];
                        if batch.complete[d] {
                            for i in 0..LANES {
                                let gap = z[i] - centre[d];
                                product[i] *= 1.0 + gap * gap * inverse[d];
                            }
                        } else {
                            let present = &batch.present[d * batch.stride + group];
                            for i in 0..LANES {
                                let gap = z[i] - centre[d];
                                product[i] *= 1.0 + present[i] * (gap * gap * inverse[d]);
                                total[i] += present[i] * peak[d];
                            }
                        }
                        multiplied += 1;
                        if multiplied == factors || d + 1 == dim || exponent[d] != exponent[d + 1] {
                            let logarithm = ln(product);
                            for i in 0..LANES {
                                most = if product[i] > most { product[i] } else { most };
                                total[i] -= exponent[d] * logarithm[i];
                            }
                            (product, multiplied) = ([1.0; LANES], 0);
                        }
                    }
                    if most < f64::INFINITY || factors == 1 {
                        break total;
                    }
                    factors = 1;
                };
                let out = &mut log.lanes[(first + row) * groups + group];
                for i in 0..LANES {
                    out[i] += total[i];
                }
            }
        }
    }
}

/// Turns log joints `[rows, events]` into responsibilities, and returns each event's `ln Σ exp(log joint)`.
/// Events beyond the batch's last get no responsibility.
pub fn normalise(log: &mut Matrix, events: usize) -> Vec<f64> {
    Arch::new().dispatch(Normalise { log, events })
}

/// Responsibilities below this are none: they would only slow the arithmetic down.
const NEGLIGIBLE: f64 = 1e-30;

struct Normalise<'a> {
    log: &'a mut Matrix,
    events: usize,
}

impl WithSimd for Normalise<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<f64> {
        let Self { log, events } = self;
        let (groups, rows) = (log.groups, log.rows());
        let mut totals = Vec::with_capacity(groups * LANES);
        for group in 0..groups {
            let mut most = [f64::NEG_INFINITY; LANES];
            for row in 0..rows {
                let lanes = &log.lanes[row * groups + group];
                for i in 0..LANES {
                    most[i] = if lanes[i] > most[i] { lanes[i] } else { most[i] };
                }
            }
            let mut sum = [0.0; LANES];
            for row in 0..rows {
                let lanes = &mut log.lanes[row * groups + group];
                for i in 0..LANES {
                    lanes[i] -= most[i];
                }
                *lanes = exp(*lanes);
                for i in 0..LANES {
                    sum[i] += lanes[i];
                }
            }
            for row in 0..rows {
                let lanes = &mut log.lanes[row * groups + group];
                for i in 0..LANES {
                    let share = lanes[i] / sum[i];
                    lanes[i] = if share > NEGLIGIBLE && group * LANES + i < events { share } else { 0.0 };
                }
            }
            let logarithm = ln(sum);
            for i in 0..LANES {
                totals.push(most[i] + logarithm[i]);
            }
        }
        totals.truncate(events);
        totals
    }
}

/// Moments of the batch's numbers, in standard units, weighted by each row of responsibilities: `[rows][dim]`. `centre` `[rows, dim]`
/// is about where they lie.
pub fn moments(batch: &Batch, responsibilities: &Matrix, centre: &[f64]) -> Vec<Vec<Moments>> {
    Arch::new().dispatch(Gather { batch, responsibilities, centre })
}

struct Gather<'a> {
    batch: &'a Batch,
    responsibilities: &'a Matrix,
    centre: &'a [f64],
}

impl WithSimd for Gather<'_> {
    type Output = Vec<Vec<Moments>>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<Vec<Moments>> {
        let Self { batch, responsibilities, centre } = self;
        let (dim, groups, rows) = (batch.complete.len(), batch.groups, responsibilities.rows());
        let mut out = vec![vec![Moments::default(); dim]; rows];
        let events: Vec<f64> = (0..rows).map(|row| total(responsibilities.row(row))).collect();
        for d in 0..dim {
            let column = d * batch.stride..d * batch.stride + groups;
            let standard = &batch.standard[column.clone()];
            for row in 0..rows {
                let weights = responsibilities.row(row);
                let about = centre[row * dim + d];
                let (mut first, mut second, mut count) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
                if batch.complete[d] {
                    for (z, r) in standard.iter().zip(weights) {
                        for i in 0..LANES {
                            let gap = z[i] - about;
                            let weighted = r[i] * gap;
                            first[i] += weighted;
                            second[i] += weighted * gap;
                        }
                    }
                } else {
                    for ((z, r), present) in standard.iter().zip(weights).zip(&batch.present[column.clone()]) {
                        for i in 0..LANES {
                            let gap = z[i] - about;
                            let weight = r[i] * present[i];
                            count[i] += weight;
                            first[i] += weight * gap;
                            second[i] += weight * gap * gap;
                        }
                    }
                }
                let count = if batch.complete[d] { events[row] } else { sum(&count) };
                if count > 0.0 {
                    let mean = sum(&first) / count;
                    let scatter = (sum(&second) - mean * mean * count).max(0.0);
                    out[row][d] = Moments { count, mean: about + mean, scatter };
                }
            }
        }
        out
    }
}

/// The sum of the lanes, in a fixed order.
#[inline(always)]
fn sum(lanes: &Lanes) -> f64 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// The sum of everything in a row.
#[inline(always)]
pub fn total(row: &[Lanes]) -> f64 {
    let mut lanes = [0.0; LANES];
    for group in row {
        for i in 0..LANES {
            lanes[i] += group[i];
        }
    }
    sum(&lanes)
}
