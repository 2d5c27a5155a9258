//! Estimators of the evidence lower bound `E_q[ln p(D, θ) − ln q(θ)] ≤ ln p(D)`, each with its bias and its variance.
//!
//! Draws come in as log weights `ln w = ln p(D, θ) − ln q(θ)` with `θ ~ q`; how θ was drawn, and on which device, is the caller's.
//! Where θ is a smooth function of its parameters and of noise, `θ = μ + σ ε`, the gradient of an estimate is the estimate of the
//! gradient (Kingma & Welling 2014; Rezende, Mohamed & Wierstra 2014), of [`pathwise`] and of [`importance_weighted`] alike: the
//! weight of draw k in it is 1/K for the one and [`normalise`]'s for the other.

/// A bound and how well it is known, in nats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The estimate.
    pub bound: f64,
    /// Its standard deviation, estimated from the draws; infinite for a single draw, which says nothing about it.
    pub standard_error: f64,
}

/// `E_q ln p(D | θ) − KL(q ‖ p)` where both are in closed form: no bias, no variance.
pub fn analytic(expected_log_likelihood: f64, divergence: f64) -> Estimate {
    Estimate { bound: expected_log_likelihood - divergence, standard_error: 0.0 }
}

/// The mean of the log weights: no bias, variance `Var(ln w) / K` for K draws.
///
/// At `q = p(θ | D)` all weights are alike and the variance is 0, which is why ln q is better taken at the draws than as a
/// closed-form entropy once q is good (Roeder, Wu & Duvenaud 2017).
pub fn pathwise(log_weights: &[f64]) -> Estimate {
    let (mean, variance) = moments(log_weights);
    Estimate { bound: mean, standard_error: standard_error(variance, log_weights.len()) }
}

/// The mean of `ln p(D | θ)` over draws, less a divergence in closed form: no bias, variance `Var(ln p(D | θ)) / K`.
pub fn pathwise_with_divergence(log_likelihoods: &[f64], divergence: f64) -> Estimate {
    let Estimate { bound, standard_error } = pathwise(log_likelihoods);
    Estimate { bound: bound - divergence, standard_error }
}

/// An importance-weighted bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ImportanceWeighted {
    /// `ln (1/K Σ w)`, in nats. Its expectation is below `ln p(D)` and rises with K.
    pub bound: f64,
    /// Its standard deviation, to first order: `√(Var w / K) / E w`; infinite for a single draw.
    pub standard_error: f64,
    /// Its bias against `ln p(D)`, to first order: `−Var w / (2 K (E w)²)`; minus infinity for a single draw.
    pub bias: f64,
    /// `(Σ w)² / Σ w²`, between 1 and K: the draws that count. Where it is a small part of K, what is estimated from the draws is
    /// too good to be true.
    pub effective_draws: f64,
}

/// The importance-weighted bound (Burda, Grosse & Salakhutdinov 2016), whose bias is O(1/K), with bias and variance by the delta
/// method (Nowozin 2018, eq. 8 and 9).
pub fn importance_weighted(log_weights: &[f64]) -> ImportanceWeighted {
    let bound = log_mean_exp(log_weights);
    let count = log_weights.len();
    // Relative to their mean, weights have a mean of 1.
    let squares: f64 = log_weights.iter().map(|weight| (2.0 * (weight - bound)).exp()).sum();
    let variance: f64 = log_weights.iter().map(|weight| (weight - bound).exp_m1().powi(2)).sum::<f64>() / (count as f64 - 1.0);
    let standard_error = standard_error(variance, count);
    ImportanceWeighted {
        bound,
        standard_error,
        bias: -0.5 * standard_error * standard_error,
        effective_draws: (count as f64).powi(2) / squares,
    }
}

/// Weights in place of their logarithms, summing to 1: `w_k / Σ w`, also the gradient of [`log_mean_exp`].
pub fn normalise(log_weights: &mut [f64]) {
    let total = log_sum_exp(log_weights);
    for weight in log_weights {
        *weight = (*weight - total).exp();
    }
}

/// `ln Σ e^x`, minus infinity for none.
pub fn log_sum_exp(values: &[f64]) -> f64 {
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if most.is_infinite() {
        // What is not a number stays so; `max` passes over it.
        return values.iter().find(|value| value.is_nan()).copied().unwrap_or(most);
    }
    most + values.iter().map(|value| (value - most).exp()).sum::<f64>().ln()
}

/// `ln (1/K Σ e^x)`.
pub fn log_mean_exp(values: &[f64]) -> f64 {
    log_sum_exp(values) - (values.len() as f64).ln()
}

