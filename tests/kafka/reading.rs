//! Events on their way in: a slow loop bounds what is buffered, poison comes with its bytes and its reason, a group begins where it
//! is told to, and what the log no longer has is not skipped in silence.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use surprisal::record::{Offset, Partition, Reason};
use surprisal::stream::kafka::Start;
use surprisal::stream::{Incoming, Stream, StreamError};

use crate::copier::{Copier, LIMIT, WAIT, fill, produce, settings};
use crate::support::broker::Broker;
use crate::support::topics::{create_topic, delete_before};

#[test]
fn a_slow_loop_bounds_what_is_buffered_and_misses_nothing() {
    let brokers = Broker::shared().bootstrap();
    let (partitions, events, most) = (2, 200_000, 4_096);
    fill(brokers, "backlog", partitions, events);
    let mut settings = settings(brokers, "backlog", "a");
    settings.max_buffered_records = most;
    let mut copier = Copier::connect(settings);
    let bound = most + 1024 * partitions as usize;
    let mut next = BTreeMap::from([(Partition(0), Offset(0)), (Partition(1), Offset(0))]);
    let (mut seen, mut reached, mut pauses) = (0, 0, 0);
    while seen < events {
        let run = copier.run();
        assert_eq!(run.from, next[&run.partition], "no record is skipped, none comes twice");
        let expected: Vec<f64> = run.heads.iter().map(|head| (head.offset.0 * 2 + i64::from(run.partition.0)) as f64).collect();
        assert_eq!(run.events().cells(), expected);
        next.insert(run.partition, run.next);
        seen += run.len();
        reached = reached.max(copier.stream.buffered_records() + run.len());
        if pauses < 3 && seen > pauses * 50_000 {
            pauses += 1;
            hold_still(&copier, most, bound);
        }
    }
    assert_eq!(seen, events);
    assert!(reached >= most, "the bound was reached");
}

/// Takes nothing until the buffer is full, or half full and paused, and then for long enough that it is paused.
fn hold_still(copier: &Copier, most: usize, bound: usize) {
    let (full_by, still_until) = (Instant::now() + LIMIT, Instant::now() + Duration::from_millis(600));
    while copier.stream.buffered_records() < most / 2 || Instant::now() < still_until {
        let buffered = copier.stream.buffered_records();
        assert!(buffered <= bound, "{buffered} records are buffered, {most} are allowed");
        assert!(Instant::now() < full_by, "the buffer doesn't fill");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A partition that is ordered meanwhile, as after a rebalance or an abort, is not read without end.
#[test]
fn an_order_while_reading_is_paused_waits_for_room() {
    let brokers = Broker::shared().bootstrap();
    let (partitions, events, most) = (2, 100_000, 4_096);
    fill(brokers, "ordered", partitions, events);
    let mut settings = settings(brokers, "ordered", "a");
    settings.max_buffered_records = most;
    let mut copier = Copier::connect(settings);
    let bound = most + 1024 * partitions as usize;
    let mut next = BTreeMap::from([(Partition(0), Offset(0)), (Partition(1), Offset(0))]);
    let mut seen = 0;
    while seen < events {
        let run = copier.run();
        assert_eq!(run.from, next[&run.partition], "no record is skipped, none comes twice");
        seen += run.len();
        next.insert(run.partition, run.next);
        if seen == run.len() {
            hold_still(&copier, most, bound);
            copier.stream.resume(&[(run.partition, run.next)]).unwrap();
            hold_still(&copier, most, bound);
        }
    }
    assert_eq!(seen, events);
}

#[test]
fn poison_is_handed_on_with_its_bytes_and_its_reason() {
    let brokers = Broker::shared().bootstrap();
    create_topic(brokers, "poison", 1, &[("max.message.bytes", "12000000")]);
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", brokers).set("message.max.bytes", "12000000").create().unwrap();
    let huge = vec![b'x'; 10_000_000];
    let long_key = vec![b'k'; 100_000];
    for (key, payload) in [(None, &b"1"[..]), (None, b"?"), (None, &huge), (Some(&long_key), b"2"), (None, b"3")] {
        let mut record = BaseRecord::<[u8], [u8]>::to("poison").payload(payload);
        record.key = key.map(Vec::as_slice);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(LIMIT).unwrap();
    let mut copier = Copier::connect(settings(brokers, "poison", "a"));
    let (mut events, mut dead) = (Vec::new(), Vec::new());
    while events.len() + dead.len() < 5 {
        let run = copier.run();
        events.extend(run.events().cells().iter().copied());
        dead.extend(run.dead);
    }
    assert_eq!(events, [1.0, 3.0]);
    let about: Vec<_> = dead.iter().map(|dead| (dead.head.offset.0, dead.reason, dead.payload_bytes)).collect();
    assert_eq!(about, [(1, Reason::InvalidJson, 1), (2, Reason::InvalidJson, 10_000_000), (3, Reason::TooLarge, 1)]);
    assert_eq!(dead[0].payload, b"?");
    assert!(dead[1].payload.len() < 1_000_000 && dead[1].payload.len() > 900_000, "cut at what a message may hold");
}

#[test]
fn a_group_that_begins_at_the_end_begins_with_what_comes_then() {
    let brokers = Broker::shared().bootstrap();
    fill(brokers, "latest", 1, 50);
    let mut settings = settings(brokers, "latest", "a");
    settings.start = Start::Latest;
    let mut copier = Copier::connect(settings);
    while copier.next.is_empty() {
        let incoming = copier.stream.next(WAIT).unwrap();
        assert!(incoming.and_then(|incoming| copier.handle(incoming)).is_none());
    }
    produce(brokers, "latest", 1, 50..60);
    assert_eq!(copier.run().from, Offset(50));
    // Statistics come once a second; then the lag is what hasn't been handed out.
    let deadline = Instant::now() + LIMIT;
    while copier.stream.lag() != Some(0) {
        assert!(Instant::now() < deadline, "the lag is {:?}", copier.stream.lag());
        let incoming = copier.stream.next(WAIT).unwrap();
        incoming.and_then(|incoming| copier.handle(incoming));
    }
}

#[test]
fn what_the_log_no_longer_has_is_not_skipped_in_silence() {
    let brokers = Broker::shared().bootstrap();
    fill(brokers, "truncated", 1, 100);
    delete_before(brokers, "truncated", 0, 30);
    let mut copier = Copier::connect(settings(brokers, "truncated", "a"));
    let run = copier.run();
    assert_eq!(run.from, Offset(30), "a new group begins at the first record that there is");
    let restored = copier.stream.restore(&[Partition(0)]).unwrap();
    assert_eq!((restored[0].earliest, restored[0].initial), (Offset(30), Offset(30)));
    copier.stream.resume(&[(Partition(0), Offset(10))]).unwrap();
    let deadline = Instant::now() + LIMIT;
    let error = loop {
        assert!(Instant::now() < deadline, "nothing is said");
        match copier.stream.next(WAIT) {
            Ok(Some(Incoming::Run(run))) => assert!(run.from < Offset(10), "{run:?}"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, StreamError::Restore(text) if text.contains("no longer in the log")), "{error}");
}
