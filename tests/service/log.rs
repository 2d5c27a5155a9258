//! What the broker holds, read with a client of the tests' own: committed messages, scores, dead letters and snapshots.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use surprisal::checkpoint::Data;
use surprisal::codec::wire::{self, Assembler, DeadLetter, Format, Scored, Snapshot};

use crate::process::{LIMIT, eventually};

const WAIT: Duration = Duration::from_millis(20);

/// A record to be produced.
#[derive(Clone, Debug, Default)]
pub struct Record {
    pub partition: i32,
    pub key: Option<Vec<u8>>,
    pub payload: Option<Vec<u8>>,
    pub timestamp_ms: i64,
}

/// Sends `records` and waits until the broker has them. The order within a partition is kept.
pub fn produce<'a>(brokers: &str, topic: &str, records: impl IntoIterator<Item = &'a Record>) {
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("message.max.bytes", "12000000")
        .set("linger.ms", "5")
        .create()
        .unwrap();
    for record in records {
        let mut message = BaseRecord::<[u8], [u8]>::to(topic).partition(record.partition).timestamp(record.timestamp_ms);
        message.key = record.key.as_deref();
        message.payload = record.payload.as_deref();
        producer.send(message).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(LIMIT).unwrap();
}

/// A message that was read.
#[derive(Clone, Debug)]
pub struct Message {
    pub partition: i32,
    pub key: Option<Vec<u8>>,
    pub payload: Option<Vec<u8>>,
}

/// Follows the committed messages of a topic from its beginning.
pub struct Follower {
    consumer: BaseConsumer,
    topic: String,
    pub messages: Vec<Message>,
}

impl Follower {
    /// `topic` must exist.
    pub fn open(brokers: &str, topic: &str) -> Self {
        let consumer = client(brokers, "read_committed");
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions(&consumer, topic) {
            list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&list).unwrap();
        Self { consumer, topic: topic.into(), messages: Vec::new() }
    }

    fn poll(&mut self) {
        let mut next = self.consumer.poll(WAIT);
        while let Some(message) = next {
            // The client says, too, that a broker is away; it goes on by itself.
            let Ok(message) = message else {
                next = self.consumer.poll(WAIT);
                continue;
            };
            self.messages.push(Message {
                partition: message.partition(),
                key: message.key().map(Into::into),
                payload: message.payload().map(Into::into),
            });
            next = self.consumer.poll(Duration::ZERO);
        }
    }

    /// How many messages there are now.
    pub fn count(&mut self) -> usize {
        self.poll();
        self.messages.len()
    }

    /// Reads until there are at least `count` messages.
    #[track_caller]
    pub fn until(&mut self, count: usize) {
        let topic = self.topic.clone();
        eventually(&format!("{count} messages in {topic}"), || {
            self.poll();
            (self.messages.len() >= count).then_some(())
        });
    }

    /// Reads to the end as it is now, open transactions included.
    #[track_caller]
    pub fn into_end(mut self, brokers: &str) -> Vec<Message> {
        let ends = client(brokers, "read_uncommitted");
        let assigned = self.consumer.assignment().unwrap();
        let highs: BTreeMap<i32, i64> = assigned
            .elements()
            .iter()
            .map(|of| (of.partition(), ends.fetch_watermarks(&self.topic, of.partition(), LIMIT).unwrap().1))
            .collect();
        let topic = self.topic.clone();
        eventually(&format!("the end of {topic}"), || {
            self.poll();
            let position = self.consumer.position().unwrap();
            let read = |partition| match position.find_partition(&topic, partition).unwrap().offset() {
                Offset::Offset(offset) => offset,
                _ => 0,
            };
            highs.iter().all(|(partition, high)| read(*partition) >= *high).then_some(())
        });
        self.messages
    }
}

fn client(brokers: &str, isolation: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "reader")
        .set("enable.auto.commit", "false")
        .set("isolation.level", isolation)
        .set("fetch.wait.max.ms", "20")
        .create()
        .unwrap()
}

