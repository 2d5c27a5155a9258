//! Snapshots as the posterior topic has them, and ends of partitions.
//!
//! A snapshot is cut into chunks with keys `model_id/partition/chunk`, committed together. Compaction keeps each key's latest
//! value, so that older snapshots can lack chunks and the latest one is whole. A snapshot counts only when all of its chunks
//! are here and its checksum is right; until then the one before it does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use prost::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{Message, Offset as KafkaOffset, TopicPartitionList};
use xxhash_rust::xxh3::xxh3_64;

use super::client::{Complaints, Plain};
use super::settings::Settings;
use super::wire::SnapshotChunk;
use super::{fault, topics};
use crate::record::{Offset, Partition};
use crate::stream::StreamError;

/// The version of `SnapshotChunk` that is read.
const CHUNK_VERSION: u32 = 1;
/// Messages taken in one go beside the loop's work.
const BURST: usize = 256;
/// How long to wait for messages while catching up.
const WAIT: Duration = Duration::from_millis(10);

/// The posterior topic as it is read.
pub(super) struct Snapshots {
    consumer: BaseConsumer<Plain>,
    topic: String,
    /// `model_id/`
    prefix: String,
    reading: bool,
    sites: BTreeMap<Partition, Assembly>,
    /// Partitions whose snapshot has changed since it was last asked for.
    changed: BTreeSet<Partition>,
}

impl Snapshots {
    pub(super) fn new(settings: &Settings, plain: Plain) -> Result<Self, StreamError> {
        let consumer = settings
            .snapshots()
            .create_with_context(plain)
            .map_err(|error| StreamError::Stop(format!("the reader of snapshots can't be made: {error}")))?;
        Ok(Self {
            consumer,
            topic: settings.topics.posterior.clone(),
            prefix: format!("{}/", settings.model_id),
            reading: false,
            sites: BTreeMap::new(),
            changed: BTreeSet::new(),
        })
    }

    /// Reads all that is in the topic now, transactions that are still open included: it waits for their end.
    pub(super) fn catch_up(&mut self, ends: &Ends, limit: Duration) -> Result<(), StreamError> {
        let deadline = Instant::now() + limit;
        let (low, high) = ends.of(&self.topic, Partition(0), limit)?;
        if !self.reading {
            let mut list = TopicPartitionList::new();
            // An explicit offset: looking one up makes a fresh consumer wait for half a second.
            let assigned =
                list.add_partition_offset(&self.topic, 0, KafkaOffset::Offset(low.0)).and_then(|()| self.consumer.assign(&list));
            assigned.map_err(|error| StreamError::Stop(format!("`{}` can't be read: {error}", self.topic)))?;
            self.reading = true;
        }
        // The position passes transaction markers and aborted records, which no message tells of. In an empty topic there is none.
        while high > low && self.position().is_none_or(|position| position < high) {
            self.poll_once(WAIT)?;
            if Instant::now() > deadline {
                return Err(StreamError::Restore(format!(
                    "`{}` can't be read up to offset {high} within {limit:?}: at {}{}",
                    self.topic,
                    self.position().map_or_else(|| "its start".into(), |position| position.to_string()),
                    self.complaints().bracketed(),
                )));
            }
        }
        Ok(())
    }

    /// Takes what has come, without waiting.
    pub(super) fn poll(&mut self) -> Result<(), StreamError> {
        for _ in 0..BURST {
            if !self.reading || !self.poll_once(Duration::ZERO)? {
                break;
            }
        }
        Ok(())
    }

    /// The latest whole snapshot of a partition.
    pub(super) fn latest(&self, partition: Partition) -> Result<Option<Vec<u8>>, StreamError> {
        let Some(site) = self.sites.get(&partition) else { return Ok(None) };
        match &site.refusal {
            Some(refusal) => Err(StreamError::Stop(format!(
                "the snapshot of partition {partition} in `{}` can't be read: {refusal}",
                self.topic
            ))),
            None => Ok(site.whole.clone()),
        }
    }

    /// A snapshot that has changed, of a partition that `wanted` approves of.
    pub(super) fn next_changed(&mut self, wanted: impl Fn(Partition) -> bool) -> Option<Vec<u8>> {
        while let Some(partition) = self.changed.pop_first() {
            let whole = self.sites.get(&partition).and_then(|site| site.whole.clone());
            if let Some(whole) = whole.filter(|_| wanted(partition)) {
                return Some(whole);
            }
        }
        None
    }

    fn complaints(&self) -> &Complaints {
        &self.consumer.context().complaints
    }

