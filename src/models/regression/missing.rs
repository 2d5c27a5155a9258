//! How often what has no gap was missing: the target, and categories, whose numbers are all 0 then.

use super::Layout;
use crate::checkpoint::{CheckpointError, Reader, Tensor};
use crate::features::{Kind, RowsView};

/// Effective number of events without a target, then of those with one but without each category of the inputs. For people only.
#[derive(Clone, Debug, PartialEq)]
pub struct Missing(pub Vec<f64>);

/// The cells of the inputs that are categories.
pub fn categories(layout: &Layout) -> impl Iterator<Item = usize> {
    let kind = |cell: usize| layout.schema.columns()[cell].kind;
    layout.task.inputs.iter().copied().filter(move |cell| matches!(kind(*cell), Kind::Category { .. }))
}

impl Missing {
    /// Of no events.
    pub fn nothing(layout: &Layout) -> Self {
        Self(vec![0.0; 1 + categories(layout).count()])
    }

    /// Of `rows`, which count `weights` times, or once each.
    pub fn of(layout: &Layout, rows: RowsView<'_>, weights: &[f64]) -> Self {
        let target = layout.task.target;
        let mut counts = Self::nothing(layout);
        for row in 0..rows.len() {
            let (cells, weight) = (rows.row(row), weights.get(row).copied().unwrap_or(1.0));
            if cells[target].is_nan() {
                counts.0[0] += weight;
            } else {
                let gaps = categories(layout).zip(&mut counts.0[1..]).filter(|(cell, _)| cells[*cell].is_nan());
                gaps.for_each(|(_, count)| *count += weight);
            }
        }
        counts
    }

    /// Of both.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(count, other)| *count += other);
    }

    /// Of these without `other`, which are among them.
    pub fn subtract(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(count, other)| *count -= other);
    }

    /// Weighs every event by `factor`.
    pub fn scale(&mut self, factor: f64) {
        self.0.iter_mut().for_each(|count| *count *= factor);
    }

    /// As a tensor.
    pub fn tensor(&self) -> Tensor {
        Tensor::f64("missing", &[self.0.len()], self.0.clone())
    }

    /// What [`tensor`](Self::tensor) gave.
    pub fn restore(layout: &Layout, reader: Reader<'_>) -> Result<Self, CheckpointError> {
        let expected = Self::nothing(layout).0.len();
        Ok(Self(reader.at_least(0.0, "missing", &[expected])?.to_vec()))
    }
}
