//! All metrics: names, units, meanings, and the recorder that Prometheus reads.
//!
//! Names are `surprisal_<thing>_<unit>[_total]`. The one label with more than one value is `reason` of dead letters, whose values are
//! those of [`Reason`]. Every metric exists from the start, so that a rate is right from the first event on. `docs/metrics.md` lists
//! them.

use std::time::Duration;

use metrics::Unit;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::record::Reason;

/// What a metric is to Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A sum that only grows.
    Counter,
    /// A value as of now.
    Gauge,
    /// Durations by size.
    Histogram,
}

impl Kind {
    /// The kind's name in the exposition format.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is to Prometheus.
    pub kind: Kind,
    /// Its unit, where `metrics` knows it.
    pub unit: Unit,
    /// What it says.
    pub help: &'static str,
}

const fn counter(name: &'static str, unit: Unit, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, unit, help }
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, unit: Unit::Count, help }
}

const fn seconds(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, unit: Unit::Seconds, help }
}

pub(super) const EVENTS: Metric =
    counter("surprisal_events_total", Unit::Count, "Events whose scores were committed, each counted once");
pub(super) const ALERTS: Metric = counter("surprisal_alerts_total", Unit::Count, "Incidents that people were told of");
pub(super) const ALERT_THRESHOLD: Metric = gauge(
    "surprisal_alert_threshold",
    "Decades of tail probability from which an incident alerts, in the partition where that is least",
);
pub(super) const CHANGES: Metric = counter(
    "surprisal_regime_changes_total",
    Unit::Count,
    "Times that a series which is watched was found to be in another regime",
);
pub(super) const YOUNGEST_REGIME: Metric = gauge(
    "surprisal_youngest_regime_events",
    "Events since a series which is watched entered its regime, in the partition and series where these are fewest",
);
pub(super) const BATCHES: Metric =
    counter("surprisal_batches_total", Unit::Count, "Batches of records that were scored, learnt and committed");
pub(super) const RECEIVED: Metric =
    counter("surprisal_received_bytes_total", Unit::Bytes, "Bytes of the values of committed records");
pub(super) const DEAD_LETTERS: Metric =
    counter("surprisal_dead_letters_total", Unit::Count, "Records that could not be scored, by `reason`");
pub(super) const REFUSED: Metric = counter(
    "surprisal_refused_events_total",
    Unit::Count,
    "Events scored but not learnt: their block would have made the posterior non-finite",
);
pub(super) const CLIPPED: Metric = counter(
    "surprisal_clipped_steps_total",
    Unit::Count,
    "Blocks learnt in shorter steps than they asked for: cut to the greatest length allowed, or until the bound did not fall",
);
pub(super) const MISSED: Metric =
    counter("surprisal_missed_records_total", Unit::Count, "Records that retention deleted before they were scored, passed over");
pub(super) const COMMITS: Metric = counter("surprisal_transaction_commits_total", Unit::Count, "Transactions committed");
pub(super) const ABORTS: Metric =
    counter("surprisal_transaction_aborts_total", Unit::Count, "Transactions aborted and taken back");
pub(super) const RESTORES: Metric = counter("surprisal_restores_total", Unit::Count, "Partitions restored from a snapshot");
pub(super) const RESTARTS: Metric = counter(
    "surprisal_restarts_total",
    Unit::Count,
    "Times that all state was dropped and restored from the log, in the running process",
);
pub(super) const REBALANCES: Metric =
    counter("surprisal_rebalances_total", Unit::Count, "Times that partitions were assigned, revoked or lost");
pub(super) const PARTITIONS: Metric = gauge("surprisal_assigned_partitions", "Partitions that this instance learns");
pub(super) const LAG: Metric = gauge(
    "surprisal_consumer_lag_records",
    "Records in the log behind the last committed ones, all assigned partitions together",
);
pub(super) const MEAN_SURPRISAL: Metric =
    gauge("surprisal_mean_surprisal_nats", "Mean surprisal of the last batch's events, in nats");
pub(super) const SAMPLE_SIZE: Metric = gauge(
    "surprisal_effective_sample_size_events",
    "Events behind the posterior, each weighed by what forgetting has left of it",
);
pub(super) const HALF_LIFE: Metric = gauge(
    "surprisal_inferred_half_life_events",
    "Events after which evidence weighs half, as inferred from the stream; 0 where it is configured",
);
pub(super) const LOG_LIKELIHOOD: Metric = gauge(
    "surprisal_expected_log_likelihood_nats",
    "Expected log likelihood of an event of the latest block under the posterior",
);
pub(super) const DIVERGENCE: Metric =
    gauge("surprisal_kl_from_prior_nats", "Kullback-Leibler divergence of the posterior from the prior");
