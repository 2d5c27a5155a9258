//! Forecasts: the next number of a series from its past and the time of the week, by Bayesian regressions with forgetting.
//!
//! Two experts predict each event, both mixtures of Student's t. [`context`] knows what is normal for all times, for the hour of the
//! day and for the hour of the week. [`dynamics`] knows how the series goes on from where it is: a bank of conjugate regressions with
//! different features and discounts. Members are weighted by their *prequential evidence* with forgetting ([`average`]), and so are the
//! experts: which of level, trend, season and autoregression matter, and how fast they are forgotten, is inferred from the stream. What
//! past forecasts' probability integral transforms were is learnt too ([`recalibration`]), and the density, the interval and the
//! expected value are all of the recalibrated mixture.
//!
//! An event far out counts for less, `1/(1 + z²/16)`, in each member's evidence.
//!
//! Each event is to be learnt before the next is scored, so blocks of a forecast hold one event. A series forgets by its own evidence,
//! not by the engine's half-life. An event without a target has no surprisal and teaches nothing.

mod average;
mod context;
mod dynamics;
mod evidence;
mod predictive;
mod recalibration;
mod regression;
mod series;
mod tensors;
mod words;

use xxhash_rust::xxh3::xxh3_64;

use crate::checkpoint::{CheckpointError, Tensor, TooLarge};
use crate::features::{Kind, RowsView, Schema};
use crate::models::{
    Block, ColumnSummary, Expected, Explanation, Learnt, Model, NotFinite, Part, Prediction, Progress, Surprisal,
};

pub use evidence::ForecastEvidence;

/// What is forecast, and of how many series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForecastConfig {
    /// The category column by which series are told apart; without one, all events are of one series.
    pub key: Option<String>,
    /// Series kept at most: the one that was learnt longest ago goes first.
    pub max_keys: usize,
}

impl Default for ForecastConfig {
    fn default() -> Self {
        Self { key: None, max_keys: 10_000 }
    }
}

/// A configuration that makes no forecast.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ForecastError {
    /// A target that is no number.
    #[error("the target `{column}` is a {found} column; a forecast's must be a number, count or boolean column")]
    WrongTarget {
        /// The column's name.
        column: String,
        /// Its kind.
        found: &'static str,
    },
    /// A key that is not there, or no category.
    #[error("the key `{column}` is {found}; it must be a category column")]
    WrongKey {
        /// The column's name.
        column: String,
        /// What it is.
        found: String,
    },
    /// More series than a snapshot holds.
    #[error("the forecast is too large: {0}")]
    TooLarge(#[from] TooLarge),
}

/// The forecast of one column.
#[derive(Clone, Debug)]
pub struct Forecasts {
    schema: Schema,
    target: usize,
    time: Option<usize>,
    key: Option<usize>,
    max_keys: usize,
}

impl Forecasts {
    /// The forecast of the column at `target`, whose time is the schema's timestamp.
    pub fn new(schema: &Schema, target: usize, config: &ForecastConfig) -> Result<Self, ForecastError> {
        let column = &schema.columns()[target];
        if !matches!(column.kind, Kind::Number | Kind::Count | Kind::Boolean) {
            return Err(ForecastError::WrongTarget { column: column.name.clone(), found: column.kind.name() });
        }
        let key = config.key.as_ref().map(|name| {
            let wrong = |found: String| ForecastError::WrongKey { column: name.clone(), found };
            let cell = schema.columns().iter().position(|column| column.name == *name);
            let cell = cell.ok_or_else(|| wrong("no column".into()))?;
            match schema.columns()[cell].kind {
                Kind::Category { .. } => Ok(cell),
                other => Err(wrong(format!("a {} column", other.name()))),
            }
        });
        let key = key.transpose()?;
        let series = if key.is_some() { config.max_keys } else { 1 };
        TooLarge::check(series.saturating_mul(tensors::NUMBERS), "a smaller max_keys")?;
        Ok(Self { schema: schema.clone(), target, time: schema.timestamp(), key, max_keys: config.max_keys })
    }

