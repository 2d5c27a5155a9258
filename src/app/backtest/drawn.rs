//! What a page shows of a backtest: which columns, which alerts, which fields.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::ScoredRow;
use crate::app::AppError;
use crate::app::html::{ColumnId, Field, Observation, Series, page};
use crate::app::report::Report;
use crate::engine::{Score, Setup};
use crate::features::{Column, Kind, Schema};

/// Columns drawn along the events, at most: what is predicted, what is watched, and the first that are numbers.
const COLUMNS: usize = 4;

/// A page in the making.
pub struct Drawn {
    series: Series,
    columns: Vec<Column>,
    drawn: Vec<(usize, ColumnId)>,
}

/// What is known of an event, as the page takes it.
fn observation(row: &ScoredRow<'_>) -> Observation {
    let Score { surprisal, tail_probability, prediction, alert, .. } = *row.score;
    Observation {
        time_ms: row.head.timestamp_ms,
        alert,
        label: row.label,
        prediction,
        ..Observation::new(row.head.offset.0, surprisal, tail_probability)
    }
}

impl Drawn {
    pub fn new(input: &Path, schema: &Schema, target: Option<&str>, setup: &Setup) -> Self {
        let mut series = Series::new(input.file_name().unwrap_or_default().to_string_lossy(), setup.alerts.budget);
        let columns = schema.columns().to_vec();
        let place = |name: &str| columns.iter().position(|column| column.name == name);
        let target = target.and_then(place).filter(|at| !matches!(columns[*at].kind, Kind::Category { .. }));
        let watched = setup.watch.series.iter().filter_map(|watched| place(&watched.name));
        let numbers = (0..columns.len()).filter(|at| matches!(columns[*at].kind, Kind::Number | Kind::Count));
        let mut drawn: Vec<(usize, ColumnId)> = Vec::new();
        for at in target.into_iter().chain(watched).chain(numbers) {
            if drawn.len() < COLUMNS && drawn.iter().all(|(other, _)| *other != at) {
                drawn.push((at, series.column(&*columns[at].name)));
            }
        }
        if target.is_some() {
            series.predicts(drawn[0].1);
        }
        Self { series, columns, drawn }
    }

    pub fn push(&mut self, row: &ScoredRow<'_>) {
        let cells = row.cells.row(0);
        for (index, column) in &self.drawn {
            self.series.value(*column, cells[*index]);
        }
        for change in &row.score.changes {
            self.series.turn(&*change.series, change.offset, change.time_ms);
        }
        let columns = &self.columns;
        self.series.push(observation(row), || {
            let present = columns.iter().zip(cells).filter(|(column, cell)| column.kind != Kind::Timestamp && !cell.is_nan());
            let value = |column: &Column, cell: f64| match column.kind {
                Kind::Category { .. } => row.cells.text(cell).unwrap_or_default().to_owned(),
                Kind::Boolean => (cell != 0.0).to_string(),
                _ => cell.to_string(),
            };
            let contributions = row.score.explanation.iter().flat_map(|explanation| &explanation.contributions);
            let mut nats: BTreeMap<&str, f64> = contributions.map(|field| (&*field.column, field.nats)).collect();
            let mut field = |column: &Column, cell: f64| Field {
                name: column.name.clone(),
                value: value(column, cell),
                nats: nats.remove(&*column.name),
            };
            let mut fields: Vec<Field> = present.map(|(column, cell)| field(column, *cell)).collect();
            // What is derived from the columns has no cell here.
            let derived = nats.into_iter().filter(|(name, _)| columns.iter().all(|column| column.name != *name));
            fields.extend(derived.map(|(name, nats)| Field { name: name.into(), value: "derived".into(), nats: Some(nats) }));
            fields
        });
    }

    pub fn save(mut self, report: &Report, path: &Path) -> Result<(), AppError> {
        report.figures().into_iter().for_each(|figure| self.series.figure(figure));
        let write = || {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(path, page(&self.series))
        };
        write().map_err(AppError::file(path))
    }
}
