//! Sufficient statistics of one component (or of all events together), which add and fade.
//!
//! Numbers are kept as count, mean and scatter about the mean: the same information as `(n, Σx, Σx²)`, and the form in which adding
//! doesn't cancel, whatever the units and wherever the origin.

use nalgebra::{DMatrix, DVector};

use super::tally::Tally;
use crate::checkpoint::{CheckpointError, Reader};
use crate::dist::lanes::all_finite;
use crate::dist::pooled::pool;

/// Count, mean and scatter `Σ(x − mean)²` of a weighted set of numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    /// Σ weight.
    pub count: f64,
    /// The weighted mean.
    pub mean: f64,
    /// Σ weight · (x − mean)².
    pub scatter: f64,
}

impl Moments {
    /// The moments of values, each with its weight.
    pub fn of(values: impl Iterator<Item = (f64, f64)> + Clone) -> Self {
        let (count, sum) = values.clone().fold((0.0, 0.0), |(count, sum), (x, weight)| (count + weight, sum + weight * x));
        let mean = if count > 0.0 { sum / count } else { 0.0 };
        Self { count, mean, scatter: values.map(|(x, weight)| weight * (x - mean) * (x - mean)).sum() }
    }

    /// The moments `[count, 3]` of the tensor `name`.
    pub fn read(reader: Reader<'_>, name: &str, count: usize) -> Result<Vec<Self>, CheckpointError> {
        let (rows, _) = reader.f64(name, &[count, 3])?.as_chunks();
        let moments = rows.iter().map(|&[count, mean, scatter]| Self { count, mean, scatter }).collect::<Vec<_>>();
        match moments.iter().position(|moments| moments.count < 0.0 || moments.scatter < 0.0) {
            Some(row) => {
                let Self { count, scatter, .. } = moments[row];
                let detail = format!("row {row} has count {count} and scatter {scatter}, expected at least 0");
                Err(CheckpointError::BadValue { name: name.into(), detail })
            }
            None => Ok(moments),
        }
    }

    /// The moments of both sets together (Chan, Golub & LeVeque 1979).
    pub fn add(&mut self, other: &Self) {
        if other.count == 0.0 {
            return;
        }
        if self.count == 0.0 {
            *self = *other;
            return;
        }
        let count = self.count + other.count;
        let gap = other.mean - self.mean;
        let share = other.count / count;
        // From the mean that weighs more, of which no digits are lost to one that is far away and hardly counts.
        self.mean = if share > 0.5 { other.mean - gap * (self.count / count) } else { self.mean + gap * share };
        self.scatter += other.scatter + gap * gap * (self.count * share);
        self.count = count;
    }

    /// The moments without those of `other`, which are some of them. Returns whether the digits bear that: one part in [`LEAST_LEFT`]
    /// of the scatter has to be left.
    pub fn subtract(&mut self, other: &Self) -> bool {
        if other.count == 0.0 {
            return true;
        }
        let (count, before) = (self.count - other.count, self.scatter);
        let (gap, share) = (other.mean - self.mean, other.count / count);
        self.mean -= gap * share;
        self.scatter -= other.scatter + gap * gap * (other.count * (1.0 + share));
        self.count = count;
        count >= 0.5 && self.scatter >= before * LEAST_LEFT
    }
}

/// The least part of a column's scatter that a subtraction may leave: four of sixteen digits are lost.
pub const LEAST_LEFT: f64 = 1e-4;

/// Count, mean `[dim]` and scatter `[dim, dim]` of a weighted set of vectors.
#[derive(Clone, Debug, PartialEq)]
pub struct JointMoments {
    /// Σ weight.
    pub count: f64,
    /// The weighted mean.
    pub mean: DVector<f64>,
    /// Σ weight · (x − mean)(x − mean)ᵀ.
    pub scatter: DMatrix<f64>,
}

impl JointMoments {
    /// Of no vectors.
    pub fn nothing(dim: usize) -> Self {
        Self { count: 0.0, mean: DVector::zeros(dim), scatter: DMatrix::zeros(dim, dim) }
    }

    /// The moments of both sets together.
    pub fn add(&mut self, other: &Self) {
        if other.count == 0.0 {
            return;
        }
        if self.count == 0.0 {
            self.clone_from(other);
            return;
        }
        let count = self.count + other.count;
        let gap = &other.mean - &self.mean;
        let share = other.count / count;
        self.mean.axpy(share, &gap, 1.0);
        pool(&mut self.scatter, &other.scatter, self.count * share, &gap);
        self.count = count;
    }
}

/// What is known of the number columns.
#[derive(Clone, Debug, PartialEq)]
pub enum Numbers {
    /// Each column by itself `[number columns]`.
    Diagonal(Vec<Moments>),
    /// All of them jointly.
    Full(JointMoments),
}

/// Count and sum of a weighted set of counts, or of booleans as 0 and 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sum {
    /// Σ weight.
    pub count: f64,
    /// Σ weight · x.
    pub sum: f64,
}

/// Sufficient statistics of a weighted set of events.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// Σ weight.
    pub events: f64,
    /// Of the number columns.
    pub numbers: Numbers,
    /// Of each count column, then of each boolean column.
    pub sums: Vec<Sum>,
    /// Of each category column: the texts of its vocabulary from slot 1 on; slot 0 is all other texts.
    pub categories: Vec<Tally>,
}

