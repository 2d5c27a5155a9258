//! What lies further back: archived snapshots, offsets by time, and scores that were published. Read by clients that are made for it,
//! outside the group.

use std::time::Instant;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, Offset as KafkaOffset, TopicPartitionList};

use super::client::Plain;
use super::restore::{self, WAIT};
use super::{KafkaStream, fault, topics};
use crate::codec::wire::{self, Assembler, Format, parse_archive_key};
use crate::record::{Offset, Partition, Span};
use crate::stream::{History, Outlet, StreamError};

impl KafkaStream {
    fn plain(&self) -> Plain {
        Plain { complaints: self.complaints.clone() }
    }

    /// Reads a partition from its start to its end as of now.
    fn pass(&self, topic: &str, partition: i32, take: &mut dyn FnMut(&BorrowedMessage<'_>)) -> Result<(), StreamError> {
        let consumer: BaseConsumer<Plain> = self
            .settings
            .snapshots()
            .create_with_context(self.plain())
            .map_err(|error| fault::unmade("the reader of the log", &error))?;
        let (low, high) = self.ends.of(topic, Partition(partition), self.patience())?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, KafkaOffset::Offset(low.0))
            .and_then(|()| consumer.assign(&list))
            .map_err(|error| StreamError::Stop(format!("`{topic}` can't be read: {error}")))?;
        let position = || match consumer.position().ok()?.find_partition(topic, partition)?.offset() {
            KafkaOffset::Offset(offset) => Some(Offset(offset)),
            _ => None,
        };
        let mut deadline = Instant::now() + self.patience();
        while high > low && position().is_none_or(|position| position < high) {
            match consumer.poll(WAIT) {
                Some(Ok(message)) => {
                    take(&message);
                    deadline = Instant::now() + self.patience();
                }
                Some(Err(error)) if fault::is_final(&error) => {
                    return Err(restore::asking(&format!("what is in `{topic}`"), &error, &self.complaints));
                }
                _ if Instant::now() > deadline => {
                    let limit = self.patience();
                    return Err(StreamError::Stop(format!("`{topic}` can't be read up to offset {high}: silent for {limit:?}")));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl History for KafkaStream {
    fn archived(&mut self, partition: Partition, covers_to: Offset) -> Result<Option<Vec<u8>>, StreamError> {
        let (mut assembler, mut found) = (Assembler::default(), None);
        let model_id = &self.settings.model_id;
        self.pass(&self.settings.topics.posterior, 0, &mut |message| {
            let place = message.key().and_then(parse_archive_key).map(|(model_id, of, up_to, _)| (model_id, of, up_to));
            match message.payload() {
                Some(chunk) if place == Some((model_id.as_str(), partition, covers_to)) => match assembler.push(chunk) {
                    Ok(None) => {}
                    Ok(whole) => found = whole,
                    Err(error) => {
                        tracing::warn!(offset = message.offset(), "an archived snapshot's chunk can't be read: {error}")
                    }
                },
                _ => {}
            }
        })?;
        Ok(found)
    }

    fn at_time(&mut self, partition: Partition, time_ms: i64) -> Result<Offset, StreamError> {
        let topic = self.settings.topics.events.clone();
        let patience = self.patience();
        let asking = |error| restore::asking("which offset a time has", &error, &self.complaints);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&topic, partition.0, KafkaOffset::Offset(time_ms)).map_err(asking)?;
        let found = self.ends.client().offsets_for_times(list, patience).map_err(asking)?;
        let found = found.elements_for_topic(&topic).into_iter().find(|element| element.partition() == partition.0);
        match found.map(|element| element.error().map(|()| element.offset())).transpose().map_err(asking)? {
            Some(KafkaOffset::Offset(offset)) => Ok(Offset(offset)),
            // There is no record that late.
            _ => self.end_of(partition),
        }
    }

    fn end_of(&mut self, partition: Partition) -> Result<Offset, StreamError> {
        Ok(self.ends.of(&self.settings.topics.events, partition, self.patience())?.1)
    }

    fn surprisals(
        &mut self,
        model_id: &str,
        partition: Partition,
        span: Span,
        format: Format,
    ) -> Result<Vec<(Offset, f64)>, StreamError> {
        let mut found = Vec::new();
        let to = partition.0 % self.partitions.scores;
        self.pass(self.settings.topics.of(Outlet::Scores), to, &mut |message| {
            let scored = message.payload().and_then(|payload| wire::decode_score(payload, format).ok());
            found.extend(
                scored
                    .filter(|scored| {
                        scored.model_id == model_id && scored.partition == partition && span.contains(scored.head.offset)
                    })
                    .map(|scored| (scored.head.offset, scored.score.surprisal)),
            );
        })?;
        Ok(found)
    }
}

/// The members of the group, each by its client's name and where it runs.
pub fn members(settings: &super::Settings) -> Result<Vec<String>, StreamError> {
    settings.check()?;
    let ends = restore::Ends::new(settings, Plain::default())?;
    topics::survey(settings, ends.client())?;
    let client = ends.client();
    let groups = client
        .fetch_group_list(Some(&settings.group), settings.connect_timeout)
        .map_err(|error| restore::asking("the members of the group", &error, &client.context().complaints))?;
    let members = groups.groups().iter().flat_map(|group| group.members());
    Ok(members.map(|member| format!("{} at {}", member.client_id(), member.client_host().trim_start_matches('/'))).collect())
}
