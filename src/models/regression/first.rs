//! The first events of a partition, kept and learnt anew with every block until there are enough of them.
//!
//! What an event says of the coefficients depends on what else is known of them, and that is nothing at first: a pseudo-observation made
//! then would hold its error for ever.

use super::batch::Table;
use super::target::{Site, Target};
use crate::checkpoint::{CheckpointError, Reader, Tensor};

/// Events that are kept.
pub const ENOUGH: usize = 512;

/// Rows with what they say by now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct First {
    /// The rows.
    pub table: Table,
    /// How many times each counts.
    pub times: Vec<f64>,
    /// Their pseudo-observations `[rows, contrasts]`.
    pub sites: Vec<Site>,
}

impl First {
    /// Rows that count once.
    pub fn new(table: Table, sites: Vec<Site>) -> Self {
        Self { times: vec![1.0; table.len()], table: Table { places: Vec::new(), ..table }, sites }
    }

    /// Those of both.
    pub fn add(&mut self, other: &Self) {
        self.table.cells.extend_from_slice(&other.table.cells);
        self.table.targets.extend_from_slice(&other.table.targets);
        self.times.extend_from_slice(&other.times);
        self.sites.extend_from_slice(&other.sites);
    }

    /// As tensors; NaN, where a cell is missing, as a place in a list.
    pub fn tensors(&self, contrasts: usize) -> Vec<Tensor> {
        let rows = self.times.len();
        let cells = &self.table.cells;
        let missing: Vec<i64> = cells.iter().enumerate().filter(|(_, x)| x.is_nan()).map(|(at, _)| at as i64).collect();
        let present = cells.iter().map(|x| if x.is_nan() { 0.0 } else { *x }).collect();
        let sites = |of: fn(&Site) -> f64| self.sites.iter().map(of).collect();
        vec![
            Tensor::f64("first.cells", &[rows, cells.len().checked_div(rows).unwrap_or(0)], present),
            Tensor::i64("first.missing", &[missing.len()], missing),
            Tensor::f64("first.targets", &[rows], self.table.targets.clone()),
            Tensor::f64("first.times", &[rows], self.times.clone()),
            Tensor::f64("first.weights", &[rows, contrasts], sites(|site| site.weight)),
            Tensor::f64("first.shifts", &[rows, contrasts], sites(|site| site.shift)),
        ]
    }

    /// What [`tensors`](Self::tensors) gave, with so many inputs.
    pub fn restore(inputs: usize, target: &impl Target, reader: Reader<'_>) -> Result<Self, CheckpointError> {
        let rows = reader.length("first.targets")?;
        let width = if rows == 0 { 0 } else { inputs };
        let mut cells = reader.f64("first.cells", &[rows, width])?.to_vec();
        let name = "first.missing";
        for at in reader.i64(name, &[reader.length(name)?])? {
            let cell = usize::try_from(*at).ok().and_then(|at| cells.get_mut(at));
            let nowhere = || CheckpointError::BadValue { name: name.into(), detail: format!("there is no cell {at}") };
            *cell.ok_or_else(nowhere)? = f64::NAN;
        }
        let shape = [rows, target.contrasts()];
        let (weights, shifts) = (reader.at_least(0.0, "first.weights", &shape)?, reader.f64("first.shifts", &shape)?);
        let name = "first.targets";
        let targets = reader.f64(name, &[rows])?;
        let is_class = |y: &f64| y.fract() == 0.0 && (0.0..target.classes() as f64).contains(y);
        if let Some(y) = targets.iter().find(|y| target.classes() > 0 && !is_class(y)) {
            return Err(CheckpointError::BadValue { name: name.into(), detail: format!("{y} is no class") });
        }
        let times = reader.at_least(0.0, "first.times", &[rows])?;
        Ok(Self {
            table: Table { places: Vec::new(), cells, targets: targets.to_vec() },
            times: times.to_vec(),
            sites: weights.iter().zip(shifts).map(|(weight, shift)| Site { weight: *weight, shift: *shift }).collect(),
        })
    }
}
