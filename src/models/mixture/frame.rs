//! The units in which a mixture measures numbers, and batches of rows measured in them.
//!
//! A number column is standardised by the mean μ and standard deviation σ of everything seen, `z = (x − μ)/σ`, or by a configured
//! location and scale. A column is *live* once it has varied; until then every value of it is as likely as every other.

use super::evidence::Shape;
use super::statistics::{Cloud, Moments, Numbers, Statistics};
use crate::dist::lanes::{LANES, Lanes};
use crate::features::RowsView;
use crate::models::vocabulary::Vocabulary;
use crate::models::{NotFinite, Standard};

/// Standardised numbers are held within ± this, so that their squares stay finite.
const FARTHEST: f64 = 1e100;

/// Where the model finds its columns in a row's cells, by kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Cells of the number columns.
    pub numbers: Vec<usize>,
    /// Location and scale of the number columns that have them fixed.
    pub fixed: Vec<Option<(f64, f64)>>,
    /// Cells of the count columns.
    pub counts: Vec<usize>,
    /// Cells of the boolean columns.
    pub booleans: Vec<usize>,
    /// Cells of the category columns, and how many texts each tells apart.
    pub categories: Vec<(usize, usize)>,
    /// Whether numbers are joint.
    pub full: bool,
}

impl Layout {
    /// How many columns there are of each kind.
    pub fn shape(&self) -> Shape {
        Shape {
            numbers: self.numbers.len(),
            sums: self.counts.len() + self.booleans.len(),
            categories: self.categories.len(),
            full: self.full,
        }
    }

    /// All modelled columns.
    pub fn width(&self) -> usize {
        self.numbers.len() + self.counts.len() + self.booleans.len() + self.categories.len()
    }
}

/// μ and σ of every number column.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// μ, or where the column was first seen if it is not live.
    pub centre: Vec<f64>,
    /// σ, or any positive number if the column is not live.
    pub spread: Vec<f64>,
    /// Whether the column has varied.
    pub live: Vec<bool>,
    /// Whether μ and σ are configured.
    pub fixed: Vec<bool>,
    /// Effective number of values seen.
    pub count: Vec<f64>,
}

impl Frame {
    /// The frame of columns with these moments.
    pub fn new(total: &[Moments], fixed: &[Option<(f64, f64)>]) -> Self {
        let mut frame = Self {
            centre: Vec::new(),
            spread: Vec::new(),
            live: Vec::new(),
            fixed: fixed.iter().map(Option::is_some).collect(),
            count: total.iter().map(|column| column.count).collect(),
        };
        for (column, fixed) in total.iter().zip(fixed) {
            let fixed = fixed.map(|(location, scale)| Standard { location, scale });
            let known = fixed.or_else(|| Standard::learnt(column.count, column.mean, column.scatter));
            let still = Standard { location: column.mean, scale: column.mean.abs().max(1.0) };
            let Standard { location, scale } = known.unwrap_or(still);
            frame.centre.push(location);
            frame.spread.push(scale);
            frame.live.push(known.is_some());
        }
        frame
    }

    /// Statistics in standard units. A column that is not live reads as standard normal, so that its going live is no jump.
    pub fn standardise(&self, raw: &Statistics) -> Statistics {
        let mut standard = raw.clone();
        let (centre, spread) = (&self.centre, &self.spread);
        match &mut standard.numbers {
            Numbers::Diagonal(columns) => {
                for (d, column) in columns.iter_mut().enumerate() {
                    column.mean = if column.count > 0.0 { (column.mean - centre[d]) / spread[d] } else { 0.0 };
                    column.scatter = column.scatter / spread[d] / spread[d];
                }
            }
            Numbers::Full(cloud) => {
                for i in 0..cloud.mean.len() {
                    cloud.mean[i] = if cloud.count > 0.0 { (cloud.mean[i] - centre[i]) / spread[i] } else { 0.0 };
                    for j in 0..cloud.mean.len() {
                        cloud.scatter[(i, j)] = cloud.scatter[(i, j)] / spread[i] / spread[j];
                    }
                }
            }
        }
        self.settle(standard)
    }

    /// Statistics already in standard units, with columns that are not live read as standard normal.
    pub fn settle(&self, mut standard: Statistics) -> Statistics {
        for d in (0..self.live.len()).filter(|d| !self.live[*d]) {
            match &mut standard.numbers {
                Numbers::Diagonal(columns) => (columns[d].mean, columns[d].scatter) = (0.0, columns[d].count),
                Numbers::Full(cloud) => {
                    cloud.mean[d] = 0.0;
                    cloud.scatter.row_mut(d).fill(0.0);
                    cloud.scatter.column_mut(d).fill(0.0);
                    cloud.scatter[(d, d)] = cloud.count;
                }
            }
        }
        standard
    }

    /// Statistics in the columns' own units.
    pub fn restore(&self, mut standard: Statistics) -> Statistics {
        match &mut standard.numbers {
            Numbers::Diagonal(columns) => {
                for (d, column) in columns.iter_mut().enumerate() {
                    column.mean = if column.count > 0.0 { self.centre[d] + self.spread[d] * column.mean } else { 0.0 };
                    column.scatter *= self.spread[d] * self.spread[d];
                }
            }
            Numbers::Full(cloud) if cloud.count > 0.0 => {
                for i in 0..cloud.mean.len() {
                    cloud.mean[i] = self.centre[i] + self.spread[i] * cloud.mean[i];
                    for j in 0..cloud.mean.len() {
                        cloud.scatter[(i, j)] *= self.spread[i] * self.spread[j];
                    }
                }
            }
            Numbers::Full(cloud) => *cloud = Cloud::nothing(cloud.mean.len()),
        }
        standard
    }
}

