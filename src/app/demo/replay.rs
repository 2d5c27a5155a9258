//! The bundled data set as a stream of JSON events.

use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use tokio::runtime::Builder;

use crate::app::AppError;
use crate::stream::StreamError;

/// Readings of a space shuttle's radiators: see demo/README.md.
const SHUTTLE: &[u8] = include_bytes!("../../../demo/shuttle.csv.gz");

/// How long a topic may take to be known once it is created.
const SPREAD_LIMIT: Duration = Duration::from_secs(10);

/// Labelled events.
pub(super) struct Data {
    columns: Vec<String>,
    events: Vec<String>,
    anomalous: Vec<bool>,
}

impl Data {
    pub(super) fn bundled() -> Result<Self, AppError> {
        let mut text = String::new();
        GzDecoder::new(SHUTTLE)
            .read_to_string(&mut text)
            .map_err(|source| AppError::System { doing: "unpacking the bundled data", source })?;
        let mut lines = text.lines();
        let mut columns: Vec<String> = lines.next().unwrap_or_default().split(',').map(Into::into).collect();
        columns.pop();
        let (mut events, mut anomalous) = (Vec::new(), Vec::new());
        for line in lines {
            let (cells, label) = line.rsplit_once(',').unwrap_or((line, "0"));
            let fields = columns.iter().zip(cells.split(',')).map(|(name, cell)| format!("\"{name}\":{cell}"));
            events.push(format!("{{{}}}", fields.collect::<Vec<_>>().join(",")));
            anomalous.push(label == "1");
        }
        Ok(Self { columns, events, anomalous })
    }

    pub(super) fn name(&self) -> &'static str {
        "Statlog (Shuttle)"
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Whether the event at an offset of the events topic is an anomaly.
    pub(super) fn is_anomaly(&self, offset: usize) -> bool {
        self.anomalous[offset % self.anomalous.len()]
    }
}

/// Sends a data set, again from its start when it ends.
pub(super) struct Replay<'a> {
    data: &'a Data,
    total: usize,
    sent: usize,
    topic: &'a str,
    producer: ThreadedProducer<DefaultProducerContext>,
}

impl<'a> Replay<'a> {
    pub(super) fn new(data: &'a Data, total: usize, brokers: &str, topic: &'a str) -> Result<Self, AppError> {
        // Idempotence keeps the order, by which events are told apart later.
        let producer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("enable.idempotence", "true")
            .set("linger.ms", "5")
            .create()
            .map_err(failed)?;
        Ok(Self { data, total, sent: 0, topic, producer })
    }

    /// Sends until `count` events are sent, or all.
    pub(super) fn send_up_to(&mut self, count: usize) -> Result<(), AppError> {
        while self.sent < count.min(self.total) {
            let event = &self.data.events[self.sent % self.data.events.len()];
            match self.producer.send(BaseRecord::<(), _>::to(self.topic).partition(0).payload(event)) {
                Ok(()) => self.sent += 1,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    self.producer.flush(Duration::from_secs(10)).map_err(failed)?;
                }
                Err((error, _)) => return Err(failed(error)),
            }
        }
        Ok(())
    }
}

/// Makes the events topic on a real cluster.
pub(super) fn create_topic(brokers: &str, topic: &str) -> Result<(), AppError> {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().map_err(failed)?;
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| AppError::System { doing: "starting the Kafka admin client", source })?;
    let options =
        AdminOptions::new().operation_timeout(Some(Duration::from_secs(10))).request_timeout(Some(Duration::from_secs(10)));
    let topics = [NewTopic::new(topic, 1, TopicReplication::Fixed(-1))];
    let created = runtime.block_on(admin.create_topics(&topics, &options)).map_err(|error| {
        let text = format!("topic `{topic}` can't be created: no Kafka broker answers at {brokers} ({error}); check the address");
        AppError::Stream(StreamError::Stop(text))
    })?;
    for result in created {
        result.map_err(|(topic, code)| {
            AppError::Stream(StreamError::Stop(format!("topic `{topic}` can't be created at {brokers}: {code}")))
        })?;
    }
    await_topic(&admin, topic)
}

/// A topic that was created is known to the brokers a little later.
fn await_topic(admin: &AdminClient<DefaultClientContext>, topic: &str) -> Result<(), AppError> {
    let deadline = Instant::now() + SPREAD_LIMIT;
    loop {
        let metadata = admin.inner().fetch_metadata(Some(topic), SPREAD_LIMIT).map_err(failed)?;
        if metadata.topics().iter().any(|found| found.error().is_none() && !found.partitions().is_empty()) {
            return Ok(());
        }
        if Instant::now() > deadline {
            let text = format!("the topic `{topic}` was created, but isn't known after {SPREAD_LIMIT:?}");
            return Err(AppError::Stream(StreamError::Stop(text)));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

pub(super) fn failed(error: KafkaError) -> AppError {
    AppError::Stream(StreamError::Stop(format!("the demo's own Kafka client: {error}")))
}
