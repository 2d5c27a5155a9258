//! The loop: records in; scores, sites, dead letters and offsets out, in one transaction.
//!
//! Owns the order of things and nothing else: the engine decides what is learnt, the stream what a transaction is. What was
//! taken in since the last commit is scored, learnt and published together, and the engine advances only when the stream says that
//! all of it was committed.

mod clock;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::codec::wire;
use crate::engine::{Engine, EngineError, Learning, Ready, Site};
use crate::features::Schema;
use crate::models::{Evidence, Model};
use crate::record::{Offset, Partition, Reason, Run};
use crate::stream::{Incoming, Outlet, Stream, StreamError};
use crate::telemetry::{Health, events};

pub use clock::{Clock, SystemClock};

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

/// Aborted transactions in a row after which the state is restored from the log.
const MAX_ABORTS: u32 = 5;

/// The longest pause between two restarts that failed.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// The loop over one stream.
pub struct Pipeline<M: Model, S: Stream, C: Clock> {
    engine: Engine<M>,
    stream: S,
    clock: C,
    schema: Schema,
    learning: Learning,
    settings: Settings,
    health: Health,
    /// Chunks of each site's last snapshot.
    chunks: BTreeMap<Partition, usize>,
    /// Taken in since the last commit.
    runs: Vec<Run>,
    records: usize,
    /// When the oldest of them came, and when sites are next due.
    since: Duration,
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
        learning: Learning,
        settings: Settings,
        stream: S,
        clock: C,
        health: Health,
    ) -> Result<Self, EngineError> {
        let now = clock.monotonic();
        Ok(Self {
            engine: Engine::new(model, &schema, learning)?,
            stream,
            clock,
            schema,
            learning,
            settings,
            health,
            chunks: BTreeMap::new(),
            runs: Vec::new(),
            records: 0,
            since: now,
            sites_due: now,
            aborts: 0,
            restarts: 0,
            pending_restart: None,
        })
    }

    /// Goes on until `stop` says so, then commits what is done, with all sites, and leaves the group.
    pub fn run(mut self, stop: &AtomicBool, observe: &mut dyn FnMut(&Committed)) -> Result<Engine<M>, PipelineError> {
        while !stop.load(Ordering::Relaxed) {
            match self.turn(observe) {
                Err(PipelineError::Stream(StreamError::Restore(reason))) => self.restart(&reason)?,
                turned => turned?,
            }
        }
        let flushed = self.commit(true, observe);
        self.stream.close();
        match flushed {
            // Not committed, so the next one to take over learns it again: nothing is lost.
            Err(PipelineError::Stream(StreamError::Abort(_) | StreamError::Restore(_))) | Ok(()) => Ok(self.engine),
            Err(error) => Err(error),
        }
    }

    /// Takes in the next thing to happen and commits when it is time.
    fn turn(&mut self, observe: &mut dyn FnMut(&Committed)) -> Result<(), PipelineError> {
        if let Some(reason) = self.pending_restart.take() {
            return Err(StreamError::Restore(reason).into());
        }
        let now = self.clock.monotonic();
        self.health.progress();
        let due =
            if self.runs.is_empty() { now + self.settings.commit_interval } else { self.since + self.settings.commit_interval };
        match self.stream.next(due.saturating_sub(now))? {
            Some(Incoming::Run(run)) => {
                if self.runs.is_empty() {
                    self.since = self.clock.monotonic();
                }
                self.records += run.len();
                self.runs.push(run);
            }
            Some(Incoming::Assigned(partitions)) => self.take_over(&partitions)?,
            Some(Incoming::Revoked(partitions)) => {
                self.commit(true, observe)?;
                self.give_up(&partitions);
                self.stream.released(&partitions);
                events::PartitionsRevoked { partitions: &partitions }.emit();
            }
            Some(Incoming::Lost(partitions)) => {
                self.give_up(&partitions);
                events::PartitionsLost { partitions: &partitions }.emit();
            }
            Some(Incoming::Snapshot(snapshot)) => {
                let (partition, site) = self.read(&snapshot)?;
                self.engine.absorb(partition, site).map_err(EngineError::from)?;
            }
            // Nothing came: partitions may have gone, and the lag with them.
            None => self.stream.lag().into_iter().for_each(|records| events::LagMeasured { records }.emit()),
        }
        let now = self.clock.monotonic();
        let full = self.records >= self.settings.commit_max_events;
        if full || (!self.runs.is_empty() && now >= self.since + self.settings.commit_interval) {
            self.commit(now >= self.sites_due, observe)?;
        } else if self.runs.is_empty() && now >= self.sites_due {
            self.commit(true, observe)?;
        }
        Ok(())
    }

    /// Restores newly assigned partitions and lets their records come.
    fn take_over(&mut self, partitions: &[Partition]) -> Result<(), PipelineError> {
        self.health.set_ready(false);
        events::PartitionsAssigned { partitions }.emit();
        let restored = self.stream.restore(partitions)?;
        let mut from = Vec::with_capacity(partitions.len());
        for (partition, known) in partitions.iter().zip(restored) {
            let site = match &known.snapshot {
                Some(snapshot) => Some(self.read(snapshot)?.1),
                None => None,
            };
            if let Some(snapshot) = &known.snapshot {
                self.chunks.insert(*partition, snapshot.len().div_ceil(wire::MAX_CHUNK_BYTES));
            }
            let start = self.engine.assign(*partition, site, known.committed, known.initial)?;
            self.check_retention(*partition, start, known.earliest)?;
            let relearn = known.committed.map_or(0, |committed| (committed.0 - start.0).max(0));
            match known.snapshot {
                Some(_) => events::SnapshotRestored { partition: *partition, covers_to: start, relearn }.emit(),
                None => events::PartitionBegun { partition: *partition, from: start, relearn }.emit(),
            }
            from.push((*partition, start));
        }
        self.stream.resume(&from)?;
        // A group with more instances than partitions gives some of them none.
        self.health.set_ready(self.engine.assigned().next().is_some());
        Ok(())
    }

    /// Events that retention has deleted before they were learnt are an error: a gap must not pass in silence.
    fn check_retention(&self, partition: Partition, start: Offset, earliest: Offset) -> Result<(), StreamError> {
        if start >= earliest {
            return Ok(());
        }
        let missing = earliest.0 - start.0;
        Err(StreamError::Stop(format!(
            "partition {partition} of `{}`: offsets {start} to {earliest} were deleted by retention before they were learnt \
             ({missing} offsets); raise the topic's retention, or set the group's offset to {earliest} to go on without them",
            self.settings.topic
        )))
    }

    /// Forgets what is under way of partitions that are no longer this instance's.
    fn give_up(&mut self, partitions: &[Partition]) {
        self.runs.retain(|run| !partitions.contains(&run.partition));
        self.records = self.runs.iter().map(Run::len).sum();
        partitions.iter().for_each(|partition| self.engine.release(*partition));
        if self.engine.assigned().next().is_none() {
            self.health.set_ready(false);
        }
    }

    /// Reads a snapshot of this model.
    fn read(&self, snapshot: &[u8]) -> Result<(Partition, Site<M::Evidence>), PipelineError> {
        let snapshot = wire::decode_snapshot(snapshot)?;
        if snapshot.header.topic != self.settings.topic {
            return Err(PipelineError::OtherTopic {
                model_id: self.settings.model_id.clone(),
                found: snapshot.header.topic,
                expected: self.settings.topic.clone(),
            });
        }
        Ok((snapshot.header.partition, snapshot.site(self.engine.model())?))
    }

    /// Scores, learns and publishes what was taken in, in one transaction, with the sites that have changed if `with_sites`.
    fn commit(&mut self, with_sites: bool, observe: &mut dyn FnMut(&Committed)) -> Result<(), PipelineError> {
        let started = self.clock.monotonic();
        let runs = std::mem::take(&mut self.runs);
        self.records = 0;
        let ready = self.engine.step(runs)?;
        let stepped = self.clock.monotonic();
        if ready.runs().is_empty() && ready.unpublished().next().is_none() {
            ready.abort();
            self.sites_due = started + self.settings.snapshot_interval;
            return Ok(());
        }
        let mut report = Committed::of(&ready);
        let published = publish(&mut self.stream, &self.settings, &ready, with_sites, &self.chunks, self.clock.unix_ms());
        let sent = self.clock.monotonic();
        let consumed: Vec<_> = ready.consumed().collect();
        match published.and_then(|chunks| self.stream.commit(&consumed).map(|()| chunks)) {
            Ok(chunks) => {
                self.chunks.extend(chunks);
                events::TransactionCommitted { commit: self.clock.monotonic() - sent }.emit();
                report.lag_records = self.stream.lag();
                report.emit(&ready, stepped - started, sent - stepped, self.clock.unix_ms());
                ready.advance(with_sites);
                (self.aborts, self.restarts) = (0, 0);
                if with_sites {
                    self.sites_due = started + self.settings.snapshot_interval;
                }
                observe(&report);
                Ok(())
            }
            Err(StreamError::Abort(reason)) => {
                let back = ready.abort();
                events::TransactionAborted { reason: &reason }.emit();
                self.stream.abort()?;
                self.aborts += 1;
                if self.aborts == MAX_ABORTS {
                    self.aborts = 0;
                    return Err(StreamError::Restore(format!("{MAX_ABORTS} transactions in a row were aborted: {reason}")).into());
                }
                Ok(self.stream.resume(&back)?)
            }
            Err(error) => {
                ready.abort();
                Err(error.into())
            }
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
        self.engine = Engine::new(self.engine.model().clone(), &self.schema, self.learning)?;
        self.runs.clear();
        self.records = 0;
        match self.stream.restart() {
            Err(StreamError::Restore(reason)) => self.pending_restart = Some(reason),
            restarted => restarted?,
        }
        Ok(())
    }
}

