//! One pass through the engine's blocks against NUTS on all rows at once (tests/golden/glm.py), and against Newton's method.

use nalgebra::{DMatrix, DVector};
use serde_json::Value;
use surprisal::features::Rows;
use surprisal::models::regression::glm::PseudoPosterior;
use surprisal::models::regression::{Predicted, RegressionConfig};
use surprisal::models::{Model, Standard};

use crate::data::{blocks, discrete, learn, logistic, poisson, rows, score};

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("an array").iter().map(number).collect()
}

fn golden() -> Value {
    serde_json::from_str(include_str!("../golden/glm.json")).expect("JSON")
}

/// The configuration whose prior the golden posteriors have.
fn config(golden: &Value) -> RegressionConfig {
    let units = numbers(&golden["location"]).into_iter().zip(numbers(&golden["scale"]));
    let standards = units.enumerate().map(|(d, (location, scale))| (format!("x{d}"), Standard { location, scale })).collect();
    RegressionConfig { prior_scale: number(&golden["prior_scale"]), standards, ..RegressionConfig::default() }
}

fn weights(posterior: &PseudoPosterior) -> Vec<Predicted> {
    [posterior.intercept()].into_iter().chain(posterior.coefficients()).collect()
}

fn check<M: Model<Posterior = PseudoPosterior>>(model: &M, golden: &Value) {
    let pairs = golden["inputs"].as_array().unwrap().iter().zip(golden["targets"].as_array().unwrap());
    let rows = Rows::from_cells(6, pairs.flat_map(|(x, y)| numbers(x).into_iter().chain([number(y)])).collect());
    let evidence = learn(model, rows.view().slice(0..600), blocks);
    let found = weights(&model.posterior(&evidence).unwrap());
    let (means, sds) = (numbers(&golden["mean"][0]), numbers(&golden["sd"][0]));
    let (mut most, mut widest) = (0.0_f64, 0.0_f64);
    for ((found, mean), sd) in found.iter().zip(means).zip(sds) {
        most = most.max((found.mean - mean).abs() / sd);
        widest = widest.max((found.variance.sqrt() / sd).ln().abs());
    }
    println!("{}: means within {most:.3} sd, sds within {widest:.3}", model.kind());
    assert!(most < 0.1 && widest < 0.1, "{}: means within {most} sd, sds within {widest}: {found:?}", model.kind());
    let scored = score(model, &evidence, rows.view().slice(600..700));
    for ((found, log_density), sd) in
        scored.iter().zip(numbers(&golden["log_densities"])).zip(numbers(&golden["log_density_sds"]))
    {
        assert!((found.nats + log_density).abs() < 0.01 && (found.sd - sd).abs() < 0.01, "{found:?}: {log_density} ± {sd}");
    }
}

#[test]
fn one_pass_comes_near_to_nuts() {
    let golden = golden();
    check(&logistic(5, config(&golden)), &golden["logistic"]);
    check(&poisson(5, config(&golden)), &golden["poisson"]);
}

/// The mode and the curvature there, by Newton's method on all rows at once: `(1, z)` in standard units.
fn laplace(rows: &Rows, units: &[Standard], prior_scale: f64, count: bool) -> (DVector<f64>, DMatrix<f64>) {
    let dim = units.len() + 1;
    let mut at = DVector::zeros(dim);
    let mut precision = DMatrix::zeros(dim, dim);
    for _ in 0..30 {
        let mut gradient = -&at / prior_scale.powi(2);
        precision = DMatrix::from_diagonal_element(dim, dim, prior_scale.powi(-2));
        for e in 0..rows.len() {
            let row = rows.view().row(e).to_vec();
            let z = units.iter().zip(&row).map(|(unit, x)| (x - unit.location) / unit.scale);
            let z = DVector::from_iterator(dim, [1.0].into_iter().chain(z));
            let eta = at.dot(&z);
            let mean = if count { eta.exp() } else { 1.0 / (1.0 + (-eta).exp()) };
            gradient += (row[dim - 1] - mean) * &z;
            precision += (if count { mean } else { mean * (1.0 - mean) }) * &z * z.transpose();
        }
        at += precision.clone().lu().solve(&gradient).expect("regular");
    }
    (at, precision.try_inverse().expect("regular"))
}

/// Long after the first events have been let go of, in learnt units.
#[test]
fn a_long_stream_comes_near_to_newtons_method() {
    for (count, seed) in [(false, 1), (true, 1), (false, 2), (true, 2)] {
        let rows = discrete(&rows(6_000, 4, 0.0, 20 + seed), count, seed);
        let check = |found: Vec<Predicted>, columns: Vec<surprisal::models::ColumnSummary>| {
            let unit = |d: usize| Standard { location: columns[d].mean.unwrap(), scale: columns[d].standard_deviation.unwrap() };
            let (mode, covariance) = laplace(&rows, &(0..4).map(unit).collect::<Vec<_>>(), 2.5, count);
            for (d, found) in found.into_iter().enumerate() {
                let sd = covariance[(d, d)].sqrt();
                let (off, wide) = ((found.mean - mode[d]) / sd, found.variance.sqrt() / sd);
                assert!(off.abs() < 0.1 && (wide - 1.0).abs() < 0.05, "{count} {seed} {d}: off by {off} sd, sd {wide} times");
            }
        };
        if count {
            let model = poisson(4, RegressionConfig::default());
            let evidence = learn(&model, rows.view(), blocks);
            check(weights(&model.posterior(&evidence).unwrap()), model.columns(&evidence));
        } else {
            let model = logistic(4, RegressionConfig::default());
            let evidence = learn(&model, rows.view(), blocks);
            check(weights(&model.posterior(&evidence).unwrap()), model.columns(&evidence));
        }
    }
}
