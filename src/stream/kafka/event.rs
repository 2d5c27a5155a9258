//! One event of the log, read outside the group.

use std::time::Instant;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset as KafkaOffset, TopicPartitionList};

use super::client::Plain;
use super::restore::{self, Ends, WAIT};
use super::{Settings, fault, topics};
use crate::record::{Offset, Partition};
use crate::stream::StreamError;

/// The value of the event at `offset` of a partition of the events topic; none if there is no event with a value there, as where
/// it was aborted, compacted away or deleted by age, or is yet to come.
pub fn event(settings: &Settings, partition: Partition, offset: Offset) -> Result<Option<Vec<u8>>, StreamError> {
    settings.check()?;
    let plain = Plain::default();
    let complaints = plain.complaints.clone();
    let ends = Ends::new(settings, Plain::default())?;
    let topic = &settings.topics.events;
    // A look makes nothing, and finds nothing wrong with topics that are yet to be made.
    let partitions = topics::survey(&Settings { create_topics: true, ..settings.clone() }, ends.client())?.events;
    if !(0..partitions).contains(&partition.0) {
        return Err(StreamError::Stop(format!("`{topic}` has no partition {partition}: it has {partitions}, from 0 on")));
    }
    let (low, high) = ends.of(topic, partition, settings.connect_timeout)?;
    if offset < low || offset >= high {
        return Ok(None);
    }
    let consumer: BaseConsumer<Plain> =
        settings.snapshots().create_with_context(plain).map_err(|error| fault::unmade("the reader of the log", &error))?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition.0, KafkaOffset::Offset(offset.0))
        .and_then(|()| consumer.assign(&list))
        .map_err(|error| StreamError::Stop(format!("`{topic}` can't be read: {error}")))?;
    let passed =
        || match consumer.position().ok().as_ref().and_then(|list| list.find_partition(topic, partition.0)?.offset().to_raw()) {
            Some(position) => position > offset.0,
            None => false,
        };
    let deadline = Instant::now() + settings.connect_timeout;
    while Instant::now() < deadline {
        match consumer.poll(WAIT) {
            Some(Ok(message)) => {
                return Ok(message.payload().filter(|_| message.offset() == offset.0).map(<[u8]>::to_vec));
            }
            Some(Err(error)) if fault::is_final(&error) => {
                return Err(restore::asking(&format!("what is in `{topic}`"), &error, &complaints));
            }
            _ if passed() => return Ok(None),
            _ => {}
        }
    }
    Err(StreamError::Stop(format!("`{topic}` can't be read at offset {offset}: silent for {:?}", settings.connect_timeout)))
}
