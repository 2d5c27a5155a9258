//! Scores: the importance-weighted bound, and how much of it is the weights' uncertainty.

use super::columns::{Likelihood, Value};
use super::posterior::VaePosterior;
use super::{SEED, Vae};
use crate::features::RowsView;
use crate::inference::elbo::log_mean_exp;
use crate::inference::layers::{PANEL, panels, place};
use crate::models::Surprisal;
use crate::noise::Noise;

/// Numbers stay within ± this many standard deviations, so that their squares are numbers in single precision.
const FARTHEST: f64 = 1e15;

/// ρ stays within these: z is neither a point nor wider than a few of its prior's standard deviations.
pub const LN_SCALES: (f64, f64) = (-8.0, 2.0);

impl Vae {
    /// Appends each row's surprisal, bounded from above by the importance-weighted bound. Its standard deviation is that of
    /// `−ln p(x | m, θ_s)` over the draws of the weights, at the encoder's mean m of z.
    pub(super) fn surprisals(&self, posterior: &VaePosterior, rows: RowsView<'_>, surprisals: &mut Vec<Surprisal>) {
        let (events, latent, samples) = (rows.len(), self.config.latent, self.config.samples);
        let mut workspace = self.workspace();
        let workspace = &mut *workspace;
        self.inputs.fill(&posterior.units, rows, &mut workspace.buffer, workspace.encoder.open(events));
        let encoded = workspace.encoder.forward(&posterior.encoder, None);
        let sampled = posterior.sampled(self);
        let stride = panels(events) * (latent + 1) * PANEL;
        let noise = Noise::new(!SEED);
        let (numbers, others) = self.observe(posterior, rows);
        let mut places = vec![0.0_f32; samples * stride];
        let (mut outputs, mut at_mean) = (Vec::new(), Vec::new());
        // [event][sample]: ln p(z) − ln q(z | x), then ln p(x | z, θ) with it.
        let mut weights = vec![0.0; events * samples];
        for s in 0..samples {
            let draws: Vec<f64> = (0..latent).map(|d| noise.normal(s as u64, u32::MAX, d as u32)).collect();
            for event in 0..events {
                let mut weight = 0.0;
                for (d, draw) in draws.iter().enumerate() {
                    let mean = f64::from(encoded[place(2 * latent, d, event)]);
                    let ln_scale = f64::from(encoded[place(2 * latent, latent + d, event)]).clamp(LN_SCALES.0, LN_SCALES.1);
                    let z = mean + ln_scale.exp() * draw;
                    weight += 0.5 * (draw * draw - z * z) + ln_scale;
                    places[s * stride + place(latent + 1, d, event)] = z as f32;
                }
                places[s * stride + place(latent + 1, latent, event)] = 1.0;
                weights[event * samples + s] = weight;
            }
        }
        sampled.predict_each(&places, stride, events, &mut outputs);
        for event in 0..events {
            for d in 0..latent {
                places[place(latent + 1, d, event)] = encoded[place(2 * latent, d, event)];
            }
        }
        sampled.predict(&places[..stride], events, &mut at_mean);
        let size = outputs.len() / samples;
        let mut spread = vec![0.0; events * samples];
        for s in 0..samples {
            let part = s * size..(s + 1) * size;
            self.add_ln_likelihoods(posterior, &numbers, &others, &outputs[part.clone()], |event, ln| {
                weights[event * samples + s] += ln
            });
            self.add_ln_likelihoods(posterior, &numbers, &others, &at_mean[part], |event, ln| spread[event * samples + s] += ln);
        }
        for (weights, spread) in weights.chunks_exact(samples).zip(spread.chunks_exact(samples)) {
            let mean = spread.iter().sum::<f64>() / samples as f64;
            let square: f64 = spread.iter().map(|ln| (ln - mean) * (ln - mean)).sum();
            let sd = (square / (samples as f64 - 1.0).max(1.0)).sqrt();
            surprisals.push(Surprisal { nats: -log_mean_exp(weights), sd });
        }
    }