/// A category cell that is missing.
pub const MISSING: usize = usize::MAX;

/// Rows in the layout that arithmetic wants: column by column, eight events in a lane group, numbers standardised.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Events.
    pub events: usize,
    /// Lane groups that hold them; the last may be part empty.
    pub groups: usize,
    /// Distance between columns in `standard` and `present`, in lane groups: odd, so that columns don't share cache sets.
    pub stride: usize,
    /// Standardised numbers `[number columns, stride]`; 0 where missing.
    pub standard: Vec<Lanes>,
    /// 1 where a number is there and 0 where it is missing, like `standard`; empty if none is missing.
    pub present: Vec<Lanes>,
    /// Whether no value of the column is missing.
    pub complete: Vec<bool>,
    /// Counts, then booleans: `[columns][events]`; NaN where missing.
    pub sums: Vec<Vec<f64>>,
    /// Slots of categories `[columns][events]`, or [`MISSING`].
    pub categories: Vec<Vec<usize>>,
    /// The frame of `standard`: the posterior's, but columns never seen before are centred on their first value here.
    pub frame: Frame,
    /// A number column with a value so far out that its square is not finite.
    too_far: Option<usize>,
}

impl Batch {
    /// Rows as decoded. Texts outside the vocabularies share slot 0.
    pub fn from_rows(layout: &Layout, frame: &Frame, vocabularies: &[Vocabulary], rows: RowsView<'_>) -> Self {
        let width = rows.width();
        let cells = rows.cells();
        let mut batch = Self::numbers(frame, rows.len(), |e, d| cells[e * width + layout.numbers[d]]);
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
    pub fn from_cells(layout: &Layout, frame: &Frame, cells: &[f64], rows: &[usize]) -> Self {
        let width = layout.width();
        let (dim, sums) = (layout.numbers.len(), layout.counts.len() + layout.booleans.len());
        let mut batch = Self::numbers(frame, rows.len(), |e, d| cells[rows[e] * width + d]);
        batch.sums = (dim..dim + sums).map(|at| rows.iter().map(|row| cells[row * width + at]).collect()).collect();
        let slot = |cell: f64| if cell.is_nan() { MISSING } else { cell as usize };
        batch.categories = (dim + sums..width).map(|at| rows.iter().map(|row| slot(cells[row * width + at])).collect()).collect();
        batch
    }

    fn numbers(frame: &Frame, events: usize, cell: impl Fn(usize, usize) -> f64) -> Self {
        let dim = frame.centre.len();
        let groups = events.div_ceil(LANES);
        let stride = groups | 1;
        let mut frame = frame.clone();
        let mut standard = vec![[0.0; LANES]; dim * stride];
        let mut complete = vec![true; dim];
        let mut too_far = None;
        for d in 0..dim {
            if frame.count[d] == 0.0
                && !frame.fixed[d]
                && let Some(first) = (0..events).map(|e| cell(e, d)).find(|x| !x.is_nan())
            {
                (frame.centre[d], frame.spread[d]) = (first, first.abs().max(1.0));
            }
            let (centre, spread) = (frame.centre[d], frame.spread[d]);
            let mut missing = false;
            let mut far = false;
            for (group, lanes) in standard[d * stride..d * stride + groups].iter_mut().enumerate() {
                for (i, z) in lanes.iter_mut().enumerate().take(events - group * LANES) {
                    let x = cell(group * LANES + i, d);
                    *z = (x - centre) / spread;
                    missing |= x.is_nan();
                    far |= z.abs() > FARTHEST;
                }
            }
            if far {
                standard[d * stride..d * stride + groups].iter_mut().flatten().for_each(|z| *z = z.clamp(-FARTHEST, FARTHEST));
                too_far = too_far.or(Some(d));
            }
            complete[d] = !missing;
        }
        let mut present = Vec::new();
        if complete.contains(&false) {
            present = standard.iter().map(|lanes| lanes.map(|z| if z.is_nan() { 0.0 } else { 1.0 })).collect();
            standard.iter_mut().flatten().filter(|z| z.is_nan()).for_each(|z| *z = 0.0);
        }
        let (sums, categories) = (Vec::new(), Vec::new());
        Self { events, groups, stride, standard, present, complete, sums, categories, frame, too_far }
    }

    /// Refuses numbers whose squares would not be finite.
    pub fn check(&self) -> Result<(), NotFinite> {
        match self.too_far {
            Some(column) => Err(NotFinite { quantity: format!("the sum of squares of number column {}", column + 1) }),
            None => Ok(()),
        }
    }

    /// The standardised number of event `event` in column `column`; `None` where missing.
    pub fn number(&self, event: usize, column: usize) -> Option<f64> {
        let (group, lane) = (column * self.stride + event / LANES, event % LANES);
        (self.complete[column] || self.present[group][lane] == 1.0).then(|| self.standard[group][lane])
    }
}
