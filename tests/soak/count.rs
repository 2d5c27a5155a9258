//! A reader of what is committed, all the time and in constant memory: answers come in the order of their records, so it is known which
//! is next.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use surprisal::codec::wire::{self, Format};

use crate::tally::Tally;

/// The reader, in a thread of its own.
pub struct Count {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

struct Shared {
    tally: Mutex<Tally>,
    /// When the latest answer was handed to the producer.
    written_ms: AtomicI64,
    stop: AtomicBool,
}

impl Count {
    /// Both topics must exist, and have `partitions` partitions.
    pub fn start(brokers: &str, scores: &str, dead_letters: &str, tally: Tally) -> Self {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", "count")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        for topic in [scores, dead_letters] {
            for partition in 0..tally.partitions() {
                list.add_partition_offset(topic, partition, Offset::Offset(0)).unwrap();
            }
        }
        consumer.assign(&list).unwrap();
        let shared = Arc::new(Shared { tally: Mutex::new(tally), written_ms: AtomicI64::new(0), stop: AtomicBool::new(false) });
        let (own, scores) = (Arc::clone(&shared), scores.to_owned());
        let count = move || {
            while !own.stop.load(Ordering::Relaxed) {
                let Some(Ok(message)) = consumer.poll(Duration::from_millis(5)) else { continue };
                let payload = message.payload().expect("an answer");
                let is_score = message.topic() == scores;
                let (partition, offset) = if is_score {
                    let scored = wire::decode_score(payload, Format::Protobuf).expect("a score");
                    (scored.partition, scored.head.offset)
                } else {
                    let letter = wire::decode_dead_letter(payload).expect("a dead letter");
                    (letter.partition, letter.dead.head.offset)
                };
                own.tally.lock().unwrap().take(is_score, partition.0, offset.0);
                own.written_ms.store(message.timestamp().to_millis().unwrap_or_default(), Ordering::Relaxed);
            }
        };
        Self { shared, thread: thread::spawn(count) }
    }

    /// Records that have had their answer.
    pub fn answered(&self) -> u64 {
        self.shared.tally.lock().expect("the reader goes on").answered
    }

    /// Whether an answer was seen that was handed to the producer at `since_ms` or later.
    pub fn has_seen(&self, since_ms: i64) -> bool {
        self.shared.written_ms.load(Ordering::Relaxed) >= since_ms
    }

    /// What was counted, of `sent` records.
    pub fn end(self, sent: u64) -> Tally {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the reader goes on");
        let mut tally = Arc::into_inner(self.shared).unwrap().tally.into_inner().unwrap();
        tally.close(sent);
        tally
    }
}
