//! Happenings: one struct each, whose `emit` writes the log line and moves the metrics together.
//!
//! What happens often is logged at `debug`, changes of state at `info`, and what a person should look at from `warn` up. Nothing here
//! logs an event's content, but for the key of one that alerts.

mod alerts;
mod regimes;

use std::fmt;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::metrics as m;
use crate::record::{Offset, Partition, Reason};

pub use alerts::{AlertRaised, AlertsUnlogged};
pub use regimes::{ChangesUnlogged, RegimeChanged};

/// A run of records was decoded.
#[derive(Clone, Copy, Debug)]
pub struct RunDecoded {
    /// Records, decoded or dead.
    pub records: usize,
    /// Time it took.
    pub decode: Duration,
}

impl RunDecoded {
    /// Logs and counts it.
    pub fn emit(self) {
        m::DECODE.observe(self.decode);
        debug!(records = self.records, decode_seconds = self.decode.as_secs_f64(), "records decoded");
    }
}

/// A batch went all the way: scored, learnt, published and committed.
#[derive(Clone, Copy, Debug)]
pub struct BatchProcessed {
    /// Events scored.
    pub events: usize,
    /// Bytes of the values of all its records.
    pub bytes: usize,
    /// Time to score and learn.
    pub step: Duration,
    /// Time to hand the results to the producer.
    pub publish: Duration,
    /// Age of the oldest event at the commit, by its timestamp, if it has one. One sample a transaction: no other event of it was
    /// older, so the histogram never flatters.
    pub oldest: Option<Duration>,
}

impl BatchProcessed {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self { events, bytes, step, publish, oldest } = self;
        m::BATCHES.add(1);
        m::EVENTS.add(events as u64);
        m::RECEIVED.add(bytes as u64);
        m::STEP.observe(step);
        m::PUBLISH.observe(publish);
        oldest.into_iter().for_each(|age| m::END_TO_END.observe(age));
        debug!(events, bytes, step_seconds = step.as_secs_f64(), publish_seconds = publish.as_secs_f64(), "batch processed");
    }
}

/// The posterior moved.
#[derive(Clone, Copy, Debug)]
pub struct StepTaken {
    /// Mean surprisal of the events that were scored, in nats.
    pub mean_surprisal: f64,
    /// Events behind the posterior, after forgetting.
    pub effective_events: f64,
    /// Events after which evidence weighs half, where that is inferred from the stream.
    pub half_life_events: Option<f64>,
    /// Components that carry weight.
    pub active_components: usize,
    /// `E_q ln p(events | θ)` an event of the latest block, in nats.
    pub expected_log_likelihood: Option<f64>,
    /// KL(q(θ) ‖ p(θ)), in nats.
    pub divergence: Option<f64>,
    /// Length of the latest step in the posterior's own metric.
    pub step_norm: Option<f64>,
    /// Decades of tail probability from which an incident alerts, in the partition where that is least.
    pub alert_threshold: Option<f64>,
    /// Events since a series which is watched entered its regime, where these are fewest.
    pub youngest_regime: Option<u64>,
}

impl StepTaken {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self { mean_surprisal, effective_events, active_components, .. } = self;
        m::MEAN_SURPRISAL.set(mean_surprisal);
        m::SAMPLE_SIZE.set(effective_events);
        m::COMPONENTS.set(active_components as f64);
        let parts = [
            (m::LOG_LIKELIHOOD, self.expected_log_likelihood),
            (m::DIVERGENCE, self.divergence),
            (m::STEP_NORM, self.step_norm),
            (m::HALF_LIFE, self.half_life_events),
            (m::ALERT_THRESHOLD, self.alert_threshold),
            (m::YOUNGEST_REGIME, self.youngest_regime.map(|events| events as f64)),
        ];
        parts.iter().for_each(|(metric, value)| value.iter().for_each(|value| metric.set(*value)));
        if let (Some(likelihood), Some(divergence)) = (self.expected_log_likelihood, self.divergence) {
            m::ELBO.set(likelihood - divergence / effective_events.max(1.0));
        }
        debug!(mean_surprisal_nats = mean_surprisal, effective_events, active_components, "step taken");
    }
}

/// Blocks were refused, because a number would not have been finite. Their events keep their scores.
#[derive(Clone, Copy)]
pub struct BlockRefused<'a> {
    /// Events of the blocks.
    pub events: u64,
    /// Which number it was, in the last of them.
    pub cause: &'a dyn fmt::Display,
}

impl BlockRefused<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        m::REFUSED.add(self.events);
        warn!(events = self.events, cause = %self.cause, "events scored but not learnt: the posterior would not have been finite");
    }
}

/// Blocks were learnt in shorter steps than they asked for: cut to the greatest length allowed, or until the bound did not fall.
#[derive(Clone, Copy, Debug)]
pub struct StepsClipped {
    /// How many.
    pub steps: u64,
}

