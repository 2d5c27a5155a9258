//! The mixture's arithmetic of numbers as tensors, for a device that has many more arms than the processor.
//!
//! The same three things as `kernel` and `full` compute, in candle's operations and in f64: the log joint as a product of sufficient
//! statistics and expected natural parameters, new statistics as a product of responsibilities and sufficient statistics, and the
//! predictive. Columns that are no numbers are looked up by the processor and added.
//!
//! Joint numbers with missing cells have no tensor form: their patterns are the processor's.

use candle_core::{D, Device, Result, Tensor};
use candle_nn::ops::softmax;
use nalgebra::{DMatrix, DVector};

use super::discrete::gather;
use super::frame::Batch;
use super::full::{Density, Ellipse};
use super::kernel::{Gaussians, Matrix, Students};
use super::posterior::{Expectation, Expected, Predictive};
use super::statistics::{Cloud, Moments, Numbers, Statistics};
use crate::dist::lanes::LANES;

/// Expected log densities of all components, on a device.
#[derive(Clone, Debug)]
pub struct ExpectationTensors {
    device: Device,
    numbers: ExpectedTensors,
}

#[derive(Clone, Debug)]
enum ExpectedTensors {
    /// Natural parameters `[3 dim, components]` of the statistics (1, z, z²).
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

/// `z` and whether it is there, each `[events, dim]`, in the batch's own order.
struct Cells {
    standard: Tensor,
    present: Tensor,
}

impl Cells {
    fn new(batch: &Batch, device: &Device) -> Result<Self> {
        let dim = batch.complete.len();
        let mut standard = Vec::with_capacity(batch.events * dim);
        let mut present = Vec::with_capacity(batch.events * dim);
        for event in 0..batch.events {
            for d in 0..dim {
                let z = batch.number(event, d);
                standard.push(z.unwrap_or(0.0));
                present.push(if z.is_some() { 1.0 } else { 0.0 });
            }
        }
        let shape = (batch.events, dim);
        let (standard, present) = (Tensor::from_vec(standard, shape, device)?, Tensor::from_vec(present, shape, device)?);
        Ok(Self { standard, present })
    }

    /// The sufficient statistics (1, z, z²) `[events, 3 dim]`; 0 where a cell is missing.
    fn statistics(&self) -> Result<Tensor> {
        Tensor::cat(&[&self.present, &self.standard, &self.standard.sqr()?], 1)
    }
}

impl ExpectationTensors {
    /// Takes the tables of `expectation` to `device`.
    pub(super) fn new(expectation: &Expectation, device: &Device) -> Result<Self> {
        let numbers = match expectation.numbers() {
            Expected::Diagonal(table) => ExpectedTensors::Diagonal(natural_parameters(table, device)?),
            Expected::Full(ellipses) => ExpectedTensors::Full(EllipseTensors::new(ellipses, Density::Expected, device)?),
        };
        Ok(Self { device: device.clone(), numbers })
    }

    /// Responsibilities `[components, events]`, and each event's log of the sum.
    pub(super) fn responsibilities(&self, expectation: &Expectation, batch: &Batch) -> Result<(Matrix, Vec<f64>)> {
        let cells = Cells::new(batch, &self.device)?;
        let numbers = match &self.numbers {
            ExpectedTensors::Diagonal(natural) => cells.statistics()?.matmul(natural)?.t()?,
            ExpectedTensors::Full(ellipses) => {
                let square = ellipses.squares(&cells)?;
                ellipses.at_mean.broadcast_sub(&(square.broadcast_mul(&ellipses.dof)? * 0.5)?)?
            }
        };
        let log = (numbers + to_tensor(&expectation.without_numbers(batch), batch.events, &self.device)?)?;
        let totals = log_sum_exp(&log)?;
        let responsibilities = softmax(&log, 0)?;
        Ok((to_matrix(&responsibilities, batch)?, totals.flatten_all()?.to_vec1()?))
    }

