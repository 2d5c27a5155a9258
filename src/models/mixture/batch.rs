//! Batches of rows in the layout that arithmetic wants: column by column, eight events in a lane group, numbers standardised.

use super::units::{Layout, Units};
use crate::dist::lanes::{LANES, Lanes};
use crate::features::RowsView;
use crate::models::NotFinite;
use crate::models::vocabulary::Vocabulary;

/// Standardised numbers are held within ± this, so that their squares stay finite.
const FARTHEST: f64 = 1e100;

/// A category cell that is missing.
pub const MISSING: usize = usize::MAX;

/// Standardised number columns.
#[derive(Clone, Debug)]
pub struct NumberColumns {
    /// Events.
    pub events: usize,
    /// Lane groups that hold them; the last may be part empty.
    pub groups: usize,
    /// Distance between columns in `standard` and `present`, in lane groups: odd, so that columns don't share cache sets.
    pub stride: usize,
    /// Numbers `[columns, stride]`; 0 where missing.
    pub standard: Vec<Lanes>,
    /// 1 where a number is there and 0 where it is missing, like `standard`; empty if none is missing.
    pub present: Vec<Lanes>,
    /// Whether no value of the column is missing.
    pub complete: Vec<bool>,
}

impl NumberColumns {
    fn zeros(events: usize, dim: usize) -> Self {
        let groups = events.div_ceil(LANES);
        let stride = groups | 1;
        let standard = vec![[0.0; LANES]; dim * stride];
        Self { events, groups, stride, standard, present: Vec::new(), complete: vec![true; dim] }
    }

    /// The number of event `event` in column `column`; `None` where missing.
    pub fn get(&self, event: usize, column: usize) -> Option<f64> {
        let (group, lane) = (column * self.stride + event / LANES, event % LANES);
        (self.complete[column] || self.present[group][lane] == 1.0).then(|| self.standard[group][lane])
    }

    /// A column's lane groups.
    #[inline(always)]
    pub fn column(&self, column: usize) -> &[Lanes] {
        &self.standard[column * self.stride..column * self.stride + self.groups]
    }

    /// Which numbers of a column are present, if some are missing.
    #[inline(always)]
    pub fn presence(&self, column: usize) -> Option<&[Lanes]> {
        (!self.complete[column]).then(|| &self.present[column * self.stride..column * self.stride + self.groups])
    }

    /// Some of the events, in this order.
    pub fn select(&self, events: &[usize]) -> Self {
        let dim = self.complete.len();
        let mut selected = Self::zeros(events.len(), dim);
        let copy = |from: &[Lanes], to: &mut [Lanes]| {
            for (from, to) in from.chunks_exact(self.stride).zip(to.chunks_exact_mut(selected.stride)) {
                let from = from.as_flattened();
                to.as_flattened_mut().iter_mut().zip(events).for_each(|(to, event)| *to = from[*event]);
            }
        };
        copy(&self.standard, &mut selected.standard);
        if !self.present.is_empty() {
            selected.present = vec![[0.0; LANES]; dim * selected.stride];
            copy(&self.present, &mut selected.present);
            selected.complete.clone_from(&self.complete);
        }
        selected
    }
}

/// Rows of all columns.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Number columns.
    pub numbers: NumberColumns,
    /// Counts, then booleans: `[columns][events]`; NaN where missing.
    pub sums: Vec<Vec<f64>>,
    /// Slots of categories `[columns][events]`, or [`MISSING`].
    pub categories: Vec<Vec<usize>>,
    /// The units of the numbers: the posterior's, but columns never seen before are centred on their first value here.
    pub units: Units,
    /// A number column with a value so far out that its square is not finite.
    too_far: Option<usize>,
}

impl Batch {
    /// Rows as decoded. Texts outside the vocabularies share slot 0.
    pub fn from_rows(layout: &Layout, units: &Units, vocabularies: &[Vocabulary], rows: RowsView<'_>) -> Self {
        let width = rows.width();
        let cells = rows.cells();
        let mut batch = Self::standardise(units, rows.len(), &layout.numbers, |event| rows.row(event));
        let sums = layout.counts.iter().chain(&layout.booleans);
        batch.sums = sums.map(|&at| cells.iter().skip(at).step_by(width).copied().collect()).collect();
        let slots = |((at, _), vocabulary): (&(usize, usize), &Vocabulary)| {
            let cells = cells.iter().skip(*at).step_by(width);
            cells.map(|cell| rows.text(*cell).map_or(MISSING, |text| vocabulary.slot(text).map_or(0, |slot| slot + 1))).collect()
        };
        batch.categories = layout.categories.iter().zip(vocabularies).map(slots).collect();
        batch
    }

