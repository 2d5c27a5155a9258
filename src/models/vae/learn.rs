//! A block's evidence: one step of the decoder by the online Newton rule, one of the encoder by its optimiser, and sums.

use super::columns::{Column, Likelihood, Value};
use super::evidence::VaeEvidence;
use super::posterior::VaePosterior;
use super::score::LN_SCALES;
use super::{SEED, Vae};
use crate::features::{Kind, RowsView};
use crate::inference::layers::{PANEL, Parameters, Pass, Path, Real, Shape, panels, place};
use crate::inference::newton::{News, Place, Scratch};
use crate::models::mixture::statistics::Moments;
use crate::models::{Block, Evidence, Learnt, NotFinite, Progress};
use crate::noise::Noise;

/// Streams of noise of a step, behind those of the layers.
const PLACES: u32 = 1 << 16;
/// See [`PLACES`].
const SIGNS: u32 = PLACES + 1;

/// Buffers for a block.
#[derive(Debug)]
pub struct Workspace<T> {
    pub(super) encoder: Pass<T>,
    pub(super) decoder: Pass<T>,
    /// Curvature of the likelihood in the outputs `[panel][output][PANEL]`.
    state: Vec<T>,
    root: Vec<T>,
    /// ε of z `[panel][2 · latent][PANEL]`, of which the first half is used.
    draws: Vec<f32>,
    signal: Vec<T>,
    pub(super) encoder_gradient: Parameters<T>,
    pub(super) gradient: Parameters<T>,
    pub(super) curvature: Parameters<T>,
    scratch: Scratch<T>,
    pub(super) buffer: Vec<f64>,
}