/// Sends all that `ready` has to say, in a transaction that it begins. `chunks` are those of each site's last snapshot; returns
/// those of the snapshots sent.
fn publish<M: Model, S: Stream>(
    stream: &mut S,
    settings: &Settings,
    ready: &Ready<'_, M>,
    with_sites: bool,
    chunks: &BTreeMap<Partition, usize>,
    now_ms: i64,
) -> Result<BTreeMap<Partition, usize>, StreamError> {
    let mut sent = BTreeMap::new();
    let Settings { model_id, topic, scores_format, .. } = settings;
    stream.begin()?;
    let mut message = Vec::new();
    for (partition, head, score) in ready.scores() {
        wire::encode_score(model_id, topic, partition, head, score, *scores_format, &mut message);
        stream.send(Outlet::Scores, partition, head.key.as_deref(), Some(&message))?;
    }
    for (partition, dead) in ready.dead_letters() {
        wire::encode_dead_letter(model_id, topic, partition, dead, &mut message);
        stream.send(Outlet::DeadLetters, partition, dead.head.key.as_deref(), Some(&message))?;
    }
    if !with_sites {
        return Ok(sent);
    }
    for (partition, site) in ready.unpublished() {
        let header = wire::SnapshotHeader {
            model_id: model_id.clone(),
            model_kind: M::KIND.into(),
            fingerprint: ready.model().fingerprint(),
            topic: topic.clone(),
            partition,
            created_ms: now_ms,
        };
        let messages = wire::encode_snapshot(&header, site, &ready.model().columns(&site.evidence), wire::MAX_CHUNK_BYTES);
        for (key, chunk) in &messages {
            stream.send(Outlet::Posterior, partition, Some(key.as_bytes()), Some(chunk))?;
        }
        // Chunks that the snapshot before this one had and this one has not.
        for gone in messages.len()..chunks.get(&partition).copied().unwrap_or(0) {
            let key = wire::snapshot_key(model_id, partition, gone as u32);
            stream.send(Outlet::Posterior, partition, Some(key.as_bytes()), None)?;
        }
        sent.insert(partition, messages.len());
    }
    Ok(sent)
}

