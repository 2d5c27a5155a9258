//! The mixture's arithmetic of numbers as tensors, for a device that has many more arms than the processor.
//!
//! The same three things as `kernel` and `full` compute, in f64: responsibilities, new statistics, and the predictive. Numbers column by
//! column have operations of their own (`device::diagonal`), a launch each; joint numbers are done in candle's. Columns that are no
//! numbers are looked up by the processor and added.
//!
//! Joint numbers with missing cells have no tensor form: their patterns are the processor's.

use candle_core::{Device, Result, Tensor};
use candle_nn::ops::softmax;
use nalgebra::{DMatrix, DVector};

use super::discrete::gather;
use super::frame::Batch;
use super::full::{Density, Ellipse};
use super::kernel::{Gaussians, Matrix, Students};
use super::posterior::{Expectation, Expected, Predictive};
use super::statistics::{Cloud, Moments, Numbers, Statistics};
use crate::device::diagonal::{self, Family};
use crate::dist::lanes::LANES;

/// Expected log densities of all components, on a device.
#[derive(Clone, Debug)]
pub struct ExpectationTensors {
    device: Device,
    numbers: ExpectedTensors,
}

#[derive(Clone, Debug)]
enum ExpectedTensors {
    /// Parameters of [`Family::Gaussian`] `[3, components, dim]`.
    Diagonal(Tensor),
    Full(EllipseTensors),
}

/// Ellipses `[components]`, and what a Mahalanobis square is worth.
#[derive(Clone, Debug)]
struct EllipseTensors {
    /// `[components, 1, dim]`.
    mean: Tensor,
    /// L⁻ᵀ `[components, dim, dim]`.
    whitening: Tensor,
    /// Log density at the mean `[components, 1]`.
    at_mean: Tensor,
    /// ν `[components, 1]`.
    dof: Tensor,
    /// `κ/(κ + 1)` `[components, 1]`.
    narrowing: Tensor,
}

/// The batch's numbers `[dim, events]`, NaN where missing.
fn to_cells(batch: &Batch, device: &Device) -> Result<Tensor> {
    let dim = batch.complete.len();
    let column = |d: usize| (0..batch.events).map(move |event| batch.number(event, d).unwrap_or(f64::NAN));
    Tensor::from_vec((0..dim).flat_map(column).collect(), (dim, batch.events), device)
}

impl ExpectationTensors {
    /// Takes the tables of `expectation` to `device`.
    pub(super) fn new(expectation: &Expectation, device: &Device) -> Result<Self> {
        let numbers = match expectation.numbers() {
            Expected::Diagonal(Gaussians { dim, centre, weight, constant }) => {
                ExpectedTensors::Diagonal(table(*dim, [centre, weight, constant], device)?)
            }
            Expected::Full(ellipses) => ExpectedTensors::Full(EllipseTensors::new(ellipses, Density::Expected, device)?),
        };
        Ok(Self { device: device.clone(), numbers })
    }

    /// Responsibilities `[components, events]`, and each event's log of the sum.
    pub(super) fn responsibilities(&self, expectation: &Expectation, batch: &Batch) -> Result<(Matrix, Vec<f64>)> {
        let cells = to_cells(batch, &self.device)?;
        let rest = to_tensor(&expectation.without_numbers(batch), batch.events, &self.device)?;
        match &self.numbers {
            ExpectedTensors::Diagonal(table) => {
                let all = diagonal::responsibilities(Family::Gaussian, &cells, table, &rest)?;
                let components = rest.dim(0)?;
                Ok((to_matrix(&all.narrow(0, 0, components)?, batch)?, all.get(components)?.to_vec1()?))
            }
            ExpectedTensors::Full(ellipses) => {
                let numbers =
                    ellipses.at_mean.broadcast_sub(&(ellipses.squares(&cells)?.broadcast_mul(&ellipses.dof)? * 0.5)?)?;
                let log = (numbers + rest)?;
                Ok((to_matrix(&softmax(&log, 0)?, batch)?, log.log_sum_exp(0)?.to_vec1()?))
            }
        }
    }

