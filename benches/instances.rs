//! Many instances on one posterior, in virtual time and real arithmetic: what they write, what each spends on the others' sites, and how
//! far behind its belief is.
//!
//! Each instance is an engine with a partition of its own, a mixture of eight numbers. It takes in its events every 100 ms and publishes
//! its site every second, at an instant of its own; what was published is there for all others at their next commit. All instances
//! learn and publish; since they are alike, only a few take in what the others say, and are measured.

use std::time::{Duration, Instant};

use surprisal::codec::wire::{self, Assembler, SnapshotHeader};
use surprisal::engine::{Engine, Learning};
use surprisal::features::{Column, Kind, Rows, Schema};
use surprisal::models::Model;
use surprisal::models::mixture::{Mixture, MixtureConfig};
use surprisal::record::{Head, Offset, Partition, Run};

#[allow(dead_code, missing_docs, reason = "shared with the tests")]
#[path = "../tests/support/noise.rs"]
mod noise;

/// Numbers in an event.
const COLUMNS: usize = 8;
/// Events of a partition in a second.
const RATE: i64 = 1000;
/// Commits in a second: each partition's site is published with one of them.
const COMMITS: i64 = 10;
/// Seconds before anything is measured, and seconds measured.
const WARM: i64 = 10;
const MEASURED: i64 = 5;
/// Instances that take in the others' sites.
const OBSERVERS: usize = 2;

fn main() {
    // `cargo test` only wants to know that it starts; `cargo bench` says so.
    if std::env::args().all(|argument| argument != "--bench") {
        return;
    }
    println!("{RATE} events/s a partition, {COLUMNS} numbers, a commit every {} ms, a snapshot a second", 1000 / COMMITS);
    println!("           bytes   written   sites read   µs to read    ms to add    of a core   events    ms");
    println!("instances  /site   /s        /s           a site        all up        /instance   behind    behind");
    for instances in [16, 64, 256, 1000] {
        simulate(instances);
    }
}

/// A row of two kinds of events, each number spread about its kind's place.
fn run(partition: usize, offsets: std::ops::Range<i64>) -> Run {
    let mut run = Run::new(Partition(partition as i32), Offset(offsets.start), COLUMNS);
    let cells = offsets.clone().flat_map(|offset| {
        let event = partition as u64 * 1_000_003 + offset as u64;
        let place = if event.is_multiple_of(3) { 5.0 } else { 0.0 };
        (0..COLUMNS as u64).map(move |column| place + noise::normal(event * COLUMNS as u64 + column))
    });
    run.rows = Rows::from_cells(COLUMNS, cells.collect());
    run.heads = offsets.clone().map(|offset| Head { offset: Offset(offset), timestamp_ms: None, key: None }).collect();
    run.next = Offset(offsets.end);
    run
}

fn simulate(instances: usize) {
    let column = |index| Column { name: format!("x{index}"), path: vec![format!("x{index}")], kind: Kind::Number };
    let schema = Schema::new((0..COLUMNS).map(column).collect());
    let model = Mixture::new(&schema, MixtureConfig { components: 8, ..MixtureConfig::default() }).expect("a model");
    let engine = |partition: usize| {
        let mut engine = Engine::new(model.clone(), &schema, Learning::default()).expect("the prior");
        engine.assign(Partition(partition as i32), None, None, Offset(0)).expect("fresh");
        engine
    };
    let mut engines: Vec<Engine<Mixture>> = (0..instances).map(engine).collect();
    // Of each partition: the events in its latest published site, and when that was published, in commits.
    let mut published = vec![(0_i64, 0_i64); instances];
    let mut log: Vec<(usize, Vec<Vec<u8>>)> = Vec::new();
    let (mut bytes, mut sites) = (0, 0_usize);
    let (mut reading, mut adding) = (Vec::new(), Vec::new());
    let (mut behind_events, mut behind_commits, mut looks) = (0, 0, 0);
    for tick in 0..(WARM + MEASURED) * COMMITS {
        let measured = tick >= WARM * COMMITS;
        // What was published since the last commit is taken in before the next events are scored.
        for (observer, engine) in engines.iter_mut().enumerate().take(OBSERVERS) {
            for (partition, chunks) in log.iter().filter(|(partition, _)| *partition != observer) {
                let begun = Instant::now();
                let mut assembler = Assembler::default();
                let whole = chunks.iter().find_map(|chunk| assembler.push(chunk).expect("a chunk")).expect("whole");
                let site = wire::decode_snapshot(&whole).expect("a snapshot").site(&model).expect("of this model");
                engine.absorb(Partition(*partition as i32), site).expect("finite");
                reading.push(begun.elapsed());
            }
            let begun = Instant::now();
            engine.settle().expect("finite");
            adding.push(begun.elapsed());
            if !measured {
                reading.clear();
                adding.clear();
            }
        }
        let events = RATE / COMMITS;
        if measured {
            for (covers_to, at) in &published[OBSERVERS..] {
                behind_events += tick * events - covers_to;
                behind_commits += tick - at;
                looks += 1;
            }
        }
        log.clear();
        for (partition, engine) in engines.iter_mut().enumerate() {
            engine.step(vec![run(partition, tick * events..(tick + 1) * events)]).expect("in order").advance(false);
            if (tick + partition as i64) % COMMITS == 0 {
                let site = engine.sites().find(|(of, _)| of.0 == partition as i32).expect("its own").1;
                let header = SnapshotHeader {
                    model_id: "model".into(),
                    model_kind: model.kind().into(),
                    fingerprint: model.fingerprint(),
                    topic: "events".into(),
                    partition: Partition(partition as i32),
                    created_ms: 0,
                    archive: Vec::new(),
                };
                let messages = wire::encode_snapshot(&header, site, &model.columns(&site.evidence), wire::MAX_CHUNK_BYTES);
                let chunks: Vec<Vec<u8>> = messages.into_iter().map(|(_, chunk)| chunk).collect();
                if measured {
                    bytes += chunks.iter().map(Vec::len).sum::<usize>();
                    sites += 1;
                }
                published[partition] = (site.covers_to.0, tick + 1);
                log.push((partition, chunks));
            }
        }
    }
    let read = reading.len() as f64 / (MEASURED * OBSERVERS as i64) as f64;
    let (reading, adding) = (median(reading), median(adding));
    println!(
        "{instances:>9}  {:>5.0}  {:>5.2} MB  {read:>10.0}  {:>10.0}  {:>11.2}  {:>10.1} %  {:>8.0}  {:>6.0}",
        bytes as f64 / sites as f64,
        bytes as f64 / MEASURED as f64 / 1e6,
        reading * 1e6,
        adding * 1e3,
        100.0 * (read * reading + COMMITS as f64 * adding),
        behind_events as f64 / looks as f64,
        (behind_commits * 1000 / COMMITS) as f64 / looks as f64,
    );
}

/// In seconds; whatever else the machine was busy with is left out.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}
