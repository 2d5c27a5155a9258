//! How much of a bare client's throughput is left, on the same topic of a real broker, in the same run.
//!
//! An event is a JSON object of eight numbers. *Bare* is a plain rdkafka loop that reads every event and writes one 100-byte record for
//! it, in transactions of about 100 ms. *Stream* is our stream in place of the client, with nothing decoded. *Surprisal* is the whole
//! program: decoding, a mixture of eight components, calibration, scores and snapshots. Rates are from the end of the first
//! transaction to the end of the last. `EVENTS` sets how many events, `ROUNDS` how often each is run, in turn.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{ClientConfig, Message, Offset as KafkaOffset, TopicPartitionList};
use surprisal::codec::json::{JsonDecoder, Limits};
use surprisal::codec::wire::Format;
use surprisal::codec::{Decode, Decoded, Fault};
use surprisal::engine::Learning;
use surprisal::features::{Column, Kind, Rows, Schema};
use surprisal::models::mixture::{Mixture, MixtureConfig};
use surprisal::pipeline::{self, Committed, Pipeline, SystemClock};
use surprisal::record::{Offset, Partition};
use surprisal::stream::kafka::{KafkaStream, Settings, Topics};
use surprisal::stream::{Incoming, Outlet, Stream};
use surprisal::telemetry::Health;

#[path = "support/events.rs"]
mod events;

#[allow(dead_code, missing_docs, reason = "shared with the tests")]
#[path = "../tests/support/broker.rs"]
mod broker;
#[allow(dead_code, missing_docs, reason = "shared with the tests")]
#[path = "../tests/support/topics.rs"]
mod topics;

use events::{COLUMNS, events};

const INTERVAL: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_secs(30);
const RESULT: [u8; 100] = [b'y'; 100];
type BareProducer = ThreadedProducer<DefaultProducerContext>;

/// Takes any bytes for an event.
#[derive(Debug)]
struct Nothing;

impl Decode for Nothing {
    fn decode(&self, payload: &[u8], rows: &mut Rows) -> Result<Decoded, Fault> {
        rows.push_missing().0[0] = payload.len() as f64;
        Ok(Decoded::default())
    }
}

fn main() {
    // `cargo test` only wants to know that it starts; `cargo bench` says so.
    if std::env::args().all(|argument| argument != "--bench") {
        return;
    }
    let number = |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (events, rounds) = (number("EVENTS", 1_000_000), number("ROUNDS", 5));
    let broker = broker::Broker::start();
    let brokers = broker.bootstrap();
    for partitions in [1, 4] {
        let topic = format!("events-{partitions}");
        fill(brokers, &topic, partitions, events);
        let mut rates: [Vec<f64>; 4] = Default::default();
        for round in 0..rounds {
            rates[0].push(bare(brokers, &topic, partitions, events, round));
            rates[1].push(stream(brokers, &topic, events, round));
            rates[2].push(surprisal(brokers, &topic, events, round, Format::Json));
            rates[3].push(surprisal(brokers, &topic, events, round, Format::Protobuf));
        }
        println!("{partitions} partitions, {events} events, {rounds} rounds: median rate, and ratio to bare (least to greatest)");
        for (name, ours) in ["bare", "stream", "surprisal (JSON)", "surprisal (Protobuf)"].iter().zip(&rates) {
            let mut ratios: Vec<f64> = ours.iter().zip(&rates[0]).map(|(ours, bare)| ours / bare).collect();
            ratios.sort_by(f64::total_cmp);
            let (least, greatest) = (ratios[0], ratios[ratios.len() - 1]);
            println!("  {name:<21} {:>9.0}/s   {:.2} ({least:.2} to {greatest:.2})", median(ours), median(&ratios));
        }
    }
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// From the end of the first transaction to the end of the last.
#[derive(Default)]
struct Rate {
    first: Option<(usize, Instant)>,
    last: Option<(usize, Instant)>,
}

impl Rate {
    fn committed(&mut self, seen: usize) {
        self.last = Some((seen, Instant::now()));
        self.first = self.first.or(self.last);
    }

    fn per_second(&self) -> f64 {
        let ((first, from), (last, to)) = self.first.zip(self.last).expect("transactions");
        (last - first) as f64 / (to - from).as_secs_f64()
    }
}

fn fill(brokers: &str, topic: &str, partitions: i32, count: usize) {
    topics::create_topic(brokers, topic, partitions, &[]);
    topics::create_topic(brokers, &format!("{topic}.bare"), partitions, &[]);
    let producer: BareProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("linger.ms", "20")
        .set("queue.buffering.max.messages", "500000")
        .create()
        .expect("a producer");
    for (number, event) in events(count).enumerate() {
        send(&producer, topic, number as i32 % partitions, event.as_bytes());
    }
    producer.flush(LIMIT).expect("all events sent");
}

fn send(producer: &BareProducer, topic: &str, partition: i32, payload: &[u8]) {
    let mut record = BaseRecord::<(), [u8]>::to(topic).partition(partition).payload(payload);
    while let Err((error, back)) = producer.send(record) {
        assert_eq!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
        record = back;
        thread::sleep(Duration::from_millis(1));
    }
}

/// The loop as a careful person writes it by hand, with the settings that we found best. Events per second.
fn bare(brokers: &str, topic: &str, partitions: i32, events: usize, round: usize) -> f64 {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", format!("{topic}-bare-{round}"))
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "earliest")
        .set("fetch.queue.backoff.ms", "5")
        .set("queued.min.messages", "20000")
        .create()
        .expect("a consumer");
    let producer: BareProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("transactional.id", format!("{topic}-bare-{round}"))
        .set("compression.type", "lz4")
        .set("delivery.report.only.error", "true")
        .set("linger.ms", "5")
        .set("queue.buffering.max.messages", "500000")
        .create()
        .expect("a producer");
    let output = format!("{topic}.bare");
    producer.init_transactions(LIMIT).expect("transactions");
    consumer.subscribe(&[topic]).expect("a subscription");
    let mut next = vec![0; partitions as usize];
    let (mut seen, mut rate, mut opened) = (0, Rate::default(), None::<Instant>);
    while seen < events {
        let Some(message) = consumer.poll(Duration::from_millis(10)) else { continue };
        let message = message.expect("a message");
        let opened_at = *opened.get_or_insert_with(|| {
            producer.begin_transaction().expect("a transaction");
            Instant::now()
        });
        send(&producer, &output, message.partition(), &RESULT);
        next[message.partition() as usize] = message.offset() + 1;
        seen += 1;
        if seen == events || seen % 64 == 0 && opened_at.elapsed() > INTERVAL {
            while producer.in_flight_count() > 0 {
                thread::sleep(Duration::from_micros(200));
            }
            let mut offsets = TopicPartitionList::new();
            for (partition, next) in next.iter().enumerate() {
                offsets.add_partition_offset(topic, partition as i32, KafkaOffset::Offset(*next)).expect("an offset");
            }
            let group = consumer.group_metadata().expect("a group");
            producer.send_offsets_to_transaction(&offsets, &group, LIMIT).expect("offsets");
            producer.commit_transaction(LIMIT).expect("a commit");
            rate.committed(seen);
            opened = None;
        }
    }
    rate.per_second()
}

