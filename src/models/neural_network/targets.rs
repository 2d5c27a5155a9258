//! Which rows have a target, and what it is.

use super::{Layout, Target};
use crate::features::RowsView;
use crate::models::vocabulary::Vocabulary;

/// The rows that have a target, and their targets.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    /// Which rows they are.
    pub rows: Vec<usize>,
    /// Their targets: a number in its own units, 0 or 1, or a class, where 0 is any that is not known.
    pub values: Vec<f64>,
    /// How much of each is believed.
    pub believed: Vec<f64>,
}

impl Targets {
    /// The rows that have a target. Only where it is a number is an event less than believed: a rare class is none that is wrong.
    pub fn of(layout: &Layout, rows: RowsView<'_>, vocabulary: &Vocabulary, weights: &[f64]) -> Self {
        let weights = if matches!(layout.target, Target::Number { .. }) { weights } else { &[] };
        let mut targets = Self::default();
        for index in 0..rows.len() {
            let cell = rows.row(index)[layout.task.target];
            if cell.is_nan() {
                continue;
            }
            targets.rows.push(index);
            targets.believed.push(weights.get(index).copied().unwrap_or(1.0));
            targets.values.push(match layout.target {
                Target::Number { .. } | Target::Boolean => cell,
                Target::Category { .. } => {
                    rows.text(cell).and_then(|text| vocabulary.slot(text)).map_or(0.0, |slot| (slot + 1) as f64)
                }
            });
        }
        targets
    }
    /// How many they are, each as far as it is believed.
    pub fn events(&self) -> f64 {
        self.believed.iter().sum()
    }

    /// The rows, and how much of each is believed.
    pub fn weighed(&self) -> impl ExactSizeIterator<Item = (usize, f64)> + Clone + '_ {
        self.rows.iter().copied().zip(self.believed.iter().copied())
    }
}
