//! What data say about θ: precision and shift of each parameter, which add.

use super::observations::{Observations, Widths};
use crate::checkpoint::{CheckpointError, Reader, Tensor};
use crate::inference::mean_field::Fit;
use crate::models::Evidence;
use crate::models::mixture::statistics::Moments;

/// Natural parameters of a Gaussian site on the unconstrained scale, and what was seen of the columns.
#[derive(Clone, Debug, PartialEq)]
pub struct MeanFieldEvidence {
    /// Effective number of events that have taught.
    pub(super) events: f64,
    /// Effective number of events seen, incomplete ones with them.
    pub(super) rows: f64,
    /// Λ `[parameters]`, at least 0.
    precision: Vec<f64>,
    /// Λμ `[parameters]`.
    shift: Vec<f64>,
    /// `[columns]`.
    pub(super) columns: Vec<Moments>,
    /// The first events, as long as they are learnt anew with every block.
    pub(super) first: Observations,
}

impl MeanFieldEvidence {
    /// No evidence about so many parameters.
    pub(super) fn nothing(parameters: usize, widths: Widths) -> Self {
        Self {
            events: 0.0,
            rows: 0.0,
            precision: vec![0.0; parameters],
            shift: vec![0.0; parameters],
            columns: vec![Moments::default(); widths.columns],
            first: Observations::new(widths),
        }
    }

    /// Evidence from its tensors.
    pub(super) fn restore(parameters: usize, widths: Widths, tensors: &[Tensor]) -> Result<Self, CheckpointError> {
        let reader = Reader(tensors);
        let counts = reader.at_least(0.0, "events", &[2])?;
        Ok(Self {
            events: counts[0],
            rows: counts[1],
            precision: reader.at_least(0.0, "precision", &[parameters])?.to_vec(),
            shift: reader.f64("shift", &[parameters])?.to_vec(),
            columns: Moments::read(reader, "columns", widths.columns)?,
            first: Observations::restore(widths, reader)?,
        })
    }

    /// Whether all that it holds is its first events, which are kept.
    pub(super) fn is_first(&self) -> bool {
        self.events == 0.0 || !self.first.is_empty()
    }

    /// Forgets what it says of θ.
    pub(super) fn forget(&mut self) {
        self.precision.fill(0.0);
        self.shift.fill(0.0);
    }

    /// Takes in what events did to q.
    pub(super) fn learn(&mut self, fit: &Fit) {
        self.precision.clone_from(&fit.precision);
        self.shift.iter_mut().zip(&fit.shift).for_each(|(shift, change)| *shift += change);
    }

    /// Λ `[parameters]` of the site.
    pub fn precision(&self) -> &[f64] {
        &self.precision
    }

    /// Λμ `[parameters]` of the site.
    pub fn shift(&self) -> &[f64] {
        &self.shift
    }

    pub(super) fn is_finite(&self) -> bool {
        let columns = self.columns.iter().flat_map(|column| [&column.count, &column.mean, &column.scatter]);
        self.precision.iter().chain(&self.shift).chain(columns).all(|value| value.is_finite())
    }
}

impl Evidence for MeanFieldEvidence {
    fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.rows += other.rows;
        self.precision.iter_mut().zip(&other.precision).for_each(|(sum, value)| *sum += value);
        self.shift.iter_mut().zip(&other.shift).for_each(|(sum, value)| *sum += value);
        self.columns.iter_mut().zip(&other.columns).for_each(|(sum, column)| sum.add(column));
        self.first.extend(&other.first);
    }

    fn scale(&mut self, factor: f64) {
        self.events *= factor;
        self.rows *= factor;
        self.precision.iter_mut().chain(&mut self.shift).for_each(|value| *value *= factor);
        self.first.weights.iter_mut().for_each(|weight| *weight *= factor);
        for column in &mut self.columns {
            column.count *= factor;
            column.scatter *= factor;
        }
    }

    fn events(&self) -> f64 {
        self.events
    }

    fn tensors(&self) -> Vec<Tensor> {
        let columns: Vec<f64> = self.columns.iter().flat_map(|column| [column.count, column.mean, column.scatter]).collect();
        let mut tensors = vec![
            Tensor::f64("events", &[2], vec![self.events, self.rows]),
            Tensor::f64("precision", &[self.precision.len()], self.precision.clone()),
            Tensor::f64("shift", &[self.shift.len()], self.shift.clone()),
            Tensor::f64("columns", &[self.columns.len(), 3], columns),
        ];
        tensors.extend(self.first.tensors());
        tensors
    }
}
