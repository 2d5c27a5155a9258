//! Records that can't be scored: each lands once among the dead letters, with its reason, and its neighbours are scored.

use surprisal::codec::wire::Format;
use surprisal::record::Reason;

use crate::events::{START_MS, batch};
use crate::log::{Follower, Record, dead_letters, produce, scores};
use crate::process::{Process, eventually};
use crate::setup::Setup;

/// Values that are no events, why, and a part of what is said.
fn poison() -> Vec<(Option<Vec<u8>>, Reason, &'static str)> {
    let text = |text: &str| Some(text.as_bytes().to_vec());
    let deep = format!("{{\"extra\":{}1{}}}", "[".repeat(64), "]".repeat(64));
    vec![
        (text("not json"), Reason::InvalidJson, "not json"),
        (text("{\"amount\":1"), Reason::InvalidJson, "EOF"),
        (text("{\"amount\":NaN}"), Reason::InvalidJson, "NaN"),
        (text("{\"amount\":1e999}"), Reason::OutOfRange, "`amount`"),
        (text("{\"amount\":\"12\"}"), Reason::WrongType, "`amount`"),
        (text("{\"request\":{\"latency_ms\":[1]}}"), Reason::WrongType, "`request.latency_ms`"),
        (text("{\"request\":7}"), Reason::WrongType, "`request`"),
        (text("{\"paid\":1}"), Reason::WrongType, "`paid`"),
        (text("{\"request\":{\"retries\":-1}}"), Reason::OutOfRange, "`request.retries`"),
        (text("{\"request\":{\"retries\":1.5}}"), Reason::OutOfRange, "`request.retries`"),
        (text(&deep), Reason::TooDeep, "64"),
        (Some(b"{\"request\":\"\xff\"}".to_vec()), Reason::InvalidUtf8, "0xff"),
        (Some(Vec::new()), Reason::Empty, "JSON object"),
        (None, Reason::Empty, "JSON object"),
        (text("[{\"amount\":1}]"), Reason::NotAnObject, "JSON object"),
        (text("null"), Reason::NotAnObject, "null"),
        (text(&format!("{{\"extra\":\"{}\"}}", "x".repeat(10_000_000 - 12))), Reason::TooLarge, "10000000"),
    ]
}

#[test]
fn poison_lands_among_the_dead_letters_once_and_its_neighbours_are_scored() {
    let setup = Setup::with("poison", 1, &[("max.message.bytes", "12000000")]);
    let wishes = setup.wishes("poison");
    let poison = poison();
    let good = batch(0..poison.len() as u64 + 1, 1);
    let mut records = vec![good[0].clone()];
    for ((payload, ..), good) in poison.iter().zip(&good[1..]) {
        let offset = records.len() as i64;
        let key = Some(format!("bad-{offset}").into_bytes());
        records.push(Record { partition: 0, key, payload: payload.clone(), timestamp_ms: START_MS - offset });
        records.push(good.clone());
    }
    produce(setup.brokers, &setup.events, &records);
    let mut service = Process::run(&setup.config("poison", &wishes));
    service.await_ready();
    let mut follower = Follower::open(setup.brokers, &wishes.dead_letters());
    follower.until(poison.len());
    Follower::open(setup.brokers, &wishes.scores()).until(good.len());
    let metrics = eventually("all is counted", || {
        Some(service.metrics()).filter(|metrics| metrics["surprisal_events_total"] == good.len() as f64)
    });
    service.stop();

    let letters = dead_letters(setup.brokers, &wishes.dead_letters());
    assert_eq!(letters.len(), poison.len());
    for ((index, letter), (payload, reason, detail)) in letters.iter().enumerate().zip(&poison) {
        let (dead, offset) = (&letter.dead, 2 * index as i64 + 1);
        let payload = payload.as_deref().unwrap_or_default();
        assert_eq!((letter.model_id.as_str(), letter.topic.as_str()), ("model", "poison"));
        assert_eq!(dead.head.offset.0, offset);
        assert_eq!(dead.reason, *reason, "{offset}: {}", dead.detail);
        assert!(dead.detail.contains(detail), "{offset}: {}", dead.detail);
        assert!(dead.detail.len() < 300, "{offset}: a detail fits a line: {}", dead.detail);
        assert_eq!(dead.head.key.as_deref(), Some(format!("bad-{offset}").as_bytes()));
        assert_eq!(dead.head.timestamp_ms, Some(START_MS - offset));
        assert_eq!(dead.payload_bytes, payload.len());
        // All of it, but for what no message may hold.
        let whole = payload.len() < 900_000;
        assert!(if whole { dead.payload == payload } else { payload.starts_with(&dead.payload) && dead.payload.len() > 900_000 });
    }
    let scored: Vec<i64> = scores(setup.brokers, &wishes.scores(), Format::Json).keys().map(|(_, offset)| *offset).collect();
    assert_eq!(scored, (0..=poison.len() as i64).map(|index| 2 * index).collect::<Vec<_>>());
    for reason in Reason::ALL {
        let expected = poison.iter().filter(|(_, of, _)| *of == reason).count();
        assert!(expected > 0, "{reason:?} is tried");
        let counted = metrics[&format!("surprisal_dead_letters_total{{reason=\"{}\"}}", reason.label())];
        assert_eq!(counted, expected as f64, "{reason:?}");
    }
}
