//! The mixture's arithmetic of numbers as tensors, for a device that has many more arms than the processor.
//!
//! The same three things as `kernel` and `full` compute, in f64: responsibilities, new statistics, and the predictive. Numbers column by
//! column (`device::diagonal`) and joint numbers (`device::joint`) have operations of their own, a launch each. Columns that are no
//! numbers are looked up by the processor and added, and so is the background beside joint normals.
//!
//! Joint numbers with missing cells have no tensor form: their patterns are the processor's.

use std::sync::Arc;

use candle_core::{Device, Result, Tensor};
use nalgebra::{DMatrix, DVector};

use super::batch::Batch;
use super::diagonal::{Gaussians, Students};
use super::discrete::gather;
use super::expectation::{Expectation, Expected};
use super::full::{Density, WhitenedNormal};
use super::kernel::{Matrix, total};
use super::predictive::Predictive;
use super::statistics::{JointMoments, Moments, Numbers, Statistics};
use crate::device::diagonal::{self, Family};
use crate::device::joint;
use crate::dist::lanes::LANES;

/// Expected log densities of all components, on a device.
#[derive(Clone, Debug)]
pub struct ExpectationTensors(Densities);

/// Predictive log densities of known components and the background, on a device.
#[derive(Clone, Debug)]
pub struct PredictiveTensors(Densities);

/// Log densities of numbers, with their tables on the device.
#[derive(Clone, Debug)]
enum Densities {
    /// As [`diagonal::responsibilities`] reads them.
    Diagonal(Family, Tensor),
    /// As [`joint::responsibilities`] reads them.
    Full(Family, Tensor),
}

/// The batch's numbers `[dim, events]`, NaN where missing.
fn to_cells(batch: &Batch, device: &Device) -> Result<Tensor> {
    let dim = batch.numbers.complete.len();
    let column = |d: usize| (0..batch.events()).map(move |event| batch.numbers.get(event, d).unwrap_or(f64::NAN));
    Tensor::from_vec((0..dim).flat_map(column).collect(), (dim, batch.events()), device)
}

impl Densities {
    /// Of columns by themselves.
    fn diagonal<const N: usize>(family: Family, dim: usize, parameters: [&Vec<f64>; N], device: &Device) -> Result<Self> {
        let rows = parameters[0].len().checked_div(dim).unwrap_or(0);
        let table = Tensor::from_vec(parameters.into_iter().flatten().copied().collect(), (N, rows, dim), device)?;
        Ok(Self::Diagonal(family, table))
    }

    /// Of joint normals.
    fn full(family: Family, normals: &[Arc<WhitenedNormal>], device: &Device) -> Result<Self> {
        let mut table = Vec::new();
        for normal in normals {
            let (strength, dof) = (normal.belief().strength, normal.dof());
            let (density, narrowing, factor) = match family {
                Family::Gaussian => (Density::Expected, 1.0, 0.5 * dof),
                Family::Student => (Density::Predictive, strength / (strength + 1.0), 0.5 * (dof + 1.0)),
            };
            table.extend(&normal.belief().mean);
            // A column that is not live has no say in any distance.
            table.extend(normal.live_whitening().map(|entry| entry * narrowing.sqrt()));
            table.extend([normal.at_mean(density), factor]);
        }
        Ok(Self::Full(family, Tensor::from_vec(table, (normals.len(), ()), device)?))
    }

    fn device(&self) -> &Device {
        let (Self::Diagonal(_, table) | Self::Full(_, table)) = self;
        table.device()
    }

    /// Responsibilities `[rows, events]`, and each event's log of the sum, where `rest` are log joints without these numbers.
    fn responsibilities(&self, batch: &Batch, rest: &Matrix) -> Result<(Matrix, Vec<f64>)> {
        let cells = to_cells(batch, self.device())?;
        let rest = to_tensor(rest, batch.events(), self.device())?;
        let all = match self {
            Self::Diagonal(family, table) => diagonal::responsibilities(*family, &cells, table, &rest)?,
            Self::Full(family, table) => joint::responsibilities(*family, &cells, table, &rest)?,
        };
        let last = all.dim(0)? - 1;
        Ok((to_matrix(&all.narrow(0, 0, last)?, batch)?, all.get(last)?.to_vec1()?))
    }
}

impl ExpectationTensors {
    /// Takes the tables of `expectation` to `device`.
    pub(super) fn new(expectation: &Expectation, device: &Device) -> Result<Self> {
        let densities = match expectation.numbers() {
            Expected::Diagonal(Gaussians { dim, centre, weight, constant, .. }) => {
                Densities::diagonal(Family::Gaussian, *dim, [centre, weight, constant], device)
            }
            Expected::Full(normals) => Densities::full(Family::Gaussian, normals, device),
        };
        densities.map(Self)
    }

