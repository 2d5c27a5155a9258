//! The Gamma family: an unknown rate, of events for instance.
//!
//! `p(λ) = b^a λ^(a−1) e^(−bλ) / Γ(a)`. A Poisson count x adds `(x, 1)` to the natural parameters `(a, b)`.

use super::special::{digamma, ln_gamma, ln_negative_binomial};

/// A Gamma distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gamma {
    /// a.
    pub shape: f64,
    /// b: a rate, in inverse units of what is distributed.
    pub rate: f64,
}

impl Gamma {
    /// The natural parameters `(a, b)` of `(ln λ, −λ)` about the base measure `1/λ`.
    pub fn to_natural(self) -> [f64; 2] {
        [self.shape, self.rate]
    }

    /// From `(a, b)`.
    pub fn from_natural([shape, rate]: [f64; 2]) -> Self {
        Self { shape, rate }
    }

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

    /// `(E ln λ, −E λ)`, the mean parameters of `(a, b)`.
    pub fn expected_statistics(self) -> [f64; 2] {
        [self.expected_ln(), -self.mean()]
    }

    /// `A = ln Γ(a) − a ln b`. The marginal likelihood of counts is `exp(A' − A) / Π x!`.
    pub fn log_normaliser(self) -> f64 {
        ln_gamma(self.shape) - self.shape * self.rate.ln()
    }

    /// `KL(self ‖ other) = (a − a')ψ₀(a) − ln Γ(a) + ln Γ(a') + a' ln(b/b') + a(b' − b)/b`.
    pub fn kl(self, other: Self) -> f64 {
        (self.shape - other.shape) * digamma(self.shape) - ln_gamma(self.shape)
            + ln_gamma(other.shape)
            + other.shape * (self.rate / other.rate).ln()
            + self.shape * (other.rate - self.rate) / self.rate
    }

    /// `ln ∫ Poisson(x; λ) p(λ) dλ`: negative binomial.
    pub fn predictive_log_mass(self, x: f64) -> f64 {
        let total = self.rate + 1.0;
        ln_negative_binomial(x, self.shape, self.rate / total, 1.0 / total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::testing::{assert_close, simpson};

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
        assert_eq!(Gamma::from_natural(Q.to_natural()), Q);
        assert_eq!(Q.observe(3.0, 7.0).to_natural(), [10.5, 4.25]);
    }

    #[test]
    fn moments_and_kl_by_quadrature() {
        assert_close(integrate(|_| 1.0), 1.0, 1e-9);
        assert_close(integrate(f64::ln), Q.expected_ln(), 1e-8);
        assert_close(integrate(|x| x), Q.mean(), 1e-9);
        assert_close(integrate(|x| log_density(Q, x) - log_density(P, x)), Q.kl(P), 1e-8);
        assert_close(Q.kl(Q), 0.0, 1e-15);
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
