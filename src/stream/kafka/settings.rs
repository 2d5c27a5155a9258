//! What a Kafka stream is told to do, and the client properties that follow from it.
//!
//! Owns the properties that exactly-once rests on: a user can pass any other through, but none of these.

use std::fmt;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::stream::{Outlet, StreamError};

/// Where a consumer group that has committed nothing begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record that is still in the log.
    Earliest,
    /// At the end of the log: with what comes after the start.
    Latest,
}

/// Names of the topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    /// Events to read. It must exist.
    pub events: String,
    /// Scores, in as many partitions as events, so that an event and its score have the same partition number.
    pub scores: String,
    /// Snapshots: one partition, compacted.
    pub posterior: String,
    /// Records that could not be scored, in as many partitions as events.
    pub dead_letters: String,
}

impl Topics {
    /// The topic of an outlet.
    pub fn of(&self, outlet: Outlet) -> &str {
        match outlet {
            Outlet::Scores => &self.scores,
            Outlet::Posterior => &self.posterior,
            Outlet::DeadLetters => &self.dead_letters,
        }
    }
}

/// A Kafka stream's settings.
#[derive(Clone)]
pub struct Settings {
    /// Brokers to ask first, as `host:port`, separated by commas.
    pub brokers: String,
    /// The consumer group. Instances of one group share the partitions of the events topic.
    pub group: String,
    /// This instance's name, unique in the group and the same after a restart. With the group's it makes the `transactional.id`.
    pub instance: String,
    /// The model whose snapshots are read: their keys are `model_id/partition/chunk`.
    pub model_id: String,
    /// The topics.
    pub topics: Topics,
    /// Where to begin when the group has committed nothing.
    pub start: Start,
    /// How long the brokers may take to answer at the start.
    pub connect_timeout: Duration,
    /// How long an instance may be silent before the group gives its partitions to others. A revoked partition is let go
    /// after two thirds of it, finished or not.
    pub session_timeout: Duration,
    /// Whether the instance's name is its `group.instance.id`: while it restarts, the group keeps its partitions for it.
    pub static_membership: bool,
    /// How long a transaction may stay open. When an instance dies, readers wait for its open transaction this long.
    pub transaction_timeout: Duration,
    /// How long a result may wait for others to share a request.
    pub linger: Duration,
    /// Decoded records that may wait for the loop. Reading stops at this many and goes on below half of it.
    pub max_buffered_records: usize,
    /// Bytes that a message to Kafka may have, key included.
    pub max_message_bytes: usize,
    /// Whether missing topics for results are created.
    pub create_topics: bool,
    /// Whether the topics' configuration is checked. A broker inside the process has none to tell.
    pub check_topics: bool,
    /// Whether events that the log has lost before they were scored are passed over: then the events topic may be compacted.
    pub skip_deleted: bool,
    /// Replicas of topics that are created; `None` leaves it to the broker.
    pub replication_factor: Option<i32>,
    /// Any other property of librdkafka, for all clients. These come last, but can't replace the [`RESERVED`] ones.
    pub properties: Vec<(String, String)>,
}

/// Longest time between two heartbeats. By their answers an instance learns that partitions are to change hands, so it is what
/// everybody waits for when one joins or leaves in good order.
const HEARTBEAT_LIMIT: Duration = Duration::from_secs(1);

/// Properties that exactly-once rests on, or that a setting of ours stands for.
pub const RESERVED: [&str; 15] = [
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "isolation.level",
    "message.max.bytes",
    "metadata.broker.list",
    "session.timeout.ms",
    "statistics.interval.ms",
    "transaction.timeout.ms",
    "transactional.id",
];

impl Settings {
    /// Settings with a default where one can exist.
    pub fn new(brokers: &str, group: &str, instance: &str, model_id: &str, topics: Topics) -> Self {
        Self {
            brokers: brokers.into(),
            group: group.into(),
            instance: instance.into(),
            model_id: model_id.into(),
            topics,
            start: Start::Earliest,
            connect_timeout: Duration::from_secs(10),
            session_timeout: Duration::from_secs(15),
            static_membership: false,
            transaction_timeout: Duration::from_secs(10),
            linger: Duration::from_millis(5),
            max_buffered_records: 32_768,
            max_message_bytes: 1_000_000,
            create_topics: true,
            check_topics: true,
            skip_deleted: false,
            replication_factor: None,
            properties: Vec::new(),
        }
    }

