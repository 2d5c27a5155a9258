//! A dense network's layers, all of them in one launch. What is computed, and why, is told in [`crate::inference::layers`].
//!
//! The code here is the reference; `layers.cu` is for CUDA.
//!
//! Events lie in panels of 32, a warp's lanes. Units stand one after another, layer by layer, and so do weights: each layer's are
//! `[inputs + 1, outputs]`, the last row the biases. Weights have one plane, their means, or two, with their variances. A *trace*
//! `[panels, planes, units, 32]` has the activations of all units, inputs and outputs too, and of uncertain weights a second
//! plane: `ε / (2 √(Vᵀ a²))`, by which a unit's pre-activation grows with its variance, and 0 for inputs. *Signals*
//! `[panels, units, 32]` are those of all units but inputs.

use std::array;

use candle_core::{Error, Result, Shape, Tensor};

use super::launch::{Launch, Module, Plan, module};

/// Events in a panel.
pub const PANEL: usize = 32;

/// Threads for each event of a panel.
const WAYS: usize = 16;

/// A unit's values in a panel.
type Lanes = [f32; PANEL];

/// A network of one layer of weights at least and ten at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layers {
    /// Inputs, units of each hidden layer, outputs.
    pub widths: Vec<usize>,
    /// Whether hidden units are `max(z, 0)`, or else z.
    pub rectified: bool,
}

/// What is summed over events for each weight, by its input a and its output's signal δ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sum {
    /// `Σ a δ`.
    Gradient,
    /// `Σ a² δ²`.
    Curvature,
    /// `Σ a² δ ε / (2 √(Vᵀ a²))`.
    Variance,
}

/// An operation of three tensors; see the functions of [`Layers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// See [`Layers::forward`].
    Forward,
    /// See [`Layers::backward`].
    Backward,
    /// See [`Layers::input_signal`].
    InputSignal,
    /// See [`Layers::tangent`].
    Tangent,
    /// See [`Layers::variance_along`].
    VarianceAlong,
    /// See [`Layers::sum`].
    Sum(Sum),
}

/// An operation on a network.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    /// The network.
    pub layers: &'a Layers,
    /// What is done with it.
    pub kind: Kind,
}

impl Layers {
    /// Traces `[networks · panels, planes, units, 32]` of networks with `weights` `[networks, planes, parameters]`, from `inputs`
    /// `[sets, panels, inputs + 1, 32]`: a set for each network or one for all. `draws` `[networks · panels, units, 32]` are ε of
    /// all units but inputs, where weights have two planes.
    pub fn forward(&self, inputs: &Tensor, weights: &Tensor, draws: Option<&Tensor>) -> Result<Tensor> {
        self.launch(Kind::Forward, [inputs, weights, draws.unwrap_or(weights)])
    }

    /// Signals `[panels, units, 32]` from those of the outputs `[panels, outputs, 32]`, through `weights` `[planes, parameters]`.
    pub fn backward(&self, trace: &Tensor, weights: &Tensor, signal: &Tensor) -> Result<Tensor> {
        self.launch(Kind::Backward, [trace, weights, signal])
    }

    /// `∂L/∂a` of the inputs `[panels, inputs, 32]`, from `signals` through `weights` `[planes, parameters]`.
    pub fn input_signal(&self, trace: &Tensor, weights: &Tensor, signals: &Tensor) -> Result<Tensor> {
        self.launch(Kind::InputSignal, [trace, weights, signals])
    }

    /// The derivatives of all units but inputs `[panels, units, 32]` along `direction` in the `means`, each `[parameters]`.
    pub fn tangent(&self, trace: &Tensor, means: &Tensor, direction: &Tensor) -> Result<Tensor> {
        self.launch(Kind::Tangent, [trace, means, direction])
    }

    /// `Σ V a² δ²` over all weights, for each event `[panels, 32]`, with `variances` V `[parameters]`.
    pub fn variance_along(&self, trace: &Tensor, variances: &Tensor, signals: &Tensor) -> Result<Tensor> {
        self.launch(Kind::VarianceAlong, [trace, variances, signals])
    }

    /// The sum over events for each weight `[parameters]`.
    pub fn sum(&self, sum: Sum, trace: &Tensor, signals: &Tensor) -> Result<Tensor> {
        self.launch(Kind::Sum(sum), [trace, signals, signals])
    }

