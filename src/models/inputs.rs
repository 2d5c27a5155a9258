//! From rows to a network's inputs: a design's numbers in standard units, 0 where missing, with an input more for each that can be missing.

use super::Standard;
use super::mixture::statistics::Moments;
use crate::features::{Design, Kind, RowsView, Schema};
use crate::inference::layers::{Real, place};

/// Inputs stay within ± this many standard deviations.
pub const FARTHEST: f64 = 8.0;

/// Which columns are inputs.
#[derive(Clone, Debug)]
pub struct Inputs {
    design: Design,
    /// Units of each of the design's numbers, if they are fixed.
    fixed: Vec<Option<Standard>>,
    /// Where the input stands that tells that one of the design's numbers is missing.
    gaps: Vec<Option<usize>>,
}

/// How inputs are measured: `(x − centre) · inverse`; the inverse is 0 for a column that has never varied.
#[derive(Clone, Debug)]
pub struct Units {
    /// What stands for 0.
    pub centre: Vec<f64>,
    /// One over what stands for 1.
    pub inverse: Vec<f64>,
}

impl Inputs {
    /// The columns at `cells`; `fixed` gives a column's units, if they are not to be learnt.
    pub fn new(schema: &Schema, cells: &[usize], fixed: impl Fn(&str) -> Option<Standard>) -> Self {
        let design = Design::new(schema, cells.iter().copied());
        let (mut units, mut gaps, mut next) = (Vec::new(), Vec::new(), design.width());
        for &cell in cells {
            let column = &schema.columns()[cell];
            let width = Design::new(schema, [cell]).width();
            units.resize(units.len() + width, fixed(&column.name));
            if let Kind::Category { .. } = column.kind {
                gaps.resize(gaps.len() + width, None);
            } else if width > 0 {
                gaps.push(Some(next));
                next += 1;
            }
        }
        Self { design, fixed: units, gaps }
    }

    /// Numbers of the design.
    pub fn width(&self) -> usize {
        self.design.width()
    }

    /// Inputs of the network.
    pub fn count(&self) -> usize {
        self.design.width() + self.gaps.iter().flatten().count()
    }

    /// The units that these moments suggest.
    pub fn units(&self, moments: &[Moments]) -> Units {
        let learnt = |m: &Moments| Standard::learnt(m.count, m.mean, m.scatter);
        let standards = moments.iter().zip(&self.fixed).map(|(moments, fixed)| fixed.or_else(|| learnt(moments)));
        let (centre, inverse) = standards.map(|s| s.map_or((0.0, 0.0), |s| (s.location, 1.0 / s.scale))).unzip();
        Units { centre, inverse }
    }

    /// What each input is called.
    pub fn name(&self, input: usize) -> String {
        let names = self.design.names();
        match self.gaps.iter().position(|gap| *gap == Some(input)) {
            Some(number) => format!("{} missing", names[number]),
            None => names[input].clone(),
        }
    }

    /// Writes the inputs `[panel][input + 1][PANEL]` of the rows `which`, in this order. `buffer` is scratch.
    pub fn fill<T: Real>(
        &self,
        units: &Units,
        rows: RowsView<'_>,
        which: impl IntoIterator<Item = usize>,
        buffer: &mut Vec<f64>,
        inputs: &mut [T],
    ) {
        let width = self.count() + 1;
        buffer.resize(self.design.width(), 0.0);
        for (event, row) in which.into_iter().enumerate() {
            self.design.fill(rows, row, buffer);
            for (at, x) in buffer.iter().enumerate() {
                if !x.is_nan() {
                    let z = if units.inverse[at] == 0.0 { 0.0 } else { (x - units.centre[at]) * units.inverse[at] };
                    inputs[place(width, at, event)] = T::of(z.clamp(-FARTHEST, FARTHEST));
                } else if let Some(gap) = self.gaps[at] {
                    inputs[place(width, gap, event)] = T::ONE;
                }
            }
        }
    }

    /// The moments of each of the design's numbers over the rows `which`, each with its weight. `buffer` is scratch.
    pub fn moments(
        &self,
        rows: RowsView<'_>,
        which: impl ExactSizeIterator<Item = (usize, f64)> + Clone,
        buffer: &mut Vec<f64>,
    ) -> Vec<Moments> {
        let width = self.design.width();
        buffer.resize(which.len() * width, 0.0);
        for ((row, _), out) in which.clone().zip(buffer.chunks_exact_mut(width)) {
            self.design.fill(rows, row, out);
        }
        let mut moments = vec![Moments::default(); width];
        let weighed = || buffer.chunks_exact(width).zip(which.clone().map(|(_, weight)| weight));
        for (row, weight) in weighed() {
            for (moments, x) in moments.iter_mut().zip(row) {
                let there = if x.is_nan() { 0.0 } else { weight };
                moments.count += there;
                moments.mean += if x.is_nan() { 0.0 } else { weight * x };
            }
        }
        moments.iter_mut().filter(|m| m.count > 0.0).for_each(|m| m.mean /= m.count);
        for (row, weight) in weighed() {
            for (moments, x) in moments.iter_mut().zip(row) {
                let gap = if x.is_nan() { 0.0 } else { x - moments.mean };
                moments.scatter += weight * gap * gap;
            }
        }
        moments
    }
}
