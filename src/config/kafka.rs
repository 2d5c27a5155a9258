//! `[kafka]`: where events come from and results go.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::error::{Fault, Source};
use super::properties::{Property, Secret, is_secret, refusal};
use super::{Environment, values};
use crate::codec::json::Limits;

/// `[kafka]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct KafkaConfig {
    /// Where the cluster is met first: `host:port`, separated by commas. Default: `localhost:9092`.
    #[serde(deserialize_with = "values::brokers")]
    pub brokers: String,
    /// The consumer group, whose instances share the partitions. Default: `surprisal-<model id>`.
    #[serde(deserialize_with = "values::filled")]
    pub group: String,
    /// Tells this instance from the others of its group, across restarts. Default: the host's name.
    #[serde(deserialize_with = "values::filled")]
    pub instance: String,
    /// Topic that events come from. Default: `events`.
    #[serde(deserialize_with = "values::topic")]
    pub events: String,
    /// Topic that scores go to. Default: `surprisal.scores`.
    #[serde(deserialize_with = "values::topic")]
    pub scores: String,
    /// Compacted topic that snapshots of the posterior go to. Default: `surprisal.posterior`.
    #[serde(deserialize_with = "values::topic")]
    pub posterior: String,
    /// Topic that records which can't be scored go to. Default: `surprisal.dead-letters`.
    #[serde(deserialize_with = "values::topic")]
    pub dead_letters: String,
    /// Where a partition begins that the group has not read before. Default: `earliest`.
    pub start: Start,
    /// What to do about events that retention has deleted before they were scored. Default: `stop`.
    pub deleted_events: DeletedEvents,
    /// Whether the group keeps the instance's partitions for it while it restarts. Default: false.
    pub static_membership: bool,
    /// Longest time that a record waits for its commit, 1 to 60,000 ms. Default: 100 ms.
    #[serde(rename = "commit_interval_ms", deserialize_with = "values::milliseconds::<_, 1, 60_000>")]
    pub commit_interval: Duration,
    /// Records in a transaction at most, 1 to 1,000,000. Default: 16384.
    #[serde(deserialize_with = "values::whole::<_, 1, 1_000_000>")]
    pub commit_max_events: usize,
    /// Longest time between two snapshots of evidence that changes, 1 to 3,600,000 ms. Default: 1000 ms.
    #[serde(rename = "snapshot_interval_ms", deserialize_with = "values::milliseconds::<_, 1, 3_600_000>")]
    pub snapshot_interval: Duration,
    /// Earlier snapshots of a partition that are kept, 0 to 1000. Default: 7.
    #[serde(deserialize_with = "values::whole::<_, 0, 1000>")]
    pub archived_snapshots: usize,
    /// Shortest time between two snapshots that are kept, 1 to 2,678,400,000 ms. Default: 86,400,000 ms.
    #[serde(rename = "archive_interval_ms", deserialize_with = "values::milliseconds::<_, 1, 2_678_400_000>")]
    pub archive_interval: Duration,
    /// Time after which the broker aborts a silent instance's transaction, 1000 to 900,000 ms. Default: 10,000 ms.
    #[serde(rename = "transaction_timeout_ms", deserialize_with = "values::milliseconds::<_, 1000, 900_000>")]
    pub transaction_timeout: Duration,
    /// Time after which the group gives a silent instance's partitions to others, 1000 to 300,000 ms. Default: 15,000 ms.
    #[serde(rename = "session_timeout_ms", deserialize_with = "values::milliseconds::<_, 1000, 300_000>")]
    pub session_timeout: Duration,
    /// How scores are written. Default: `json`.
    pub scores_format: ScoresFormat,
    /// Whether result topics that don't exist are created. Default: true.
    pub create_topics: bool,
    /// Copies of a created topic's data; -1 for the broker's default. Default: -1.
    #[serde(deserialize_with = "values::replication")]
    pub replication_factor: i32,
    /// Bytes of an event at most, 1 to 104,857,600; larger ones are dead letters. Default: 1,048,576.
    #[serde(deserialize_with = "values::whole::<_, 1, 104_857_600>")]
    pub max_event_bytes: usize,
    /// Objects and arrays within each other at most, 1 to 127; deeper events are dead letters. Default: 64.
    #[serde(deserialize_with = "values::whole::<_, 1, 127>")]
    pub max_depth: usize,
    /// `[kafka.properties]`: further properties of the client, by their own names.
    pub properties: BTreeMap<String, Property>,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        let Limits { max_bytes, max_depth } = Limits::default();
        Self {
            brokers: "localhost:9092".into(),
            // These two depend on other values; `complete` fills them in.
            group: String::new(),
            instance: String::new(),
            events: "events".into(),
            scores: "surprisal.scores".into(),
            posterior: "surprisal.posterior".into(),
            dead_letters: "surprisal.dead-letters".into(),
            start: Start::default(),
            deleted_events: DeletedEvents::default(),
            static_membership: false,
            commit_interval: Duration::from_millis(100),
            commit_max_events: 16_384,
            snapshot_interval: Duration::from_secs(1),
            archived_snapshots: 7,
            archive_interval: Duration::from_secs(86_400),
            transaction_timeout: Duration::from_secs(10),
            session_timeout: Duration::from_secs(15),
            scores_format: ScoresFormat::default(),
            create_topics: true,
            replication_factor: -1,
            max_event_bytes: max_bytes,
            max_depth,
            properties: BTreeMap::new(),
        }
    }
}