impl StepsClipped {
    /// Logs and counts it.
    pub fn emit(self) {
        m::CLIPPED.add(self.steps);
        debug!(steps = self.steps, "blocks were learnt in shorter steps than they asked for");
    }
}

/// Records of one reason went to the dead letters, and were committed.
#[derive(Clone, Copy, Debug)]
pub struct DeadLettersWritten {
    /// Why they could not be scored.
    pub reason: Reason,
    /// How many there were.
    pub count: usize,
}

impl DeadLettersWritten {
    /// Logs and counts it.
    pub fn emit(self) {
        m::count_dead_letters(self.reason, self.count as u64);
        warn!(reason = self.reason.label(), count = self.count, "records that cannot be scored went to the dead letters");
    }
}

/// Scores, sites, dead letters and offsets were committed.
#[derive(Clone, Copy, Debug)]
pub struct TransactionCommitted {
    /// Time that the commit took.
    pub commit: Duration,
}

impl TransactionCommitted {
    /// Logs and counts it.
    pub fn emit(self) {
        m::COMMITS.add(1);
        m::COMMIT.observe(self.commit);
        debug!(commit_seconds = self.commit.as_secs_f64(), "transaction committed");
    }
}

/// A transaction was taken back; its records will come again.
#[derive(Clone, Copy, Debug)]
pub struct TransactionAborted<'a> {
    /// Why, in the log's words.
    pub reason: &'a str,
}

impl TransactionAborted<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        m::ABORTS.add(1);
        warn!(reason = self.reason, "transaction aborted; its records are read again");
    }
}

/// Nobody knew what was committed, so all state is restored from the log.
#[derive(Clone, Copy, Debug)]
pub struct Restarted<'a> {
    /// Why, in the log's words.
    pub reason: &'a str,
}

impl Restarted<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        m::RESTARTS.add(1);
        m::PARTITIONS.set(0.0);
        warn!(reason = self.reason, "all state is restored from the log");
    }
}

/// A partition's site was taken from its last committed snapshot.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotRestored {
    /// The partition.
    pub partition: Partition,
    /// Every event before this offset is in the snapshot.
    pub covers_to: Offset,
    /// Records committed since, which are learnt again without being scored again.
    pub relearn: i64,
}

impl SnapshotRestored {
    /// Logs and counts it.
    pub fn emit(self) {
        m::RESTORES.add(1);
        let (partition, covers_to) = (self.partition.0, self.covers_to.0);
        info!(partition, covers_to, relearn_records = self.relearn, "evidence restored from a snapshot");
    }
}

/// A partition has no snapshot yet: its evidence begins with nothing.
#[derive(Clone, Copy, Debug)]
pub struct PartitionBegun {
    /// The partition.
    pub partition: Partition,
    /// Its first record to be learnt.
    pub from: Offset,
    /// Records committed before, which are learnt again without being scored again.
    pub relearn: i64,
}

impl PartitionBegun {
    /// Logs it.
    pub fn emit(self) {
        let (partition, from) = (self.partition.0, self.from.0);
        info!(partition, from, relearn_records = self.relearn, "no snapshot yet: evidence begins with nothing");
    }
}

/// Records that had been scored, but not learnt, are no longer in the log.
#[derive(Clone, Copy, Debug)]
pub struct RecordsDeleted {
    /// The partition.
    pub partition: Partition,
    /// The first of them.
    pub from: Offset,
    /// The first record that is still there.
    pub to: Offset,
}

impl RecordsDeleted {
    /// Logs it.
    pub fn emit(self) {
        let (partition, from, to) = (self.partition.0, self.from.0, self.to.0);
        warn!(partition, from, to, "records deleted by retention after they were scored: they will not be learnt");
    }
}

/// Records are no longer in the log, and never were scored: they are passed over.
#[derive(Clone, Copy, Debug)]
pub struct RecordsMissed {
    /// The partition.
    pub partition: Partition,
    /// The first of them.
    pub from: Offset,
    /// The first record that is still there.
    pub to: Offset,
}

impl RecordsMissed {
    /// Logs and counts them.
    pub fn emit(self) {
        let (partition, from, to) = (self.partition.0, self.from.0, self.to.0);
        let missing = to - from;
        m::MISSED.add(missing.unsigned_abs());
        error!(partition, from, to, missing, "records deleted by retention before they were scored: going on without them");
    }
}

/// Partitions are this instance's from now on.
#[derive(Clone, Copy, Debug)]
pub struct PartitionsAssigned<'a> {
    /// Which.
    pub partitions: &'a [Partition],
    /// How many this instance has with that.
    pub held: usize,
}

impl PartitionsAssigned<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        rebalanced(self.held);
        info!(partitions = %List(self.partitions), "partitions assigned");
    }
}

