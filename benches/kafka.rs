//! How much of a bare client's throughput is left: the Kafka stream beside a plain rdkafka loop, on the same topic of a real broker.
//!
//! Both read every event and write one 100-byte record for it, in transactions of about 100 ms. `EVENTS` sets how many.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{ClientConfig, Message, Offset as KafkaOffset, TopicPartitionList};
use surprisal::codec::{Decode, Decoded, Fault};
use surprisal::features::Rows;
use surprisal::record::{Offset, Partition};
use surprisal::stream::kafka::{KafkaStream, Settings, Topics};
use surprisal::stream::{Incoming, Outlet, Stream};

#[allow(dead_code, missing_docs, reason = "shared with the tests")]
#[path = "../tests/support/broker.rs"]
mod broker;
#[allow(dead_code, missing_docs, reason = "shared with the tests")]
#[path = "../tests/support/topics.rs"]
mod topics;

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
    let events: usize = std::env::var("EVENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let broker = broker::Broker::start();
    for partitions in [1, 4] {
        let topic = format!("events-{partitions}");
        fill(broker.bootstrap(), &topic, partitions, events);
        for round in 1..=3 {
            let bare = bare(broker.bootstrap(), &topic, partitions, events, round);
            let ours = ours(broker.bootstrap(), &topic, events, round);
            println!(
                "{partitions} partitions, {events} events: bare loop {bare:>9.0}/s, stream {ours:>9.0}/s, ratio {:.2}",
                ours / bare
            );
        }
    }
}

fn fill(brokers: &str, topic: &str, partitions: i32, events: usize) {
    topics::create_topic(brokers, topic, partitions, &[]);
    topics::create_topic(brokers, &format!("{topic}.bare"), partitions, &[]);
    let producer: BareProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("linger.ms", "20")
        .set("queue.buffering.max.messages", "500000")
        .create()
        .expect("a producer");
    for number in 0..events {
        let (amount, merchant, card) = (number as f64 / 7.0, number % 777, number % 9_999);
        let event =
            format!(r#"{{"sequence":{number:010},"amount":{amount:010.2},"merchant":"m{merchant:05}","card":"c{card:08}"}}"#);
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
        .set("linger.ms", "5")
        .set("queue.buffering.max.messages", "500000")
        .create()
        .expect("a producer");
    let output = format!("{topic}.bare");
    producer.init_transactions(LIMIT).expect("transactions");
    consumer.subscribe(&[topic]).expect("a subscription");
    let mut next = vec![0; partitions as usize];
    let (mut seen, mut begun, mut opened) = (0, None, None::<Instant>);
    while seen < events {
        let Some(message) = consumer.poll(Duration::from_millis(10)) else { continue };
        let message = message.expect("a message");
        begun.get_or_insert_with(Instant::now);
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
            opened = None;
        }
    }
    events as f64 / begun.expect("events").elapsed().as_secs_f64()
}

/// The stream, with a loop that does no more than the bare one. Events per second.
fn ours(brokers: &str, topic: &str, events: usize, round: usize) -> f64 {
    let topics = Topics {
        events: topic.to_owned(),
        scores: format!("{topic}.scores"),
        posterior: format!("{topic}.posterior"),
        dead_letters: format!("{topic}.dead"),
    };
    let settings = Settings::new(brokers, &format!("{topic}-{round}"), "bench", "bench", topics);
    let mut stream = KafkaStream::connect(settings, Arc::new(Nothing), 1).expect("a stream");
    let (mut seen, mut begun, mut opened) = (0, None, None::<Instant>);
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
                begun.get_or_insert_with(Instant::now);
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
                    opened = None;
                }
            }
            _ => {}
        }
    }
    let rate = events as f64 / begun.expect("events").elapsed().as_secs_f64();
    stream.close();
    rate
}
