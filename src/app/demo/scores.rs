//! The scores as any reader of the topic sees them.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use super::replay::failed;
use crate::app::AppError;
use crate::codec::wire::{self, Format};

/// Reads committed scores.
pub(super) struct ScoreReader {
    consumer: BaseConsumer,
    topic: String,
    assigned: bool,
    surprisals: Vec<f64>,
    offsets: Vec<usize>,
}

impl ScoreReader {
    pub(super) fn open(brokers: &str, topic: &str) -> Result<Self, AppError> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", topic)
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("fetch.queue.backoff.ms", "5")
            .set("fetch.wait.max.ms", "50")
            .create()
            .map_err(failed)?;
        Ok(Self { consumer, topic: topic.into(), assigned: false, surprisals: Vec::new(), offsets: Vec::new() })
    }

    /// Scores read so far.
    pub(super) fn len(&self) -> usize {
        self.surprisals.len()
    }

    /// Reads what comes within `wait`.
    pub(super) fn poll(&mut self, wait: Duration) -> Result<(), AppError> {
        if !self.assigned {
            // On a real cluster the service makes the topic, so it may take a moment to be there.
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(&self.topic, 0, Offset::Offset(0)).map_err(failed)?;
            self.consumer.assign(&list).map_err(failed)?;
            self.assigned = true;
        }
        let deadline = Instant::now() + wait;
        while let Some(message) = self.consumer.poll(deadline.saturating_duration_since(Instant::now())) {
            match message {
                Ok(message) => {
                    let scored = wire::decode_score(message.payload().unwrap_or_default(), Format::Json)?;
                    self.surprisals.push(scored.score.surprisal);
                    self.offsets.push(scored.head.offset.0 as usize);
                }
                Err(KafkaError::MessageConsumption(rdkafka::error::RDKafkaErrorCode::UnknownTopicOrPartition)) => {
                    self.assigned = false
                }
                Err(error) => tracing::debug!("reading scores: {error}"),
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        Ok(())
    }

    /// Surprisals, and the offsets of their events.
    pub(super) fn into_scores(self) -> (Vec<f64>, Vec<usize>) {
        (self.surprisals, self.offsets)
    }
}
