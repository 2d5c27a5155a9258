//! From rows to a network's inputs: standard units, and an input more for what can be missing.

use super::{Layout, Target};
use crate::features::RowsView;
use crate::inference::layers::{Real, place};
use crate::models::Standard;
use crate::models::mixture::statistics::Moments;
use crate::models::vocabulary::Vocabulary;

/// Inputs stay within ± this many standard deviations.
const FARTHEST: f64 = 8.0;

/// How inputs are measured: `(x − centre) · inverse`, 0 for a column that has never varied.
#[derive(Clone, Debug)]
pub struct Frame {
    centre: Vec<f64>,
    inverse: Vec<f64>,
}

/// The rows that have a target, and their targets.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    /// Which rows they are.
    pub rows: Vec<usize>,
    /// Their targets: a number in its own units, 0 or 1, or a class, where 0 is any that is not known.
    pub values: Vec<f64>,
}

impl Frame {
    /// The frame that these moments suggest.
    pub fn new(layout: &Layout, moments: &[Moments]) -> Self {
        let learnt = |m: &Moments| Standard::learnt(m.count, m.mean, m.scatter);
        let standards = moments.iter().zip(&layout.fixed).map(|(moments, fixed)| fixed.or_else(|| learnt(moments)));
        let (centre, inverse) = standards.map(|s| s.map_or((0.0, 0.0), |s| (s.location, 1.0 / s.scale))).unzip();
        Self { centre, inverse }
    }

    /// Writes the inputs `[panel][input + 1][PANEL]` of the rows `which`. `buffer` is scratch.
    pub fn fill<T: Real>(&self, layout: &Layout, rows: RowsView<'_>, which: &[usize], buffer: &mut Vec<f64>, inputs: &mut [T]) {
        let width = layout.inputs() + 1;
        buffer.resize(layout.design.width(), 0.0);
        for (event, row) in which.iter().enumerate() {
            layout.design.fill(rows, *row, buffer);
            for (at, x) in buffer.iter().enumerate() {
                if !x.is_nan() {
                    let z = if self.inverse[at] == 0.0 { 0.0 } else { (x - self.centre[at]) * self.inverse[at] };
                    inputs[place(width, at, event)] = T::of(z.clamp(-FARTHEST, FARTHEST));
                } else if let Some(gap) = layout.gaps[at] {
                    inputs[place(width, gap, event)] = T::ONE;
                }
            }
        }
    }
}

impl Targets {
    /// The rows that have a target.
    pub fn of(layout: &Layout, rows: RowsView<'_>, vocabulary: &Vocabulary) -> Self {
        let mut targets = Self::default();
        for index in 0..rows.len() {
            let cell = rows.row(index)[layout.task.target];
            if cell.is_nan() {
                continue;
            }
            targets.rows.push(index);
            targets.values.push(match layout.target {
                Target::Number { .. } | Target::Boolean => cell,
                Target::Category { .. } => {
                    rows.text(cell).and_then(|text| vocabulary.slot(text)).map_or(0.0, |slot| (slot + 1) as f64)
                }
            });
        }
        targets
    }
}

/// The moments of each of the design's numbers over the rows `which`.
pub fn moments(layout: &Layout, rows: RowsView<'_>, which: &[usize], buffer: &mut Vec<f64>) -> Vec<Moments> {
    let width = layout.design.width();
    buffer.resize(which.len() * width, 0.0);
    for (row, out) in which.iter().zip(buffer.chunks_exact_mut(width)) {
        layout.design.fill(rows, *row, out);
    }
    let mut moments = vec![Moments::default(); width];
    for row in buffer.chunks_exact(width) {
        for (moments, x) in moments.iter_mut().zip(row) {
            let there = if x.is_nan() { 0.0 } else { 1.0 };
            moments.count += there;
            moments.mean += if x.is_nan() { 0.0 } else { *x };
        }
    }
    moments.iter_mut().for_each(|m| m.mean /= m.count.max(1.0));
    for row in buffer.chunks_exact(width) {
        for (moments, x) in moments.iter_mut().zip(row) {
            let gap = if x.is_nan() { 0.0 } else { x - moments.mean };
            moments.scatter += gap * gap;
        }
    }
    moments
}
