//! One of several classes, with a logit each: `p(y | η) = e^(η_y) / Σ_c e^(η_c)`.
//!
//! A common shift of all logits changes nothing, so expectations are over C − 1 dimensions: a quadrature for two classes, where the
//! likelihood is a Bernoulli's of the difference, and a cubature for more.

mod kernel;

use pulp::Arch;

use super::{Bernoulli, Likelihood, Predictive};
use crate::dist::lanes::Lanes;
use crate::inference::cubature::NormalPoints;
use crate::inference::elbo::log_sum_exp;
use kernel::{Pass, Sums, TiltedPass};

/// Points of the cubature, each with the greatest sd of a logit, about the logits' mean, that it is used for.
const LEVELS: [(usize, f64); 5] = [(64, 0.25), (128, 0.5), (256, 1.0), (512, 2.0), (1024, f64::INFINITY)];

/// A softmax over a number of classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Softmax {
    classes: usize,
    levels: Vec<NormalPoints>,
}

/// What is made of a softmax's logits, in place: made once for many observations.
#[derive(Clone, Debug, PartialEq)]
pub struct LogLikelihoods {
    /// `ln p(y | η)` or its expectation, in nats.
    pub value: f64,
    /// `∂ ln p / ∂η`, `[classes]`: 1 for y and 0 for others, less the probability.
    pub gradient: Vec<f64>,
    /// `−∂² ln p / ∂η ∂ηᵀ`, `[classes, classes]`: `diag(p) − p pᵀ`. Positive semidefinite, and its rows sum to 0.
    pub precision: Vec<f64>,
    /// Factor of the logits' covariance, less what they have in common, `[classes, classes − 1]`.
    factor: Vec<f64>,
    mean: Vec<f64>,
    sums: Sums,
}