pub(super) const ELBO: Metric =
    gauge("surprisal_elbo_nats", "Evidence lower bound an event: expected log likelihood less the divergence over all events");
pub(super) const STEP_NORM: Metric =
    gauge("surprisal_step_norm", "Length of the latest step, in standard deviations of the posterior");
pub(super) const COMPONENTS: Metric = gauge("surprisal_active_components", "Components of the mixture that carry weight");
pub(super) const DECODE: Metric = seconds("surprisal_decode_seconds", "Time to decode a run of records");
pub(super) const STEP: Metric = seconds("surprisal_step_seconds", "Time to score and learn a batch");
pub(super) const PUBLISH: Metric = seconds("surprisal_publish_seconds", "Time to hand a batch's results to the producer");
pub(super) const COMMIT: Metric = seconds("surprisal_commit_seconds", "Time to commit a transaction");
pub(super) const END_TO_END: Metric = seconds(
    "surprisal_end_to_end_seconds",
    "From an event's timestamp to its committed score, for the oldest event of each transaction",
);
pub(super) const BUILD: Metric = gauge("surprisal_build_info", "Always 1; the label `version` says which program this is");

/// All metrics.
pub const ALL: [Metric; 32] = [
    EVENTS,
    ALERTS,
    ALERT_THRESHOLD,
    CHANGES,
    YOUNGEST_REGIME,
    BATCHES,
    RECEIVED,
    DEAD_LETTERS,
    REFUSED,
    CLIPPED,
    MISSED,
    COMMITS,
    ABORTS,
    RESTORES,
    RESTARTS,
    REBALANCES,
    PARTITIONS,
    LAG,
    MEAN_SURPRISAL,
    SAMPLE_SIZE,
    HALF_LIFE,
    COMPONENTS,
    LOG_LIKELIHOOD,
    DIVERGENCE,
    ELBO,
    STEP_NORM,
    DECODE,
    STEP,
    PUBLISH,
    COMMIT,
    END_TO_END,
    BUILD,
];

/// Upper bounds of the histograms' buckets, in seconds: work on a batch takes from microseconds to seconds.
const WORK_BUCKETS: [f64; 15] = [1e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 10.0];

/// The same for end-to-end time: from milliseconds to the day that a replay reaches back.
const AGE_BUCKETS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0, 3600.0, 86_400.0];

impl Metric {
    /// Adds to a counter.
    pub(super) fn add(self, value: u64) {
        metrics::counter!(self.name).increment(value);
    }

    /// Sets a gauge.
    pub(super) fn set(self, value: f64) {
        metrics::gauge!(self.name).set(value);
    }

    /// Puts a duration into a histogram.
    pub(super) fn observe(self, duration: Duration) {
        metrics::histogram!(self.name).record(duration.as_secs_f64());
    }

    fn declare(self) {
        match self.kind {
            Kind::Counter => metrics::describe_counter!(self.name, self.unit, self.help),
            Kind::Gauge => metrics::describe_gauge!(self.name, self.unit, self.help),
            Kind::Histogram => metrics::describe_histogram!(self.name, self.unit, self.help),
        }
        match self.kind {
            // These two have labels: their values are declared one by one.
            _ if [DEAD_LETTERS.name, BUILD.name].contains(&self.name) => {}
            Kind::Counter => self.add(0),
            Kind::Gauge => self.set(0.0),
            Kind::Histogram => drop(metrics::histogram!(self.name)),
        }
    }
}

/// Counts dead letters of one reason.
pub(super) fn count_dead_letters(reason: Reason, count: u64) {
    metrics::counter!(DEAD_LETTERS.name, "reason" => reason.label()).increment(count);
}

/// Why metrics can't be recorded. Nothing else depends on them, but an operator does: stop.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The recorder refuses its settings, or there is one already.
    #[error("metrics cannot be recorded: {0}")]
    Recorder(#[from] BuildError),
}

