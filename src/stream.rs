//! Where records come from and results go: one contract for the real log and the in-memory one.
//!
//! A stream hands out decoded runs and changes of assignment, and takes results in transactions: scores, dead letters, sites and
//! consumed offsets become visible together or not at all.

pub mod file;
pub mod kafka;
pub mod memory;

use std::time::Duration;

use crate::codec::wire::Format;
use crate::record::{Offset, Partition, Run, Span};

/// What a stream has to say.
#[derive(Debug)]
pub enum Incoming {
    /// Records, in order within their partition.
    Run(Run),
    /// Partitions that are this instance's from now on. They stay silent until [`Stream::resume`].
    Assigned(Vec<Partition>),
    /// Partitions to give up. The stream waits for [`Stream::released`] before it lets them go, but not for ever: after that,
    /// commits are refused with [`StreamError::Abort`].
    Revoked(Vec<Partition>),
    /// Partitions that were taken away: nothing of them can be committed any more.
    Lost(Vec<Partition>),
    /// A snapshot that another instance has committed to the posterior topic.
    Snapshot(Vec<u8>),
}

/// What is known of a partition before its first record comes.
#[derive(Debug)]
pub struct Restored {
    /// The consumer group's committed offset.
    pub committed: Option<Offset>,
    /// Where reading begins when nothing is known: the log's start or end, as configured.
    pub initial: Offset,
    /// First offset that is still in the log.
    pub earliest: Offset,
    /// The last committed snapshot, encoded.
    pub snapshot: Option<Vec<u8>>,
}

/// Topics that results go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outlet {
    /// Scores.
    Scores,
    /// Snapshots of the sites.
    Posterior,
    /// Records that could not be scored.
    DeadLetters,
}

/// What went wrong, by what is to be done about it.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The open transaction cannot be committed: abort it, put the state back, read again.
    #[error("transaction aborted: {0}")]
    Abort(String),
    /// Nobody can say whether the transaction was committed, or this instance was fenced: restore everything from the log.
    #[error("state to be restored from the log: {0}")]
    Restore(String),
    /// No use in trying again before a person has acted.
    #[error("{0}")]
    Stop(String),
}

/// A log with transactions.
pub trait Stream {
    /// The next thing to happen, within `wait`.
    fn next(&mut self, wait: Duration) -> Result<Option<Incoming>, StreamError>;

    /// What the log knows of newly assigned partitions, in their order.
    fn restore(&mut self, partitions: &[Partition]) -> Result<Vec<Restored>, StreamError>;

    /// Lets records come, from these offsets on. Runs already under way from elsewhere are dropped, and so are partitions that
    /// have been taken in the meantime.
    fn resume(&mut self, from: &[(Partition, Offset)]) -> Result<(), StreamError>;

    /// Lets revoked partitions go.
    fn released(&mut self, partitions: &[Partition]);

    /// Begins a transaction.
    fn begin(&mut self) -> Result<(), StreamError>;

    /// Sends a message in the open transaction. `partition` is that of the events it is about: results keep their order.
    /// No payload is a tombstone.
    fn send(
        &mut self,
        outlet: Outlet,
        partition: Partition,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
    ) -> Result<(), StreamError>;

    /// Commits the open transaction together with the consumed offsets. An error leaves no transaction open but on
    /// [`StreamError::Abort`], after which [`abort`](Self::abort) is due.
    fn commit(&mut self, consumed: &[(Partition, Offset)]) -> Result<(), StreamError>;

    /// Aborts the open transaction.
    fn abort(&mut self) -> Result<(), StreamError>;

    /// Starts over after [`StreamError::Restore`]: a fresh producer, all partitions lost and assigned anew.
    fn restart(&mut self) -> Result<(), StreamError>;

    /// Records not yet read, of all assigned partitions, where known.
    fn lag(&self) -> Option<u64>;

    /// Leaves the group at once.
    fn close(&mut self);
}

/// A log that can be asked for what lies further back.
pub trait History: Stream {
    /// The archived snapshot of a partition that covers offsets up to `covers_to`, encoded.
    fn archived(&mut self, partition: Partition, covers_to: Offset) -> Result<Option<Vec<u8>>, StreamError>;

    /// The offset of a partition's first record of `time_ms` or later, in milliseconds since 1970; its end if there is none.
    fn at_time(&mut self, partition: Partition, time_ms: i64) -> Result<Offset, StreamError>;

    /// The offset after a partition's last record.
    fn end_of(&mut self, partition: Partition) -> Result<Offset, StreamError>;

    /// The surprisals that a model has given the events of `span`, as far as the scores' outlet still has them.
    fn surprisals(
        &mut self,
        model_id: &str,
        partition: Partition,
        span: Span,
        format: Format,
    ) -> Result<Vec<(Offset, f64)>, StreamError>;
}
