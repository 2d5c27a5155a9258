//! The same arithmetic on a device. What only the device needs stays there; what the host asks for comes back.

use std::iter;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use candle_core::{Device, Error, Result, Tensor};

use super::parameters::Parameters;
use super::real::Real;
use super::{Activation, PANEL, Shape, panels};
use crate::device;
use crate::device::layers::{Layers, Sum};

impl From<&Shape> for Layers {
    fn from(shape: &Shape) -> Self {
        Self { widths: shape.widths.clone(), rectified: shape.activation == Activation::Relu }
    }
}

/// A block of events on its way through a network and back.
#[derive(Clone, Debug)]
pub struct Passing {
    device: Device,
    layers: Layers,
    /// Of the latest pass forwards: the weights `[planes, parameters]` and the trace.
    ahead: Option<[Tensor; 2]>,
    /// Of the latest backwards since then.
    signals: Option<Tensor>,
}

impl Passing {
    /// For networks of this shape.
    pub fn new(shape: &Shape, device: &Device) -> Self {
        Self { device: device.clone(), layers: shape.into(), ahead: None, signals: None }
    }

    /// Writes the outputs for `inputs` `[panel][input + 1][PANEL]`, with ε of each layer `[panel][output][PANEL]`.
    pub fn forward<'a, T: Real>(
        &mut self,
        inputs: &[T],
        (mean, variance): (&Parameters<T>, Option<&Parameters<T>>),
        draws: impl Iterator<Item = &'a [f32]> + Clone,
        out: &mut [T],
    ) -> Result<()> {
        (self.ahead, self.signals) = (None, None);
        let Self { device, layers, .. } = self;
        let [width, outputs, units] = layers.units();
        let panels = inputs.len() / ((width + 1) * PANEL);
        let planes = iter::once(mean).chain(variance);
        let weights = (1, planes.clone().count(), layers.parameters());
        let weights = upload(planes.flat_map(Parameters::rows), weights, device)?;
        let inputs = upload([inputs], (1, panels, width + 1, PANEL), device)?;
        let draws = variance.map(|_| {
            let layers = draws.zip(layers.widths[1..].iter().map(|width| width * PANEL));
            let panel = |panel: usize| layers.clone().map(move |(draws, size)| &draws[panel * size..][..size]);
            upload((0..panels).flat_map(panel), (panels, units - width, PANEL), device)
        });
        let trace = layers.forward(&inputs, &weights, draws.transpose()?.as_ref())?;
        download(&trace.narrow(1, 0, 1)?.narrow(2, units - outputs, outputs)?, out)?;
        self.ahead = Some([weights.squeeze(0)?, trace]);
        Ok(())
    }

    /// Carries the signals of the outputs back, through variances too if `whole`.
    pub fn backward<T: Real>(&mut self, whole: bool, signal: &[T]) -> Result<()> {
        let (weights, trace) = self.ahead(whole)?;
        let signal = upload([signal], (trace.dim(0)?, self.layers.units()[1], PANEL), &self.device)?;
        self.signals = Some(self.layers.backward(trace, &weights, &signal)?);
        Ok(())
    }

    /// Writes the signals of the network's inputs.
    pub fn input_signal<T: Real>(&self, whole: bool, out: &mut [T]) -> Result<()> {
        let (weights, trace) = self.ahead(whole)?;
        download(&self.layers.input_signal(trace, &weights, self.signals()?)?, out)
    }

    /// Adds a sum over events.
    pub fn add<T: Real>(&self, kind: Sum, sum: &mut Parameters<T>) -> Result<()> {
        let (_, trace) = self.ahead(false)?;
        let mut found = self.layers.sum(kind, trace, self.signals()?)?.to_vec1::<f32>()?.into_iter();
        for row in sum.rows_mut() {
            row.iter_mut().zip(found.by_ref()).for_each(|(sum, new)| *sum += T::of(f64::from(new)));
        }
        Ok(())
    }

    /// Writes `Σ V (∂L/∂w)²` of each event.
    pub fn variance_along<T: Real>(&self, variance: &Parameters<T>, out: &mut [T]) -> Result<()> {
        let (_, trace) = self.ahead(false)?;
        let variances = upload(variance.rows(), self.layers.parameters(), &self.device)?;
        download(&self.layers.variance_along(trace, &variances, self.signals()?)?, out)
    }

    /// Writes the outputs' derivative along `direction`.
    pub fn tangent<T: Real>(&self, direction: &Parameters<T>, out: &mut [T]) -> Result<()> {
        let (weights, trace) = self.ahead(false)?;
        let [inputs, outputs, units] = self.layers.units();
        let direction = upload(direction.rows(), self.layers.parameters(), &self.device)?;
        let tangents = self.layers.tangent(trace, &weights.squeeze(0)?, &direction)?;
        download(&tangents.narrow(1, units - inputs - outputs, outputs)?, out)
    }

    /// Means `[1, parameters]`, or the `whole` with variances `[2, parameters]`, and the trace.
    fn ahead(&self, whole: bool) -> Result<(Tensor, &Tensor)> {
        let [weights, trace] = self.ahead.as_ref().ok_or_else(|| Error::Msg("nothing has gone forwards".into()))?;
        Ok((weights.narrow(0, 0, if whole { 2 } else { 1 })?, trace))
    }

    fn signals(&self) -> Result<&Tensor> {
        self.signals.as_ref().ok_or_else(|| Error::Msg("nothing has come back".into()))
    }
}

