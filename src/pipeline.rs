//! The loop: records in; scores, sites, dead letters and offsets out, in one transaction.
//!
//! Owns the order of things and nothing else: the engine decides what is learnt, the stream what a transaction is. Records are scored,
//! learnt and published as they come, and the engine advances only when the stream says that all of it was committed.

pub mod amend;
mod clock;
mod publish;
mod transaction;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::codec::wire;
use crate::engine::{Engine, EngineError, Setup, Site};
use crate::failpoint;
use crate::features::Schema;
use crate::models::Model;
use crate::record::{Offset, Partition, Run};
use crate::stream::{Incoming, Stream, StreamError};
use crate::telemetry::{Health, events};

pub use clock::{Clock, SystemClock};
pub use publish::Archive;
pub use transaction::Committed;

use publish::Published;
use transaction::Transaction;

/// When to commit, and under which names to publish.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Names the posterior.
    pub model_id: String,
    /// The topic that events come from.
    pub topic: String,
    /// Whether events that retention has deleted before they were scored are passed over. Otherwise they end the loop.
    pub skip_deleted: bool,
    /// Longest time that a record waits for its commit.
    pub commit_interval: Duration,
    /// Records in a transaction at most.
    pub commit_max_events: usize,
    /// Longest time between two snapshots of a site that changes.
    pub snapshot_interval: Duration,
    /// Which earlier snapshots are kept.
    pub archive: Archive,
    /// How scores are written.
    pub scores_format: wire::Format,
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
    #[error("{0}; give the new model an id of its own, or delete this one's snapshots from the posterior topic")]
    Wire(#[from] wire::WireError),
    /// A snapshot of the same model id that was learnt from another topic.
    #[error(
        "the snapshots of model `{model_id}` were learnt from topic `{found}`, not from `{expected}`: give the model another id"
    )]
    OtherTopic {
        /// The model.
        model_id: String,
        /// The topic that the snapshot names.
        found: String,
        /// The topic that is read.
        expected: String,
    },
}

/// The longest wait without looking whether to stop.
const SLICE: Duration = Duration::from_millis(100);

/// Aborted transactions in a row after which the state is restored from the log.
const MAX_ABORTS: u32 = 5;

/// The longest pause between two restarts that failed.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// Which sites a transaction takes along, of those that have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sites {
    /// All.
    All,
    /// All if it is time, or if the transaction turns out to be the first or the last one of a partition.
    WhenDue,
}

/// The loop over one stream.
pub struct Pipeline<M: Model, S: Stream, C: Clock> {
    engine: Engine<M>,
    stream: S,
    clock: C,
    schema: Schema,
    setup: Setup,
    settings: Settings,
    health: Health,
    /// What the posterior topic holds of each partition.
    published: BTreeMap<Partition, Published>,
    /// What came and ended a transaction, still to be dealt with.
    pending: Option<Incoming>,
    /// When sites are next due.
    sites_due: Duration,
    aborts: u32,
    restarts: u32,
    /// Why the last restart did not succeed, if it did not.
    pending_restart: Option<String>,
}

impl<M: Model, S: Stream, C: Clock> Pipeline<M, S, C> {
    /// A loop that knows the prior only.
    pub fn new(
        model: M,
        schema: Schema,
        setup: impl Into<Setup>,
        settings: Settings,
        stream: S,
        clock: C,
        health: Health,
    ) -> Result<Self, EngineError> {
        let (now, setup) = (clock.monotonic(), setup.into());
        Ok(Self {
            engine: Engine::new(model, &schema, setup.clone())?,
            stream,
            clock,
            schema,
            setup,
            settings,
            health,
            published: BTreeMap::new(),
            pending: None,
            sites_due: now,
            aborts: 0,
            restarts: 0,
            pending_restart: None,
        })
    }

    /// Goes on until `stop` says so, then commits what is done, with all sites, and leaves the group.
    pub fn run(mut self, stop: &AtomicBool, observe: &mut dyn FnMut(&Committed)) -> Result<Engine<M>, PipelineError> {
        while !stop.load(Ordering::Relaxed) {
            match self.turn(stop, observe) {
                Err(PipelineError::Stream(StreamError::Restore(reason))) => self.restart(&reason)?,
                turned => turned?,
            }
        }
        // What was lost is another's by now, and no more to be committed from here.
        if let Some(Incoming::Lost(partitions)) = self.pending.take() {
            self.give_up(&partitions);
        }
        let last = self.transact(None, Sites::All, stop, observe);
        self.stream.close();
        match last {
            // Not committed, so whoever takes over learns it again: nothing is lost.
            Ok(()) | Err(PipelineError::Stream(StreamError::Restore(_))) => Ok(self.engine),
            Err(error) => Err(error),
        }
    }

