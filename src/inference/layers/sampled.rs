//! A network whose weights are drawn from the posterior a fixed number of times: what it predicts, draw by draw.

use candle_core::Device;
use pulp::{Arch, Simd, WithSimd};

use super::accelerated::Predicting;
use super::parameters::{Parameters, pitch};
use super::product::{Left, affine};
use super::real::Real;
use super::{Activation, PANEL, Shape, panels};
use crate::noise::Noise;

/// Networks `θ_s = μ + σ ε_s` for s = 1 … S. The ε are fixed by the seed, so that predictions change only because the posterior does.
#[derive(Debug)]
pub struct Sampled<T> {
    shape: Shape,
    /// ε_s of each layer, in the parameters' layout.
    draws: Vec<Vec<Vec<f32>>>,
    /// θ_s.
    weights: Vec<Parameters<T>>,
    /// Where else than on the processor they predict.
    elsewhere: Option<Predicting>,
}

impl<T: Real> Sampled<T> {
    /// `samples` draws for networks of this shape.
    pub fn new(shape: &Shape, samples: usize, noise: &Noise) -> Self {
        let zeros = Parameters::zeros(shape);
        let draw = |sample: usize| -> Vec<Vec<f32>> {
            let layer = |(index, layer): (usize, &Vec<T>)| {
                let mut draws = vec![0.0; layer.len()];
                noise.fill_normal(sample as u64, index as u32, &mut draws);
                draws
            };
            zeros.layers.iter().enumerate().map(layer).collect()
        };
        let draws = (0..samples).map(draw).collect();
        Self { shape: shape.clone(), draws, weights: vec![zeros; samples], elsewhere: None }
    }

    /// The same predicting on `device` if there is one, in single precision. If it fails, the processor predicts until weights
    /// are next set.
    pub fn on(self, device: Option<&Device>) -> Self {
        Self { elsewhere: device.map(|device| Predicting::new(&self.shape, device)), ..self }
    }

    /// The layers that they belong to.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// θ_s, one after another.
    pub fn weights(&self) -> &[Parameters<T>] {
        &self.weights
    }

    /// Sets each θ_s by the posterior's means and standard deviations.
    pub fn set(&mut self, mean: &Parameters<T>, deviation: &Parameters<T>) {
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for (weights, draws) in self.weights.iter_mut().zip(&self.draws) {
                    let layers = weights.layers.iter_mut().zip(draws).zip(mean.layers.iter().zip(&deviation.layers));
                    for ((weights, draws), (mean, deviation)) in layers {
                        for (((weight, draw), mean), deviation) in weights.iter_mut().zip(draws).zip(mean).zip(deviation) {
                            *weight = *mean + *deviation * T::of(f64::from(*draw));
                        }
                    }
                }
            },
        );
        if let Some(elsewhere) = &self.elsewhere {
            elsewhere.set(&self.weights);
        }
    }

    /// Writes the outputs `[sample][panel][output][PANEL]` for `inputs` `[panel][input + 1][PANEL]` of `events` events.
    pub fn predict(&self, inputs: &[T], events: usize, out: &mut Vec<T>) {
        self.predict_each(inputs, 0, events, out);
    }

    /// The same where each sample has inputs of its own, `stride` numbers after those of the one before.
    pub fn predict_each(&self, inputs: &[T], stride: usize, events: usize, out: &mut Vec<T>) {
        out.resize(self.weights.len() * panels(events) * self.shape.outputs() * PANEL, T::ZERO);
        if self.elsewhere.as_ref().is_some_and(|it| it.predict(inputs, stride, events, out)) {
            return;
        }
        let widest = self.shape.widths.iter().max().map_or(0, |widest| widest + 1);
        let mut scratch = [vec![T::ZERO; widest * PANEL], vec![T::ZERO; widest * PANEL]];
        Arch::new().dispatch(Predict { sampled: self, inputs, stride, events, out, scratch: &mut scratch });
    }
}

struct Predict<'a, T> {
    sampled: &'a Sampled<T>,
    inputs: &'a [T],
    stride: usize,
    events: usize,
    out: &'a mut [T],
    scratch: &'a mut [Vec<T>; 2],
}

impl<T: Real> WithSimd for Predict<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { sampled, inputs, stride, events, out, scratch } = self;
        let shape = &sampled.shape;
        let last = shape.layers() - 1;
        let [here, there] = scratch;
        let (panels, size) = (panels(events), (shape.inputs() + 1) * PANEL);
        let outputs = shape.outputs() * PANEL;
        let outs = out.chunks_exact_mut(panels.max(1) * outputs);
        for (sample, (weights, out)) in sampled.weights.iter().zip(outs).enumerate() {
            let inputs = inputs[sample * stride..][..panels * size].chunks_exact(size);
            for (input, out) in inputs.zip(out.chunks_exact_mut(outputs)) {
                for (index, weights) in weights.layers.iter().enumerate() {
                    let (rows, columns) = shape.layer(index);
                    let input = if index == 0 { input } else { &here[..rows * PANEL] };
                    let next = if index == last { &mut *out } else { &mut there[..columns * PANEL] };
                    let left = Left { data: weights, row: 1, column: pitch(columns) };
                    affine(simd, (columns, rows, PANEL), left, input, next);
                    if index < last {
                        if shape.activation == Activation::Relu {
                            for a in next.iter_mut() {
                                *a = if *a > T::ZERO { *a } else { T::ZERO };
                            }
                        }
                        there[columns * PANEL..(columns + 1) * PANEL].fill(T::ONE);
                        std::mem::swap(here, there);
                    }
                }
            }
        }
    }
}
