//! Snapshots as the posterior topic has them, and ends of partitions.
//!
//! The chunks of a snapshot are committed together. Compaction keeps each key's latest value, so that older snapshots can lack
//! chunks and the latest one is whole. A snapshot counts only when all of its chunks are here and its checksum is right; until then
//! the one before it does. What is in a snapshot is the codec's business.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{Message, Offset as KafkaOffset, TopicPartitionList};

use super::client::{Complaints, Plain};
use super::fault;
use super::settings::Settings;
use crate::codec::wire::{Assembler, WireError, parse_chunk_place, parse_snapshot_key};
use crate::failpoint;
use crate::record::{Offset, Partition};
use crate::stream::StreamError;

/// Messages taken in one go beside the loop's work.
const BURST: usize = 256;
/// How long to wait for messages while catching up.
pub(super) const WAIT: Duration = Duration::from_millis(10);

/// The posterior topic as it is read.
pub(super) struct Snapshots {
    consumer: BaseConsumer<Plain>,
    topic: String,
    reading: bool,
    shelf: Shelf,
}

impl Snapshots {
    pub(super) fn new(settings: &Settings, plain: Plain) -> Result<Self, StreamError> {
        let consumer =
            settings.snapshots().create_with_context(plain).map_err(|error| fault::unmade("the reader of snapshots", &error))?;
        Ok(Self { consumer, topic: settings.topics.posterior.clone(), reading: false, shelf: Shelf::new(&settings.model_id) })
    }