    /// Statistics of the batch under `responsibilities`, in standard units.
    pub(super) fn statistics(&self, batch: &Batch, responsibilities: &Matrix) -> Result<Vec<Statistics>> {
        let cells = Cells::new(batch, &self.device)?;
        let weights = to_tensor(responsibilities, batch.events, &self.device)?;
        let numbers: Vec<Numbers> = match &self.numbers {
            ExpectedTensors::Diagonal(_) => {
                let rows: Vec<Vec<f64>> = weights.matmul(&cells.statistics()?)?.to_vec2()?;
                rows.iter().map(|row| Numbers::Diagonal(moments(row))).collect()
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
    /// Each `[rows, 1, dim]`, of those rows that are no ellipses.
    students: Option<[Tensor; 4]>,
}

impl PredictiveTensors {
    /// Takes the tables of `predictive` to `device`.
    pub(super) fn new(predictive: &Predictive, device: &Device) -> Result<Self> {
        let (ellipses, Students { dim, centre, inverse, exponent, peak }) = predictive.numbers();
        let rows = centre.len().checked_div(*dim).unwrap_or(0);
        let tensor = |data: &Vec<f64>| Tensor::from_slice(data, (rows, 1, *dim), device);
        let students = if rows > 0 { Some([tensor(centre)?, tensor(inverse)?, tensor(exponent)?, tensor(peak)?]) } else { None };
        let ellipses = if ellipses.is_empty() { None } else { Some(EllipseTensors::new(ellipses, Density::Predictive, device)?) };
        Ok(Self { device: device.clone(), ellipses, students })
    }

    /// `ln Σ weight · density` of each event, in standard units.
    pub(super) fn log_density(&self, predictive: &Predictive, batch: &Batch) -> Result<Vec<f64>> {
        let cells = Cells::new(batch, &self.device)?;
        let mut rows = Vec::new();
        if let Some(ellipses) = &self.ellipses {
            let tail = (ellipses.squares(&cells)?.broadcast_mul(&ellipses.narrowing)? + 1.0)?.log()?;
            let exponent = ((&ellipses.dof + 1.0)? * 0.5)?;
            rows.push(ellipses.at_mean.broadcast_sub(&tail.broadcast_mul(&exponent)?)?);
        }
        if let Some([centre, inverse, exponent, peak]) = &self.students {
            // [rows, events, dim].
            let gap = cells.standard.unsqueeze(0)?.broadcast_sub(centre)?;
            let tail = (gap.sqr()?.broadcast_mul(inverse)? + 1.0)?.log()?.broadcast_mul(exponent)?;
            let density = peak.broadcast_sub(&tail)?.broadcast_mul(&cells.present.unsqueeze(0)?)?;
            rows.push(density.sum(2)?);
        }
        let mut log = to_tensor(&predictive.without_numbers(batch), batch.events, &self.device)?;
        if !rows.is_empty() {
            log = (log + Tensor::cat(&rows, 0)?)?;
        }
        log_sum_exp(&log)?.flatten_all()?.to_vec1()
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

    /// `(z − m)ᵀ Ψ⁻¹ (z − m)` `[components, events]`.
    fn squares(&self, cells: &Cells) -> Result<Tensor> {
        let gaps = cells.standard.unsqueeze(0)?.broadcast_sub(&self.mean)?;
        gaps.matmul(&self.whitening)?.sqr()?.sum(2)
    }

    /// Weighted count, mean and scatter of the cells about each mean.
    fn clouds(&self, cells: &Cells, weights: &Tensor) -> Result<Vec<Cloud>> {
        let gaps = cells.standard.unsqueeze(0)?.broadcast_sub(&self.mean)?;
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

/// `constant − weight (z − centre)²` as natural parameters of (1, z, z²) `[3 dim, components]`.
fn natural_parameters(Gaussians { dim, centre, weight, constant }: &Gaussians, device: &Device) -> Result<Tensor> {
    let count = centre.len().checked_div(*dim).unwrap_or(0);
    let mut natural = vec![0.0; 3 * dim * count];
    for k in 0..count {
        for d in 0..*dim {
            let (m, w, c) = (centre[k * dim + d], weight[k * dim + d], constant[k * dim + d]);
            natural[d * count + k] = c - w * m * m;
            natural[(dim + d) * count + k] = 2.0 * w * m;
            natural[(2 * dim + d) * count + k] = -w;
        }
    }
    Tensor::from_vec(natural, (3 * dim, count), device)
}

/// Moments from weighted sums (Σ1, Σz, Σz²) `[3 dim]`.
fn moments(sums: &[f64]) -> Vec<Moments> {
    let dim = sums.len() / 3;
    let moments = |d: usize| {
        let (count, first, second) = (sums[d], sums[dim + d], sums[2 * dim + d]);
        if count == 0.0 {
            return Moments::default();
        }
        let mean = first / count;
        Moments { count, mean, scatter: (second - first * mean).max(0.0) }
    };
    (0..dim).map(moments).collect()
}

/// `ln Σ exp` over rows `[rows, events]`, as `[1, events]`.
fn log_sum_exp(log: &Tensor) -> Result<Tensor> {
    let most = log.max_keepdim(D::Minus2)?;
    log.broadcast_sub(&most)?.exp()?.sum_keepdim(0)?.log()? + most
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
