//! Series to forecast, and the engine's loop without the engine.

use std::f64::consts::TAU;

use surprisal::features::{Column, Kind, Rows, Schema};
use surprisal::inference::rule::Pace;
use surprisal::models::forecast::{ForecastConfig, ForecastEvidence, Forecasts};
use surprisal::models::{Block, Model, Prediction, Surprisal};
use surprisal::noise::Noise;
use surprisal::record::{Offset, Partition};

/// Columns `time`, `value` and `host`.
pub fn schema() -> Schema {
    let kinds = [("time", Kind::Timestamp), ("value", Kind::Number), ("host", Kind::Category { capacity: 8 })];
    Schema::new(kinds.map(|(name, kind)| Column { name: name.into(), path: vec![name.into()], kind }).to_vec())
}

/// Of one series.
pub fn model() -> Forecasts {
    Forecasts::new(&schema(), 1, &ForecastConfig::default()).unwrap()
}

/// Of a series a host.
pub fn keyed(max_keys: usize) -> Forecasts {
    Forecasts::new(&schema(), 1, &ForecastConfig { key: Some("host".into()), max_keys }).unwrap()
}

/// Events of time, value and host; NaN is missing.
pub fn rows(events: impl IntoIterator<Item = (f64, f64, Option<&'static str>)>) -> Rows {
    let mut rows = Rows::new(3);
    for (time, value, host) in events {
        let (cells, texts) = rows.push_missing();
        (cells[0], cells[1]) = (time, value);
        if let Some(host) = host {
            cells[2] = texts.push(host) as f64;
        }
    }
    rows
}

/// One series with an event every five minutes.
pub fn series(values: &[f64]) -> Rows {
    rows(values.iter().enumerate().map(|(at, value)| (300_000.0 * at as f64, *value, None)))
}

/// What is said of an event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Said {
    pub surprisal: Surprisal,
    pub extremity: f64,
    pub prediction: Option<Prediction>,
}

pub fn learn(model: &Forecasts, site: &ForecastEvidence, rows: &Rows, at: usize) -> ForecastEvidence {
    let (rows, offset) = (rows.view().slice(at..at + 1), Offset(at as i64));
    let block = Block { rows, partition: Partition(0), offset, step: at as u64, pace: Pace::BAYES, weights: &[] };
    model.learn(site, site, block).map_or_else(|_| site.clone(), |learnt| learnt.evidence)
}

/// Each event scored, then learnt: what was said of each, and what is known in the end.
pub fn follow(model: &Forecasts, mut site: ForecastEvidence, rows: &Rows) -> (Vec<Said>, ForecastEvidence) {
    let mut said = Vec::with_capacity(rows.len());
    for at in 0..rows.len() {
        let row = rows.view().slice(at..at + 1);
        let mut surprisals = Vec::new();
        model.score(&site, row, &mut surprisals);
        let extremity = model.extremity(&site, row).unwrap()[0];
        said.push(Said { surprisal: surprisals[0], extremity, prediction: model.predict(&site, row).unwrap()[0] });
        site = learn(model, &site, rows, at);
    }
    (said, site)
}

/// `x_t = 0.6 x_{t−1} + 0.3 x_{t−2} + e_t`, `e ~ N(0, 1)`, and `−ln p(x_t | past)` by the model itself.
pub fn autoregression(count: usize, seed: u64) -> (Vec<f64>, Vec<f64>) {
    let noise = Noise::new(seed);
    let (mut x, mut nats) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for at in 0..count {
        let e = noise.normal(at as u64, 0, 0);
        let past = |age: usize| at.checked_sub(age).map_or(0.0, |at: usize| x[at]);
        let value = 0.6 * past(1) + 0.3 * past(2) + e;
        x.push(value);
        nats.push(0.5 * e * e + 0.5 * TAU.ln());
    }
    (x, nats)
}

/// A day's season of 288 events with noise.
pub fn seasonal(count: usize, seed: u64) -> Vec<f64> {
    let noise = Noise::new(seed);
    (0..count).map(|at| 40.0 + 5.0 * (TAU * at as f64 / 288.0).sin() + noise.normal(at as u64, 0, 0)).collect()
}
