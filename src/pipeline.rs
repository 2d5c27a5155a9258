//! The loop: records in; scores, sites, dead letters and offsets out, in one transaction.
//!
//! Owns the order of things and nothing else: the engine decides what is learnt, the stream what a transaction is. What was
//! taken in since the last commit is scored, learnt and published together, and the engine advances only when the stream says that
//! all of it was committed.

use std::time::Duration;

use crate::codec::wire;
use crate::engine::{Engine, EngineError, Learning, Ready, Score};
use crate::features::Schema;
use crate::models::{Evidence, Model};
use crate::record::{Offset, Partition, Run};
use crate::stream::{Incoming, Outlet, Stream, StreamError};
use crate::telemetry::{self, Health, events};

/// Where time comes from.
pub trait Clock: Send {
    /// Time since some fixed instant; never goes back.
    fn monotonic(&self) -> Duration;

    /// Milliseconds since 1970.
    fn unix_ms(&self) -> i64;
}

/// When to commit, and under which names to publish.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Names the posterior.
    pub model_id: String,
    /// The topic that events come from.
    pub topic: String,
    /// Longest time that a record waits for its commit.
    pub commit_interval: Duration,
    /// Records in a transaction at most.
    pub commit_max_events: usize,
    /// Longest time between two snapshots of a site that changes.
    pub snapshot_interval: Duration,
    /// How scores are written.
    pub scores_format: wire::Format,
}

/// What a committed transaction did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Committed {
    /// Records taken in, and how many of them were scored and how many were dead letters.
    pub records: u64,
    /// See `records`.
    pub scored: u64,
    /// See `records`.
    pub dead_letters: u64,
    /// Sum of the surprisals of the scored, in nats.
    pub surprisal_sum: f64,
    /// Records that wait in the log, where known.
    pub lag_records: Option<u64>,
}

/// Why the loop ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The stream can't go on.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The engine refuses what the log says.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A snapshot in the log can't be read.
    #[error(transparent)]
    Wire(#[from] wire::WireError),
}

/// Aborted transactions in a row after which the state is restored from the log.
const MAX_ABORTS: u32 = 5;

/// Bytes of a snapshot in one message: half of what a broker takes by default.
const CHUNK_BYTES: usize = 512 * 1024;

/// The loop over one stream.
pub struct Pipeline<M: Model, S: Stream, C: Clock> {
    engine: Engine<M>,
    stream: S,
    clock: C,
    schema: Schema,
    learning: Learning,
    settings: Settings,
    health: Health,
    snapshots: wire::Assembler,
    /// Taken in since the last commit.
    runs: Vec<Run>,
    records: usize,
    /// When the oldest of them came, and when sites are next due.
    since: Duration,
    sites_due: Duration,
    aborts: u32,
    restarts: u32,
}
