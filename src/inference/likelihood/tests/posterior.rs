//! What the expectations are for: the normal density nearest to a posterior, found with nothing but them, has the moments and the
//! predictive that long runs of NUTS give (tests/golden/glm.py).

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};

use super::*;

/// A case of tests/golden/glm.json, with a one before each row's inputs in standard units.
struct Case {
    golden: serde_json::Value,
    rows: Vec<DVector<f64>>,
    targets: Vec<f64>,
    prior_precision: f64,
}

const TRAIN: usize = 600;

fn numbers(value: &serde_json::Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn case(name: &str) -> Case {
    let all: serde_json::Value = serde_json::from_str(include_str!("../../../../tests/golden/glm.json")).unwrap();
    let (location, scale) = (numbers(&all["location"]), numbers(&all["scale"]));
    let standard = |inputs: &serde_json::Value| {
        let inputs = numbers(inputs).into_iter().zip(&location).zip(&scale).map(|((x, location), scale)| (x - location) / scale);
        DVector::from_iterator(1 + location.len(), std::iter::once(1.0).chain(inputs))
    };
    Case {
        rows: all[name]["inputs"].as_array().unwrap().iter().map(standard).collect(),
        targets: numbers(&all[name]["targets"]),
        prior_precision: all["prior_scale"].as_f64().unwrap().powi(-2),
        golden: all[name].clone(),
    }
}

/// Mode of the posterior, and mean and precision of the nearest normal density, the fixed point of `Λ ← Λ₀ + Σ E[−∂² ln p]` and `μ ← μ + Λ⁻¹ ∇`.
/// `news(row, mean, precision)` gives gradient and precision in the coefficients.
///
/// From a wide start the steps would overshoot, so the first ones take the coefficients as known: Newton's method to the mode.
fn nearest(
    case: &Case,
    size: usize,
    mut news: impl FnMut(usize, &DVector<f64>, &Cholesky<f64, Dyn>) -> (DVector<f64>, DMatrix<f64>),
) -> (DVector<f64>, DVector<f64>, Cholesky<f64, Dyn>) {
    let prior = DMatrix::identity(size, size) * case.prior_precision;
    let mut mean = DVector::zeros(size);
    let mut mode = mean.clone();
    let mut believed = Cholesky::new(DMatrix::identity(size, size) * 1e12).unwrap();
    for iteration in 0..60 {
        let (mut gradient, mut precision) = (-&mean * case.prior_precision, prior.clone());
        for row in 0..TRAIN {
            let (g, p) = news(row, &mean, &believed);
            gradient += g;
            precision += p;
        }
        let factor = Cholesky::new(precision).unwrap();
        let step = factor.solve(&gradient);
        mean += &step;
        if iteration > 10 && step.amax() < 1e-9 {
            return (mode, mean, factor);
        }
        if iteration == 10 {
            assert!(step.amax() < 1e-9, "no mode");
            mode.copy_from(&mean);
        }
        if iteration >= 10 {
            believed = factor;
        }
    }
    panic!("no fixed point");
}

/// Golden numbers, one coefficient after another.
fn coefficients(golden: &serde_json::Value, key: &str) -> Vec<f64> {
    golden[key].as_array().unwrap().iter().flat_map(numbers).collect()
}

/// Means within 0.015 of a posterior standard deviation, which the mode is not, and standard deviations within 1.5 %.
fn compare(mode: &[f64], mean: &[f64], covariance: &DMatrix<f64>, golden: &serde_json::Value, prefix: &str) {
    let [means, sds] = ["mean", "sd"].map(|key| coefficients(golden, &format!("{prefix}{key}")));
    let off = |found: &[f64]| -> f64 {
        let errors = found.iter().zip(&means).zip(&sds).map(|((found, mean), sd)| (found - mean).abs() / sd);
        errors.fold(0.0, f64::max)
    };
    assert!(off(mean) < 0.015 && off(mode) > 0.05, "{prefix}mean: off by {} sd, the mode by {}", off(mean), off(mode));
    for (variance, sd) in covariance.diagonal().iter().zip(&sds) {
        assert!((variance.sqrt() / sd - 1.0).abs() < 0.015, "{prefix}sd {} is not {sd}", variance.sqrt());
    }
}

/// Over the rows that were not learnt.
fn compare_predictive(case: &Case, predictive: impl FnMut(usize) -> Predictive) {
    let (densities, sds) = (numbers(&case.golden["log_densities"]), numbers(&case.golden["log_density_sds"]));
    let found: Vec<Predictive> = (TRAIN..case.rows.len()).map(predictive).collect();
    let most = |errors: &mut dyn Iterator<Item = f64>| errors.fold(0.0, |most: f64, error| most.max(error.abs()));
    let of_density = most(&mut found.iter().zip(&densities).map(|(found, golden)| found.log_density - golden));
    let of_sd = most(&mut found.iter().zip(&sds).map(|(found, golden)| found.sd - golden));
    assert!(of_density < 0.006 && of_sd < 0.006, "off by {of_density} nats, and {of_sd} of the sd");
}

fn one_predictor<L: Likelihood>(likelihood: L, name: &str) {
    let case = case(name);
    let predictor = |row: usize, mean: &DVector<f64>, factor: &Cholesky<f64, Dyn>| {
        let x = &case.rows[row];
        (x.dot(mean), x.dot(&factor.solve(x)))
    };
    let (mode, mean, factor) = nearest(&case, case.rows[0].len(), |row, mean, factor| {
        let (m, v) = predictor(row, mean, factor);
        let LogLikelihood { gradient, precision, .. } = likelihood.expected(case.targets[row], m, v);
        let x = &case.rows[row];
        (x * gradient, x * x.transpose() * precision)
    });
    compare(mode.as_slice(), mean.as_slice(), &factor.inverse(), &case.golden, "");
    compare_predictive(&case, |row| {
        let (m, v) = predictor(row, &mean, &factor);
        likelihood.predictive(case.targets[row], m, v)
    });
}

#[test]
fn logistic_regression() {
    one_predictor(Bernoulli, "logistic");
}

#[test]
fn poisson_regression() {
    one_predictor(Poisson, "poisson");
}

#[test]
fn softmax_regression() {
    const CLASSES: usize = 3;
    let case = case("softmax");
    let width = case.rows[0].len();
    let softmax = Softmax::new(CLASSES);
    let mut out = softmax.room();
    // The coefficients of class c stand at c · width.
    let logits = |row: usize, mean: &DVector<f64>, factor: &Cholesky<f64, Dyn>| {
        let x = &case.rows[row];
        let spread = DMatrix::from_fn(CLASSES * width, CLASSES, |i, class| if i / width == class { x[i % width] } else { 0.0 });
        let covariance = spread.transpose() * factor.solve(&spread);
        (spread.transpose() * mean, covariance)
    };
    let (mode, mean, factor) = nearest(&case, CLASSES * width, |row, mean, factor| {
        let (m, v) = logits(row, mean, factor);
        softmax.expected(case.targets[row] as usize, m.as_slice(), v.as_slice(), &mut out);
        let x = &case.rows[row];
        let precision = DMatrix::from_row_slice(CLASSES, CLASSES, &out.precision);
        (DVector::from_row_slice(&out.gradient).kronecker(x), precision.kronecker(&(x * x.transpose())))
    });
    // What the classes have in common the prior alone decides: it is told apart, so that it hides nothing.
    let contrast = DMatrix::from_fn(CLASSES, CLASSES, |i, j| if i == j { 1.0 } else { 0.0 } - 1.0 / CLASSES as f64);
    let contrast = contrast.kronecker(&DMatrix::identity(width, width));
    let covariance = &contrast * factor.inverse() * &contrast;
    compare((&contrast * mode).as_slice(), (&contrast * &mean).as_slice(), &covariance, &case.golden, "contrast_");
    for (variance, sd) in factor.inverse().diagonal().iter().zip(coefficients(&case.golden, "sd")) {
        assert!((variance.sqrt() / sd - 1.0).abs() < 0.015);
    }
    compare_predictive(&case, |row| {
        let (m, v) = logits(row, &mean, &factor);
        softmax.predictive(case.targets[row] as usize, m.as_slice(), v.as_slice(), &mut out)
    });
}
