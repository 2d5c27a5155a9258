//! The service when nothing goes wrong: scores, snapshots, metrics, readiness, and a stop in good order.

use std::collections::BTreeMap;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::Value;
use surprisal::codec::wire::{Format, Scored};

use crate::events::{self, batch, has_latency, own_time_ms};
use crate::log::{Follower, committed, dead_letters, produce, scores, snapshots};
use crate::process::{Process, eventually, text};
use crate::setup::Setup;

const EVENTS: u64 = 3000;
const PARTITIONS: i32 = 3;

/// The service's own description of what a site of `events` events covers: blocks of the power of two at most a 32nd of what was
/// learnt, from 1 to 256.
pub fn covered(events: u64) -> u64 {
    let mut learnt = 0;
    loop {
        let mut block = 1;
        while block < 256 && 2 * block <= learnt / 32 {
            block *= 2;
        }
        if learnt + block > events {
            return learnt;
        }
        learnt += block;
    }
}

/// Runs a command of the program to its end.
pub fn output(arguments: &[&str]) -> Output {
    let mut process = Process::start(arguments, &[]);
    let status = process.wait();
    let status = std::os::unix::process::ExitStatusExt::from_raw(status << 8);
    Output { status, stdout: process.stdout().into(), stderr: process.stderr().into() }
}

/// Each event has one score, which says whose it is.
#[track_caller]
fn expect_each_once(scores: &BTreeMap<(i32, i64), Scored>, topic: &str, partitions: i32, events: u64) {
    assert_eq!(scores.len() as u64, events);
    for number in 0..events {
        let record = events::event(number, partitions);
        let (partition, offset) = (record.partition, (number / partitions as u64) as i64);
        let scored = scores.get(&(partition, offset)).unwrap_or_else(|| panic!("event {number} has no score"));
        assert_eq!((scored.model_id.as_str(), scored.topic.as_str()), ("model", topic));
        assert_eq!(scored.head.key.as_deref(), record.key.as_deref(), "event {number}");
        assert_eq!(scored.head.timestamp_ms, own_time_ms(number).or(Some(record.timestamp_ms)), "event {number}");
        assert!(scored.score.surprisal.is_finite() && scored.score.surprisal < f64::MAX, "event {number}: {scored:?}");
        assert!(scored.score.tail_probability > 0.0 && scored.score.tail_probability <= 1.0, "event {number}: {scored:?}");
    }
}

