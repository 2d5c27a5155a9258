//! What a run has found, in figures: for people as a table, for programs as JSON.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde::Serialize;

use super::AppError;
use super::evaluation::{self, Ranking};
use super::html::{Figure, text};
use crate::calibration::Budget;

/// The figures of a demo or a backtest.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Records read.
    pub events: u64,
    /// Events with a score.
    pub scored: u64,
    /// Records that could not be scored.
    pub dead_letters: u64,
    /// See [`Ranking::roc_auc`]; none without labels.
    pub roc_auc: Option<f64>,
    /// See [`Ranking::average_precision`]; none without labels.
    pub average_precision: Option<f64>,
    /// Mean surprisal of the scored, in nats; none if nothing was scored.
    pub mean_surprisal: Option<f64>,
    /// Events that people would have been told of, where that was counted.
    pub alerts: Option<u64>,
    /// Times that a series which is watched entered another regime, where that was counted.
    pub regime_changes: Option<u64>,
    /// Records a second, over `seconds`.
    pub events_per_second: f64,
    /// Time from the first record to the last score.
    pub seconds: f64,
    #[serde(skip)]
    asked: Option<Budget>,
    #[serde(skip)]
    ranking: Option<Ranking>,
}

impl Report {
    /// The figures of `events` records in `seconds`, whose scores are `surprisals`. `labels` are those of the scored, where known.
    pub fn new(events: u64, dead_letters: u64, seconds: f64, surprisals: &[f64], labels: &[Option<bool>]) -> Self {
        let labelled = surprisals.iter().zip(labels).filter_map(|(surprisal, label)| Some((*surprisal, (*label)?)));
        let (scores, anomalous): (Vec<f64>, Vec<bool>) = labelled.unzip();
        let ranking = evaluation::rank(&scores, &anomalous);
        let mean = surprisals.iter().sum::<f64>() / surprisals.len() as f64;
        Self {
            events,
            scored: surprisals.len() as u64,
            dead_letters,
            roc_auc: ranking.map(|ranking| ranking.roc_auc),
            average_precision: ranking.map(|ranking| ranking.average_precision),
            mean_surprisal: mean.is_finite().then_some(mean),
            alerts: None,
            regime_changes: None,
            asked: None,
            events_per_second: events as f64 / seconds.max(1e-9),
            seconds,
            ranking,
        }
    }

    /// The same, with what people would have been told of, and how many alerts were asked for.
    pub fn told(self, alerts: u64, regime_changes: u64, asked: Budget) -> Self {
        Self { alerts: Some(alerts), regime_changes: Some(regime_changes), asked: Some(asked), ..self }
    }

    /// Labelled anomalies among the scored; none without labels.
    pub fn anomalies(&self) -> Option<u64> {
        self.ranking.map(|ranking| ranking.anomalies as u64)
    }

    /// Writes the figures as a table.
    pub fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut line = |name: &str, value: String| writeln!(out, "  {name:<20} {value}");
        line("events", self.events.to_string())?;
        line("scored", self.scored.to_string())?;
        line("dead letters", self.dead_letters.to_string())?;
        line("throughput", format!("{:.0} events/s over {:.2} s", self.events_per_second, self.seconds))?;
        if let Some(mean) = self.mean_surprisal {
            line("mean surprisal", format!("{mean:.3} nats"))?;
        }
        if let Some((alerts, asked)) = self.alerts.zip(self.asked) {
            let asked = match asked {
                Budget::PerDay(alerts) => format!("{alerts} a day"),
                Budget::Rate(rate) => format!("{} in a thousand events", 1000.0 * rate),
            };
            line("alerts", format!("{alerts}, where {asked} were asked for"))?;
        }
        if let Some(changes) = self.regime_changes.filter(|changes| *changes > 0) {
            line("regime changes", changes.to_string())?;
        }
        if let Some(Ranking { roc_auc, average_precision, anomalies, found }) = self.ranking {
            line("anomalies found", format!("{found} of {anomalies} among the {anomalies} most surprising events"))?;
            line("ROC AUC", format!("{roc_auc:.4}"))?;
            line("average precision", format!("{average_precision:.4}"))?;
        }
        Ok(())
    }

    /// The figures, for a page.
    pub fn figures(&self) -> Vec<Figure> {
        let dead = match self.dead_letters {
            0 => "all scored".to_owned(),
            dead => format!("{} could not be scored", text::count(dead as usize)),
        };
        let mut figures = vec![Figure::new("events", text::count(self.events as usize), dead)];
        figures.extend(self.mean_surprisal.map(|mean| Figure::new("mean surprisal", text::number(mean), "nats an event")));
        if let Some(Ranking { roc_auc, average_precision, anomalies, found }) = self.ranking {
            let labelled = format!("{} labelled anomalies", text::count(anomalies));
            let among = format!("{} found among as many", text::count(found));
            figures.push(Figure::new("ROC AUC", format!("{roc_auc:.3}"), labelled));
            figures.push(Figure::new("average precision", format!("{average_precision:.3}"), among));
        }
        figures.push(Figure::new("rate", text::number(self.events_per_second), "events a second"));
        figures
    }

    /// Writes the figures to `path`.
    pub fn save(&self, path: &Path) -> Result<(), AppError> {
        save_json(self, path)
    }
}

/// Writes `value` to `path` as JSON. Folders on the way are made.
pub fn save_json<T: Serialize>(value: &T, path: &Path) -> Result<(), AppError> {
    let write = || {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut out = BufWriter::new(File::create(path)?);
        serde_json::to_writer_pretty(&mut out, value)?;
        writeln!(out)?;
        out.flush()
    };
    write().map_err(AppError::file(path))
}
