//! Forgetting that is inferred: the engine's scores are those of regressions run apart, averaged by hand.

use surprisal::engine::{Engine, Learning, block_len};
use surprisal::features::{Kind, Rows};
use surprisal::inference::rule::Pace;
use surprisal::models::inferred::{HALF_LIVES, USUAL_BLOCK};
use surprisal::models::regression::RegressionConfig;
use surprisal::models::{Inferred, Model};
use surprisal::record::{Head, Offset, Partition, Run};

use crate::data::{assert_close, block, linear, schema};
use crate::noise::normal;

/// The engine's blocks, as the number of events before each and its length.
fn blocks(count: usize) -> Vec<(usize, usize)> {
    let (mut blocks, mut at) = (Vec::new(), 0);
    while at < count {
        let len = block_len(at as u64, USUAL_BLOCK).min(count - at);
        blocks.push((at, len));
        at += len;
    }
    blocks
}

/// What is left of evidence after so many events.
fn kept(events: usize, half_life: f64) -> f64 {
    0.5_f64.powf(events as f64 / half_life)
}

/// Surprisals by the regression with this half-life alone, in the target's own units, and `ln` of the scale that it measured it in.
fn alone(rows: &Rows, half_life: f64) -> Vec<(f64, f64)> {
    let model = linear(2, RegressionConfig::default());
    let (mut evidence, mut surprisals) = (model.nothing(), Vec::new());
    // The standard deviation of the targets, from plain sums.
    let mut sums = [0.0_f64; 3];
    for (at, len) in blocks(rows.len()) {
        let posterior = model.posterior(&evidence).unwrap();
        let rows = rows.view().slice(at..at + len);
        let mut found = Vec::new();
        model.score(&posterior, rows, &mut found);
        let [count, sum, squares] = sums;
        let ln_scale = if at > 1 { 0.5 * (squares / count - (sum / count).powi(2)).ln() } else { 0.0 };
        surprisals.extend(found.iter().map(|surprisal| (surprisal.nats + ln_scale, ln_scale)));
        let pace = Pace { retention: kept(len, half_life), weight: 1.0 };
        evidence = model.learn(&posterior, &evidence, block(rows, 0, at, pace)).unwrap().evidence;
        sums = sums.map(|sum| sum * kept(len, half_life));
        for row in 0..len {
            let y = rows.row(row)[2];
            sums = [sums[0] + 1.0, sums[1] + y, sums[2] + y * y];
        }
    }
    surprisals
}

/// And they are the same to the bit however the events fall into transactions. Members forget what the target's spread was, and are
/// compared in one unit all the same: in the end that of the one that never forgets, by which a surprisal is measured.
#[test]
fn the_average_is_that_of_regressions_run_apart() {
    let count = 3000;
    let cells = (0..count as u64).flat_map(|event| {
        let [a, b, noise] = [0, 1, 2].map(|at| normal(4 * event + at));
        let [slope, level] = [3, 7].map(|at| 2.0 * normal(1_000_000 + 8 * (event / 700) + at));
        [a, b, level + slope * a - b + 0.5 * noise]
    });
    let rows = Rows::from_cells(3, cells.collect());
    let members = HALF_LIVES.map(|half_life| alone(&rows, half_life));
    let (mut expected, mut ell) = (Vec::new(), [0.0_f64; 4]);
    for (at, len) in blocks(count) {
        let total: f64 = ell.iter().map(|ell| ell.exp()).sum();
        let mut news = [0.0; 4];
        for event in at..at + len {
            let nats = members.each_ref().map(|member| member[event].0);
            let best = nats.into_iter().fold(f64::INFINITY, f64::min);
            let density: f64 = ell.iter().zip(nats).map(|(ell, nats)| ell.exp() / total * (best - nats).exp()).sum();
            expected.push(best - density.ln() - members[3][event].1);
            news.iter_mut().zip(nats).for_each(|(news, nats)| *news += (best - nats).max(-10.0));
        }
        ell.iter_mut().zip(news).for_each(|(ell, news)| *ell = *ell * kept(len, 500.0) + news);
        let most = ell.into_iter().fold(f64::NEG_INFINITY, f64::max);
        ell.iter_mut().for_each(|ell| *ell -= most);
    }
    let whole = scores(&rows, count);
    whole.iter().zip(&expected).for_each(|(found, expected)| assert_close(*found, *expected, 1e-9));
    assert!([1, 7, 100].into_iter().all(|size| scores(&rows, size) == whole));
}

/// The engine's scores of `rows` in transactions of `size` events.
fn scores(rows: &Rows, size: usize) -> Vec<f64> {
    let (schema, _) = schema(&[Kind::Number; 2], Kind::Number);
    let model = Inferred::new(linear(2, RegressionConfig::default()), &schema).unwrap();
    let learning = Learning { max_block: USUAL_BLOCK, ..Learning::default() };
    let mut engine = Engine::new(model, &schema, learning).unwrap();
    engine.assign(Partition(0), None, None, Offset(0)).unwrap();
    let mut scores = Vec::new();
    for from in (0..rows.len()).step_by(size) {
        let to = rows.len().min(from + size);
        let mut run = Run::new(Partition(0), Offset(from as i64), 3);
        run.rows.extend(rows.view().slice(from..to), &[]);
        run.heads = (from..to).map(|at| Head { offset: Offset(at as i64), timestamp_ms: None, key: None }).collect();
        run.next = Offset(to as i64);
        let ready = engine.step(vec![run]).unwrap();
        scores.extend(ready.scores().map(|(_, _, score)| score.surprisal));
        ready.advance(false);
    }
    scores
}

/// A target that becomes a hundred times as steady is soon known by the member that forgets soon enough, and that one is followed.
#[test]
fn a_spread_that_falls_a_hundredfold_is_followed() {
    let (before, count) = (12_000, 16_000);
    let spread = |event: u64| if event < before { 1.0 } else { 0.01 };
    let cells = (0..count).flat_map(|event| {
        let [a, b, noise] = [0, 1, 2].map(|at| normal(4 * event + at));
        [a, b, 5.0 + spread(event) * noise]
    });
    let rows = Rows::from_cells(3, cells.collect());
    let units = alone(&rows, f64::INFINITY);
    let late = (count - 250) as usize..count as usize;
    let found = scores(&rows, count as usize);
    let truth = |event: usize| 0.5 * ((std::f64::consts::TAU).ln() + normal(4 * event as u64 + 2).powi(2)) + 0.01_f64.ln();
    let lost = late.clone().map(|event| found[event] + units[event].1 - truth(event)).sum::<f64>() / late.len() as f64;
    println!("lost {lost:.3} nats an event");
    assert!((-0.01..0.15).contains(&lost), "{lost}");
}
