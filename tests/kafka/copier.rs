//! The least that a loop does, a copier of numbers to scores in transactions, with the topics that it reads, and the count of what
//! has become of every number.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset as KafkaOffset, TopicPartitionList};
use surprisal::codec::{Decode, Decoded, Fault};
use surprisal::features::Rows;
use surprisal::record::{Offset, Partition, Reason, Run};
use surprisal::stream::kafka::{KafkaStream, Settings, Topics};
use surprisal::stream::{Incoming, Outlet, Stream, StreamError};

use crate::support::topics::create_topic;

/// How long anything may take before a test counts as hung.
pub const LIMIT: Duration = Duration::from_secs(60);
pub const WAIT: Duration = Duration::from_millis(20);

/// An event is a number in text.
#[derive(Debug)]
pub struct Numbers;

impl Decode for Numbers {
    fn decode(&self, payload: &[u8], rows: &mut Rows) -> Result<Decoded, Fault> {
        let number = std::str::from_utf8(payload).ok().and_then(|text| text.parse::<f64>().ok());
        let number = number.ok_or_else(|| Fault { reason: Reason::InvalidJson, detail: "not a number".into() })?;
        rows.push_missing().0[0] = number;
        Ok(Decoded::default())
    }
}

/// Settings for topics of a test's own.
pub fn settings(brokers: &str, test: &str, instance: &str) -> Settings {
    let topics = Topics {
        events: test.to_owned(),
        scores: format!("{test}.scores"),
        posterior: format!("{test}.posterior"),
        dead_letters: format!("{test}.dead"),
    };
    let mut settings = Settings::new(brokers, test, instance, "model", topics);
    settings.session_timeout = Duration::from_secs(6);
    settings
}

/// A topic with `events` numbers from 0, dealt to its partitions in turn.
pub fn fill(brokers: &str, topic: &str, partitions: i32, events: usize) {
    create_topic(brokers, topic, partitions, &[]);
    produce(brokers, topic, partitions, 0..events);
}

pub fn produce(brokers: &str, topic: &str, partitions: i32, numbers: std::ops::Range<usize>) {
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", brokers).set("linger.ms", "20").create().unwrap();
    for number in numbers {
        let payload = number.to_string();
        let mut record = BaseRecord::<str, str>::to(topic).partition(number as i32 % partitions).payload(&payload);
        while let Err((_, back)) = producer.send(record) {
            record = back;
            producer.poll(Duration::from_millis(1));
        }
    }
    producer.flush(LIMIT).unwrap();
}

/// All committed messages of a topic: partition, payload.
pub fn committed(brokers: &str, topic: &str, partitions: i32) -> Vec<(i32, String)> {
    let client = |isolation: &str| -> BaseConsumer {
        ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", "reader")
            .set("enable.auto.commit", "false")
            .set("isolation.level", isolation)
            .create()
            .unwrap()
    };
    let (ends, reader) = (client("read_uncommitted"), client("read_committed"));
    let mut list = TopicPartitionList::new();
    let mut highs = BTreeMap::new();
    for partition in 0..partitions {
        let (low, high) = ends.fetch_watermarks(topic, partition, LIMIT).unwrap();
        list.add_partition_offset(topic, partition, KafkaOffset::Offset(low)).unwrap();
        if high > low {
            highs.insert(partition, high);
        }
    }
    reader.assign(&list).unwrap();
    let mut found = Vec::new();
    let deadline = Instant::now() + LIMIT;
    let unread = |reader: &BaseConsumer| {
        let position = reader.position().unwrap();
        highs.iter().any(|(partition, high)| match position.find_partition(topic, *partition).unwrap().offset() {
            KafkaOffset::Offset(offset) => offset < *high,
            _ => true,
        })
    };
    while unread(&reader) {
        assert!(Instant::now() < deadline, "the end of {topic} isn't reached");
        if let Some(message) = reader.poll(WAIT) {
            let message = message.unwrap();
            found.push((message.partition(), String::from_utf8(message.payload().unwrap().to_vec()).unwrap()));
        }
    }
    found
}