    fn position(&self) -> Option<Offset> {
        let list = self.consumer.position().ok()?;
        match list.find_partition(&self.topic, 0)?.offset() {
            KafkaOffset::Offset(offset) => Some(Offset(offset)),
            _ => None,
        }
    }

    /// Whether there was anything.
    fn poll_once(&mut self, wait: Duration) -> Result<bool, StreamError> {
        let Self { consumer, sites, changed, prefix, topic, .. } = self;
        match consumer.poll(wait) {
            None => Ok(false),
            Some(Ok(message)) => {
                let place = message.key().and_then(|key| parse_key(key, prefix));
                if let Some((partition, index)) = place
                    && sites.entry(partition).or_default().take(index, message.payload())
                {
                    changed.insert(partition);
                }
                if place.is_some_and(|(partition, _)| sites[&partition].refusal.is_some()) {
                    tracing::warn!(topic, offset = message.offset(), "a snapshot's chunk can't be read");
                }
                Ok(true)
            }
            Some(Err(error)) => match error.rdkafka_error_code() {
                Some(code) if fault::is_denial(code) => {
                    Err(StreamError::Stop(format!("`{topic}` can't be read: {error}{}", fault::advice(code))))
                }
                _ => Ok(true), // passing, and logged by the client
            },
        }
    }
}

/// The partition and chunk that a key of the model names.
fn parse_key(key: &[u8], prefix: &str) -> Option<(Partition, u32)> {
    let rest = std::str::from_utf8(key).ok()?.strip_prefix(prefix)?;
    let (partition, chunk) = rest.split_once('/')?;
    Some((Partition(partition.parse().ok()?), chunk.parse().ok()?))
}

/// A partition's snapshot on its way.
#[derive(Debug, Default)]
struct Assembly {
    checksum: u64,
    parts: Vec<Option<Vec<u8>>>,
    /// The latest whole snapshot, encoded.
    whole: Option<Vec<u8>>,
    /// Why a later one can't be read.
    refusal: Option<String>,
}

impl Assembly {
    /// Takes a chunk or its tombstone, and says whether there is a new whole snapshot.
    fn take(&mut self, index: u32, payload: Option<&[u8]>) -> bool {
        let Some(payload) = payload else {
            // The first chunk goes only with its snapshot; others because the next snapshot is shorter.
            if index == 0 {
                *self = Self::default();
            }
            return false;
        };
        match self.add(index, payload) {
            Ok(()) => self.complete(),
            Err(refusal) => {
                self.refusal = Some(refusal);
                false
            }
        }
    }

    fn add(&mut self, index: u32, payload: &[u8]) -> Result<(), String> {
        let chunk = SnapshotChunk::decode(payload).map_err(|error| format!("chunk {index} isn't a SnapshotChunk: {error}"))?;
        if chunk.schema_version != CHUNK_VERSION {
            return Err(format!(
                "chunk {index} has schema version {}, and this program knows version {CHUNK_VERSION}: it was written by another release",
                chunk.schema_version
            ));
        }
        if chunk.index != index || index >= chunk.count {
            return Err(format!("the chunk with key {index} says that it is chunk {} of {}", chunk.index, chunk.count));
        }
        if chunk.checksum != self.checksum || chunk.count as usize != self.parts.len() {
            self.checksum = chunk.checksum;
            self.parts = vec![None; chunk.count as usize];
        }
        self.parts[index as usize] = Some(chunk.data);
        Ok(())
    }

    fn complete(&mut self) -> bool {
        if self.parts.iter().any(Option::is_none) {
            return false;
        }
        let whole: Vec<u8> = self.parts.drain(..).flatten().flatten().collect();
        let right = xxh3_64(&whole) == self.checksum;
        if right {
            self.whole = Some(whole);
            self.refusal = None;
        } else {
            self.refusal = Some("its checksum is wrong".into());
        }
        right
    }
}

/// Where partitions begin and truly end, open transactions included.
pub(super) struct Ends {
    client: BaseConsumer<Plain>,
}

impl Ends {
    pub(super) fn new(settings: &Settings, plain: Plain) -> Result<Self, StreamError> {
        let client = settings
            .watermarks()
            .create_with_context(plain)
            .map_err(|error| StreamError::Stop(format!("the Kafka client can't be made: {error}")))?;
        Ok(Self { client })
    }

    /// The client, for questions about topics.
    pub(super) fn client(&self) -> &BaseConsumer<Plain> {
        &self.client
    }

