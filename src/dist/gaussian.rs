//! Gaussians with full covariance, of weights for instance.
//!
//! `N(θ; μ, Λ⁻¹)` in information form, precision Λ and shift `h = Λμ`, because evidence adds there: a linear observation
//! `y ~ N(φᵀθ, 1/β)` adds `β φφᵀ` to Λ and `β y φ` to h. The Cholesky factor `Λ = LLᵀ` and its inverse are kept at hand: with
//! `Λ⁻¹ = L⁻ᵀL⁻¹` every question is sums over rows of a triangle. Building costs about `⅓ dim³` multiplications, a question
//! `½ dim²`.

use nalgebra::{DMatrix, DVector};

use super::family::{ExponentialFamily, NoMember};
use super::special::{LN_TAU, deviance};
use super::triangle::{NotPositiveDefinite, Triangle};

/// A Gaussian of dimension `dim`.
#[derive(Clone, Debug, PartialEq)]
pub struct Gaussian {
    shift: DVector<f64>,
    precision: DMatrix<f64>,
    mean: DVector<f64>,
    /// L.
    factor: Triangle,
    /// L⁻¹.
    whitening: Triangle,
}

/// What is believed of one number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    /// Its mean.
    pub mean: f64,
    /// Its variance.
    pub variance: f64,
}

impl Gaussian {
    /// From `h = Λμ` `[dim]` and Λ `[dim, dim]`, of which only the lower triangle is read. The guard is [`Triangle::cholesky`]'s.
    pub fn from_information(shift: DVector<f64>, mut precision: DMatrix<f64>) -> Result<Self, NotPositiveDefinite> {
        assert_eq!(shift.len(), precision.nrows(), "a shift and a precision of one dimension");
        precision.fill_upper_triangle_with_lower_triangle();
        let factor = Triangle::cholesky(&precision)?;
        let whitening = factor.inverse();
        let mut mean = DVector::zeros(shift.len());
        whitening.add_transposed(whitening.apply(shift.as_slice()).as_slice(), mean.as_mut_slice());
        Ok(Self { shift, precision, mean, factor, whitening })
    }

    /// From μ `[dim]` and Σ `[dim, dim]`, of which only the lower triangle is read.
    pub fn from_moments(mean: DVector<f64>, covariance: &DMatrix<f64>) -> Result<Self, NotPositiveDefinite> {
        assert_eq!(mean.len(), covariance.nrows(), "a mean and a covariance of one dimension");
        let precision = Triangle::cholesky(covariance)?.inverse().gram();
        let factor = Triangle::cholesky(&precision)?;
        Ok(Self { shift: &precision * &mean, whitening: factor.inverse(), factor, precision, mean })
    }

    /// Dimensions.
    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    /// `h = Λμ`.
    pub fn shift(&self) -> &DVector<f64> {
        &self.shift
    }

    /// Λ.
    pub fn precision(&self) -> &DMatrix<f64> {
        &self.precision
    }

    /// h and Λ, to be added to.
    pub fn into_information(self) -> (DVector<f64>, DMatrix<f64>) {
        (self.shift, self.precision)
    }

    /// μ.
    pub fn mean(&self) -> &DVector<f64> {
        &self.mean
    }

    /// `Σ = Λ⁻¹`, which costs as much again as building.
    pub fn covariance(&self) -> DMatrix<f64> {
        self.whitening.gram()
    }

    /// The diagonal of Σ.
    pub fn variances(&self) -> DVector<f64> {
        let mut variances = DVector::zeros(self.dim());
        for i in 0..self.dim() {
            variances.iter_mut().zip(self.whitening.row(i)).for_each(|(sum, entry)| *sum += entry * entry);
        }
        variances
    }

    /// The marginal of `φᵀθ`: mean `φᵀμ`, variance `φᵀΣφ = |L⁻¹φ|²`.
    pub fn linear(&self, features: &[f64]) -> Moments {
        let mean = features.iter().zip(&self.mean).map(|(feature, mean)| feature * mean).sum();
        Moments { mean, variance: self.whitening.square(features) }
    }

    /// A draw, `θ = μ + L⁻ᵀε`, made of standard normals ε `[dim]`.
    pub fn sample(&self, normals: &[f64], out: &mut [f64]) {
        out.copy_from_slice(self.mean.as_slice());
        self.whitening.add_transposed(normals, out);
    }

