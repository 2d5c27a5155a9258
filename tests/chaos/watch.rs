//! A reader of what is committed, who watches all the time: what it has seen once must stand.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use surprisal::codec::wire::{self, Assembler, Format};

use crate::process::now_ms;

/// A committed score.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    pub offset: i64,
    /// When it was handed to the producer.
    pub written_ms: i64,
    /// When this reader saw it.
    pub seen_ms: i64,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Scores by partition, in the order of the log.
    pub scores: BTreeMap<i32, Vec<Sight>>,
    /// Snapshots by partition: what they cover and when they were handed to the producer.
    pub snapshots: BTreeMap<i32, Vec<(i64, i64)>>,
    /// Chunks of snapshots, and the bytes of the latest whole one.
    pub chunks: usize,
    pub snapshot_bytes: usize,
    /// What must never be seen.
    pub complaints: Vec<String>,
    assembler: Assembler,
}

impl Seen {
    fn score(&mut self, message: &BorrowedMessage<'_>) {
        let scored = wire::decode_score(message.payload().expect("a score"), Format::Json).expect("a score");
        let (partition, offset) = (scored.partition.0, scored.head.offset.0);
        let scores = self.scores.entry(partition).or_default();
        if let Some(before) = scores.last().filter(|before| before.offset >= offset) {
            self.complaints.push(format!("scores of partition {partition} go back from {} to {offset}", before.offset));
        }
        let written_ms = message.timestamp().to_millis().unwrap_or_default();
        scores.push(Sight { offset, written_ms, seen_ms: now_ms() });
    }

    fn chunk(&mut self, message: &BorrowedMessage<'_>) {
        let Some(payload) = message.payload() else { return };
        self.chunks += 1;
        let Some(whole) = self.assembler.push(payload).expect("a chunk") else { return };
        self.snapshot_bytes = whole.len();
        let snapshot = wire::decode_snapshot(&whole).expect("a snapshot");
        let (partition, covers_to) = (snapshot.header.partition.0, snapshot.covers_to.0);
        let snapshots = self.snapshots.entry(partition).or_default();
        if let Some((before, _)) = snapshots.last().filter(|(before, _)| *before > covers_to) {
            self.complaints.push(format!("snapshots of partition {partition} go back from {before} to {covers_to}"));
        }
        snapshots.push((covers_to, message.timestamp().to_millis().unwrap_or_default()));
    }
}

/// The reader, in a thread of its own.
pub struct Watch {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Watch {
    /// Both topics must exist.
    pub fn start(brokers: &str, scores: &str, partitions: i32, posterior: &str) -> Self {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", "watch")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("fetch.wait.max.ms", "10")
            .set("reconnect.backoff.max.ms", "200")
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(scores, partition, Offset::Offset(0)).unwrap();
        }
        list.add_partition_offset(posterior, 0, Offset::Offset(0)).unwrap();
        consumer.assign(&list).unwrap();
        let (seen, stop) = (Arc::<Mutex<Seen>>::default(), Arc::new(AtomicBool::new(false)));
        let (shared, told, scores) = (Arc::clone(&seen), Arc::clone(&stop), scores.to_owned());
        let watch = move || {
            while !told.load(Ordering::Relaxed) {
                // An error says that a broker is away; the client goes on by itself.
                if let Some(Ok(message)) = consumer.poll(Duration::from_millis(5)) {
                    let mut seen = shared.lock().unwrap();
                    if message.topic() == scores { seen.score(&message) } else { seen.chunk(&message) }
                }
            }
        };
        Self { seen, stop, thread: thread::spawn(watch) }
    }

    pub fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock().expect("the reader goes on"))
    }

    pub fn scores(&self) -> usize {
        self.look(|seen| seen.scores.values().map(Vec::len).sum())
    }

    /// When each of `partitions` had a committed score that was handed to the producer at `since_ms` or later.
    pub fn recovered(&self, partitions: i32, since_ms: i64) -> Option<i64> {
        let first = |scores: &Vec<Sight>| {
            scores.iter().rev().take_while(|sight| sight.written_ms >= since_ms).last().map(|sight| sight.seen_ms)
        };
        let all = |seen: &Seen| -> Option<Vec<i64>> { (0..partitions).map(|of| first(seen.scores.get(&of)?)).collect() };
        self.look(all)?.into_iter().max()
    }

    pub fn end(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the reader goes on");
        Arc::into_inner(self.seen).unwrap().into_inner().unwrap()
    }
}