impl Statistics {
    /// Adds `other`, whose category slots are moved as `moved` says: one a category column, `None` where they stay.
    pub fn add(&mut self, other: &Self, moved: &[Option<Vec<usize>>]) {
        self.events += other.events;
        match (&mut self.numbers, &other.numbers) {
            (Numbers::Diagonal(ours), Numbers::Diagonal(theirs)) => {
                ours.iter_mut().zip(theirs).for_each(|(ours, theirs)| ours.add(theirs));
            }
            (Numbers::Full(ours), Numbers::Full(theirs)) => ours.add(theirs),
            _ => unreachable!("a model keeps all its numbers one way"),
        }
        for (ours, theirs) in self.sums.iter_mut().zip(&other.sums) {
            ours.count += theirs.count;
            ours.sum += theirs.sum;
        }
        for ((ours, theirs), moved) in self.categories.iter_mut().zip(&other.categories).zip(moved) {
            ours.add(theirs, moved.as_deref());
        }
    }

    /// Subtracts `other`, which is a part of these. Returns whether the digits bear that; joint numbers and categories, which depend on what
    /// else was learnt, never do.
    pub fn subtract(&mut self, other: &Self) -> bool {
        let (Numbers::Diagonal(ours), Numbers::Diagonal(theirs)) = (&mut self.numbers, &other.numbers) else { return false };
        let left = ours.iter_mut().zip(theirs).fold(true, |left, (ours, theirs)| left & ours.subtract(theirs));
        for (ours, theirs) in self.sums.iter_mut().zip(&other.sums) {
            ours.count -= theirs.count;
            ours.sum -= theirs.sum;
        }
        self.events -= other.events;
        left && self.categories.is_empty()
    }

    /// Weighs every event by `factor`.
    pub fn scale(&mut self, factor: f64) {
        self.events *= factor;
        match &mut self.numbers {
            Numbers::Diagonal(columns) => columns.iter_mut().for_each(|column| {
                column.count *= factor;
                column.scatter *= factor;
            }),
            Numbers::Full(joint) => {
                joint.count *= factor;
                joint.scatter *= factor;
            }
        }
        self.sums.iter_mut().for_each(|column| {
            column.count *= factor;
            column.sum *= factor;
        });
        self.categories.iter_mut().for_each(|tally| tally.scale(factor));
    }

    /// Whether every number is finite.
    pub fn is_finite(&self) -> bool {
        let numbers = match &self.numbers {
            Numbers::Diagonal(columns) => {
                columns.iter().all(|m| m.count.is_finite() && m.mean.is_finite() && m.scatter.is_finite())
            }
            Numbers::Full(joint) => {
                joint.count.is_finite() && all_finite(joint.mean.as_slice()) && all_finite(joint.scatter.as_slice())
            }
        };
        numbers
            && self.events.is_finite()
            && self.sums.iter().all(|column| column.count.is_finite() && column.sum.is_finite())
            && self.categories.iter().all(|tally| all_finite(tally.slots()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(values: &[f64]) -> Moments {
        let mut sum = Moments::default();
        values.iter().for_each(|x| sum.add(&Moments { count: 1.0, mean: *x, scatter: 0.0 }));
        sum
    }

    #[test]
    fn moments_add_without_cancelling() {
        let values = [1e9 + 1.0, 1e9 + 2.0, 1e9 + 4.0, 1e9 - 3.0];
        let (mut left, right) = (moments(&values[..1]), moments(&values[1..]));
        left.add(&right);
        assert_eq!(left.count, 4.0);
        assert!((left.mean - (1e9 + 1.0)).abs() < 1e-6);
        assert!((left.scatter - 26.0).abs() < 1e-6);
    }

    #[test]
    fn what_is_subtracted_was_never_there() {
        let values: Vec<f64> = (0..1000).map(|i| 1e3 + f64::from(i * 7919 % 1000) / 100.0).collect();
        let (kept, gone) = values.split_at(600);
        let mut rest = moments(&values);
        assert!(rest.subtract(&moments(gone)));
        let expected = moments(kept);
        assert_eq!(rest.count, expected.count);
        assert!((rest.mean - expected.mean).abs() < 1e-9 && (rest.scatter / expected.scatter - 1.0).abs() < 1e-9, "{rest:?}");
        // Beside values so far away, the digits of the others are gone.
        let far = moments(&[kept, &[1e6; 10]].concat());
        assert!(!far.clone().subtract(&moments(&[1e6; 10])));
        assert!(!moments(kept).subtract(&moments(kept)), "nothing is left to have a place");
    }

    #[test]
    fn joint_moments_of_one_dimension_are_moments() {
        let values = [0.5, -2.0, 7.0];
        let mut joint = JointMoments::nothing(1);
        for x in values {
            joint.add(&JointMoments { count: 1.0, mean: DVector::from_element(1, x), scatter: DMatrix::zeros(1, 1) });
        }
        let expected = moments(&values);
        assert!((joint.mean[0] - expected.mean).abs() < 1e-14 && (joint.scatter[(0, 0)] - expected.scatter).abs() < 1e-13);
    }
}