    /// The number, the time and the key of each row.
    fn read<'a>(&self, rows: RowsView<'a>) -> impl Iterator<Item = Reading<'a>> {
        let (target, time, key) = (self.target, self.time, self.key);
        (0..rows.len()).map(move |at| {
            let row = rows.row(at);
            let time_ms = time.map(|cell| row[cell]).filter(|time| !time.is_nan()).map(|time| time as i64);
            let key = key.and_then(|cell| rows.text(row[cell])).unwrap_or_default();
            Reading { x: Some(row[target]).filter(|x| !x.is_nan()), time_ms, key }
        })
    }
}

/// What a forecast sees of an event. Events without a key share a series.
#[derive(Clone, Copy, Debug)]
struct Reading<'a> {
    x: Option<f64>,
    time_ms: Option<i64>,
    key: &'a str,
}

impl Model for Forecasts {
    type Evidence = ForecastEvidence;
    type Posterior = ForecastEvidence;

    fn kind(&self) -> &'static str {
        "forecast"
    }

    fn fingerprint(&self) -> u64 {
        let mut text = "forecast 1\n".to_owned();
        for cell in [Some(self.target), self.key, self.time] {
            let column = cell.map(|cell| &self.schema.columns()[cell]);
            text += &format!("{:?}\n", column.map(|column| (&column.name, &column.path, column.kind.name())));
        }
        xxh3_64(text.as_bytes())
    }

    fn nothing(&self) -> ForecastEvidence {
        ForecastEvidence::default()
    }

    fn restore(&self, tensors: &[Tensor]) -> Result<ForecastEvidence, CheckpointError> {
        ForecastEvidence::restore(tensors)
    }

    fn posterior(&self, evidence: &ForecastEvidence) -> Result<ForecastEvidence, NotFinite> {
        Ok(evidence.clone())
    }

    fn judges(&self, row: &[f64]) -> bool {
        !row[self.target].is_nan()
    }

    fn score(&self, posterior: &ForecastEvidence, rows: RowsView<'_>, surprisals: &mut Vec<Surprisal>) {
        let score = |Reading { x, time_ms, key }: Reading<'_>| match (x, posterior.series(key)) {
            (Some(x), Some(series)) => series.score(x, time_ms),
            _ => Surprisal::default(),
        };
        surprisals.extend(self.read(rows).map(score));
    }

    fn predict(&self, posterior: &ForecastEvidence, rows: RowsView<'_>) -> Option<Vec<Option<Prediction>>> {
        let predict = |Reading { x, time_ms, key }: Reading<'_>| posterior.series(key)?.predict(time_ms)?.prediction(x?);
        Some(self.read(rows).map(predict).collect())
    }

    fn extremity(&self, posterior: &ForecastEvidence, rows: RowsView<'_>) -> Option<Vec<f64>> {
        let extremity = |Reading { x, time_ms, key }: Reading<'_>| match (x, posterior.series(key)) {
            (Some(x), Some(series)) => series.extremity(x, time_ms),
            _ => 0.0,
        };
        Some(self.read(rows).map(extremity).collect())
    }

    fn explain(&self, posterior: &ForecastEvidence, row: RowsView<'_>) -> Option<Explanation> {
        let expected = || {
            let prediction = self.predict(posterior, row)?.first().copied().flatten()?;
            let Prediction { expected: mean, lower, upper, .. } = prediction;
            Some(Expected::Number { mean, lower, upper })
        };
        Explanation::of_target(self, posterior, row, (&self.schema, self.target), expected)
    }

    fn learn(
        &self,
        _posterior: &ForecastEvidence,
        site: &ForecastEvidence,
        block: Block<'_>,
    ) -> Result<Learnt<ForecastEvidence>, NotFinite> {
        let mut evidence = site.clone();
        for Reading { x, time_ms, key } in self.read(block.rows) {
            match x {
                Some(x) => {
                    let series = evidence
                        .series(key)
                        .map_or_else(|| series::Series::default().learn(x, time_ms), |series| series.learn(x, time_ms))?;
                    evidence.put(key, series, self.max_keys);
                }
                None => evidence.miss(),
            }
        }
        Ok(Learnt { evidence, progress: Progress::default() })
    }

    /// Series.
    fn active(&self, posterior: &ForecastEvidence) -> usize {
        posterior.all().len()
    }

    fn columns(&self, evidence: &ForecastEvidence) -> Vec<ColumnSummary> {
        words::columns(self, evidence)
    }

    fn parts(&self, posterior: &ForecastEvidence) -> Vec<Part> {
        words::parts(self, posterior)
    }
}
