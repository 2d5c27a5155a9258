//! The Dirichlet family: unknown probabilities of several values.
//!
//! `p(θ) ∝ Π θ_i^(a_i − 1)`. A value i adds 1 to the natural parameter a_i. The functions take a Dirichlet as the slice of its
//! concentrations `[values]`; [`Dirichlet`] owns them.

use super::family::{ExponentialFamily, NoMember};
use super::solve::dirichlet_concentrations;
use super::special::{deviance, digamma, ln_gamma, ln_gamma_excess};

/// A Dirichlet distribution.
#[derive(Clone, Debug, PartialEq)]
pub struct Dirichlet {
    /// a `[values]`.
    pub concentrations: Vec<f64>,
}

/// With a for the statistics `ln θ` about the base measure `Π 1/θ_i`.
impl ExponentialFamily for Dirichlet {
    type Parameters = Vec<f64>;

    fn to_natural(&self) -> Vec<f64> {
        self.concentrations.clone()
    }

    fn from_natural(concentrations: Vec<f64>) -> Result<Self, NoMember> {
        let positive = |a: &f64| NoMember::unless_positive("Dirichlet", "a concentration", *a).map(drop);
        concentrations.iter().try_for_each(positive)?;
        Ok(Self { concentrations })
    }

    fn to_mean(&self) -> Vec<f64> {
        expected_ln(&self.concentrations)
    }

    fn from_mean(mean: Vec<f64>) -> Result<Self, NoMember> {
        let sum = mean.iter().map(|ln| ln.exp()).sum();
        let outside = NoMember::Outside { family: "Dirichlet", quantity: "Σ exp(E ln θ)", value: sum };
        dirichlet_concentrations(&mean).ok_or(outside).and_then(Self::from_natural)
    }

    fn log_normaliser(&self) -> f64 {
        log_normaliser(&self.concentrations)
    }

    fn kl(&self, other: &Self) -> f64 {
        kl(&self.concentrations, &other.concentrations)
    }
}

/// `E ln θ_i = ψ₀(a_i) − ψ₀(Σ a)`.
pub fn expected_ln(concentrations: &[f64]) -> Vec<f64> {
    let total = digamma(concentrations.iter().sum());
    concentrations.iter().map(|a| digamma(*a) - total).collect()
}

/// `A = Σ ln Γ(a_i) − ln Γ(Σ a)`. The marginal likelihood of values is `exp(A' − A)`.
pub fn log_normaliser(concentrations: &[f64]) -> f64 {
    concentrations.iter().map(|a| ln_gamma(*a)).sum::<f64>() - ln_gamma(concentrations.iter().sum())
}

/// `KL(q ‖ p) = A_p − A_q + Σ (q_i − p_i) E_q ln θ_i`, of as many values.
pub fn kl(q: &[f64], p: &[f64]) -> f64 {
    let (own, other): (f64, f64) = (q.iter().sum(), p.iter().sum());
    let value = |(q, p): (&f64, &f64)| deviance(*p, q * (other / own)) + ln_gamma_excess(*p, *q);
    q.iter().zip(p).map(value).sum::<f64>() - ln_gamma_excess(other, own)
}

/// `ln p(value i) = ln a_i − ln Σ a`.
pub fn predictive_log_mass(concentrations: &[f64]) -> Vec<f64> {
    let total = concentrations.iter().sum::<f64>().ln();
    concentrations.iter().map(|a| a.ln() - total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::beta::Beta;
    use crate::dist::testing::draws::Draws;
    use crate::dist::testing::oracle::{self, magnitudes};
    use crate::dist::testing::{assert_close, simpson};
    use proptest::prelude::*;

    fn members(values: usize) -> impl Strategy<Value = Dirichlet> {
        prop::collection::vec(magnitudes(), values).prop_map(|concentrations| Dirichlet { concentrations })
    }

    proptest! {
        #[test]
        fn parameters_go_round(member in (2..8usize).prop_flat_map(members)) {
            oracle::natural_parameters_go_round(&member, &member.to_natural());
            let mean = member.to_mean();
            // An ulp of 1 in a logarithm is one of its number.
            oracle::mean_parameters_go_round(&member, &mean.iter().map(|ln| ln.abs().max(10.0)).collect());
            oracle::mean_is_the_gradient(&member, &member.to_natural());
            // Large concentrations are told from each other by how far the probabilities stay below 1.
            let left = 1.0 - mean.iter().map(|ln| ln.exp()).sum::<f64>();
            let back = Dirichlet::from_mean(mean).expect("a member");
            let scale = member.to_natural();
            oracle::assert_same(&back.to_natural(), &member.to_natural(), &scale, 1e-12 + 1e-14 / left);
        }

        #[test]
        fn kl_is_not_negative((q, p) in (1..8usize).prop_flat_map(|values| (members(values), members(values)))) {
            oracle::kl_is_not_negative(&q, &p);
        }
    }

    #[test]
    fn draws_agree() {
        let [q, p] = [Q, P].map(|concentrations| Dirichlet { concentrations: concentrations.to_vec() });
        oracle::draws_agree(&q, &p, 100_000, |index| Draws::new(index).dirichlet(&Q).iter().map(|theta| theta.ln()).collect());
    }

    #[test]
    fn what_is_no_member_is_refused() {
        assert!(Dirichlet::from_natural(vec![1.0, 0.0]).is_err());
        assert!(Dirichlet::from_mean(vec![-0.1, -0.1]).is_err());
    }

    const Q: [f64; 3] = [2.0, 3.5, 3.0];
    const P: [f64; 3] = [1.5, 1.5, 4.0];

    fn log_density(d: &[f64; 3], x: f64, y: f64) -> f64 {
        (d[0] - 1.0) * x.ln() + (d[1] - 1.0) * y.ln() + (d[2] - 1.0) * (1.0 - x - y).ln() - log_normaliser(d)
    }

    fn integrate(f: impl Fn(f64, f64) -> f64) -> f64 {
        // y = (1 − x) u takes the triangle to a square.
        simpson(1e-10, 1.0 - 1e-10, 700, |x| {
            simpson(1e-10, 1.0 - 1e-10, 700, |u| {
                let y = (1.0 - x) * u;
                (1.0 - x) * f(x, y) * log_density(&Q, x, y).exp()
            })
        })
    }

    #[test]
    fn moments_and_kl_by_quadrature() {
        assert_close(integrate(|_, _| 1.0), 1.0, 1e-5);
        assert_close(integrate(|_, y| y.ln()), expected_ln(&Q)[1], 1e-5);
        assert_close(integrate(|x, y| log_density(&Q, x, y) - log_density(&P, x, y)), kl(&Q, &P), 1e-4);
        assert_close(kl(&Q, &Q), 0.0, 1e-14);
    }

    #[test]
    fn with_two_values_it_is_the_beta() {
        let (beta, other) = (Beta { yes: 2.0, no: 3.0 }, Beta { yes: 0.5, no: 1.0 });
        assert_close(log_normaliser(&[2.0, 3.0]), beta.log_normaliser(), 1e-15);
        assert_close(kl(&[2.0, 3.0], &[0.5, 1.0]), beta.kl(&other), 1e-13);
    }

    #[test]
    fn predictive_is_a_ratio_of_marginal_likelihoods() {
        let masses = predictive_log_mass(&Q);
        assert_close(masses.iter().map(|ln| ln.exp()).sum(), 1.0, 1e-15);
        for (i, mass) in masses.into_iter().enumerate() {
            let mut after = Q;
            after[i] += 1.0;
            assert_close(mass, log_normaliser(&after) - log_normaliser(&Q), 1e-13);
        }
    }
}
