//! What scoring needs: predictive log densities of the components that are known and of the background, and how well they are known.

use std::sync::Arc;

use super::batch::Batch;
use super::diagonal::Students;
use super::discrete::PredictiveMasses;
use super::expectation::Expected;
use super::full::{self, Density, WhitenedNormal};
use super::kernel::{self, Matrix};
use super::prior::Prior;
use super::statistics::Statistics;
use super::weights::{WeightVariance, Weights};

/// Degrees of freedom of the background's numbers: tails that reach everywhere.
const BACKGROUND_DOF: f64 = 4.0;

/// Squared scale of the background's numbers, in variances of the column.
const BACKGROUND_SQUARE_SCALE: f64 = 2.0;

/// A component that takes a smaller part in an event adds next to nothing to its variance, which has the square of it.
const LEAST_PART: f64 = 1e-3;

/// Predictive log densities, a row a component that is known, in the order of size, and last the background if there is to be one.
#[derive(Clone, Debug)]
pub struct Predictive {
    ln_weights: Vec<f64>,
    /// Of known components if diagonal, and of the background.
    students: Students,
    /// Of known components if full.
    normals: Vec<Arc<WhitenedNormal>>,
    masses: PredictiveMasses,
    weight_variance: WeightVariance,
    /// The components that are known.
    known: Vec<usize>,
}

impl Predictive {
    /// The tables of those `components` that are `known`, which are the largest. `expected` are their tables for learning. Whatever
    /// the known ones don't take is the background's, but a component that is alone for good leaves nothing.
    pub fn new(
        prior: &Prior,
        live: &[bool],
        components: &[&Statistics],
        expected: &Expected,
        weights: &Weights,
        known: &[bool],
    ) -> Self {
        let dim = live.len();
        let sticks = || weights.sticks.iter().filter(|(k, _)| known[*k]);
        let alone = weights.sticks.is_empty();
        let order: Vec<usize> = if alone { vec![0] } else { sticks().map(|(k, _)| *k).collect() };
        let seen: Vec<&Statistics> = order.iter().map(|k| components[*k]).collect();
        let mut students = Students { dim, ..Students::default() };
        let normals = match expected {
            Expected::Diagonal(table) => {
                order.iter().for_each(|k| students.push(&table.beliefs[k * dim..(k + 1) * dim], live));
                Vec::new()
            }
            Expected::Full(normals) => order.iter().map(|k| Arc::clone(&normals[*k])).collect(),
        };
        let mut ln_weights: Vec<f64> = order.iter().map(|k| weights.mean[*k].ln()).collect();
        if !alone {
            students.push_background(BACKGROUND_DOF, BACKGROUND_SQUARE_SCALE, live);
            let unknown = (0..known.len()).filter(|k| !known[*k]);
            ln_weights.push((weights.rest + unknown.map(|k| weights.mean[k]).sum::<f64>()).ln());
        }
        Self {
            ln_weights,
            students,
            normals,
            masses: PredictiveMasses::new(prior, &seen, !alone),
            weight_variance: WeightVariance::new(sticks().map(|(_, stick)| *stick)),
            known: order,
        }
    }

    /// The background alone.
    pub fn background(prior: &Prior, live: &[bool]) -> Self {
        let mut students = Students { dim: live.len(), ..Students::default() };
        students.push_background(BACKGROUND_DOF, BACKGROUND_SQUARE_SCALE, live);
        Self {
            ln_weights: vec![0.0],
            students,
            normals: Vec::new(),
            masses: PredictiveMasses::new(prior, &[], true),
            weight_variance: WeightVariance::new(std::iter::empty()),
            known: Vec::new(),
        }
    }

    /// Responsibilities of known components and the background `[rows, events]`, and `ln Σ weight · density` of each event, in standard
    /// units.
    pub fn responsibilities(&self, batch: &Batch) -> (Matrix, Vec<f64>) {
        let mut log = self.log_joints(batch);
        let totals = kernel::normalise(&mut log, batch.events());
        (log, totals)
    }

    /// Log weights and densities `[known and background, events]`.
    pub fn log_joints(&self, batch: &Batch) -> Matrix {
        let mut log = self.without_numbers(batch);
        full::add_to(&self.normals, Density::Predictive, &batch.numbers, &mut log);
        self.students.add_to(&batch.numbers, self.normals.len(), &mut log);
        log
    }

    /// Log weights `[known and background]`.
    pub fn ln_weights(&self) -> &[f64] {
        &self.ln_weights
    }

    /// The components that are known, in the order of the rows.
    pub fn known(&self) -> &[usize] {
        &self.known
    }

    /// The variance under q(θ) of each event's `ln p(x | θ)`, for these responsibilities r, by the delta method:
    /// `d ln Σ π_k p_k = Σ r_k (d ln π_k + d ln p_k)`, so it is `Σ r_k² Var ln p_k(x) + Var Σ r_k ln π_k`. The background is certain, and
    /// with one component alone it is exact.
    pub fn variances(&self, batch: &Batch, responsibilities: &Matrix) -> Vec<f64> {
        let mut variances = self.weight_variance.of_sums(responsibilities).into_flattened();
        for row in 0..self.known.len() {
            let events = responsibilities.above(row, LEAST_PART);
            let selected;
            let numbers = if events.len() == batch.events() {
                &batch.numbers
            } else {
                selected = batch.numbers.select(&events);
                &selected
            };
            let mut of_log = match self.normals.get(row) {
                Some(normal) => full::log_density_variances(normal, numbers),
                None => self.students.log_density_variances(row, numbers),
            };
            self.masses.add_variances(row, batch, &events, &mut of_log);
            for (event, variance) in events.into_iter().zip(of_log) {
                variances[event] += responsibilities.get(row, event).powi(2) * variance;
            }
        }
        variances.truncate(batch.events());
        variances
    }

    /// Log weights and densities of every column but the numbers `[known and background, events]`.
    pub fn without_numbers(&self, batch: &Batch) -> Matrix {
        let mut log = Matrix::filled(self.ln_weights.iter().copied(), batch.numbers.groups);
        self.masses.add_to(batch, &mut log);
        log
    }

    /// The tables of numbers: the first rows are joint normals, the rest are Student's t column by column.
    pub fn numbers(&self) -> (&[Arc<WhitenedNormal>], &Students) {
        (&self.normals, &self.students)
    }
}
