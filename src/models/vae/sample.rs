//! Events drawn from the model: z from its prior, weights from the posterior, and each column from what follows.

use super::Vae;
use super::columns::{Likelihood, bucket};
use super::posterior::VaePosterior;
use crate::features::Rows;
use crate::inference::layers::{Parameters, Pass, place};
use crate::noise::Noise;

/// Streams of noise: of z, of weights, and of what comes after.
const PLACE: u32 = 0;
const WEIGHTS: u32 = 1;
const VALUES: u32 = 2;

impl Vae {
    /// As many events as `count`; event i depends on `noise` and i only.
    pub(super) fn drawn(&self, posterior: &VaePosterior, noise: Noise, count: usize) -> Rows {
        let (latent, outputs) = (self.config.latent, self.decoder.outputs());
        let mut rows = Rows::new(self.schema.width());
        let mut pass = Pass::<f64>::new(&self.decoder);
        let mut weights = Parameters::<f64>::zeros(&self.decoder);
        for event in 0..count as u64 {
            let normal = &posterior.normal;
            let drawn = normal.mean.iter().zip(&normal.variance).enumerate();
            let drawn: Vec<f64> =
                drawn.map(|(i, (mean, variance))| mean + variance.sqrt() * noise.normal(event, WEIGHTS, i as u32)).collect();
            weights.set(&drawn);
            let places = pass.open(1);
            for d in 0..latent {
                places[place(latent + 1, d, 0)] = noise.normal(event, PLACE, d as u32);
            }
            let decoded = pass.forward(&weights, None);
            let (cells, texts) = rows.push_missing();
            for (index, column) in self.columns.iter().enumerate() {
                let f = |k: usize| decoded[place(outputs, column.first + k, 0)];
                let chance = noise.uniform(event, VALUES, index as u32);
                let cell = &mut cells[column.cell];
                match column.likelihood {
                    Likelihood::Normal { design } => {
                        let unit = posterior.units.inverse[design];
                        let z = f(0) + posterior.noise[column.rank].sqrt() * noise.normal(event, VALUES, index as u32);
                        *cell = posterior.units.centre[design] + if unit > 0.0 { z / unit } else { 0.0 };
                    }
                    Likelihood::Poisson => *cell = poisson(f(0) + posterior.ln_rates[column.rank], chance),
                    Likelihood::Bernoulli => *cell = f64::from(u8::from(chance < 1.0 / (1.0 + (-f(0)).exp()))),
                    Likelihood::Softmax { buckets } => {
                        let known = &posterior.texts[column.rank];
                        let top = (0..buckets).map(f).fold(f64::NEG_INFINITY, f64::max);
                        let share = |text: &str, count: f64| {
                            let bucket = bucket(text, buckets);
                            (f(bucket) - top).exp() * count / known.buckets[bucket]
                        };
                        let total: f64 = known.counts.iter().map(|(text, count)| share(text, *count)).sum();
                        let mut left = chance * total;
                        let hit = known.counts.iter().find(|(text, count)| {
                            left -= share(text, **count);
                            left <= 0.0
                        });
                        if let Some((text, _)) = hit.or(known.counts.last_key_value()) {
                            *cell = texts.push(text) as f64;
                        }
                    }
                }
            }
        }
        rows
    }
}

/// The count at which the Poisson distribution passes `chance`; beyond a mean of 10,000, where steps are nothing, its mean.
fn poisson(ln_rate: f64, chance: f64) -> f64 {
    let rate = ln_rate.min(700.0).exp();
    if rate > 1e4 {
        return rate.round();
    }
    let (mut count, mut below) = (0.0, 0.0);
    loop {
        below += (count * ln_rate - rate - crate::dist::special::ln_gamma(count + 1.0)).exp();
        if chance < below || count > 2.0 * rate + 1000.0 {
            return count;
        }
        count += 1.0;
    }
}
