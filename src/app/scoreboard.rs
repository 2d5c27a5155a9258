//! `surprisal scoreboard`: every data set of a folder, one configuration for all of a kind.
//!
//! Labelled tables are ranked here; series of the Numenta Anomaly Benchmark in `corpus`.

mod corpus;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::backtest::{SAMPLE_ROWS, backtest};
use super::report::{Report, save_json};
use super::{AppError, say};
use crate::cli::ScoreboardArgs;
use crate::config::ModelConfig;
use crate::stream::file::infer_schema;

/// The column of `tabular/*.csv[.gz]` that says which rows are anomalies.
const LABEL: &str = "label";

#[derive(Serialize)]
struct Scoreboard {
    #[serde(flatten)]
    tabular: Option<Tabular>,
    /// The benchmark's scores, by profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    nab: Option<BTreeMap<String, f64>>,
}

#[derive(Serialize)]
struct Tabular {
    tabular: Vec<Row>,
    mean_roc_auc: f64,
    mean_average_precision: f64,
}

#[derive(Serialize)]
struct Row {
    name: String,
    events: u64,
    anomalies: u64,
    roc_auc: f64,
    average_precision: f64,
    events_per_second: f64,
}

/// Runs the command on a folder that holds `tabular/*.csv` or `*.csv.gz`, or `nab/`, or both.
pub fn run(arguments: &ScoreboardArgs) -> Result<(), AppError> {
    let (tables, series) = (arguments.data.join("tabular"), arguments.data.join("nab"));
    if !tables.is_dir() && !series.is_dir() {
        return Err(AppError::Unusable(format!("{}: there is neither a folder `tabular` nor `nab`", arguments.data.display())));
    }
    let tabular = tables.is_dir().then(|| rank_tables(&tables)).transpose()?;
    let nab = series.is_dir().then(|| corpus::run(&series, arguments.nab_scores.as_deref())).transpose()?;
    save_json(&Scoreboard { tabular, nab }, &arguments.output)
}

/// Ranks the rows of all tables in `folder`.
fn rank_tables(folder: &Path) -> Result<Tabular, AppError> {
    let mut tabular = Vec::new();
    say(format_args!(
        "{:<20} {:>8} {:>9} {:>8} {:>17} {:>10}",
        "data set", "events", "anomalies", "ROC AUC", "average precision", "events/s"
    ))?;
    for (name, path) in sets(folder)? {
        let schema = infer_schema(&path, Some(LABEL), SAMPLE_ROWS)?;
        let config = ModelConfig { robust: Some(true), ..ModelConfig::default() };
        let model = super::model(&schema, &config)?;
        let report = backtest(&path, &schema, Some(LABEL), model, config.setup(), &mut |_| Ok(()))?;
        let row = Row::new(name, &report).ok_or_else(|| {
            AppError::Unusable(format!("{}: `{LABEL}` holds one value only; both 0 and 1 are needed", path.display()))
        })?;
        say(format_args!(
            "{:<20} {:>8} {:>9} {:>8.4} {:>17.4} {:>10.0}",
            row.name, row.events, row.anomalies, row.roc_auc, row.average_precision, row.events_per_second
        ))?;
        tabular.push(row);
    }
    let mean = |figure: fn(&Row) -> f64| tabular.iter().map(figure).sum::<f64>() / tabular.len() as f64;
    let (mean_roc_auc, mean_average_precision) = (mean(|row| row.roc_auc), mean(|row| row.average_precision));
    say(format_args!("{:<20} {:>8} {:>9} {mean_roc_auc:>8.4} {mean_average_precision:>17.4}", "mean", "", ""))?;
    Ok(Tabular { tabular, mean_roc_auc, mean_average_precision })
}

impl Row {
    fn new(name: String, report: &Report) -> Option<Self> {
        Some(Self {
            name,
            events: report.events,
            anomalies: report.anomalies()?,
            roc_auc: report.roc_auc?,
            average_precision: report.average_precision?,
            events_per_second: report.events_per_second,
        })
    }
}

/// Names and paths of the data sets in `folder`, by name.
fn sets(folder: &Path) -> Result<Vec<(String, PathBuf)>, AppError> {
    let entries = std::fs::read_dir(folder).map_err(AppError::file(folder))?;
    let mut sets = Vec::new();
    for entry in entries {
        let path = entry.map_err(AppError::file(folder))?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(name) = file.strip_suffix(".csv.gz").or_else(|| file.strip_suffix(".csv")) {
            sets.push((name.to_owned(), path));
        }
    }
    sets.sort();
    if sets.is_empty() {
        return Err(AppError::Unusable(format!("{}: there is no .csv or .csv.gz file", folder.display())));
    }
    Ok(sets)
}
