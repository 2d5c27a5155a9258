//! How often each value of a category came.

use std::sync::Arc;

use crate::dist::lanes::LANES;

/// Weighted counts `[slots]` of a category's values, slot 0 being all values that are not told apart. Slots beyond the last never came.
/// Cheap to clone: the numbers are copied when one of the clones changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Tally(Arc<Vec<f64>>);

impl Default for Tally {
    /// Nothing came.
    fn default() -> Self {
        Self::new(vec![0.0])
    }
}

impl Tally {
    /// From the counts of slots 0 and on.
    pub fn new(counts: Vec<f64>) -> Self {
        Self(Arc::new(counts))
    }

    /// How often `slot` came.
    pub fn slot(&self, slot: usize) -> f64 {
        self.0.get(slot).copied().unwrap_or(0.0)
    }

    /// The counts of slots 0 and on.
    pub fn slots(&self) -> &[f64] {
        &self.0
    }

    /// The sum of all counts.
    pub fn total(&self) -> f64 {
        let mut sums = [0.0; LANES];
        let (whole, rest) = self.0.as_chunks::<LANES>();
        for lanes in whole {
            sums.iter_mut().zip(lanes).for_each(|(sum, count)| *sum += count);
        }
        sums.iter_mut().zip(rest).for_each(|(sum, count)| *sum += count);
        sums.iter().sum()
    }

    /// Adds `other`, of which slot s ≥ 1 stands at `moved[s − 1] + 1` here, or at s if nothing is moved.
    pub fn add(&mut self, other: &Self, moved: Option<&[usize]>) {
        let Some(moved) = moved else {
            if self.0.iter().all(|count| *count == 0.0) && self.0.len() <= other.0.len() {
                self.0 = Arc::clone(&other.0);
                return;
            }
            let counts = Arc::make_mut(&mut self.0);
            if counts.len() < other.0.len() {
                counts.resize(other.0.len(), 0.0);
            }
            counts.iter_mut().zip(&*other.0).for_each(|(count, more)| *count += more);
            return;
        };
        let counts = Arc::make_mut(&mut self.0);
        for (slot, more) in other.0.iter().enumerate() {
            let slot = if slot == 0 { 0 } else { moved[slot - 1] + 1 };
            if slot >= counts.len() {
                counts.resize(slot + 1, 0.0);
            }
            counts[slot] += more;
        }
    }

    /// Weighs everything by `factor`.
    pub fn scale(&mut self, factor: f64) {
        Arc::make_mut(&mut self.0).iter_mut().for_each(|count| *count *= factor);
    }

    /// Forgets the slots s ≥ 1 that are not to be kept, and closes the gaps.
    pub fn keep(&mut self, kept: impl Fn(usize) -> bool) {
        let mut slot = 0;
        Arc::make_mut(&mut self.0).retain(|_| {
            slot += 1;
            slot == 1 || kept(slot - 1)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_by_slot_wherever_it_stands() {
        let mut tally = Tally::default();
        let other = Tally::new(vec![1.0, 2.0, 3.0]);
        tally.add(&other, None);
        assert_eq!(tally, other);
        tally.add(&Tally::new(vec![0.5, 1.0]), None);
        tally.add(&other, Some(&[3, 0]));
        assert_eq!(tally.slots(), [2.5, 6.0, 3.0, 0.0, 2.0]);
        assert_eq!(tally.total(), 13.5);
        assert_eq!(other.slots(), [1.0, 2.0, 3.0], "a clone's sums are its own");
        tally.keep(|slot| slot % 2 == 0);
        assert_eq!(tally.slots(), [2.5, 3.0, 2.0]);
        tally.scale(2.0);
        assert_eq!((tally.slot(1), tally.slot(7)), (6.0, 0.0));
    }
}
