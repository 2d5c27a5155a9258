//! Events that come all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

use crate::events::{self, START_MS};
use crate::log::Record;
use crate::process::LIMIT;

/// One record of so many is no event.
const POISON: u64 = 7;

/// The payload of a record that is no event.
pub const SPOILT: &[u8] = b"spoilt";

/// Whether the record `number` is an event.
pub fn is_event(number: u64) -> bool {
    number % POISON != 3
}

/// The record `number`, dealt to `partitions` in turn.
pub type Make = fn(u64, i32) -> Record;

/// Events of a shop, and some records that are none.
pub fn shop(number: u64, partitions: i32) -> Record {
    let record = events::event(number, partitions);
    if is_event(number) { record } else { Record { payload: Some(SPOILT.to_vec()), timestamp_ms: START_MS, ..record } }
}

/// A thread that produces records.
pub struct Feed {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: JoinHandle<()>,
    brokers: String,
    topic: String,
    partitions: i32,
}

impl Feed {
    /// Records come at an even rate.
    pub fn start(brokers: &str, topic: &str, partitions: i32, per_second: f64, make: Make) -> Self {
        let begun = Instant::now();
        Self::paced(brokers, topic, partitions, move || (begun.elapsed().as_secs_f64() * per_second) as u64, make)
    }

    /// `due` says how many records are to have come by now.
    pub fn paced(brokers: &str, topic: &str, partitions: i32, due: impl Fn() -> u64 + Send + 'static, make: Make) -> Self {
        let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("enable.idempotence", "true")
            .set("linger.ms", "5")
            .create()
            .unwrap();
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (told, count, to) = (Arc::clone(&stop), Arc::clone(&sent), topic.to_owned());
        let feed = move || {
            let mut number = 0;
            while !told.load(Ordering::Relaxed) {
                let due = due();
                while number < due {
                    send(&producer, &to, &make(number, partitions));
                    number += 1;
                }
                count.store(number, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(5));
            }
            producer.flush(LIMIT).unwrap();
        };
        Self { stop, sent, thread: thread::spawn(feed), brokers: brokers.into(), topic: topic.into(), partitions }
    }

    /// How many records have been sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Stops, and says how many records the topic has: at least those sent. One whose broker died before answering may be there
    /// twice.
    pub fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        let sent = self.sent.load(Ordering::Relaxed);
        let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", &self.brokers).create().unwrap();
        let end = |partition| client.fetch_watermarks(&self.topic, partition, LIMIT).unwrap().1 as u64;
        let there = (0..self.partitions).map(end).sum();
        assert!(there >= sent, "{there} records of {sent} that were sent");
        there
    }
}

/// Hands a record to the producer, as soon as this has room for it.
fn send(producer: &ThreadedProducer<DefaultProducerContext>, topic: &str, record: &Record) {
    let mut message = BaseRecord::<[u8], [u8]>::to(topic).partition(record.partition).timestamp(record.timestamp_ms);
    message.key = record.key.as_deref();
    message.payload = record.payload.as_deref();
    while let Err((error, back)) = producer.send(message) {
        assert_eq!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
        message = back;
        thread::sleep(Duration::from_millis(1));
    }
}
