//! A mixture's arithmetic of numbers column by column: what would be a dozen operations of tensors, each a launch on a GPU, is one.
//!
//! The code here is the reference; `diagonal.cu` is for CUDA.

use candle_core::{Error, Result, Shape, Tensor};

use super::launch::{Launch, Module, Plan, module};

/// The log density of one column, with its parameters in the order in which tables have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Expected, of a normal: `constant − weight (z − centre)²` from `[centre, weight, constant]`.
    Gaussian,
    /// Predictive, of a normal: `peak − exponent ln(1 + inverse (z − centre)²)` from `[centre, inverse, exponent, peak]`.
    Student,
}

/// An operation of three tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Diagonal {
    /// See [`responsibilities`].
    Responsibilities(Family),
    /// See [`moments`].
    Moments,
}

/// Responsibilities, and below them each event's `ln Σ exp(log joint)`: `[first + rows + 1, events]`.
///
/// The log joint is `offset` `[first + rows, events]`, and in the last `rows` of it the densities of `cells` `[columns, events]`, NaN
/// where missing, by `table` `[parameters, rows, columns]`.
pub fn responsibilities(family: Family, cells: &Tensor, table: &Tensor, offset: &Tensor) -> Result<Tensor> {
    Diagonal::Responsibilities(family).launch([cells, table, offset])
}

/// `Σ weight · gap^power` for the powers 0, 1 and 2 `[3, rows, columns]`, over the cells `[columns, events]` that are not missing.
/// The gaps are those to `centre` `[rows, columns]`, the weights `[rows, events]`.
pub fn moments(cells: &Tensor, centre: &Tensor, weights: &Tensor) -> Result<Tensor> {
    Diagonal::Moments.launch([cells, centre, weights])
}

impl Family {
    /// How many parameters a density has.
    pub fn parameters(self) -> usize {
        match self {
            Self::Gaussian => 3,
            Self::Student => 4,
        }
    }

    /// The density at `z`; `table` begins with the first parameter, and the others lie `stride` apart.
    fn density(self, table: &[f64], stride: usize, z: f64) -> f64 {
        let gap = z - table[0];
        match self {
            Self::Gaussian => table[2 * stride] - table[stride] * gap * gap,
            Self::Student => table[3 * stride] - table[2 * stride] * (table[stride] * gap * gap).ln_1p(),
        }
    }
}

impl Launch for Diagonal {
    type Number = f64;
    const MODULE: Module = module!("diagonal");

    fn name(&self) -> &'static str {
        match self {
            Self::Responsibilities(Family::Gaussian) => "gaussians",
            Self::Responsibilities(Family::Student) => "students",
            Self::Moments => "moments",
        }
    }

    /// The sizes are events, columns, rows, and how many of these, the last, are the table's.
    fn plan(&self, [cells, table, by_event]: [&Shape; 3]) -> Result<Plan> {
        let (columns, events) = cells.dims2()?;
        let all = by_event.dims2()?.0;
        let (expected, rows) = match self {
            Self::Responsibilities(family) => {
                let rows = table.dims3()?.1;
                (Shape::from((family.parameters(), rows, columns)), rows)
            }
            Self::Moments => ((all, columns).into(), all),
        };
        for (found, expected) in [(table, expected), (by_event, (all.max(rows), events).into())] {
            if *found != expected {
                return Err(Error::ShapeMismatchBinaryOp { lhs: found.clone(), rhs: expected, op: self.name() });
            }
        }
        let (blocks, threads, shape) = match self {
            // A block takes 32 events that lie side by side, with eight threads for each.
            Self::Responsibilities(_) => (events.div_ceil(32), 8 * 32, (all + 1, events).into()),
            // A block takes one column of one row.
            Self::Moments => (rows * columns, 128, (3, rows, columns).into()),
        };
        Ok(Plan { blocks, threads, sizes: Plan::sizes([events, columns, all, rows])?, shape })
    }

    fn reference(&self, plan: &Plan, [cells, table, by_event]: [&[f64]; 3]) -> Vec<f64> {
        let [events, columns, all, rows, ..] = plan.sizes;
        match self {
            Self::Responsibilities(family) => {
                let mut log = by_event.to_vec();
                for row in 0..rows {
                    let joint = &mut log[(all - rows + row) * events..][..events];
                    for d in 0..columns {
                        let parameters = &table[row * columns + d..];
                        for (joint, z) in joint.iter_mut().zip(&cells[d * events..]).filter(|(_, z)| !z.is_nan()) {
                            *joint += family.density(parameters, rows * columns, *z);
                        }
                    }
                }
                normalise(log, all, events)
            }
            Self::Moments => moments_of(cells, table, by_event, [events, columns, rows]),
        }
    }
}

/// What [`responsibilities`] are of log joints `[rows, events]`.
pub(super) fn normalise(mut log: Vec<f64>, rows: usize, events: usize) -> Vec<f64> {
    for event in 0..events {
        let of_event = |row: usize| row * events + event;
        let most = (0..rows).map(|row| log[of_event(row)]).fold(f64::NEG_INFINITY, f64::max);
        (0..rows).for_each(|row| log[of_event(row)] = (log[of_event(row)] - most).exp());
        let sum: f64 = (0..rows).map(|row| log[of_event(row)]).sum();
        (0..rows).for_each(|row| log[of_event(row)] /= sum);
        log.push(most + sum.ln());
    }
    log
}

fn moments_of(cells: &[f64], centre: &[f64], weights: &[f64], [events, columns, rows]: [usize; 3]) -> Vec<f64> {
    let mut sums = vec![0.0; 3 * rows * columns];
    for (at, centre) in centre.iter().enumerate() {
        let (row, d) = (at / columns, at % columns);
        for event in 0..events {
            let (gap, weight) = (cells[d * events + event] - centre, weights[row * events + event]);
            if !gap.is_nan() {
                sums[at] += weight;
                sums[rows * columns + at] += weight * gap;
                sums[2 * rows * columns + at] += weight * gap * gap;
            }
        }
    }
    sums
}