    /// The producer's identity: a new one with the same identity fences the older one.
    pub fn transactional_id(&self) -> String {
        format!("{}-{}", self.group, self.instance)
    }

    /// Refuses properties that can't be passed through.
    pub(super) fn check(&self) -> Result<(), StreamError> {
        match self.properties.iter().find(|(name, _)| RESERVED.contains(&name.as_str())) {
            Some((name, value)) => Err(StreamError::Stop(format!(
                "the Kafka property `{name} = {value}` can't be set: exactly-once rests on it, or another setting stands for it"
            ))),
            None => Ok(()),
        }
    }

    /// Properties of the consumer that shares the events with its group.
    pub(super) fn consumer(&self) -> ClientConfig {
        let mut config = self.reader("read_committed");
        config
            // Every position is set explicitly: one that the log doesn't have is an error to be seen, not a silent jump.
            .set("auto.offset.reset", "error")
            // For `lag`.
            .set("statistics.interval.ms", "1000")
            // Bounds what is fetched ahead, whatever the lag.
            .set("queued.max.messages.kbytes", "65536")
            .set("queued.min.messages", "20000");
        if self.static_membership {
            config.set("group.instance.id", &self.instance);
        }
        // In the newer group protocol the brokers decide these.
        if !self.properties.iter().any(|(name, value)| name == "group.protocol" && value.eq_ignore_ascii_case("consumer")) {
            config
                .set("session.timeout.ms", millis(self.session_timeout))
                .set("heartbeat.interval.ms", millis((self.session_timeout / 5).min(HEARTBEAT_LIMIT)))
                .set("partition.assignment.strategy", "range");
        }
        self.pass_through(config)
    }

    /// Properties of the consumer that reads the posterior topic. It never joins the group.
    pub(super) fn snapshots(&self) -> ClientConfig {
        let mut config = self.reader("read_committed");
        config.set("auto.offset.reset", "earliest").set("queued.max.messages.kbytes", "16384").set("fetch.wait.max.ms", "10");
        self.pass_through(config)
    }

    /// Properties of the client that asks for true ends of partitions: reading uncommitted, these include open transactions.
    pub(super) fn watermarks(&self) -> ClientConfig {
        let mut config = self.reader("read_uncommitted");
        config.remove("group.id");
        self.pass_through(config)
    }

    /// Properties of the transactional producer.
    pub(super) fn producer(&self) -> ClientConfig {
        let mut config = self.client();
        config
            .set("transactional.id", self.transactional_id())
            .set("transaction.timeout.ms", millis(self.transaction_timeout))
            .set("message.max.bytes", self.max_message_bytes.to_string())
            .set("compression.type", "lz4")
            .set("linger.ms", millis(self.linger))
            .set("queue.buffering.max.messages", "500000")
            .set("queue.buffering.max.kbytes", "131072")
            // Success is known from the commit: a report for each message would only cost time.
            .set("delivery.report.only.error", "true");
        self.pass_through(config)
    }

    /// Properties of the client that looks after topics.
    pub(super) fn admin(&self) -> ClientConfig {
        self.pass_through(self.client())
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", format!("surprisal-{}", self.instance))
            // A broker that comes back is found at once.
            .set("reconnect.backoff.ms", "20")
            .set("reconnect.backoff.max.ms", "200")
            .set_log_level(RDKafkaLogLevel::Warning);
        config
    }

    fn reader(&self, isolation: &str) -> ClientConfig {
        let mut config = self.client();
        config
            .set("group.id", &self.group)
            .set("isolation.level", isolation)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // The defaults of 1 s and 500 ms cost most of the throughput once the queue has been full.
            .set("fetch.queue.backoff.ms", "5")
            .set("fetch.wait.max.ms", "50");
        config
    }

    fn pass_through(&self, mut config: ClientConfig) -> ClientConfig {
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config
    }
}

impl fmt::Debug for Settings {
    /// Leaves the properties' values out: there may be passwords among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("brokers", &self.brokers)
            .field("group", &self.group)
            .field("instance", &self.instance)
            .field("model_id", &self.model_id)
            .field("topics", &self.topics)
            .field("start", &self.start)
            .field("properties", &self.properties.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}