#[test]
fn every_event_gets_one_score_and_snapshots_cover_what_was_learnt() {
    let setup = Setup::new("plain", PARTITIONS);
    let wishes = setup.wishes("plain.json");
    // A stop in good order must not need the session to time out.
    let mut patient = wishes.clone();
    patient.kafka = "session_timeout_ms = 60000\n".into();
    let config = setup.config("json", &patient);
    let mut binary = setup.wishes("plain.protobuf");
    binary.kafka = "scores_format = \"protobuf\"\n".into();

    let records = batch(0..EVENTS, PARTITIONS);
    let (before, after) = records.split_at(EVENTS as usize / 3);
    produce(setup.brokers, &setup.events, before);
    let mut service = Process::run(&config);
    let mut twin = Process::run(&setup.config("protobuf", &binary));
    service.await_ready();
    produce(setup.brokers, &setup.events, after);
    twin.await_ready();
    Follower::open(setup.brokers, &wishes.scores()).until(EVENTS as usize);
    Follower::open(setup.brokers, &binary.scores()).until(EVENTS as usize);

    expect_metrics(&service, records.iter().map(|record| record.payload.as_ref().map_or(0, Vec::len)).sum());
    service.stop();
    twin.stop();

    // The next instance has the partitions at once.
    let begun = Instant::now();
    let mut next = patient.clone();
    next.instance = "two".into();
    let mut next = Process::run(&setup.config("next", &next));
    eventually("the next instance has all partitions", || {
        (next.is_ready() && next.metric("surprisal_assigned_partitions") == f64::from(PARTITIONS)).then_some(())
    });
    assert!(begun.elapsed() < Duration::from_secs(20), "it has waited {:?}", begun.elapsed());
    assert_eq!(next.metric("surprisal_restores_total"), f64::from(PARTITIONS));
    next.stop();

    for (wishes, format) in [(&wishes, Format::Json), (&binary, Format::Protobuf)] {
        expect_each_once(&scores(setup.brokers, &wishes.scores(), format), &setup.events, PARTITIONS, EVENTS);
        assert_eq!(dead_letters(setup.brokers, &wishes.dead_letters()), []);
        let snapshots = snapshots(setup.brokers, &wishes.posterior());
        assert_eq!(snapshots.keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
        for (partition, snapshot) in &snapshots {
            let expected = covered(EVENTS / PARTITIONS as u64);
            assert_eq!((snapshot.covers_to.0 as u64, snapshot.events), (expected, expected), "partition {partition}");
            assert_eq!((snapshot.header.topic.as_str(), snapshot.header.model_kind.as_str()), ("plain", "mixture"));
        }
    }
    expect_json_as_documented(setup.brokers, &wishes.scores());
    expect_inspection(text(&config));
}

/// Counters are the counts, and nothing is left to do.
fn expect_metrics(service: &Process, bytes: usize) {
    let metrics = eventually("all is counted, and the lag is gone", || {
        let metrics = service.metrics();
        let done = metrics["surprisal_events_total"] == EVENTS as f64 && metrics["surprisal_consumer_lag_records"] == 0.0;
        done.then_some(metrics)
    });
    let is = |name: &str, value: f64| assert_eq!(metrics[name], value, "{name}");
    is("surprisal_received_bytes_total", bytes as f64);
    is("surprisal_assigned_partitions", f64::from(PARTITIONS));
    is("surprisal_transaction_aborts_total", 0.0);
    is("surprisal_restarts_total", 0.0);
    is("surprisal_refused_events_total", 0.0);
    is("surprisal_restores_total", 0.0);
    for (name, value) in metrics.iter().filter(|(name, _)| name.starts_with("surprisal_dead_letters_total")) {
        assert_eq!(*value, 0.0, "{name}");
    }
    for histogram in ["decode", "step", "publish", "commit", "end_to_end"] {
        assert!(metrics[&format!("surprisal_{histogram}_seconds_count")] > 0.0, "{histogram} is measured");
    }
    assert!(metrics["surprisal_transaction_commits_total"] >= metrics["surprisal_batches_total"]);
    assert!(metrics["surprisal_batches_total"] > 0.0 && metrics["surprisal_active_components"] >= 1.0);
    assert!(metrics["surprisal_mean_surprisal_nats"].is_finite());
    let learnt = (covered(EVENTS / PARTITIONS as u64) * PARTITIONS as u64) as f64;
    let size = metrics["surprisal_effective_sample_size_events"];
    assert!((size - learnt).abs() < 1e-6 * learnt, "{size} events are behind the posterior, {learnt} were learnt");
    assert_eq!(service.get("/healthz"), (200, "alive\n".into()));
    assert_eq!(service.get("/readyz"), (200, "ready\n".into()));
}

/// The JSON form, read by a reader that knows nothing of ours.
fn expect_json_as_documented(brokers: &str, topic: &str) {
    for message in committed(brokers, topic) {
        let score: Value = serde_json::from_slice(&message.payload.expect("a score")).unwrap();
        let fields = score.as_object().unwrap();
        let known = ["schema_version", "model_id", "topic", "partition", "offset", "key", "key_base64", "timestamp_ms"];
        let numbers = ["surprisal", "surprisal_sd", "tail_probability", "posterior_step"];
        let alerts = ["severity", "alert", "rarity", "contributions", "nearest"];
        assert!(fields.keys().all(|key| [&known[..], &numbers, &alerts].concat().contains(&key.as_str())), "{score}");
        assert!(numbers.iter().all(|name| fields[*name].is_number()), "{score}");
        assert_eq!((&fields["schema_version"], &fields["partition"]), (&1.into(), &message.partition.into()));
    }
}

/// `surprisal inspect` tells what the events were.
fn expect_inspection(config: &str) {
    let said = output(&["inspect", "--config", config, "--json"]);
    assert!(said.status.success(), "{said:?}");
    let seen: Value = serde_json::from_slice(&said.stdout).unwrap();
    let each = covered(EVENTS / PARTITIONS as u64);
    let learnt: Vec<u64> = (0..EVENTS).filter(|number| number / (PARTITIONS as u64) < each).collect();
    let near = |value: &Value, expected: f64| {
        let value = value.as_f64().unwrap();
        assert!((value - expected).abs() < 1e-6 * expected.max(1.0), "{value}, expected {expected}");
    };
    near(&seen["effective_events"], learnt.len() as f64);
    assert_eq!(seen["snapshots"].as_array().unwrap().len(), PARTITIONS as usize);
    for (partition, snapshot) in seen["snapshots"].as_array().unwrap().iter().enumerate() {
        assert_eq!((&snapshot["partition"], &snapshot["covers_to"]), (&partition.into(), &each.into()));
    }
    let latency = seen["columns"].as_array().unwrap().iter().find(|column| column["name"] == "latency").unwrap();
    let present = learnt.iter().filter(|number| has_latency(**number)).count() as f64;
    near(&latency["observed"], present);
    near(&latency["missing"], learnt.len() as f64 - present);
    let mean = latency["mean"].as_f64().unwrap();
    // A tenth takes 905 ms, the others 25 ms.
    assert!((60.0..150.0).contains(&mean), "{mean}");
    let weights: f64 = seen["components"].as_array().unwrap().iter().map(|part| part["weight"].as_f64().unwrap()).sum();
    assert!((0.5..=1.0 + 1e-9).contains(&weights), "{weights}");

    let said = output(&["inspect", "--config", config]);
    let words = String::from_utf8(said.stdout).unwrap();
    for expected in [
        "model `model` (mixture) of topic `plain`",
        &format!("covers offsets up to {each}, {each} events in "),
        "latency ",
        "components",
    ] {
        assert!(words.contains(expected), "{expected:?} in\n{words}");
    }
}

#[test]
fn readiness_follows_the_partition_and_a_stop_hands_it_over_at_once() {
    let setup = Setup::new("ready", 1);
    produce(setup.brokers, &setup.events, &batch(0..10, 1));
    let start = |instance: &str| {
        let mut wishes = setup.wishes("ready");
        wishes.instance = instance.into();
        wishes.kafka = "session_timeout_ms = 60000\n".into();
        Process::run(&setup.config(instance, &wishes))
    };
    let mut pair = [start("a"), start("b")];
    // There is one partition: one of them is ready, the other is not, and both are in the group.
    let winner = eventually("one of two is ready, and the other is idle", || {
        let joined = pair.iter().all(|process| process.metric("surprisal_rebalances_total") > 0.0);
        let held: Vec<f64> = pair.iter().map(|process| process.metric("surprisal_assigned_partitions")).collect();
        (joined && held.iter().sum::<f64>() == 1.0).then(|| held.iter().position(|held| *held == 1.0).unwrap())
    });
    pair[winner].await_ready();
    Follower::open(setup.brokers, "ready.scores").until(10);
    assert_eq!(pair[1 - winner].get("/readyz"), (503, "no partition is assigned and restored yet\n".into()));
    assert_eq!(pair[1 - winner].get("/healthz").0, 200);
    let stopped = Instant::now();
    pair[winner].stop();
    pair[1 - winner].await_ready();
    assert!(stopped.elapsed() < Duration::from_secs(20), "the partition was free after {:?}", stopped.elapsed());
    produce(setup.brokers, &setup.events, &batch(10..20, 1));
    Follower::open(setup.brokers, "ready.scores").until(20);
    pair[1 - winner].stop();
    expect_each_once(&scores(setup.brokers, "ready.scores", Format::Json), &setup.events, 1, 20);
}