    /// Responsibilities `[components, events]`, and each event's log of the sum.
    pub(super) fn responsibilities(&self, expectation: &Expectation, batch: &Batch) -> Result<(Matrix, Vec<f64>)> {
        self.0.responsibilities(batch, &expectation.without_numbers(batch))
    }

    /// Statistics of the batch under `responsibilities`, in standard units.
    pub(super) fn statistics(&self, batch: &Batch, responsibilities: &Matrix) -> Result<Vec<Statistics>> {
        let device = self.0.device();
        let cells = to_cells(batch, device)?;
        let weights = to_tensor(responsibilities, batch.events(), device)?;
        let numbers: Vec<Numbers> = match &self.0 {
            Densities::Diagonal(_, table) => {
                let centre = table.get(0)?;
                moments(&diagonal::moments(&cells, &centre, &weights)?, &centre)?.into_iter().map(Numbers::Diagonal).collect()
            }
            Densities::Full(..) => {
                let dim = cells.dim(0)?;
                let columns = (0..dim).map(|d| d as f64).chain(vec![0.0; dim]).collect();
                let columns = Tensor::from_vec(columns, (2, dim), device)?;
                let scatter: Vec<Vec<f64>> = joint::scatter(&cells, &columns, &weights.unsqueeze(0)?)?.to_vec2()?;
                let counts = (0..scatter.len()).map(|k| total(responsibilities.row(k)));
                counts.zip(scatter).map(|(count, scatter)| Numbers::Full(joint_moments(count, dim, &scatter))).collect()
            }
        };
        Ok(gather(batch, responsibilities, numbers))
    }
}

impl PredictiveTensors {
    /// Takes the tables of `predictive` to `device`.
    pub(super) fn new(predictive: &Predictive, device: &Device) -> Result<Self> {
        let densities = match predictive.numbers() {
            ([], Students { dim, centre, inverse, exponent, peak, .. }) => {
                Densities::diagonal(Family::Student, *dim, [centre, inverse, exponent, peak], device)
            }
            (normals, _) => Densities::full(Family::Student, normals, device),
        };
        densities.map(Self)
    }

    /// Responsibilities of known components and the background `[rows, events]`, and `ln Σ weight · density` of each event, in standard
    /// units.
    pub(super) fn responsibilities(&self, predictive: &Predictive, batch: &Batch) -> Result<(Matrix, Vec<f64>)> {
        let mut rest = predictive.without_numbers(batch);
        if let (normals @ [_, ..], background) = predictive.numbers() {
            background.add_to(&batch.numbers, normals.len(), &mut rest);
        }
        self.0.responsibilities(batch, &rest)
    }
}

/// Moments `[components][dim]` from weighted sums of powers of gaps to `centre`.
fn moments(sums: &Tensor, centre: &Tensor) -> Result<Vec<Vec<Moments>>> {
    let (sums, centre): (Vec<Vec<Vec<f64>>>, Vec<Vec<f64>>) = (sums.to_vec3()?, centre.to_vec2()?);
    let moments = |k: usize, d: usize| {
        let (count, first, second) = (sums[0][k][d], sums[1][k][d], sums[2][k][d]);
        if count == 0.0 {
            return Moments::default();
        }
        let mean = first / count;
        Moments { count, mean: centre[k][d] + mean, scatter: (second - first * mean).max(0.0) }
    };
    Ok(centre.iter().enumerate().map(|(k, row)| (0..row.len()).map(|d| moments(k, d)).collect()).collect())
}

/// Moments of so many events from their mean and the lower triangle of their scatter.
fn joint_moments(count: f64, dim: usize, scatter: &[f64]) -> JointMoments {
    if count == 0.0 {
        return JointMoments::nothing(dim);
    }
    let (mean, scatter) = scatter.split_at(dim);
    let entry = |i: usize, j: usize| scatter[joint::triangle(i.max(j)) + i.min(j)];
    JointMoments { count, mean: DVector::from_column_slice(mean), scatter: DMatrix::from_fn(dim, dim, entry) }
}

fn to_tensor(matrix: &Matrix, events: usize, device: &Device) -> Result<Tensor> {
    let rows = matrix.rows();
    let data: Vec<f64> = (0..rows).flat_map(|row| matrix.row(row).as_flattened()[..events].iter().copied()).collect();
    Tensor::from_vec(data, (rows, events), device)
}

