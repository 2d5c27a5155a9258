//! Faults of the surroundings: what the log says, whether the process lives on, and with which status it ends if it doesn't.

use std::fs::{self, File};
use std::process::{Command, Output, Stdio};

use prost::Message as _;
use surprisal::codec::wire::{Assembler, Format, proto};
use surprisal::record::Reason;

use crate::events::{START_MS, batch};
use crate::log::{Follower, Record, committed, dead_letters, produce, scores};
use crate::process::{Process, eventually, text};
use crate::setup::Setup;
use crate::support::topics::{chunks, create_topic, delete_topic};

/// Runs a command with standard output or standard error on a disk that is full.
fn on_a_full_disk(arguments: &[&str], stdout: bool) -> Output {
    let full = || Stdio::from(File::create("/dev/full").unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_surprisal"));
    command.args(arguments).stdin(Stdio::null());
    if stdout {
        command.stdout(full())
    } else {
        command.stderr(full())
    };
    command.output().unwrap()
}

#[test]
fn a_full_disk_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..5_000).map(|row| format!("{},{}\n", row % 17, row % 5)).collect();
    let input = folder.path().join("rows.csv");
    fs::write(&input, format!("a,b\n{rows}")).unwrap();
    for output in ["--scores", "--report", "--html"] {
        let ended = on_a_full_disk(&["backtest", "--input", text(&input), output, "/dev/full"], false);
        assert_eq!(ended.status.code(), Some(1), "and nowhere to say so: {ended:?}");
        let mut process = Process::start(&["backtest", "--input", text(&input), output, "/dev/full"], &[]);
        assert_eq!(process.wait(), 1);
        let said = process.stderr();
        assert!(said.ends_with("surprisal: /dev/full: No space left on device (os error 28)\n"), "{said}");
    }
    for arguments in [&["backtest", "--input", text(&input)][..], &["scoreboard", "--data", text(folder.path()), "--output", "x"]]
    {
        fs::create_dir_all(folder.path().join("tabular")).unwrap();
        let ended = on_a_full_disk(arguments, true);
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(said.contains("surprisal: printing") && said.contains("No space left on device"), "{said}");
    }
    let ended = on_a_full_disk(&["run", "--config", "no-such-file.toml"], false);
    assert_eq!(ended.status.code(), Some(2), "the status says what the message can't");
}

#[test]
fn a_service_whose_log_cannot_be_written_goes_on() {
    let setup = Setup::new("mute", 1);
    produce(setup.brokers, &setup.events, &batch(0..50, 1));
    let config = setup.config("mute", &setup.wishes("mute"));
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "exec \"$0\" run --log debug --config \"$1\" 2>/dev/full",
        env!("CARGO_BIN_EXE_surprisal"),
        text(&config),
    ]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    crate::log::await_topic(setup.brokers, "mute.scores");
    Follower::open(setup.brokers, "mute.scores").until(50);
    assert_eq!(child.try_wait().unwrap(), None, "it goes on");
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_topic_for_results_that_is_deleted_ends_the_service_with_its_name() {
    let setup = Setup::new("gone", 1);
    produce(setup.brokers, &setup.events, &batch(0..50, 1));
    let mut wishes = setup.wishes("gone");
    wishes.kafka = "transaction_timeout_ms = 3000\n[kafka.properties]\n\"topic.metadata.propagation.max.ms\" = 500\n".into();
    let mut service = Process::run(&setup.config("gone", &wishes));
    service.await_ready();
    Follower::open(setup.brokers, &wishes.scores()).until(50);
    delete_topic(setup.brokers, &wishes.scores());
    produce(setup.brokers, &setup.events, &batch(50..60, 1));
    assert_eq!(service.wait(), 1);
    let said = service.stderr();
    let last = said.lines().last().unwrap();
    assert!(
        last.starts_with("surprisal: ") && last.contains("`gone.scores`") && last.contains("a topic has been removed"),
        "{said}"
    );
}

#[test]
fn an_events_topic_that_is_deleted_is_waited_for() {
    let setup = Setup::new("vanished", 1);
    produce(setup.brokers, &setup.events, &batch(0..50, 1));
    let mut wishes = setup.wishes("vanished.results");
    wishes.kafka =
        "[kafka.properties]\n\"topic.metadata.propagation.max.ms\" = 500\n\"topic.metadata.refresh.interval.ms\" = 500\n".into();
    let config = setup.config("vanished", &wishes);
    let mut service = Process::run(&config);
    service.await_ready();
    Follower::open(setup.brokers, &wishes.scores()).until(50);
    delete_topic(setup.brokers, &setup.events);
    eventually("nothing is assigned", || (service.metric("surprisal_assigned_partitions") == 0.0).then_some(()));
    assert_eq!((service.get("/readyz").0, service.get("/healthz").0), (503, 200), "it lives on");
    let said = service.stderr();
    assert!(said.contains("vanished [0]: topic does not exist") && said.contains("partitions revoked"), "{said}");
    // Another topic of the same name is not the log that was learnt.
    create_topic(setup.brokers, &setup.events, 1, &[("retention.ms", "-1")]);
    assert_eq!(service.wait(), 1);
    let mut again = Process::run(&config);
    assert_eq!(again.wait(), 1);
    let said = again.stderr();
    assert!(said.lines().last().unwrap().contains("give the model another id to begin anew"), "{said}");
}

