//! Matrices of events eight at a time, and how responsibilities are made of log joints.
//!
//! The processor's widest vectors are found at run time; nothing is fused or reordered, so all of them give the same bits. What is worked
//! out for an event doesn't depend on which events stand beside it.

use pulp::{Arch, Simd, WithSimd};

use crate::dist::lanes::{LANES, Lanes, across, exp, ln, vectors};

/// Vectors worked on at a time: sums that don't wait for each other.
pub const TILE: usize = 8;

/// T vectors of a column.
#[inline(always)]
pub fn tile<S: Simd, const T: usize>(column: &[Lanes], at: usize) -> [S::f64s; T] {
    *vectors::<S>(column)[at..].first_chunk().expect("a column is as long as the others")
}

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

    /// Weighs each event of every row; no weights are ones.
    pub fn weigh(&mut self, weights: &[f64]) {
        for row in 0..if weights.is_empty() { 0 } else { self.rows() } {
            self.row_mut(row).as_flattened_mut().iter_mut().zip(weights).for_each(|(element, weight)| *element *= weight);
        }
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

    /// A row's lane groups.
    pub fn row_mut(&mut self, row: usize) -> &mut [Lanes] {
        &mut self.lanes[row * self.groups..(row + 1) * self.groups]
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.lanes.len().checked_div(self.groups).unwrap_or(0)
    }

    /// Events whose number in a row is above `least`.
    pub fn above(&self, row: usize, least: f64) -> Vec<usize> {
        let row = self.row(row).as_flattened().iter().enumerate();
        row.filter(|(_, value)| **value > least).map(|(event, _)| event).collect()
    }
}

/// The natural logarithms of normal positive numbers.
pub fn logarithms(mut numbers: Vec<f64>) -> Vec<f64> {
    Arch::new().dispatch(Logarithms(&mut numbers));
    numbers
}

struct Logarithms<'a>(&'a mut [f64]);

impl WithSimd for Logarithms<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for chunk in self.0.chunks_mut(LANES) {
            let mut lanes = [1.0; LANES];
            lanes[..chunk.len()].copy_from_slice(chunk);
            chunk.copy_from_slice(&ln(lanes)[..chunk.len()]);
        }
    }
}

/// Numbers of `events` in a row, in lane groups with zeros beyond the last.
pub fn select(row: &[Lanes], events: &[usize]) -> Vec<Lanes> {
    let mut selected = vec![[0.0; LANES]; events.len().div_ceil(LANES)];
    selected.as_flattened_mut().iter_mut().zip(events).for_each(|(to, event)| *to = row.as_flattened()[*event]);
    selected
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

/// The sum of everything in a row.
#[inline(always)]
pub fn total(row: &[Lanes]) -> f64 {
    let mut lanes = [0.0; LANES];
    for group in row {
        for i in 0..LANES {
            lanes[i] += group[i];
        }
    }
    across(&lanes)
}
