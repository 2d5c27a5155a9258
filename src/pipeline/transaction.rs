//! One transaction: what is taken in, what is said about it, and how it ends.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::publish::{Published, publish};
use super::{Clock, PipelineError, SLICE, Settings, read};
use crate::codec::wire;
use crate::engine::{Engine, EngineError, Ready, Refused};
use crate::failpoint;
use crate::models::{Evidence, Model, inferred};
use crate::record::{Partition, Reason, Run};
use crate::stream::{Incoming, Outlet, Stream, StreamError};
use crate::telemetry::{Health, events};

/// Alerts of one transaction, and changes of regime, that are logged one by one.
const LOGGED: usize = 20;

/// What a committed transaction did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Committed {
    /// Records taken in.
    pub records: u64,
    /// Of the records: events that were scored.
    pub scored: u64,
    /// Of the records: those that became dead letters.
    pub dead_letters: u64,
    /// Sum of the surprisals of the scored, in nats.
    pub surprisal_sum: f64,
    /// Records that wait in the log, where known.
    pub lag_records: Option<u64>,
}

/// An open transaction and the step that it publishes. Dropping it puts the engine back and leaves the stream's side open.
pub(super) struct Transaction<'a, M: Model, S: Stream, C: Clock> {
    ready: Ready<'a, M>,
    stream: &'a mut S,
    clock: &'a C,
    settings: &'a Settings,
    health: &'a Health,
    opened: Duration,
    /// Time spent on scoring and learning, on sending, and on the commit.
    step: Duration,
    publish: Duration,
    commit: Duration,
    report: Committed,
    bytes: usize,
    /// Snapshots sent.
    published: BTreeMap<Partition, Published>,
    message: Vec<u8>,
}

impl<'a, M: Model, S: Stream, C: Clock> Transaction<'a, M, S, C> {
    pub(super) fn open(
        engine: &'a mut Engine<M>,
        stream: &'a mut S,
        clock: &'a C,
        settings: &'a Settings,
        health: &'a Health,
    ) -> Result<Self, StreamError> {
        failpoint::reach("before_begin");
        stream.begin()?;
        failpoint::reach("begun");
        Ok(Self {
            ready: engine.open(),
            opened: clock.monotonic(),
            stream,
            clock,
            settings,
            health,
            step: Duration::ZERO,
            publish: Duration::ZERO,
            commit: Duration::ZERO,
            report: Committed::default(),
            bytes: 0,
            published: BTreeMap::new(),
            message: Vec::new(),
        })
    }

    /// Takes in `run` and what comes after it, until it is time to commit. Returns what came that is not for a transaction.
    pub(super) fn fill(&mut self, run: Run, stop: &AtomicBool) -> Result<Option<Incoming>, PipelineError> {
        let due = self.opened + self.settings.commit_interval;
        self.take(run)?;
        loop {
            self.health.progress();
            let now = self.clock.monotonic();
            let full = self.report.records >= self.settings.commit_max_events as u64;
            if full || now >= due || stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            match self.stream.next(due.saturating_sub(now).min(SLICE))? {
                Some(Incoming::Run(run)) => self.take(run)?,
                Some(Incoming::Snapshot(snapshot)) => {
                    let (header, site) = read(self.ready.model(), self.settings, &snapshot)?;
                    self.ready.absorb(header.partition, site).map_err(EngineError::from)?;
                }
                Some(other) => return Ok(Some(other)),
                None => {}
            }
        }
    }

    /// Scores and learns a run and sends what is to be said about it.
    fn take(&mut self, run: Run) -> Result<(), PipelineError> {
        let Settings { model_id, topic, scores_format, .. } = self.settings;
        let started = self.clock.monotonic();
        let taken = self.ready.take(run)?;
        let stepped = self.clock.monotonic();
        let partition = taken.run().partition;
        for (head, score) in taken.scores() {
            wire::encode_score(model_id, topic, partition, head, score, *scores_format, &mut self.message);
            self.stream.send(Outlet::Scores, partition, head.key.as_deref(), Some(&self.message))?;
            self.report.scored += 1;
            self.report.surprisal_sum += score.surprisal;
        }
        for dead in taken.dead_letters() {
            wire::encode_dead_letter(model_id, topic, partition, dead, &mut self.message);
            self.stream.send(Outlet::DeadLetters, partition, dead.head.key.as_deref(), Some(&self.message))?;
            self.report.dead_letters += 1;
        }
        self.report.records += taken.run().len() as u64;
        self.bytes += taken.run().bytes;
        self.step += stepped - started;
        self.publish += self.clock.monotonic() - stepped;
        Ok(())
    }

    /// Whether a site has changed that has no snapshot yet. Only a snapshot says where its evidence begins: without one, what is
    /// scored now could be left unlearnt after a restart that begins at the log's end.
    pub(super) fn begins_a_site(&self, before: &BTreeMap<Partition, Published>) -> bool {
        self.ready.unpublished().any(|(partition, _)| !before.contains_key(&partition))
    }

