//! `surprisal backtest`: the engine over a file, prequentially: each row is scored before it is learnt.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use super::report::Report;
use super::{AppError, ModelOf, say};
use crate::cli::BacktestArgs;
use crate::config::{Config, ModelConfig};
use crate::engine::{Engine, Learning, Refused, Score};
use crate::features::Schema;
use crate::models::{AnyModel, Model, Prediction};
use crate::record::{Offset, Partition};
use crate::stream::file::{FileEvents, infer_schema};

/// Rows taken in one step. It changes nothing but speed.
const STEP_ROWS: usize = 4096;
/// Rows from which columns are inferred.
pub const SAMPLE_ROWS: usize = 1000;

/// Rows that can't be scored and are shown one by one; more of them are shown at the level `debug`.
const SHOWN_FAULTS: u64 = 10;

/// Runs the command.
pub fn run(arguments: &BacktestArgs, model_of: ModelOf<'_>) -> Result<(), AppError> {
    let label = arguments.label.as_deref();
    let (schema, config) = match &arguments.config {
        Some(path) => {
            let config = Config::load_offline(path)?;
            (config.schema, config.model)
        }
        None => {
            let schema = infer_schema(&arguments.input, label, SAMPLE_ROWS)?;
            let columns = schema.columns().iter().map(|column| format!("{} {}", column.name, column.kind.name()));
            say(format_args!("  columns inferred     {}", columns.collect::<Vec<_>>().join(", ")))?;
            (schema, ModelConfig::default())
        }
    };
    let model = model_of(&schema, &config)?;
    let mut scores = arguments.scores.as_deref().map(Scores::create).transpose()?;
    let report = backtest(&arguments.input, &schema, label, model, config.learning(), &mut |row, score| match &mut scores {
        Some(scores) => scores.write(row, score),
        None => Ok(()),
    })?;
    if let Some(scores) = scores {
        scores.finish()?;
    }
    if let Some(path) = &arguments.report {
        report.save(path)?;
    }
    report.print(&mut io::stdout()).map_err(|source| AppError::System { doing: "printing the report", source })?;
    match report.scored {
        0 => Err(AppError::Unusable(format!("{}: no row could be scored", arguments.input.display()))),
        _ => Ok(()),
    }
}

/// Scores and learns all rows of a file, and hands out each row's score in order.
pub fn backtest(
    input: &Path,
    schema: &Schema,
    label: Option<&str>,
    model: AnyModel,
    learning: Learning,
    scored: &mut dyn FnMut(Offset, &Score) -> Result<(), AppError>,
) -> Result<Report, AppError> {
    let mut events = FileEvents::open(input, schema, label)?;
    let mut engine = Engine::new(model, schema, learning)?;
    engine.assign(Partition(0), None, None, Offset(0))?;
    let started = Instant::now();
    let (mut rows, mut dead) = (0, 0);
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
        labels.extend(labelled.labels);
        let ready = engine.step(vec![labelled.run])?;
        for (_, head, score) in ready.scores() {
            surprisals.push(score.surprisal);
            scored(head.offset, score)?;
        }
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
    for column in engine.model().columns(&engine.evidence()).iter().filter(|column| column.observed == 0.0) {
        tracing::warn!(column = column.name, "the column was missing in every row that was learnt: is its path right?");
    }
    Ok(Report::new(rows, dead, started.elapsed().as_secs_f64(), &surprisals, &labels))
}

/// A CSV file of scores.
struct Scores<'a> {
    path: &'a Path,
    out: BufWriter<File>,
}

impl<'a> Scores<'a> {
    fn create(path: &'a Path) -> Result<Self, AppError> {
        let mut out = BufWriter::new(File::create(path).map_err(AppError::file(path))?);
        writeln!(out, "row,surprisal,surprisal_sd,probability,expected,lower,upper,pit").map_err(AppError::file(path))?;
        Ok(Self { path, out })
    }

    fn write(&mut self, row: Offset, score: &Score) -> Result<(), AppError> {
        let Score { surprisal, surprisal_sd, tail_probability, .. } = score;
        let expected = score.prediction.map_or(",,,".to_owned(), |Prediction { expected, lower, upper, probability }| {
            format!("{expected},{lower},{upper},{probability}")
        });
        writeln!(self.out, "{row},{surprisal},{surprisal_sd},{tail_probability},{expected}").map_err(AppError::file(self.path))
    }

    fn finish(mut self) -> Result<(), AppError> {
        self.out.flush().map_err(AppError::file(self.path))
    }
}
