//! Robust learning of models that predict a number: outliers in the log leave what was learnt nearly as it would be without them, one
//! event far out moves nothing, and a regime that persists is learnt. The mixture's own tests of it are in `tests/mixture/`.

use surprisal::checkpoint::Data;
use surprisal::engine::{Engine, Learning, Setup};
use surprisal::features::{Column, Kind, Rows, Schema, Task};
use surprisal::inference::rule::{Pace, Rule};
use surprisal::models::neural_network::{Network, NetworkConfig, NoiseKind};
use surprisal::models::regression::{LinearRegression, RegressionConfig};
use surprisal::models::vae::{Vae, VaeConfig};
use surprisal::models::{Block, Evidence, Model};
use surprisal::noise::Noise;
use surprisal::record::{Head, Offset, Partition, Run};

const WIDTH: usize = 3;
const TARGET: usize = 2;
const LEARNT: usize = 4_000;
const FRESH: usize = 2_000;

fn schema() -> Schema {
    let column = |at: usize| Column { name: format!("c{at}"), path: vec![format!("c{at}")], kind: Kind::Number };
    Schema::new((0..WIDTH).map(column).collect())
}

fn task() -> Task {
    Task { target: TARGET, inputs: vec![0, 1] }
}

/// Rows of `y = 3 + 2 a − b + N(0, ½²)`, whose target `moved` has its way with.
fn rows(count: usize, seed: u64, moved: impl Fn(usize, f64) -> f64) -> Rows {
    let noise = Noise::new(seed);
    let row = |event: usize| {
        let [a, b, e] = [0, 1, 2].map(|at| noise.normal(event as u64, 0, at));
        [a, b, moved(event, 3.0 + 2.0 * a - b + 0.5 * e)]
    };
    Rows::from_cells(WIDTH, (0..count).flat_map(row).collect())
}

/// Mean surprisal of fresh events after `learnt`, in units that don't depend on what was learnt, by a model of the columns from `first` on.
fn loss<M: Model>(model: &M, first: usize, learnt: &Rows, fresh: &Rows, robust: bool) -> f64 {
    let mut engine = Engine::new(model.clone(), &schema(), Setup { robust, ..Setup::default() }).unwrap();
    engine.assign(Partition(0), None, None, Offset(0)).unwrap();
    let mut run = Run::new(Partition(0), Offset(0), WIDTH);
    run.rows = learnt.clone();
    run.heads = (0..learnt.len() as i64).map(|offset| Head { offset: Offset(offset), timestamp_ms: None, key: None }).collect();
    run.next = Offset(learnt.len() as i64);
    engine.step(vec![run]).unwrap().advance(false);
    let mut found = Vec::new();
    model.score(engine.posterior(), fresh.view(), &mut found);
    // Densities are of columns in units of their standard deviations; those of inputs are only where they have a surprisal.
    let columns = model.columns(&engine.evidence());
    let units = columns.iter().skip(first).map(|column| column.standard_deviation.unwrap().ln()).sum::<f64>();
    found.iter().map(|surprisal| surprisal.nats + units).sum::<f64>() / found.len() as f64
}

/// Holds a model to its own, learnt from a log without what is wrong in this one.
fn check<M: Model>(model: &M, first: usize) {
    let kind = model.kind();
    let usual = |_: usize, y: f64| y;
    let fresh = rows(FRESH, 2, usual);
    let clean = loss(model, first, &rows(LEARNT, 1, usual), &fresh, false);

    // Among the first hundred nothing is doubted.
    let one_in_thirty = |event: usize, y: f64| if event > 100 && event % 30 == 29 { y + 40.0 } else { y };
    let learnt = rows(LEARNT, 1, one_in_thirty);
    let [robust, plain] = [true, false].map(|robust| loss(model, first, &learnt, &fresh, robust) - clean);
    println!("{kind}: one in thirty by 40: {robust:.4} nats lost, {plain:.4} without weights");
    assert!(robust < 0.05 && plain > robust.max(0.0) + 0.1, "{kind}: {robust} {plain}");

    // A whole block is out of the question; it is less than one event in twenty.
    let learnt = rows(LEARNT, 1, |event, y| if (3_000..3_130).contains(&event) { y - 1e3 } else { y });
    let robust = loss(model, first, &learnt, &fresh, true) - clean;
    println!("{kind}: 130 in a row by a thousand: {robust:.4} nats lost");
    assert!(robust < 0.05, "{kind}: {robust}");

    // Even a number whose square is beyond all numbers.
    let learnt = rows(LEARNT, 1, |event, y| if event == LEARNT / 2 { 1e200 } else { y });
    let robust = loss(model, first, &learnt, &fresh, true) - clean;
    assert!(robust < 0.05, "{kind} 1e200: {robust}");

    for by in [1e2, 1e4, 1e6] {
        let learnt = rows(LEARNT, 1, |event, y| if event == LEARNT / 2 { y + by } else { y });
        let [robust, plain] = [true, false].map(|robust| loss(model, first, &learnt, &fresh, robust) - clean);
        println!("{kind}: one by {by}: {robust:.4} nats lost, {plain:.4} without weights");
        assert!(robust < 0.05, "{kind} {by}: {robust}");
        assert!(by < 1e4 || plain > 0.5, "{kind} {by}: {plain} without weights");
    }

    // Three quarters of the log are of another regime, in which the same fresh events stand 8 higher.
    let moved = rows(FRESH, 2, |_, y| y + 8.0);
    let learnt = rows(2 * LEARNT, 1, |event, y| if event >= LEARNT / 2 { y + 8.0 } else { y });
    let [robust, plain] = [true, false].map(|robust| loss(model, first, &learnt, &moved, robust));
    println!("{kind}: another regime since a quarter: {robust:.4} nats, {plain:.4} without weights");
    assert!(robust < plain + 0.1, "{kind}: {robust} {plain}");
}

