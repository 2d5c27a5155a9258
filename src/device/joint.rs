//! Arithmetic of numbers jointly, for a whole block at once: the scatter of rows, what a regression's posterior predicts of them,
//! and responsibilities of normals with full covariance.
//!
//! The code here is the reference; `joint.cu` is for CUDA.
//!
//! All read `cells` `[inputs, events]`, NaN where missing. What of them a regression's column is, its *source* says, a number in
//! the first row of a table: below `inputs` that input's value; from there on, whether input `source − inputs` is missing, 1 or 0;
//! and twice `inputs` what is no input at all.

use candle_core::{Error, Result, Shape, Tensor};

use super::diagonal::{Family, normalise};
use super::launch::{Launch, Module, Plan, module};

/// Numbers in standard units are held within ± this, so that their fourth powers stay finite.
pub const FARTHEST: f64 = 1e60;

/// The most classes that [`predictions`] tells apart.
pub const MOST_CLASSES: usize = 32;

/// An operation of three tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joint {
    /// See [`scatter`].
    Scatter,
    /// See [`predictions`].
    Predictions,
    /// See [`responsibilities`].
    Responsibilities(Family),
}

/// The weighted mean of each column, and `Σ_e w_e (x_e − mean)(x_e − mean)ᵀ`, its lower triangle row after row: so
/// `[sets, columns + columns (columns + 1) / 2]`, for every set of weights. Where no event has a weight there is no mean, but NaN.
///
/// `columns` `[2, columns]` are sources and what stands in for a missing value, `observed` `[1 or 2, sets, events]` the weights,
/// and each set's targets if there are any: what is no input is the last of these. Sums are taken in a fixed order, so that every
/// run gives the same bits.
pub fn scatter(cells: &Tensor, columns: &Tensor, observed: &Tensor) -> Result<Tensor> {
    Joint::Scatter.launch([cells, columns, observed])
}

/// Mean and covariance of each event's linear predictors, one a class: `[classes (classes + 1) / 2 + classes, events]`, first the
/// lower triangle of `Cov η = U Uᵀ`, row after row, then `E η = U b`. Row c of U is `L⁻¹ (e_c ⊗ φ)`.
///
/// φ are the features by `lens` `[4, features]`: sources, what stands for a missing value, centres c and inverse scales s;
/// `φ = (x − c) s` within ± [`FARTHEST`]; what is no input is 1. `posterior` `[classes · features + 1, classes · features]` has the
/// rows of L⁻¹, with zeros above its diagonal, and b as the last.
pub fn predictions(cells: &Tensor, lens: &Tensor, posterior: &Tensor) -> Result<Tensor> {
    Joint::Predictions.launch([cells, lens, posterior])
}

/// Responsibilities, and below them each event's `ln Σ exp(log joint)`: `[rows + 1, events]`.
///
/// The log joint is `offset` `[rows, events]`, and in the first `normals` of the rows the log density of `cells`, none of them
/// missing: `peak − factor · square` of a Gaussian and `peak − factor · ln(1 + square)` of a Student, where
/// `square = |L⁻¹ (z − mean)|²`. `table` `[normals, inputs + inputs² + 2]` has each one's mean, the rows of L⁻¹, with zeros above
/// its diagonal, peak and factor.
pub fn responsibilities(family: Family, cells: &Tensor, table: &Tensor, offset: &Tensor) -> Result<Tensor> {
    Joint::Responsibilities(family).launch([cells, table, offset])
}

/// Entries of a lower triangle with so many rows.
pub fn triangle(rows: usize) -> usize {
    rows * (rows + 1) / 2
}

impl Launch for Joint {
    type Number = f64;
    const MODULE: Module = module!("joint");

    fn name(&self) -> &'static str {
        match self {
            Self::Scatter => "scatter",
            Self::Predictions => "predictions",
            Self::Responsibilities(Family::Gaussian) => "gaussians",
            Self::Responsibilities(Family::Student) => "students",
        }
    }

    /// The sizes are events, inputs; columns, features or rows; sets, classes or normals; and where the last plane of what is
    /// observed begins.
    fn plan(&self, [cells, table, last]: [&Shape; 3]) -> Result<Plan> {
        let (inputs, events) = cells.dims2()?;
        let (rows, columns) = table.dims2()?;
        let mut targets = 0;
        let (columns, copies, expected): (_, _, [Shape; 2]) = match self {
            Self::Scatter => {
                let (planes, sets, _) = last.dims3()?;
                targets = planes.saturating_sub(1) * sets * events;
                (columns, sets, [(2, columns).into(), (planes.clamp(1, 2), sets, events).into()])
            }
            Self::Predictions => {
                let classes = last.dims2()?.1.checked_div(columns).unwrap_or(0);
                (columns, classes, [(4, columns).into(), (classes * columns + 1, classes * columns).into()])
            }
            Self::Responsibilities(_) => {
                let all = last.dims2()?.0.max(rows);
                (all, rows, [(rows, inputs + inputs * inputs + 2).into(), (all, events).into()])
            }
        };
        for (found, expected) in [table, last].into_iter().zip(expected) {
            if *found != expected {
                return Err(Error::ShapeMismatchBinaryOp { lhs: found.clone(), rhs: expected, op: self.name() });
            }
        }
        // A block takes one entry of one triangle, or 32 events that lie side by side, with eight threads for each.
        let (blocks, threads, shape) = match self {
            Self::Scatter => (copies * triangle(columns), 128, (copies, columns + triangle(columns)).into()),
            Self::Predictions if (1..=MOST_CLASSES).contains(&copies) => {
                (events.div_ceil(32), 8 * 32, (triangle(copies) + copies, events).into())
            }
            Self::Predictions => return Err(Error::Msg(format!("{copies} classes; 1 to {MOST_CLASSES} are told apart"))),
            Self::Responsibilities(_) => (events.div_ceil(32), 8 * 32, (columns + 1, events).into()),
        };
        Ok(Plan { blocks, threads, sizes: Plan::sizes([events, inputs, columns, copies, targets])?, shape })
    }

    fn reference(&self, plan: &Plan, [cells, table, last]: [&[f64]; 3]) -> Vec<f64> {
        let [events, inputs, columns, copies, targets, ..] = plan.sizes;
        let cells = Cells { cells, events, inputs };
        match self {
            Self::Scatter => {
                let of = |set: usize| [0, targets].map(|plane| &last[plane + set * events..][..events]);
                (0..copies).map(of).flat_map(|[weights, targets]| scatter_of(&cells, table, weights, targets)).collect()
            }
            Self::Predictions => predictions_of(&cells, table, last, [columns, copies]),
            Self::Responsibilities(family) => {
                let mut log = last.to_vec();
                for (at, log) in log[..copies * events].iter_mut().enumerate() {
                    *log += log_density(*family, &cells, &table[at / events * (table.len() / copies)..], at % events);
                }
                normalise(log, columns, events)
            }
        }
    }
}