#[test]
fn snapshots_that_were_spoilt_are_refused_with_the_tensor() {
    let setup = Setup::new("spoilt", 1);
    produce(setup.brokers, &setup.events, &batch(0..50, 1));
    let wishes = setup.wishes("spoilt");
    let config = setup.config("spoilt", &wishes);
    let mut service = Process::run(&config);
    service.await_ready();
    Follower::open(setup.brokers, &wishes.scores()).until(50);
    service.stop();
    let messages = committed(setup.brokers, &wishes.posterior());
    let chunk = messages.iter().filter_map(|message| message.payload.as_ref()).next_back().unwrap();
    let whole = Assembler::default().push(chunk).unwrap().expect("it is small");
    let right = proto::Snapshot::decode(&whole[..]).unwrap();
    let tensor = right.evidence.iter().position(|tensor| tensor.name == "total.events").unwrap();
    let spoil = |change: &dyn Fn(&mut proto::Tensor)| {
        let mut snapshot = right.clone();
        change(&mut snapshot.evidence[tensor]);
        chunks(0, &snapshot.encode_to_vec(), 1 << 20).remove(0)
    };
    let mut checksum = proto::SnapshotChunk::decode(&chunk[..]).unwrap();
    checksum.data[20] ^= 1;
    let mut later = proto::SnapshotChunk::decode(&chunk[..]).unwrap();
    later.schema_version = 2;
    for ((key, payload), says) in [
        (("model/0/0".to_owned(), checksum.encode_to_vec()), "checksum is"),
        (("model/0/0".to_owned(), later.encode_to_vec()), "SnapshotChunk has schema version 2"),
        (spoil(&|tensor| tensor.dtype = 2), "tensor `total.events` holds i64, expected f64"),
        (spoil(&|tensor| tensor.shape = vec![1, 1]), "tensor `total.events` has shape [1, 1], expected [1]"),
        (spoil(&|tensor| tensor.data = f64::NAN.to_le_bytes().to_vec()), "tensor `total.events`: element 0 is NaN"),
        (spoil(&|tensor| tensor.data.truncate(7)), "tensor `total.events`: its 7 bytes are not whole elements"),
    ] {
        let record = Record { key: Some(key.into_bytes()), payload: Some(payload), timestamp_ms: START_MS, ..Record::default() };
        produce(setup.brokers, &wishes.posterior(), &[record]);
        let mut refused = Process::run(&config);
        assert_eq!(refused.wait(), 1);
        let said = refused.stderr();
        assert!(said.lines().last().unwrap().contains(says), "{says}: {said}");
    }
}

/// Times at the ends of 64 bits, in records and in events, with evidence that fades by time.
#[test]
fn times_far_in_past_and_future_are_survived() {
    let setup = Setup::with("wild", 1, &[("message.timestamp.after.max.ms", "9223372036854775807")]);
    let mut wishes = setup.wishes("wild");
    wishes.model = "model\"\nhalf_life_time = \"1h".into();
    let mut records = batch(0..400, 1);
    for (at, time) in [(100, 0), (150, i64::MAX), (200, 1), (250, 253_402_300_799_999), (300, 9_000_000_000_000_000_000)] {
        records[at].timestamp_ms = time;
    }
    for (at, time) in [(120, "9e24"), (160, "-9e24"), (220, "9223372036854775807000"), (320, "1e400")] {
        records[at].payload = Some(format!("{{\"amount\":1,\"at\":{time}}}").into_bytes());
    }
    produce(setup.brokers, &setup.events, &records);
    let mut service = Process::run(&setup.config("wild", &wishes));
    service.await_ready();
    Follower::open(setup.brokers, &wishes.scores()).until(396);
    let metrics =
        eventually("all is counted", || Some(service.metrics()).filter(|metrics| metrics["surprisal_events_total"] == 396.0));
    assert_eq!(metrics["surprisal_refused_events_total"], 0.0);
    assert!(metrics["surprisal_effective_sample_size_events"] > 0.0);
    service.stop();
    let letters = dead_letters(setup.brokers, &wishes.dead_letters());
    assert_eq!(letters.iter().map(|letter| letter.dead.head.offset.0).collect::<Vec<_>>(), [120, 160, 220, 320]);
    for letter in &letters {
        assert_eq!(letter.dead.reason, Reason::OutOfRange);
        assert!(letter.dead.detail.contains("field `at`"), "{}", letter.dead.detail);
    }
    for ((_, offset), scored) in scores(setup.brokers, &wishes.scores(), Format::Json) {
        assert!(scored.score.surprisal.is_finite() && scored.score.surprisal < f64::MAX, "{offset}: {scored:?}");
    }
}