#[test]
fn a_linear_regression() {
    check(&LinearRegression::new(&schema(), &task(), RegressionConfig::default()).unwrap(), TARGET);
}

#[test]
fn a_network_with_noise_of_its_own_or_not() {
    for noise in [NoiseKind::Constant, NoiseKind::Varying] {
        check(&Network::new(&schema(), &task(), NetworkConfig { noise, ..NetworkConfig::default() }).unwrap(), TARGET);
    }
}

#[test]
fn an_autoencoder() {
    check(&Vae::new(&schema(), VaeConfig { latent: 2, ..VaeConfig::default() }).unwrap(), 0);
}

/// Where little is remembered, the share that is wrong varies by chance: now and then it is more than a twentieth, and none is believed for that.
#[test]
fn what_comes_at_random_is_not_believed_by_chance() {
    let noise = Noise::new(3);
    let wrong = |event: usize| event > 200 && noise.uniform(event as u64, 9, 0) < 1.0 / 30.0;
    let model = LinearRegression::new(&schema(), &task(), RegressionConfig::default()).unwrap();
    let learning = Learning { rule: Rule { half_life_events: 100.0, ..Rule::default() }, max_block: 256 };
    let mut engine = Engine::new(model, &schema(), Setup { learning, robust: true, ..Setup::default() }).unwrap();
    engine.assign(Partition(0), None, None, Offset(0)).unwrap();
    let learnt = rows(20_000, 4, |event, y| if wrong(event) { y + 1e6 } else { y });
    let mut widest: f64 = 0.0;
    for at in 0..learnt.len() {
        let mut run = Run::new(Partition(0), Offset(at as i64), WIDTH);
        run.heads = vec![Head { offset: Offset(at as i64), timestamp_ms: None, key: None }];
        run.next = Offset(at as i64 + 1);
        run.rows.extend(learnt.view().slice(at..at + 1), &[]);
        engine.step(vec![run]).unwrap().advance(false);
        if at > 300 {
            let columns = engine.model().columns(&engine.evidence());
            widest = widest.max(columns[TARGET].standard_deviation.unwrap());
        }
    }
    assert!(widest < 10.0, "a standard deviation of {widest} was learnt where 2.3 is right");
}

/// Those without a target say nothing of how surprising others are: these are believed as they would be alone.
#[test]
fn events_without_a_target_cast_no_doubt_on_others() {
    let model = LinearRegression::new(&schema(), &task(), RegressionConfig::default()).unwrap();
    let believed = |every: usize| {
        let alone = rows(LEARNT, 1, |_, y| y);
        let gap = [0.0, 0.0, f64::NAN];
        let cells = (0..LEARNT)
            .flat_map(|row| alone.view().row(row).iter().copied().chain(gap.into_iter().cycle().take((every - 1) * WIDTH)));
        let learnt = Rows::from_cells(WIDTH, cells.collect());
        let mut engine = Engine::new(model.clone(), &schema(), Setup { robust: true, ..Setup::default() }).unwrap();
        engine.assign(Partition(0), None, None, Offset(0)).unwrap();
        let mut run = Run::new(Partition(0), Offset(0), WIDTH);
        run.heads =
            (0..learnt.len() as i64).map(|offset| Head { offset: Offset(offset), timestamp_ms: None, key: None }).collect();
        (run.next, run.rows) = (Offset(learnt.len() as i64), learnt);
        engine.step(vec![run]).unwrap().advance(false);
        engine.evidence().events() / LEARNT as f64
    };
    let (alone, among) = (believed(1), believed(4));
    println!("{alone:.4} of the events are believed alone, {among:.4} among others without a target");
    assert!((among - alone).abs() < 0.01 && alone > 0.95, "{alone} {among}");
}

/// Twice half of an event is the event.
#[test]
fn a_weight_is_a_number_of_events() {
    let model = LinearRegression::new(&schema(), &task(), RegressionConfig::default()).unwrap();
    let rows = rows(64, 1, |event, y| if event % 7 == 0 { f64::NAN } else { y });
    let twice: Vec<f64> = (0..64).flat_map(|row| [rows.view().row(row), rows.view().row(row)].concat()).collect();
    let twice = Rows::from_cells(WIDTH, twice);
    let learn = |rows: &Rows, weights: &[f64]| {
        let block = Block { rows: rows.view(), partition: Partition(0), offset: Offset(0), step: 0, pace: Pace::BAYES, weights };
        model.learn(&model.posterior(&model.nothing()).unwrap(), &model.nothing(), block).unwrap().evidence
    };
    let weights: Vec<f64> = (0..64).flat_map(|row| [0.25, 0.75].map(|share| share / (1.0 + (row % 3) as f64))).collect();
    let apart: Vec<f64> = (0..64).map(|row| 1.0 / (1.0 + (row % 3) as f64)).collect();
    let [whole, halves] = [learn(&rows, &apart), learn(&twice, &weights)].map(|evidence| evidence.tensors());
    for (whole, halves) in whole.iter().zip(&halves) {
        let (Data::F64(one), Data::F64(other)) = (&whole.data, &halves.data) else { continue };
        for (one, other) in one.iter().zip(other) {
            assert!((one - other).abs() <= 1e-12 * one.abs().max(1.0), "{}: {one} {other}", whole.name);
        }
    }
}