    /// What there is of rows: numbers for vector lanes, and everything else by event.
    fn observe(&self, posterior: &VaePosterior, rows: RowsView<'_>) -> (Numbers, Vec<Value>) {
        let mut numbers = Numbers::default();
        for column in &self.columns {
            if let Likelihood::Normal { .. } = column.likelihood {
                let variance = posterior.noise[column.rank];
                numbers.outputs.push(column.first);
                numbers.half_precision.push((0.5 / variance) as f32);
                numbers.constant.push(-0.5 * (variance.ln() + crate::dist::special::LN_TAU));
            }
        }
        let count = numbers.outputs.len();
        numbers.values = vec![0.0; panels(rows.len()) * count * PANEL];
        numbers.there = numbers.values.clone();
        let mut others = Vec::with_capacity(rows.len() * (self.columns.len() - count));
        for event in 0..rows.len() {
            for column in &self.columns {
                match (column.likelihood, column.value(&posterior.units, &posterior.texts, rows, event)) {
                    (Likelihood::Normal { .. }, Value::Number(x)) => {
                        numbers.values[place(count, column.rank, event)] = x.clamp(-FARTHEST, FARTHEST) as f32;
                        numbers.there[place(count, column.rank, event)] = 1.0;
                    }
                    (Likelihood::Normal { .. }, _) => {}
                    (_, value) => others.push(value),
                }
            }
        }
        numbers.events = rows.len();
        (numbers, others)
    }

    /// Hands `ln p(x | f)` of each event to `add`, for outputs f `[panel][output][PANEL]`.
    fn add_ln_likelihoods(
        &self,
        posterior: &VaePosterior,
        numbers: &Numbers,
        others: &[Value],
        outputs: &[f32],
        mut add: impl FnMut(usize, f64),
    ) {
        numbers.add_ln_likelihoods(outputs, self.decoder.outputs(), &mut add);
        let rest: Vec<_> = self.columns.iter().filter(|column| !matches!(column.likelihood, Likelihood::Normal { .. })).collect();
        if rest.is_empty() {
            return;
        }
        for (event, values) in others.chunks_exact(rest.len()).enumerate() {
            let each = rest.iter().zip(values).map(|(column, value)| {
                let f = |k: usize| f64::from(outputs[place(self.decoder.outputs(), column.first + k, event)]);
                column.ln_likelihood(*value, posterior.parameter(column), f)
            });
            add(event, each.sum());
        }
    }
}

/// Number columns of a block, for vector lanes.
#[derive(Debug, Default)]
struct Numbers {
    events: usize,
    /// Each number's output.
    outputs: Vec<usize>,
    /// `1 / 2s²` and `−½ ln 2π s²`.
    half_precision: Vec<f32>,
    constant: Vec<f64>,
    /// `[panel][number][PANEL]`: values in standard units, and 1 where there is one.
    values: Vec<f32>,
    there: Vec<f32>,
}

impl Numbers {
    fn add_ln_likelihoods(&self, outputs: &[f32], width: usize, add: &mut impl FnMut(usize, f64)) {
        let count = self.outputs.len();
        for panel in 0..panels(self.events) {
            let mut squares = [0.0_f32; PANEL];
            let mut constants = [0.0_f32; PANEL];
            for (number, output) in self.outputs.iter().enumerate() {
                let at = (panel * count + number) * PANEL;
                let values: &[f32; PANEL] = self.values[at..at + PANEL].try_into().expect("a panel");
                let there: &[f32; PANEL] = self.there[at..at + PANEL].try_into().expect("a panel");
                let f = (panel * width + output) * PANEL;
                let f: &[f32; PANEL] = outputs[f..f + PANEL].try_into().expect("a panel");
                let (weight, constant) = (self.half_precision[number], self.constant[number] as f32);
                for i in 0..PANEL {
                    let gap = values[i] - f[i];
                    squares[i] += weight * there[i] * gap * gap;
                    constants[i] += constant * there[i];
                }
            }
            for i in 0..PANEL.min(self.events - panel * PANEL) {
                add(panel * PANEL + i, f64::from(constants[i]) - f64::from(squares[i]));
            }
        }
    }
}
