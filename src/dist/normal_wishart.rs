//! The Normal-Wishart family: an unknown mean and precision matrix of a vector.
//!
//! `p(μ, Λ) = N(μ; m, (κΛ)⁻¹) · Wishart(Λ; ν, Ψ⁻¹)` in `dim` dimensions. Data enter through `(1, 1, x, xxᵀ)`, natural parameters are
//! `(ν, κ, κm, Ψ + κmmᵀ)`. Murphy (2007), section 8.

use std::f64::consts::{LN_2, PI};

use nalgebra::{DMatrix, DVector};

use super::family::{ExponentialFamily, NoMember};
use super::pooled::pool;
use super::solve::wishart_dof;
use super::special::{LN_TAU, deviance, digamma, ln_gamma, ln_gamma_excess, trigamma};
pub use super::triangle::NotPositiveDefinite;
use super::triangle::Triangle;

/// A Normal-Wishart distribution in ordinary parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct NormalWishart {
    /// m `[dim]`: the mean's mean.
    pub mean: DVector<f64>,
    /// κ: how many observations the mean is worth.
    pub strength: f64,
    /// ν > dim − 1: how many observations the precision is worth.
    pub dof: f64,
    /// Ψ `[dim, dim]`, symmetric and positive definite: the sum of squares that the precision is worth.
    pub scatter: DMatrix<f64>,
}

impl NormalWishart {
    /// Dimensions.
    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    /// The posterior after `count` vectors of the given mean and scatter `Σ(x − mean)(x − mean)ᵀ`.
    pub fn observe(&self, count: f64, mean: &DVector<f64>, scatter: &DMatrix<f64>) -> Self {
        let strength = self.strength + count;
        let gap = mean - &self.mean;
        let mut sum = self.scatter.clone();
        pool(&mut sum, scatter, self.strength * count / strength, &gap);
        Self { mean: &self.mean + &gap * (count / strength), strength, dof: self.dof + count, scatter: sum }
    }

    /// Degrees of freedom of the predictive, a multivariate Student's t: `ν − dim + 1`.
    pub fn predictive_dof(&self) -> f64 {
        self.dof - self.dim() as f64 + 1.0
    }

    /// `A`, as [`Factored`] has it, for those who ask nothing else.
    pub fn log_normaliser(&self) -> Result<f64, NotPositiveDefinite> {
        Ok(self.log_normaliser_of(&Triangle::cholesky(&self.scatter)?))
    }

    /// `A`, with the factor of the scatter.
    fn log_normaliser_of(&self, factor: &Triangle) -> f64 {
        let dim = self.dim();
        let halved = factor.ln_square_determinant() - dim as f64 * LN_2;
        ln_multigamma(0.5 * self.dof, dim) - 0.5 * self.dof * halved - 0.5 * dim as f64 * self.strength.ln()
    }

    /// With the factor of its scatter, which most questions need.
    pub fn factored(self) -> Result<Factored, NotPositiveDefinite> {
        let factor = Triangle::cholesky(&self.scatter)?;
        Ok(Factored { whitening: factor.inverse(), factor, belief: self })
    }
}

/// A Normal-Wishart distribution that is known to be one, ready for questions.
#[derive(Clone, Debug, PartialEq)]
pub struct Factored {
    belief: NormalWishart,
    /// L, where LLᵀ = Ψ.
    factor: Triangle,
    /// L⁻¹.
    whitening: Triangle,
}

impl Factored {
    /// The ordinary parameters.
    pub fn belief(&self) -> &NormalWishart {
        &self.belief
    }

    /// L, where LLᵀ = Ψ.
    pub fn factor(&self) -> &Triangle {
        &self.factor
    }

    /// L⁻¹, where LLᵀ = Ψ.
    pub fn whitening(&self) -> &Triangle {
        &self.whitening
    }

    /// `E ln|Λ| = Σ_i ψ₀((ν − i)/2) + dim ln 2 − ln|Ψ|`, i from 0.
    pub fn expected_ln_determinant(&self) -> f64 {
        let sum: f64 = halves(self.belief.dof, self.belief.dim()).map(digamma).sum();
        sum + self.belief.dim() as f64 * LN_2 - self.factor.ln_square_determinant()
    }