impl<T: Real> Workspace<T> {
    pub(super) fn new(encoder: &Shape, decoder: &Shape) -> Self {
        Self {
            encoder: Pass::new(encoder),
            decoder: Pass::new(decoder),
            state: Vec::new(),
            root: Vec::new(),
            draws: Vec::new(),
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

/// What a look at a block has found beside gradients.
#[derive(Default)]
pub struct Seen {
    /// `Σ ln p(x | z, θ) − KL(q(z | x) ‖ p(z))` at the draws: the bound, estimated without bias.
    pub bound: f64,
    /// Squared distances of each number from what was expected: how many and their sum, in standard units.
    pub residuals: Vec<[f64; 2]>,
}

impl Vae {
    /// The bound of a block and, in the workspace, its gradients in the encoder's weights and the decoder's means, and the diagonal of the
    /// decoder's Gauss-Newton matrix. z and pre-activations are drawn, one draw an event (reparameterisation, local for the weights).
    pub(super) fn look<T: Real>(
        &self,
        posterior: &VaePosterior,
        weights: &Weights<'_, T>,
        rows: RowsView<'_>,
        (noise, step): (&Noise, u64),
        workspace: &mut Workspace<T>,
    ) -> Seen {
        let (events, latent, outputs) = (rows.len(), self.config.latent, self.decoder.outputs());
        self.inputs.fill(&posterior.units, rows, &mut workspace.buffer, workspace.encoder.open(events));
        let encoded = workspace.encoder.forward(weights.encoder, None);
        workspace.draws.resize(panels(events) * 2 * latent * PANEL, 0.0);
        noise.fill_normal(step, PLACES, &mut workspace.draws);
        let places = workspace.decoder.open(events);
        let mut seen = Seen { bound: 0.0, residuals: vec![[0.0; 2]; posterior.noise.len()] };
        for event in 0..events {
            for d in 0..latent {
                let (mean, ln_scale) = (encoded[place(2 * latent, d, event)].wide(), ln_scale(encoded, latent, d, event));
                let draw = f64::from(workspace.draws[place(2 * latent, d, event)]);
                places[place(latent + 1, d, event)] = T::of(mean + ln_scale.exp() * draw);
                seen.bound -= 0.5 * (mean * mean + (2.0 * ln_scale).exp() - 1.0) - ln_scale;
            }
        }
        workspace.decoder.draw(noise, step, 0);
        workspace.decoder.forward(weights.mean, weights.variance);
        // The likelihood's slopes, curvatures and roots.
        let size = panels(events) * outputs * PANEL;
        for array in [&mut workspace.state, &mut workspace.root, &mut workspace.signal] {
            array.clear();
            array.resize(size, T::ZERO);
        }
        let decoded = workspace.decoder.output();
        for event in 0..events {
            for (index, column) in self.columns.iter().enumerate() {
                let value = column.value(&posterior.units, &posterior.texts, rows, event);
                if value == Value::None {
                    continue;
                }
                let f = |k: usize| decoded[place(outputs, column.first + k, event)].wide();
                let parameter = posterior.parameter(column);
                seen.bound += column.ln_likelihood(value, parameter, f);
                let chance = noise.uniform(step, SIGNS, (event * 2 * self.columns.len() + 2 * index) as u32);
                let sign = noise.uniform(step, SIGNS, (event * 2 * self.columns.len() + 2 * index + 1) as u32);
                let sign = if sign < 0.5 { -1.0 } else { 1.0 };
                column.slopes(value, parameter, f, chance, |k, [slope, curvature, root]| {
                    let at = place(outputs, column.first + k, event);
                    workspace.signal[at] = T::of(slope);
                    workspace.state[at] = T::of(curvature);
                    workspace.root[at] = T::of(sign * root);
                    if let Likelihood::Normal { .. } = column.likelihood {
                        let gap = slope * parameter;
                        let [count, sum] = &mut seen.residuals[column.rank];
                        (*count, *sum) = (*count + 1.0, *sum + gap * gap);
                    }
                });
            }
        }
        // Curvature first: gradients leave the signals that go on to the encoder.
        workspace.decoder.output_signal().copy_from_slice(&workspace.root);
        workspace.decoder.backward(weights.mean, None, Path::Means);
        workspace.curvature.clear();
        workspace.decoder.curvature(&mut workspace.curvature);
        workspace.decoder.output_signal().copy_from_slice(&workspace.signal);
        workspace.decoder.backward(weights.mean, weights.variance, Path::Whole);
        workspace.gradient.clear();
        workspace.decoder.gradient(&mut workspace.gradient);
        workspace.decoder.input_signal(weights.mean, weights.variance, Path::Whole, &mut workspace.signal);
        // `∂/∂m = g − m` and `∂/∂ρ = g ε s − s² + 1`.
        let mut backwards = vec![T::ZERO; panels(events) * 2 * latent * PANEL];
        let encoded = workspace.encoder.output();
        for event in 0..events {
            for d in 0..latent {
                let slope = workspace.signal[place(latent, d, event)].wide();
                let (at, beside) = (place(2 * latent, d, event), place(2 * latent, latent + d, event));
                let scale = ln_scale(encoded, latent, d, event).exp();
                backwards[at] = T::of(slope - encoded[at].wide());
                let free = (LN_SCALES.0..LN_SCALES.1).contains(&encoded[beside].wide());
                if free {
                    backwards[beside] = T::of(slope * f64::from(workspace.draws[at]) * scale - scale * scale + 1.0);
                }
            }
        }
        workspace.encoder.output_signal().copy_from_slice(&backwards);
        workspace.encoder.backward(weights.encoder, None, Path::Means);
        workspace.encoder_gradient.clear();
        workspace.encoder.gradient(&mut workspace.encoder_gradient);
        seen
    }

    /// The site after a block.
    pub(super) fn learnt(
        &self,
        posterior: &VaePosterior,
        site: &VaeEvidence,
        block: Block<'_>,
    ) -> Result<Learnt<VaeEvidence>, NotFinite> {
        let Block { rows, partition, step, pace, .. } = block;
        let events = rows.len() as f64;
        let mut loan = self.workspace();
        let workspace = &mut *loan;
        let noise = Noise::new(SEED ^ (partition.0 as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        // The encoder descends from where all partitions' is; its partition's weight is that of its events.
        let (mut encoding, mut encoder) = (posterior.encoding.clone(), posterior.encoder.clone());
        let (mut optimiser, mut clipped, mut first) = (site.optimiser.clone(), false, None);
        let inner_steps = self.config.inner_steps as u64;
        let mut seen = Seen::default();
        for inner in 0..inner_steps {
            let weights = Weights { encoder: &encoder, mean: &posterior.mean, variance: Some(&posterior.variance) };
            seen = self.look(posterior, &weights, rows, (&noise, step * inner_steps + inner), workspace);
            first.get_or_insert(seen.bound);
            if !seen.bound.is_finite() {
                return Err(NotFinite { quantity: "the bound of the block".into() });
            }
            let descent: Vec<f64> = workspace.encoder_gradient.flat().map(|g| -g / events).collect();
            clipped |= self.config.encoder.step(&mut optimiser, &mut encoding, &descent)?.clipped;
            encoder.set(&encoding);
        }
        let Workspace { decoder, state, gradient, curvature, scratch, .. } = workspace;
        let product = |vector: &Parameters<f32>, image: &mut Parameters<f32>| {
            let tangent = decoder.tangent(&posterior.mean, vector).to_vec();
            self.curve(rows.len(), state, &tangent, decoder.output_signal());
            decoder.backward(&posterior.mean, None, Path::Means);
            image.clear();
            decoder.gradient(image);
        };
        let news = News { events, gradient, curvature };
        let rule = &self.config.rule;
        let place = Place { site: &site.decoder, events: site.events };
        let (learnt, moved) = rule.learn(&self.prior, &posterior.normal, place, pace, news, scratch, product)?;
        // What was squared before fades as the decoder's curvature does.
        let kept = pace.retention * rule.keep(pace.retention * site.events, pace.weight * events);
        let mut evidence = site.clone();
        evidence.scale(pace.retention);
        evidence.decoder = learnt;
        for ((residuals, before), (new, unit)) in
            evidence.residuals.iter_mut().zip(&site.residuals).zip(seen.residuals.iter().zip(self.number_units(posterior)))
        {
            *residuals = [kept * before[0] + pace.weight * new[0], kept * before[1] + pace.weight * new[1] * unit * unit];
        }
        let mut sums = self.sums(rows, &mut workspace.buffer, &evidence);
        sums.scale(pace.weight);
        evidence.add(&sums);
        evidence.encoder = encoding.iter().map(|weight| weight * evidence.events).collect();
        evidence.optimiser = optimiser;
        let progress =
            Progress { expected_log_likelihood: first, step_norm: Some(moved.norm), clipped: moved.clipped || clipped };
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
    fn curve<T: Real>(&self, events: usize, state: &[T], vector: &[T], image: &mut [T]) {
        let outputs = self.decoder.outputs();
        if self.columns.iter().all(|column| !matches!(column.likelihood, Likelihood::Softmax { .. })) {
            image.iter_mut().zip(state.iter().zip(vector)).for_each(|(image, (state, vector))| *image = *state * *vector);
            return;
        }
        for event in 0..events {
            for column in &self.columns {
                let at = |k: usize| place(outputs, column.first + k, event);
                column.curve(|k| state[at(k)].wide(), |k| vector[at(k)].wide(), |k, value| image[at(k)] = T::of(value));
            }
        }
    }

    /// What rows say beside the weights. `known` tells which texts there are already.
    fn sums(&self, rows: RowsView<'_>, buffer: &mut Vec<f64>, known: &VaeEvidence) -> VaeEvidence {
        let mut sums = VaeEvidence::nothing(self);
        sums.events = rows.len() as f64;
        sums.inputs = self.inputs.moments(rows, buffer);
        for (index, column) in self.columns.iter().enumerate() {
            let cells: Vec<f64> = (0..rows.len()).map(|row| rows.row(row)[column.cell]).filter(|cell| !cell.is_nan()).collect();
            sums.missing[index] = (rows.len() - cells.len()) as f64;
            sums.columns[index] = moments(&cells, column);
            if let Kind::Category { capacity } = self.schema.columns()[column.cell].kind {
                let texts = &mut sums.texts[column.rank];
                let known = &known.texts[column.rank];
                for text in cells.iter().filter_map(|cell| rows.text(*cell)) {
                    let room = known.len() + texts.len() < capacity;
                    if room || known.contains_key(text) || texts.contains_key(text) {
                        *texts.entry(text.to_owned()).or_default() += 1.0;
                    }
                }
            }
        }
        sums
    }
}

/// ρ of dimension d, within its limits.
fn ln_scale<T: Real>(encoded: &[T], latent: usize, d: usize, event: usize) -> f64 {
    encoded[place(2 * latent, latent + d, event)].wide().clamp(LN_SCALES.0, LN_SCALES.1)
}

/// Moments of a column's cells; of a category only how many there are.
fn moments(cells: &[f64], column: &Column) -> Moments {
    let count = cells.len() as f64;
    if cells.is_empty() || matches!(column.likelihood, Likelihood::Softmax { .. }) {
        return Moments { count, ..Moments::default() };
    }
    let mean = cells.iter().sum::<f64>() / count;
    Moments { count, mean, scatter: cells.iter().map(|x| (x - mean) * (x - mean)).sum() }
}
