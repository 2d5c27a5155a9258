//! `surprisal backtest`: the engine over a file, prequentially: each row is scored before it is learnt.

mod drawn;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use self::drawn::Drawn;
use super::report::Report;
use super::{AppError, ModelOf, say};
use crate::calibration::Budget;
use crate::cli::BacktestArgs;
use crate::config::{Config, ModelConfig};
use crate::engine::{Engine, Explain, Refused, Score, Setup};
use crate::features::{RowsView, Schema};
use crate::models::{AnyModel, Explanation, Model, Prediction};
use crate::record::{Head, Offset, Partition};
use crate::stream::file::{FileEvents, infer_schema};

/// Rows taken in one step. It changes nothing but speed.
const STEP_ROWS: usize = 4096;
/// Rows from which columns are inferred.
pub const SAMPLE_ROWS: usize = 1000;

/// Share of events that alert where nobody says how many and they have no time.
const UNTIMED_RATE: f64 = 0.001;

/// Rows that can't be scored and are shown one by one; more of them are shown at the level `debug`.
const SHOWN_FAULTS: u64 = 10;

/// Runs the command.
pub fn run(arguments: &BacktestArgs, model_of: ModelOf<'_>) -> Result<(), AppError> {
    let label = arguments.label.as_deref();
    let (schema, wide, config, mut setup) = match &arguments.config {
        Some(path) => {
            let config = Config::load_offline(path)?;
            let (wide, setup) = (config.modelled(), config.setup());
            if let (None, Budget::PerDay(alerts)) = (config.schema.timestamp(), setup.alerts.budget) {
                tracing::warn!(
                    "{alerts} alerts a day are asked for, but rows have no time, so nothing alerts: name a column of kind \"timestamp\", or say \
                     `rate` under [alerts]"
                );
            }
            (config.schema, wide, config.model, setup)
        }
        None => {
            let schema = infer_schema(&arguments.input, label, SAMPLE_ROWS)?;
            let columns = schema.columns().iter().map(|column| format!("{} {}", column.name, column.kind.name()));
            say(format_args!("  columns inferred     {}", columns.collect::<Vec<_>>().join(", ")))?;
            let config = ModelConfig::default();
            let mut setup = config.setup();
            // So many a day are none where events have no time.
            if schema.timestamp().is_none() {
                setup.alerts.budget = Budget::Rate(UNTIMED_RATE);
            }
            (schema.clone(), schema, config, setup)
        }
    };
    let model = model_of(&wide, &config)?;
    if arguments.explain {
        setup.explain = Explain::Always;
    }
    let create = |path| Scores::create(path, setup.explain != Explain::Never);
    let mut scores = arguments.scores.as_deref().map(create).transpose()?;
    let mut drawn =
        arguments.html.as_deref().map(|path| (path, Drawn::new(&arguments.input, &schema, config.target.as_deref(), &setup)));
    let report = backtest(&arguments.input, &schema, label, model, setup, &mut |row| {
        if let Some((_, drawn)) = &mut drawn {
            drawn.push(&row);
        }
        match &mut scores {
            Some(scores) => scores.write(row.head.offset, row.score),
            None => Ok(()),
        }
    })?;
    if let Some(scores) = scores {
        scores.finish()?;
    }
    if let Some(path) = &arguments.report {
        report.save(path)?;
    }
    if let Some((path, drawn)) = drawn {
        drawn.save(&report, path)?;
    }
    report.print(&mut io::stdout()).map_err(|source| AppError::System { doing: "printing the report", source })?;
    match report.scored {
        0 => Err(AppError::Unusable(format!("{}: no row could be scored", arguments.input.display()))),
        _ => Ok(()),
    }
}

/// A row of a file and what it was found to be.
#[derive(Clone, Copy, Debug)]
pub struct ScoredRow<'a> {
    /// Where it stands, and when it was.
    pub head: &'a Head,
    /// The row alone.
    pub cells: RowsView<'a>,
    /// Whether it is an anomaly, where that is known.
    pub label: Option<bool>,
    /// Its score.
    pub score: &'a Score,
}

