//! The Normal-Wishart family: an unknown mean and precision matrix of a vector.
//!
//! `p(μ, Λ) = N(μ; m, (κΛ)⁻¹) · Wishart(Λ; ν, Ψ⁻¹)` in `dim` dimensions. Data enter through `(1, 1, x, xxᵀ)`, natural parameters are
//! `(ν, κ, κm, Ψ + κmmᵀ)`. Murphy (2007), section 8.

use nalgebra::linalg::Cholesky;
use nalgebra::{DMatrix, DVector, Dyn};

use super::special::{LN_TAU, digamma, ln_gamma};

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

/// Natural parameters `(ν, κ, κm, Ψ + κmmᵀ)`.
pub type Natural = (f64, f64, DVector<f64>, DMatrix<f64>);

/// A scatter matrix that is not positive definite, to rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the scatter matrix is not positive definite")]
pub struct NotPositiveDefinite;

impl NormalWishart {
    /// Dimensions.
    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    /// `(ν, κ, κm, Ψ + κmmᵀ)`.
    pub fn to_natural(&self) -> Natural {
        let first = &self.mean * self.strength;
        let second = &self.scatter + &first * self.mean.transpose();
        (self.dof, self.strength, first, second)
    }

    /// From `(ν, κ, κm, Ψ + κmmᵀ)`.
    pub fn from_natural((dof, strength, first, second): Natural) -> Self {
        let mean = &first / strength;
        let scatter = second - first * mean.transpose();
        Self { mean, strength, dof, scatter }
    }

    /// The posterior after `count` vectors of the given mean and scatter `Σ(x − mean)(x − mean)ᵀ`.
    pub fn observe(&self, count: f64, mean: &DVector<f64>, scatter: &DMatrix<f64>) -> Self {
        let strength = self.strength + count;
        let gap = mean - &self.mean;
        let mut sum = &self.scatter + scatter;
        sum.ger(self.strength * count / strength, &gap, &gap, 1.0);
        Self { mean: &self.mean + &gap * (count / strength), strength, dof: self.dof + count, scatter: sum }
    }

    /// The Cholesky factor L of Ψ = LLᵀ.
    pub fn cholesky(&self) -> Result<Cholesky<f64, Dyn>, NotPositiveDefinite> {
        self.scatter.clone().cholesky().ok_or(NotPositiveDefinite)
    }

    /// `E ln|Λ| = Σ_i ψ₀((ν − i)/2) + dim ln 2 − ln|Ψ|`, i from 0.
    pub fn expected_ln_determinant(&self) -> Result<f64, NotPositiveDefinite> {
        let sum: f64 = (0..self.dim()).map(|i| digamma(0.5 * (self.dof - i as f64))).sum();
        Ok(sum + self.dim() as f64 * std::f64::consts::LN_2 - self.ln_determinant()?)
    }

    /// `ln|Ψ|`.
    fn ln_determinant(&self) -> Result<f64, NotPositiveDefinite> {
        Ok(ln_determinant(&self.cholesky()?))
    }

    /// `E ln N(x; μ, Λ⁻¹) = ½ (E ln|Λ| − dim ln 2π − dim/κ − ν (x − m)ᵀ Ψ⁻¹ (x − m))`.
    pub fn expected_log_density(&self, x: &DVector<f64>) -> Result<f64, NotPositiveDefinite> {
        let dim = self.dim() as f64;
        let square = square(&self.cholesky()?, &(x - &self.mean));
        Ok(0.5 * (self.expected_ln_determinant()? - dim * LN_TAU - dim / self.strength - self.dof * square))
    }

    /// `A = ln Γ_dim(ν/2) − (ν/2) ln|Ψ/2| − (dim/2) ln κ`. The marginal likelihood of n vectors is `(2π)^(−n·dim/2) exp(A' − A)`.
    pub fn log_normaliser(&self) -> Result<f64, NotPositiveDefinite> {
        let dim = self.dim() as f64;
        let halved = self.ln_determinant()? - dim * std::f64::consts::LN_2;
        Ok(ln_multigamma(0.5 * self.dof, self.dim()) - 0.5 * self.dof * halved - 0.5 * dim * self.strength.ln())
    }

    /// `KL(self ‖ other)`:
    /// `½ (dim (κ'/κ − 1 − ln(κ'/κ)) + κ'ν (m − m')ᵀ Ψ⁻¹ (m − m'))` for the means, and for the precisions
    /// `½ ν' (ln|Ψ| − ln|Ψ'|) + ln Γ_dim(ν'/2) − ln Γ_dim(ν/2) + ½ (ν − ν') Σ ψ₀((ν − i)/2) + ½ ν (tr(Ψ'Ψ⁻¹) − dim)`.
    pub fn kl(&self, other: &Self) -> Result<f64, NotPositiveDefinite> {
        let dim = self.dim() as f64;
        let factor = self.cholesky()?;
        let ratio = other.strength / self.strength;
        let means = dim * (ratio - 1.0 - ratio.ln()) + other.strength * self.dof * square(&factor, &(&self.mean - &other.mean));
        let digammas: f64 = (0..self.dim()).map(|i| digamma(0.5 * (self.dof - i as f64))).sum();
        let precisions = 0.5 * other.dof * (ln_determinant(&factor) - other.ln_determinant()?)
            + ln_multigamma(0.5 * other.dof, self.dim())
            - ln_multigamma(0.5 * self.dof, self.dim())
            + 0.5 * (self.dof - other.dof) * digammas
            + 0.5 * self.dof * (factor.solve(&other.scatter).trace() - dim);
        Ok(0.5 * means + precisions)
    }