    /// `E ln N(x; μ, Λ⁻¹) = ½ (E ln|Λ| − dim ln 2π − dim/κ − ν (x − m)ᵀ Ψ⁻¹ (x − m))`.
    pub fn expected_log_density(&self, x: &DVector<f64>) -> f64 {
        let NormalWishart { strength, dof, .. } = self.belief;
        let dim = self.belief.dim() as f64;
        0.5 * (self.expected_ln_determinant() - dim * LN_TAU - dim / strength - dof * self.square(x))
    }

    /// `ln ∫∫ N(x; μ, Λ⁻¹) p(μ, Λ)`: multivariate t with `f = ν − dim + 1` degrees of freedom at m with scale matrix `Ψ(κ + 1)/(κf)`.
    /// The marginal over some of the dimensions is the same with that part of m and Ψ, and the same f.
    pub fn predictive_log_density(&self, x: &DVector<f64>) -> f64 {
        let (dim, dof) = (self.belief.dim() as f64, self.belief.predictive_dof());
        let spread = (self.belief.strength + 1.0) / self.belief.strength;
        let tail = (self.square(x) / spread).ln_1p();
        let peak = ln_gamma(0.5 * (dof + dim)) - ln_gamma(0.5 * dof);
        let scale = dim * (PI * spread).ln() + self.factor.ln_square_determinant();
        peak - 0.5 * scale - 0.5 * (dof + dim) * tail
    }

    /// `Var ln N(x; μ, Λ⁻¹)`: see [`log_density_variance`].
    pub fn log_density_variance(&self, x: &DVector<f64>) -> f64 {
        let NormalWishart { strength, dof, .. } = self.belief;
        let trigammas = halves(dof, self.belief.dim()).map(trigamma).sum();
        log_density_variance(strength, dof, self.belief.dim(), trigammas, self.square(x))
    }

    /// `(x − m)ᵀ Ψ⁻¹ (x − m)`.
    fn square(&self, x: &DVector<f64>) -> f64 {
        self.whitening.square((x - &self.belief.mean).as_slice())
    }
}

/// With `(ν, κ)`, `κm` and `Ψ + κmmᵀ` for the statistics `(½ ln|Λ|, −½ μᵀΛμ)`, `Λμ` and `−½ Λ`.
impl ExponentialFamily for Factored {
    type Parameters = ([f64; 2], DVector<f64>, DMatrix<f64>);

    fn to_natural(&self) -> Self::Parameters {
        let NormalWishart { mean, strength, dof, scatter } = &self.belief;
        let first = mean * *strength;
        let second = scatter + &first * mean.transpose();
        ([*dof, *strength], first, second)
    }

    fn from_natural(([dof, strength], first, second): Self::Parameters) -> Result<Self, NoMember> {
        check_dof(dof, first.len())?;
        let mean = first.unscale(NoMember::unless_positive("Normal-Wishart", "κ", strength)?);
        let scatter = symmetric(second - first * mean.transpose());
        Ok(NormalWishart { mean, strength, dof, scatter }.factored()?)
    }

    /// `E Λ = νΨ⁻¹`, `E Λμ = νΨ⁻¹m`, `E μᵀΛμ = dim/κ + ν mᵀΨ⁻¹m`.
    fn to_mean(&self) -> Self::Parameters {
        let NormalWishart { mean, strength, dof, .. } = &self.belief;
        let precision = self.whitening.gram() * *dof;
        let product = &precision * mean;
        let square = mean.len() as f64 / strength + mean.dot(&product);
        ([0.5 * self.expected_ln_determinant(), -0.5 * square], product, precision * -0.5)
    }

    fn from_mean(([half_ln, minus_square], product, minus_precision): Self::Parameters) -> Result<Self, NoMember> {
        let dim = product.len();
        let precision = Triangle::cholesky(&symmetric(minus_precision * -2.0))?;
        let inverse = precision.inverse().gram();
        let mean = &inverse * &product;
        let spread = (-2.0 * minus_square - mean.dot(&product)) / dim as f64;
        let strength = 1.0 / NoMember::unless_positive("Normal-Wishart", "1/κ", spread)?;
        let gap = precision.ln_square_determinant() - 2.0 * half_ln;
        let outside = NoMember::Outside { family: "Normal-Wishart", quantity: "ln|E Λ| − E ln|Λ|", value: gap };
        let dof = wishart_dof(gap, dim).ok_or(outside)?;
        Ok(NormalWishart { mean, strength, dof, scatter: inverse * dof }.factored()?)
    }

