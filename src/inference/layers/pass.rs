//! A block of events on its way through a network and back.

use candle_core::{Device, Result};
use pulp::{Arch, Simd, WithSimd};

use super::accelerated::Passing;
use super::parameters::{Parameters, pitch};
use super::product::{Left, affine, product, reach};
use super::real::Real;
use super::{Activation, PANEL, Shape, panels};
use crate::device;
use crate::device::layers::Sum;
use crate::noise::Noise;

/// Buffers for a block: what each layer was given and what comes back to it. Reused from block to block.
#[derive(Clone, Debug)]
pub struct Pass<T> {
    shape: Shape,
    panels: usize,
    traces: Vec<Trace<T>>,
    /// Of the last layer `[panel][output][PANEL]`.
    output: Vec<T>,
    /// Scratch.
    transposed: Vec<T>,
    spread: Vec<T>,
    /// Where else than on the processor it is done.
    pub(super) elsewhere: Option<Passing>,
}

/// One layer's arrays.
#[derive(Clone, Debug, Default)]
struct Trace<T> {
    /// a `[panel][input + 1][PANEL]`.
    input: Vec<T>,
    /// a².
    squares: Vec<T>,
    /// ε `[panel][output][PANEL]`.
    draws: Vec<f32>,
    /// `ε / (2 √(Vᵀ a²))`: the derivative of `z` by its variance.
    widening: Vec<T>,
    /// `f'(z)` `[panel][output][PANEL]`.
    slope: Vec<T>,
    /// δ, or a tangent, `[panel][output][PANEL]`.
    signal: Vec<T>,
}

/// Which ways a signal takes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Through the weights' means, as through a network of known weights.
    Means,
    /// Through means and variances: with it, signals are the exact derivatives of what was computed forwards.
    Whole,
}

impl<T: Real> Pass<T> {
    /// Buffers for networks of this shape.
    pub fn new(shape: &Shape) -> Self {
        let traces = (0..shape.layers()).map(|_| Trace::default()).collect();
        let (output, transposed, spread) = (Vec::new(), Vec::new(), Vec::new());
        Self { shape: shape.clone(), panels: 0, traces, output, transposed, spread, elsewhere: None }
    }

    /// The same on `device` if there is one, in single precision. If it fails, what goes forwards then is done by the processor,
    /// and so is all that comes later; a block that was on its way back is lost, and everything of it NaN.
    pub fn on(self, device: Option<&Device>) -> Self {
        Self { elsewhere: device.map(|device| Passing::new(&self.shape, device)), ..self }
    }

    /// Whether the device has done it. One that fails is given up, with what only it had: all but inputs and noise.
    fn settled(&mut self, done: Option<Result<()>>) -> bool {
        let Some(Err(error)) = done else { return done.is_some() };
        device::given_up(&error);
        self.elsewhere = None;
        let nan = T::of(f64::NAN);
        self.output.fill(nan);
        for (index, trace) in self.traces.iter_mut().enumerate() {
            for array in [&mut trace.squares, &mut trace.widening, &mut trace.slope, &mut trace.signal] {
                array.fill(nan);
            }
            if index > 0 {
                trace.input.fill(nan);
            }
        }
        false
    }

    /// Makes room for a block of `events` and hands out its inputs `[panel][input + 1][PANEL]`, which are 0, and 1 in the last unit.
    pub fn open(&mut self, events: usize) -> &mut [T] {
        self.panels = panels(events);
        for (index, trace) in self.traces.iter_mut().enumerate() {
            let (rows, columns) = self.shape.layer(index);
            for array in [&mut trace.input, &mut trace.squares] {
                array.resize(self.panels * rows * PANEL, T::ZERO);
            }
            for array in [&mut trace.widening, &mut trace.slope, &mut trace.signal] {
                array.resize(self.panels * columns * PANEL, T::ZERO);
            }
            trace.draws.resize(self.panels * columns * PANEL, 0.0);
            self.transposed.resize(self.transposed.len().max(2 * PANEL * pitch(columns)), T::ZERO);
            self.spread.resize(self.spread.len().max(PANEL * rows.max(columns)), T::ZERO);
        }
        self.output.resize(self.panels * self.shape.outputs() * PANEL, T::ZERO);
        let (rows, _) = self.shape.layer(0);
        let input = &mut self.traces[0].input;
        for panel in input.chunks_exact_mut(rows * PANEL) {
            let (units, ones) = panel.split_at_mut((rows - 1) * PANEL);
            units.fill(T::ZERO);
            ones.fill(T::ONE);
        }
        input
    }

