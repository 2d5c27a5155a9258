//! The units in which a mixture measures numbers, and where it finds its columns.
//!
//! A number column is standardised by the mean μ and standard deviation σ of everything seen, `z = (x − μ)/σ`, or by a configured
//! location and scale. A column is *live* once it has varied; until then every value of it is as likely as every other.

use pulp::Arch;

use super::evidence::Shape;
use super::recent::REMEMBERED;
use super::statistics::{JointMoments, Moments, Numbers, Statistics};
use crate::models::Standard;

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
            booleans: self.booleans.len(),
            categories: self.categories.len(),
            full: self.full,
        }
    }

    /// Numbers that the evidence of so many components is made of.
    pub fn evidence_numbers(&self, components: usize) -> usize {
        let (dim, sums) = (self.numbers.len(), self.counts.len() + self.booleans.len());
        let slots: usize = self.categories.iter().map(|(_, capacity)| capacity + 1).sum();
        let (rest, diagonal) = (1 + 2 * sums + slots, 3 * dim);
        let numbers = if self.full { 1 + dim + dim * dim } else { diagonal };
        components * (rest + numbers) + rest + diagonal + REMEMBERED * (self.width() + 1)
    }

    /// All modelled columns.
    pub fn width(&self) -> usize {
        self.numbers.len() + self.counts.len() + self.booleans.len() + self.categories.len()
    }
}

/// μ and σ of every number column.
#[derive(Clone, Debug, PartialEq)]
pub struct Units {
    /// μ, or where the column was first seen if it is not live.
    pub location: Vec<f64>,
    /// σ, or any positive number if the column is not live.
    pub scale: Vec<f64>,
    /// Whether the column has varied.
    pub live: Vec<bool>,
    /// Whether μ and σ are configured.
    pub fixed: Vec<bool>,
    /// Effective number of values seen.
    pub count: Vec<f64>,
}

impl Units {
    /// The units of columns with these moments.
    pub fn new(total: &[Moments], fixed: &[Option<(f64, f64)>]) -> Self {
        let mut units = Self {
            location: Vec::new(),
            scale: Vec::new(),
            live: Vec::new(),
            fixed: fixed.iter().map(Option::is_some).collect(),
            count: total.iter().map(|column| column.count).collect(),
        };
        for (column, fixed) in total.iter().zip(fixed) {
            let fixed = fixed.map(|(location, scale)| Standard { location, scale });
            let known = fixed.or_else(|| Standard::learnt(column.count, column.mean, column.scatter));
            let still = Standard { location: column.mean, scale: column.mean.abs().max(1.0) };
            let Standard { location, scale } = known.unwrap_or(still);
            units.location.push(location);
            units.scale.push(scale);
            units.live.push(known.is_some());
        }
        units
    }

    /// Statistics in standard units. A column that is not live reads as standard normal, so that its going live is no jump.
    pub fn standardise(&self, raw: &Statistics) -> Statistics {
        let mut standard = raw.clone();
        let inverse: Vec<f64> = self.scale.iter().map(|scale| 1.0 / scale).collect();
        match &mut standard.numbers {
            Numbers::Diagonal(columns) => {
                for (d, column) in columns.iter_mut().enumerate() {
                    column.mean = if column.count > 0.0 { (column.mean - self.location[d]) * inverse[d] } else { 0.0 };
                    column.scatter = column.scatter * inverse[d] * inverse[d];
                }
            }
            Numbers::Full(joint) => {
                for (d, mean) in joint.mean.iter_mut().enumerate() {
                    *mean = if joint.count > 0.0 { (*mean - self.location[d]) * inverse[d] } else { 0.0 };
                }
                rescale(joint, &inverse);
            }
        }
        self.settle(standard)
    }

    /// Statistics already in standard units, with columns that are not live read as standard normal.
    pub fn settle(&self, mut standard: Statistics) -> Statistics {
        for d in (0..self.live.len()).filter(|d| !self.live[*d]) {
            match &mut standard.numbers {
                Numbers::Diagonal(columns) => (columns[d].mean, columns[d].scatter) = (0.0, columns[d].count),
                Numbers::Full(joint) => {
                    joint.mean[d] = 0.0;
                    joint.scatter.row_mut(d).fill(0.0);
                    joint.scatter.column_mut(d).fill(0.0);
                    joint.scatter[(d, d)] = joint.count;
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
                    column.mean = if column.count > 0.0 { self.location[d] + self.scale[d] * column.mean } else { 0.0 };
                    column.scatter *= self.scale[d] * self.scale[d];
                }
            }
            Numbers::Full(joint) if joint.count > 0.0 => {
                for (d, mean) in joint.mean.iter_mut().enumerate() {
                    *mean = self.location[d] + self.scale[d] * *mean;
                }
                rescale(joint, &self.scale);
            }
            Numbers::Full(joint) => *joint = JointMoments::nothing(joint.mean.len()),
        }
        standard
    }
}

/// Multiplies the scatter by `factors` on both sides.
fn rescale(joint: &mut JointMoments, factors: &[f64]) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            let columns = joint.scatter.as_mut_slice().chunks_exact_mut(factors.len().max(1));
            for (column, factor) in columns.zip(factors) {
                column.iter_mut().zip(factors).for_each(|(entry, other)| *entry = *entry * factor * other);
            }
        },
    );
}