    /// Takes in the next thing to happen.
    fn turn(&mut self, stop: &AtomicBool, observe: &mut dyn FnMut(&Committed)) -> Result<(), PipelineError> {
        if let Some(reason) = self.pending_restart.take() {
            return Err(StreamError::Restore(reason).into());
        }
        self.health.progress();
        let incoming = match self.pending.take() {
            Some(incoming) => Some(incoming),
            None => self.stream.next(SLICE)?,
        };
        match incoming {
            Some(Incoming::Run(run)) => self.transact(Some(run), Sites::WhenDue, stop, observe),
            Some(Incoming::Assigned(partitions)) => self.take_over(&partitions),
            Some(Incoming::Revoked(partitions)) => {
                self.transact(None, Sites::All, stop, observe)?;
                failpoint::reach("revoked");
                self.give_up(&partitions);
                self.stream.released(&partitions);
                events::PartitionsRevoked { partitions: &partitions, held: self.engine.assigned().count() }.emit();
                Ok(())
            }
            Some(Incoming::Lost(partitions)) => {
                self.give_up(&partitions);
                events::PartitionsLost { partitions: &partitions, held: self.engine.assigned().count() }.emit();
                Ok(())
            }
            Some(Incoming::Snapshot(snapshot)) => {
                let (header, site) = read(self.engine.model(), &self.settings, &snapshot)?;
                Ok(self.engine.absorb(header.partition, site).map_err(EngineError::from)?)
            }
            None if self.engine.has_unpublished() && self.clock.monotonic() >= self.sites_due => {
                self.transact(None, Sites::All, stop, observe)
            }
            None => {
                self.settle()?;
                // Nothing came: partitions may have gone, and the lag with them.
                self.stream.lag().into_iter().for_each(|records| events::LagMeasured { records }.emit());
                Ok(())
            }
        }
    }

    /// Restores newly assigned partitions and lets their records come.
    fn take_over(&mut self, partitions: &[Partition]) -> Result<(), PipelineError> {
        self.health.set_ready(false);
        events::PartitionsAssigned { partitions, held: self.engine.assigned().count() + partitions.len() }.emit();
        let restored = self.stream.restore(partitions)?;
        let mut from = Vec::with_capacity(partitions.len());
        for (partition, known) in partitions.iter().zip(restored) {
            let site = match &known.snapshot {
                Some(snapshot) => {
                    let (header, site) = read(self.engine.model(), &self.settings, snapshot)?;
                    self.published.insert(*partition, Published::of(snapshot, header));
                    Some(site)
                }
                None => None,
            };
            let start = self.engine.assign(*partition, site, known.committed, known.initial)?;
            let first = self.first_left(*partition, start, known.committed, known.earliest)?;
            let relearn = known.committed.map_or(0, |committed| (committed.0 - start.0).max(0));
            match known.snapshot {
                Some(_) => events::SnapshotRestored { partition: *partition, covers_to: start, relearn }.emit(),
                None => events::PartitionBegun { partition: *partition, from: start, relearn }.emit(),
            }
            from.push((*partition, first));
        }
        failpoint::reach("restored");
        self.settle()?;
        self.stream.resume(&from)?;
        // A group with more instances than partitions gives some of them none.
        self.health.set_ready(self.engine.assigned().next().is_some());
        Ok(())
    }

    /// Commits where partitions begin. Otherwise a group that begins at the log's end would begin at a later one after a restart.
    fn settle(&mut self) -> Result<(), StreamError> {
        let begun: Vec<_> = self.engine.unsettled().collect();
        if begun.is_empty() {
            return Ok(());
        }
        self.stream.begin()?;
        failpoint::reach("settling");
        match self.stream.commit(&begun) {
            Ok(()) => {
                self.engine.begun();
                self.aborts = 0;
                Ok(())
            }
            // One may have been taken in the meantime, whose next owner does it. For those that stay, it is done when next nothing
            // comes, or with what comes.
            Err(StreamError::Abort(reason)) => {
                events::TransactionAborted { reason: &reason }.emit();
                self.stream.abort()?;
                self.count_abort(&reason)
            }
            Err(error) => Err(error),
        }
    }

    /// One more transaction was aborted. Too many in a row are a reason to begin again from the log.
    fn count_abort(&mut self, reason: &str) -> Result<(), StreamError> {
        self.aborts += 1;
        if self.aborts < MAX_ABORTS {
            return Ok(());
        }
        self.aborts = 0;
        Err(StreamError::Restore(format!("{MAX_ABORTS} transactions in a row were aborted: {reason}")))
    }

