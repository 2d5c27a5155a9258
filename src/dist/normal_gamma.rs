//! The Normal-Gamma family: an unknown mean and precision of a number.
//!
//! `p(μ, τ) = N(μ; m, 1/(κτ)) · Gamma(τ; ν/2, ψ/2)`. Data enter through `(1, 1, x, x²)`, natural parameters are `(ν, κ, κm, ψ + κm²)`.
//! Murphy (2007), "Conjugate Bayesian analysis of the Gaussian distribution".

use super::family::{ExponentialFamily, NoMember};
use super::gamma::Gamma;
use super::solve::gamma_shape;
use super::special::{LN_TAU, deviance, digamma, ln_gamma, ln_gamma_half_step};

/// A Normal-Gamma distribution in ordinary parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormalGamma {
    /// m: the mean's mean.
    pub mean: f64,
    /// κ: how many observations the mean is worth.
    pub strength: f64,
    /// ν: how many observations the precision is worth.
    pub dof: f64,
    /// ψ: the sum of squares that the precision is worth. `ψ/ν` is about a variance.
    pub scatter: f64,
}

impl NormalGamma {
    /// The posterior after `count` values of the given mean and scatter `Σ(x − mean)²`: addition of natural parameters, in the
    /// form that doesn't cancel. `ψ' = ψ + scatter + κ·count/(κ + count) · (mean − m)²`.
    pub fn observe(self, count: f64, mean: f64, scatter: f64) -> Self {
        let strength = self.strength + count;
        let gap = mean - self.mean;
        Self {
            mean: self.mean + gap * (count / strength),
            strength,
            dof: self.dof + count,
            scatter: self.scatter + scatter + gap * gap * (self.strength * count / strength),
        }
    }

    /// `E ln τ = ψ₀(ν/2) − ln(ψ/2)`.
    pub fn expected_ln_precision(self) -> f64 {
        digamma(0.5 * self.dof) - (0.5 * self.scatter).ln()
    }

    /// `E ln N(x; μ, 1/τ) = ½ (E ln τ − ln 2π − 1/κ − (ν/ψ)(x − m)²)`.
    pub fn expected_log_density(self, x: f64) -> f64 {
        let gap = x - self.mean;
        0.5 * (self.expected_ln_precision() - LN_TAU - 1.0 / self.strength - gap * gap * self.dof / self.scatter)
    }

    /// The predictive is Student's t with ν degrees of freedom at m; this is its squared scale, `ψ(κ + 1)/(κν)`.
    pub fn predictive_square_scale(self) -> f64 {
        self.scatter / self.dof * ((self.strength + 1.0) / self.strength)
    }

    /// The log of the predictive's height at its middle: `ln Γ((ν+1)/2) − ln Γ(ν/2) − ½ ln(νπ s²)`.
    pub fn predictive_log_peak(self) -> f64 {
        let spread = self.dof * self.predictive_square_scale();
        ln_gamma_half_step(0.5 * self.dof) - 0.5 * (spread.ln() + std::f64::consts::PI.ln())
    }

    /// `ln ∫∫ N(x; μ, 1/τ) p(μ, τ)`: Student's t, `peak − (ν+1)/2 · ln(1 + (x − m)²/(ν s²))`.
    pub fn predictive_log_density(self, x: f64) -> f64 {
        let z = (x - self.mean) / (self.dof * self.predictive_square_scale()).sqrt();
        // Where z² would overflow, 1 is nothing beside it.
        let tail = if z.abs() < 1e150 { (z * z).ln_1p() } else { 2.0 * z.abs().ln() };
        self.predictive_log_peak() - 0.5 * (self.dof + 1.0) * tail
    }
}

/// With `(ν, κ, κm, ψ + κm²)` for the statistics `(½ ln τ, −½ τμ², τμ, −½ τ)` about the base measure `1/(τ√(2π))`.
impl ExponentialFamily for NormalGamma {
    type Parameters = [f64; 4];

    fn to_natural(&self) -> [f64; 4] {
        let Self { mean, strength, dof, scatter } = *self;
        [dof, strength, strength * mean, scatter + strength * mean * mean]
    }

    fn from_natural([dof, strength, first, second]: [f64; 4]) -> Result<Self, NoMember> {
        let dof = NoMember::unless_positive("Normal-Gamma", "ν", dof)?;
        let strength = NoMember::unless_positive("Normal-Gamma", "κ", strength)?;
        let mean = NoMember::unless_finite("Normal-Gamma", "m", first / strength)?;
        Ok(Self { mean, strength, dof, scatter: NoMember::unless_positive("Normal-Gamma", "ψ", second - first * mean)? })
    }