    /// First offset in the log and the one after the last.
    pub(super) fn of(&self, topic: &str, partition: Partition, limit: Duration) -> Result<(Offset, Offset), StreamError> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.client.fetch_watermarks(topic, partition.0, left) {
                Ok((low, high)) => return Ok((Offset(low), Offset(high))),
                Err(error) if !left.is_zero() && !topics::is_final(&error) => std::thread::sleep(WAIT),
                Err(error) => {
                    return Err(asking(&format!("the ends of `{topic}`/{partition}"), &error, &self.client.context().complaints));
                }
            }
        }
    }
}

/// The error of a question that wasn't answered.
pub(super) fn asking(what: &str, error: &KafkaError, complaints: &Complaints) -> StreamError {
    let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
    let text = format!("Kafka doesn't tell {what}: {error}{}{}", complaints.bracketed(), fault::advice(code));
    if fault::needs_a_person(code) { StreamError::Stop(text) } else { StreamError::Restore(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(snapshot: &[u8], size: usize) -> Vec<Vec<u8>> {
        let parts: Vec<&[u8]> = snapshot.chunks(size).collect();
        let encode = |(index, data): (usize, &&[u8])| {
            SnapshotChunk {
                schema_version: 1,
                index: index as u32,
                count: parts.len() as u32,
                checksum: xxh3_64(snapshot),
                data: data.to_vec(),
            }
            .encode_to_vec()
        };
        parts.iter().enumerate().map(encode).collect()
    }

    fn feed(assembly: &mut Assembly, chunks: &[Vec<u8>], indices: impl IntoIterator<Item = usize>) -> usize {
        indices.into_iter().filter(|index| assembly.take(*index as u32, Some(&chunks[*index]))).count()
    }

    #[test]
    fn the_newest_whole_snapshot_counts() {
        let (old, new) = (chunks(b"an older snapshot", 4), chunks(b"a newer", 4));
        let mut assembly = Assembly::default();
        assert_eq!(feed(&mut assembly, &old, 0..5), 1);
        assert_eq!(feed(&mut assembly, &new, [0]), 0);
        assert_eq!(assembly.whole.as_deref(), Some(&b"an older snapshot"[..]), "half of a snapshot replaces nothing");
        assert_eq!(feed(&mut assembly, &new, [1]), 1);
        assert_eq!(assembly.whole.as_deref(), Some(&b"a newer"[..]));
    }

    #[test]
    fn compaction_may_have_taken_chunks_of_older_snapshots() {
        let (old, new) = (chunks(b"an older snapshot", 4), chunks(b"a newer one", 4));
        let mut assembly = Assembly::default();
        // The new one has three chunks, so that of the old one only the last two are left, or their tombstones.
        assert_eq!(feed(&mut assembly, &old, [3, 4]), 0);
        assert_eq!(feed(&mut assembly, &new, 0..3), 1);
        assert!(!assembly.take(3, None) && !assembly.take(4, None));
        assert_eq!(assembly.whole.as_deref(), Some(&b"a newer one"[..]));
        assert!(!assembly.take(0, None));
        assert_eq!(assembly.whole, None, "a tombstone of the first chunk removes the snapshot");
    }

    #[test]
    fn what_is_damaged_or_of_another_version_is_refused() {
        let whole = chunks(b"snapshot", 4);
        let mut damaged = SnapshotChunk::decode(&whole[1][..]).unwrap();
        damaged.data[0] ^= 1;
        let mut other = SnapshotChunk::decode(&whole[1][..]).unwrap();
        other.schema_version = 2;
        for (bad, said) in
            [(damaged.encode_to_vec(), "checksum"), (other.encode_to_vec(), "schema version 2"), (vec![7], "SnapshotChunk")]
        {
            let mut assembly = Assembly::default();
            feed(&mut assembly, &whole, [0]);
            assert!(!assembly.take(1, Some(&bad)));
            assert_eq!(assembly.whole, None);
            assert!(assembly.refusal.as_deref().is_some_and(|text| text.contains(said)), "{:?}", assembly.refusal);
            assert_eq!(feed(&mut assembly, &whole, [0, 1]), 1, "a later one that is good counts");
            assert_eq!(assembly.refusal, None);
        }
    }

    #[test]
    fn keys_of_other_models_are_not_ours() {
        assert_eq!(parse_key(b"fraud/12/3", "fraud/"), Some((Partition(12), 3)));
        for other in [&b"fraud/12"[..], b"fraud/12/3/4", b"fraud2/12/3", b"fraud/x/3", b"\xff"] {
            assert_eq!(parse_key(other, "fraud/"), None);
        }
    }
}