    /// The first record from `start` on that is still in the log. Those that retention has deleted before they were scored are an
    /// error: a gap must not pass in silence. Those that were scored and waited to be learnt, as the last ones before an idle time
    /// do, are missed by the posterior only.
    fn first_left(
        &self,
        partition: Partition,
        start: Offset,
        committed: Option<Offset>,
        earliest: Offset,
    ) -> Result<Offset, StreamError> {
        if start >= earliest {
            return Ok(start);
        }
        if committed.is_some_and(|committed| committed >= earliest) {
            events::RecordsDeleted { partition, from: start, to: earliest }.emit();
            return Ok(earliest);
        }
        let from = committed.map_or(start, |committed| committed.max(start));
        let missing = earliest.0 - from.0;
        if self.settings.skip_deleted {
            events::RecordsMissed { partition, from, to: earliest }.emit();
            return Ok(earliest);
        }
        Err(StreamError::Stop(format!(
            "partition {partition} of `{}`: offsets {from} to {earliest} were deleted by retention before they were scored \
             ({missing} offsets); raise the topic's retention, and set `deleted_events = \"skip\"` in [kafka] to go on without them",
            self.settings.topic
        )))
    }

    /// Gives up partitions that are no longer this instance's.
    fn give_up(&mut self, partitions: &[Partition]) {
        partitions.iter().for_each(|partition| self.engine.release(*partition));
        if self.engine.assigned().next().is_none() {
            self.health.set_ready(false);
        }
    }

    /// One transaction: scores, learns and publishes `first` and what comes after it, until the interval is over, enough was taken
    /// in, or something else than records comes; then commits it all, with sites that have changed. With nothing to say, does nothing.
    fn transact(
        &mut self,
        first: Option<Run>,
        sites: Sites,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(&Committed),
    ) -> Result<(), PipelineError> {
        let nothing = !self.engine.has_unpublished() && self.engine.unsettled().next().is_none();
        if first.is_none() && nothing {
            return Ok(());
        }
        let Self { engine, stream, clock, settings, health, published, pending, .. } = self;
        let mut transaction = Transaction::open(engine, stream, clock, settings, health)?;
        let filled = match first {
            Some(run) => transaction.fill(run, stop),
            None => Ok(None),
        };
        let committed = filled.and_then(|incoming| {
            let lost = matches!(incoming, Some(Incoming::Lost(_)));
            let ending = matches!(incoming, Some(Incoming::Revoked(_))) || stop.load(Ordering::Relaxed);
            *pending = incoming;
            if lost {
                return Err(StreamError::Abort("partitions were taken away".into()).into());
            }
            let now = clock.monotonic();
            let due = ending || sites == Sites::All || now >= self.sites_due;
            let with_sites = due || transaction.begins_a_site(published);
            if with_sites {
                transaction.publish_sites(published)?;
            }
            transaction.commit()?;
            // From when they were made: a commit that took long makes the next ones due the sooner.
            Ok(with_sites.then_some(now + settings.snapshot_interval))
        });
        match committed {
            Ok(sites_due) => {
                let (report, sent) = transaction.advance(sites_due.is_some());
                published.extend(sent);
                self.sites_due = sites_due.unwrap_or(self.sites_due);
                (self.aborts, self.restarts) = (0, 0);
                observe(&report);
                Ok(())
            }
            Err(PipelineError::Stream(StreamError::Abort(reason))) => {
                transaction.abort(&reason)?;
                Ok(self.count_abort(&reason)?)
            }
            // Dropping the transaction puts the engine back; the stream ends its side by a restart or by closing.
            Err(error) => Err(error),
        }
    }

    /// Forgets everything and begins again from what the log says. Pauses between restarts that lead nowhere.
    fn restart(&mut self, reason: &str) -> Result<(), PipelineError> {
        events::Restarted { reason }.emit();
        self.health.set_ready(false);
        let pause = Duration::from_millis(100 << self.restarts.min(10)).min(MAX_PAUSE);
        if self.restarts > 0 {
            self.clock.pause(pause);
        }
        self.restarts += 1;
        self.engine = Engine::new(self.engine.model().clone(), &self.schema, self.setup.clone())?;
        self.pending = None;
        failpoint::reach("restarting");
        match self.stream.restart() {
            Err(StreamError::Restore(reason)) => self.pending_restart = Some(reason),
            restarted => restarted?,
        }
        Ok(())
    }
}

/// Reads a snapshot of this model.
fn read<M: Model>(
    model: &M,
    settings: &Settings,
    snapshot: &[u8],
) -> Result<(wire::SnapshotHeader, Site<M::Evidence>), PipelineError> {
    let snapshot = wire::decode_snapshot(snapshot)?;
    if snapshot.header.topic != settings.topic {
        return Err(PipelineError::OtherTopic {
            model_id: settings.model_id.clone(),
            found: snapshot.header.topic,
            expected: settings.topic.clone(),
        });
    }
    let site = snapshot.site(model)?;
    Ok((snapshot.header, site))
}
