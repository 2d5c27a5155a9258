//! What data say of columns and target together: count, mean and scatter of weighted rows in raw units.
//!
//! They are the same information as the sums of products, in the form in which adding doesn't cancel (Chan, Golub & LeVeque 1979).
//!
//! **Missing inputs.** A column of which something was missing has a *gap*: a column more, 1 where the value was missing and 0 where it
//! was there, and an anchor that stands in for the value. With another anchor the same rows have the statistics `T x`, where T
//! adds `(new − old) · gap` to the column, so that anchors can be moved, and sites with different ones added, exactly.

use super::units::Source;
use crate::checkpoint::{CheckpointError, Reader, Tensor};
use crate::models::mixture::statistics::LEAST_LEFT;

/// An input of which something was missing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gap {
    /// Which input.
    pub input: usize,
    /// What stands in for its missing values.
    pub anchor: f64,
}

/// How many standard deviations an anchor may lie away from its column's values.
const LOOSE: f64 = 8.0;

/// Statistics of weighted rows: the inputs, the target, and the gaps in the order in which they were met.
#[derive(Clone, Debug, PartialEq)]
pub struct Joint {
    /// Inputs: the target stands behind them.
    inputs: usize,
    /// Σ weight.
    pub count: f64,
    /// `[columns]`.
    pub mean: Vec<f64>,
    /// Σ weight · (x − mean)(x − mean)ᵀ: the lower triangle, row after row.
    pub scatter: Vec<f64>,
    gaps: Vec<Gap>,
}

/// Where the lower triangle has row `row` and column `column`, in either order.
fn at(row: usize, column: usize) -> usize {
    let (row, column) = (row.max(column), row.min(column));
    row * (row + 1) / 2 + column
}

/// Entries of a triangle with as many rows.
fn size(rows: usize) -> usize {
    at(rows, 0)
}

/// Numbers that the statistics of so many inputs are made of, when each has a gap.
pub fn most_numbers(inputs: usize) -> usize {
    let columns = 2 * inputs + 1;
    1 + columns + size(columns) + 2 * inputs
}

impl Joint {
    /// Of no rows.
    pub fn nothing(inputs: usize) -> Self {
        Self { inputs, count: 0.0, mean: vec![0.0; inputs + 1], scatter: vec![0.0; size(inputs + 1)], gaps: Vec::new() }
    }

    /// Of rows with these moments, whose gaps are the last columns.
    pub fn new(inputs: usize, count: f64, mean: Vec<f64>, scatter: Vec<f64>, gaps: Vec<Gap>) -> Self {
        debug_assert!(mean.len() == inputs + 1 + gaps.len() && scatter.len() == size(mean.len()));
        Self { inputs, count, mean, scatter, gaps }
    }

    /// The target's column.
    pub fn target(&self) -> usize {
        self.inputs
    }

    /// The gaps, in the order of their columns, which are the last.
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// The column of the gap of `input`.
    pub fn gap(&self, input: usize) -> Option<usize> {
        self.gaps.iter().position(|gap| gap.input == input).map(|gap| self.inputs + 1 + gap)
    }

    /// Where an axis of the predictor stands; a gap in which nothing is missing has no column.
    pub fn column(&self, source: Source) -> Option<usize> {
        match source {
            Source::Input(input) => Some(input),
            Source::Gap(input) => self.gap(input),
        }
    }

    /// `Σ weight · (x_a − mean_a)(x_b − mean_b)`.
    pub fn scatter(&self, a: usize, b: usize) -> f64 {
        self.scatter[at(a, b)]
    }

    /// The share of the rows in which `input` is there.
    fn present(&self, input: usize) -> f64 {
        self.gap(input).map_or(1.0, |gap| 1.0 - self.mean[gap])
    }

    /// Count, mean and scatter of the values of `input` that are there.
    pub fn observed(&self, input: usize) -> (f64, f64, f64) {
        let present = self.present(input);
        if self.count == 0.0 || present <= 0.0 {
            return (0.0, 0.0, 0.0);
        }
        let Some(gap) = self.gap(input) else { return (self.count, self.mean[input], self.scatter(input, input)) };
        let anchor = self.gaps[gap - self.inputs - 1].anchor;
        let mean = anchor + (self.mean[input] - anchor) / present;
        // As if the anchor were the mean, where what is missing adds no scatter.
        let moved = mean - anchor;
        let scatter = self.scatter(input, input) + moved * (2.0 * self.scatter(gap, input) + moved * self.scatter(gap, gap));
        (self.count * present, mean, scatter.max(0.0))
    }