    /// `A = ln Γ_dim(ν/2) − (ν/2) ln|Ψ/2| − (dim/2) ln κ`. The marginal likelihood of n vectors is `(2π)^(−n·dim/2) exp(A' − A)`.
    fn log_normaliser(&self) -> f64 {
        self.belief.log_normaliser_of(&self.factor)
    }

    /// For the means `½ (dim (κ'/κ − 1 − ln(κ'/κ)) + κ'ν (m − m')ᵀ Ψ⁻¹ (m − m'))`, and for the precisions
    /// `½ ν' (ln|Ψ| − ln|Ψ'|) + ln Γ_dim(ν'/2) − ln Γ_dim(ν/2) + ½ (ν − ν') Σ ψ₀((ν − i)/2) + ½ ν (tr(Ψ'Ψ⁻¹) − dim)`.
    ///
    /// With `W = L⁻¹L'` the trace is `Σ W²`, and the determinants are those of its diagonal w. So the precisions part, as in the Bartlett
    /// decomposition, into a Gamma for each dimension, with shapes `(ν − i)/2` and rates in the ratio `w_i²`, and what is left.
    fn kl(&self, other: &Self) -> f64 {
        let dim = self.belief.dim();
        let (own, others) = (&self.belief, &other.belief);
        let means = dim as f64 * deviance(own.strength, others.strength) / own.strength
            + others.strength * own.dof * self.square(&others.mean);
        let shapes = halves(own.dof, dim).zip(halves(others.dof, dim));
        let diagonals = self.factor.diagonal().zip(other.factor.diagonal());
        let precisions = shapes.zip(diagonals).enumerate().map(|(i, ((shape, other_shape), (diagonal, other_diagonal)))| {
            let (square, other_square) = (diagonal * diagonal, other_diagonal * other_diagonal);
            deviance(other_shape, shape * (other_square / square))
                + ln_gamma_excess(other_shape, shape)
                + 0.5 * i as f64 * deviance(square, other_square) / square
        });
        let below = self.whitening.times(&other.factor).square_below_diagonal();
        0.5 * (means + own.dof * below) + precisions.sum::<f64>()
    }
}

/// `Var ln N(x; μ, Λ⁻¹)` in `dim` dimensions: `¼ (Σ_i ψ₁((ν − i)/2) − 4q + 2νq² + 4νq/κ + 2 dim/κ²)`, i from 0, where
/// `q = (x − m)ᵀ Ψ⁻¹ (x − m)` is `square` and the sum is `trigammas`.
///
/// With `μ = m + (κΛ)^(−½) z` it is `¼ Var(ln|Λ| − (x − m)ᵀΛ(x − m) + 2(x − m)ᵀΛ^½ z/√κ − zᵀz/κ)`. `(x − m)ᵀΛ(x − m)` is q times
/// a χ² with ν degrees of freedom, and its covariance with `ln|Λ|` is 2q.
pub fn log_density_variance(strength: f64, dof: f64, dim: usize, trigammas: f64, square: f64) -> f64 {
    // Held below this, so that its square stays finite.
    let q = square.min(1e150);
    0.25 * (trigammas + q * (2.0 * dof * q + 4.0 * (dof / strength - 1.0)) + 2.0 * dim as f64 / strength / strength)
}

/// `(ν − i)/2`, i from 0.
fn halves(dof: f64, dim: usize) -> impl Iterator<Item = f64> {
    (0..dim).map(move |i| 0.5 * (dof - i as f64))
}

fn check_dof(dof: f64, dim: usize) -> Result<(), NoMember> {
    NoMember::unless(dof > dim as f64 - 1.0 && dof.is_finite(), "Normal-Wishart", "ν", dof)
}

/// `½ (M + Mᵀ)`.
fn symmetric(matrix: DMatrix<f64>) -> DMatrix<f64> {
    (&matrix + matrix.transpose()) * 0.5
}

/// `ln Γ_dim(x) = dim (dim − 1)/4 · ln π + Σ_i ln Γ(x − i/2)`, i from 0.
pub fn ln_multigamma(x: f64, dim: usize) -> f64 {
    let pairs = (dim * dim.saturating_sub(1)) as f64 / 4.0;
    pairs * std::f64::consts::PI.ln() + (0..dim).map(|i| ln_gamma(x - 0.5 * i as f64)).sum::<f64>()
}

#[cfg(test)]
mod tests;
