//! Events are taken out of the posterior, or it goes back, while the service is stopped; and the service goes on from there.
//!
//! The topic to compare with has records that are no events in the place of the forgotten.

use serde_json::Value;
use surprisal::checkpoint::Data;
use surprisal::codec::wire::{Format, Snapshot};

use crate::events::{START_MS, batch};
use crate::log::{Follower, Record, produce, scores, snapshots};
use crate::plain::output;
use crate::process::{Process, text};
use crate::setup::{Setup, Wishes};
use crate::support::topics::delete_before;

/// Events that are forgotten.
const POISON: std::ops::Range<u64> = 800..900;

/// Events of one partition, some of them poison, or no events in its place.
fn records(numbers: std::ops::Range<u64>, poison: &[u8]) -> Vec<Record> {
    let spoil = |(number, record): (u64, Record)| match POISON.contains(&number) {
        true => Record { payload: Some(poison.to_vec()), ..record },
        false => record,
    };
    numbers.clone().zip(batch(numbers, 1)).map(spoil).collect()
}

/// Runs the service until `count` scores are committed.
fn serve(setup: &Setup, wishes: &Wishes, count: usize) {
    let mut service = Process::run(&setup.config("serve", wishes));
    service.await_ready();
    Follower::open(setup.brokers, &wishes.scores()).until(count);
    service.stop();
}