    /// `E τ = ν/ψ`, `E ln τ = ψ₀(ν/2) − ln(ψ/2)`, `E τμ = mν/ψ`, `E τμ² = 1/κ + m²ν/ψ`.
    fn to_mean(&self) -> [f64; 4] {
        let precision = self.dof / self.scatter;
        let square = 1.0 / self.strength + self.mean * self.mean * precision;
        [0.5 * self.expected_ln_precision(), -0.5 * square, precision * self.mean, -0.5 * precision]
    }

    fn from_mean([half_ln, minus_square, product, minus_precision]: [f64; 4]) -> Result<Self, NoMember> {
        let precision = NoMember::unless_positive("Normal-Gamma", "E τ", -2.0 * minus_precision)?;
        let mean = NoMember::unless_finite("Normal-Gamma", "m", product / precision)?;
        let spread = NoMember::unless_positive("Normal-Gamma", "1/κ", -2.0 * minus_square - mean * product)?;
        let gap = precision.ln() - 2.0 * half_ln;
        let outside = NoMember::Outside { family: "Normal-Gamma", quantity: "ln E τ − E ln τ", value: gap };
        let dof = 2.0 * gamma_shape(gap).ok_or(outside)?;
        Ok(Self { mean, strength: 1.0 / spread, dof, scatter: dof / precision })
    }

    /// `A = ln Γ(ν/2) − (ν/2) ln(ψ/2) − ½ ln κ`. The marginal likelihood of n values is `(2π)^(-n/2) exp(A' − A)`.
    fn log_normaliser(&self) -> f64 {
        ln_gamma(0.5 * self.dof) - 0.5 * self.dof * (0.5 * self.scatter).ln() - 0.5 * self.strength.ln()
    }

