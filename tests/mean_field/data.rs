//! Streams that the tests learn, and the engine that learns them.

use surprisal::engine::{Engine, Learning, Score};
use surprisal::features::{Column, Kind, Rows, RowsView, Schema};
use surprisal::models::mean_field::{LogJoint, MeanField, MeanFieldConfig};
use surprisal::record::{Head, Offset, Partition, Run};

use crate::noise::{normal, uniform};

pub const P0: Partition = Partition(0);

/// Number columns of these names.
pub fn schema(names: &[&str]) -> Schema {
    let column = |name: &&str| Column { name: (*name).into(), path: vec![(*name).into()], kind: Kind::Number };
    Schema::new(names.iter().map(column).collect())
}

/// The events of tests/golden/robust_regression.py.
pub fn latencies(count: usize) -> Rows {
    let mut cells = Vec::with_capacity(3 * count);
    for event in 0..count as u64 {
        let [load, users, error] = [0, 1, 2].map(|column| normal(3 * event + column));
        let late = uniform((1 << 40) + event) < if load > 0.0 { 0.15 } else { 0.05 };
        let delay = if late { 5.0 + 20.0 * uniform((1 << 41) + event) } else { 0.0 };
        cells.extend([load, users, 1.0 + 2.0 * load - 3.0 * users + 0.5 * error + delay]);
    }
    Rows::from_cells(3, cells)
}

pub fn model<L: LogJoint>(joint: L, names: &[&str]) -> MeanField<L> {
    MeanField::new(&schema(names), joint, MeanFieldConfig::default()).expect("a right model")
}

pub fn engine<L: LogJoint>(model: &MeanField<L>, names: &[&str], partitions: i32) -> Engine<MeanField<L>> {
    let mut engine = Engine::new(model.clone(), &schema(names), Learning::default()).expect("the prior is finite");
    for partition in 0..partitions {
        engine.assign(Partition(partition), None, None, Offset(0)).expect("fresh");
    }
    engine
}

/// Rows `from..` as records of a partition whose first is row 0.
pub fn run(partition: Partition, rows: RowsView<'_>, from: usize) -> Run {
    let mut run = Run::new(partition, Offset(from as i64), rows.width());
    run.rows.extend(rows.slice(from..rows.len()), &[]);
    run.heads = (from..rows.len()).map(|offset| Head { offset: Offset(offset as i64), timestamp_ms: None, key: None }).collect();
    run.next = Offset(rows.len() as i64);
    run
}

/// Scores and learns rows `from..`.
pub fn take<L: LogJoint>(engine: &mut Engine<MeanField<L>>, rows: RowsView<'_>, from: usize) -> Vec<Score> {
    let ready = engine.step(vec![run(P0, rows, from)]).expect("in order");
    let scores = ready.scores().map(|(_, _, score)| score.clone()).collect();
    ready.advance(true);
    scores
}

#[track_caller]
pub fn assert_close(found: f64, expected: f64, tolerance: f64) {
    let error = (found - expected).abs() / expected.abs().max(1.0);
    assert!(error <= tolerance, "{found} is not {expected}: off by {error:e}");
}
