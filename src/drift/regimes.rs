//! All series of a partition that are watched.

use super::regime::{Change, Origin, Regime};
use crate::checkpoint::{CheckpointError, Reader, Tensor};

/// Series that can be watched.
pub const MOST_SERIES: usize = 64;

/// What is watched.
#[derive(Clone, Debug, PartialEq)]
pub struct Watch {
    /// Which series.
    pub series: Vec<Series>,
    /// The probability that the regime changes before a value.
    pub hazard: f64,
}

impl Default for Watch {
    /// Nothing is watched; otherwise a regime would last 10,000 values.
    fn default() -> Self {
        Self { series: Vec::new(), hazard: 1e-4 }
    }
}

/// A series of numbers, one an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// The cell of a row that holds it; none for the surprisal.
    pub cell: Option<usize>,
}

/// The regimes of the series that are watched.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Regimes(Vec<Regime>);

impl Regimes {
    /// Sees to it that they are those of `watch`: a series that was watched before is known, another begins.
    pub fn follow(&mut self, watch: &Watch) {
        let known = std::mem::take(&mut self.0);
        let regime = |series: &Series| known.iter().find(|regime| regime.series() == series.name).cloned();
        self.0 = watch.series.iter().map(|series| regime(series).unwrap_or_else(|| Regime::new(&series.name))).collect();
    }

    /// Takes in an event, of which `cells` are the columns and `surprisal` is how surprising it was, and says which regimes were found to
    /// have changed.
    pub fn observe(&mut self, watch: &Watch, origin: Origin, cells: &[f64], surprisal: f64) -> Vec<Change> {
        let series = self.0.iter_mut().zip(&watch.series);
        series
            .filter_map(|(regime, of)| regime.observe(watch.hazard, origin, of.cell.map_or(surprisal, |cell| cells[cell])))
            .collect()
    }

    /// The fewest values that a regime has lasted since it was told.
    pub fn youngest(&self) -> Option<u64> {
        self.0.iter().filter_map(Regime::age).min()
    }

    /// The regimes as named tensors, all that [`restore`](Self::restore) needs; none where nothing is watched.
    pub fn tensors(&self) -> Vec<Tensor> {
        let mut tensors = Vec::new();
        if self.0.is_empty() {
            return tensors;
        }
        tensors.push(Tensor::text(SERIES, self.0.iter().map(|regime| regime.series().to_owned()).collect()));
        self.0.iter().enumerate().for_each(|(index, regime)| regime.tensors(&prefix(index), &mut tensors));
        tensors
    }

    /// The regimes from the tensors that [`tensors`](Self::tensors) gave.
    pub fn restore(tensors: &[Tensor]) -> Result<Self, CheckpointError> {
        if !tensors.iter().any(|tensor| tensor.name == SERIES) {
            return Ok(Self::default());
        }
        let reader = Reader(tensors);
        let series = reader.text(SERIES)?;
        if series.len() > MOST_SERIES {
            let detail = format!("{} series, expected at most {MOST_SERIES}", series.len());
            return Err(CheckpointError::BadValue { name: SERIES.into(), detail });
        }
        let regimes = series.iter().enumerate().map(|(index, name)| Regime::restore(name, &prefix(index), reader));
        Ok(Self(regimes.collect::<Result<_, _>>()?))
    }
}

const SERIES: &str = "regimes.series";

fn prefix(index: usize) -> String {
    format!("regimes.{index}")
}
