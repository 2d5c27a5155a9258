//! A likelihood with its device: values, gradients and scores as plain numbers.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};
use nalgebra::DMatrix;

use super::observations::Observations;
use super::table::{Events, Table};
use super::{Draws, LogJoint, MOST_PARAMETERS, MeanFieldError, Parameter};
use crate::inference::mean_field::Gaussians;
use crate::models::{NotFinite, Surprisal};

/// Events learnt by one pass at most, to bound memory.
const PASS: usize = 4096;

/// Events, and how many times each counts.
pub type Pass = (Events, Tensor);

/// A likelihood, its parameters, and where they live.
#[derive(Debug)]
pub struct Joint<L> {
    joint: Arc<L>,
    parameters: Vec<Parameter>,
    dim: usize,
    device: Device,
    dtype: DType,
}

// Derived, it would ask for a likelihood that can be cloned.
impl<L> Clone for Joint<L> {
    fn clone(&self) -> Self {
        Self {
            joint: Arc::clone(&self.joint),
            parameters: self.parameters.clone(),
            dim: self.dim,
            device: self.device.clone(),
            dtype: self.dtype,
        }
    }
}

impl<L: LogJoint> Joint<L> {
    /// `joint` on `device`.
    pub fn new(joint: L, device: Device, dtype: DType) -> std::result::Result<Self, MeanFieldError> {
        let parameters = joint.parameters();
        let fault = |parameter: &str, detail: String| MeanFieldError::Parameter {
            model: joint.name(),
            parameter: parameter.into(),
            detail,
        };
        for (index, parameter) in parameters.iter().enumerate() {
            if let Some(detail) = parameter.fault() {
                return Err(fault(&parameter.name, detail));
            }
            if parameters[..index].iter().any(|other| other.name == parameter.name) {
                return Err(fault(&parameter.name, "two parameters have this name; names must differ".into()));
            }
        }
        let dim = parameters.iter().map(|parameter| parameter.length).sum();
        if !(1..=MOST_PARAMETERS).contains(&dim) {
            let last = parameters.last().map_or("", |parameter| &parameter.name);
            return Err(fault(last, format!("all lengths sum up to {dim}; there must be 1 to {MOST_PARAMETERS}")));
        }
        Ok(Self { joint: Arc::new(joint), parameters, dim, device, dtype })
    }

    /// Calls the likelihood on a few made-up events, and looks at what comes back.
    pub fn try_on(&self, table: &Table) -> std::result::Result<(), MeanFieldError> {
        const EVENTS: usize = 3;
        let fault = |detail: String| MeanFieldError::Likelihood { model: self.name(), events: EVENTS, draws: 2, detail };
        let draws = self.prior().antithetic(&DMatrix::from_element(1, self.dim, 0.5));
        let tried = || {
            let events = table.events(&Observations::made_up(table.widths()), 0..1, EVENTS, self)?;
            let (theta, leaves) = Draws::tracked(&self.parameters, &draws, &self.device, self.dtype)?;
            let log_likelihood = self.joint.log_likelihood(&theta, &events)?;
            if log_likelihood.dims() != [2, EVENTS] {
                return Ok(Some(format!(
                    "its shape is {:?}; it must be [2, {EVENTS}], draws first and events last",
                    log_likelihood.dims()
                )));
            }
            let gradients = log_likelihood.sum_all()?.backward()?;
            let unused = self.parameters.iter().zip(&leaves).find(|(_, leaf)| gradients.get(leaf).is_none());
            Ok(unused.map(|(parameter, _)| {
                format!("it has no gradient by {:?}; it must be made of `theta` by candle operations", parameter.name)
            }))
        };
        match tried() {
            Ok(None) => Ok(()),
            Ok(Some(detail)) => Err(fault(detail)),
            Err(error) => Err(fault(candle(&error))),
        }
    }