/// Partitions were given up in good order.
#[derive(Clone, Copy, Debug)]
pub struct PartitionsRevoked<'a> {
    /// Which.
    pub partitions: &'a [Partition],
    /// How many this instance has with that.
    pub held: usize,
}

impl PartitionsRevoked<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        rebalanced(self.held);
        info!(partitions = %List(self.partitions), "partitions revoked");
    }
}

/// Partitions were taken away: what was under way for them comes to nothing, and someone else does it again.
#[derive(Clone, Copy, Debug)]
pub struct PartitionsLost<'a> {
    /// Which.
    pub partitions: &'a [Partition],
    /// How many this instance has with that.
    pub held: usize,
}

impl PartitionsLost<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        rebalanced(self.held);
        warn!(partitions = %List(self.partitions), "partitions lost");
    }
}

/// How far reading is behind the log's end.
#[derive(Clone, Copy, Debug)]
pub struct LagMeasured {
    /// Records behind the last committed ones, all assigned partitions together.
    pub records: u64,
}

impl LagMeasured {
    /// Logs and counts it.
    pub fn emit(self) {
        m::LAG.set(self.records as f64);
        debug!(lag_records = self.records, "lag measured");
    }
}

fn rebalanced(held: usize) {
    m::REBALANCES.add(1);
    m::PARTITIONS.set(held as f64);
}