    /// `½ (ln|Λ| − dim ln 2π − (θ − μ)ᵀ Λ (θ − μ))`.
    pub fn log_density(&self, at: &DVector<f64>) -> f64 {
        0.5 * (self.factor.ln_square_determinant() - self.dim() as f64 * LN_TAU - self.square(at))
    }

    /// `½ (dim (1 + ln 2π) − ln|Λ|)`.
    pub fn entropy(&self) -> f64 {
        0.5 * (self.dim() as f64 * (1.0 + LN_TAU) - self.factor.ln_square_determinant())
    }

    /// `(θ − μ)ᵀ Λ (θ − μ) = |Lᵀ(θ − μ)|²`.
    fn square(&self, at: &DVector<f64>) -> f64 {
        let mut white = DVector::zeros(self.dim());
        self.factor.add_transposed((at - &self.mean).as_slice(), white.as_mut_slice());
        white.norm_squared()
    }
}

/// With `(h, Λ)` for the statistics `(θ, −½ θθᵀ)` about the base measure `(2π)^(−dim/2)`.
impl ExponentialFamily for Gaussian {
    type Parameters = (DVector<f64>, DMatrix<f64>);

    fn to_natural(&self) -> Self::Parameters {
        (self.shift.clone(), self.precision.clone())
    }

    fn from_natural((shift, precision): Self::Parameters) -> Result<Self, NoMember> {
        let precision = (&precision + precision.transpose()) * 0.5;
        let member = Self::from_information(shift, precision)?;
        NoMember::unless_finite("Gaussian", "the mean", member.mean.sum()).map(|_| member)
    }

    /// `(μ, −½ (Σ + μμᵀ))`.
    fn to_mean(&self) -> Self::Parameters {
        let mut second = self.covariance();
        second.ger(-0.5, &self.mean, &self.mean, -0.5);
        (self.mean.clone(), second)
    }

    fn from_mean((mean, second): Self::Parameters) -> Result<Self, NoMember> {
        let mut covariance = -&second - second.transpose();
        covariance.ger(-1.0, &mean, &mean, 1.0);
        let member = Self::from_moments(mean, &covariance)?;
        NoMember::unless_finite("Gaussian", "the mean", member.mean.sum()).map(|_| member)
    }

    /// `A = ½ (hᵀΛ⁻¹h − ln|Λ|)`.
    fn log_normaliser(&self) -> f64 {
        0.5 * (self.shift.dot(&self.mean) - self.factor.ln_square_determinant())
    }

