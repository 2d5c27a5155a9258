//! Scores: the importance-weighted bound, and how much of it is the weights' uncertainty.

use pulp::Arch;

use super::columns::{Column, Likelihood, Value};
use super::learn::Workspace;
use super::numbers::{LIMIT, Numbers};
use super::posterior::VaePosterior;
use super::{SEED, Vae};
use crate::dist::lanes::{LANES, Lanes, exp, ln};
use crate::features::RowsView;
use crate::inference::layers::{PANEL, Path, panels, place};
use crate::models::Surprisal;
use crate::noise::Noise;

impl Vae {
    /// Appends each row's surprisal, bounded from above by the importance-weighted bound. Its variance is that of `−ln p(x | m, θ)`
    /// over the weights, at the encoder's mean m of z, by the delta method: `Σ (∂ ln p / ∂w)² Var w`.
    pub(super) fn surprisals(&self, posterior: &VaePosterior, rows: RowsView<'_>, surprisals: &mut Vec<Surprisal>) {
        let events = rows.len();
        let mut workspace = self.workspace();
        // ln p(x, z | θ) − ln q(z | x) of each event, `[sample]` in turn.
        let mut weights = self.decode(posterior, rows, &mut workspace);
        let Workspace { decoder, codes, outputs, signal, .. } = &mut *workspace;
        let numbers = Numbers::of(self, posterior, rows).judged(posterior);
        let others: Vec<Value> = (0..events)
            .flat_map(|event| self.others().map(move |column| column.value(&posterior.units, &posterior.texts, rows, event)))
            .collect();

        let size = outputs.len() / weights.len();
        for (s, weight) in weights.iter_mut().enumerate() {
            self.add_ln_likelihoods(posterior, &numbers, &others, &outputs[s * size..(s + 1) * size], |event, ln| {
                weight[event] += ln
            });
        }

        codes.draw(decoder.open(events), |_, _| [0.0; PANEL]);
        decoder.forward(&posterior.mean, None);
        self.slopes(posterior, &numbers, &others, decoder.output(), signal);
        decoder.output_signal().copy_from_slice(signal);
        decoder.backward(&posterior.mean, None, Path::Means);
        let variances = decoder.variance_along(&posterior.variance);
        let found = log_mean_exp_each(&weights).into_iter().zip(variances).enumerate();
        let constant: Vec<&Column> = self.columns.iter().filter(|column| posterior.is_constant(column)).collect();
        let constants =
            |event: usize| constant.iter().map(|column| posterior.ln_constant(column, rows.row(event)[column.cell])).sum::<f64>();
        surprisals.extend(found.map(|(event, (ln, variance))| Surprisal {
            nats: -ln - constants(event),
            sd: f64::from(variance.min(f32::MAX)).sqrt(),
        }));
    }

    /// Draws places z of each event and leaves what the decoder makes of them in the workspace's outputs,
    /// `[sample][panel][output][PANEL]`. Returns `ln p(z) − ln q(z | x)` of each event, `[sample]` in turn.
    pub(super) fn decode(&self, posterior: &VaePosterior, rows: RowsView<'_>, workspace: &mut Workspace<f32>) -> Vec<Vec<f64>> {
        let (events, latent, samples) = (rows.len(), self.config.latent, self.config.samples);
        let Workspace { encoder, codes, places, outputs, buffer, .. } = workspace;
        self.inputs.fill(&posterior.units, rows, 0..events, buffer, encoder.open(events));
        codes.set(latent, encoder.forward(&posterior.encoder, None));
        let noise = Noise::new(!SEED);
        let draws: Vec<f32> =
            (0..samples * latent).map(|at| noise.normal((at / latent) as u64, u32::MAX, (at % latent) as u32) as f32).collect();
        let stride = panels(events) * (latent + 1) * PANEL;
        places.resize(samples * stride, 0.0);
        for (places, draws) in places.chunks_exact_mut(stride.max(1)).zip(draws.chunks_exact(latent)) {
            codes.draw(places, |_, d| [draws[d]; PANEL]);
            places.chunks_exact_mut((latent + 1) * PANEL).for_each(|panel| panel[latent * PANEL..].fill(1.0));
        }
        posterior.sampled(self).predict_each(places, stride, events, outputs);
        let ratios = draws.chunks_exact(latent).enumerate().map(|(s, draws)| {
            let mut ratios = codes.ln_ratios(&places[s * stride..(s + 1) * stride], draws);
            ratios.truncate(events);
            ratios
        });
        ratios.collect()
    }

    /// Writes `∂ ln p / ∂f` at outputs f.
    fn slopes(&self, posterior: &VaePosterior, numbers: &Numbers<f32>, others: &[Value], outputs: &[f32], slopes: &mut Vec<f32>) {
        let width = self.decoder.outputs();
        slopes.clear();
        slopes.resize(outputs.len(), 0.0);
        numbers.all().slopes(outputs, width, LIMIT, slopes);
        let rest: Vec<_> = self.others().collect();
        for (event, values) in others.chunks_exact(rest.len().max(1)).enumerate() {
            for (column, value) in rest.iter().zip(values) {
                let at = |k: usize| place(width, column.first + k, event);
                let f = |k: usize| f64::from(outputs[at(k)]);
                column.slopes(*value, posterior.parameter(column), f, 0.5, |k, [slope, ..]| slopes[at(k)] = slope as f32);
            }
        }
    }

    /// Columns that are no numbers.
    pub(super) fn others(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| !matches!(column.likelihood, Likelihood::Normal { .. }))
    }

    /// Hands `ln p(x | f)` of each event to `add`, for outputs f `[panel][output][PANEL]`.
    fn add_ln_likelihoods(
        &self,
        posterior: &VaePosterior,
        numbers: &Numbers<f32>,
        others: &[Value],
        outputs: &[f32],
        mut add: impl FnMut(usize, f64),
    ) {
        numbers.all().add_ln_likelihoods(outputs, self.decoder.outputs(), &mut add);
        let rest: Vec<_> = self.others().collect();
        for (event, values) in others.chunks_exact(rest.len().max(1)).enumerate() {
            let each = rest.iter().zip(values).map(|(column, value)| {
                let f = |k: usize| f64::from(outputs[place(self.decoder.outputs(), column.first + k, event)]);
                column.ln_likelihood(*value, posterior.parameter(column), f)
            });
            add(event, each.sum());
        }
    }
}

/// `ln mean_s exp(weights[s][event])` of each event.
fn log_mean_exp_each(weights: &[Vec<f64>]) -> Vec<f64> {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            let (events, count) = (weights[0].len(), (weights.len() as f64).ln());
            let mut out = Vec::with_capacity(events.next_multiple_of(LANES));
            for first in (0..events).step_by(LANES) {
                // Beyond the last event anything will do.
                let lanes = |weights: &[f64]| std::array::from_fn(|i| weights[(first + i).min(events - 1)]);
                let mut most: Lanes = [f64::NEG_INFINITY; LANES];
                for weights in weights {
                    let weights: Lanes = lanes(weights);
                    for i in 0..LANES {
                        most[i] = if weights[i] > most[i] { weights[i] } else { most[i] };
                    }
                }
                let mut sum: Lanes = [0.0; LANES];
                for weights in weights {
                    let mut ratio: Lanes = lanes(weights);
                    for i in 0..LANES {
                        ratio[i] -= most[i];
                    }
                    let ratio = exp(ratio);
                    for i in 0..LANES {
                        sum[i] += ratio[i];
                    }
                }
                let sum = ln(sum);
                out.extend((0..LANES).map(|i| most[i] + sum[i] - count));
            }
            out.truncate(events);
            out
        },
    )
}
