//! What has been seen of each input and of the target by itself, all events alike: the units of models whose evidence is weighted.

use super::Layout;
use super::batch::Table;
use super::missing::Missing;
use crate::checkpoint::{CheckpointError, Reader, Tensor};
use crate::features::RowsView;
use crate::models::mixture::statistics::Moments;

/// Moments of each input, as far as it was there, and of the target last.
#[derive(Clone, Debug, PartialEq)]
pub struct Census {
    /// Effective number of events with a target.
    pub events: f64,
    columns: Vec<Moments>,
    /// What else was missing.
    pub missing: Missing,
}

impl Census {
    /// Of no events.
    pub fn nothing(layout: &Layout) -> Self {
        Self { events: 0.0, columns: vec![Moments::default(); layout.inputs() + 1], missing: Missing::nothing(layout) }
    }

    /// Of `rows`, which `table` is made of.
    pub fn of(layout: &Layout, rows: RowsView<'_>, table: &Table) -> Self {
        let row = |(row, target): (&[f64], &f64)| row.iter().copied().chain([*target]).collect::<Vec<f64>>();
        let cells: Vec<Vec<f64>> = table.rows().zip(&table.targets).map(row).collect();
        // Two passes over all columns at once: means, then squares about them.
        let mut columns = vec![Moments::default(); layout.inputs() + 1];
        for row in &cells {
            for (column, x) in columns.iter_mut().zip(row).filter(|(_, x)| !x.is_nan()) {
                column.count += 1.0;
                column.mean += x;
            }
        }
        columns.iter_mut().for_each(|column| column.mean /= column.count.max(1.0));
        for row in &cells {
            for (column, x) in columns.iter_mut().zip(row).filter(|(_, x)| !x.is_nan()) {
                column.scatter += (x - column.mean).powi(2);
            }
        }
        Self { events: table.len() as f64, columns, missing: Missing::of(layout, rows, &[]) }
    }

    /// Count, mean and scatter of an input, or of the target behind the last.
    pub fn observed(&self, input: usize) -> (f64, f64, f64) {
        let Moments { count, mean, scatter } = self.columns[input];
        (count, mean, scatter)
    }

    /// Of both.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.columns.iter_mut().zip(&other.columns).for_each(|(own, other)| own.add(other));
        self.missing.add(&other.missing);
    }

    /// Weighs every event by `factor`.
    pub fn scale(&mut self, factor: f64) {
        self.events *= factor;
        for column in &mut self.columns {
            column.count *= factor;
            column.scatter *= factor;
        }
        self.missing.scale(factor);
    }

    /// Whether every number is finite.
    pub fn is_finite(&self) -> bool {
        let finite = |column: &Moments| column.count.is_finite() && column.mean.is_finite() && column.scatter.is_finite();
        self.events.is_finite() && self.columns.iter().all(finite)
    }

    /// As tensors.
    pub fn tensors(&self) -> Vec<Tensor> {
        let columns = |of: fn(&Moments) -> f64| self.columns.iter().map(of).collect();
        let shape = [self.columns.len()];
        vec![
            Tensor::f64("census.events", &[1], vec![self.events]),
            Tensor::f64("census.count", &shape, columns(|column| column.count)),
            Tensor::f64("census.mean", &shape, columns(|column| column.mean)),
            Tensor::f64("census.scatter", &shape, columns(|column| column.scatter)),
            self.missing.tensor(),
        ]
    }

    /// What [`tensors`](Self::tensors) gave.
    pub fn restore(layout: &Layout, reader: Reader<'_>) -> Result<Self, CheckpointError> {
        let positive = |name: &str, shape: &[usize]| reader.at_least(0.0, name, shape);
        let shape = [layout.inputs() + 1];
        let events = positive("census.events", &[1])?[0];
        let (counts, scatters) = (positive("census.count", &shape)?, positive("census.scatter", &shape)?);
        let means = reader.f64("census.mean", &shape)?;
        let columns = counts.iter().zip(means).zip(scatters);
        let columns = columns.map(|((count, mean), scatter)| Moments { count: *count, mean: *mean, scatter: *scatter });
        Ok(Self { events, columns: columns.collect(), missing: Missing::restore(layout, reader)? })
    }
}