    /// The inputs `[panel][input + 1][PANEL]`.
    pub fn inputs(&self) -> &[T] {
        &self.traces[0].input
    }

    /// Draws the noise of [`Pass::forward`]: layer `l` takes stream `stream + l` of this step.
    pub fn draw(&mut self, noise: &Noise, step: u64, stream: u32) {
        for (trace, stream) in self.traces.iter_mut().zip(stream..) {
            noise.fill_normal(step, stream, &mut trace.draws);
        }
    }

    /// Computes the outputs `[panel][output][PANEL]` of what [`Pass::open`] was given: with weights `mean`, or with uncertain weights
    /// of these means and variances and the noise of [`Pass::draw`].
    pub fn forward(&mut self, mean: &Parameters<T>, variance: Option<&Parameters<T>>) -> &[T] {
        let draws = self.traces.iter().map(|trace| trace.draws.as_slice());
        let elsewhere = device_of(&mut self.elsewhere, self.panels);
        let done = elsewhere.map(|it| it.forward(&self.traces[0].input, (mean, variance), draws, &mut self.output));
        if !self.settled(done) {
            Arch::new().dispatch(Forward { pass: self, mean, variance });
        }
        &self.output
    }

    /// The outputs of the latest [`Pass::forward`].
    pub fn output(&self) -> &[T] {
        &self.output
    }

    /// Where the last layer's signals `[panel][output][PANEL]` are to be written before [`Pass::backward`]: `∂L/∂output`, and 0 beyond
    /// the last event.
    pub fn output_signal(&mut self) -> &mut [T] {
        let last = self.traces.len() - 1;
        &mut self.traces[last].signal
    }

    /// Carries the signals of the output back to every layer. Here and below, weights are those of the latest [`Pass::forward`],
    /// which a device has kept.
    pub fn backward(&mut self, mean: &Parameters<T>, variance: Option<&Parameters<T>>, path: Path) {
        let variance = variance.filter(|_| path == Path::Whole);
        let signal = &self.traces[self.traces.len() - 1].signal;
        let elsewhere = device_of(&mut self.elsewhere, self.panels);
        let done = elsewhere.map(|it| it.backward(variance.is_some(), signal));
        if !self.settled(done) {
            Arch::new().dispatch(Backward { pass: self, mean, variance });
        }
    }

    /// Writes the signals of the network's inputs, `∂L/∂a` `[panel][input][PANEL]`, after [`Pass::backward`].
    pub fn input_signal(&mut self, mean: &Parameters<T>, variance: Option<&Parameters<T>>, path: Path, out: &mut Vec<T>) {
        let variance = variance.filter(|_| path == Path::Whole);
        out.resize(self.panels * self.shape.inputs() * PANEL, T::ZERO);
        let done = device_of(&mut self.elsewhere, self.panels).map(|it| it.input_signal(variance.is_some(), out));
        if !self.settled(done) {
            Arch::new().dispatch(InputSignal { pass: self, mean, variance, out });
        }
    }

    /// Adds `Σ a δᵀ`: the gradient of `L` in the weights' means.
    pub fn gradient(&mut self, sum: &mut Parameters<T>) {
        self.add(Sum::Gradient, sum);
    }

