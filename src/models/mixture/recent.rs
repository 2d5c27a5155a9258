//! The last few rows, which the search for structure looks at: only they can say how a component might fall apart.

use std::sync::Arc;

/// Rows remembered.
pub const REMEMBERED: usize = 256;

/// A row that weighs less than this share of the latest one has been forgotten: evidence has moved on.
const LEAST_SHARE: f64 = 0.5;

/// Rows as cells `[rows, width]` in the model's own order; category cells are slots of the evidence's vocabulary, NaN is missing.
/// Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Recent {
    cells: Arc<Vec<f64>>,
    /// What each row weighs in the evidence.
    weights: Vec<f64>,
}

impl PartialEq for Recent {
    fn eq(&self, other: &Self) -> bool {
        let bits = |cell: &f64| if cell.is_nan() { None } else { Some(cell.to_bits()) };
        let same = Arc::ptr_eq(&self.cells, &other.cells) || self.cells.iter().map(bits).eq(other.cells.iter().map(bits));
        same && self.weights == other.weights
    }
}

impl Recent {
    /// Remembers `cells`, of rows with these weights.
    pub fn new(cells: Vec<f64>, weights: Vec<f64>) -> Self {
        Self { cells: Arc::new(cells), weights }
    }

    /// The cells.
    pub fn cells(&self) -> &[f64] {
        &self.cells
    }

    /// What each row weighs.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// Weighs every row by `factor`.
    pub fn scale(&mut self, factor: f64) {
        self.weights.iter_mut().for_each(|weight| *weight *= factor);
    }

    /// Appends what another remembers, with its cells seen through `translate`, if they need it, and forgets what weighs too little
    /// beside it or is too long ago.
    pub fn append(&mut self, other: &Self, width: usize, translate: Option<impl Fn(usize, f64) -> f64>) {
        let Some(latest) = other.weights.last() else { return };
        let kept = |weights: &[f64], most: usize| {
            let first = weights.len().saturating_sub(most);
            let forgotten = weights[first..].iter().rposition(|weight| *weight < LEAST_SHARE * latest);
            forgotten.map_or(first, |at| first + at + 1)
        };
        let theirs = kept(&other.weights, REMEMBERED);
        let ours = kept(&self.weights, REMEMBERED - (other.weights.len() - theirs));
        if ours == self.weights.len() && theirs == 0 && translate.is_none() {
            self.clone_from(other);
            return;
        }
        let mut cells = self.cells[ours * width..].to_vec();
        let added = &other.cells[theirs * width..];
        match translate {
            Some(translate) => cells.extend(added.iter().enumerate().map(|(at, cell)| translate(at % width, *cell))),
            None => cells.extend_from_slice(added),
        }
        self.cells = Arc::new(cells);
        self.weights.drain(..ours);
        self.weights.extend_from_slice(&other.weights[theirs..]);
    }

    /// The same rows with their cells seen through `translate`.
    pub fn map(&self, width: usize, translate: impl Fn(usize, f64) -> f64) -> Self {
        let cells = self.cells.iter().enumerate().map(|(at, cell)| translate(at % width, *cell)).collect();
        Self { cells: Arc::new(cells), weights: self.weights.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(numbers: std::ops::Range<i32>) -> Recent {
        Recent::new(numbers.clone().map(f64::from).collect(), numbers.map(|_| 1.0).collect())
    }

    fn append(recent: &mut Recent, other: &Recent) {
        recent.append(other, 1, None::<fn(usize, f64) -> f64>);
    }

    #[test]
    fn the_last_rows_are_remembered() {
        let mut recent = rows(0..200);
        append(&mut recent, &rows(200..300));
        assert_eq!((recent.cells()[0], recent.cells().len(), recent.weights().len()), (44.0, 256, 256));
        append(&mut recent, &Recent::default());
        assert_eq!(recent.cells().len(), 256);
        append(&mut recent, &rows(300..1_000));
        assert_eq!((recent.cells()[0], recent.cells().len()), (744.0, 256));
        append(&mut recent, &Recent::new(vec![7.0], vec![1.0]));
        assert_eq!(recent.cells()[254..], [999.0, 7.0]);
    }

    #[test]
    fn rows_that_have_faded_beside_the_latest_are_forgotten() {
        let mut recent = rows(0..10);
        recent.scale(0.6);
        append(&mut recent, &rows(10..12));
        assert_eq!(recent.cells().len(), 12);
        recent.scale(0.6);
        append(&mut recent, &rows(12..13));
        assert_eq!(recent.cells(), [10.0, 11.0, 12.0]);
        recent.scale(0.0);
        append(&mut recent, &rows(13..14));
        assert_eq!((recent.cells(), recent.weights()), (&[13.0][..], &[1.0][..]));
    }
}
