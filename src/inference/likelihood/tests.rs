//! Each likelihood is held against itself: derivatives against differences, expectations against brute force, Bonnet's and Price's
//! theorems, and masses that sum to one.

mod posterior;

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

/// Of a predictor hardly known: `ln E exp(−e^η)`, on a grid that is fine where the integrand falls.
#[test]
fn poisson_with_wide_predictors() {
    for (mean, variance) in [(0.0, 1e6), (-500.0, 1e6), (50.0, 1e5), (3.0, 400.0)] {
        let sd = f64::sqrt(variance);
        let integrand = |eta: f64| (-eta.exp()).exp() * density(eta, mean, variance);
        let parts = [(mean - 12.0 * sd, -40.0), (-40.0, 8.0)].map(|(from, to)| simpson(from, to, 200_000, integrand));
        assert_close(Poisson.predictive(0.0, mean, variance).log_density, (parts[0] + parts[1]).ln(), 1e-7);
    }
}

/// References by mpmath with 40 digits, for y = 1: (mean, sd, [E ln p, E of its gradient, E of its precision, ln E p, sd of ln p]).
#[test]
fn bernoulli_with_wide_and_with_far_predictors() {
    for (mean, sd, [value, gradient, precision, log_density, spread]) in [
        (0.0, 12.0, [-4.841_565_391_795_474, 0.5, 0.032_874_221_216_305_06, -std::f64::consts::LN_2, 6.974_082_290_781_921]),
        (
            3.0,
            20.0,
            [
                -6.600_793_712_799_864,
                0.440_623_583_123_729_7,
                0.019_645_340_705_017_535,
                -0.580_932_656_993_060_3,
                10.626_556_640_074,
            ],
        ),
        (-30.0, 2.0, [-30.000_000_000_000_69, 0.999_999_999_999_308_6, 6.914e-13, -28.000_000_000_037_75, 1.999_999_999_998_617]),
        (-80.0, 10.0, [-80.0, 0.999_999_999_999_997_7, 1.767e-15, -33.707_247_493_268_48, 9.999_999_999_999_977]),
        (-100.0, 0.5, [-100.0, 1.0, 4.2e-44, -99.875_000_000_001_57, 0.5]),
        (
            -4.0,
            0.05,
            [
                -4.018_172_018_640_117,
                0.981_992_495_384_624_3,
                0.017_682_451_811_679_5,
                -4.016_966_684_897_818,
                0.049_099_634_727_023,
            ],
        ),
        (40.0, 7.0, [-2.532_234_782e-8, 1.977_341_441e-8, 1.505_877_329e-8, -1.977_341_461e-8, 1.422_775_217e-4]),
    ] {
        let (expected, predictive) = (Bernoulli.expected(1.0, mean, sd * sd), Bernoulli.predictive(1.0, mean, sd * sd));
        assert_close(expected.value, value, 1e-9);
        assert_close(expected.gradient, gradient, 1e-9);
        assert_close(expected.precision, precision, 1e-9);
        assert_close(predictive.log_density, log_density, 1e-9);
        assert_close(predictive.sd, spread, 1e-7);
        let mirrored = Bernoulli.predictive(0.0, -mean, sd * sd);
        assert_close(mirrored.log_density, log_density, 1e-9);
    }
}

/// Tails so wide that they reach back to where y is likely: ln E p by mpmath with 50 digits, for y = 1.
#[test]
fn bernoulli_in_a_wide_tail() {
    for (mean, sd, log_density) in [
        (-9.0, 2.0, -7.032_779_836_700_698),
        (-30.0, 6.0, -13.777_500_438_654_584),
        (-100.0, 20.0, -14.957_293_787_993_865),
        (-600.0, 100.0, -20.730_686_143_821_506),
    ] {
        // At an sd of 100 the quadrature's points lie further apart than the logistic's width.
        let tolerance = if sd > 20.0 { 1e-3 } else { 1e-9 };
        assert_close(Bernoulli.predictive(1.0, mean, sd * sd).log_density, log_density, tolerance);
    }
}

/// ln E p by mpmath with 40 digits: (y, mean, sd, ln E p).
#[test]
fn poisson_with_wide_and_with_far_predictors() {
    for (y, mean, sd, log_density) in [
        (1000.0, 7.0, 0.3, -6.675_504_492_765_485),
        (0.0, -20.0, 5.0, -1.060_278_899_071_297_4e-4),
        (5.0, 30.0, 1.0, -373.228_173_692_816_5),
        (3.0, -8.0, 4.0, -5.842_599_160_914_749),
        (1e6, 13.0, 0.01, -3_302.405_868_869_135),
        (0.0, 12.0, 6.0, -3.914_973_549_011_073),
        (1e9, 20.0, 0.5, -21.995_284_127_747_284),
        (1e12, 27.6, 0.1, -26.295_490_037_855_434),
        (1e15, 30.0, 2.5, -38.022_044_953_029_387),
    ] {
        assert_close(Poisson.predictive(y, mean, sd * sd).log_density, log_density, 1e-9);
    }
}

#[test]
fn masses_of_counts_sum_to_one() {
    for (mean, variance) in [(0.0, 0.01), (1.0, 0.5), (-2.0, 2.0), (3.0, 1e-12), (2.0, 0.0)] {
        let total: f64 = (0..3000).map(|y| Poisson.predictive(f64::from(y), mean, variance).log_density.exp()).sum();
        assert_close(total, 1.0, 1e-8);
    }
}

/// Where a rate would overflow, its guard stands: nothing is infinite, and nothing hangs on what is no number.
#[test]
fn extremes_are_finite_and_no_number_stays_so() {
    for (mean, variance) in [(800.0, 1.0), (0.0, 5000.0), (-800.0, 1e-30), (1e5, 1e4)] {
        for y in [0.0, 1.0, 1e9] {
            let (expected, predictive) = (Poisson.expected(y, mean, variance), Poisson.predictive(y, mean, variance));
            for number in [expected.value, expected.gradient, expected.precision, predictive.log_density, predictive.sd] {
                assert!(number.is_finite(), "{y} {mean} {variance}: {expected:?} {predictive:?}");
            }
        }
        for y in [0.0, 1.0] {
            let (expected, predictive) = (Bernoulli.expected(y, mean, variance), Bernoulli.predictive(y, mean, variance));
            for number in [expected.value, expected.gradient, expected.precision, predictive.log_density, predictive.sd] {
                assert!(number.is_finite(), "{y} {mean} {variance}: {expected:?} {predictive:?}");
            }
        }
    }
    for (mean, variance) in [(f64::NAN, 1.0), (1.0, f64::NAN)] {
        assert!(Poisson.predictive(2.0, mean, variance).log_density.is_nan());
        assert!(Poisson.expected(2.0, mean, variance).gradient.is_nan());
        assert!(Bernoulli.predictive(1.0, mean, variance).log_density.is_nan());
        assert!(Bernoulli.expected(1.0, mean, variance).gradient.is_nan());
    }
}
