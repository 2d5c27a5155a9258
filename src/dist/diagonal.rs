//! Gaussians of many independent numbers, a network's weights for instance.
//!
//! `Π N(θ_i; μ_i, 1/λ_i)`. All work is one pass over the numbers, in the processor's widest vectors.

use pulp::{Arch, Simd, WithSimd};

use super::family::{ExponentialFamily, NoMember};
use super::gaussian::Moments;
use super::special::{LN_TAU, deviance};

/// A Gaussian with diagonal covariance.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagonal {
    /// μ `[dim]`.
    pub mean: Vec<f64>,
    /// λ `[dim]`, positive.
    pub precision: Vec<f64>,
}

impl Diagonal {
    /// Dimensions.
    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    /// The marginal of `φᵀθ`: mean `Σ φ_i μ_i`, variance `Σ φ_i² / λ_i`.
    pub fn linear(&self, features: &[f64]) -> Moments {
        let (mut mean, mut variance) = (0.0, 0.0);
        for ((feature, m), precision) in features.iter().zip(&self.mean).zip(&self.precision) {
            mean += feature * m;
            variance += feature * feature / precision;
        }
        Moments { mean, variance }
    }

    /// A draw, `θ_i = μ_i + ε_i/√λ_i`, made of standard normals ε `[dim]`.
    pub fn sample(&self, normals: &[f32], out: &mut [f32]) {
        assert!(normals.len() == self.dim() && out.len() == self.dim(), "a normal and a place for each number");
        Arch::new().dispatch(Sample { of: self, normals, out });
    }

    /// `½ Σ ln λ_i − ln 2π − λ_i (θ_i − μ_i)²`.
    pub fn log_density(&self, at: &[f64]) -> f64 {
        let numbers = self.mean.iter().zip(&self.precision).zip(at);
        0.5 * numbers.map(|((mean, precision), at)| precision.ln() - LN_TAU - precision * (at - mean).powi(2)).sum::<f64>()
    }

    /// `½ Σ 1 + ln 2π − ln λ_i`.
    pub fn entropy(&self) -> f64 {
        0.5 * self.precision.iter().map(|precision| 1.0 + LN_TAU - precision.ln()).sum::<f64>()
    }
}

struct Sample<'a> {
    of: &'a Diagonal,
    normals: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Sample<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let beliefs = self.of.mean.iter().zip(&self.of.precision);
        for ((out, normal), (mean, precision)) in self.out.iter_mut().zip(self.normals).zip(beliefs) {
            *out = (mean + f64::from(*normal) / precision.sqrt()) as f32;
        }
    }
}

/// With `(λμ, λ)` for the statistics `(θ, −½ θ²)` about the base measure `(2π)^(−dim/2)`.
impl ExponentialFamily for Diagonal {
    type Parameters = (Vec<f64>, Vec<f64>);

    fn to_natural(&self) -> Self::Parameters {
        let shift = self.mean.iter().zip(&self.precision).map(|(mean, precision)| mean * precision);
        (shift.collect(), self.precision.clone())
    }

    fn from_natural((shift, precision): Self::Parameters) -> Result<Self, NoMember> {
        let mean = shift.iter().zip(&precision).map(|(shift, precision)| {
            NoMember::unless_positive("diagonal Gaussian", "a precision", *precision)?;
            NoMember::unless_finite("diagonal Gaussian", "a mean", shift / precision)
        });
        Ok(Self { mean: mean.collect::<Result<_, _>>()?, precision })
    }

    /// `(μ, −½ (1/λ + μ²))`.
    fn to_mean(&self) -> Self::Parameters {
        let second = self.mean.iter().zip(&self.precision).map(|(mean, precision)| -0.5 * (1.0 / precision + mean * mean));
        (self.mean.clone(), second.collect())
    }

    fn from_mean((mean, second): Self::Parameters) -> Result<Self, NoMember> {
        let precision = mean.iter().zip(&second).map(|(mean, second)| {
            NoMember::unless_finite("diagonal Gaussian", "a mean", *mean)?;
            NoMember::unless_positive("diagonal Gaussian", "a variance", -2.0 * second - mean * mean).map(f64::recip)
        });
        Ok(Self { precision: precision.collect::<Result<_, _>>()?, mean })
    }

