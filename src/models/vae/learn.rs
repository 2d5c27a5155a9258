//! A block's evidence: one step of the decoder by the online Newton rule, one of the encoder by its optimiser, and sums.

use std::ops::Range;

use candle_core::Device;

use super::codes::Codes;
use super::columns::{Column, Likelihood, Value};
use super::evidence::VaeEvidence;
use super::numbers::{self, Numbers};
use super::posterior::VaePosterior;
use super::{SEED, Vae};
use crate::features::{Kind, RowsView};
use crate::inference::layers::{PANEL, Parameters, Pass, Path, Real, Shape, panels, place};
use crate::inference::newton::{News, Place, Scratch};
use crate::models::inputs::FARTHEST;
use crate::models::mixture::statistics::Moments;
use crate::models::{Block, Evidence, Learnt, NotFinite, Progress};
use crate::noise::Noise;

/// Events of a part of a block, for each of which the encoder takes a step.
const PART: usize = 64;

/// Streams of noise of a step, behind those of the layers.
const PLACES: u32 = 1 << 16;
/// See [`PLACES`].
const SIGNS: u32 = PLACES + 1;
/// See [`PLACES`].
const CHANCES: u32 = PLACES + 2;

/// Buffers for a block.
#[derive(Debug)]
pub struct Workspace<T> {
    pub(super) encoder: Pass<T>,
    pub(super) decoder: Pass<T>,
    /// Curvature of the likelihood in the outputs `[panel][output][PANEL]`.
    output_curvature: Vec<T>,
    output_root: Vec<T>,
    signs: Vec<f32>,
    pub(super) codes: Codes<T>,
    /// ε of z `[panel][latent][PANEL]`.
    draws: Vec<f32>,
    /// Of the draws of a score: decoders' inputs, one after another, and their outputs.
    pub(super) places: Vec<T>,
    pub(super) outputs: Vec<T>,
    pub(super) signal: Vec<T>,
    pub(super) encoder_gradient: Parameters<T>,
    pub(super) gradient: Parameters<T>,
    pub(super) curvature: Parameters<T>,
    scratch: Scratch<T>,
    pub(super) buffer: Vec<f64>,
}

impl<T: Real> Workspace<T> {
    pub(super) fn new(encoder: &Shape, decoder: &Shape, device: Option<&Device>) -> Self {
        Self {
            encoder: Pass::new(encoder).on(device),
            decoder: Pass::new(decoder).on(device),
            output_curvature: Vec::new(),
            output_root: Vec::new(),
            signs: Vec::new(),
            codes: Codes::default(),
            draws: Vec::new(),
            places: Vec::new(),
            outputs: Vec::new(),
            signal: Vec::new(),
            encoder_gradient: Parameters::zeros(encoder),
            gradient: Parameters::zeros(decoder),
            curvature: Parameters::zeros(decoder),
            scratch: Scratch::new(decoder),
            buffer: Vec::new(),
        }
    }
}

/// Weights in the precision that a block is computed in.
pub struct Weights<'a, T> {
    pub encoder: &'a Parameters<T>,
    pub mean: &'a Parameters<T>,
    pub variance: Option<&'a Parameters<T>>,
}

/// A block's rows as networks and likelihoods take them.
pub struct Data<'a, T> {
    rows: RowsView<'a>,
    /// How much each is believed.
    believed: &'a [f64],
    /// The encoder's `[panel][input + 1][PANEL]`.
    inputs: Vec<T>,
    numbers: Numbers<T>,
}

/// Those of some of the rows, from the beginning of a panel on.
pub struct Part<'a, T> {
    rows: RowsView<'a>,
    believed: &'a [f64],
    inputs: &'a [T],
    numbers: numbers::Part<'a, T>,
}

impl<'a, T: Real> Data<'a, T> {
    pub(super) fn of(
        vae: &Vae,
        posterior: &VaePosterior,
        rows: RowsView<'a>,
        believed: &'a [f64],
        workspace: &mut Workspace<T>,
    ) -> Self {
        let Workspace { encoder, buffer, .. } = workspace;
        let inputs = encoder.open(rows.len());
        vae.inputs.fill(&posterior.units, rows, 0..rows.len(), buffer, inputs);
        Self { rows, believed, inputs: inputs.to_vec(), numbers: Numbers::of(vae, posterior, rows) }
    }

