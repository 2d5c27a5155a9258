//! Yes or no, with the logit as predictor: `p(y | η) = σ(±η)` with `σ(η) = 1 / (1 + e^(−η))`, plus where y is 1.

use super::{Likelihood, LogLikelihood, Predictive};
use crate::dist::lanes::{self, LANES, Lanes};
use crate::inference::quadrature::expect;

/// y is 1 (or anything above ½) for yes, 0 for no.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bernoulli;

/// σ(η), relatively exact in both tails.
pub fn logistic(eta: f64) -> f64 {
    let tail = (-eta.abs()).exp();
    if eta >= 0.0 { 1.0 / (1.0 + tail) } else { tail / (1.0 + tail) }
}

/// `ln(1 + e^η)`, relatively exact in both tails.
pub fn softplus(eta: f64) -> f64 {
    eta.max(0.0) + (-eta.abs()).exp().ln_1p()
}

/// softplus and the logistic function of eight numbers.
#[inline(always)]
fn softplus_and_logistic(eta: &Lanes) -> [Lanes; 2] {
    let tail = lanes::exp(eta.map(|eta| -eta.abs()));
    let mut softplus = lanes::ln(tail.map(|tail| 1.0 + tail));
    let mut logistic = [0.0; LANES];
    for i in 0..LANES {
        softplus[i] += if eta[i] > 0.0 { eta[i] } else { 0.0 };
        logistic[i] = (if eta[i] > 0.0 { 1.0 } else { tail[i] }) / (1.0 + tail[i]);
    }
    [softplus, logistic]
}

/// `σ(η) e^(−tη)`, for t from 0 to 1.
#[inline(always)]
fn tilted_logistic(eta: &Lanes, tilt: f64) -> Lanes {
    let powers = lanes::exp(eta.map(|eta| if eta > 0.0 { -tilt * eta } else { (1.0 - tilt) * eta }));
    let tails = lanes::exp(eta.map(|eta| -eta.abs()));
    std::array::from_fn(|i| powers[i] / (1.0 + tails[i]))
}

/// How many standard deviations away a tail is looked for where it lies.
const FAR: f64 = 4.0;

impl Likelihood for Bernoulli {
    fn at(self, y: f64, eta: f64) -> LogLikelihood {
        let sign = if y > 0.5 { 1.0 } else { -1.0 };
        let miss = logistic(-sign * eta);
        LogLikelihood { value: -softplus(-sign * eta), gradient: sign * miss, precision: miss * logistic(sign * eta) }
    }

    /// By quadrature; see [`expect`] for the error.
    fn expected(self, y: f64, mean: f64, variance: f64) -> LogLikelihood {
        let sign = if y > 0.5 { 1.0 } else { -1.0 };
        // In terms of the logit of being wrong.
        let [value, gradient, precision] = expect(-sign * mean, variance.sqrt(), |eta| {
            let [softplus, logistic] = softplus_and_logistic(eta);
            [softplus, logistic, logistic.map(|p| p * (1.0 - p))]
        });
        LogLikelihood { value: -value, gradient: sign * gradient, precision }
    }

    /// By quadrature. Where y is so unlikely that its mass lies out in the tail of η, it is found where it lies:
    /// `E σ(η) = e^(m + s²/2) E σ(−η − s²)`, since `σ(η) = e^η σ(−η)`, or for a wide tail `e^(−m²/2s²) E [σ(η − m) e^(m (η − m)/s²)]`.
    fn predictive(self, y: f64, mean: f64, variance: f64) -> Predictive {
        let (mean, sd) = (if y > 0.5 { mean } else { -mean }, variance.sqrt());
        let centre = softplus(-mean);
        let [first, second, mass] = expect(mean, sd, |eta| {
            let [softplus, logistic] = softplus_and_logistic(&eta.map(|eta| -eta));
            let excess = softplus.map(|softplus| softplus - centre);
            [excess, excess.map(|excess| excess * excess), logistic.map(|wrong| 1.0 - wrong)]
        });
        let log_density = if mean < -0.5 * variance {
            let [mass] = expect(-mean - variance, sd, |eta| [softplus_and_logistic(eta)[1]]);
            mean + 0.5 * variance + mass.ln()
        } else if mean < -FAR * sd {
            let tilt = -mean / variance;
            let [mass] = expect(0.0, sd, |eta| [tilted_logistic(eta, tilt)]);
            0.5 * mean * tilt + mass.ln()
        } else {
            mass.ln()
        };
        Predictive { log_density, sd: (second - first * first).max(0.0).sqrt() }
    }
}