    /// The model's name.
    pub fn name(&self) -> &'static str {
        self.joint.name()
    }

    /// θ.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Values of θ.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// p(θ).
    pub fn prior(&self) -> Gaussians {
        let each = || self.parameters.iter().flat_map(|parameter| std::iter::repeat_n(parameter, parameter.length));
        Gaussians {
            mean: each().map(|parameter| parameter.support.to_unconstrained(parameter.median)).collect(),
            precision: each().map(|parameter| parameter.sd.powi(-2)).collect(),
        }
    }

    /// `data` `[rows, columns]` on the device.
    pub fn tensor(&self, data: Vec<f64>, columns: usize) -> Result<Tensor> {
        let shape = (data.len() / columns, columns);
        Tensor::from_vec(data, shape, &Device::Cpu)?.to_dtype(self.dtype)?.to_device(&self.device)
    }

    /// Draws without gradients of `unconstrained` `[draws, parameters]`.
    pub fn draws(&self, unconstrained: &[f64]) -> Result<Draws> {
        Draws::new(&self.parameters, unconstrained, &self.device, self.dtype)
    }

    /// Observations as tensors, in passes of a bounded size, with the weights `[1, events]`.
    pub fn passes(&self, table: &Table, observations: &Observations) -> std::result::Result<Vec<Pass>, NotFinite> {
        let starts = (0..observations.len()).step_by(PASS);
        let pass = |start: usize| {
            let range = start..observations.len().min(start + PASS);
            let weights = self.tensor(observations.weights[range.clone()].to_vec(), range.len())?;
            Ok((table.events(observations, range.clone(), range.len(), self)?, weights))
        };
        starts.map(pass).collect::<Result<_>>().map_err(|error| self.failed(&error))
    }

    /// `Σ w_i ln p(x_i | θ)` of each pass, as the mean over draws, and the gradients `[draws, parameters]` of the sum over passes, at
    /// each draw of `unconstrained` `[draws, parameters]`.
    pub fn values(&self, unconstrained: &[f64], passes: &[Pass]) -> std::result::Result<(Vec<f64>, Vec<f64>), NotFinite> {
        let mut values = Vec::with_capacity(passes.len());
        let mut gradients = vec![0.0; unconstrained.len()];
        for pass in passes {
            values.push(self.value(unconstrained, pass, &mut gradients).map_err(|error| self.failed(&error))?);
        }
        if !values.iter().all(|value| value.is_finite()) {
            return Err(NotFinite { quantity: format!("ln p(events | θ) of `{}`", self.name()) });
        }
        let mut names = self.parameters.iter().flat_map(|parameter| std::iter::repeat_n(&parameter.name, parameter.length));
        match (0..self.dim).find(|i| !gradients.iter().skip(*i).step_by(self.dim).all(|slope| slope.is_finite())) {
            Some(index) => {
                let parameter = names.nth(index).map_or("", String::as_str);
                Err(NotFinite { quantity: format!("the gradient of ln p(events | θ) of `{}` by {parameter:?}", self.name()) })
            }
            None => Ok((values, gradients)),
        }
    }

    fn value(&self, unconstrained: &[f64], (events, weights): &Pass, gradients: &mut [f64]) -> Result<f64> {
        let (theta, leaves) = Draws::tracked(&self.parameters, unconstrained, &self.device, self.dtype)?;
        let sum = self.joint.log_likelihood(&theta, events)?.broadcast_mul(weights)?.sum_all()?;
        let slopes = sum.backward()?;
        let mut start = 0;
        for (parameter, leaf) in self.parameters.iter().zip(&leaves) {
            if let Some(slopes) = slopes.get(leaf) {
                let draws = gradients.chunks_exact_mut(self.dim);
                for (gradient, slopes) in draws.zip(numbers(slopes)?.chunks_exact(parameter.length)) {
                    gradient[start..].iter_mut().zip(slopes).for_each(|(sum, slope)| *sum += slope);
                }
            }
            start += parameter.length;
        }
        Ok(numbers(&sum)?[0] * self.dim as f64 / unconstrained.len() as f64)
    }

    /// `−ln mean_s p(x_i | θ_s)` and the standard deviation of `−ln p(x_i | θ_s)` over draws, of each observation.
    pub fn surprisals(&self, table: &Table, theta: &Draws, observations: &Observations) -> Vec<Surprisal> {
        // Always as many events in a pass, so that a score has the same bits whatever company the event came in.
        let size = if self.device.is_cpu() { 64 } else { PASS };
        let mut surprisals = Vec::with_capacity(observations.len());
        for start in (0..observations.len()).step_by(size) {
            let range = start..observations.len().min(start + size);
            let found = table.events(observations, range.clone(), size, self).and_then(|events| {
                let log_likelihoods = numbers(&self.joint.log_likelihood(theta, &events)?)?;
                Ok((0..range.len()).map(|event| surprisal(log_likelihoods.iter().skip(event).step_by(size))).collect())
            });
            // A likelihood that fails says nothing of the event.
            let nothing = Surprisal { nats: f64::NAN, sd: f64::NAN };
            surprisals.extend(found.unwrap_or_else(|_| vec![nothing; range.len()]));
        }
        surprisals
    }

    /// A pass that candle could not do.
    pub fn failed(&self, error: &candle_core::Error) -> NotFinite {
        NotFinite { quantity: format!("ln p(events | θ) of `{}`, which failed ({}), ", self.name(), candle(error)) }
    }
}

/// From ln p of one event under each draw.
fn surprisal<'a>(log_likelihoods: impl Iterator<Item = &'a f64> + Clone) -> Surprisal {
    let draws = log_likelihoods.clone().count() as f64;
    let mean = log_likelihoods.clone().sum::<f64>() / draws;
    let most = log_likelihoods.clone().copied().fold(f64::NEG_INFINITY, f64::max);
    if mean.is_nan() || most == f64::NEG_INFINITY {
        return Surprisal { nats: -mean, sd: -mean };
    }
    let variance = log_likelihoods.clone().map(|value| (value - mean).powi(2)).sum::<f64>() / draws;
    let density = log_likelihoods.map(|value| (value - most).exp()).sum::<f64>() / draws;
    // Impossible under some draws: there is no end to how far they are apart.
    let sd = if mean == f64::NEG_INFINITY { f64::INFINITY } else { variance.sqrt() };
    Surprisal { nats: -(most + density.ln()), sd }
}

/// A tensor's elements.
fn numbers(tensor: &Tensor) -> Result<Vec<f64>> {
    tensor.to_dtype(DType::F64)?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()
}

/// The first line of what candle says: the rest is where it happened.
fn candle(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or("").to_owned()
}
