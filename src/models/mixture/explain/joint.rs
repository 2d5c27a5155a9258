//! The marginal of some numbers under a joint predictive, from which one after another is left out.

use std::sync::Arc;

use super::super::batch::NumberColumns;
use super::super::full::{Density, WhitenedNormal};
use crate::dist::student::Student;
use crate::dist::triangle::Triangle;

/// A multivariate t over the numbers `columns`, and an event's place in it.
#[derive(Clone, Debug)]
pub struct Joint {
    normal: Arc<WhitenedNormal>,
    /// Which numbers it is about.
    columns: Vec<usize>,
    /// `z − m` of each.
    gaps: Vec<f64>,
    /// `Ψ⁻¹` of them, row after row.
    precision: Vec<f64>,
    /// `Ψ⁻¹ (z − m)`.
    pull: Vec<f64>,
    ln_determinant: f64,
}

impl Joint {
    /// Of an event's numbers in `columns`; none where rounding lets their scatter not be positive definite.
    pub fn new(normal: &Arc<WhitenedNormal>, numbers: &NumberColumns, columns: Vec<usize>) -> Option<Self> {
        let belief = normal.belief();
        let factor = Triangle::cholesky(&belief.scatter.select_rows(&columns).select_columns(&columns)).ok()?;
        let precision = factor.inverse().gram().as_slice().to_vec();
        let gaps = columns.iter().map(|d| numbers.get(0, *d).unwrap_or(0.0) - belief.mean[*d]).collect();
        let ln_determinant = factor.ln_square_determinant();
        let mut joint = Self { normal: Arc::clone(normal), columns, gaps, precision, pull: Vec::new(), ln_determinant };
        joint.settle();
        Some(joint)
    }

    /// The pull anew: what is left must not remember how far out a number was that is left out.
    fn settle(&mut self) {
        let rows = self.precision.chunks_exact(self.gaps.len().max(1));
        self.pull = rows.map(|row| row.iter().zip(&self.gaps).map(|(entry, gap)| entry * gap).sum()).collect();
    }

    fn square(&self) -> f64 {
        self.pull.iter().zip(&self.gaps).map(|(pull, gap)| pull * gap).sum::<f64>().max(0.0)
    }

    fn place(&self, column: usize) -> Option<usize> {
        self.columns.iter().position(|other| *other == column)
    }

    /// Mahalanobis square and ln|Ψ| without the number in `place`.
    fn reduced(&self, place: usize) -> (f64, f64) {
        let own = self.precision[place * self.columns.len() + place];
        ((self.square() - self.pull[place] * self.pull[place] / own).max(0.0), self.ln_determinant + own.ln())
    }

    /// The predictive log density of all.
    pub fn log_density(&self) -> f64 {
        if self.columns.is_empty() {
            return 0.0;
        }
        self.normal.log_density(Density::Predictive, self.square(), self.columns.len(), self.ln_determinant)
    }

    /// That of all but `column`.
    pub fn log_density_without(&self, column: usize) -> f64 {
        match self.place(column) {
            None => self.log_density(),
            Some(_) if self.columns.len() == 1 => 0.0,
            Some(place) => {
                let (square, ln_determinant) = self.reduced(place);
                self.normal.log_density(Density::Predictive, square, self.columns.len() - 1, ln_determinant)
            }
        }
    }

    /// Leaves `column` out: `Ψ⁻¹` without it is its Schur complement in `Ψ⁻¹`.
    pub fn remove(&mut self, column: usize) {
        let Some(place) = self.place(column) else { return };
        let dim = self.columns.len();
        let own = self.precision[place * dim + place];
        let across: Vec<f64> = self.precision[place * dim..][..dim].to_vec();
        let mut precision = Vec::with_capacity((dim - 1) * (dim - 1));
        for i in (0..dim).filter(|i| *i != place) {
            let factor = across[i] / own;
            let row = &self.precision[i * dim..][..dim];
            precision.extend((0..dim).filter(|j| *j != place).map(|j| row[j] - factor * across[j]));
        }
        self.precision = precision;
        self.ln_determinant += own.ln();
        self.columns.remove(place);
        self.gaps.remove(place);
        self.settle();
    }

    /// The predictive of number `column` given all others here: Student's t with `f + n` degrees of freedom, where n is how many
    /// those are, and squared scale `(1 + 1/κ + Δ²) / (f + n)` times what they leave of Ψ (Murphy 2007, section 8; Ding 2016).
    pub fn conditional(&self, column: usize) -> Student {
        let belief = self.normal.belief();
        let (others, square, gap, left) = match self.place(column) {
            Some(place) => {
                let own = self.precision[place * self.columns.len() + place];
                (self.columns.len() - 1, self.reduced(place).0, self.gaps[place] - self.pull[place] / own, 1.0 / own)
            }
            None => {
                let across: Vec<f64> = self.columns.iter().map(|other| belief.scatter[(*other, column)]).collect();
                let product = |by: &[f64]| across.iter().zip(by).map(|(entry, other)| entry * other).sum::<f64>();
                let rows = self.precision.chunks_exact(self.columns.len().max(1));
                let explained: f64 = rows.zip(&across).map(|(row, entry)| entry * product(row)).sum();
                (self.columns.len(), self.square(), product(&self.pull), belief.scatter[(column, column)] - explained)
            }
        };
        let dof = belief.predictive_dof() + others as f64;
        let spread = (belief.strength + 1.0) / belief.strength;
        Student::new(dof, belief.mean[column] + gap, ((spread + square) / dof * left).sqrt())
    }
}