    /// Degrees of freedom of the predictive, a multivariate Student's t: `ν − dim + 1`.
    pub fn predictive_dof(&self) -> f64 {
        self.dof - self.dim() as f64 + 1.0
    }

    /// `ln ∫∫ N(x; μ, Λ⁻¹) p(μ, Λ)`: multivariate t with `f = ν − dim + 1` degrees of freedom at m with scale matrix `Ψ(κ + 1)/(κf)`.
    /// The marginal over some of the dimensions is the same with that part of m and Ψ, and the same f.
    pub fn predictive_log_density(&self, x: &DVector<f64>) -> Result<f64, NotPositiveDefinite> {
        let (dim, dof) = (self.dim() as f64, self.predictive_dof());
        let factor = self.cholesky()?;
        let spread = (self.strength + 1.0) / self.strength;
        let tail = (square(&factor, &(x - &self.mean)) / spread).ln_1p();
        let peak = ln_gamma(0.5 * (dof + dim)) - ln_gamma(0.5 * dof);
        let scale = dim * (std::f64::consts::PI * spread).ln() + ln_determinant(&factor);
        Ok(peak - 0.5 * scale - 0.5 * (dof + dim) * tail)
    }
}

/// `ln|LLᵀ|`.
pub fn ln_determinant(factor: &Cholesky<f64, Dyn>) -> f64 {
    2.0 * factor.l_dirty().diagonal().iter().map(|entry| entry.ln()).sum::<f64>()
}

/// `xᵀ(LLᵀ)⁻¹x`.
pub fn square(factor: &Cholesky<f64, Dyn>, x: &DVector<f64>) -> f64 {
    let mut solved = x.clone();
    // A Cholesky factor has no zero on its diagonal.
    factor.l_dirty().solve_lower_triangular_mut(&mut solved);
    solved.norm_squared()
}