    /// Statistics of the batch under `responsibilities`, in standard units.
    pub(super) fn statistics(&self, batch: &Batch, responsibilities: &Matrix) -> Result<Vec<Statistics>> {
        let cells = to_cells(batch, &self.device)?;
        let weights = to_tensor(responsibilities, batch.events, &self.device)?;
        let numbers: Vec<Numbers> = match &self.numbers {
            ExpectedTensors::Diagonal(table) => {
                let centre = table.get(0)?;
                moments(&diagonal::moments(&cells, &centre, &weights)?, &centre)?.into_iter().map(Numbers::Diagonal).collect()
            }
            ExpectedTensors::Full(ellipses) => ellipses.clouds(&cells, &weights)?.into_iter().map(Numbers::Full).collect(),
        };
        Ok(numbers.into_iter().enumerate().map(|(row, numbers)| gather(batch, responsibilities, row, numbers)).collect())
    }
}

/// Predictive log densities of known components and the background, on a device.
#[derive(Clone, Debug)]
pub struct PredictiveTensors {
    device: Device,
    ellipses: Option<EllipseTensors>,
    /// Parameters of [`Family::Student`] `[4, rows, dim]`, of those rows that are no ellipses.
    students: Option<Tensor>,
}

impl PredictiveTensors {
    /// Takes the tables of `predictive` to `device`.
    pub(super) fn new(predictive: &Predictive, device: &Device) -> Result<Self> {
        let (ellipses, Students { dim, centre, inverse, exponent, peak }) = predictive.numbers();
        let students = if centre.is_empty() { None } else { Some(table(*dim, [centre, inverse, exponent, peak], device)?) };
        let ellipses = if ellipses.is_empty() { None } else { Some(EllipseTensors::new(ellipses, Density::Predictive, device)?) };
        Ok(Self { device: device.clone(), ellipses, students })
    }

    /// `ln Σ weight · density` of each event, in standard units.
    pub(super) fn log_density(&self, predictive: &Predictive, batch: &Batch) -> Result<Vec<f64>> {
        let cells = to_cells(batch, &self.device)?;
        let mut log = to_tensor(&predictive.without_numbers(batch), batch.events, &self.device)?;
        let rows = log.dim(0)?;
        if let Some(ellipses) = &self.ellipses {
            let tail = (ellipses.squares(&cells)?.broadcast_mul(&ellipses.narrowing)? + 1.0)?.log()?;
            let exponent = ((&ellipses.dof + 1.0)? * 0.5)?;
            let densities = ellipses.at_mean.broadcast_sub(&tail.broadcast_mul(&exponent)?)?;
            let others = rows - densities.dim(0)?;
            log = (log + densities.pad_with_zeros(0, 0, others)?)?;
        }
        match &self.students {
            Some(table) => diagonal::responsibilities(Family::Student, &cells, table, &log)?.get(rows)?.to_vec1(),
            None => log.log_sum_exp(0)?.to_vec1(),
        }
    }
}

impl EllipseTensors {
    fn new(ellipses: &[Ellipse], density: Density, device: &Device) -> Result<Self> {
        let (count, dim) = (ellipses.len(), ellipses[0].belief().dim());
        let column = |value: &dyn Fn(&Ellipse) -> f64| {
            Tensor::from_vec(ellipses.iter().map(value).collect::<Vec<_>>(), (count, 1), device)
        };
        let means: Vec<f64> = ellipses.iter().flat_map(|ellipse| ellipse.belief().mean.iter().copied()).collect();
        // Row after row of L⁻¹; a column that is not live has no say in any distance.
        let whitening: Vec<f64> = ellipses.iter().flat_map(Ellipse::live_whitening).collect();
        Ok(Self {
            mean: Tensor::from_vec(means, (count, 1, dim), device)?,
            whitening: Tensor::from_vec(whitening, (count, dim, dim), device)?.transpose(1, 2)?.contiguous()?,
            at_mean: column(&|ellipse| ellipse.at_mean(density))?,
            dof: column(&|ellipse| ellipse.dof())?,
            narrowing: column(&|ellipse| ellipse.belief().strength / (ellipse.belief().strength + 1.0))?,
        })
    }

    /// `z − m` `[components, events, dim]`.
    fn gaps(&self, cells: &Tensor) -> Result<Tensor> {
        cells.t()?.unsqueeze(0)?.broadcast_sub(&self.mean)
    }

    /// `(z − m)ᵀ Ψ⁻¹ (z − m)` `[components, events]`.
    fn squares(&self, cells: &Tensor) -> Result<Tensor> {
        self.gaps(cells)?.matmul(&self.whitening)?.sqr()?.sum(2)
    }