    /// `A = ½ Σ λ_i μ_i² − ln λ_i`.
    fn log_normaliser(&self) -> f64 {
        0.5 * self.mean.iter().zip(&self.precision).map(|(mean, precision)| precision * mean * mean - precision.ln()).sum::<f64>()
    }

    /// `½ Σ λ'_i/λ_i − 1 − ln(λ'_i/λ_i) + λ'_i (μ_i − μ'_i)²`.
    fn kl(&self, other: &Self) -> f64 {
        let own = self.mean.iter().zip(&self.precision);
        let terms = own.zip(other.mean.iter().zip(&other.precision)).map(|((mean, precision), (other_mean, other_precision))| {
            deviance(*precision, *other_precision) / precision + other_precision * (mean - other_mean).powi(2)
        });
        0.5 * terms.sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::testing::draws::Draws;
    use crate::dist::testing::{assert_close, oracle};
    use proptest::prelude::*;

    /// A mean of a few standard deviations, so that what is subtracted can be given back.
    fn members() -> impl Strategy<Value = Diagonal> {
        prop::collection::vec((-7.0..7.0f64, -3.0..3.0f64), 1..6).prop_map(|numbers| {
            let precision: Vec<f64> = numbers.iter().map(|(ln, _)| ln.exp()).collect();
            let mean = numbers.iter().zip(&precision).map(|((_, deviations), precision)| deviations / precision.sqrt());
            Diagonal { mean: mean.collect(), precision }
        })
    }

    proptest! {
        #[test]
        fn parameters_go_round(member in members()) {
            oracle::natural_parameters_go_round(&member, &member.to_natural());
            oracle::mean_parameters_go_round(&member, &member.to_mean());
            let back = Diagonal::from_mean(member.to_mean()).expect("a member");
            oracle::assert_same(&back.precision, &member.precision, &member.precision, 1e-12);
            let scale = (member.precision.iter().map(|precision| precision.sqrt()).collect(), member.precision.clone());
            oracle::mean_is_the_gradient(&member, &scale);
        }

        #[test]
        fn kl_is_not_negative(q in members(), p in members()) {
            let dim = q.dim().min(p.dim());
            let first = |d: Diagonal| Diagonal { mean: d.mean[..dim].to_vec(), precision: d.precision[..dim].to_vec() };
            oracle::kl_is_not_negative(&first(q), &first(p));
        }
    }

    fn q() -> Diagonal {
        Diagonal { mean: vec![0.5, -1.0, 20.0], precision: vec![4.0, 0.25, 1.0] }
    }

    #[test]
    fn draws_agree() {
        let p = Diagonal { mean: vec![0.0, 0.5, 19.0], precision: vec![2.0, 0.5, 1.5] };
        oracle::draws_agree(&q(), &p, 100_000, |index| {
            let normals: Vec<f32> = Draws::new(index).normals(3).iter().map(|x| *x as f32).collect();
            let mut drawn = [0.0; 3];
            q().sample(&normals, &mut drawn);
            let at = drawn.map(f64::from);
            (at.to_vec(), at.map(|x| -0.5 * x * x).to_vec())
        });
    }

    #[test]
    fn densities_entropies_and_marginals() {
        let at = [1.0, 0.0, 19.5];
        let (shift, precision) = q().to_natural();
        let exponent: f64 = (0..3).map(|i| shift[i] * at[i] - 0.5 * precision[i] * at[i] * at[i]).sum();
        assert_close(q().log_density(&at), exponent - q().log_normaliser() - 1.5 * LN_TAU, 1e-13);
        // Entropy is the expected surprisal, at one standard deviation from the mean in each number.
        assert_close(q().entropy(), -q().log_density(&[1.0, 1.0, 21.0]), 1e-14);
        assert_eq!(q().linear(&[2.0, 1.0, -1.0]), Moments { mean: -20.0, variance: 1.0 + 4.0 + 1.0 });
    }

    #[test]
    fn what_is_no_member_is_refused() {
        assert!(Diagonal::from_natural((vec![1.0, 1.0], vec![1.0, 0.0])).is_err());
        assert!(Diagonal::from_natural((vec![f64::NAN], vec![1.0])).is_err());
        assert!(Diagonal::from_mean((vec![1.0], vec![-0.5])).is_err());
    }
}
