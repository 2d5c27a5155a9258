//! The wire contract: scores, dead letters and snapshots to bytes and back, bit for bit.
//!
//! Owns the layout of what goes to Kafka, as `proto/surprisal.proto` has it, and nothing of how it gets there. Every message carries
//! a schema version, which is read before anything else: one that this program doesn't know is refused, never guessed at.

mod chunk;
mod letter;
mod score;
mod snapshot;

use prost::Message;

use crate::checkpoint::CheckpointError;
use crate::record::Partition;

pub use chunk::{
    Assembler, MAX_CHUNK_BYTES, MAX_CHUNKS, MAX_SNAPSHOT_BYTES, archive_key, check_chunk_count, parse_archive_key,
    parse_chunk_place, parse_snapshot_key, snapshot_key,
};
pub use letter::{DeadLetter, decode_dead_letter, encode_dead_letter};
pub use score::{ChangeForm, ContributionForm, Scored, decode_score, encode_score};
pub use snapshot::{Archived, Snapshot, SnapshotHeader, decode_snapshot, encode_snapshot};

/// The messages as prost compiles them.
#[allow(missing_docs)]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/surprisal.v1.rs"));
}

/// The version of every message that this program writes, and the only one that it reads.
pub const SCHEMA_VERSION: u32 = 1;

/// How scores are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A JSON object.
    #[default]
    Json,
    /// `surprisal.v1.Score`.
    Protobuf,
}

/// Why bytes are not the message that they should be. None of these goes away by trying again.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WireError {
    /// Bytes that are no such message at all.
    #[error("not a {message}: {detail}")]
    Malformed {
        /// The message's name.
        message: &'static str,
        /// What the reader said.
        detail: String,
    },
    /// A message of another version of the contract.
    #[error("{message} has schema version {found}, but this program reads version {SCHEMA_VERSION} only; run one that knows it")]
    Version {
        /// The message's name.
        message: &'static str,
        /// The version it has.
        found: u32,
    },
    /// A field that holds what can't be.
    #[error("{message}: field `{field}`: {detail}")]
    Field {
        /// The message's name.
        message: &'static str,
        /// The field.
        field: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A chunk that was never read.
    #[error("snapshot of `{model_id}`, partition {partition}: chunk {index} of {count} is missing")]
    MissingChunk {
        /// Whose snapshot it is.
        model_id: String,
        /// See `model_id`.
        partition: Partition,
        /// The first chunk that is missing, from 0.
        index: u32,
        /// Chunks of the snapshot.
        count: u32,
    },
    /// A snapshot that is larger than any may be.
    #[error(
        "snapshot of `{model_id}`, partition {partition}: {found} {unit}, expected at most {limit}; make the model smaller: fewer columns \
         or components, smaller capacities, narrower layers"
    )]
    TooLarge {
        /// Whose snapshot it is.
        model_id: String,
        /// See `model_id`.
        partition: Partition,
        /// How many there are.
        found: usize,
        /// Of what: bytes or chunks.
        unit: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// Bytes that were changed on the way.
    #[error("snapshot of `{model_id}`, partition {partition}: checksum is {found:016x}, its chunks say {expected:016x}")]
    Checksum {
        /// Whose snapshot it is.
        model_id: String,
        /// See `model_id`.
        partition: Partition,
        /// XXH3-64 of the bytes.
        found: u64,
        /// What it should be.
        expected: u64,
    },
    /// Evidence of another kind of model.
    #[error("snapshot of `{model_id}` is of a model `{found}`, but the configuration has a model `{expected}`")]
    ModelKind {
        /// The model.
        model_id: String,
        /// The snapshot's kind.
        found: String,
        /// The configured kind.
        expected: &'static str,
    },
    /// Evidence gathered under another configuration.
    #[error(
        "snapshot of `{model_id}` was gathered under another configuration of the model: other columns, target, sizes or covariance, or \
         a half-life inferred where it was not (fingerprint {found:016x}, the configuration's is {expected:016x})"
    )]
    Fingerprint {
        /// The model.
        model_id: String,
        /// The snapshot's fingerprint.
        found: u64,
        /// The configured model's.
        expected: u64,
    },
    /// Tensors that the model can't use.
    #[error("snapshot of `{model_id}`, partition {partition}: {source}")]
    Checkpoint {
        /// Whose snapshot it is.
        model_id: String,
        /// See `model_id`.
        partition: Partition,
        /// What is wrong with which tensor.
        source: CheckpointError,
    },
}

/// The one field that all messages of all versions have in common.
#[derive(Clone, Copy, PartialEq, Message)]
struct Versioned {
    #[prost(uint32, tag = "1")]
    schema_version: u32,
}

/// Decodes a message after a look at its version.
fn decode<M: Message + Default>(message: &'static str, bytes: &[u8]) -> Result<M, WireError> {
    let malformed = |error: prost::DecodeError| WireError::Malformed { message, detail: error.to_string() };
    let found = Versioned::decode(bytes).map_err(malformed)?.schema_version;
    if found != SCHEMA_VERSION {
        return Err(WireError::Version { message, found });
    }
    M::decode(bytes).map_err(malformed)
}