/// Scores and learns all rows of a file, and hands out each row with its score, in order.
pub fn backtest(
    input: &Path,
    schema: &Schema,
    label: Option<&str>,
    model: AnyModel,
    setup: impl Into<Setup>,
    scored: &mut dyn FnMut(ScoredRow<'_>) -> Result<(), AppError>,
) -> Result<Report, AppError> {
    let mut events = FileEvents::open(input, schema, label)?;
    let setup = setup.into();
    let budget = setup.alerts.budget;
    let mut engine = Engine::new(model, schema, setup)?;
    engine.assign(Partition(0), None, None, Offset(0))?;
    let started = Instant::now();
    let (mut rows, mut dead, mut alerts, mut changes) = (0, 0, 0, 0);
    let (mut surprisals, mut labels) = (Vec::new(), Vec::new());
    while let Some(labelled) = events.next_run(STEP_ROWS)? {
        rows += labelled.run.len() as u64;
        for letter in &labelled.run.dead {
            dead += 1;
            match dead {
                ..=SHOWN_FAULTS => tracing::warn!(reason = letter.reason.label(), "{}", letter.detail),
                _ => tracing::debug!(reason = letter.reason.label(), "{}", letter.detail),
            }
        }
        let mut ready = engine.open();
        let taken = ready.take(labelled.run)?;
        for (row, ((head, score), label)) in taken.scores().zip(&labelled.labels).enumerate() {
            surprisals.push(score.surprisal);
            alerts += u64::from(score.alert);
            changes += score.changes.len() as u64;
            scored(ScoredRow { head, cells: taken.run().events().slice(row..row + 1), label: *label, score })?;
        }
        labels.extend(labelled.labels);
        if let Refused { events, cause: Some(cause), .. } = ready.refused() {
            tracing::warn!(events, "rows scored but not learnt: {cause}");
        }
        ready.advance(false);
    }
    if rows == 0 {
        return Err(AppError::Unusable(format!("{}: there are no rows; expected at least one", input.display())));
    }
    if let Some(label) = label.filter(|_| !labels.is_empty() && labels.iter().all(Option::is_none)) {
        return Err(AppError::Unusable(format!(
            "{}: no row has a label `{label}`; is it spelled as in the file?",
            input.display()
        )));
    }
    if dead > SHOWN_FAULTS {
        tracing::warn!(rows = dead - SHOWN_FAULTS, "more rows can't be scored; --log debug shows each");
    }
    let unseen = engine.model().columns(&engine.evidence());
    for column in unseen.iter().filter(|column| column.observed == 0.0 && !surprisals.is_empty()) {
        tracing::warn!(column = column.name, "the column was missing in every row that was learnt: is its path right?");
    }
    Ok(Report::new(rows, dead, started.elapsed().as_secs_f64(), &surprisals, &labels).told(alerts, changes, budget))
}

/// A CSV file of scores.
struct Scores<'a> {
    path: &'a Path,
    out: BufWriter<File>,
    explained: bool,
}

/// Fields of an account that are named.
const NAMED: usize = 3;

impl<'a> Scores<'a> {
    fn create(path: &'a Path, explained: bool) -> Result<Self, AppError> {
        let mut out = BufWriter::new(File::create(path).map_err(AppError::file(path))?);
        let more = if explained { ",explanation" } else { "" };
        let header = "row,surprisal,surprisal_sd,tail_probability,severity,alert,rarity,expected,lower,upper,probability,changes";
        writeln!(out, "{header}{more}").map_err(AppError::file(path))?;
        Ok(Self { path, out, explained })
    }

    fn write(&mut self, row: Offset, score: &Score) -> Result<(), AppError> {
        let Score {
            surprisal, surprisal_sd, tail_probability, severity, alert, rarity, prediction, explanation, changes, ..
        } = score;
        let alert = u8::from(*alert);
        let expected = prediction.map_or(",,,".to_owned(), |Prediction { expected, lower, upper, probability }| {
            format!("{expected},{lower},{upper},{probability}")
        });
        // Where the regime of a series began, like `latency@48207`.
        let changes: Vec<_> = changes.iter().map(|change| format!("{}@{}", change.series, change.offset)).collect();
        let changes = quoted(&changes.join(" "));
        let mut line =
            format!("{row},{surprisal},{surprisal_sd},{tail_probability},{severity},{alert},{rarity},{expected},{changes}");
        if self.explained {
            line += &format!(",{}", quoted(&explanation.as_deref().map_or_else(String::new, named)));
        }
        writeln!(self.out, "{line}").map_err(AppError::file(self.path))
    }

    fn finish(mut self) -> Result<(), AppError> {
        self.out.flush().map_err(AppError::file(self.path))
    }
}

/// A cell with any text in it.
fn quoted(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}

/// The first fields of an account with their nats, like `a=+3.20 b=+1.10`.
fn named(explanation: &Explanation) -> String {
    let each = explanation.contributions.iter().take(NAMED);
    each.map(|one| format!("{}={:+.2}", one.column, one.nats)).collect::<Vec<_>>().join(" ")
}
