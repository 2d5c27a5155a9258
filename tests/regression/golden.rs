//! One pass through the engine's blocks against NUTS on all rows at once (tests/golden/glm.py), and against Newton's method.

use nalgebra::{DMatrix, DVector};
use serde_json::Value;
use surprisal::features::Rows;
use surprisal::models::regression::glm::PseudoPosterior;
use surprisal::models::regression::{Coefficients, Predicted, RegressionConfig};
use surprisal::models::{Model, Standard};

use crate::data::{blocks, discrete, learn, logistic, named, poisson, rows, score, softmax};

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

/// What NUTS says of a model: means and sds of its coefficients, log densities of later rows and their sds.
struct Nuts {
    mean: Vec<Vec<f64>>,
    sd: Vec<Vec<f64>>,
    log_densities: Vec<f64>,
    log_density_sds: Vec<f64>,
}

impl Nuts {
    fn new(golden: &Value, [mean, sd]: [&str; 2]) -> Self {
        let rows = |key: &str| golden[key].as_array().expect("rows").iter().map(numbers).collect();
        let list = |key: &str| numbers(&golden[key]);
        Self { mean: rows(mean), sd: rows(sd), log_densities: list("log_densities"), log_density_sds: list("log_density_sds") }
    }
}

/// The golden's rows: inputs, target.
fn golden_rows(golden: &Value) -> Rows {
    let pairs = golden["inputs"].as_array().unwrap().iter().zip(golden["targets"].as_array().unwrap());
    Rows::from_cells(6, pairs.flat_map(|(x, y)| numbers(x).into_iter().chain([number(y)])).collect())
}

fn check<C: Coefficients, M: Model<Posterior = PseudoPosterior<C>>>(model: &M, rows: &Rows, nuts: &Nuts, order: &[usize]) {
    let evidence = learn(model, rows.view().slice(0..600), blocks);
    let found = model.posterior(&evidence).unwrap().coefficients();
    assert_eq!(found.len(), order.len());
    let (mut most, mut widest) = (0.0_f64, 0.0_f64);
    for (found, class) in found.iter().zip(order) {
        assert_eq!(found.len(), 6);
        for ((found, mean), sd) in found.iter().zip(&nuts.mean[*class]).zip(&nuts.sd[*class]) {
            most = most.max((found.mean - mean).abs() / sd);
            widest = widest.max((found.variance.sqrt() / sd).ln().abs());
        }
    }
    println!("{}: means within {most:.3} sd, sds within {widest:.3}", model.kind());
    assert!(most < 0.1 && widest < 0.1, "{}: means within {most} sd, sds within {widest}: {found:?}", model.kind());
    let scored = score(model, &evidence, rows.view().slice(600..700));
    for ((found, log_density), sd) in scored.iter().zip(&nuts.log_densities).zip(&nuts.log_density_sds) {
        assert!((found.nats + log_density).abs() < 0.01 && (found.sd - sd).abs() < 0.01, "{found:?}: {log_density} ± {sd}");
    }
}

#[test]
fn one_pass_comes_near_to_nuts() {
    let golden = golden();
    let nuts = |kind: &str| Nuts::new(&golden[kind], ["mean", "sd"]);
    check(&logistic(5, config(&golden)), &golden_rows(&golden["logistic"]), &nuts("logistic"), &[0]);
    check(&poisson(5, config(&golden)), &golden_rows(&golden["poisson"]), &nuts("poisson"), &[0]);
    let rows = golden_rows(&golden["softmax"]);
    let nuts = Nuts::new(&golden["softmax"], ["contrast_mean", "contrast_sd"]);
    // Classes are numbered as they are met.
    let mut order: Vec<usize> = Vec::new();
    let classes = (0..600).map(|row| rows.view().row(row)[5] as usize);
    classes.for_each(|class| {
        if !order.contains(&class) {
            order.push(class)
        }
    });
    check(&softmax(5, 3, config(&golden)), &named(&rows, &["calm", "busy", "down"]), &nuts, &order);
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
            check(model.posterior(&evidence).unwrap().coefficients().remove(0), model.columns(&evidence));
        } else {
            let model = logistic(4, RegressionConfig::default());
            let evidence = learn(&model, rows.view(), blocks);
            check(model.posterior(&evidence).unwrap().coefficients().remove(0), model.columns(&evidence));
        }
    }
}
