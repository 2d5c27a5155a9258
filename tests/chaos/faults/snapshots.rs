//! What befalls snapshots: one of 50 MB, and a topic that is compacted while it is read.

use serde_json::json;

use crate::Play;
use crate::config::Setting;
use crate::events::START_MS;
use crate::feed::{SPOILT, is_event};
use crate::log::Record;
use crate::process::eventually;
use crate::stage::{MIXTURE, SOLO, Scene, Stage, Subject, idle};
use crate::table::Row;

/// Bytes of a category's value.
const VALUE_BYTES: usize = 1000;

/// Events of one category, whose values are long: `values` of them, one after the other and then again.
fn long(number: u64, partitions: i32, values: u64) -> Record {
    let letter = |at: usize| char::from(b'a' + ((number % values) as usize * 31 + at * at * 7) as u8 % 26);
    let tail: String = (0..VALUE_BYTES - 8).map(letter).collect();
    let event = json!({"name": format!("{:08}{tail}", number % values)}).to_string();
    Record {
        partition: (number % partitions as u64) as i32,
        key: None,
        payload: Some(if is_event(number) { event.into_bytes() } else { SPOILT.to_vec() }),
        timestamp_ms: START_MS + number as i64,
    }
}

const COLUMNS: &str = "[[columns]]\nname = \"name\"\nkind = \"category\"\ncapacity = 100000\n";
const MODEL: &str = "[model.mixture]\ncomponents = 1\n";
const LARGE: Subject = Subject {
    model: MODEL,
    columns: COLUMNS,
    make: |number, partitions| long(number, partitions, 58_000),
    per_second: 2500.0,
    ..MIXTURE
};
const SMALL: Subject = Subject { make: |number, partitions| long(number, partitions, 3_000), ..LARGE };

/// Killed with a snapshot of 50 MB in about a hundred chunks: while it is written, and while it is read.
pub fn large(play: &Play, fault: &str) -> Row {
    const BYTES: usize = 50_000_000;
    let mut dice = play.dice(fault);
    let settings: &[Setting] = &[("snapshot_interval_ms", "2000"), ("transaction_timeout_ms", "20000")];
    let mut stage = Stage::open(fault, Scene::of("large", LARGE, 1, &[SOLO, settings]));
    stage.begin("a");
    eventually("a snapshot of 50 MB", || (stage.snapshot_bytes() >= BYTES).then_some(()));
    for run in 0..play.runs(10, 1) {
        stage.kill("a");
        if run % 2 == 0 {
            let chunk = 1 + dice.below(100);
            stage.start_at("a", &format!("chunk_read:{chunk}=exit"));
            stage.await_death("a", "chunk_read");
            stage.ran();
        }
        let begun = stage.start("a");
        stage.ran();
        stage.await_recovery(begun, Some("a"));
        idle(dice.below(2500));
    }
    stage.close()
}

/// Killed again and again while the log of snapshots is compacted all the time, also in the middle of being read.
pub fn compaction(play: &Play, fault: &str) -> Row {
    let mut dice = play.dice(fault);
    let tiny = [("segment.ms", "200"), ("segment.bytes", "1048576"), ("min.cleanable.dirty.ratio", "0.001")];
    let settings: &[Setting] = &[("snapshot_interval_ms", "50"), ("transaction_timeout_ms", "6000")];
    let kafka = &[SOLO, settings];
    let mut stage = Stage::open(fault, Scene { posterior: &tiny, ..Scene::of("compaction", SMALL, 1, kafka) });
    stage.begin("a");
    for run in 0..play.runs(20, 2) {
        idle(500 + dice.below(500));
        stage.kill("a");
        let begun = if run % 2 == 0 {
            stage.start("a")
        } else {
            // What it is about to read is gone when it goes on.
            stage.start_at("a", &format!("chunk_read:{}=stall:1500", 1 + dice.below(4)))
        };
        stage.ran();
        stage.await_recovery(begun, (run % 2 == 0).then_some("a"));
    }
    let (written, left) = stage.posterior_messages();
    assert!(left < written / 2, "of {written} messages of the posterior topic {left} are left: it was hardly compacted");
    stage.close()
}
