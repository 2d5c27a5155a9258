//! Events that come all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

use crate::events::{self, START_MS};
use crate::log::Record;
use crate::process::LIMIT;

/// One record of so many is no event.
const POISON: u64 = 7;

/// Whether the record `number` is an event.
pub fn is_event(number: u64) -> bool {
    number % POISON != 3
}

/// The record `number`, dealt to `partitions` in turn.
pub type Make = fn(u64, i32) -> Record;

/// Events of a shop, and some records that are none.
pub fn shop(number: u64, partitions: i32) -> Record {
    let record = events::event(number, partitions);
    if is_event(number) { record } else { Record { payload: Some(b"spoilt".to_vec()), timestamp_ms: START_MS, ..record } }
}

/// A thread that produces records at an even rate.
pub struct Feed {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
    brokers: String,
    topic: String,
    partitions: i32,
}

impl Feed {
    pub fn start(brokers: &str, topic: &str, partitions: i32, per_second: f64, make: Make) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("enable.idempotence", "true")
            .set("linger.ms", "5")
            .create()
            .unwrap();
        let (told, to) = (Arc::clone(&stop), topic.to_owned());
        let feed = move || {
            let begun = Instant::now();
            let mut sent = 0;
            while !told.load(Ordering::Relaxed) {
                while (sent as f64) < begun.elapsed().as_secs_f64() * per_second {
                    let record = make(sent, partitions);
                    let mut message =
                        BaseRecord::<[u8], [u8]>::to(&to).partition(record.partition).timestamp(record.timestamp_ms);
                    message.key = record.key.as_deref();
                    message.payload = record.payload.as_deref();
                    producer.send(message).map_err(|(error, _)| error).unwrap();
                    sent += 1;
                }
                thread::sleep(Duration::from_millis(5));
            }
            producer.flush(LIMIT).unwrap();
            sent
        };
        Self { stop, thread: thread::spawn(feed), brokers: brokers.into(), topic: topic.into(), partitions }
    }

    /// Stops and returns how many records the topic has.
    pub fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.thread.join().unwrap();
        let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", &self.brokers).create().unwrap();
        let end = |partition| client.fetch_watermarks(&self.topic, partition, LIMIT).unwrap().1 as u64;
        assert_eq!((0..self.partitions).map(end).sum::<u64>(), sent, "the input is as it was meant to be");
        sent
    }
}