/// Networks that predict side by side.
#[derive(Debug)]
pub struct Predicting {
    device: Device,
    /// Whether it has failed, and is asked no more.
    failed: AtomicBool,
    layers: Layers,
    /// `[networks, 1, parameters]`, while there is a device that does it.
    weights: Mutex<Option<Tensor>>,
}

impl Predicting {
    /// For networks of this shape.
    pub fn new(shape: &Shape, device: &Device) -> Self {
        Self { device: device.clone(), failed: AtomicBool::new(false), layers: shape.into(), weights: Mutex::default() }
    }

    /// Takes over the weights of each network.
    pub fn set<T: Real>(&self, weights: &[Parameters<T>]) {
        if self.failed.load(Ordering::Relaxed) {
            return;
        }
        let shape = (weights.len(), 1, self.layers.parameters());
        self.keep(upload(weights.iter().flat_map(Parameters::rows), shape, &self.device));
    }

    /// Writes the outputs of each network, if there is a device that does it. Inputs are as those of
    /// [`super::Sampled::predict_each`].
    pub fn predict<T: Real>(&self, inputs: &[T], stride: usize, events: usize, out: &mut [T]) -> bool {
        let weights = self.weights.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(weights) = weights.filter(|_| events > 0) else { return false };
        let done = self.outputs(&weights, inputs, stride, events).and_then(|outputs| download(&outputs, out));
        done.map_err(|error| self.keep(Err(error))).is_ok()
    }

    /// `[networks · panels, 1, outputs, PANEL]`.
    fn outputs<T: Real>(&self, weights: &Tensor, inputs: &[T], stride: usize, events: usize) -> Result<Tensor> {
        let [width, outputs, units] = self.layers.units();
        let (panels, sets) = (panels(events), if stride == 0 { 1 } else { weights.dim(0)? });
        let sets = (0..sets).map(|set| &inputs[set * stride..][..panels * (width + 1) * PANEL]);
        let shape = (sets.len(), panels, width + 1, PANEL);
        let inputs = upload(sets, shape, &self.device)?;
        self.layers.forward(&inputs, weights, None)?.narrow(2, units - outputs, outputs)
    }

    fn keep(&self, weights: Result<Tensor>) {
        let weights = weights.inspect_err(device::given_up).ok();
        self.failed.fetch_or(weights.is_none(), Ordering::Relaxed);
        *self.weights.lock().unwrap_or_else(PoisonError::into_inner) = weights;
    }
}

/// Rows of numbers, in single precision.
fn upload<'a, T: Real>(
    rows: impl IntoIterator<Item = &'a [T]>,
    shape: impl Into<candle_core::Shape>,
    device: &Device,
) -> Result<Tensor> {
    let shape = shape.into();
    let mut numbers = Vec::with_capacity(shape.elem_count());
    rows.into_iter().for_each(|row| numbers.extend(row.iter().map(|number| number.wide() as f32)));
    Tensor::from_vec(numbers, shape, device)
}

/// Writes all of a tensor's numbers.
fn download<T: Real>(tensor: &Tensor, out: &mut [T]) -> Result<()> {
    let found: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
    out.iter_mut().zip(found).for_each(|(out, found)| *out = T::of(f64::from(found)));
    Ok(())
}
