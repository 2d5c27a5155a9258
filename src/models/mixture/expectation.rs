//! What learning needs: expected log densities of all components, and the statistics of events under them.

use std::sync::Arc;

use super::batch::Batch;
use super::diagonal::{self, Gaussians};
use super::discrete::{ExpectedMasses, gather};
use super::full::{self, Density, WhitenedNormal};
use super::kernel::{self, Matrix};
use super::prior::Prior;
use super::statistics::{Numbers, Statistics};
use crate::models::NotFinite;

/// Expected log densities of all components.
#[derive(Clone, Debug)]
pub struct Expectation {
    ln_weights: Vec<f64>,
    numbers: Expected,
    masses: ExpectedMasses,
}

/// Expected log densities of numbers.
#[derive(Clone, Debug)]
pub enum Expected {
    /// Each by itself.
    Diagonal(Gaussians),
    /// All jointly, a normal a component.
    Full(Vec<Arc<WhitenedNormal>>),
}

impl Expectation {
    /// The tables of components with statistics in standard units and `ln_weights`, E ln π.
    pub fn new(prior: &Prior, live: &[bool], components: &[&Statistics], ln_weights: Vec<f64>) -> Result<Self, NotFinite> {
        let (mut beliefs, mut normals) = (Vec::with_capacity(components.len() * live.len()), Vec::new());
        let mut full = false;
        for component in components {
            match &component.numbers {
                Numbers::Diagonal(columns) => {
                    beliefs.extend(columns.iter().enumerate().map(|(d, column)| prior.observe_number(d, column)));
                }
                Numbers::Full(joint) => {
                    full = true;
                    let normal = WhitenedNormal::new(prior.observe_numbers(joint), live);
                    let quantity = || "the determinant of a component's covariance".into();
                    normals.push(Arc::new(normal.map_err(|_| NotFinite { quantity: quantity() })?));
                }
            }
        }
        let numbers = if full { Expected::Full(normals) } else { Expected::Diagonal(Gaussians::new(beliefs, live)) };
        Ok(Self { ln_weights, numbers, masses: ExpectedMasses::new(prior, components) })
    }

    /// Responsibilities `r ∝ exp(E ln π + E ln p(x | θ))` `[components, events]`, and each event's log of the sum.
    pub fn responsibilities(&self, batch: &Batch) -> (Matrix, Vec<f64>) {
        let mut log = self.without_numbers(batch);
        match &self.numbers {
            Expected::Diagonal(table) => table.add_to(&batch.numbers, &mut log),
            Expected::Full(normals) => full::add_to(normals, Density::Expected, &batch.numbers, &mut log),
        }
        let totals = kernel::normalise(&mut log, batch.events());
        (log, totals)
    }

    /// Statistics of the batch under `responsibilities`, in standard units.
    pub fn statistics(&self, batch: &Batch, responsibilities: &Matrix) -> Vec<Statistics> {
        let rows = 0..responsibilities.rows();
        let numbers: Vec<Numbers> = match &self.numbers {
            Expected::Diagonal(table) => {
                let centre = |row: usize| &table.centre[row * table.dim..(row + 1) * table.dim];
                rows.map(|row| Numbers::Diagonal(diagonal::moments(&batch.numbers, responsibilities, row, centre(row)))).collect()
            }
            Expected::Full(normals) => {
                full::joint_moments(normals, &batch.numbers, responsibilities).into_iter().map(Numbers::Full).collect()
            }
        };
        gather(batch, responsibilities, numbers)
    }

    /// `E ln π + E ln p(x | θ)` of every column but the numbers `[components, events]`.
    pub fn without_numbers(&self, batch: &Batch) -> Matrix {
        let mut log = Matrix::filled(self.ln_weights.iter().copied(), batch.numbers.groups);
        self.masses.add_to(batch, &mut log);
        log
    }

    /// The tables of numbers.
    pub fn numbers(&self) -> &Expected {
        &self.numbers
    }
}