    /// Adds `Σ a² (δ²)ᵀ`: if each event's output signal `s` has `E s sᵀ = -∂²L/∂output²`, the Gauss-Newton curvature of the weights.
    pub fn curvature(&mut self, sum: &mut Parameters<T>) {
        self.add(Sum::Curvature, sum);
    }

    /// Adds `Σ a² (δ ε / 2√(Vᵀ a²))ᵀ`: the gradient of `L` in the weights' variances, for signals back along [`Path::Whole`].
    pub fn variance_gradient(&mut self, sum: &mut Parameters<T>) {
        self.add(Sum::Variance, sum);
    }

    fn add(&mut self, kind: Sum, sum: &mut Parameters<T>) {
        let done = device_of(&mut self.elsewhere, self.panels).map(|it| it.add(kind, sum));
        if !self.settled(done) {
            Arch::new().dispatch(Outer { pass: self, sum, kind });
        }
    }

    /// `Σ V (∂L/∂w)²` over all weights, for each event: after [`Pass::backward`] along [`Path::Means`], the variance of L by the delta
    /// method, where the weights have the variances V.
    pub fn variance_along(&mut self, variance: &Parameters<T>) -> Vec<T> {
        let mut out = vec![T::ZERO; self.panels * PANEL];
        let done = device_of(&mut self.elsewhere, self.panels).map(|it| it.variance_along(variance, &mut out));
        if !self.settled(done) {
            Arch::new().dispatch(VarianceAlong { pass: self, variance, out: &mut out });
        }
        out
    }

    /// The derivative `[panel][output][PANEL]` of the outputs along `direction` in the weights' means. Overwrites the signals.
    pub fn tangent(&mut self, mean: &Parameters<T>, direction: &Parameters<T>) -> &[T] {
        let last = self.traces.len() - 1;
        let elsewhere = device_of(&mut self.elsewhere, self.panels);
        let done = elsewhere.map(|it| it.tangent(direction, &mut self.traces[last].signal));
        if !self.settled(done) {
            Arch::new().dispatch(Tangent { pass: self, mean, direction });
        }
        &self.traces[last].signal
    }
}

/// The device, if there is something to do.
fn device_of(elsewhere: &mut Option<Passing>, panels: usize) -> Option<&mut Passing> {
    elsewhere.as_mut().filter(|_| panels > 0)
}

struct Forward<'a, T> {
    pass: &'a mut Pass<T>,
    mean: &'a Parameters<T>,
    variance: Option<&'a Parameters<T>>,
}

impl<T: Real> WithSimd for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pass, mean, variance } = self;
        let last = pass.shape.layers() - 1;
        for panel in 0..pass.panels {
            for index in 0..=last {
                let (rows, columns) = pass.shape.layer(index);
                let (before, after) = pass.traces.split_at_mut(index + 1);
                let trace = &mut before[index];
                let units = panel * columns * PANEL..(panel + 1) * columns * PANEL;
                let within = panel * rows * PANEL..(panel + 1) * rows * PANEL;
                let input = &trace.input[within.clone()];
                let slope = &mut trace.slope[units.clone()];
                // `z` is put where the next layer's input will be.
                let next = match after.first_mut() {
                    Some(next) => {
                        let next = &mut next.input[panel * (columns + 1) * PANEL..(panel + 1) * (columns + 1) * PANEL];
                        let (next, ones) = next.split_at_mut(columns * PANEL);
                        ones.fill(T::ONE);
                        next
                    }
                    None => &mut pass.output[units.clone()],
                };
                let size = (columns, rows, PANEL);
                let left = Left { data: &mean.layers[index], row: 1, column: pitch(columns) };
                affine(simd, size, left, input, next);
                let squares = &mut trace.squares[within];
                for (square, a) in squares.iter_mut().zip(input) {
                    *square = *a * *a;
                }
                if let Some(variance) = variance {
                    let spread = &mut pass.spread[..columns * PANEL];
                    let left = Left { data: &variance.layers[index], ..left };
                    affine(simd, size, left, squares, spread);
                    let (draws, widening) = (&trace.draws[units.clone()], &mut trace.widening[units]);
                    for i in 0..spread.len() {
                        let (draw, deviation) = (T::of(f64::from(draws[i])), spread[i].sqrt());
                        next[i] += deviation * draw;
                        widening[i] = if deviation > T::ZERO { draw / (deviation + deviation) } else { T::ZERO };
                    }
                }
                if index < last && pass.shape.activation == Activation::Relu {
                    for (a, slope) in next.iter_mut().zip(slope) {
                        let on = *a > T::ZERO;
                        *slope = if on { T::ONE } else { T::ZERO };
                        *a = if on { *a } else { T::ZERO };
                    }
                } else {
                    slope.fill(T::ONE);
                }
            }
        }
    }
}