/// What a command says that succeeds.
fn said(arguments: &[&str]) -> String {
    let output = output(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What a command says that fails.
fn refused(arguments: &[&str]) -> String {
    let output = output(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// Asserts that both have learnt the same, bit for bit.
fn assert_learnt_alike(found: &Snapshot, expected: &Snapshot) {
    assert_eq!((found.covers_to, found.events, found.step), (expected.covers_to, expected.events, expected.step));
    assert_eq!((&found.tensors, &found.calibrator), (&expected.tensors, &expected.calibrator));
}

#[test]
fn a_span_that_was_forgotten_was_never_there_after_kills_and_restarts() {
    let setup = Setup::new("poisoned", 1);
    let clean = Setup::new("clean", 1);
    let mut wishes = setup.wishes("poisoned");
    wishes.kafka =
        "commit_max_events = 64\nsnapshot_interval_ms = 50\narchive_interval_ms = 100\nsession_timeout_ms = 1500\n".into();
    let config = setup.config("poisoned", &wishes);
    let poison = br#"{"amount": 1e6, "request": {"user.id": "evil", "retries": 99}}"#;
    produce(setup.brokers, &setup.events, &records(0..1500, poison));
    let mut service = Process::run(&config);
    service.await_ready();
    let mut follower = Follower::open(setup.brokers, &wishes.scores());
    follower.until(1500);

    let (from, to) = (POISON.start.to_string(), POISON.end.to_string());
    let forget = ["forget", "--config", text(&config), "--partition", "0", "--from", &from, "--to", &to];
    let message = refused(&forget);
    assert!(
        message.contains("the group `poisoned` has members: surprisal-one at 127.0.0.1; stop all instances first"),
        "{message}"
    );
    service.stop();
    let before = snapshots(setup.brokers, &wishes.posterior());
    let plan = said(&[&forget[..], &["--dry-run"]].concat());
    assert!(plan.contains("offsets 800..900 are forgotten: back to") && plan.contains("nothing was changed"), "{plan}");
    assert_eq!(snapshots(setup.brokers, &wishes.posterior()), before);
    let done = said(&forget);
    assert!(done.contains("to 1500 again, without them") && !done.contains("nothing was changed"), "{done}");

    let seen = said(&["inspect", "--config", text(&config)]);
    assert!(seen.contains("offsets 800..900 forgotten at 20") && seen.contains("Z: relearnt"), "{seen}");
    // Killed while it learns again, and once more later.
    produce(setup.brokers, &setup.events, &records(1500..2200, poison));
    let mut service = Process::run(&config);
    follower.until(1501);
    service.kill();
    let mut service = Process::run(&config);
    follower.until(2200);
    service.kill();
    produce(setup.brokers, &setup.events, &records(2200..2500, poison));
    serve(&setup, &wishes, 2500);

    let other = clean.wishes("clean");
    produce(clean.brokers, &clean.events, &records(0..2500, b"spoilt"));
    serve(&clean, &other, 2400);
    let found = &snapshots(setup.brokers, &wishes.posterior())[&0];
    assert_learnt_alike(found, &snapshots(clean.brokers, &other.posterior())[&0]);
    assert_eq!(found.forgotten.len(), 1);
    let (found, expected) =
        (scores(setup.brokers, &wishes.scores(), Format::Json), scores(clean.brokers, &other.scores(), Format::Json));
    assert_eq!(found.len(), 2500, "the forgotten were scored");
    for (place, expected) in expected.range((0, 1500)..) {
        assert_eq!(found[place].score, expected.score, "event {place:?}");
    }
    let json: Value = serde_json::from_str(&said(&["inspect", "--config", text(&config), "--json"])).unwrap();
    let forgotten = &json["snapshots"][0]["forgotten"];
    assert_eq!((&forgotten[0]["from"], &forgotten[0]["means"]), (&800.into(), &"relearnt".into()), "it is there for good");
}

#[test]
fn after_a_rollback_the_service_goes_on_from_the_snapshot() {
    let setup = Setup::new("rolled", 1);
    let clean = Setup::new("unrolled", 1);
    let mut wishes = setup.wishes("rolled");
    wishes.kafka = "snapshot_interval_ms = 1\narchive_interval_ms = 1\narchived_snapshots = 1000\n".into();
    let config = setup.config("rolled", &wishes);
    let mut service = Process::run(&config);
    service.await_ready();
    let mut follower = Follower::open(setup.brokers, &wishes.scores());
    for portion in 0..10 {
        produce(setup.brokers, &setup.events, &batch(100 * portion..100 * portion + 100, 1));
        follower.until(100 * portion as usize + 100);
    }
    service.stop();
    let listed: Value = serde_json::from_str(&said(&["inspect", "--config", text(&config), "--snapshots", "--json"])).unwrap();
    let listed = listed.as_array().unwrap();
    assert!(listed.len() > 5, "{listed:?}");
    let target = &listed[listed.len() / 2];
    let (name, covers_to) = (target["name"].as_str().unwrap(), target["covers_to"].as_u64().unwrap());
    assert!(said(&["inspect", "--config", text(&config), "--snapshots"]).contains(name));

    let message = refused(&["rollback", "--config", text(&config), "--to", "0@999999"]);
    assert!(message.contains("partition 0 has no archived snapshot 0@999999; it has 0@"), "{message}");
    let done = said(&["rollback", "--config", text(&config), "--to", name]);
    assert!(done.starts_with(&format!("partition 0: offsets {covers_to}..1000 are forgotten: back to ")), "{done}");
    produce(setup.brokers, &setup.events, &batch(1000..1500, 1));
    serve(&setup, &wishes, 1500);
    let seen = said(&["inspect", "--config", text(&config)]);
    assert!(seen.contains(&format!("offsets {covers_to}..1000 forgotten at 20")) && seen.contains("rolled back"), "{seen}");

    let gap = |(number, record): (u64, Record)| match (covers_to..1000).contains(&number) {
        true => Record { payload: None, ..record },
        false => record,
    };
    let other = clean.wishes("unrolled");
    produce(clean.brokers, &clean.events, &(0..1500).zip(batch(0..1500, 1)).map(gap).collect::<Vec<_>>());
    serve(&clean, &other, (covers_to + 500) as usize);
    assert_learnt_alike(&snapshots(setup.brokers, &wishes.posterior())[&0], &snapshots(clean.brokers, &other.posterior())[&0]);

    // What the log and the archive no longer hold can't be learnt again.
    delete_before(setup.brokers, &setup.events, 0, 1200);
    let mut bare = wishes.clone();
    bare.kafka = "archived_snapshots = 0\n".into();
    produce(setup.brokers, &setup.events, &batch(1500..1700, 1));
    serve(&setup, &bare, 1700);
    let message = refused(&["forget", "--config", text(&config), "--partition", "0", "--from", "10", "--to", "20"]);
    let expected = "offsets 10..20 can't be taken out. Their evidence can't be subtracted (what an event teaches depends on what was \
                    known), and to learn the rest again the log would have to hold it from offset 0 on, but it begins at 1200";
    assert!(message.contains(expected), "{message}");
}

/// By time, in all partitions, where the evidence is a sum: what is left is what the others add up to.
#[test]
fn a_linear_regression_forgets_an_hour_by_subtracting_it() {
    let setup = Setup::new("hour", 2);
    let clean = Setup::new("nohour", 2);
    let exact = |setup: &Setup, name: &str| {
        let mut wishes = setup.wishes(name);
        wishes.model_keys =
            "kind = \"linear_regression\"\ntarget = \"amount\"\ninputs = [\"latency\", \"retries\"]\nmax_block = 1\n".into();
        wishes
    };
    let (wishes, other) = (exact(&setup, "hour"), exact(&clean, "nohour"));
    let config = setup.config("hour", &wishes);
    produce(setup.brokers, &setup.events, &batch(0..2000, 2));
    serve(&setup, &wishes, 2000);
    // Event `number` was written `number` milliseconds after the first.
    let (since, until) = ((START_MS + 600).to_string(), (START_MS + 900).to_string());
    let done = said(&["forget", "--config", text(&config), "--since", &since, "--until", &until]);
    for partition in 0..2 {
        let line = format!(
            "partition {partition}: offsets 300..450 are forgotten: the evidence of 150 events is subtracted, 850 are left"
        );
        assert!(done.contains(&line), "{done}");
    }
    produce(setup.brokers, &setup.events, &batch(2000..2200, 2));
    serve(&setup, &wishes, 2200);
    let gap = |(number, record): (u64, Record)| match (600..900).contains(&number) {
        true => Record { payload: None, ..record },
        false => record,
    };
    produce(clean.brokers, &clean.events, &(0..2200).zip(batch(0..2200, 2)).map(gap).collect::<Vec<_>>());
    serve(&clean, &other, 1900);
    let (found, expected) = (snapshots(setup.brokers, &wishes.posterior()), snapshots(clean.brokers, &other.posterior()));
    for (partition, expected) in &expected {
        let found = &found[partition];
        assert_eq!((found.events, found.covers_to), (expected.events, expected.covers_to));
        // Anchors stand in for what is missing, where the moments' values depend on the order of events.
        for name in ["joint.count", "joint.mean", "missing"] {
            let numbers = |snapshot: &Snapshot| match &snapshot.tensors.iter().find(|tensor| tensor.name == name).unwrap().data {
                Data::F64(numbers) => numbers.clone(),
                data => panic!("{data:?}"),
            };
            for (found, expected) in numbers(found).iter().zip(numbers(expected)) {
                assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{name} of partition {partition}");
            }
        }
    }
}