    /// Gives `input` a gap in which nothing is missing yet.
    fn open(&mut self, gap: Gap) {
        self.gaps.push(gap);
        self.mean.push(0.0);
        self.scatter.resize(size(self.mean.len()), 0.0);
    }

    /// Lets another number stand in for the missing values of the gap in column `gap`.
    pub fn move_anchor(&mut self, gap: usize, anchor: f64) {
        let Gap { input, anchor: before } = self.gaps[gap - self.inputs - 1];
        let shift = anchor - before;
        self.gaps[gap - self.inputs - 1].anchor = anchor;
        if shift == 0.0 {
            return;
        }
        self.mean[input] += shift * self.mean[gap];
        let own = shift * (2.0 * self.scatter(gap, input) + shift * self.scatter(gap, gap));
        self.scatter[at(input, input)] = (self.scatter(input, input) + own).max(0.0);
        for other in (0..self.mean.len()).filter(|other| *other != input) {
            self.scatter[at(input, other)] += shift * self.scatter(gap, other);
        }
    }

    /// As if the target had the other sign.
    pub fn flip(&mut self) {
        let target = self.inputs;
        self.mean[target] = -self.mean[target];
        for other in (0..self.mean.len()).filter(|other| *other != target) {
            self.scatter[at(target, other)] = -self.scatter[at(target, other)];
        }
    }

    /// Moves anchors that lie far from where the values are by now, since far anchors cost digits.
    pub fn settle(&mut self) {
        for gap in self.inputs + 1..self.mean.len() {
            let Gap { input, anchor } = self.gaps[gap - self.inputs - 1];
            let (count, mean, scatter) = self.observed(input);
            if count > 0.0 && (anchor - mean).powi(2) * count > LOOSE * LOOSE * scatter {
                self.move_anchor(gap, mean);
            }
        }
    }

    /// The statistics of the rows of both.
    pub fn add(&mut self, other: &Self) {
        assert_eq!(self.inputs, other.inputs, "evidence of different models");
        if other.count == 0.0 {
            return;
        }
        if self.count == 0.0 {
            self.clone_from(other);
            return;
        }
        if self.gaps == other.gaps {
            self.add_aligned(other);
            return;
        }
        let mut other = other.clone();
        for gap in other.gaps.clone() {
            if self.gap(gap.input).is_none() {
                self.open(gap);
            }
        }
        for gap in self.gaps.clone() {
            let own = self.gap(gap.input).expect("our gap");
            match other.gap(gap.input) {
                None => other.open(gap),
                // Where nothing but gaps was seen, the anchor is anything.
                Some(theirs) if self.mean[own] == 1.0 => {
                    let anchor = other.gaps[theirs - self.inputs - 1].anchor;
                    self.move_anchor(own, anchor);
                }
                Some(theirs) => other.move_anchor(theirs, gap.anchor),
            }
        }
        let gaps = self.gaps.iter().map(|gap| other.gap(gap.input).expect("just opened"));
        let columns: Vec<usize> = (0..=self.inputs).chain(gaps).collect();
        let aligned = Self {
            inputs: self.inputs,
            count: other.count,
            mean: columns.iter().map(|column| other.mean[*column]).collect(),
            scatter: columns
                .iter()
                .enumerate()
                .flat_map(|(row, a)| columns[..=row].iter().map(|b| other.scatter(*a, *b)))
                .collect(),
            gaps: self.gaps.clone(),
        };
        self.add_aligned(&aligned);
    }

    /// Adds statistics of the same columns.
    fn add_aligned(&mut self, other: &Self) {
        let count = self.count + other.count;
        let share = other.count / count;
        let ways: Vec<f64> = other.mean.iter().zip(&self.mean).map(|(theirs, ours)| theirs - ours).collect();
        let (mut ours, mut theirs) = (self.scatter.as_mut_slice(), other.scatter.as_slice());
        for row in 0..ways.len() {
            let (own, other) = (ours.split_off_mut(..=row).expect("a row"), theirs.split_off(..=row).expect("a row"));
            let weighted = self.count * share * ways[row];
            for ((own, other), way) in own.iter_mut().zip(other).zip(&ways) {
                *own += other + weighted * way;
            }
        }
        self.mean.iter_mut().zip(&ways).for_each(|(mean, way)| *mean += way * share);
        self.count = count;
    }