struct Backward<'a, T> {
    pass: &'a mut Pass<T>,
    mean: &'a Parameters<T>,
    variance: Option<&'a Parameters<T>>,
}

impl<T: Real> WithSimd for Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pass, mean, variance } = self;
        for panel in 0..pass.panels {
            for index in (1..pass.shape.layers()).rev() {
                let (rows, _) = pass.shape.layer(index);
                let (before, after) = pass.traces.split_at_mut(index);
                let units = panel * (rows - 1) * PANEL..(panel + 1) * (rows - 1) * PANEL;
                let out = &mut before[index - 1].signal[units.clone()];
                back(simd, &pass.shape, index, panel, (mean, variance), &after[0], &mut pass.spread, &mut pass.transposed, out);
                for (signal, slope) in out.iter_mut().zip(&before[index - 1].slope[units]) {
                    *signal *= *slope;
                }
            }
        }
    }
}

/// `∂L/∂a` of a layer's inputs, without the bias's.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn back<T: Real, S: Simd>(
    simd: S,
    shape: &Shape,
    index: usize,
    panel: usize,
    (mean, variance): (&Parameters<T>, Option<&Parameters<T>>),
    trace: &Trace<T>,
    spread: &mut [T],
    scratch: &mut [T],
    out: &mut [T],
) {
    let (rows, columns) = shape.layer(index);
    let units = panel * columns * PANEL..(panel + 1) * columns * PANEL;
    let signal = &trace.signal[units.clone()];
    let size = (rows - 1, columns, PANEL);
    product(simd, size, Left { data: &mean.layers[index], row: pitch(columns), column: 1 }, signal, out, false);
    let Some(variance) = variance else { return };
    let widened = &mut scratch[..columns * PANEL];
    for (widened, (signal, widening)) in widened.iter_mut().zip(signal.iter().zip(&trace.widening[units])) {
        let product = *signal * *widening;
        *widened = product + product;
    }
    let spread = &mut spread[..(rows - 1) * PANEL];
    product(simd, size, Left { data: &variance.layers[index], row: pitch(columns), column: 1 }, widened, spread, false);
    let input = &trace.input[panel * rows * PANEL..];
    for (out, (spread, a)) in out.iter_mut().zip(spread.iter().zip(input)) {
        *out += *spread * *a;
    }
}

struct InputSignal<'a, T> {
    pass: &'a mut Pass<T>,
    mean: &'a Parameters<T>,
    variance: Option<&'a Parameters<T>>,
    out: &'a mut [T],
}

impl<T: Real> WithSimd for InputSignal<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pass, mean, variance, out } = self;
        let width = pass.shape.inputs() * PANEL;
        for (panel, out) in out.chunks_exact_mut(width).enumerate() {
            let Pass { shape, traces, spread, transposed, .. } = &mut *pass;
            back(simd, shape, 0, panel, (mean, variance), &traces[0], spread, transposed, out);
        }
    }
}

struct Outer<'a, T> {
    pass: &'a mut Pass<T>,
    sum: &'a mut Parameters<T>,
    kind: Sum,
}