    fn launch(&self, kind: Kind, inputs: [&Tensor; 3]) -> Result<Tensor> {
        Operation { layers: self, kind }.launch(inputs)
    }

    /// Layers of weights.
    fn count(&self) -> usize {
        self.widths.len() - 1
    }

    /// Where a layer's units begin.
    fn unit(&self, layer: usize) -> usize {
        self.widths[..layer].iter().sum()
    }

    /// Where the weights begin that a layer is multiplied by.
    fn weight(&self, layer: usize) -> usize {
        self.widths.windows(2).take(layer).map(|widths| (widths[0] + 1) * widths[1]).sum()
    }

    /// Inputs, outputs, and all units.
    pub fn units(&self) -> [usize; 3] {
        [self.widths[0], self.widths[self.count()], self.unit(self.widths.len())]
    }

    /// Weights and biases.
    pub fn parameters(&self) -> usize {
        self.weight(self.count())
    }

    /// Weights of one unit above a layer, the bias last.
    fn column<'a>(&self, weights: &'a [f32], layer: usize, unit: usize) -> impl Iterator<Item = &'a f32> {
        weights[self.weight(layer)..self.weight(layer + 1)].iter().skip(unit).step_by(self.widths[layer + 1])
    }

    /// Weights of one unit of a layer.
    fn row<'a>(&self, weights: &'a [f32], layer: usize, unit: usize) -> &'a [f32] {
        &weights[self.weight(layer) + unit * self.widths[layer + 1]..][..self.widths[layer + 1]]
    }

    /// The layer's part of an array of all units.
    fn part<'a>(&self, array: &'a [Lanes], layer: usize) -> &'a [Lanes] {
        &array[self.unit(layer)..self.unit(layer + 1)]
    }

    /// The layer's part of an array of all units but inputs.
    fn upper<'a>(&self, array: &'a [Lanes], layer: usize) -> &'a [Lanes] {
        &array[self.unit(layer) - self.widths[0]..self.unit(layer + 1) - self.widths[0]]
    }

    /// f'(z) where the activation is a.
    fn slope(&self, layer: usize, a: f32) -> f32 {
        if self.rectified && layer < self.count() && (a <= 0.0 || a.is_nan()) { 0.0 } else { 1.0 }
    }

    /// `∂L/∂a` of a layer's unit, from the signals above it.
    fn back(&self, [a, widening]: [&[Lanes]; 2], weights: &[f32], signals: &[Lanes], layer: usize, unit: usize) -> Lanes {
        let (means, variances) = weights.split_at(self.parameters());
        let signals = self.upper(signals, layer + 1);
        let sum = product(self.row(means, layer, unit), signals.iter().copied());
        if variances.is_empty() {
            return sum;
        }
        let widened = signals.iter().zip(self.part(widening, layer + 1)).map(|(signal, by)| each(|i| 2.0 * signal[i] * by[i]));
        let spread = product(self.row(variances, layer, unit), widened);
        each(|i| sum[i] + spread[i] * self.part(a, layer)[unit][i])
    }
}

