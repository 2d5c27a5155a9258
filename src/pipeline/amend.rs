//! Unlearning: events are taken out of the posterior, or it goes back to an earlier snapshot, while no instance runs.
//!
//! Whoever amends is the group's only member, and commits as any step is committed: the amended sites and the offsets, which stay where
//! they are, in one transaction. What is forgotten stands in the site, so that learning remains a fold over the log: the next start
//! reads on from the amended site, relearns what lies before the offsets, and passes over what is forgotten. Scores that were published
//! stay.

mod plan;

use std::time::Duration;

use super::publish::{Published, publish};
use super::{Clock, PipelineError, SLICE, Settings, read};
use crate::engine::{EngineError, Forgotten, Setup, Site};
use crate::features::Schema;
use crate::models::{Evidence, Model};
use crate::record::{Offset, Partition, Span};
use crate::stream::{History, Incoming, Restored, StreamError};

/// What is to be changed about the posterior.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amendment {
    /// A partition's events at these offsets are forgotten.
    ForgetOffsets {
        /// The partition.
        partition: Partition,
        /// The offsets.
        span: Span,
    },
    /// Events from the first of one time or later up to the first of another are forgotten.
    ForgetTimes {
        /// Of this partition, or of all.
        partition: Option<Partition>,
        /// Milliseconds since 1970.
        since_ms: i64,
        /// See `since_ms`.
        until_ms: i64,
    },
    /// A partition goes back to an archived snapshot.
    RollBack {
        /// The partition.
        partition: Partition,
        /// The snapshot's `covers_to`.
        covers_to: Offset,
    },
    /// Every partition goes back to its last archived snapshot of that time or before.
    RollBackAll {
        /// Milliseconds since 1970.
        to_ms: i64,
    },
}

/// What has become of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amended {
    /// The partition.
    pub partition: Partition,
    /// What its site says about it from now on.
    pub forgotten: Forgotten,
    /// Events in the evidence before.
    pub events_before: u64,
    /// Events in the evidence now.
    pub events: u64,
    /// What the evidence covers now.
    pub covers_to: Offset,
    /// The group's offset. What lies between the two is learnt by the next start, but for the forgotten.
    pub committed: Offset,
}

/// Why the posterior stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum AmendError {
    /// The log, or a snapshot in it.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// Others are in the group.
    #[error(
        "the group has given {given} of {partitions} partitions: it has other members; stop all instances, and try again once the group \
         has noticed"
    )]
    NotAlone {
        /// Partitions given.
        given: usize,
        /// Partitions there are.
        partitions: usize,
    },
    /// A partition that isn't there.
    #[error("there is no partition {partition}: `{topic}` has {partitions}")]
    NoPartition {
        /// The partition.
        partition: Partition,
        /// The events topic.
        topic: String,
        /// Partitions there are.
        partitions: usize,
    },
    /// Nothing was learnt of the partition.
    #[error("partition {partition} has no snapshot under this model id: nothing of it was learnt")]
    NothingLearnt {
        /// The partition.
        partition: Partition,
    },
    /// Offsets that no record has yet.
    #[error("partition {partition} ends at offset {end}: forget offsets up to {end} at most")]
    BeyondEnd {
        /// The partition.
        partition: Partition,
        /// Where it ends.
        end: Offset,
    },
    /// What remains can neither be told from what goes, nor be learnt again.
    #[error(
        "partition {partition}: offsets {span} can't be taken out. Their evidence can't be subtracted ({why}), and to learn the rest again \
         the log would have to hold it from offset {needed} on, but it begins at {earliest}; possible is {possible}"
    )]
    OutOfReach {
        /// The partition.
        partition: Partition,
        /// What was to be forgotten.
        span: Span,
        /// Why the evidence can't be subtracted.
        why: &'static str,
        /// From where on the log is needed.
        needed: Offset,
        /// Where it begins.
        earliest: Offset,
        /// What can be done.
        possible: String,
    },
    /// There is no such archived snapshot.
    #[error("partition {partition} has no archived snapshot {wanted}; {there}")]
    NoSnapshot {
        /// The partition.
        partition: Partition,
        /// Which was wanted.
        wanted: String,
        /// Which there are.
        there: String,
    },
    /// All is as it should be.
    #[error("there is nothing to change: {0}")]
    Nothing(&'static str),
}

impl From<StreamError> for AmendError {
    fn from(error: StreamError) -> Self {
        Self::Pipeline(error.into())
    }
}

