//! The data that the tests learn, and the steps that they share.

use std::collections::BTreeMap;

use surprisal::engine::block_len;
use surprisal::features::{Column, Kind, Rows, RowsView, Schema, Task};
use surprisal::inference::rule::Pace;
use surprisal::models::regression::{
    LinearRegression, LogisticRegression, PoissonRegression, RegressionConfig, SoftmaxRegression,
};
use surprisal::models::{Block, Evidence, Model, Standard, Surprisal};
use surprisal::record::{Offset, Partition};

use crate::noise::{normal, uniform};

/// Inputs `x0, x1, …` of the given kinds, and a target `y`, which is the last column.
pub fn schema(inputs: &[Kind], target: Kind) -> (Schema, Task) {
    let names = (0..inputs.len()).map(|at| format!("x{at}")).chain(["y".into()]);
    let column = |(name, kind): (String, &Kind)| Column { path: vec![name.clone()], name, kind: *kind };
    let columns = names.zip(inputs.iter().chain([&target])).map(column).collect();
    (Schema::new(columns), Task { target: inputs.len(), inputs: (0..inputs.len()).collect() })
}

/// A linear regression of y on `dim` numbers.
pub fn linear(dim: usize, config: RegressionConfig) -> LinearRegression {
    let (schema, task) = schema(&vec![Kind::Number; dim], Kind::Number);
    LinearRegression::new(&schema, &task, config).expect("a right configuration")
}

/// A logistic regression of y on `dim` numbers.
pub fn logistic(dim: usize, config: RegressionConfig) -> LogisticRegression {
    let (schema, task) = schema(&vec![Kind::Number; dim], Kind::Boolean);
    LogisticRegression::new(&schema, &task, config).expect("a right configuration")
}

/// A Poisson regression of y on `dim` numbers.
pub fn poisson(dim: usize, config: RegressionConfig) -> PoissonRegression {
    let (schema, task) = schema(&vec![Kind::Number; dim], Kind::Count);
    PoissonRegression::new(&schema, &task, config).expect("a right configuration")
}

/// A softmax regression of y, one of `classes`, on `dim` numbers.
pub fn softmax(dim: usize, classes: usize, config: RegressionConfig) -> SoftmaxRegression {
    let (schema, task) = schema(&vec![Kind::Number; dim], Kind::Category { capacity: classes });
    SoftmaxRegression::new(&schema, &task, config).expect("a right configuration")
}

/// The same rows, whose target `class` is the text `names[class]`.
pub fn named(rows: &Rows, names: &[&str]) -> Rows {
    let mut out = Rows::new(rows.view().width());
    for event in 0..rows.len() {
        let (cells, texts) = out.push_missing();
        cells.copy_from_slice(rows.view().row(event));
        let class = cells.last_mut().expect("a target");
        if !class.is_nan() {
            *class = texts.push(names[*class as usize]) as f64;
        }
    }
    out
}

/// Units that are fixed for every one of `dim` inputs and for the target.
pub fn standards(dim: usize, input: Standard, target: Standard) -> BTreeMap<String, Standard> {
    (0..dim).map(|d| (format!("x{d}"), input)).chain([("y".into(), target)]).collect()
}

/// Rows `[inputs, target]` with inputs of different units that go together, a share `missing` of which is missing by chance, and a
/// target that depends on them and on what is missing.
pub fn rows(count: usize, dim: usize, missing: f64, seed: u64) -> Rows {
    let mut cells = Vec::with_capacity(count * (dim + 1));
    let noise = |at: usize| normal((seed << 32) + at as u64);
    for event in 0..count {
        let at = event * (2 * dim + 2);
        let common = noise(at);
        let mut y = 7.0 + 2.0 * noise(at + 1);
        for d in 0..dim {
            let z = 0.6 * common + 0.8 * noise(at + 2 + d);
            y += [1.5, -0.7, 0.0, 0.2][d % 4] * z;
            let absent = uniform((1 << 60) + (seed << 32) + (at + d) as u64) < missing;
            y += if absent { 0.5 } else { 0.0 };
            cells.push(if absent { f64::NAN } else { 40.0 + d as f64 + (1 + d) as f64 * 3.0 * z });
        }
        cells.push(y);
    }
    Rows::from_cells(dim + 1, cells)
}

