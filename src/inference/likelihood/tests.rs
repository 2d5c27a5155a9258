//! Each likelihood is held against itself: derivatives against differences, expectations against brute force, Bonnet's and Price's
//! theorems, and masses that sum to one.

use super::*;
use crate::dist::testing::{assert_close, simpson};

fn density(eta: f64, mean: f64, variance: f64) -> f64 {
    (-0.5 * (eta - mean).powi(2) / variance).exp() / (std::f64::consts::TAU * variance).sqrt()
}

/// (mean, variance) of predictors, and targets for them.
const PREDICTORS: [(f64, f64); 10] = [
    (0.0, 0.01),
    (0.3, 0.25),
    (-1.0, 0.7),
    (0.5, 1.5),
    (2.0, 1.0),
    (-3.0, 2.0),
    (1.0, 6.0),
    (-4.0, 9.0),
    (0.7, 40.0),
    (3.0, 90.0),
];

fn cases(targets: &[f64]) -> impl Iterator<Item = (f64, f64, f64)> {
    PREDICTORS.into_iter().flat_map(|(mean, variance)| targets.iter().map(move |y| (*y, mean, variance)))
}

fn derivatives_are_differences<L: Likelihood>(likelihood: L, targets: &[f64]) {
    for (y, eta, _) in cases(targets) {
        let h = 1e-5;
        let (below, at, above) = (likelihood.at(y, eta - h), likelihood.at(y, eta), likelihood.at(y, eta + h));
        assert_close((above.value - below.value) / (2.0 * h), at.gradient, 1e-8);
        assert_close((below.gradient - above.gradient) / (2.0 * h), at.precision, 1e-8);
    }
}

fn expectations_are_derivatives_of_one_another<L: Likelihood>(likelihood: L, targets: &[f64]) {
    for (y, mean, variance) in cases(targets).filter(|(.., variance)| *variance < 50.0) {
        let expected = |mean, variance| likelihood.expected(y, mean, variance);
        let at = expected(mean, variance);
        let h = 1e-4;
        let scale = at.precision.abs().max(1.0);
        let bonnet = (expected(mean + h, variance).value - expected(mean - h, variance).value) / (2.0 * h);
        let slope = (expected(mean - h, variance).gradient - expected(mean + h, variance).gradient) / (2.0 * h);
        let h = 1e-3 * variance;
        let price = (expected(mean, variance + h).value - expected(mean, variance - h).value) / (2.0 * h);
        assert!((bonnet - at.gradient).abs() < 1e-6 * scale, "{y} {mean} {variance}: {bonnet} {}", at.gradient);
        assert!((slope - at.precision).abs() < 1e-6 * scale, "{y} {mean} {variance}: {slope} {}", at.precision);
        let tolerance = 1e-6 * variance.powi(2).max(1.0) * scale;
        assert!((price + 0.5 * at.precision).abs() < tolerance, "{y} {mean} {variance}: {price} {}", at.precision);
    }
}

fn expectations_are_integrals<L: Likelihood>(likelihood: L, targets: &[f64]) {
    for (y, mean, variance) in cases(targets).filter(|(.., variance)| *variance < 50.0) {
        let sd = variance.sqrt();
        let integral = |f: &dyn Fn(LogLikelihood) -> f64| {
            simpson(mean - 10.0 * sd, mean + 20.0 * sd + 2.0 * variance, 20_000, |eta| {
                f(likelihood.at(y, eta)) * density(eta, mean, variance)
            })
        };
        let (expected, predictive) = (likelihood.expected(y, mean, variance), likelihood.predictive(y, mean, variance));
        assert_close(expected.value, integral(&|at| at.value), 2e-9);
        assert_close(expected.gradient, integral(&|at| at.gradient), 2e-9);
        assert_close(expected.precision, integral(&|at| at.precision), 2e-9);
        assert_close(predictive.log_density, integral(&|at| at.value.exp()).ln(), 2e-9);
        let spread = integral(&|at| (at.value - expected.value).powi(2)).sqrt();
        assert!((predictive.sd - spread).abs() < 1e-6 * spread.max(0.01), "{y} {mean} {variance}: {} {spread}", predictive.sd);
    }
}

#[test]
fn bernoulli() {
    let targets = [0.0, 1.0];
    derivatives_are_differences(Bernoulli, &targets);
    expectations_are_derivatives_of_one_another(Bernoulli, &targets);
    expectations_are_integrals(Bernoulli, &targets);
}

#[test]
fn poisson() {
    let targets = [0.0, 1.0, 4.0, 60.0];
    derivatives_are_differences(Poisson, &targets);
    let narrow = [0.0, 1.0, 4.0, 60.0];
    expectations_are_derivatives_of_one_another(Poisson, &narrow);
    expectations_are_integrals(Poisson, &narrow);
}