/// Where a partition begins that the group has not read before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// At the first record that the log still has.
    #[default]
    Earliest,
    /// Behind the last record.
    Latest,
}

/// What to do about events that are gone from the log before they were scored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeletedEvents {
    /// Stop: a gap is for a person to decide about.
    #[default]
    Stop,
    /// Go on from the first that is left, and say how many are missing.
    Skip,
}

/// How scores are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScoresFormat {
    /// A JSON object a score.
    #[default]
    Json,
    /// `surprisal.v1.Score` of the wire contract.
    Protobuf,
}

impl KafkaConfig {
    /// The properties that are handed to the client, secrets in the clear.
    pub fn client_properties(&self) -> impl Iterator<Item = (&str, &str)> {
        self.properties.iter().filter_map(|(name, property)| Some((name.as_str(), property.expose()?)))
    }

    /// Fills in what depends on other values and the environment, and checks what takes several values to see.
    pub(super) fn complete(&mut self, model: &str, source: &Source<'_>, environment: &Environment<'_>) -> Result<(), Fault> {
        if self.group.is_empty() {
            self.group = format!("surprisal-{model}");
        }
        if self.instance.is_empty() {
            self.instance.clone_from(&environment.host);
        }
        self.check_topics(source)?;
        if self.commit_interval >= self.transaction_timeout {
            let (interval, timeout) = (self.commit_interval.as_millis(), self.transaction_timeout.as_millis());
            let span = ["commit_interval_ms", "transaction_timeout_ms"].iter().find_map(|key| source.span(&["kafka", key]));
            let message = format!("commit_interval_ms = {interval} reaches transaction_timeout_ms = {timeout}");
            return Err(Fault::new(span, message, "transactions have to end well before they time out: lower the interval"));
        }
        for (name, property) in &mut self.properties {
            let span = || source.span(&["kafka", "properties", name]);
            if let Some(reason) = refusal(name) {
                return Err(Fault::new(span(), format!("the property {name:?} can't be set here"), reason));
            }
            match property {
                Property::Plain(_) if is_secret(name) => {
                    let message = format!("the property {name:?} is a secret, which doesn't belong in a file");
                    let help = format!("name an environment variable that holds it: {name:?} = {{ env = \"KAFKA_SECRET\" }}");
                    return Err(Fault::new(span(), message, help));
                }
                Property::Variable(variable) => {
                    let Some(lookup) = environment.variable else { continue };
                    let Some(value) = lookup(variable).filter(|value| !value.is_empty()) else {
                        let message = format!("the environment variable {variable:?} is not set, or empty");
                        return Err(Fault::new(span(), message, format!("set it to the value of the property {name:?}")));
                    };
                    *property = Property::Secret(Secret::new(value));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A topic has one use: scores among the events would be scored in turn.
    fn check_topics(&self, source: &Source<'_>) -> Result<(), Fault> {
        let topics = [
            ("events", &self.events),
            ("scores", &self.scores),
            ("posterior", &self.posterior),
            ("dead_letters", &self.dead_letters),
        ];
        for (index, (key, topic)) in topics.iter().enumerate() {
            if let Some((other, _)) = topics[..index].iter().find(|(_, other)| other == topic) {
                let span = source.span(&["kafka", key]).or_else(|| source.span(&["kafka", other]));
                let message = format!("`{other}` and `{key}` are the same topic, {topic:?}");
                return Err(Fault::new(span, message, "give each a topic of its own"));
            }
        }
        Ok(())
    }
}
