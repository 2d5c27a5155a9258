//! Robust learning: one event's influence is bounded, and a regime that persists is learnt.

use surprisal::engine::{Engine, Learning, Score, Setup};
use surprisal::features::Rows;
use surprisal::models::Model;
use surprisal::models::mixture::{Mixture, MixtureConfig};
use surprisal::record::{Head, Offset, Partition, Run};

use crate::data::numbers;
use crate::noise::normal;

const DIM: usize = 3;

/// Scores and learns rows `[_, DIM]` one run after the other; also the engine as it is afterwards.
fn follow(robust: bool, rows: &[f64]) -> (Vec<Score>, Engine<Mixture>) {
    let model = numbers(DIM, MixtureConfig::default());
    let schema = crate::data::schema(&[surprisal::features::Kind::Number; DIM]);
    let setup = Setup { robust, ..Setup::from(Learning::default()) };
    let mut engine = Engine::new(model, &schema, setup).expect("the prior is finite");
    engine.assign(Partition(0), None, None, Offset(0)).expect("new");
    let mut run = Run::new(Partition(0), Offset(0), DIM);
    run.rows = Rows::from_cells(DIM, rows.to_vec());
    let count = rows.len() / DIM;
    run.heads = (0..count as i64).map(|offset| Head { offset: Offset(offset), timestamp_ms: None, key: None }).collect();
    run.next = Offset(count as i64);
    let ready = engine.step(vec![run]).expect("assigned");
    let scores = ready.scores().map(|(_, _, score)| score.clone()).collect();
    ready.advance(false);
    (scores, engine)
}

/// Standard normal rows, of which those in `far` are moved by `by` in every column.
fn rows(count: usize, far: std::ops::Range<usize>, by: f64) -> Vec<f64> {
    let cell = |at: usize| normal(at as u64) + if far.contains(&(at / DIM)) { by } else { 0.0 };
    (0..count * DIM).map(cell).collect()
}

/// What a column's standard deviation is found to be.
fn spread(engine: &Engine<Mixture>) -> f64 {
    engine.model().columns(&engine.evidence())[0].standard_deviation.expect("a number column")
}

/// However far out, one event among 2,000 moves a column's standard deviation by less than a tenth; without weights by as far as it is out.
#[test]
fn one_event_moves_little_however_far_out_it_is() {
    let clean = spread(&follow(true, &rows(2_000, 0..0, 0.0)).1);
    for by in [1e1, 1e2, 1e4, 1e6] {
        let found = |robust| spread(&follow(robust, &rows(2_000, 1_000..1_001, by)).1) / clean;
        assert!((found(true) - 1.0).abs() < 0.1, "{by}: {} times as wide", found(true));
        assert!(by < 1e2 || found(false) > by / 50.0, "{by}: {} times as wide without weights", found(false));
    }
}

/// A regime that stays is normal after a few hundred events, with weights as without.
#[test]
fn a_regime_that_persists_is_learnt() {
    let stream = rows(6_000, 3_000..6_000, 20.0);
    let mean = |scores: &[Score]| scores.iter().map(|score| score.surprisal).sum::<f64>() / scores.len() as f64;
    let (scores, _) = follow(true, &stream);
    let (first, before, after) = (scores[3_000].surprisal, mean(&scores[2_500..3_000]), mean(&scores[4_000..6_000]));
    assert!(first > before + 10.0, "{first} nats when it comes, {before} before");
    assert!(after < before + 3.0, "{after} nats when it has stayed, {before} before");
}