/// The same inputs, with a boolean or a count that depends on them in place of y.
pub fn discrete(rows: &Rows, count: bool, seed: u64) -> Rows {
    let width = rows.view().width();
    let cells = rows.view().cells().iter().enumerate().map(|(at, x)| {
        let (event, column) = (at / width, at % width);
        if column + 1 < width {
            return *x;
        }
        let inputs = rows.view().row(event)[..column].iter().enumerate();
        let terms = inputs.map(|(d, x)| {
            if x.is_nan() { 0.2 } else { [0.6, -0.3, 0.0, 0.1][d % 4] * (x - 40.0 - d as f64) / (3 * (1 + d)) as f64 }
        });
        let eta = -0.2 + terms.sum::<f64>();
        let u = uniform((1 << 61) + (seed << 32) + event as u64);
        if !count {
            return f64::from(u8::from(u < 1.0 / (1.0 + (-eta).exp())));
        }
        // The quantile of u.
        let (mut y, mut mass) = (0.0, (-eta.exp()).exp());
        let mut below = mass;
        while below < u && y < 1e4 {
            y += 1.0;
            mass *= eta.exp() / y;
            below += mass;
        }
        y
    });
    Rows::from_cells(width, cells.collect())
}

/// The engine's blocks.
pub fn blocks(learnt: usize) -> usize {
    block_len(learnt as u64, 256)
}

/// One block.
pub fn block(rows: RowsView<'_>, partition: i32, at: usize, pace: Pace) -> Block<'_> {
    Block { rows, partition: Partition(partition), offset: Offset(at as i64), step: at as u64, pace, weights: &[] }
}

/// Learns rows in blocks that end where `cuts` says, as events of a partition, and scores each row before it is learnt.
pub fn prequential<M: Model>(model: &M, rows: RowsView<'_>, cuts: impl Fn(usize) -> usize) -> (Vec<Surprisal>, M::Evidence) {
    let (mut evidence, mut surprisals, mut at) = (model.nothing(), Vec::new(), 0);
    while at < rows.len() {
        let len = cuts(at).min(rows.len() - at);
        let posterior = model.posterior(&evidence).expect("finite");
        let rows = rows.slice(at..at + len);
        model.score(&posterior, rows, &mut surprisals);
        evidence = model.learn(&posterior, &evidence, block(rows, 0, at, Pace::BAYES)).expect("finite").evidence;
        model.reorganise(&model.nothing(), &mut evidence);
        at += len;
    }
    (surprisals, evidence)
}

/// What `rows` teach in blocks that end where `cuts` says.
pub fn learn<M: Model>(model: &M, rows: RowsView<'_>, cuts: impl Fn(usize) -> usize) -> M::Evidence {
    prequential(model, rows, cuts).1
}

/// The sum of several sites.
pub fn sum<M: Model>(model: &M, sites: &[M::Evidence]) -> M::Evidence {
    let mut sum = model.nothing();
    sites.iter().for_each(|site| sum.add(site));
    sum
}

pub fn score<M: Model>(model: &M, evidence: &M::Evidence, rows: RowsView<'_>) -> Vec<Surprisal> {
    let mut surprisals = Vec::new();
    model.score(&model.posterior(evidence).expect("finite"), rows, &mut surprisals);
    surprisals
}

#[track_caller]
pub fn assert_close(found: f64, expected: f64, tolerance: f64) {
    let error = (found - expected).abs() / expected.abs().max(1.0);
    assert!(error <= tolerance, "{found} is not {expected}: off by {error:e}");
}

/// Numbers meant to break a model of three inputs are scored finitely, and learnt finitely or refused, after rows whose cells `calm`
/// gives one after another. `rows` makes rows of inputs and target.
pub fn assert_withstands<M: Model>(model: &M, calm: impl Fn(usize) -> f64, targets: &[f64], rows: impl Fn(Vec<f64>) -> Rows) {
    let odd = [0.0, -0.0, 1.0, 5e-324, -1e-310, 1e-200, 1e30, -1e150, 1e155, 1e300, -1.7e308, f64::NAN];
    for count in [0, 3, 600] {
        let mut kept = learn(model, rows((0..count * 4).map(&calm).collect()).view(), blocks);
        for (i, a) in odd.iter().enumerate() {
            for (j, b) in odd.iter().enumerate() {
                let row = rows(vec![*a, *b, odd[(i + 3) % odd.len()], targets[(i + j) % targets.len()]]);
                let posterior = model.posterior(&kept).unwrap();
                let mut found = Vec::new();
                model.score(&posterior, row.view(), &mut found);
                let fine = found[0].nats.is_finite() && found[0].sd.is_finite() && found[0].nats >= 0.0;
                assert!(fine, "{:?}: {found:?}", row.view().row(0));
                let Ok(learnt) = model.learn(&posterior, &kept, block(row.view(), 0, 0, Pace::BAYES)) else { continue };
                let mut after = learnt.evidence;
                model.reorganise(&model.nothing(), &mut after);
                if model.posterior(&after).is_ok() {
                    kept = after;
                }
            }
        }
        assert!(model.restore(&kept.tensors()).is_ok(), "all is finite");
    }
}
