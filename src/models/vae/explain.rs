//! Which columns made a surprisal: what each does to the decoder's likelihood.
//!
//! With normalised importance weights w̄ over the draws the bound is, exactly, `Σ_j −Σ_s w̄_s ln p(x_j | z_s, θ_s)` and a rest,
//! `Σ_s w̄_s (ln S w̄_s − ln p(z_s) + ln q(z_s | x))`: what the event's place costs. The first is told column by column; the rest
//! is nobody's in particular and shared evenly. What was to be expected of a column is what the decoder makes of the event's
//! place, to which the column itself has contributed.

use super::Vae;
use super::columns::{Column, Likelihood, Value, bucket, ln_rate};
use super::posterior::VaePosterior;
use crate::features::RowsView;
use crate::inference::layers::place;
use crate::models::{Contribution, Expected, Explanation, Model};

/// Standard deviations above its mean that a count is looked for.
const FARTHEST_COUNT: f64 = 12.0;

impl Vae {
    /// The account of the surprisal of `row`; none of one that is no number.
    pub(super) fn account(&self, posterior: &VaePosterior, row: RowsView<'_>) -> Option<Explanation> {
        let mut surprisals = Vec::new();
        self.score(posterior, row, &mut surprisals);
        let surprisal = surprisals.first().map(|surprisal| surprisal.nats).filter(|nats| nats.is_finite())?;
        let mut workspace = self.workspace();
        let ratios = self.decode(posterior, row, &mut workspace);
        let size = workspace.outputs.len() / self.config.samples;
        let decoded: Vec<&[f32]> = workspace.outputs.chunks_exact(size).collect();
        let ln = |column: &Column, value: Value, outputs: &[f32]| {
            let f = |k: usize| f64::from(outputs[place(self.decoder.outputs(), column.first + k, 0)]);
            posterior.ln_judged(column, value, f)
        };
        let cell = |column: &Column| row.row(0)[column.cell];
        let values: Vec<Value> =
            self.columns.iter().map(|column| column.value(&posterior.units, &posterior.texts, row, 0)).collect();
        let terms: Vec<Vec<f64>> = (self.columns.iter().zip(&values))
            .map(|(column, value)| decoded.iter().map(|outputs| ln(column, *value, outputs)).collect())
            .collect();
        let logs = (0..ratios.len()).map(|s| ratios[s][0] + terms.iter().map(|terms| terms[s]).sum::<f64>());
        let weights = normalised(logs.collect());
        let under = |of: &dyn Fn(usize) -> f64| weights.iter().enumerate().map(|(s, weight)| weight * of(s)).sum::<f64>();
        let constant = |column: &Column| posterior.ln_constant(column, cell(column));
        let own: Vec<f64> =
            terms.iter().zip(&self.columns).map(|(terms, column)| -under(&|s| terms[s]) - constant(column)).collect();
        let present = |column: &&Column| !cell(column).is_nan();
        let share = (surprisal - own.iter().sum::<f64>()) / self.columns.iter().filter(present).count().max(1) as f64;

        let expected = |column: &Column| {
            let probability = |value: Value| under(&|s| ln(column, value, decoded[s]).exp());
            let output = |s: usize| f64::from(decoded[s][place(self.decoder.outputs(), column.first, 0)]);
            match column.likelihood {
                Likelihood::Normal { design } if posterior.units.inverse[design] == 0.0 => None,
                Likelihood::Normal { design } => {
                    let mean = under(&output);
                    // A mixture of normals, by its first two moments.
                    let variance = posterior.parameter(column) + under(&|s| (output(s) - mean).powi(2));
                    let (centre, scale) = (posterior.units.centre[design], 1.0 / posterior.units.inverse[design]);
                    Some(Expected::normal(centre + scale * mean, scale * variance.sqrt()))
                }
                Likelihood::Poisson => {
                    let rate = |s: usize| ln_rate(output(s), posterior.parameter(column)).exp();
                    let most = (0..weights.len()).map(|s| rate(s) + FARTHEST_COUNT * rate(s).sqrt()).fold(1.0, f64::max);
                    Some(Expected::count(under(&rate), most, |x| probability(Value::Number(x))))
                }
                Likelihood::Bernoulli => {
                    Expected::likeliest([false, true].into_iter().map(|y| (y.to_string(), probability(Value::Truth(y)))))
                }
                Likelihood::Softmax { buckets } => {
                    let texts = &posterior.texts[column.rank];
                    let value = |text: &str| {
                        let bucket = bucket(text, buckets);
                        Value::Bucket(bucket, texts.ln_share(text, bucket))
                    };
                    Expected::likeliest(texts.counts.keys().map(|text| (text.clone(), probability(value(text)))))
                }
            }
        };
        let all = self.columns.iter().zip(own).filter(|(column, _)| present(column));
        let contribution = |(column, own): (&Column, f64)| Contribution {
            column: self.schema.columns()[column.cell].name.clone(),
            nats: own + share,
            expected: expected(column),
        };
        let mut contributions: Vec<Contribution> = all.map(contribution).collect();
        contributions.sort_by(|one, other| other.nats.total_cmp(&one.nats));
        Some(Explanation { contributions, nearest: None })
    }
}

/// `e^x` over their sum.
fn normalised(logs: Vec<f64>) -> Vec<f64> {
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logs.iter().map(|log| (log - most).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / total).collect()
}