/// The metrics as they stand. Clones share one state.
#[derive(Clone, Debug)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Records the metrics of this process from now on. To be called once, before anything happens.
    pub fn install() -> Result<Self, MetricsError> {
        let recorder = recorder()?;
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(BuildError::from)?;
        declare();
        Ok(Self(handle))
    }

    /// The text that Prometheus scrapes.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Sorts what histograms have taken in into their buckets. Without it, or a scrape, now and then, memory would grow.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }

    /// What `work` emits on this thread goes into metrics of its own, which are returned.
    #[cfg(test)]
    pub(crate) fn of(work: impl FnOnce()) -> Self {
        let recorder = recorder().expect("the settings are constant");
        metrics::with_local_recorder(&recorder, || {
            declare();
            work();
        });
        Self(recorder.handle())
    }
}

fn recorder() -> Result<PrometheusRecorder, BuildError> {
    let builder = PrometheusBuilder::new().set_buckets(&WORK_BUCKETS)?;
    Ok(builder.set_buckets_for_metric(Matcher::Full(END_TO_END.name.into()), &AGE_BUCKETS)?.build_recorder())
}

fn declare() {
    ALL.iter().for_each(|metric| metric.declare());
    Reason::ALL.iter().for_each(|reason| count_dead_letters(*reason, 0));
    metrics::gauge!(BUILD.name, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_there_at_zero_from_the_start() {
        let text = Metrics::of(|| ()).render();
        for Metric { name, kind, help, .. } in ALL {
            assert!(text.contains(&format!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.name())), "{name}");
            match kind {
                _ if name == BUILD.name => {}
                _ if name == DEAD_LETTERS.name => {
                    for reason in Reason::ALL {
                        assert!(text.contains(&format!("\n{name}{{reason=\"{}\"}} 0\n", reason.label())), "{reason:?}");
                    }
                }
                Kind::Counter | Kind::Gauge => assert!(text.contains(&format!("\n{name} 0\n")), "{name}"),
                Kind::Histogram => {
                    assert!(
                        text.contains(&format!("\n{name}_bucket{{le=\"+Inf\"}} 0\n{name}_sum 0\n{name}_count 0\n")),
                        "{name}"
                    );
                }
            }
        }
        assert!(text.contains(&format!("\n{}{{version=\"{}\"}} 1\n", BUILD.name, env!("CARGO_PKG_VERSION"))));
        let types = text.lines().filter(|line| line.starts_with("# TYPE")).count();
        assert_eq!(types, ALL.len(), "a metric that is not in the list");
    }

    #[test]
    fn names_say_what_they_are() {
        for Metric { name, kind, unit, .. } in ALL {
            assert!(name.starts_with("surprisal_"), "{name}");
            assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
            assert_eq!(name.ends_with("_seconds"), unit == Unit::Seconds, "{name}");
            assert_eq!(name.contains("_bytes"), unit == Unit::Bytes, "{name}");
        }
    }

    #[test]
    fn the_documentation_lists_every_metric_and_no_other() {
        let documentation = include_str!("../../docs/metrics.md");
        let (documentation, _) = documentation.split_once("\n## ").expect("metrics come first");
        let listed: Vec<_> = documentation.lines().filter(|line| line.starts_with("| `")).collect();
        let rows = ALL.map(|Metric { name, kind, help, .. }| format!("| `{name}` | {} | {help} |", kind.name()));
        assert_eq!(listed, rows);
        for reason in Reason::ALL {
            assert!(documentation.contains(&format!("`{}`", reason.label())), "{reason:?}");
        }
    }

    #[test]
    fn the_dashboard_asks_for_metrics_that_exist() {
        let dashboard = include_str!("../../deploy/grafana/dashboards/surprisal.json");
        let words = dashboard.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        let asked: Vec<_> = words.filter(|word| word.starts_with("surprisal_")).collect();
        assert!(!asked.is_empty());
        for name in asked {
            let known = |metric: &Metric| metric.name == name || name.strip_suffix("_bucket") == Some(metric.name);
            assert!(ALL.iter().any(known), "{name}");
        }
    }

    #[test]
    fn durations_land_in_their_buckets() {
        let text = Metrics::of(|| {
            STEP.observe(Duration::from_micros(300));
            STEP.observe(Duration::from_millis(2));
            END_TO_END.observe(Duration::from_secs(3000));
        })
        .render();
        for line in [
            "surprisal_step_seconds_bucket{le=\"0.00025\"} 0",
            "surprisal_step_seconds_bucket{le=\"0.0005\"} 1",
            "surprisal_step_seconds_bucket{le=\"0.0025\"} 2",
            "surprisal_step_seconds_sum 0.0023",
            "surprisal_end_to_end_seconds_bucket{le=\"600\"} 0",
            "surprisal_end_to_end_seconds_bucket{le=\"3600\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}