/// `ln Γ_dim(x) = dim (dim − 1)/4 · ln π + Σ_i ln Γ(x − i/2)`, i from 0.
pub fn ln_multigamma(x: f64, dim: usize) -> f64 {
    let pairs = (dim * dim.saturating_sub(1)) as f64 / 4.0;
    pairs * std::f64::consts::PI.ln() + (0..dim).map(|i| ln_gamma(x - 0.5 * i as f64)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::normal_gamma::NormalGamma;
    use crate::dist::testing::{assert_close, normal, simpson, uniform};

    fn q() -> NormalWishart {
        NormalWishart {
            mean: DVector::from_vec(vec![0.5, -1.0]),
            strength: 2.0,
            dof: 6.0,
            scatter: DMatrix::from_row_slice(2, 2, &[3.0, 1.0, 1.0, 2.0]),
        }
    }

    fn p() -> NormalWishart {
        NormalWishart {
            mean: DVector::from_vec(vec![0.0, -0.5]),
            strength: 1.0,
            dof: 4.0,
            scatter: DMatrix::from_row_slice(2, 2, &[2.0, -0.5, -0.5, 4.0]),
        }
    }

    fn log_density(d: &NormalWishart, mean: &DVector<f64>, precision: &DMatrix<f64>) -> f64 {
        let (dof, _, _, _) = d.to_natural();
        let ln_determinant = precision.determinant().ln();
        let gap = mean - &d.mean;
        let exponent = (&d.scatter * precision).trace() + d.strength * (gap.transpose() * precision * &gap)[0];
        0.5 * (dof - d.dim() as f64) * ln_determinant
            - 0.5 * exponent
            - d.log_normaliser().unwrap()
            - 0.5 * d.dim() as f64 * LN_TAU
    }

    /// A draw by the Bartlett decomposition; a χ² with n degrees of freedom is a sum of n squares.
    fn draw(d: &NormalWishart, index: u64) -> (DVector<f64>, DMatrix<f64>) {
        let base = index * 40;
        let chi = |from: u64, n: u64| (0..n).map(|i| normal(base + from + i).powi(2)).sum::<f64>();
        let dof = d.dof as u64;
        let bartlett = DMatrix::from_row_slice(2, 2, &[chi(0, dof).sqrt(), 0.0, normal(base + 20), chi(8, dof - 1).sqrt()]);
        let root = d.scatter.clone().try_inverse().unwrap().cholesky().unwrap().l() * bartlett;
        let precision = &root * root.transpose();
        let noise = DVector::from_vec(vec![normal(base + 30), normal(base + 31)]);
        let mean = &d.mean + root.transpose().try_inverse().unwrap() * noise / d.strength.sqrt();
        (mean, precision)
    }

    #[test]
    fn natural_parameters_round_trip_and_add() {
        let back = NormalWishart::from_natural(q().to_natural());
        assert!((&back.mean - q().mean).norm() < 1e-12 && (&back.scatter - q().scatter).norm() < 1e-12);
        let data: Vec<_> = (0..7).map(|i| DVector::from_vec(vec![normal(2 * i), 3.0 + uniform(i)])).collect();
        let (mut dof, mut strength, mut first, mut second) = q().to_natural();
        let mean = data.iter().sum::<DVector<f64>>() / 7.0;
        let mut scatter = DMatrix::zeros(2, 2);
        for x in &data {
            (dof, strength, first, second) = (dof + 1.0, strength + 1.0, first + x, second + x * x.transpose());
            scatter += (x - &mean) * (x - &mean).transpose();
        }
        let expected = NormalWishart::from_natural((dof, strength, first, second));
        let learnt = q().observe(7.0, &mean, &scatter);
        assert!((&learnt.mean - &expected.mean).norm() < 1e-12 && (&learnt.scatter - &expected.scatter).norm() < 1e-11);
        assert_eq!((learnt.dof, learnt.strength), (expected.dof, expected.strength));
    }

    #[test]
    fn moments_and_kl_by_monte_carlo() {
        let draws = 200_000;
        let x = DVector::from_vec(vec![1.0, 0.0]);
        let mut sums = [[0.0; 2]; 3];
        for index in 0..draws {
            let (mean, precision) = draw(&q(), index);
            let gap = &x - &mean;
            let ln_determinant = precision.determinant().ln();
            let density = 0.5 * (ln_determinant - 2.0 * LN_TAU - (gap.transpose() * &precision * &gap)[0]);
            let divergence = log_density(&q(), &mean, &precision) - log_density(&p(), &mean, &precision);
            for (sum, value) in sums.iter_mut().zip([ln_determinant, density, divergence]) {
                *sum = [sum[0] + value, sum[1] + value * value];
            }
        }
        let expected = [q().expected_ln_determinant().unwrap(), q().expected_log_density(&x).unwrap(), q().kl(&p()).unwrap()];
        for ([sum, squares], expected) in sums.into_iter().zip(expected) {
            let mean = sum / draws as f64;
            let error = ((squares / draws as f64 - mean * mean) / draws as f64).sqrt();
            assert!((mean - expected).abs() < 4.0 * error, "{mean} ± {error} is not {expected}");
            assert!(error < 0.02 * expected.abs().max(0.1));
        }
        assert_close(q().kl(&q()).unwrap(), 0.0, 1e-13);
    }

    #[test]
    fn predictive_is_a_density_and_a_ratio_of_marginal_likelihoods() {
        let mass = simpson(-8.0, 8.0, 200, |s| {
            simpson(-8.0, 8.0, 200, |t| {
                let x = DVector::from_vec(vec![s.sinh(), t.sinh()]);
                q().predictive_log_density(&x).unwrap().exp() * s.cosh() * t.cosh()
            })
        });
        assert_close(mass, 1.0, 1e-5);
        for x in [[0.0, 0.0], [3.0, -9.0]] {
            let x = DVector::from_vec(x.to_vec());
            let after = q().observe(1.0, &x, &DMatrix::zeros(2, 2));
            let ratio = after.log_normaliser().unwrap() - q().log_normaliser().unwrap() - LN_TAU;
            assert_close(q().predictive_log_density(&x).unwrap(), ratio, 1e-12);
        }
    }

    #[test]
    fn in_one_dimension_it_is_the_normal_gamma() {
        let one = |d: NormalGamma| NormalWishart {
            mean: DVector::from_element(1, d.mean),
            strength: d.strength,
            dof: d.dof,
            scatter: DMatrix::from_element(1, 1, d.scatter),
        };
        let a = NormalGamma { mean: 0.7, strength: 2.5, dof: 5.0, scatter: 3.0 };
        let b = NormalGamma { mean: -0.2, strength: 1.5, dof: 4.0, scatter: 6.0 };
        let x = DVector::from_element(1, 2.2);
        assert_close(one(a).kl(&one(b)).unwrap(), a.kl(b), 1e-13);
        assert_close(one(a).log_normaliser().unwrap(), a.log_normaliser(), 1e-13);
        assert_close(one(a).predictive_log_density(&x).unwrap(), a.predictive_log_density(2.2), 1e-13);
        assert_close(one(a).expected_log_density(&x).unwrap(), a.expected_log_density(2.2), 1e-13);
    }
}