impl Softmax {
    /// Over this many classes, two or more.
    pub fn new(classes: usize) -> Self {
        assert!(classes >= 2, "a softmax has two classes or more");
        let levels = if classes == 2 { &[][..] } else { &LEVELS };
        Self { classes, levels: levels.iter().map(|(points, _)| NormalPoints::new(classes - 1, *points)).collect() }
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Room for what is made of logits.
    pub fn room(&self) -> LogLikelihoods {
        let classes = self.classes;
        LogLikelihoods {
            value: 0.0,
            gradient: vec![0.0; classes],
            precision: vec![0.0; classes * classes],
            factor: vec![0.0; classes * classes],
            mean: vec![0.0; classes],
            sums: Sums::new(classes),
        }
    }

    /// `ln p(y | η)` and its derivatives.
    pub fn at(&self, y: usize, eta: &[f64], out: &mut LogLikelihoods) {
        let total = log_sum_exp(eta);
        for (out, eta) in out.gradient.iter_mut().zip(eta) {
            *out = (eta - total).exp();
        }
        for one in 0..self.classes {
            for other in 0..self.classes {
                let p = out.gradient[one];
                out.precision[one * self.classes + other] = if one == other { p * (1.0 - p) } else { -p * out.gradient[other] };
            }
        }
        out.value = eta[y] - total;
        minus_residual(y, &mut out.gradient);
    }

    /// Expectations under `η ~ N(mean, covariance)`, `[classes]` and `[classes, classes]`.
    ///
    /// With two classes as good as [`Bernoulli`]'s. With more, the error of probabilities is about 1e-5 where logits have an sd of
    /// 0.2 about what they have in common, 1e-3 at 1 and 5e-3 at 4; that of ln p is the same up to 1, and 1e-2 at 4.
    pub fn expected(&self, y: usize, mean: &[f64], covariance: &[f64], out: &mut LogLikelihoods) {
        if self.classes == 2 {
            let (mean, variance) = difference(mean, covariance, 1, 0);
            let one = Bernoulli.expected(y as f64, mean, variance);
            out.value = one.value;
            out.gradient.copy_from_slice(&[-one.gradient, one.gradient]);
            out.precision.copy_from_slice(&[one.precision, -one.precision, -one.precision, one.precision]);
            return;
        }
        let level = out.take(mean, covariance);
        let points = &self.levels[level];
        out.pass(points, y, 0.0, true);
        let average = |lanes: &Lanes| lanes.iter().sum::<f64>() / points.points() as f64;
        out.value = average(&out.sums.moments[0]);
        for (out, sum) in out.gradient.iter_mut().zip(&out.sums.probability) {
            *out = average(sum);
        }
        let mut products = out.sums.product.iter();
        for one in 0..self.classes {
            for other in one..self.classes {
                let product = average(products.next().expect("a triangle of them"));
                let entry = if one == other { out.gradient[one] - product } else { -product };
                out.precision[one * self.classes + other] = entry;
                out.precision[other * self.classes + one] = entry;
            }
        }
        minus_residual(y, &mut out.gradient);
    }

    /// The predictive under `η ~ N(mean, covariance)`.
    ///
    /// Where y is not the likeliest class k, its mass lies out in the tail of `D = η_y − η_k`, and is found where it lies: with v the
    /// variance of D and `t = min(1, −E D / v)`, `E p(y | η) = e^(−t² v / 2) E [p(y | η′) e^(−t (D′ − E D′))]` with `η′ = η + t Σ
    /// (e_y − e_k)`, a normal density seen from another of the same covariance.
    pub fn predictive(&self, y: usize, mean: &[f64], covariance: &[f64], out: &mut LogLikelihoods) -> Predictive {
        if self.classes == 2 {
            let (mean, variance) = difference(mean, covariance, 1, 0);
            return Bernoulli.predictive(y as f64, mean, variance);
        }
        let level = out.take(mean, covariance);
        let points = &self.levels[level];
        let average = |lanes: &Lanes| lanes.iter().sum::<f64>() / points.points() as f64;
        out.pass(points, y, mean[y] - log_sum_exp(mean), false);
        let [first, second] = out.sums.moments.map(|sum| average(&sum));
        let sd = (second - first * first).max(0.0).sqrt();
        let likeliest = (0..self.classes).fold(0, |best, class| if mean[class] > mean[best] { class } else { best });
        let (ahead, variance) = difference(mean, covariance, y, likeliest);
        if ahead == 0.0 || variance == 0.0 {
            return Predictive { log_density: average(&out.sums.probability[y]).ln(), sd };
        }
        let tilt = (-ahead / variance).min(1.0);
        for (class, mean) in out.mean.iter_mut().enumerate() {
            let row = &covariance[class * self.classes..];
            *mean += tilt * (row[y] - row[likeliest]);
        }
        let (mean, factor, sums) = (&out.mean, &out.factor, &mut out.sums);
        let sum = Arch::new().dispatch(TiltedPass { points, y, likeliest, tilt, mean, factor, row: &mut sums.row });
        Predictive { log_density: average(&sum).ln() - 0.5 * tilt * tilt * variance, sd }
    }
}

/// Probabilities to the gradient.
fn minus_residual(y: usize, probabilities: &mut [f64]) {
    for (class, p) in probabilities.iter_mut().enumerate() {
        *p = if class == y { 1.0 - *p } else { -*p };
    }
}

/// Mean and variance of `η_one − η_other`.
fn difference(mean: &[f64], covariance: &[f64], one: usize, other: usize) -> (f64, f64) {
    let at = |row: usize, column: usize| covariance[row * mean.len() + column];
    (mean[one] - mean[other], (at(one, one) + at(other, other) - at(one, other) - at(other, one)).max(0.0))
}

impl LogLikelihoods {
    /// Takes up the logits: their mean, and the factor of their covariance about what they have in common. Says which of
    /// [`LEVELS`] they need.
    fn take(&mut self, mean: &[f64], covariance: &[f64]) -> usize {
        let classes = mean.len();
        self.mean.copy_from_slice(mean);
        // (I − 11ᵀ/C) Σ (I − 11ᵀ/C), in `factor` for the moment, with the rows' means in `gradient`.
        for (mean, row) in self.gradient.iter_mut().zip(covariance.chunks_exact(classes)) {
            *mean = row.iter().sum::<f64>() / classes as f64;
        }
        let all = self.gradient.iter().sum::<f64>() / classes as f64;
        for (row, out) in self.factor.chunks_exact_mut(classes).enumerate() {
            for (column, out) in out.iter_mut().enumerate() {
                *out = covariance[row * classes + column] - self.gradient[row] - self.gradient[column] + all;
            }
        }
        let widest = (0..classes).map(|class| self.factor[class * (classes + 1)]).fold(0.0, f64::max);
        semidefinite_cholesky(&mut self.factor, classes);
        LEVELS.iter().position(|(_, reach)| widest <= reach * reach).unwrap_or(LEVELS.len() - 1)
    }

    fn pass(&mut self, points: &NormalPoints, y: usize, centre: f64, products: bool) {
        let (mean, factor, sums) = (&self.mean, &self.factor, &mut self.sums);
        Arch::new().dispatch(Pass { points, y, centre, products, mean, factor, sums });
    }
}

/// Turns a positive semidefinite matrix into its lower factor L, `A = L Lᵀ`, with a column of zeros where A has no rank left.
fn semidefinite_cholesky(matrix: &mut [f64], size: usize) {
    let least = 1e-14 * (0..size).map(|i| matrix[i * (size + 1)]).fold(0.0, f64::max);
    for column in 0..size {
        let (above, own) = (column * size, column * (size + 1));
        matrix[above + column + 1..above + size].fill(0.0);
        let pivot = matrix[own] - matrix[above..own].iter().map(|entry| entry * entry).sum::<f64>();
        matrix[own] = if pivot > least { pivot.sqrt() } else { 0.0 };
        for row in column + 1..size {
            let done: f64 = (0..column).map(|k| matrix[row * size + k] * matrix[above + k]).sum();
            let entry = row * size + column;
            matrix[entry] = if pivot > least { (matrix[entry] - done) / matrix[own] } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests;
