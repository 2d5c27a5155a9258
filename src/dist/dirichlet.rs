//! The Dirichlet family: unknown probabilities of several values.
//!
//! `p(θ) ∝ Π θ_i^(a_i − 1)`. A value i adds 1 to the natural parameter a_i. A Dirichlet is a slice of its concentrations `[values]`.

use super::special::{digamma, ln_gamma};

/// `E ln θ_i = ψ₀(a_i) − ψ₀(Σ a)`.
pub fn expected_ln(concentrations: &[f64]) -> Vec<f64> {
    let total = digamma(concentrations.iter().sum());
    concentrations.iter().map(|a| digamma(*a) - total).collect()
}

/// `A = Σ ln Γ(a_i) − ln Γ(Σ a)`. The marginal likelihood of values is `exp(A' − A)`.
pub fn log_normaliser(concentrations: &[f64]) -> f64 {
    concentrations.iter().map(|a| ln_gamma(*a)).sum::<f64>() - ln_gamma(concentrations.iter().sum())
}

/// `KL(q ‖ p) = A_p − A_q + Σ (q_i − p_i) E_q ln θ_i`.
pub fn kl(q: &[f64], p: &[f64]) -> f64 {
    let linear: f64 = q.iter().zip(p).zip(expected_ln(q)).map(|((q, p), ln)| (q - p) * ln).sum();
    log_normaliser(p) - log_normaliser(q) + linear
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
    use crate::dist::testing::{assert_close, simpson};

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
        assert_close(kl(&[2.0, 3.0], &[0.5, 1.0]), beta.kl(other), 1e-13);
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