fn settings(brokers: &str, topic: &str, group: &str) -> Settings {
    let topics = Topics {
        events: topic.to_owned(),
        scores: format!("{topic}.scores"),
        posterior: format!("{topic}.posterior"),
        dead_letters: format!("{topic}.dead"),
    };
    Settings::new(brokers, group, "bench", group, topics)
}

/// The whole program's loop. Events per second.
fn surprisal(brokers: &str, topic: &str, events: usize, round: usize, scores_format: Format) -> f64 {
    let column = |index| Column { name: format!("x{index}"), path: vec![format!("x{index}")], kind: Kind::Number };
    let schema = Schema::new((0..COLUMNS).map(column).collect());
    let config = MixtureConfig { components: 8, ..MixtureConfig::default() };
    let model = Mixture::new(&schema, config).expect("a model");
    let group = format!("{topic}-{scores_format:?}-{round}");
    let decoder = Arc::new(JsonDecoder::new(&schema, Limits::default()));
    let stream = KafkaStream::connect(settings(brokers, topic, &group), decoder, COLUMNS).expect("a stream");
    let loop_settings = pipeline::Settings {
        model_id: group,
        topic: topic.into(),
        skip_deleted: false,
        commit_interval: INTERVAL,
        commit_max_events: 100_000,
        snapshot_interval: Duration::from_secs(1),
        archive: pipeline::Archive { snapshots: 0, interval: Duration::ZERO },
        scores_format,
    };
    let pipeline =
        Pipeline::new(model, schema, Learning::default(), loop_settings, stream, SystemClock::default(), Health::default());
    let (mut seen, mut rate) = (0, Rate::default());
    let stop = AtomicBool::new(false);
    let ended = pipeline.expect("a pipeline").run(&stop, &mut |committed: &Committed| {
        if committed.records == 0 {
            return;
        }
        seen += committed.records as usize;
        rate.committed(seen);
        stop.store(seen >= events, Ordering::Relaxed);
    });
    ended.expect("a loop that works");
    rate.per_second()
}

/// The stream, with a loop that does no more than the bare one. Events per second.
fn stream(brokers: &str, topic: &str, events: usize, round: usize) -> f64 {
    let settings = settings(brokers, topic, &format!("{topic}-stream-{round}"));
    let mut stream = KafkaStream::connect(settings, Arc::new(Nothing), 1).expect("a stream");
    let (mut seen, mut rate, mut opened) = (0, Rate::default(), None::<Instant>);
    let mut next: BTreeMap<Partition, Offset> = BTreeMap::new();
    while seen < events {
        match stream.next(Duration::from_millis(10)).expect("a stream that works") {
            Some(Incoming::Assigned(partitions)) => {
                let restored = stream.restore(&partitions).expect("restored");
                let from: Vec<_> =
                    partitions.iter().zip(restored).map(|(partition, known)| (*partition, known.initial)).collect();
                stream.resume(&from).expect("resumed");
            }
            Some(Incoming::Run(run)) => {
                let opened_at = *opened.get_or_insert_with(|| {
                    stream.begin().expect("a transaction");
                    Instant::now()
                });
                for _ in &run.heads {
                    stream.send(Outlet::Scores, run.partition, None, Some(&RESULT)).expect("sent");
                }
                next.insert(run.partition, run.next);
                seen += run.len();
                if seen == events || opened_at.elapsed() > INTERVAL {
                    let consumed: Vec<_> = next.iter().map(|(partition, next)| (*partition, *next)).collect();
                    stream.commit(&consumed).expect("a commit");
                    rate.committed(seen);
                    opened = None;
                }
            }
            _ => {}
        }
    }
    stream.close();
    rate.per_second()
}
