//! A site on its way to the posterior topic: its snapshot, what of the one before is gone, and the archive.
//!
//! The archive keeps earlier snapshots under keys of their own, where compaction leaves them, and each snapshot says which there are:
//! so whoever reads the latest knows them all, and they come and go in the transactions of snapshots.

use std::time::Duration;

use super::Settings;
use crate::codec::wire::{self, Archived, SnapshotHeader};
use crate::engine::Site;
use crate::models::Model;
use crate::record::Partition;
use crate::stream::{Outlet, Stream, StreamError};

/// What the posterior topic holds of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Published {
    /// Messages that the latest snapshot is cut into.
    pub(super) chunks: usize,
    /// Earlier snapshots that are kept, the oldest first.
    pub(super) archive: Vec<Archived>,
}

impl Published {
    /// That of a partition whose latest snapshot is `snapshot`, with its header.
    pub(super) fn of(snapshot: &[u8], header: SnapshotHeader) -> Self {
        Self { chunks: snapshot.len().div_ceil(wire::MAX_CHUNK_BYTES), archive: header.archive }
    }
}

/// Which earlier snapshots are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Archive {
    /// How many of a partition.
    pub snapshots: usize,
    /// The shortest time between two of them.
    pub interval: Duration,
}

/// Sends a site's snapshot in the open transaction, and adds it to the archive if that is due. `before` is what there was; what isn't in
/// `archive`, or is too old for it, is removed.
pub(super) fn publish<M: Model, S: Stream>(
    stream: &mut S,
    settings: &Settings,
    model: &M,
    (partition, site): (Partition, &Site<M::Evidence>),
    before: &Published,
    mut archive: Vec<Archived>,
    now_ms: i64,
) -> Result<Published, StreamError> {
    let id = &settings.model_id;
    let mut header = SnapshotHeader {
        model_id: id.clone(),
        model_kind: model.kind().into(),
        fingerprint: model.fingerprint(),
        topic: settings.topic.clone(),
        partition,
        created_ms: now_ms,
        archive: Vec::new(),
    };
    let columns = model.columns(&site.evidence);
    let mut send = |key: String, payload: Option<&[u8]>| stream.send(Outlet::Posterior, partition, Some(key.as_bytes()), payload);
    if settings.archive.is_due(&archive, site, now_ms) {
        let messages = wire::encode_snapshot(&header, site, &columns, wire::MAX_CHUNK_BYTES);
        for (index, (_, chunk)) in (0..).zip(&messages) {
            send(wire::archive_key(id, partition, site.covers_to, index), Some(chunk))?;
        }
        archive.push(Archived { covers_to: site.covers_to, chunks: messages.len() as u32, created_ms: now_ms });
    }
    archive.drain(..archive.len().saturating_sub(settings.archive.snapshots));
    for gone in &before.archive {
        // One of the same name may have been made anew, and be shorter.
        let kept = archive.iter().find(|kept| kept.covers_to == gone.covers_to).map_or(0, |kept| kept.chunks);
        for index in kept..gone.chunks {
            send(wire::archive_key(id, partition, gone.covers_to, index), None)?;
        }
    }
    header.archive.clone_from(&archive);
    let messages = wire::encode_snapshot(&header, site, &columns, wire::MAX_CHUNK_BYTES);
    wire::check_chunk_count(id, partition, messages.len()).map_err(|error| StreamError::Stop(error.to_string()))?;
    let chunks = messages.len();
    for (key, chunk) in &messages {
        send(key.clone(), Some(chunk))?;
    }
    // Chunks that the snapshot before this one had and this one has not.
    for gone in chunks..before.chunks {
        send(wire::snapshot_key(id, partition, gone as u32), None)?;
    }
    Ok(Published { chunks, archive })
}

impl Archive {
    fn is_due<E>(&self, archive: &[Archived], site: &Site<E>, now_ms: i64) -> bool {
        // One from the future was made by a clock that has been set back since.
        let waited = |last: &Archived| !(0..self.interval.as_millis() as i64).contains(&now_ms.saturating_sub(last.created_ms));
        let new = archive.iter().all(|kept| kept.covers_to != site.covers_to);
        self.snapshots > 0 && new && archive.last().is_none_or(waited)
    }
}