/// How long nothing may come: of the group no partitions, of the log no records.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// A partition as it is found.
struct Found<E> {
    partition: Partition,
    site: Site<E>,
    published: Published,
    committed: Offset,
    earliest: Offset,
}

/// A partition as it is to be.
struct Change<E> {
    found: Found<E>,
    site: Site<E>,
    forgotten: Forgotten,
}

/// Whoever amends.
pub struct Amender<'a, M: Model, S: History, C: Clock> {
    /// The model.
    pub model: &'a M,
    /// Its columns.
    pub schema: &'a Schema,
    /// How it learns, and from which columns.
    pub setup: Setup,
    /// As the loop has them.
    pub settings: &'a Settings,
    /// The log, of which nothing has been taken yet.
    pub stream: &'a mut S,
    /// Time.
    pub clock: &'a C,
    /// Partitions of the events topic.
    pub partitions: usize,
}

impl<M: Model, S: History, C: Clock> Amender<'_, M, S, C> {
    /// Makes the change, unless `dry`: then it only says what it would do. After an error nothing has changed, but for
    /// [`StreamError::Restore`] at the commit, whose outcome is unknown.
    pub fn amend(mut self, amendment: &Amendment, dry: bool) -> Result<Vec<Amended>, AmendError> {
        let found = self.take_over()?;
        let changes = self.plan(amendment, found)?;
        let amended = changes.iter().map(|change| Amended {
            partition: change.found.partition,
            forgotten: change.forgotten,
            events_before: change.found.site.events,
            events: change.site.events,
            covers_to: change.site.covers_to,
            committed: change.found.committed,
        });
        let amended = amended.collect();
        if !dry {
            self.commit(&changes)?;
        }
        Ok(amended)
    }

    /// Waits for all partitions and looks at what is known of each. Those of which nothing was learnt are left out.
    fn take_over(&mut self) -> Result<Vec<Found<M::Evidence>>, AmendError> {
        let deadline = self.clock.monotonic() + SILENCE_LIMIT;
        let assigned = loop {
            if let Some(Incoming::Assigned(partitions)) = self.stream.next(SLICE)? {
                break partitions;
            }
            if self.clock.monotonic() > deadline {
                break Vec::new();
            }
        };
        if assigned.len() != self.partitions {
            return Err(AmendError::NotAlone { given: assigned.len(), partitions: self.partitions });
        }
        let restored = self.stream.restore(&assigned)?;
        let mut found = Vec::new();
        for (partition, Restored { committed, earliest, snapshot, .. }) in assigned.into_iter().zip(restored) {
            let Some(snapshot) = snapshot else { continue };
            let (header, site) = read(self.model, self.settings, &snapshot)?;
            let published = Published::of(&snapshot, header);
            let covers_to = site.covers_to;
            let committed = match committed {
                Some(committed) if covers_to <= committed => Ok(committed),
                Some(committed) => Err(EngineError::AheadOfCommit { partition, covers_to, committed }),
                None => Err(EngineError::NothingCommitted { partition, covers_to }),
            };
            let committed = committed.map_err(PipelineError::from)?;
            found.push(Found { partition, site, published, committed, earliest });
        }
        Ok(found)
    }

    /// One transaction with all amended sites, and with the group's offsets as they are.
    fn commit(&mut self, changes: &[Change<M::Evidence>]) -> Result<(), StreamError> {
        self.stream.begin()?;
        let sent = changes.iter().try_for_each(|Change { found, site, forgotten }| {
            // Snapshots that hold what is forgotten are forgotten with it.
            let archive = found.published.archive.iter().filter(|kept| kept.covers_to <= forgotten.span.from).copied().collect();
            let place = (found.partition, site);
            publish(self.stream, self.settings, self.model, place, &found.published, archive, self.clock.unix_ms()).map(drop)
        });
        let offsets: Vec<_> = changes.iter().map(|change| (change.found.partition, change.found.committed)).collect();
        match sent.and_then(|()| self.stream.commit(&offsets)) {
            Err(StreamError::Abort(reason)) => {
                self.stream.abort()?;
                Err(StreamError::Abort(format!("{reason}; nothing has changed")))
            }
            committed => committed,
        }
    }
}

impl<E: Evidence> Found<E> {
    fn into_change(self, mut site: Site<E>, forgotten: Forgotten) -> Change<E> {
        site.forgotten = self.site.forgotten.iter().copied().chain([forgotten]).collect();
        Change { found: self, site, forgotten }
    }
}
