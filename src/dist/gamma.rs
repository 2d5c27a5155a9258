//! The Gamma family: an unknown rate, of events for instance.
//!
//! `p(λ) = b^a λ^(a−1) e^(−bλ) / Γ(a)`. A Poisson count x adds `(x, 1)` to the natural parameters `(a, b)`.

use super::family::{ExponentialFamily, NoMember};
use super::solve::gamma_shape;
use super::special::{deviance, digamma, ln_gamma, ln_gamma_excess, ln_negative_binomial};

/// A Gamma distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gamma {
    /// a.
    pub shape: f64,
    /// b: a rate, in inverse units of what is distributed.
    pub rate: f64,
}

impl Gamma {
    /// The posterior after `count` Poisson counts that sum to `sum`.
    pub fn observe(self, count: f64, sum: f64) -> Self {
        Self { shape: self.shape + sum, rate: self.rate + count }
    }

    /// `E ln λ = ψ₀(a) − ln b`.
    pub fn expected_ln(self) -> f64 {
        digamma(self.shape) - self.rate.ln()
    }

    /// `E λ = a / b`.
    pub fn mean(self) -> f64 {
        self.shape / self.rate
    }

    /// `ln ∫ Poisson(x; λ) p(λ) dλ`: negative binomial.
    pub fn predictive_log_mass(self, x: f64) -> f64 {
        let total = self.rate + 1.0;
        ln_negative_binomial(x, self.shape, self.rate / total, 1.0 / total)
    }
}

/// With `(a, b)` for the statistics `(ln λ, −λ)` about the base measure `1/λ`.
impl ExponentialFamily for Gamma {
    type Parameters = [f64; 2];

    fn to_natural(&self) -> [f64; 2] {
        [self.shape, self.rate]
    }

    fn from_natural([shape, rate]: [f64; 2]) -> Result<Self, NoMember> {
        let shape = NoMember::unless_positive("Gamma", "the shape", shape)?;
        Ok(Self { shape, rate: NoMember::unless_positive("Gamma", "the rate", rate)? })
    }

    /// `(ψ₀(a) − ln b, −a/b)`.
    fn to_mean(&self) -> [f64; 2] {
        [self.expected_ln(), -self.mean()]
    }

    fn from_mean([expected_ln, minus_mean]: [f64; 2]) -> Result<Self, NoMember> {
        let mean = NoMember::unless_positive("Gamma", "the mean", -minus_mean)?;
        let gap = mean.ln() - expected_ln;
        let shape = gamma_shape(gap).ok_or(NoMember::Outside { family: "Gamma", quantity: "ln E λ − E ln λ", value: gap })?;
        Self::from_natural([shape, shape / mean])
    }

    /// `A = ln Γ(a) − a ln b`. The marginal likelihood of counts is `exp(A' − A) / Π x!`.
    fn log_normaliser(&self) -> f64 {
        ln_gamma(self.shape) - self.shape * self.rate.ln()
    }

    /// `(a − a')ψ₀(a) − ln Γ(a) + ln Γ(a') + a' ln(b/b') + a(b' − b)/b`.
    fn kl(&self, other: &Self) -> f64 {
        deviance(other.shape, self.shape * (other.rate / self.rate)) + ln_gamma_excess(other.shape, self.shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::testing::draws::Draws;
    use crate::dist::testing::oracle::{self, magnitudes};
    use crate::dist::testing::{assert_close, simpson};
    use proptest::prelude::*;

    fn members() -> impl Strategy<Value = Gamma> {
        (magnitudes(), magnitudes()).prop_map(|(shape, rate)| Gamma { shape, rate })
    }

    proptest! {
        #[test]
        fn parameters_go_round(member in members()) {
            oracle::natural_parameters_go_round(&member, &member.to_natural());
            let [expected_ln, mean] = member.to_mean();
            // An ulp of 1 in a logarithm is one of its number.
            let size = expected_ln.abs().max(mean.ln().abs()).max(1.0);
            oracle::mean_parameters_go_round(&member, &[size, mean]);
            oracle::mean_is_the_gradient(&member, &member.to_natural());
            // Large shapes are told apart by what the two logarithms differ by.
            let condition = size / crate::dist::special::ln_minus_digamma(member.shape);
            let back = Gamma::from_mean(member.to_mean()).expect("a member");
            oracle::assert_same(&back.to_natural(), &member.to_natural(), &member.to_natural(), 1e-15 * condition.max(1e3));
        }

        #[test]
        fn kl_is_not_negative(q in members(), p in members()) {
            oracle::kl_is_not_negative(&q, &p);
        }
    }

    #[test]
    fn draws_agree() {
        oracle::draws_agree(&Q, &P, 100_000, |index| {
            let x = Draws::new(index).gamma(Q.shape) / Q.rate;
            [x.ln(), -x]
        });
    }

    #[test]
    fn divergence_keeps_its_digits_with_much_evidence() {
        // By mpmath with 60 digits. An ulp of a rate is already a share of 1e-11 of the divergence.
        let near = Gamma { shape: 1e8, rate: 1e6 }.kl(&Gamma { shape: 1e8 + 3000.0, rate: 1e6 + 20.0 });
        assert!((near / 0.004_999_883_561_078_769 - 1.0).abs() < 1e-10, "{near}");
    }

    #[test]
    fn what_is_no_member_is_refused() {
        assert!(Gamma::from_natural([0.0, 1.0]).is_err() && Gamma::from_natural([1.0, f64::NAN]).is_err());
        assert!(Gamma::from_mean([0.1, -1.0]).is_err() && Gamma::from_mean([-1.0, 1.0]).is_err());
    }

    const Q: Gamma = Gamma { shape: 3.5, rate: 1.25 };
    const P: Gamma = Gamma { shape: 2.0, rate: 0.5 };

    fn log_density(d: Gamma, x: f64) -> f64 {
        (d.shape - 1.0) * x.ln() - d.rate * x - d.log_normaliser()
    }

    fn integrate(f: impl Fn(f64) -> f64) -> f64 {
        simpson(1e-12, 60.0, 40_000, |x| f(x) * log_density(Q, x).exp())
    }

    #[test]
    fn natural_parameters_round_trip_and_add() {
        assert_eq!(Gamma::from_natural(Q.to_natural()), Ok(Q));
        assert_eq!(Q.observe(3.0, 7.0).to_natural(), [10.5, 4.25]);
    }

    #[test]
    fn moments_and_kl_by_quadrature() {
        assert_close(integrate(|_| 1.0), 1.0, 1e-9);
        assert_close(integrate(f64::ln), Q.expected_ln(), 1e-8);
        assert_close(integrate(|x| x), Q.mean(), 1e-9);
        assert_close(integrate(|x| log_density(Q, x) - log_density(P, x)), Q.kl(&P), 1e-8);
        assert_close(Q.kl(&Q), 0.0, 1e-15);
    }

    #[test]
    fn predictive_sums_to_one_and_is_a_ratio_of_marginal_likelihoods() {
        let mass: f64 = (0..400).map(|x| Q.predictive_log_mass(f64::from(x)).exp()).sum();
        assert_close(mass, 1.0, 1e-12);
        for x in [0.0, 1.0, 6.0, 40.0] {
            let ratio = Q.observe(1.0, x).log_normaliser() - Q.log_normaliser() - ln_gamma(x + 1.0);
            assert_close(Q.predictive_log_mass(x), ratio, 1e-12);
        }
    }
}