    /// The expected KL of the means given τ, `½ (κ'/κ − 1 − ln(κ'/κ) + κ'(m − m')²ν/ψ)`, plus that of the precisions.
    fn kl(&self, other: &Self) -> f64 {
        let gap = self.mean - other.mean;
        let means =
            deviance(self.strength, other.strength) / self.strength + other.strength * gap * gap * (self.dof / self.scatter);
        let precision = |belief: &Self| Gamma { shape: 0.5 * belief.dof, rate: 0.5 * belief.scatter };
        0.5 * means + precision(self).kl(&precision(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::testing::draws::Draws;
    use crate::dist::testing::oracle::{self, magnitudes};
    use crate::dist::testing::{assert_close, normal, simpson};
    use proptest::prelude::*;

    /// With a mean of a few of its standard deviations, so that what is subtracted can be given back.
    fn members() -> impl Strategy<Value = NormalGamma> {
        (magnitudes(), magnitudes(), magnitudes(), -3.0..3.0f64).prop_map(|(strength, dof, scatter, deviations)| {
            let mean = deviations * (scatter / (dof * strength)).sqrt();
            NormalGamma { mean, strength, dof, scatter }
        })
    }

    proptest! {
        #[test]
        fn parameters_go_round(member in members()) {
            let natural = member.to_natural();
            let precision = member.dof / member.scatter;
            oracle::natural_parameters_go_round(&member, &natural);
            let mean = member.to_mean();
            // An ulp of 1 in a logarithm is one of its number.
            let size = mean[0].abs().max(precision.ln().abs()).max(1.0);
            oracle::mean_parameters_go_round(&member, &[size, mean[1], mean[2], mean[3]]);
            let back = NormalGamma::from_mean(mean).expect("a member");
            let condition = size / crate::dist::special::ln_minus_digamma(0.5 * member.dof);
            oracle::assert_same(&back.to_natural(), &natural, &natural, 1e-15 * condition.max(1e3));
            // A change of κ changes ψ by m² of it, one of κm by −2m.
            let strength = member.strength / (1.0 + member.strength * member.mean.powi(2) / member.scatter);
            let product = (member.scatter * member.strength).sqrt().min(member.scatter / member.mean.abs());
            oracle::mean_is_the_gradient(&member, &[member.dof, strength, product, member.scatter]);
        }

        #[test]
        fn kl_is_not_negative(q in members(), p in members()) {
            oracle::kl_is_not_negative(&q, &p);
        }
    }

    #[test]
    fn draws_agree() {
        oracle::draws_agree(&Q, &P, 100_000, |index| {
            let mut draws = Draws::new(index);
            let precision = draws.gamma(0.5 * Q.dof) / (0.5 * Q.scatter);
            let mean = Q.mean + draws.normal() / (Q.strength * precision).sqrt();
            [0.5 * precision.ln(), -0.5 * precision * mean * mean, precision * mean, -0.5 * precision]
        });
    }

    #[test]
    fn what_is_no_member_is_refused() {
        for natural in [[0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0], [1.0, 1.0, f64::NAN, 1.0]] {
            assert!(NormalGamma::from_natural(natural).is_err());
        }
        for mean in [[0.0, -0.5, 0.0, -0.5], [-1.0, -0.5, 1.0, -0.5], [-1.0, -0.5, 0.0, 0.0]] {
            assert!(NormalGamma::from_mean(mean).is_err());
        }
    }

    const Q: NormalGamma = NormalGamma { mean: 0.7, strength: 2.5, dof: 5.0, scatter: 3.0 };
    const P: NormalGamma = NormalGamma { mean: -0.2, strength: 1.5, dof: 4.0, scatter: 6.0 };

    fn log_density(d: NormalGamma, mean: f64, precision: f64) -> f64 {
        let [half_ln, square, product, linear] =
            [0.5 * precision.ln(), -0.5 * precision * mean * mean, precision * mean, -0.5 * precision];
        let natural = d.to_natural();
        // The Gamma's density has τ^(ν/2 − 1), the normal's √τ: together ½(ν − 1) ln τ.
        (natural[0] - 1.0) * half_ln + natural[1] * square + natural[2] * product + natural[3] * linear
            - d.log_normaliser()
            - 0.5 * LN_TAU
    }

    /// ∫∫ f p over mean and precision.
    fn integrate(f: impl Fn(f64, f64) -> f64) -> f64 {
        simpson(1e-9, 16.0, 800, |precision| {
            let reach = 14.0 / (Q.strength * precision).sqrt();
            simpson(Q.mean - reach, Q.mean + reach, 150, |mean| f(mean, precision) * log_density(Q, mean, precision).exp())
        })
    }

    #[test]
    fn natural_parameters_round_trip_and_add() {
        let back = NormalGamma::from_natural(Q.to_natural()).expect("a member");
        for (a, b) in back.to_natural().into_iter().zip(Q.to_natural()) {
            assert_close(a, b, 1e-12);
        }
        let data: Vec<f64> = (0..9).map(|i| 3.0 + normal(i)).collect();
        let mut natural = Q.to_natural();
        for x in &data {
            for (parameter, statistic) in natural.iter_mut().zip([1.0, 1.0, *x, x * x]) {
                *parameter += statistic;
            }
        }
        let mean = data.iter().sum::<f64>() / 9.0;
        let learnt = Q.observe(9.0, mean, data.iter().map(|x| (x - mean).powi(2)).sum());
        for (a, b) in learnt.to_natural().into_iter().zip(natural) {
            assert_close(a, b, 1e-12);
        }
    }

    #[test]
    fn moments_and_normaliser_by_quadrature() {
        assert_close(integrate(|_, _| 1.0), 1.0, 1e-6);
        let expected = Q.to_mean();
        assert_close(integrate(|_, t| 0.5 * t.ln()), expected[0], 1e-5);
        assert_close(integrate(|m, t| -0.5 * t * m * m), expected[1], 1e-5);
        assert_close(integrate(|m, t| t * m), expected[2], 1e-5);
        assert_close(integrate(|_, t| -0.5 * t), expected[3], 1e-5);
        let by_density = integrate(|m, t| 0.5 * (t.ln() - LN_TAU - t * (1.9 - m).powi(2)));
        assert_close(by_density, Q.expected_log_density(1.9), 1e-5);
    }

    #[test]
    fn kl_by_quadrature() {
        assert_close(integrate(|m, t| log_density(Q, m, t) - log_density(P, m, t)), Q.kl(&P), 1e-5);
        assert_close(Q.kl(&Q), 0.0, 1e-14);
    }

    #[test]
    fn predictive_is_a_density_and_a_ratio_of_marginal_likelihoods() {
        // x = sinh t reaches far enough for tails of t with 5 degrees of freedom.
        let mass = simpson(-12.0, 12.0, 4000, |t| Q.predictive_log_density(t.sinh()).exp() * t.cosh());
        assert_close(mass, 1.0, 1e-9);
        for x in [-4.0, 0.0, 0.7, 30.0] {
            let ratio = Q.observe(1.0, x, 0.0).log_normaliser() - Q.log_normaliser() - 0.5 * LN_TAU;
            assert_close(Q.predictive_log_density(x), ratio, 1e-12);
        }
        assert!(Q.predictive_log_density(1e300).is_finite());
    }
}