    pub(super) fn part(&self, rows: Range<usize>) -> Part<'_, T> {
        let panel = self.inputs.len() / panels(self.rows.len()).max(1);
        let first = rows.start / PANEL;
        Part {
            rows: self.rows.slice(rows.clone()),
            believed: &self.believed[rows.clone()],
            inputs: &self.inputs[first * panel..(first + panels(rows.len())) * panel],
            numbers: self.numbers.part(rows),
        }
    }
}

/// What a look at a block has found beside gradients.
#[derive(Default)]
pub struct Seen {
    /// `Σ w (ln p(x | z, θ) − KL(q(z | x) ‖ p(z)))` at the draws, with w how much an event is believed: the bound, estimated without bias.
    pub bound: f64,
    /// Squared distances of each number from what was expected: how many and their sum, in standard units.
    pub residuals: Vec<[f64; 2]>,
}

/// Multiplies what each event has in `array` `[panel][outputs][PANEL]` by `factor` of how much it is believed.
fn weigh<T: Real>(array: &mut [T], outputs: usize, believed: &[f64], factor: impl Fn(f64) -> f64) {
    for (event, weight) in believed.iter().enumerate().filter(|(_, weight)| **weight != 1.0) {
        (0..outputs).for_each(|output| array[place(outputs, output, event)] *= T::of(factor(*weight)));
    }
}

impl Vae {
    /// Puts the gradient of the bound of some rows in the encoder's weights into the workspace. `at_last` it says the bound, too, and
    /// puts there the gradient in the decoder's means with the diagonal of the decoder's Gauss-Newton matrix. z and pre-activations are
    /// drawn, one draw an event (reparameterisation, local for the weights).
    pub(super) fn look<T: Real>(
        &self,
        posterior: &VaePosterior,
        weights: &Weights<'_, T>,
        Part { rows, believed, inputs, numbers }: Part<'_, T>,
        (noise, step): (&Noise, u64),
        at_last: bool,
        workspace: &mut Workspace<T>,
    ) -> Seen {
        let (events, latent, outputs) = (rows.len(), self.config.latent, self.decoder.outputs());
        let Workspace {
            encoder,
            decoder,
            codes,
            draws,
            signal,
            output_curvature,
            output_root,
            signs,
            encoder_gradient,
            gradient,
            curvature,
            ..
        } = workspace;
        encoder.open(events).copy_from_slice(inputs);
        codes.set(latent, encoder.forward(weights.encoder, None));
        draws.resize(codes.mean.len(), 0.0);
        noise.fill_normal(step, PLACES, draws);
        let row = |array: &[f32], at: usize| -> [T; PANEL] { std::array::from_fn(|i| T::of(f64::from(array[at * PANEL + i]))) };
        codes.draw(decoder.open(events), |panel, d| row(draws, panel * latent + d));
        decoder.draw(noise, step, 0);
        decoder.forward(weights.mean, weights.variance);
        let decoded = decoder.output();
        // The likelihood's slopes, curvatures and roots.
        signal.clear();
        signal.resize(decoded.len(), T::ZERO);
        signs.resize(decoded.len(), 0.0);
        let mut bound = 0.0;
        if at_last {
            bound -= codes.divergence(believed);
            numbers.add_ln_likelihoods(decoded, outputs, |event, ln| bound += believed[event] * ln);
            for array in [&mut *output_curvature, output_root] {
                array.clear();
                array.resize(decoded.len(), T::ZERO);
            }
            noise.fill_signs(step, SIGNS, signs);
            numbers.curvatures(outputs, signs, output_curvature, output_root);
        }
        numbers.slopes(decoded, outputs, FARTHEST, signal);
        let others: Vec<(usize, &Column)> = self.others().enumerate().collect();
        for event in 0..events {
            for (index, column) in &others {
                let value = column.value(&posterior.units, &posterior.texts, rows, event);
                if value == Value::None {
                    continue;
                }
                let f = |k: usize| decoded[place(outputs, column.first + k, event)].wide();
                let parameter = posterior.parameter(column);
                if at_last {
                    bound += believed[event] * column.ln_likelihood(value, parameter, f);
                }
                let chance = noise.uniform(step, CHANCES, (event * self.columns.len() + index) as u32);
                let sign = f64::from(signs[place(outputs, column.first, event)]);
                column.slopes(value, parameter, f, chance, |k, [slope, curvature, of_it]| {
                    let at = place(outputs, column.first + k, event);
                    signal[at] = T::of(slope);
                    if at_last {
                        (output_curvature[at], output_root[at]) = (T::of(curvature), T::of(sign * of_it));
                    }
                });
            }
        }
        let residuals = if at_last { numbers.residuals(outputs, signal, believed) } else { Vec::new() };
        weigh(signal, outputs, believed, |weight| weight);
        // Curvature first: gradients leave the signals that go on to the encoder.
        if at_last {
            weigh(output_root, outputs, believed, f64::sqrt);
            decoder.output_signal().copy_from_slice(output_root);
            decoder.backward(weights.mean, None, Path::Means);
            curvature.clear();
            decoder.curvature(curvature);
        }
        decoder.output_signal().copy_from_slice(signal);
        decoder.backward(weights.mean, weights.variance, Path::Whole);
        if at_last {
            gradient.clear();
            decoder.gradient(gradient);
        }
        decoder.input_signal(weights.mean, weights.variance, Path::Whole, signal);
        // `∂/∂m = g − w m` and `∂/∂ρ = g ε s − w (s² − 1)`, where an event is believed by w, as g is.
        let backwards = encoder.output_signal();
        for panel in 0..panels(events) {
            for d in 0..latent {
                let here = (panel * latent + d) * PANEL;
                let (of_mean, of_scale) = ((2 * panel * latent + d) * PANEL, ((2 * panel + 1) * latent + d) * PANEL);
                for i in 0..PANEL {
                    let weight = believed.get(panel * PANEL + i).map_or(T::ZERO, |weight| T::of(*weight));
                    let (slope, mean, scale) = (signal[here + i], codes.mean[here + i], codes.scale[here + i]);
                    let draw = T::of(f64::from(draws[here + i]));
                    backwards[of_mean + i] = slope - weight * mean;
                    backwards[of_scale + i] = codes.free[here + i] * (slope * draw * scale - weight * scale * scale + weight);
                }
            }
        }
        encoder.backward(weights.encoder, None, Path::Means);
        encoder_gradient.clear();
        encoder.gradient(encoder_gradient);
        Seen { bound, residuals }
    }