    /// Weighted count, mean and scatter of the cells about each mean.
    fn clouds(&self, cells: &Tensor, weights: &Tensor) -> Result<Vec<Cloud>> {
        let gaps = self.gaps(cells)?;
        let weighted = gaps.broadcast_mul(&weights.unsqueeze(2)?)?;
        let counts: Vec<f64> = weights.sum(1)?.to_vec1()?;
        let firsts: Vec<Vec<f64>> = weighted.sum(1)?.to_vec2()?;
        let seconds: Vec<Vec<Vec<f64>>> = weighted.transpose(1, 2)?.contiguous()?.matmul(&gaps)?.to_vec3()?;
        let means: Vec<Vec<f64>> = self.mean.squeeze(1)?.to_vec2()?;
        let cloud = |k: usize| {
            let dim = means[k].len();
            if counts[k] == 0.0 {
                return Cloud::nothing(dim);
            }
            let shift = DVector::from_column_slice(&firsts[k]) / counts[k];
            let second = DMatrix::from_fn(dim, dim, |i, j| seconds[k][i][j]);
            Cloud {
                count: counts[k],
                mean: DVector::from_column_slice(&means[k]) + &shift,
                scatter: second - &shift * shift.transpose() * counts[k],
            }
        };
        Ok((0..counts.len()).map(cloud).collect())
    }
}

/// Parameters `[parameters, rows, dim]`.
fn table<const N: usize>(dim: usize, parameters: [&Vec<f64>; N], device: &Device) -> Result<Tensor> {
    let rows = parameters[0].len().checked_div(dim).unwrap_or(0);
    Tensor::from_vec(parameters.into_iter().flatten().copied().collect(), (N, rows, dim), device)
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

fn to_tensor(matrix: &Matrix, events: usize, device: &Device) -> Result<Tensor> {
    let rows = matrix.rows();
    let data: Vec<f64> = (0..rows).flat_map(|row| matrix.row(row).as_flattened()[..events].iter().copied()).collect();
    Tensor::from_vec(data, (rows, events), device)
}

fn to_matrix(tensor: &Tensor, batch: &Batch) -> Result<Matrix> {
    let rows: Vec<Vec<f64>> = tensor.to_vec2()?;
    let mut lanes = Vec::with_capacity(rows.len() * batch.groups);
    for row in rows {
        lanes.extend(row.chunks(LANES).map(|chunk| std::array::from_fn(|i| chunk.get(i).copied().unwrap_or(0.0))));
    }
    Ok(Matrix { groups: batch.groups, lanes })
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
        let batch = Batch::from_rows(&model.layout, &posterior.frame, &posterior.vocabularies, block);
        for device in devices() {
            let tensors = PredictiveTensors::new(&posterior.predictive, &device).unwrap();
            let densities = tensors.log_density(&posterior.predictive, &batch).unwrap();
            for (found, expected) in densities.iter().zip(posterior.predictive.log_density(&batch)) {
                assert_close(*found, expected, 1e-10);
            }
            let tensors = ExpectationTensors::new(&posterior.expectation, &device).unwrap();
            let (found, totals) = tensors.responsibilities(&posterior.expectation, &batch).unwrap();
            let (expected, expected_totals) = posterior.expectation.responsibilities(&batch);
            totals.iter().zip(&expected_totals).for_each(|(found, expected)| assert_close(*found, *expected, 1e-10));
            for (found, expected) in found.lanes.as_flattened().iter().zip(expected.lanes.as_flattened()) {
                assert_close(*found, *expected, 1e-10);
            }
            let statistics = tensors.statistics(&batch, &expected).unwrap();
            for (found, expected) in statistics.iter().zip(posterior.expectation.statistics(&batch, &expected)) {
                assert_eq!((&found.sums, &found.categories), (&expected.sums, &expected.categories));
                let numbers = |statistics: &Statistics| match &statistics.numbers {
                    Numbers::Diagonal(columns) => columns.iter().flat_map(|m| [m.count, m.mean, m.scatter]).collect::<Vec<_>>(),
                    Numbers::Full(cloud) => [cloud.count].iter().chain(&cloud.mean).chain(&cloud.scatter).copied().collect(),
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