/// How many partitions a topic has. One that was just created is known a little later.
fn partitions(client: &BaseConsumer, topic: &str) -> i32 {
    eventually(&format!("{topic} is known"), || {
        let metadata = client.fetch_metadata(Some(topic), LIMIT).ok()?;
        metadata.topics().iter().find(|found| found.error().is_none()).map(|found| found.partitions().len() as i32)
    })
}

/// Waits until the broker knows a topic that was created.
pub fn await_topic(brokers: &str, topic: &str) {
    partitions(&client(brokers, "read_committed"), topic);
}

/// All committed messages of a topic.
pub fn committed(brokers: &str, topic: &str) -> Vec<Message> {
    Follower::open(brokers, topic).into_end(brokers)
}

/// The committed scores by partition and offset of their events. Each stands once, in its event's partition, in order.
#[track_caller]
pub fn scores(brokers: &str, topic: &str, format: Format) -> BTreeMap<(i32, i64), Scored> {
    let mut scores = BTreeMap::new();
    let mut last = BTreeMap::new();
    for message in committed(brokers, topic) {
        let scored = wire::decode_score(&message.payload.expect("a score"), format).expect("a score");
        assert_eq!(scored.partition.0, message.partition, "a score stands in its event's partition");
        assert_eq!(scored.head.key.as_deref(), message.key.as_deref(), "a score has its event's key");
        let before = last.insert(message.partition, scored.head.offset);
        assert!(before < Some(scored.head.offset), "scores are in order and stand once: {before:?}, then {scored:?}");
        scores.insert((message.partition, scored.head.offset.0), scored);
    }
    scores
}

/// The committed dead letters, in order.
pub fn dead_letters(brokers: &str, topic: &str) -> Vec<DeadLetter> {
    let decode = |message: Message| {
        let letter = wire::decode_dead_letter(&message.payload.expect("a letter")).expect("a letter");
        assert_eq!(letter.partition.0, message.partition);
        letter
    };
    committed(brokers, topic).into_iter().map(decode).collect()
}

/// The last committed snapshot of each partition, by the rule of compaction. When it was made is left out, and which
/// earlier ones are kept.
pub fn snapshots(brokers: &str, topic: &str) -> BTreeMap<i32, Snapshot> {
    let mut compacted = BTreeMap::new();
    for message in committed(brokers, topic) {
        let key = message.key.expect("a key");
        if wire::parse_snapshot_key(&key).is_some() {
            compacted.insert(key, message.payload);
        }
    }
    let mut assembler = Assembler::default();
    let mut snapshots = BTreeMap::new();
    for chunk in compacted.into_values().flatten() {
        if let Some(whole) = assembler.push(&chunk).expect("a chunk") {
            let mut snapshot = wire::decode_snapshot(&whole).expect("a snapshot");
            snapshot.header.created_ms = 0;
            snapshot.header.archive.clear();
            snapshots.insert(snapshot.header.partition.0, snapshot);
        }
    }
    assembler.finish().expect("snapshots are whole");
    snapshots
}

/// In what two snapshots differ, bit for bit in their tensors, if they do.
pub fn difference(left: &Snapshot, right: &Snapshot) -> Option<String> {
    let extent = |snapshot: &Snapshot| (snapshot.covers_to, snapshot.events, snapshot.step);
    if extent(left) != extent(right) {
        return Some(format!("offset, events, step: {:?} and {:?}", extent(left), extent(right)));
    }
    for (left, right) in left.tensors.iter().zip(&right.tensors) {
        if let (Data::F64(left_data), Data::F64(right_data)) = (&left.data, &right.data)
            && let Some(at) = left_data.iter().zip(right_data).position(|(left, right)| left.to_bits() != right.to_bits())
        {
            return Some(format!("element {at} of tensor `{}`: {:e} and {:e}", left.name, left_data[at], right_data[at]));
        }
    }
    (left != right).then(|| format!("{left:?} and {right:?}"))
}

/// Asserts that two snapshots say the same, bit for bit in their tensors.
#[track_caller]
pub fn assert_same(left: &Snapshot, right: &Snapshot) {
    assert_eq!(difference(left, right), None);
}