    /// The site after a block.
    pub(super) fn learnt(
        &self,
        posterior: &VaePosterior,
        site: &VaeEvidence,
        block: Block<'_>,
    ) -> Result<Learnt<VaeEvidence>, NotFinite> {
        let Block { rows, partition, step, pace, .. } = block;
        let believed: Vec<f64> = (0..rows.len()).map(|row| block.believed(row)).collect();
        let events: f64 = believed.iter().sum();
        let mut loan = self.workspace();
        let workspace = &mut *loan;
        let noise = Noise::new(SEED ^ (partition.0 as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        // The encoder descends from where all partitions' is; its partition's weight is that of its events. Single precision, as gradients
        // are.
        let (mut encoder, mut encoding) = (posterior.encoder.clone(), posterior.encoder.flat::<f32>());
        let (mut optimiser, mut clipped) = (site.optimiser.converted::<f32>(), false);
        let data = Data::of(self, posterior, rows, &believed, workspace);
        let parts = (1..self.config.inner_steps).flat_map(|_| (0..rows.len()).step_by(PART));
        let parts = parts.map(|at| (at..(at + PART).min(rows.len()), false)).chain([(0..rows.len(), true)]);
        let mut seen = Seen::default();
        for (index, (part, at_last)) in parts.enumerate() {
            let weights = Weights { encoder: &encoder, mean: &posterior.mean, variance: Some(&posterior.variance) };
            let events = part.len() as f32;
            seen = self.look(posterior, &weights, data.part(part), (&noise, (step << 32) + index as u64), at_last, workspace);
            let descent: Vec<f32> = workspace.encoder_gradient.flat::<f32>().into_iter().map(|g| -g / events).collect();
            clipped |= self.config.encoder.step(&mut optimiser, &mut encoding, &descent)?.clipped;
            encoder.set(&encoding);
        }
        if !seen.bound.is_finite() {
            return Err(NotFinite { quantity: "the bound of the block".into() });
        }
        let Workspace { decoder, output_curvature, gradient, curvature, scratch, .. } = workspace;
        let product = |vector: &Parameters<f32>, image: &mut Parameters<f32>| {
            let tangent = decoder.tangent(&posterior.mean, vector).to_vec();
            self.curve(rows.len(), output_curvature, &tangent, decoder.output_signal());
            weigh(decoder.output_signal(), self.decoder.outputs(), &believed, |weight| weight);
            decoder.backward(&posterior.mean, None, Path::Means);
            image.clear();
            decoder.gradient(image);
        };
        let news = News { events, rows: rows.len(), gradient, curvature };
        let rule = &self.config.rule;
        let place = Place { site: &site.decoder, events: site.events };
        let mut evidence = site.clone();
        evidence.scale(pace.retention);
        let (learnt, moved) =
            rule.learn(&self.prior, &posterior.normal, place, pace, news, &mut evidence.memory, scratch, product)?;
        // What was squared before fades as the decoder's curvature does.
        let kept = pace.retention * rule.keep(pace.retention * site.events, pace.weight * events);
        evidence.decoder = learnt;
        for ((residuals, before), (new, unit)) in
            evidence.residuals.iter_mut().zip(&site.residuals).zip(seen.residuals.iter().zip(self.number_units(posterior)))
        {
            *residuals = [kept * before[0] + pace.weight * new[0], kept * before[1] + pace.weight * new[1] * unit * unit];
        }
        let mut sums = self.sums(rows, &believed, &mut workspace.buffer, &evidence);
        sums.scale(pace.weight);
        evidence.add(&sums);
        evidence.encoder = encoding.iter().map(|weight| f64::from(*weight) * evidence.events).collect();
        evidence.optimiser = optimiser.converted();
        let progress = Progress {
            expected_log_likelihood: Some(seen.bound),
            step_norm: Some(moved.norm),
            clipped: moved.clipped || clipped,
        };
        if evidence.is_finite() {
            Ok(Learnt { evidence, progress })
        } else {
            Err(NotFinite { quantity: "a statistic of the block".into() })
        }
    }

    /// What one is in each number's units.
    fn number_units<'a>(&'a self, posterior: &'a VaePosterior) -> impl Iterator<Item = f64> + 'a {
        self.columns.iter().filter_map(|column| match column.likelihood {
            Likelihood::Normal { design } if posterior.units.inverse[design] > 0.0 => Some(1.0 / posterior.units.inverse[design]),
            Likelihood::Normal { .. } => Some(1.0),
            _ => None,
        })
    }

    /// The likelihood's curvature in the outputs times `vector`, into `image`.
    fn curve<T: Real>(&self, events: usize, curvature: &[T], vector: &[T], image: &mut [T]) {
        let outputs = self.decoder.outputs();
        if self.columns.iter().all(|column| !matches!(column.likelihood, Likelihood::Softmax { .. })) {
            image
                .iter_mut()
                .zip(curvature.iter().zip(vector))
                .for_each(|(image, (curvature, vector))| *image = *curvature * *vector);
            return;
        }
        for event in 0..events {
            for column in &self.columns {
                let at = |k: usize| place(outputs, column.first + k, event);
                column.curve(|k| curvature[at(k)].wide(), |k| vector[at(k)].wide(), |k, value| image[at(k)] = T::of(value));
            }
        }
    }

    /// What rows say beside the weights, as far as each is `believed`. `known` tells which texts there are already.
    fn sums(&self, rows: RowsView<'_>, believed: &[f64], buffer: &mut Vec<f64>, known: &VaeEvidence) -> VaeEvidence {
        let mut sums = VaeEvidence::nothing(self);
        let weighed = || believed.iter().copied().enumerate();
        sums.events = believed.iter().sum();
        sums.inputs = self.inputs.moments(rows, weighed(), buffer);
        for (index, column) in self.columns.iter().enumerate() {
            let cells = weighed().map(|(row, weight)| (rows.row(row)[column.cell], weight)).filter(|(cell, _)| !cell.is_nan());
            let moments = Moments::of(cells.clone());
            sums.missing[index] = (sums.events - moments.count).max(0.0);
            let is_text = matches!(column.likelihood, Likelihood::Softmax { .. });
            sums.columns[index] = if is_text { Moments { count: moments.count, ..Moments::default() } } else { moments };
            if let Kind::Category { capacity } = self.schema.columns()[column.cell].kind {
                let texts = &mut sums.texts[column.rank];
                let known = &known.texts[column.rank];
                for (text, weight) in cells.filter_map(|(cell, weight)| Some((rows.text(cell)?, weight))) {
                    let room = known.len() + texts.len() < capacity;
                    if room || known.contains_key(text) || texts.contains_key(text) {
                        *texts.entry(text.to_owned()).or_default() += weight;
                    }
                }
            }
        }
        sums
    }
}