/// Mean and unbiased variance.
fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    (mean, values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0))
}

fn standard_error(variance: f64, count: usize) -> f64 {
    if count > 1 { (variance / count as f64).sqrt() } else { f64::INFINITY }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::special::LN_TAU;
    use crate::dist::testing::{assert_close, normal};

    /// x_i ~ N(θ, 1), θ ~ N(0, 2): everything is known, but q is not quite the posterior.
    const DATA: [f64; 6] = [0.7, 1.9, -0.4, 1.1, 2.2, 0.3];
    const PRIOR: f64 = 2.0;
    const MEAN: f64 = 0.7;
    const SD: f64 = 0.5;

    fn ln_normal(x: f64, mean: f64, variance: f64) -> f64 {
        -0.5 * (LN_TAU + variance.ln() + (x - mean).powi(2) / variance)
    }

    fn log_likelihood(theta: f64) -> f64 {
        DATA.iter().map(|x| ln_normal(*x, theta, 1.0)).sum()
    }

    fn divergence() -> f64 {
        0.5 * ((SD * SD + MEAN * MEAN) / PRIOR - 1.0 - (SD * SD / PRIOR).ln())
    }

    fn draw(index: u64) -> f64 {
        MEAN + SD * normal(index)
    }

    fn log_weight(theta: f64) -> f64 {
        log_likelihood(theta) + ln_normal(theta, 0.0, PRIOR) - ln_normal(theta, MEAN, SD * SD)
    }

    /// ln p(D): the last of the predictives multiplied.
    fn evidence() -> f64 {
        let (mut mean, mut variance, mut sum) = (0.0, PRIOR, 0.0);
        for x in DATA {
            sum += ln_normal(x, mean, variance + 1.0);
            let gain = variance / (variance + 1.0);
            (mean, variance) = (mean + gain * (x - mean), variance * (1.0 - gain));
        }
        sum
    }

    fn bound() -> f64 {
        let expected: f64 = DATA.iter().map(|x| ln_normal(*x, MEAN, 1.0) - 0.5 * SD * SD).sum();
        analytic(expected, divergence()).bound
    }

    /// Mean of estimates over 4000 repetitions with `draws` draws, its standard error, and the mean squared standard error stated.
    fn repeat(draws: u64, estimate: impl Fn(&[f64]) -> (f64, f64)) -> (f64, f64, f64) {
        const TIMES: u64 = 4000;
        let (mut bounds, mut stated) = (Vec::new(), 0.0);
        for time in 0..TIMES {
            let thetas: Vec<f64> = (0..draws).map(|k| draw(time * draws + k)).collect();
            let (bound, standard_error) = estimate(&thetas);
            bounds.push(bound);
            stated += standard_error * standard_error / TIMES as f64;
        }
        let (mean, variance) = moments(&bounds);
        (mean, (variance / TIMES as f64).sqrt(), stated / variance)
    }

    fn over(f: impl Fn(f64) -> f64, estimate: impl Fn(&[f64]) -> Estimate) -> impl Fn(&[f64]) -> (f64, f64) {
        move |thetas| {
            let values: Vec<f64> = thetas.iter().map(|theta| f(*theta)).collect();
            let Estimate { bound, standard_error } = estimate(&values);
            (bound, standard_error)
        }
    }

    #[test]
    fn pathwise_estimates_have_no_bias_and_the_variance_that_they_state() {
        assert!(bound() < evidence());
        for (mean, error, stated) in [
            repeat(8, over(log_weight, pathwise)),
            repeat(8, over(log_likelihood, |values| pathwise_with_divergence(values, divergence()))),
        ] {
            assert!(((mean - bound()) / error).abs() < 3.5, "{mean} ± {error} is not {}", bound());
            assert!((stated - 1.0).abs() < 0.1, "states {stated} times its variance");
        }
    }

    /// What the test above is worth: estimators with mistakes that are easily made don't pass it.
    #[test]
    fn wrong_estimators_fail_by_far() {
        let forgets_half_of_q = |theta: f64| log_weight(theta) + 0.5 * ((theta - MEAN) / SD).powi(2) - 0.4;
        let scale_as_variance = |theta: f64| log_likelihood(theta) + ln_normal(theta, 0.0, PRIOR) - ln_normal(theta, MEAN, SD);
        let importance = |values: &[f64]| {
            let ImportanceWeighted { bound, standard_error, .. } = importance_weighted(values);
            Estimate { bound, standard_error }
        };
        for (mean, error, _) in [
            repeat(8, over(forgets_half_of_q, pathwise)),
            repeat(8, over(scale_as_variance, pathwise)),
            repeat(8, over(log_weight, importance)),
            repeat(8, over(log_likelihood, |values| pathwise_with_divergence(values, -divergence()))),
        ] {
            assert!(((mean - bound()) / error).abs() > 8.0, "{mean} ± {error} passes for {}", bound());
        }
    }

    #[test]
    fn importance_weighted_bounds_rise_to_the_evidence_with_a_bias_of_one_over_k() {
        let mut last = (bound(), 0.0);
        for draws in [2, 8, 32, 128] {
            let corrected = |with_bias: bool| {
                repeat(draws, move |thetas| {
                    let weights: Vec<f64> = thetas.iter().map(|theta| log_weight(*theta)).collect();
                    let ImportanceWeighted { bound, standard_error, bias, effective_draws } = importance_weighted(&weights);
                    assert!(effective_draws >= 1.0 && effective_draws <= draws as f64 * (1.0 + 1e-12));
                    (bound - if with_bias { bias } else { 0.0 }, standard_error)
                })
            };
            let (mean, error, stated) = corrected(false);
            assert!(mean > last.0 - 3.0 * (error + last.1), "{draws} draws give {mean} after {}", last.0);
            assert!(mean < evidence() + 3.0 * error, "{mean} is above {}", evidence());
            last = (mean, error);
            if draws >= 32 {
                // To first order the bias is −Var(w) / (2K), w relative to its mean; here by quadrature over q.
                let relative = |theta: f64| (log_weight(theta) - evidence()).exp();
                let variance = crate::dist::testing::simpson(MEAN - 9.0 * SD, MEAN + 9.0 * SD, 2000, |theta| {
                    (relative(theta) - 1.0).powi(2) * ln_normal(theta, MEAN, SD * SD).exp()
                });
                let bias = -0.5 * variance / draws as f64;
                assert!((mean - evidence() - bias).abs() < 3.0 * error + 0.2 * bias.abs(), "{mean} {error} {bias}");
                assert!((stated - 1.0).abs() < 0.15, "states {stated} times its variance");
                let (mean, error, _) = corrected(true);
                assert!((mean - evidence()).abs() < 3.0 * error + 0.2 * bias.abs(), "{mean} ± {error}, corrected by {bias}");
            }
        }
        assert!(evidence() - last.0 < 0.05 * (evidence() - bound()), "{last:?} is not near {}", evidence());
    }

    #[test]
    fn at_the_posterior_every_draw_says_the_evidence() {
        let precision = 1.0 / PRIOR + DATA.len() as f64;
        let (mean, variance) = (DATA.iter().sum::<f64>() / precision, 1.0 / precision);
        let weights: Vec<f64> = (0..16)
            .map(|k| mean + variance.sqrt() * normal(k))
            .map(|theta| log_likelihood(theta) + ln_normal(theta, 0.0, PRIOR) - ln_normal(theta, mean, variance))
            .collect();
        let (plain, weighted) = (pathwise(&weights), importance_weighted(&weights));
        assert_close(plain.bound, evidence(), 1e-12);
        assert_close(weighted.bound, evidence(), 1e-12);
        assert_close(weighted.effective_draws, 16.0, 1e-12);
        assert!(plain.standard_error < 1e-12 && weighted.standard_error < 1e-12);
    }

    #[test]
    fn log_mean_exp_at_the_edges() {
        assert_close(log_mean_exp(&[-1e5, -1e5 + 1.0]), -1e5 + (0.5 * (1.0 + 1f64.exp())).ln(), 1e-15);
        assert_close(log_mean_exp(&[1e5, f64::NEG_INFINITY]), 1e5 - 2f64.ln(), 1e-15);
        assert_eq!(log_mean_exp(&[f64::NEG_INFINITY; 3]), f64::NEG_INFINITY);
        assert_eq!(log_mean_exp(&[f64::INFINITY, 0.0]), f64::INFINITY);
        assert!(log_mean_exp(&[0.0, f64::NAN]).is_nan());
        assert!(log_mean_exp(&[f64::NAN, f64::NAN]).is_nan());
        assert_eq!(importance_weighted(&[-3.0]).bound, -3.0);
        assert_eq!(importance_weighted(&[-3.0]).standard_error, f64::INFINITY);
        assert_eq!(pathwise(&[-3.0]), Estimate { bound: -3.0, standard_error: f64::INFINITY });
        let mut weights = [800.0, 800.0 + 3f64.ln()];
        normalise(&mut weights);
        assert_close(weights[0], 0.25, 1e-12);
        assert_close(weights[1], 0.75, 1e-12);
    }
}
