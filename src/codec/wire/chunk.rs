//! Snapshots cut into messages that fit a broker's limit, and put together again.
//!
//! The posterior topic is compacted: of each key, `model/partition/chunk`, the last message stays. The assembler works by the same
//! rule. It keeps the last chunk of each place, and a snapshot is whole when the last chunks of its partition all belong to it.
//! So it keeps one snapshot a partition at most, and chunks of different snapshots never end up in one.

use std::collections::BTreeMap;

use prost::Message;
use xxhash_rust::xxh3::xxh3_64;

use super::{SCHEMA_VERSION, WireError, proto};
use crate::record::{Offset, Partition};

const MESSAGE: &str = "SnapshotChunk";

/// Bytes of a snapshot in one message at most: half of what a broker takes by default.
pub const MAX_CHUNK_BYTES: usize = 512 * 1024;

/// The Kafka key of a snapshot's chunk.
pub fn snapshot_key(model_id: &str, partition: Partition, chunk: u32) -> String {
    format!("{model_id}/{partition}/{chunk}")
}

/// Model, partition and chunk of a key that [`snapshot_key`] gave.
pub fn parse_snapshot_key(key: &[u8]) -> Option<(&str, Partition, u32)> {
    let (rest, chunk) = std::str::from_utf8(key).ok()?.rsplit_once('/')?;
    let (model_id, partition) = rest.rsplit_once('/')?;
    Some((model_id, Partition(partition.parse().ok()?), chunk.parse().ok()?))
}

/// The Kafka key of a chunk of a snapshot that is kept beside later ones.
pub fn archive_key(model_id: &str, partition: Partition, covers_to: Offset, chunk: u32) -> String {
    format!("{model_id}/{partition}@{covers_to}/{chunk}")
}

/// Model, partition, `covers_to` and chunk of a key that [`archive_key`] gave.
pub fn parse_archive_key(key: &[u8]) -> Option<(&str, Partition, Offset, u32)> {
    let (rest, chunk) = std::str::from_utf8(key).ok()?.rsplit_once('/')?;
    let (model_id, place) = rest.rsplit_once('/')?;
    let (partition, covers_to) = place.split_once('@')?;
    Some((model_id, Partition(partition.parse().ok()?), Offset(covers_to.parse().ok()?), chunk.parse().ok()?))
}

/// Cuts an encoded snapshot into messages with their keys.
pub(super) fn cut(model_id: &str, partition: Partition, whole: &[u8], chunk_bytes: usize) -> Vec<(String, Vec<u8>)> {
    let pieces = whole.chunks(chunk_bytes.clamp(1, MAX_CHUNK_BYTES));
    let (count, checksum) = (pieces.len() as u32, xxh3_64(whole));
    let message = |(index, data): (u32, &[u8])| {
        let chunk = proto::SnapshotChunk {
            schema_version: SCHEMA_VERSION,
            index,
            count,
            checksum,
            data: data.to_vec(),
            model_id: model_id.into(),
            partition: partition.0,
        };
        (snapshot_key(model_id, partition, index), chunk.encode_to_vec())
    };
    (0..).zip(pieces).map(message).collect()
}

/// Puts snapshots together from their chunks, as these come from the log.
#[derive(Clone, Debug, Default)]
pub struct Assembler {
    /// The last chunk of each index, of partitions whose snapshot is not whole yet.
    open: BTreeMap<(String, i32), BTreeMap<u32, Piece>>,
}

/// A chunk and the snapshot that it belongs to.
#[derive(Clone, Debug)]
struct Piece {
    checksum: u64,
    count: u32,
    data: Vec<u8>,
}

/// What of an encoded snapshot says whose it is.
#[derive(Clone, PartialEq, Message)]
struct Owner {
    #[prost(string, tag = "2")]
    model_id: String,
    #[prost(int32, tag = "6")]
    partition: i32,
}

impl Assembler {
    /// Takes a chunk and returns the encoded snapshot, if that made it whole. After an error the chunk's partition begins afresh.
    pub fn push(&mut self, chunk: &[u8]) -> Result<Option<Vec<u8>>, WireError> {
        let proto::SnapshotChunk { index, count, checksum, data, model_id, partition, .. } = super::decode(MESSAGE, chunk)?;
        if index >= count {
            let detail = format!("found {index}, expected less than the {count} chunks of the snapshot");
            return Err(WireError::Field { message: MESSAGE, field: "index".into(), detail });
        }
        let place = (model_id, partition);
        let pieces = self.open.entry(place.clone()).or_default();
        pieces.insert(index, Piece { checksum, count, data });
        let same = |index| pieces.get(&index).is_some_and(|piece| piece.checksum == checksum && piece.count == count);
        if !(0..count).all(same) {
            return Ok(None);
        }
        let pieces = self.open.remove(&place).unwrap_or_default();
        let mut whole = Vec::with_capacity(pieces.values().map(|piece| piece.data.len()).sum());
        (0..count).filter_map(|index| pieces.get(&index)).for_each(|piece| whole.extend_from_slice(&piece.data));
        let (model_id, partition) = place;
        let found = xxh3_64(&whole);
        if found != checksum {
            return Err(WireError::Checksum { model_id, partition: Partition(partition), found, expected: checksum });
        }
        let owner =
            Owner::decode(&whole[..]).map_err(|error| WireError::Malformed { message: "Snapshot", detail: error.to_string() })?;
        if (&owner.model_id, owner.partition) != (&model_id, partition) {
            let detail = format!(
                "a chunk of `{model_id}`, partition {partition} holds a snapshot of `{}`, partition {}",
                owner.model_id, owner.partition
            );
            return Err(WireError::Field { message: MESSAGE, field: "partition".into(), detail });
        }
        Ok(Some(whole))
    }

    /// Whether every snapshot begun is whole, as it must be at the end of the log; the error names the first chunk that is not there.
    pub fn finish(&self) -> Result<(), WireError> {
        let Some(((model_id, partition), pieces)) = self.open.first_key_value() else { return Ok(()) };
        let Some((last, piece)) = pieces.last_key_value() else { return Ok(()) };
        let belongs =
            |index: &u32| pieces.get(index).is_some_and(|other| other.checksum == piece.checksum && other.count == piece.count);
        let index = (0..piece.count).find(|index| !belongs(index)).unwrap_or(*last);
        Err(WireError::MissingChunk { model_id: model_id.clone(), partition: Partition(*partition), index, count: piece.count })
    }
}