impl Launch for Operation<'_> {
    type Number = f32;
    const MODULE: Module = module!("layers");

    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Forward => "forward",
            Kind::Backward => "backward",
            Kind::InputSignal => "input_signal",
            Kind::Tangent => "tangent",
            Kind::VarianceAlong => "variance_along",
            Kind::Sum(Sum::Gradient) => "gradient",
            Kind::Sum(Sum::Curvature) => "curvature",
            Kind::Sum(Sum::Variance) => "variance_gradient",
        }
    }

    /// The sizes are panels, planes of the trace, an option (forwards: whether each network has inputs of its own; backwards:
    /// whether variances are a way, too), whether units are rectified, layers of weights, and the widths.
    fn plan(&self, shapes: [&Shape; 3]) -> Result<Plan> {
        let [first, second, third] = shapes;
        let ([inputs, outputs, units], parameters) = (self.layers.units(), self.layers.parameters());
        let upper = units - inputs;
        let (panels, planes) = match self.kind {
            Kind::Forward => (first.dims4()?.1, second.dims3()?.1),
            _ => (first.dims4()?.0, first.dims4()?.1),
        };
        let (trace, signals) = (Shape::from((panels, planes, units, PANEL)), Shape::from((panels, upper, PANEL)));
        let ways = || Ok::<_, Error>(second.dims2()?.0.min(planes).max(1));
        // What there should be, the blocks, the option, and what comes of it.
        let (expected, blocks, option, shape) = match self.kind {
            Kind::Forward => {
                let (sets, networks) = (first.dims4()?.0, second.dims3()?.0);
                let blocks = networks * panels;
                let draws = if planes == 2 { (blocks, upper, PANEL).into() } else { third.clone() };
                let sets = if sets == 1 { 1 } else { networks };
                let expected = [(sets, panels, inputs + 1, PANEL).into(), (networks, planes, parameters).into(), draws];
                (expected, blocks, sets > 1, (blocks, planes, units, PANEL).into())
            }
            Kind::Backward => {
                let ways = ways()?;
                ([trace, (ways, parameters).into(), (panels, outputs, PANEL).into()], panels, ways == 2, signals)
            }
            Kind::InputSignal => {
                let ways = ways()?;
                ([trace, (ways, parameters).into(), signals], panels, ways == 2, (panels, inputs, PANEL).into())
            }
            Kind::Tangent => ([trace, parameters.into(), parameters.into()], panels, false, signals),
            Kind::VarianceAlong => ([trace, parameters.into(), signals], panels, false, (panels, PANEL).into()),
            Kind::Sum(sum) => {
                let planes = if sum == Sum::Variance { 2 } else { planes };
                let trace = (panels, planes, units, PANEL).into();
                ([trace, signals, third.clone()], parameters.div_ceil(WAYS), false, parameters.into())
            }
        };
        for (found, expected) in shapes.into_iter().zip(expected) {
            if *found != expected || !(1..=2).contains(&planes) {
                return Err(Error::ShapeMismatchBinaryOp { lhs: found.clone(), rhs: expected, op: self.name() });
            }
        }
        let sizes = [panels, planes, option.into(), self.layers.rectified.into(), self.layers.count()];
        let sizes = Plan::sizes(sizes.into_iter().chain(self.layers.widths.iter().copied()))?;
        Ok(Plan { blocks, threads: WAYS * PANEL, sizes, shape })
    }

    fn reference(&self, plan: &Plan, [first, second, third]: [&[f32]; 3]) -> Vec<f32> {
        let Self { layers, kind } = self;
        let ([inputs, outputs, units], parameters) = (layers.units(), layers.parameters());
        let [panels, planes, option, ..] = plan.sizes;
        if let Kind::Sum(sum) = kind {
            return layers.sums(*sum, panels, planes, lanes(first), lanes(second));
        }
        let mut out = Vec::with_capacity(plan.shape.elem_count() / PANEL);
        for block in 0..plan.blocks {
            if *kind == Kind::Forward {
                let set = if option == 1 { block } else { block % panels };
                let weights = &second[block / panels * planes * parameters..][..planes * parameters];
                let draws = if planes == 2 { panel(third, units - inputs, block) } else { &[] };
                out.extend(layers.trace(panel(first, inputs + 1, set), weights, draws));
                continue;
            }
            let trace = panel(first, planes * units, block);
            let (a, widening) = trace.split_at(units);
            let signals = |width: usize| panel(third, width, block);
            match kind {
                Kind::Backward => out.extend(layers.signals([a, widening], second, signals(outputs))),
                Kind::InputSignal => {
                    let signals = signals(units - inputs);
                    out.extend((0..inputs).map(|unit| layers.back([a, widening], second, signals, 0, unit)));
                }
                Kind::Tangent => out.extend(layers.tangents(a, second, third)),
                _ => out.push(layers.along(a, second, signals(units - inputs))),
            }
        }
        out.into_flattened()
    }
}

impl Layers {
    fn trace(&self, inputs: &[Lanes], weights: &[f32], draws: &[Lanes]) -> Vec<Lanes> {
        let (means, variances) = weights.split_at(self.parameters());
        let mut a = inputs[..self.widths[0]].to_vec();
        let mut widening = vec![[0.0; PANEL]; if variances.is_empty() { 0 } else { self.widths[0] }];
        for layer in 0..self.count() {
            for unit in 0..self.widths[layer + 1] {
                let below = || self.part(&a, layer).iter().copied().chain([[1.0; PANEL]]);
                let mut z = product(self.column(means, layer, unit), below());
                if !variances.is_empty() {
                    let variance = product(self.column(variances, layer, unit), below().map(|a| each(|i| a[i] * a[i])));
                    let (draw, deviation) = (self.upper(draws, layer + 1)[unit], variance.map(f32::sqrt));
                    z = each(|i| z[i] + deviation[i] * draw[i]);
                    widening.push(each(|i| if deviation[i] > 0.0 { draw[i] / (2.0 * deviation[i]) } else { 0.0 }));
                }
                a.push(z.map(|z| if self.slope(layer + 1, z) > 0.0 { z } else { 0.0 }));
            }
        }
        a.extend(widening);
        a
    }