fn to_matrix(tensor: &Tensor, batch: &Batch) -> Result<Matrix> {
    let rows: Vec<Vec<f64>> = tensor.to_vec2()?;
    let mut lanes = Vec::with_capacity(rows.len() * batch.numbers.groups);
    for row in rows {
        lanes.extend(row.chunks(LANES).map(|chunk| std::array::from_fn(|i| chunk.get(i).copied().unwrap_or(0.0))));
    }
    Ok(Matrix { groups: batch.numbers.groups, lanes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::testing::{assert_close, normal, uniform};
    use crate::features::{Column, Kind, Rows, Schema};
    use crate::models::mixture::{Covariance, Mixture, MixtureConfig};
    use crate::models::{Evidence, Model};
    use crate::record::{Offset, Partition};

    /// Devices that this build and machine have.
    fn devices() -> Vec<Device> {
        let mut devices = vec![Device::Cpu];
        devices.extend(Device::cuda_if_available(0).ok().filter(|device| !device.is_cpu()));
        devices
    }

    fn agree(covariance: Covariance, missing: f64) {
        let kinds = [Kind::Number, Kind::Number, Kind::Count, Kind::Boolean, Kind::Number, Kind::Category { capacity: 3 }];
        let column = |(at, kind): (usize, &Kind)| Column { name: format!("c{at}"), path: vec![format!("c{at}")], kind: *kind };
        let schema = Schema::new(kinds.iter().enumerate().map(column).collect());
        let model =
            Mixture::new(&schema, MixtureConfig { covariance, ..MixtureConfig::default() }).expect("a right configuration");
        let mut rows = Rows::new(6);
        for event in 0..1_500_u64 {
            let (cells, texts) = rows.push_missing();
            let kind = f64::from(u8::from(uniform(event) < 0.5));
            for (at, cell) in [0_usize, 1, 4].into_iter().enumerate() {
                let index = 3 * event + at as u64;
                if uniform((1 << 40) + index) >= missing {
                    // The last number never varies.
                    cells[cell] = if cell == 4 { 2.0 } else { 50.0 + 10.0 * kind + normal(index) };
                }
            }
            cells[2] = (event % 4) as f64;
            cells[3] = kind;
            cells[5] = texts.push(["a", "b", "c", "d"][(event % 4) as usize]) as f64;
        }
        let mut evidence = model.nothing();
        for at in (0..1_500).step_by(20) {
            let posterior = model.posterior(&evidence).expect("finite");
            let block = rows.view().slice(at..at + 20);
            evidence.add(&model.news(&posterior, block, (Partition(0), Offset(at as i64))).expect("finite"));
            model.reorganise(&model.nothing(), &mut evidence);
        }
        let posterior = model.posterior(&evidence).expect("finite");
        assert!(posterior.ids.len() > 1);
        let block = rows.view().slice(100..361);
        let batch = Batch::from_rows(&model.layout, &posterior.units, &posterior.vocabularies, block);
        for device in devices() {
            let tensors = PredictiveTensors::new(&posterior.predictive, &device).unwrap();
            let same = |(found, totals): (Matrix, Vec<f64>), (expected, expected_totals): (Matrix, Vec<f64>)| {
                totals.iter().zip(&expected_totals).for_each(|(found, expected)| assert_close(*found, *expected, 1e-10));
                for (found, expected) in found.lanes.as_flattened().iter().zip(expected.lanes.as_flattened()) {
                    assert_close(*found, *expected, 1e-10);
                }
                expected
            };
            let found = tensors.responsibilities(&posterior.predictive, &batch).unwrap();
            same(found, posterior.predictive.responsibilities(&batch));
            let tensors = ExpectationTensors::new(&posterior.expectation, &device).unwrap();
            let found = tensors.responsibilities(&posterior.expectation, &batch).unwrap();
            let mut expected = same(found, posterior.expectation.responsibilities(&batch));
            // The second component has no part in any event.
            expected.row_mut(1).fill([0.0; LANES]);
            let statistics = tensors.statistics(&batch, &expected).unwrap();
            for (found, expected) in statistics.iter().zip(posterior.expectation.statistics(&batch, &expected)) {
                assert_eq!((&found.sums, &found.categories), (&expected.sums, &expected.categories));
                let numbers = |statistics: &Statistics| match &statistics.numbers {
                    Numbers::Diagonal(columns) => columns.iter().flat_map(|m| [m.count, m.mean, m.scatter]).collect::<Vec<_>>(),
                    Numbers::Full(joint) => [joint.count].iter().chain(&joint.mean).chain(&joint.scatter).copied().collect(),
                };
                for (found, expected) in numbers(found).into_iter().zip(numbers(&expected)) {
                    assert_close(found, expected, 1e-10);
                }
            }
        }
    }

    #[test]
    fn tensors_agree_with_the_processor() {
        agree(Covariance::Diagonal, 0.0);
        agree(Covariance::Diagonal, 0.2);
        agree(Covariance::Full, 0.0);
    }
}
