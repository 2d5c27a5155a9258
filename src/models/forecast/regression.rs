//! Discounted Bayesian regression on a few features: the conjugate Normal-inverse-Gamma, in closed form.
//!
//! Evidence is `A = Σ w φφᵀ`, `b = Σ w φy`, `Y = Σ w y²` and `N = Σ w`, each multiplied by the discount with every event, so an event
//! that is k events old counts `discount^k`. That is a dynamic regression with a discounted likelihood (West & Harrison 1997, section
//! 6.3), but for the prior, which is not discounted: it stays as a ridge, so that nothing runs away.

use super::predictive::Member;
use crate::dist::student::Student;

/// Features at most.
pub const MOST: usize = 8;

/// Entries of the lower triangle.
pub const GRAM: usize = MOST * (MOST + 1) / 2;

/// Prior precision of a coefficient, in units of the prior scatter.
const RIDGE: f64 = 0.1;

/// Evidence about the first `features` of [`MOST`]; what is behind them is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Regression {
    /// A: the lower triangle, row after row.
    pub gram: Gram,
    /// b.
    pub product: [f64; MOST],
    /// Y.
    pub square: f64,
    /// N.
    pub count: f64,
}

/// A lower triangle of [`MOST`] rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gram(pub [f64; GRAM]);

impl Default for Gram {
    fn default() -> Self {
        Self([0.0; GRAM])
    }
}

/// Where row `i` begins.
const fn start(i: usize) -> usize {
    i * (i + 1) / 2
}

impl Regression {
    /// The predictive of y at the features `phi`: Student's t with `max(2, N + 1)` degrees of freedom about `m = φᵀ(A + ρI)⁻¹b`, with
    /// squared scale `(Y − bᵀ(A + ρI)⁻¹b + v) / (N + 1) · (1 + φᵀ(A + ρI)⁻¹φ)`. v is the prior scatter, worth one event, and `ρ = 0.1
    /// v`.
    pub fn predict(&self, phi: &[f64], prior: f64) -> Member {
        let (ridge, dim) = (RIDGE * prior, phi.len());
        // L with LLᵀ = A + ρI, and L⁻¹b and L⁻¹φ as its rows come.
        let mut factor = [0.0; GRAM];
        let (mut of_product, mut of_phi) = ([0.0; MOST], [0.0; MOST]);
        let (mut mean, mut explained, mut leverage) = (0.0, 0.0, 0.0);
        for i in 0..dim {
            let (above, own) = factor.split_at_mut(start(i));
            for j in 0..i {
                let row = &above[start(j)..=start(j) + j];
                let inner: f64 = row[..j].iter().zip(&own[..j]).map(|(a, b)| a * b).sum();
                own[j] = (self.gram.0[start(i) + j] - inner) / row[j];
            }
            let inner: f64 = own[..i].iter().map(|entry| entry * entry).sum();
            // A pivot of A + ρI is never below ρ, but for rounding.
            let pivot = (self.gram.0[start(i) + i] + ridge - inner).max(ridge).sqrt();
            own[i] = pivot;
            let solved = |right: f64, before: &[f64; MOST]| {
                let inner: f64 = own[..i].iter().zip(before).map(|(a, b)| a * b).sum();
                (right - inner) / pivot
            };
            of_product[i] = solved(self.product[i], &of_product);
            of_phi[i] = solved(phi[i], &of_phi);
            mean += of_product[i] * of_phi[i];
            explained += of_product[i] * of_product[i];
            leverage += of_phi[i] * of_phi[i];
        }
        let unexplained = (self.square - explained).max(0.0) + prior;
        let scale = (unexplained / (self.count + 1.0) * (1.0 + leverage)).sqrt();
        Member { weight: 1.0, student: Student::new((self.count + 1.0).max(2.0), mean, scale), leverage }
    }

    /// Discounts what was learnt and adds an event that weighs `weight`.
    pub fn learn(&mut self, phi: &[f64], y: f64, weight: f64, discount: f64) {
        for (i, feature) in phi.iter().enumerate() {
            let weighted = weight * feature;
            for (entry, other) in self.gram.0[start(i)..=start(i) + i].iter_mut().zip(phi) {
                *entry = discount * *entry + weighted * other;
            }
            self.product[i] = discount * self.product[i] + weighted * y;
        }
        self.square = discount * self.square + weight * y * y;
        self.count = discount * self.count + weight;
    }

    /// Every number.
    pub fn numbers(&self) -> impl Iterator<Item = f64> {
        self.gram.0.iter().chain(&self.product).chain([&self.square, &self.count]).copied()
    }
}
