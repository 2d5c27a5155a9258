//! An independent linear regression: all rows at once, dense matrices, general solves by another library, and two passes for the
//! units.

use nalgebra::{DMatrix, DVector};
use statrs::function::gamma::ln_gamma;
use surprisal::features::RowsView;
use surprisal::models::Standard;

/// Units of the inputs that vary, then of the target.
pub struct Design {
    /// Fixed or learnt, of each input.
    pub inputs: Vec<Standard>,
    pub target: Standard,
    /// Inputs that were missing at times, and how often.
    pub gaps: Vec<(usize, f64)>,
}

impl Design {
    /// The units that weighted rows suggest.
    pub fn learnt(rows: RowsView<'_>, weights: &[f64]) -> Self {
        let width = rows.width();
        let standard = |column: usize| {
            let seen = || (0..rows.len()).map(|e| (weights[e], rows.row(e)[column])).filter(|(_, x)| !x.is_nan());
            let count: f64 = seen().map(|(w, _)| w).sum();
            let location = seen().map(|(w, x)| w * x).sum::<f64>() / count;
            let scale = (seen().map(|(w, x)| w * (x - location).powi(2)).sum::<f64>() / count).sqrt();
            (Standard { location, scale }, count)
        };
        let total: f64 = weights.iter().sum();
        let gap = |column: usize| (column, 1.0 - standard(column).1 / total);
        Self {
            inputs: (0..width - 1).map(|column| standard(column).0).collect(),
            target: standard(width - 1).0,
            gaps: (0..width - 1).map(gap).filter(|(_, share)| *share > 1e-12).collect(),
        }
    }

    /// Fixed units, with a gap for every input that `rows` lack at times.
    pub fn fixed(rows: RowsView<'_>, input: Standard, target: Standard) -> Self {
        let inputs = rows.width() - 1;
        let missing = |column: &usize| (0..rows.len()).any(|e| rows.row(e)[*column].is_nan());
        Self { inputs: vec![input; inputs], target, gaps: (0..inputs).filter(missing).map(|column| (column, 0.0)).collect() }
    }

    /// `(1, z, gaps)` and y of a row.
    pub fn row(&self, row: &[f64]) -> (DVector<f64>, f64) {
        let mut z = vec![1.0];
        z.extend(self.inputs.iter().zip(row).map(|(unit, x)| if x.is_nan() { 0.0 } else { (x - unit.location) / unit.scale }));
        z.extend(self.gaps.iter().map(|(column, share)| f64::from(u8::from(row[*column].is_nan())) - share));
        (DVector::from_vec(z), (row[row.len() - 1] - self.target.location) / self.target.scale)
    }
}

/// The Normal-inverse-Gamma posterior.
pub struct Posterior {
    pub design: Design,
    pub mean: DVector<f64>,
    pub precision: DMatrix<f64>,
    pub shape: f64,
    pub rate: f64,
}

impl Posterior {
    pub fn new(design: Design, rows: RowsView<'_>, weights: &[f64], prior_scale: f64) -> Self {
        let dim = 1 + design.inputs.len() + design.gaps.len();
        let mut precision = DMatrix::from_diagonal_element(dim, dim, 1.0 / prior_scale.powi(2));
        precision[(0, 0)] = 0.1;
        let (mut shift, mut squares, mut count) = (DVector::zeros(dim), 0.0, 0.0);
        for (e, weight) in weights.iter().enumerate().filter(|(e, _)| !rows.row(*e)[rows.width() - 1].is_nan()) {
            let (z, y) = design.row(rows.row(e));
            precision += *weight * &z * z.transpose();
            shift += *weight * y * z;
            squares += weight * y * y;
            count += weight;
        }
        let mean = precision.clone().lu().solve(&shift).expect("regular");
        let rate = 0.005 + 0.5 * (squares - shift.dot(&mean));
        Self { design, mean, precision, shape: 0.5 + 0.5 * count, rate }
    }

    /// Mean of the predictor at a row, its variance over σ², and the row's target.
    pub fn predict(&self, row: &[f64]) -> (f64, f64, f64) {
        let (z, y) = self.design.row(row);
        (self.mean.dot(&z), z.dot(&self.precision.clone().lu().solve(&z).expect("regular")), y)
    }

    /// Of a row.
    pub fn surprisal(&self, row: &[f64]) -> f64 {
        let (mean, variance, y) = self.predict(row);
        let square_scale = self.rate / self.shape * (1.0 + variance);
        let dof = 2.0 * self.shape;
        0.5 * (dof * std::f64::consts::PI * square_scale).ln() + ln_gamma(0.5 * dof) - ln_gamma(0.5 * (dof + 1.0))
            + 0.5 * (dof + 1.0) * ((y - mean).powi(2) / square_scale / dof).ln_1p()
    }
}
