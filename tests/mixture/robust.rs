//! Robust learning: one event's influence is bounded, and a regime that persists is learnt.

use surprisal::engine::{Engine, Learning, Score, Setup};
use surprisal::features::{Rows, RowsView};
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

/// The surprisal of an event in the middle of all others.
fn middle(engine: &Engine<Mixture>) -> f64 {
    let row = Rows::from_cells(DIM, vec![0.0; DIM]);
    let view: RowsView<'_> = row.view();
    let mut surprisals = Vec::new();
    engine.model().score(engine.posterior(), view, &mut surprisals);
    surprisals[0].nats
}

/// However far out, one event among 2,000 moves the density where the others are by less than a tenth of a nat; without weights by
/// far more.
#[test]
fn one_event_moves_little_however_far_out_it_is() {
    let clean = middle(&follow(true, &rows(2_000, 0..0, 0.0)).1);
    for by in [1e1, 1e2, 1e4, 1e6] {
        let moved = |robust| (middle(&follow(robust, &rows(2_000, 1_000..1_001, by)).1) - clean).abs();
        assert!(moved(true) < 0.1, "{by}: {} nats", moved(true));
        assert!(by < 1e4 || moved(false) > 1.0, "{by}: {} nats without weights", moved(false));
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