/// The least that a loop does: it copies numbers to scores, in transactions.
pub struct Copier {
    pub stream: KafkaStream,
    /// The next offset to commit of each partition that is held.
    pub next: BTreeMap<Partition, Offset>,
}

impl Copier {
    pub fn connect(settings: Settings) -> Self {
        let stream = KafkaStream::connect(settings, Arc::new(Numbers), 1).unwrap_or_else(|error| panic!("{error}"));
        Self { stream, next: BTreeMap::new() }
    }

    /// Takes partitions over where the group left them.
    pub fn take_over(&mut self, partitions: &[Partition]) {
        let restored = self.stream.restore(partitions).unwrap();
        let from: Vec<_> =
            partitions.iter().zip(&restored).map(|(of, known)| (*of, known.committed.unwrap_or(known.initial))).collect();
        self.next.extend(from.iter().copied());
        self.stream.resume(&from).unwrap();
    }

    /// Lets the stream have what isn't a run done.
    pub fn handle(&mut self, incoming: Incoming) -> Option<Run> {
        match incoming {
            Incoming::Run(run) => return Some(run),
            Incoming::Assigned(partitions) => self.take_over(&partitions),
            Incoming::Revoked(partitions) => {
                self.next.retain(|partition, _| !partitions.contains(partition));
                self.stream.released(&partitions);
            }
            Incoming::Lost(partitions) => self.next.retain(|partition, _| !partitions.contains(partition)),
            Incoming::Snapshot(_) => {}
        }
        None
    }

    pub fn run(&mut self) -> Run {
        let deadline = Instant::now() + LIMIT;
        while Instant::now() < deadline {
            if let Some(incoming) = self.stream.next(WAIT).unwrap()
                && let Some(run) = self.handle(incoming)
            {
                return run;
            }
        }
        panic!("no run within {LIMIT:?}")
    }

    /// Begins a transaction and sends the run's numbers.
    pub fn send(&mut self, run: &Run) {
        self.stream.begin().unwrap();
        assert_eq!(run.from, run.heads[0].offset);
        for cell in run.events().cells() {
            self.stream.send(Outlet::Scores, run.partition, None, Some(cell.to_string().as_bytes())).unwrap();
        }
    }

    pub fn commit(&mut self, run: &Run) -> Result<(), StreamError> {
        self.stream.commit(&[(run.partition, run.next)])?;
        self.next.insert(run.partition, run.next);
        Ok(())
    }

    /// Starts over from what the log knows.
    pub fn restart(&mut self) {
        self.next.clear();
        self.stream.restart().unwrap();
    }

    /// Aborts and goes back to what was committed. Of a transaction that the brokers have given up meanwhile, only the log knows.
    pub fn rewind(&mut self) {
        if let Err(StreamError::Restore(_)) = self.stream.abort() {
            return self.restart();
        }
        let from: Vec<_> = self.next.iter().map(|(partition, offset)| (*partition, *offset)).collect();
        self.stream.resume(&from).unwrap();
    }
}

/// Numbers `0..events`, each once and in the partition that it came from.
pub fn expect_each_once(found: &[(i32, String)], partitions: i32, events: usize) {
    let mut numbers: Vec<usize> = found.iter().map(|(_, text)| text.parse().unwrap()).collect();
    for ((partition, _), number) in found.iter().zip(&numbers) {
        assert_eq!(*partition, *number as i32 % partitions, "a score keeps its event's partition");
    }
    numbers.sort_unstable();
    let distinct: BTreeSet<usize> = numbers.iter().copied().collect();
    assert_eq!((numbers.len(), distinct.len()), (events, events), "scores and distinct scores");
    assert_eq!(distinct.last(), Some(&(events - 1)));
}