    /// `½ (tr(Λ'Σ) − dim + ln|Λ| − ln|Λ'| + (μ − μ')ᵀ Λ' (μ − μ'))`.
    ///
    /// With `W = L⁻¹L'` the trace is `Σ W²`, and the determinants are those of its diagonal w: `Σ w² − 1 − ln w²` and the squares below
    /// the diagonal, of which nothing is negative.
    fn kl(&self, other: &Self) -> f64 {
        let below = self.whitening.times(&other.factor).square_below_diagonal();
        let diagonal = self.factor.diagonal().zip(other.factor.diagonal());
        let diagonal = diagonal.map(|(own, other)| deviance(own * own, other * other) / (own * own));
        0.5 * (below + diagonal.sum::<f64>() + other.square(&self.mean))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::testing::draws::Draws;
    use crate::dist::testing::oracle::{self, matrices};
    use crate::dist::testing::{assert_close, simpson};
    use proptest::prelude::*;

    /// A mean of a few standard deviations, and the scale of each number.
    fn members(dim: usize) -> impl Strategy<Value = (Gaussian, DVector<f64>)> {
        let deviations = prop::collection::vec(-3.0..3.0f64, dim);
        (matrices(dim), deviations).prop_map(|((covariance, scale), deviations)| {
            let mean = scale.component_mul(&DVector::from_vec(deviations));
            (Gaussian::from_moments(mean, &covariance).expect("a covariance"), scale)
        })
    }

    /// `(h, Λ)` in units of `scale`.
    fn natural_scale(scale: &DVector<f64>) -> (DVector<f64>, DMatrix<f64>) {
        let inverse = scale.map(f64::recip);
        (&inverse * 10.0, &inverse * inverse.transpose() * 10.0)
    }

    proptest! {
        #[test]
        fn parameters_go_round((member, scale) in (1..6usize).prop_flat_map(members)) {
            let mean_scale = (&scale * 10.0, &scale * scale.transpose() * 10.0);
            oracle::natural_parameters_go_round(&member, &natural_scale(&scale));
            oracle::mean_parameters_go_round(&member, &mean_scale);
            let back = Gaussian::from_information(member.shift.clone(), member.precision.clone()).expect("a precision");
            oracle::assert_same(&back.mean, &member.mean, &mean_scale.0, 1e-12);
            oracle::assert_same(&back.covariance(), &member.covariance(), &mean_scale.1, 1e-12);
            let back = Gaussian::from_mean(member.to_mean()).expect("a member");
            oracle::assert_same(&back.to_natural(), &member.to_natural(), &natural_scale(&scale), 1e-11);
        }

        #[test]
        fn mean_is_the_gradient((member, scale) in (1..6usize).prop_flat_map(members)) {
            let (shift, precision) = natural_scale(&scale);
            oracle::mean_is_the_gradient(&member, &(shift * 0.1, precision * 0.01));
        }

        #[test]
        fn kl_is_not_negative(((q, _), (p, _)) in (1..6usize).prop_flat_map(|dim| (members(dim), members(dim)))) {
            oracle::kl_is_not_negative(&q, &p);
        }
    }

    fn q() -> Gaussian {
        let precision = DMatrix::from_row_slice(3, 3, &[2.0, 0.5, -0.3, 0.5, 1.0, 0.4, -0.3, 0.4, 3.0]);
        Gaussian::from_information(DVector::from_vec(vec![1.0, -2.0, 0.5]), precision).expect("a precision")
    }

    #[test]
    fn draws_agree() {
        let precision = DMatrix::from_row_slice(3, 3, &[1.5, -0.2, 0.1, -0.2, 2.0, 0.3, 0.1, 0.3, 2.5]);
        let p = Gaussian::from_information(DVector::from_vec(vec![0.5, -1.0, 1.0]), precision).expect("a precision");
        oracle::draws_agree(&q(), &p, 100_000, |index| {
            let mut at = DVector::zeros(3);
            q().sample(Draws::new(index).normals(3).as_slice(), at.as_mut_slice());
            let second = &at * at.transpose() * -0.5;
            (at, second)
        });
    }

    #[test]
    fn density_integrates_to_one_and_is_that_of_its_parameters() {
        let covariance = DMatrix::from_row_slice(2, 2, &[2.0, -0.7, -0.7, 0.5]);
        let member = Gaussian::from_moments(DVector::from_vec(vec![1.0, 3.0]), &covariance).expect("a covariance");
        let at = |x, y| member.log_density(&DVector::from_vec(vec![x, y]));
        let integrate =
            |f: fn(f64) -> f64| simpson(-14.0, 16.0, 300, |x| simpson(-5.0, 11.0, 300, |y| f(at(x, y)) * at(x, y).exp()));
        assert_close(integrate(|_| 1.0), 1.0, 1e-9);
        assert_close(-integrate(|ln| ln), member.entropy(), 1e-9);
        let (shift, precision) = member.to_natural();
        let x = DVector::from_vec(vec![-0.5, 2.0]);
        let exponent = shift.dot(&x) - 0.5 * x.dot(&(precision * &x));
        assert_close(member.log_density(&x), exponent - member.log_normaliser() - LN_TAU, 1e-13);
    }

    #[test]
    fn marginals_are_those_of_the_covariance() {
        let (member, features) = (q(), DVector::from_vec(vec![0.5, -2.0, 3.0]));
        let covariance = member.covariance();
        assert!((&covariance * member.precision() - DMatrix::identity(3, 3)).norm() < 1e-14);
        let Moments { mean, variance } = member.linear(features.as_slice());
        assert_close(mean, member.mean().dot(&features), 1e-15);
        assert_close(variance, features.dot(&(&covariance * &features)), 1e-14);
        assert!((member.variances() - covariance.diagonal()).norm() < 1e-15);
    }

    #[test]
    fn what_is_no_precision_is_refused() {
        let shift = || DVector::zeros(2);
        for entries in [[1.0, 2.0, 2.0, 1.0], [0.0, 0.0, 0.0, 1.0], [1.0, f64::NAN, f64::NAN, 1.0], [1.0, 1.0, 1.0, 1.0]] {
            let precision = DMatrix::from_row_slice(2, 2, &entries);
            assert_eq!(Gaussian::from_information(shift(), precision), Err(NotPositiveDefinite));
        }
        let shift = DVector::from_element(1, f64::INFINITY);
        assert!(Gaussian::from_natural((shift, DMatrix::identity(1, 1))).is_err());
    }
}