    fn signals(&self, trace: [&[Lanes]; 2], weights: &[f32], of_outputs: &[Lanes]) -> Vec<Lanes> {
        let [inputs, outputs, units] = self.units();
        let mut signals = vec![[0.0; PANEL]; units - inputs];
        signals[units - inputs - outputs..].copy_from_slice(of_outputs);
        for layer in (1..self.count()).rev() {
            for unit in 0..self.widths[layer] {
                let (signal, a) = (self.back(trace, weights, &signals, layer, unit), self.part(trace[0], layer)[unit]);
                signals[self.unit(layer) - inputs + unit] = each(|i| signal[i] * self.slope(layer, a[i]));
            }
        }
        signals
    }

    fn tangents(&self, a: &[Lanes], means: &[f32], direction: &[f32]) -> Vec<Lanes> {
        let mut tangents = Vec::new();
        for layer in 0..self.count() {
            for unit in 0..self.widths[layer + 1] {
                let below = self.part(a, layer).iter().copied().chain([[1.0; PANEL]]);
                let moved = product(self.column(direction, layer, unit), below);
                let carried = match layer {
                    0 => [0.0; PANEL],
                    _ => product(self.column(means, layer, unit), self.upper(&tangents, layer).iter().copied()),
                };
                let above = self.part(a, layer + 1)[unit];
                tangents.push(each(|i| self.slope(layer + 1, above[i]) * (moved[i] + carried[i])));
            }
        }
        tangents
    }

    fn along(&self, a: &[Lanes], variances: &[f32], signals: &[Lanes]) -> Lanes {
        let mut sum = [0.0; PANEL];
        for layer in 0..self.count() {
            for (unit, signal) in self.upper(signals, layer + 1).iter().enumerate() {
                let squares = self.part(a, layer).iter().map(|a| each(|i| a[i] * a[i])).chain([[1.0; PANEL]]);
                let spread = product(self.column(variances, layer, unit), squares);
                sum = each(|i| sum[i] + spread[i] * signal[i] * signal[i]);
            }
        }
        sum
    }

    fn sums(&self, sum: Sum, panels: usize, planes: usize, traces: &[Lanes], signals: &[Lanes]) -> Vec<f32> {
        let [inputs, _, units] = self.units();
        let mut sums = vec![0.0; self.parameters()];
        for panel in 0..panels {
            let (a, widening) = traces[panel * planes * units..][..planes * units].split_at(units);
            let signals = &signals[panel * (units - inputs)..][..units - inputs];
            let mut sums = sums.iter_mut();
            for layer in 0..self.count() {
                for a in self.part(a, layer).iter().chain([&[1.0; PANEL]]) {
                    for (unit, signal) in self.upper(signals, layer + 1).iter().enumerate() {
                        let term = |i: usize| match sum {
                            Sum::Gradient => a[i] * signal[i],
                            Sum::Curvature => a[i] * a[i] * (signal[i] * signal[i]),
                            Sum::Variance => a[i] * a[i] * (signal[i] * self.part(widening, layer + 1)[unit][i]),
                        };
                        if let Some(sum) = sums.next() {
                            *sum += (0..PANEL).map(term).sum::<f32>();
                        }
                    }
                }
            }
        }
        sums
    }
}

fn lanes(array: &[f32]) -> &[Lanes] {
    array.as_chunks().0
}

/// A panel of `width` units.
fn panel(array: &[f32], width: usize, index: usize) -> &[Lanes] {
    &lanes(array)[index * width..][..width]
}

fn each(f: impl FnMut(usize) -> f32) -> Lanes {
    array::from_fn(f)
}

/// `Σ weight · value`, as far as both go.
fn product<'a>(weights: impl IntoIterator<Item = &'a f32>, values: impl IntoIterator<Item = Lanes>) -> Lanes {
    let pairs = weights.into_iter().zip(values);
    pairs.fold([0.0; PANEL], |sum, (weight, value)| each(|i| sum[i] + weight * value[i]))
}