/// Partitions as people write them.
struct List<'a>(&'a [Partition]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(index, partition)| match index {
            0 => write!(f, "{partition}"),
            _ => write!(f, ", {partition}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::logs::{LogFormat, captured};
    use crate::telemetry::metrics::Metrics;

    /// What `emit` leaves behind: the lines of the log, and the samples of the metrics that differ from those at the start.
    pub(super) fn traces(emit: impl Fn()) -> (Vec<serde_json::Value>, Vec<String>) {
        let mut log = String::new();
        let text = Metrics::of(|| log = captured(LogFormat::Json, "debug", &emit)).render();
        let before = Metrics::of(|| ()).render();
        let mut changed: Vec<_> =
            text.lines().filter(|line| !line.contains("_bucket") && !before.lines().any(|old| old == *line)).collect();
        changed.sort_unstable();
        let lines = log.lines().map(|line| serde_json::from_str(line).expect("a line is a JSON object"));
        (lines.collect(), changed.into_iter().map(str::to_owned).collect())
    }

    /// Checks level, message and one field of the only log line, and the samples that changed.
    fn check(emit: impl Fn(), level: &str, message: &str, (field, value): (&str, serde_json::Value), samples: &[&str]) {
        let (lines, changed) = traces(emit);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!((&lines[0]["level"], &lines[0]["message"], &lines[0][field]), (&level.into(), &message.into(), &value));
        assert_eq!(changed, samples);
    }

    #[test]
    fn batch_processed() {
        let (step, publish) = (Duration::from_millis(250), Duration::from_millis(500));
        let batch = BatchProcessed { events: 7, bytes: 900, step, publish, oldest: Some(Duration::from_secs(2)) };
        check(
            || batch.emit(),
            "DEBUG",
            "batch processed",
            ("events", 7.into()),
            &[
                "surprisal_batches_total 1",
                "surprisal_end_to_end_seconds_count 1",
                "surprisal_end_to_end_seconds_sum 2",
                "surprisal_events_total 7",
                "surprisal_publish_seconds_count 1",
                "surprisal_publish_seconds_sum 0.5",
                "surprisal_received_bytes_total 900",
                "surprisal_step_seconds_count 1",
                "surprisal_step_seconds_sum 0.25",
            ],
        );
        let (_, changed) = traces(|| BatchProcessed { oldest: None, ..batch }.emit());
        assert!(!changed.iter().any(|sample| sample.contains("end_to_end")), "an event without a time has no age");
    }

    #[test]
    fn work_along_the_way() {
        check(
            || RunDecoded { records: 3, decode: Duration::from_millis(500) }.emit(),
            "DEBUG",
            "records decoded",
            ("records", 3.into()),
            &["surprisal_decode_seconds_count 1", "surprisal_decode_seconds_sum 0.5"],
        );
        check(
            || {
                let (expected_log_likelihood, divergence, step_norm) = (Some(-2.0), Some(199.0), Some(0.25));
                StepTaken {
                    mean_surprisal: 1.5,
                    effective_events: 99.5,
                    half_life_events: Some(640.0),
                    active_components: 4,
                    expected_log_likelihood,
                    divergence,
                    step_norm,
                    alert_threshold: Some(3.5),
                    youngest_regime: Some(7),
                }
                .emit();
            },
            "DEBUG",
            "step taken",
            ("mean_surprisal_nats", 1.5.into()),
            &[
                "surprisal_active_components 4",
                "surprisal_alert_threshold 3.5",
                "surprisal_effective_sample_size_events 99.5",
                "surprisal_elbo_nats -4",
                "surprisal_expected_log_likelihood_nats -2",
                "surprisal_inferred_half_life_events 640",
                "surprisal_kl_from_prior_nats 199",
                "surprisal_mean_surprisal_nats 1.5",
                "surprisal_step_norm 0.25",
                "surprisal_youngest_regime_events 7",
            ],
        );
        check(
            || StepsClipped { steps: 2 }.emit(),
            "DEBUG",
            "blocks were learnt in shorter steps than they asked for",
            ("steps", 2.into()),
            &["surprisal_clipped_steps_total 2"],
        );
        check(
            || TransactionCommitted { commit: Duration::from_millis(125) }.emit(),
            "DEBUG",
            "transaction committed",
            ("commit_seconds", 0.125.into()),
            &["surprisal_commit_seconds_count 1", "surprisal_commit_seconds_sum 0.125", "surprisal_transaction_commits_total 1"],
        );
        check(
            || LagMeasured { records: 12 }.emit(),
            "DEBUG",
            "lag measured",
            ("lag_records", 12.into()),
            &["surprisal_consumer_lag_records 12"],
        );
    }

    #[test]
    fn what_a_person_should_look_at() {
        check(
            || BlockRefused { events: 32, cause: &"the sum" }.emit(),
            "WARN",
            "events scored but not learnt: the posterior would not have been finite",
            ("events", 32.into()),
            &["surprisal_refused_events_total 32"],
        );
        check(
            || DeadLettersWritten { reason: Reason::TooDeep, count: 2 }.emit(),
            "WARN",
            "records that cannot be scored went to the dead letters",
            ("reason", "too_deep".into()),
            &["surprisal_dead_letters_total{reason=\"too_deep\"} 2"],
        );
        check(
            || TransactionAborted { reason: "timed out" }.emit(),
            "WARN",
            "transaction aborted; its records are read again",
            ("reason", "timed out".into()),
            &["surprisal_transaction_aborts_total 1"],
        );
        check(
            || Restarted { reason: "fenced" }.emit(),
            "WARN",
            "all state is restored from the log",
            ("reason", "fenced".into()),
            &["surprisal_restarts_total 1"],
        );
    }

    #[test]
    fn partitions_that_come_and_go() {
        let partitions = [Partition(0), Partition(3)];
        let (assigned, revoked) = (
            PartitionsAssigned { partitions: &partitions, held: 3 },
            PartitionsRevoked { partitions: &partitions[1..], held: 2 },
        );
        let lost = PartitionsLost { partitions: &partitions, held: 1 };
        let samples = ["surprisal_assigned_partitions 3", "surprisal_rebalances_total 1"];
        check(|| assigned.emit(), "INFO", "partitions assigned", ("partitions", "0, 3".into()), &samples);
        let samples = ["surprisal_assigned_partitions 2", "surprisal_rebalances_total 1"];
        check(|| revoked.emit(), "INFO", "partitions revoked", ("partitions", "3".into()), &samples);
        let samples = ["surprisal_assigned_partitions 1", "surprisal_rebalances_total 1"];
        check(|| lost.emit(), "WARN", "partitions lost", ("partitions", "0, 3".into()), &samples);
        let (_, changed) = traces(|| {
            assigned.emit();
            revoked.emit();
        });
        assert_eq!(changed, ["surprisal_assigned_partitions 2", "surprisal_rebalances_total 2"]);
        let (_, changed) = traces(|| {
            assigned.emit();
            Restarted { reason: "fenced" }.emit();
        });
        assert_eq!(changed, ["surprisal_rebalances_total 1", "surprisal_restarts_total 1"], "after a restart it has none");
        check(
            || SnapshotRestored { partition: Partition(3), covers_to: Offset(40), relearn: 2 }.emit(),
            "INFO",
            "evidence restored from a snapshot",
            ("covers_to", 40.into()),
            &["surprisal_restores_total 1"],
        );
        check(
            || PartitionBegun { partition: Partition(3), from: Offset(40), relearn: 2 }.emit(),
            "INFO",
            "no snapshot yet: evidence begins with nothing",
            ("from", 40.into()),
            &[],
        );
        check(
            || RecordsDeleted { partition: Partition(3), from: Offset(40), to: Offset(50) }.emit(),
            "WARN",
            "records deleted by retention after they were scored: they will not be learnt",
            ("from", 40.into()),
            &[],
        );
        check(
            || RecordsMissed { partition: Partition(3), from: Offset(40), to: Offset(52) }.emit(),
            "ERROR",
            "records deleted by retention before they were scored: going on without them",
            ("missing", 12.into()),
            &["surprisal_missed_records_total 12"],
        );
    }
}