    /// Sends the sites that have changed. `before` is what there is of each.
    pub(super) fn publish_sites(&mut self, before: &BTreeMap<Partition, Published>) -> Result<(), StreamError> {
        failpoint::reach("scores_sent");
        let started = self.clock.monotonic();
        let nothing = Published::default();
        for (partition, site) in self.ready.unpublished() {
            let before = before.get(&partition).unwrap_or(&nothing);
            let (place, now_ms) = ((partition, site), self.clock.unix_ms());
            let sent = publish(self.stream, self.settings, self.ready.model(), place, before, before.archive.clone(), now_ms)?;
            self.published.insert(partition, sent);
        }
        self.publish += self.clock.monotonic() - started;
        failpoint::reach("sites_sent");
        Ok(())
    }

    /// Commits everything that was sent, with the offsets of everything that was taken.
    pub(super) fn commit(&mut self) -> Result<(), StreamError> {
        let started = self.clock.monotonic();
        self.stream.commit(&self.ready.consumed().collect::<Vec<_>>())?;
        self.commit = self.clock.monotonic() - started;
        failpoint::reach("committed");
        Ok(())
    }

    /// The transaction was committed: the engine advances. Returns what was done, and the snapshots sent.
    pub(super) fn advance(mut self, with_sites: bool) -> (Committed, BTreeMap<Partition, Published>) {
        self.report.lag_records = self.stream.lag();
        self.emit();
        self.ready.advance(with_sites);
        failpoint::reach("advanced");
        (self.report, self.published)
    }

    /// Takes everything back and has the records come again.
    pub(super) fn abort(self, reason: &str) -> Result<(), StreamError> {
        events::TransactionAborted { reason }.emit();
        let back = self.ready.abort();
        failpoint::reach("aborting");
        self.stream.abort()?;
        self.stream.resume(&back)
    }

    /// Tells of the alerts and of changes of regime, the first of them one by one.
    fn emit_told(&self) {
        let topic = &self.settings.topic;
        let alerts = || self.ready.scores().filter(|(_, _, score)| score.alert);
        for (partition, head, score) in alerts().take(LOGGED) {
            events::AlertRaised { topic, partition, head, score }.emit();
        }
        let changes =
            || self.ready.scores().flat_map(|(partition, _, score)| score.changes.iter().map(move |change| (partition, change)));
        for (partition, change) in changes().take(LOGGED) {
            events::RegimeChanged { topic, partition, change }.emit();
        }
        let more = |all: usize| Some(all.saturating_sub(LOGGED) as u64).filter(|more| *more > 0);
        more(alerts().count()).into_iter().for_each(|count| events::AlertsUnlogged { count }.emit());
        more(changes().count()).into_iter().for_each(|count| events::ChangesUnlogged { count }.emit());
    }

    fn emit(&self) {
        events::TransactionCommitted { commit: self.commit }.emit();
        let Self { ready, report, .. } = self;
        if report.records > 0 {
            let oldest = ready.scores().filter_map(|(_, head, _)| head.timestamp_ms).min();
            let age_ms = |oldest: i64| self.clock.unix_ms().saturating_sub(oldest).max(0).unsigned_abs();
            events::BatchProcessed {
                events: report.scored as usize,
                bytes: self.bytes,
                step: self.step,
                publish: self.publish,
                oldest: oldest.map(|oldest| Duration::from_millis(age_ms(oldest))),
            }
            .emit();
        }
        if report.scored > 0 {
            let engine = ready.engine();
            let (progress, events) = engine.progress();
            let told = progress.expected_log_likelihood.filter(|_| events > 0.0);
            events::StepTaken {
                mean_surprisal: report.surprisal_sum / report.scored as f64,
                effective_events: engine.sites().map(|(_, site)| site.evidence.events()).sum(),
                half_life_events: inferred::half_life(&engine.model().memory(engine.posterior())),
                active_components: engine.model().active(engine.posterior()),
                expected_log_likelihood: told.map(|sum| sum / events),
                divergence: engine.model().divergence(engine.posterior()),
                step_norm: progress.step_norm,
                alert_threshold: engine.alert_threshold(),
                youngest_regime: engine.youngest_regime(),
            }
            .emit();
        }
        self.emit_told();
        let Refused { events, cause, clipped } = ready.refused();
        if let Some(cause) = cause {
            events::BlockRefused { events: *events, cause }.emit();
        }
        if *clipped > 0 {
            events::StepsClipped { steps: *clipped }.emit();
        }
        if report.dead_letters > 0 {
            for reason in Reason::ALL {
                match ready.dead_letters().filter(|(_, dead)| dead.reason == reason).count() {
                    0 => {}
                    count => events::DeadLettersWritten { reason, count }.emit(),
                }
            }
        }
        if let Some(records) = report.lag_records {
            events::LagMeasured { records }.emit();
        }
    }
}
