//! A score belongs to its row: its bits don't depend on which rows stand beside it, which is a matter of how a stream happened to fall
//! into transactions.

use surprisal::features::{Column, Kind, Rows, Schema, Task};
use surprisal::inference::rule::Pace;
use surprisal::models::forecast::{ForecastConfig, Forecasts};
use surprisal::models::mixture::{Covariance, Mixture, MixtureConfig};
use surprisal::models::neural_network::{Network, NetworkConfig};
use surprisal::models::regression::{
    LinearRegression, LogisticRegression, PoissonRegression, RegressionConfig, SoftmaxRegression,
};
use surprisal::models::vae::{Vae, VaeConfig};
use surprisal::models::{Block, Model};
use surprisal::noise::Noise;
use surprisal::record::{Offset, Partition};

const KINDS: [Kind; 8] = [
    Kind::Number,
    Kind::Count,
    Kind::Boolean,
    Kind::Category { capacity: 4 },
    Kind::Number,
    Kind::Number,
    Kind::Number,
    Kind::Number,
];
const LEARNT: usize = 600;
const SCORED: usize = 150;

fn schema() -> Schema {
    let column = |(at, kind): (usize, &Kind)| Column { name: format!("c{at}"), path: vec![format!("c{at}")], kind: *kind };
    Schema::new(KINDS.iter().enumerate().map(column).collect())
}

/// Rows of all kinds, most of them whole; of those to be scored, some have a value that is far out.
fn rows() -> Rows {
    let noise = Noise::new(17);
    let mut rows = Rows::new(KINDS.len());
    for event in 0..(LEARNT + SCORED) as u64 {
        let draw = |at: u32| noise.normal(event, 0, at);
        let lacks = draw(40) > 0.8;
        let (cells, texts) = rows.push_missing();
        for (at, cell) in cells.iter_mut().enumerate() {
            let z = draw(at as u32) + draw(30);
            let value = match KINDS[at] {
                Kind::Count => z.exp().round(),
                Kind::Boolean => f64::from(u8::from(z > 0.0)),
                Kind::Category { .. } => texts.push(["a", "b", "c"][(z.abs() * 1.5).min(2.0) as usize]) as f64,
                _ if event >= LEARNT as u64 && (event + at as u64).is_multiple_of(40) => 1e70 * z,
                _ => 7.0 + z,
            };
            if !(lacks && draw(50 + at as u32) > 0.0) {
                *cell = value;
            }
        }
    }
    rows
}

fn assert_alone<M: Model>(model: M) {
    let rows = rows();
    let mut evidence = model.nothing();
    for at in (0..LEARNT).step_by(50) {
        let (posterior, pace) = (model.posterior(&evidence).unwrap(), Pace::BAYES);
        let (block, offset) = (rows.view().slice(at..at + 50), Offset(at as i64));
        let block = Block { rows: block, partition: Partition(0), offset, step: (at / 50) as u64, pace, weights: &[] };
        evidence = model.learn(&posterior, &evidence, block).unwrap().evidence;
    }
    let posterior = model.posterior(&evidence).unwrap();
    let scored = rows.view().slice(LEARNT..LEARNT + SCORED);
    let mut together = Vec::new();
    model.score(&posterior, scored, &mut together);
    for len in [1, 3, 8, 50] {
        let mut apart = Vec::new();
        for at in (0..SCORED).step_by(len) {
            model.score(&posterior, scored.slice(at..(at + len).min(SCORED)), &mut apart);
        }
        for (event, (together, apart)) in together.iter().zip(&apart).enumerate() {
            let bits = |of: f64| of.to_bits();
            assert_eq!(bits(together.nats), bits(apart.nats), "{} row {event} of {len}: {together:?} {apart:?}", model.kind());
            assert_eq!(bits(together.sd), bits(apart.sd), "{} row {event} of {len}: {together:?} {apart:?}", model.kind());
        }
    }
}

fn task(target: usize) -> Task {
    Task { target, inputs: (0..KINDS.len()).filter(|at| *at != target).collect() }
}

#[test]
fn of_a_mixture() {
    for covariance in [Covariance::Diagonal, Covariance::Full] {
        assert_alone(Mixture::new(&schema(), MixtureConfig { covariance, ..MixtureConfig::default() }).unwrap());
    }
}

#[test]
fn of_a_forecast() {
    for key in [None, Some("c3".into())] {
        assert_alone(Forecasts::new(&schema(), 0, &ForecastConfig { key, max_keys: 4 }).unwrap());
    }
}

#[test]
fn of_regressions() {
    assert_alone(LinearRegression::new(&schema(), &task(7), RegressionConfig::default()).unwrap());
    assert_alone(LogisticRegression::new(&schema(), &task(2), RegressionConfig::default()).unwrap());
    assert_alone(PoissonRegression::new(&schema(), &task(1), RegressionConfig::default()).unwrap());
    assert_alone(SoftmaxRegression::new(&schema(), &task(3), RegressionConfig::default()).unwrap());
}

#[test]
fn of_a_network() {
    for target in [2, 3, 7] {
        assert_alone(Network::new(&schema(), &task(target), NetworkConfig::default()).unwrap());
    }
}

#[test]
fn of_an_autoencoder() {
    assert_alone(Vae::new(&schema(), VaeConfig::default()).unwrap());
}