    /// The statistics of these rows without `other`, which are some of them. Returns whether the digits bear that: of every square, one
    /// in [`LEAST_LEFT`] has to be left, of an input that is ever missing enough of both.
    pub fn subtract(&mut self, other: &Self) -> bool {
        if other.count == 0.0 {
            return true;
        }
        let count = self.count - other.count;
        if self.gaps != other.gaps || count < 0.5 {
            return false;
        }
        let before: Vec<f64> = (0..self.mean.len()).map(|column| self.scatter(column, column)).collect();
        // `x − mean` of the others, from which theirs is as far away as `add` found it to be.
        let share = other.count / count;
        let ways: Vec<f64> = other.mean.iter().zip(&self.mean).map(|(theirs, all)| theirs - all).collect();
        for row in 0..ways.len() {
            for column in 0..=row {
                let entry = at(row, column);
                self.scatter[entry] -= other.scatter[entry] + other.count * (1.0 + share) * ways[row] * ways[column];
            }
        }
        self.mean.iter_mut().zip(&ways).for_each(|(mean, way)| *mean -= way * share);
        self.count = count;
        (0..before.len()).all(|column| self.scatter(column, column) >= before[column] * LEAST_LEFT)
    }

    /// Weighs every row by `factor`.
    pub fn scale(&mut self, factor: f64) {
        self.count *= factor;
        self.scatter.iter_mut().for_each(|entry| *entry *= factor);
    }

    /// Whether every number is finite.
    pub fn is_finite(&self) -> bool {
        self.count.is_finite() && self.mean.iter().chain(&self.scatter).all(|value| value.is_finite())
    }

    /// As tensors whose names begin with `name`.
    pub fn tensors(&self, name: &str) -> Vec<Tensor> {
        let inputs = self.gaps.iter().map(|gap| gap.input as i64).collect();
        let anchors = self.gaps.iter().map(|gap| gap.anchor).collect();
        vec![
            Tensor::f64(format!("{name}.count"), &[1], vec![self.count]),
            Tensor::f64(format!("{name}.mean"), &[self.mean.len()], self.mean.clone()),
            Tensor::f64(format!("{name}.scatter"), &[self.scatter.len()], self.scatter.clone()),
            Tensor::i64(format!("{name}.gaps.input"), &[self.gaps.len()], inputs),
            Tensor::f64(format!("{name}.gaps.anchor"), &[self.gaps.len()], anchors),
        ]
    }

    /// What [`tensors`](Self::tensors) gave.
    pub fn restore(name: &str, inputs: usize, reader: Reader<'_>) -> Result<Self, CheckpointError> {
        let bad = |name: String, detail: String| CheckpointError::BadValue { name, detail };
        let [of_inputs, of_count, of_scatter] = ["gaps.input", "count", "scatter"].map(|part| format!("{name}.{part}"));
        let count = reader.length(&of_inputs)?;
        let anchors = reader.f64(&format!("{name}.gaps.anchor"), &[count])?;
        let mut gaps: Vec<Gap> = Vec::with_capacity(count);
        for (number, anchor) in reader.i64(&of_inputs, &[count])?.iter().zip(anchors) {
            let input = usize::try_from(*number).ok().filter(|input| *input < inputs);
            match input.filter(|input| gaps.iter().all(|gap| gap.input != *input)) {
                Some(input) => gaps.push(Gap { input, anchor: *anchor }),
                None => return Err(bad(of_inputs, format!("{number} is no input, or comes twice"))),
            }
        }
        let columns = inputs + 1 + count;
        let joint = Self {
            inputs,
            count: reader.f64(&of_count, &[1])?[0],
            mean: reader.f64(&format!("{name}.mean"), &[columns])?.to_vec(),
            scatter: reader.f64(&of_scatter, &[size(columns)])?.to_vec(),
            gaps,
        };
        if joint.count < 0.0 {
            return Err(bad(of_count, format!("element 0 is {}", joint.count)));
        }
        match (0..columns).find(|column| joint.scatter(*column, *column) < 0.0) {
            Some(column) => Err(bad(of_scatter, format!("the square of column {column} is negative"))),
            None => Ok(joint),
        }
    }
}
