//! The Beta family: an unknown probability of true.
//!
//! `p(θ) = θ^(a−1) (1 − θ)^(b−1) / B(a, b)`. A true adds `(1, 0)` to the natural parameters `(a, b)`, a false `(0, 1)`.

use super::dirichlet;
use super::family::{ExponentialFamily, NoMember};
use super::solve::dirichlet_concentrations;
use super::special::digamma;

/// A Beta distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beta {
    /// a: what the trues add to.
    pub yes: f64,
    /// b: what the falses add to.
    pub no: f64,
}

impl Beta {
    /// The posterior after `count` values of which `sum` were true.
    pub fn observe(self, count: f64, sum: f64) -> Self {
        Self { yes: self.yes + sum, no: self.no + (count - sum).max(0.0) }
    }

    /// `E θ = a / (a + b)`.
    pub fn mean(self) -> f64 {
        self.yes / (self.yes + self.no)
    }

    /// `(ln p(true), ln p(false)) = (ln a, ln b) − ln(a + b)`.
    pub fn predictive_log_mass(self) -> [f64; 2] {
        let total = (self.yes + self.no).ln();
        [self.yes.ln() - total, self.no.ln() - total]
    }
}

/// With `(a, b)` for the statistics `(ln θ, ln(1 − θ))` about the base measure `1/(θ(1 − θ))`: the Dirichlet of two values.
impl ExponentialFamily for Beta {
    type Parameters = [f64; 2];

    fn to_natural(&self) -> [f64; 2] {
        [self.yes, self.no]
    }

    fn from_natural([yes, no]: [f64; 2]) -> Result<Self, NoMember> {
        let yes = NoMember::unless_positive("Beta", "a", yes)?;
        Ok(Self { yes, no: NoMember::unless_positive("Beta", "b", no)? })
    }

    /// `(ψ₀(a), ψ₀(b)) − ψ₀(a + b)`.
    fn to_mean(&self) -> [f64; 2] {
        let total = digamma(self.yes + self.no);
        [digamma(self.yes) - total, digamma(self.no) - total]
    }

    fn from_mean(mean: [f64; 2]) -> Result<Self, NoMember> {
        let outside = NoMember::Outside { family: "Beta", quantity: "E ln θ", value: mean[0] };
        let concentrations = dirichlet_concentrations(&mean).ok_or(outside)?;
        Self::from_natural([concentrations[0], concentrations[1]])
    }

    /// `A = ln B(a, b)`. The marginal likelihood of values is `exp(A' − A)`.
    fn log_normaliser(&self) -> f64 {
        dirichlet::log_normaliser(&self.to_natural())
    }

    /// `A' − A + (a − a') E ln θ + (b − b') E ln(1 − θ)`.
    fn kl(&self, other: &Self) -> f64 {
        dirichlet::kl(&self.to_natural(), &other.to_natural())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::testing::draws::Draws;
    use crate::dist::testing::oracle::{self, magnitudes};
    use crate::dist::testing::{assert_close, simpson};
    use proptest::prelude::*;

    fn members() -> impl Strategy<Value = Beta> {
        (magnitudes(), magnitudes()).prop_map(|(yes, no)| Beta { yes, no })
    }

    proptest! {
        #[test]
        fn parameters_go_round(member in members()) {
            oracle::natural_parameters_go_round(&member, &member.to_natural());
            oracle::mean_parameters_go_round(&member, &member.to_mean().map(|ln| ln.abs().max(10.0)));
            oracle::mean_is_the_gradient(&member, &member.to_natural());
        }

        #[test]
        fn kl_is_not_negative(q in members(), p in members()) {
            oracle::kl_is_not_negative(&q, &p);
        }
    }

    #[test]
    fn draws_agree() {
        oracle::draws_agree(&Q, &P, 100_000, |index| {
            let theta = Draws::new(index).dirichlet(&Q.to_natural());
            [theta[0].ln(), theta[1].ln()]
        });
    }

    const Q: Beta = Beta { yes: 3.5, no: 2.0 };
    const P: Beta = Beta { yes: 1.5, no: 4.0 };

    fn log_density(d: Beta, x: f64) -> f64 {
        (d.yes - 1.0) * x.ln() + (d.no - 1.0) * (1.0 - x).ln() - d.log_normaliser()
    }

    fn integrate(f: impl Fn(f64) -> f64) -> f64 {
        simpson(1e-12, 1.0 - 1e-12, 50_000, |x| f(x) * log_density(Q, x).exp())
    }

    #[test]
    fn natural_parameters_round_trip_and_add() {
        assert_eq!(Beta::from_natural(Q.to_natural()), Ok(Q));
        assert_eq!(Q.observe(5.0, 2.0).to_natural(), [5.5, 5.0]);
    }

    #[test]
    fn moments_and_kl_by_quadrature() {
        assert_close(integrate(|_| 1.0), 1.0, 1e-8);
        let [yes, no] = Q.to_mean();
        assert_close(integrate(f64::ln), yes, 1e-7);
        assert_close(integrate(|x| (1.0 - x).ln()), no, 1e-7);
        assert_close(integrate(|x| log_density(Q, x) - log_density(P, x)), Q.kl(&P), 1e-7);
        assert_close(Q.kl(&Q), 0.0, 1e-14);
    }

    #[test]
    fn predictive_is_a_ratio_of_marginal_likelihoods() {
        let [yes, no] = Q.predictive_log_mass();
        assert_close(yes.exp() + no.exp(), 1.0, 1e-15);
        assert_close(yes, Q.observe(1.0, 1.0).log_normaliser() - Q.log_normaliser(), 1e-13);
        assert_close(no, Q.observe(1.0, 0.0).log_normaliser() - Q.log_normaliser(), 1e-13);
        assert_close(Q.mean(), yes.exp(), 1e-15);
    }
}