struct Cells<'a> {
    cells: &'a [f64],
    events: usize,
    inputs: usize,
}

impl Cells<'_> {
    /// What the column of this source is in an event; `other` is what is no input.
    fn read(&self, source: f64, event: usize, other: f64) -> f64 {
        let (source, cell) = (source as usize, |input: usize| self.cells[input * self.events + event]);
        if source < self.inputs {
            cell(source)
        } else if source < 2 * self.inputs {
            f64::from(u8::from(cell(source - self.inputs).is_nan()))
        } else {
            other
        }
    }
}

fn scatter_of(cells: &Cells<'_>, table: &[f64], weights: &[f64], targets: &[f64]) -> Vec<f64> {
    let (sources, anchors) = table.split_at(table.len() / 2);
    let total: f64 = weights.iter().sum();
    let mut out = Vec::with_capacity(sources.len() + triangle(sources.len()));
    // Each column's distances from its mean, times the root of the weight.
    let mut gaps: Vec<Vec<f64>> = Vec::with_capacity(sources.len());
    for (source, anchor) in sources.iter().zip(anchors) {
        let x = targets.iter().enumerate().map(|(event, target)| cells.read(*source, event, *target));
        let x: Vec<f64> = x.map(|x| if x.is_nan() { *anchor } else { x }).collect();
        let mean = x.iter().zip(weights).map(|(x, weight)| weight * x).sum::<f64>() / total;
        gaps.push(x.iter().zip(weights).map(|(x, weight)| weight.sqrt() * (x - mean)).collect());
        out.push(mean);
    }
    for (row, left) in gaps.iter().enumerate() {
        out.extend(gaps[..=row].iter().map(|right| left.iter().zip(right).map(|(a, b)| a * b).sum::<f64>()));
    }
    out
}

fn predictions_of(cells: &Cells<'_>, lens: &[f64], posterior: &[f64], [features, classes]: [usize; 2]) -> Vec<f64> {
    let (events, dim) = (cells.events, classes * features);
    let mut out = vec![0.0; (triangle(classes) + classes) * events];
    for event in 0..events {
        let feature = |f: usize| {
            let [source, absent, centre, inverse] = [0, 1, 2, 3].map(|row| lens[row * features + f]);
            let x = cells.read(source, event, 1.0);
            if x.is_nan() { absent } else { ((x - centre) * inverse).clamp(-FARTHEST, FARTHEST) }
        };
        let phi: Vec<f64> = (0..features).map(feature).collect();
        let product = |row: usize, class: usize| {
            let entries = &posterior[row * dim + class * features..][..features];
            entries.iter().zip(&phi).map(|(entry, x)| entry * x).sum::<f64>()
        };
        let image = |class: usize| (0..dim).map(|row| product(row, class)).collect::<Vec<f64>>();
        // Rows of U, and below them b.
        let mut rows: Vec<Vec<f64>> = (0..classes).map(image).collect();
        rows.push(posterior[dim * dim..].to_vec());
        let pairs =
            rows.iter().enumerate().flat_map(|(row, left)| rows[..classes.min(row + 1)].iter().map(move |right| (left, right)));
        for (entry, (left, right)) in pairs.enumerate() {
            out[entry * events + event] = left.iter().zip(right).map(|(a, b)| a * b).sum();
        }
    }
    out
}

/// Of an event, under the normal that `table` begins with.
fn log_density(family: Family, cells: &Cells<'_>, table: &[f64], event: usize) -> f64 {
    let (mean, table) = table.split_at(cells.inputs);
    let (whitening, scalars) = table.split_at(mean.len() * mean.len());
    let gap = |d: usize| cells.cells[d * cells.events + event] - mean[d];
    let image = |row: usize| (0..=row).map(|d| whitening[row * mean.len() + d] * gap(d)).sum::<f64>();
    let square: f64 = (0..mean.len()).map(|row| image(row).powi(2)).sum();
    scalars[0] - scalars[1] * if family == Family::Student { square.ln_1p() } else { square }
}