    /// Reads all that is in the topic now, transactions that are still open included: it waits for their end. It may take as long as
    /// there is progress: `limit` is how long there may be none.
    pub(super) fn catch_up(&mut self, ends: &Ends, limit: Duration) -> Result<(), StreamError> {
        let (low, high) = ends.of(&self.topic, Partition(0), limit)?;
        if !self.reading {
            // A client that doesn't know the topic yet when it is assigned may ask for it a second later only.
            let known = self.consumer.fetch_metadata(Some(&self.topic), limit);
            known.map_err(|error| asking(&format!("who leads `{}`", self.topic), &error, self.complaints()))?;
            let mut list = TopicPartitionList::new();
            // An explicit offset: looking one up makes a fresh consumer wait for half a second.
            let assigned =
                list.add_partition_offset(&self.topic, 0, KafkaOffset::Offset(low.0)).and_then(|()| self.consumer.assign(&list));
            assigned.map_err(|error| StreamError::Stop(format!("`{}` can't be read: {error}", self.topic)))?;
            self.reading = true;
        }
        // The position passes transaction markers and aborted records, which no message tells of. In an empty topic there is none.
        let mut headway = Headway { reached: self.position(), since: Instant::now() };
        while high > low && headway.reached.is_none_or(|position| position < high) {
            if self.poll_once(WAIT)? {
                failpoint::reach("chunk_read");
            }
            if headway.stood_still(self.position(), Instant::now()) > limit {
                return Err(StreamError::Restore(format!(
                    "`{}` can't be read up to offset {high}: no further than {} for {limit:?}{}",
                    self.topic,
                    headway.reached.map_or_else(|| "its start".into(), |position| position.to_string()),
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
        let Some(site) = self.shelf.sites.get(&partition) else { return Ok(None) };
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
        // Those that aren't wanted now are when the partition is another's again, who may have nothing more to say.
        while let Some(partition) = self.shelf.changed.iter().copied().find(|partition| wanted(*partition)) {
            self.shelf.changed.remove(&partition);
            if let Some(whole) = self.shelf.sites.get(&partition).and_then(|site| site.whole.clone()) {
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
        let Self { consumer, shelf, topic, .. } = self;
        match consumer.poll(wait) {
            None => Ok(false),
            Some(Ok(message)) => {
                if let Some(key) = message.key()
                    && let Err(refusal) = shelf.take(key, message.payload())
                {
                    tracing::warn!(topic, offset = message.offset(), "a snapshot's chunk can't be read: {refusal}");
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

/// How far reading has come, and since when it has come no further.
#[derive(Debug)]
struct Headway {
    reached: Option<Offset>,
    since: Instant,
}

impl Headway {
    /// Takes note of where reading is `now`, and says how long it has been there.
    fn stood_still(&mut self, position: Option<Offset>, now: Instant) -> Duration {
        if position > self.reached {
            *self = Self { reached: position, since: now };
        }
        now - self.since
    }
}

/// The latest whole snapshots of a model's partitions.
#[derive(Debug)]
struct Shelf {
    model_id: String,
    assembler: Assembler,
    sites: BTreeMap<Partition, Site>,
    /// Partitions whose snapshot has changed since it was last asked for.
    changed: BTreeSet<Partition>,
}

#[derive(Debug, Default)]
struct Site {
    /// The latest whole snapshot, encoded.
    whole: Option<Vec<u8>>,
    /// Why a later one can't be read.
    refusal: Option<WireError>,
}

impl Shelf {
    fn new(model_id: &str) -> Self {
        Self { model_id: model_id.into(), assembler: Assembler::default(), sites: BTreeMap::new(), changed: BTreeSet::new() }
    }

    /// Takes a message of the posterior topic. An error says why it is of no use; it is kept until a later snapshot is whole.
    fn take(&mut self, key: &[u8], payload: Option<&[u8]>) -> Result<(), WireError> {
        let Some((model_id, partition, index)) = parse_snapshot_key(key) else { return Ok(()) };
        if model_id != self.model_id {
            return Ok(());
        }
        let Some(payload) = payload else {
            // The first chunk goes only with its snapshot; others because the next snapshot is shorter.
            if index == 0 {
                self.sites.remove(&partition);
                self.changed.remove(&partition);
            }
            return Ok(());
        };
        match self.assemble(partition, index, payload) {
            Ok(None) => {}
            Ok(whole) => {
                self.sites.insert(partition, Site { whole, refusal: None });
                self.changed.insert(partition);
            }
            Err(refusal) => {
                self.sites.entry(partition).or_default().refusal = Some(refusal.clone());
                return Err(refusal);
            }
        }
        Ok(())
    }

    /// The snapshot, if the chunk under this key makes it whole.
    fn assemble(&mut self, partition: Partition, index: u32, payload: &[u8]) -> Result<Option<Vec<u8>>, WireError> {
        let (model_id, of, chunk) = parse_chunk_place(payload)?;
        if (model_id.as_str(), of, chunk) != (self.model_id.as_str(), partition, index) {
            let detail = format!("the key says `{}/{partition}/{index}`, the chunk `{model_id}/{of}/{chunk}`", self.model_id);
            return Err(WireError::Field { message: "SnapshotChunk", field: "partition".into(), detail });
        }
        self.assembler.push(payload)
    }
}

/// Where partitions begin and truly end, open transactions included.
pub(super) struct Ends {
    client: BaseConsumer<Plain>,
}

impl Ends {
    pub(super) fn new(settings: &Settings, plain: Plain) -> Result<Self, StreamError> {
        let client =
            settings.watermarks().create_with_context(plain).map_err(|error| fault::unmade("the Kafka client", &error))?;
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
                Err(error) if !left.is_zero() && !fault::is_final(&error) => std::thread::sleep(WAIT),
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
    use prost::Message as _;
    use xxhash_rust::xxh3::xxh3_64;

    use super::*;
    use crate::codec::wire::proto;

    /// A snapshot of `model`, partition 3, in chunks of four bytes.
    fn chunks(step: u64, kind: &str) -> (Vec<u8>, Vec<proto::SnapshotChunk>) {
        let snapshot =
            proto::Snapshot { model_id: "model".into(), model_kind: kind.into(), partition: 3, step, ..Default::default() };
        let whole = snapshot.encode_to_vec();
        let count = whole.len().div_ceil(4) as u32;
        let chunk = |(index, data): (u32, &[u8])| proto::SnapshotChunk {
            schema_version: 1,
            model_id: "model".into(),
            partition: 3,
            index,
            count,
            checksum: xxh3_64(&whole),
            data: data.to_vec(),
        };
        let chunks = (0..).zip(whole.chunks(4)).map(chunk).collect();
        (whole, chunks)
    }

    fn feed<'a>(shelf: &mut Shelf, chunks: impl IntoIterator<Item = &'a proto::SnapshotChunk>) {
        for chunk in chunks {
            shelf.take(format!("model/3/{}", chunk.index).as_bytes(), Some(&chunk.encode_to_vec())).unwrap();
        }
    }

    fn whole(shelf: &Shelf) -> Option<&[u8]> {
        shelf.sites.get(&Partition(3))?.whole.as_deref()
    }

    #[test]
    fn reading_may_take_as_long_as_it_goes_on() {
        let begun = Instant::now();
        let second = |number: u64| begun + Duration::from_secs(number);
        let mut headway = Headway { reached: None, since: begun };
        assert_eq!(headway.stood_still(None, second(9)), Duration::from_secs(9));
        for number in 10..1000 {
            assert_eq!(headway.stood_still(Some(Offset(number)), second(number as u64)), Duration::ZERO);
        }
        assert_eq!(headway.stood_still(Some(Offset(999)), second(1004)), Duration::from_secs(5));
        assert_eq!(headway.stood_still(Some(Offset(7)), second(1005)), Duration::from_secs(6), "going back is no progress");
        assert_eq!(headway.reached, Some(Offset(999)));
    }

    #[test]
    fn the_newest_whole_snapshot_counts() {
        let ((old, older), (new, newer)) = (chunks(1, "long-winded"), chunks(2, ""));
        let mut shelf = Shelf::new("model");
        feed(&mut shelf, &older);
        assert_eq!(whole(&shelf), Some(&old[..]));
        feed(&mut shelf, &newer[1..]);
        assert_eq!(whole(&shelf), Some(&old[..]), "part of a snapshot replaces nothing");
        feed(&mut shelf, &newer[..1]);
        assert_eq!(whole(&shelf), Some(&new[..]));
        assert_eq!(shelf.changed.pop_first(), Some(Partition(3)));
    }

    #[test]
    fn compaction_may_have_taken_chunks_of_older_snapshots() {
        let ((_, older), (new, newer)) = (chunks(1, "long-winded"), chunks(2, ""));
        let mut shelf = Shelf::new("model");
        feed(&mut shelf, &older[newer.len()..]);
        feed(&mut shelf, &newer);
        assert_eq!(whole(&shelf), Some(&new[..]));
        for index in newer.len()..older.len() {
            shelf.take(format!("model/3/{index}").as_bytes(), None).unwrap();
        }
        assert_eq!(whole(&shelf), Some(&new[..]), "tombstones of chunks that a shorter snapshot doesn't have");
        shelf.take(b"model/3/0", None).unwrap();
        assert_eq!(whole(&shelf), None, "a tombstone of the first chunk removes the snapshot");
    }

    #[test]
    fn a_snapshot_that_cannot_be_read_is_remembered_until_one_can() {
        let (_, good) = chunks(1, "");
        let mut bad = good[1].clone();
        bad.data[0] ^= 1;
        let mut shelf = Shelf::new("model");
        feed(&mut shelf, good[..1].iter().chain(&good[2..]));
        assert!(shelf.take(b"model/3/1", Some(&bad.encode_to_vec())).is_err());
        assert!(shelf.sites[&Partition(3)].refusal.is_some() && whole(&shelf).is_none());
        feed(&mut shelf, &good);
        assert!(shelf.sites[&Partition(3)].refusal.is_none() && whole(&shelf).is_some());
    }

    #[test]
    fn a_chunk_under_anothers_key_is_refused() {
        let (_, chunks) = chunks(1, "");
        let mut shelf = Shelf::new("model");
        for (key, says) in
            [("model/4/0", "the key says `model/4/0`, the chunk `model/3/0`"), ("model/3/1", "the chunk `model/3/0`")]
        {
            let refusal = shelf.take(key.as_bytes(), Some(&chunks[0].encode_to_vec())).unwrap_err().to_string();
            assert!(refusal.contains(says), "{refusal}");
        }
        assert!(whole(&shelf).is_none() && shelf.changed.is_empty());
    }

    #[test]
    fn snapshots_of_other_models_are_not_read() {
        let mut shelf = Shelf::new("model");
        for key in [&b"other/3/0"[..], b"model/3", b"model/x/0", b"\xff"] {
            shelf.take(key, Some(b"?")).unwrap();
        }
        assert!(shelf.sites.is_empty());
    }
}