impl Committed {
    fn of<M: Model>(ready: &Ready<'_, M>) -> Self {
        let mut report = Self { records: ready.runs().iter().map(|run| run.len() as u64).sum(), ..Self::default() };
        for (_, _, score) in ready.scores() {
            report.scored += 1;
            report.surprisal_sum += score.surprisal;
        }
        report.dead_letters = ready.dead_letters().count() as u64;
        report
    }

    fn emit<M: Model>(&self, ready: &Ready<'_, M>, step: Duration, publish: Duration, now_ms: i64) {
        let oldest = ready.scores().filter_map(|(_, head, _)| head.timestamp_ms).min();
        events::BatchProcessed {
            events: self.scored as usize,
            bytes: ready.runs().iter().map(|run| run.bytes).sum(),
            step,
            publish,
            oldest: oldest.map(|oldest| Duration::from_millis((now_ms - oldest).max(0).unsigned_abs())),
        }
        .emit();
        if self.scored > 0 {
            events::StepTaken {
                mean_surprisal: self.surprisal_sum / self.scored as f64,
                effective_events: ready.engine().sites().map(|(_, site)| site.evidence.events()).sum(),
                active_components: ready.model().active(ready.engine().posterior()),
            }
            .emit();
        }
        if ready.tally().refused > 0 {
            events::BlockRefused { events: ready.tally().refused }.emit();
        }
        for reason in Reason::ALL {
            let count = ready.dead_letters().filter(|(_, dead)| dead.reason == reason).count();
            if count > 0 {
                events::DeadLettersWritten { reason, count }.emit();
            }
        }
        if let Some(records) = self.lag_records {
            events::LagMeasured { records }.emit();
        }
    }
}