impl<T: Real> WithSimd for Outer<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pass, sum, kind } = self;
        for (index, (trace, sum)) in pass.traces.iter().zip(&mut sum.layers).enumerate() {
            let (rows, columns) = pass.shape.layer(index);
            let pitch = pitch(columns);
            // Beyond the last output the sums are never read, but must not become NaN.
            let transposed = &mut pass.transposed[..PANEL * pitch];
            transposed.fill(T::ZERO);
            for panel in 0..pass.panels {
                let units = panel * columns * PANEL..(panel + 1) * columns * PANEL;
                let (signal, widening) = (&trace.signal[units.clone()], &trace.widening[units]);
                for unit in 0..columns {
                    let own = unit * PANEL..(unit + 1) * PANEL;
                    let (signal, widening) = (&signal[own.clone()], &widening[own]);
                    for event in 0..PANEL {
                        let s = signal[event];
                        transposed[event * pitch + unit] = match kind {
                            Sum::Gradient => s,
                            Sum::Curvature => s * s,
                            Sum::Variance => s * widening[event],
                        };
                    }
                }
                let input = if kind == Sum::Gradient { &trace.input } else { &trace.squares };
                let input = &input[panel * rows * PANEL..(panel + 1) * rows * PANEL];
                let whole = reach(input, rows, PANEL);
                let bias = (rows - 1) * pitch;
                let left = |data| Left { data, row: PANEL, column: 1 };
                product(simd, (whole, PANEL, pitch), left(input), transposed, &mut sum[..bias], true);
                product(simd, (1, PANEL, pitch), left(&input[(rows - 1) * PANEL..]), transposed, &mut sum[bias..], true);
            }
        }
    }
}

struct Tangent<'a, T> {
    pass: &'a mut Pass<T>,
    mean: &'a Parameters<T>,
    direction: &'a Parameters<T>,
}

impl<T: Real> WithSimd for Tangent<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pass, mean, direction } = self;
        for panel in 0..pass.panels {
            for index in 0..pass.shape.layers() {
                let (rows, columns) = pass.shape.layer(index);
                let (before, after) = pass.traces.split_at_mut(index);
                let trace = &mut after[0];
                let units = panel * columns * PANEL..(panel + 1) * columns * PANEL;
                let out = &mut trace.signal[units.clone()];
                let input = &trace.input[panel * rows * PANEL..(panel + 1) * rows * PANEL];
                let left = |of| Left { data: of, row: 1, column: pitch(columns) };
                affine(simd, (columns, rows, PANEL), left(&direction.layers[index]), input, out);
                if let Some(below) = before.last() {
                    let below = &below.signal[panel * (rows - 1) * PANEL..(panel + 1) * (rows - 1) * PANEL];
                    product(simd, (columns, rows - 1, PANEL), left(&mean.layers[index]), below, out, true);
                }
                for (out, slope) in out.iter_mut().zip(&trace.slope[units]) {
                    *out *= *slope;
                }
            }
        }
    }
}

struct VarianceAlong<'a, T> {
    pass: &'a mut Pass<T>,
    variance: &'a Parameters<T>,
    out: &'a mut [T],
}

impl<T: Real> WithSimd for VarianceAlong<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pass, variance, out } = self;
        for (panel, out) in out.chunks_exact_mut(PANEL).enumerate() {
            for (index, trace) in pass.traces.iter().enumerate() {
                let (rows, columns) = pass.shape.layer(index);
                let spread = &mut pass.spread[..columns * PANEL];
                let left = Left { data: &variance.layers[index], row: 1, column: pitch(columns) };
                let squares = &trace.squares[panel * rows * PANEL..(panel + 1) * rows * PANEL];
                affine(simd, (columns, rows, PANEL), left, squares, spread);
                let signal = &trace.signal[panel * columns * PANEL..(panel + 1) * columns * PANEL];
                for (spread, signal) in spread.chunks_exact(PANEL).zip(signal.chunks_exact(PANEL)) {
                    for i in 0..PANEL {
                        out[i] += spread[i] * (signal[i] * signal[i]);
                    }
                }
            }
        }
    }
}