    /// Some of the rows of `cells` `[rows, modelled columns]`: numbers, counts, booleans, slots of categories.
    pub fn from_cells(layout: &Layout, units: &Units, cells: &[f64], rows: &[usize]) -> Self {
        let width = layout.width();
        let (dim, sums) = (layout.numbers.len(), layout.counts.len() + layout.booleans.len());
        let numbers: Vec<usize> = (0..dim).collect();
        let row = |event: usize| &cells[rows[event] * width..(rows[event] + 1) * width];
        let mut batch = Self::standardise(units, rows.len(), &numbers, row);
        batch.sums = (dim..dim + sums).map(|at| rows.iter().map(|row| cells[row * width + at]).collect()).collect();
        let slot = |cell: f64| if cell.is_nan() { MISSING } else { cell as usize };
        batch.categories = (dim + sums..width).map(|at| rows.iter().map(|row| slot(cells[row * width + at])).collect()).collect();
        batch
    }

    /// The numbers of `events` rows, which stand in the cells `at`.
    fn standardise<'a>(units: &Units, events: usize, at: &[usize], row: impl Fn(usize) -> &'a [f64]) -> Self {
        let dim = at.len();
        let mut units = units.clone();
        for d in (0..dim).filter(|d| units.count[*d] == 0.0 && !units.fixed[*d]).collect::<Vec<_>>() {
            if let Some(first) = (0..events).map(|event| row(event)[at[d]]).find(|x| !x.is_nan()) {
                (units.location[d], units.scale[d]) = (first, first.abs().max(1.0));
            }
        }
        let inverse: Vec<f64> = units.scale.iter().map(|scale| 1.0 / scale).collect();
        let mut numbers = NumberColumns::zeros(events, dim);
        let mut far = vec![false; dim];
        // Eight rows at a time, which stay at hand while their columns are read.
        for group in 0..numbers.groups {
            let rows: [&[f64]; LANES] = std::array::from_fn(|i| row((group * LANES + i).min(events - 1)));
            let columns = numbers.standard.chunks_exact_mut(numbers.stride);
            for (d, (column, at)) in columns.zip(at).enumerate() {
                let (location, inverse) = (units.location[d], inverse[d]);
                let mut z = rows.map(|row| row[*at]);
                let mut usual = true;
                for z in &mut z {
                    *z = (*z - location) * inverse;
                    usual &= z.abs() <= FARTHEST;
                }
                if !usual {
                    numbers.complete[d] &= !z.iter().any(|z| z.is_nan());
                    far[d] |= z.iter().any(|z| z.abs() > FARTHEST);
                }
                column[group] = z;
            }
        }
        // Beyond the last event the lanes are empty.
        let last = events % LANES;
        if last > 0 {
            numbers.standard.chunks_exact_mut(numbers.stride).for_each(|column| column[events / LANES][last..].fill(0.0));
        }
        for d in (0..dim).filter(|d| far[*d]) {
            let column = &mut numbers.standard[d * numbers.stride..][..numbers.groups];
            column.iter_mut().flatten().for_each(|z| *z = z.clamp(-FARTHEST, FARTHEST));
        }
        if numbers.complete.contains(&false) {
            numbers.present = numbers.standard.iter().map(|lanes| lanes.map(|z| if z.is_nan() { 0.0 } else { 1.0 })).collect();
            numbers.standard.iter_mut().flatten().filter(|z| z.is_nan()).for_each(|z| *z = 0.0);
        }
        let too_far = far.iter().position(|far| *far);
        Self { numbers, sums: Vec::new(), categories: Vec::new(), units, too_far }
    }

    /// How many rows there are.
    pub fn events(&self) -> usize {
        self.numbers.events
    }

    /// Refuses numbers whose squares would not be finite.
    pub fn check(&self) -> Result<(), NotFinite> {
        match self.too_far {
            Some(column) => Err(NotFinite { quantity: format!("the sum of squares of number column {}", column + 1) }),
            None => Ok(()),
        }
    }
}
