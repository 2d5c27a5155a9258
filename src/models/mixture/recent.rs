//! The last few rows, which the search for structure looks at: only they can say how a component might fall apart.

use std::sync::Arc;

/// Rows remembered.
pub const REMEMBERED: usize = 256;

/// Rows as cells `[rows, width]` in the model's own order; category cells are slots of the evidence's vocabulary, NaN is missing.
/// Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Recent(Arc<Vec<f64>>);

impl PartialEq for Recent {
    fn eq(&self, other: &Self) -> bool {
        let bits = |cell: &f64| if cell.is_nan() { None } else { Some(cell.to_bits()) };
        Arc::ptr_eq(&self.0, &other.0) || self.0.iter().map(bits).eq(other.0.iter().map(bits))
    }
}

impl Recent {
    /// Remembers the last of `cells`.
    pub fn new(mut cells: Vec<f64>, width: usize) -> Self {
        cells.drain(..cells.len().saturating_sub(REMEMBERED * width));
        Self(Arc::new(cells))
    }

    /// The cells.
    pub fn cells(&self) -> &[f64] {
        &self.0
    }

    /// Appends what another remembers, with its cells seen through `translate`, if they need it.
    pub fn append(&mut self, other: &Self, width: usize, translate: Option<impl Fn(usize, f64) -> f64>) {
        let enough = self.0.is_empty() || other.0.len() >= REMEMBERED * width;
        if let (None, true) = (&translate, enough) {
            if !other.0.is_empty() {
                self.0 = Arc::clone(&other.0);
            }
            return;
        }
        let kept = (REMEMBERED * width).saturating_sub(other.0.len()).min(self.0.len());
        let mut cells = Vec::with_capacity(kept + other.0.len());
        cells.extend_from_slice(&self.0[self.0.len() - kept..]);
        match translate {
            Some(translate) => cells.extend(other.0.iter().enumerate().map(|(at, cell)| translate(at % width, *cell))),
            None => cells.extend_from_slice(&other.0),
        }
        self.0 = Arc::new(cells);
    }

    /// The same rows with their cells seen through `translate`.
    pub fn map(&self, width: usize, translate: impl Fn(usize, f64) -> f64) -> Self {
        Self(Arc::new(self.0.iter().enumerate().map(|(at, cell)| translate(at % width, *cell)).collect()))
    }
}
