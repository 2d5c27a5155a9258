//! q(θ) of an autoencoder with what scoring and learning need of it, computed once a block.

use std::f64::consts::PI;
use std::sync::OnceLock;

use super::Vae;
use super::columns::{Column, Likelihood, Texts, Value};
use super::evidence::VaeEvidence;
use super::numbers::LIMIT;
use crate::inference::layers::{Parameters, Sampled};
use crate::inference::newton::{Normal, Site};
use crate::models::inputs::Units;
use crate::models::mixture::statistics::Moments;
use crate::models::pool::Loan;
use crate::models::{NotFinite, Standard};

/// The least noise variance, in units of the column's own: below it, single precision is the noise.
const LEAST_NOISE: f64 = 1e-6;

/// What is believed.
#[derive(Debug)]
pub struct VaePosterior {
    pub(super) units: Units,
    /// Noise variance of each number, in its units.
    pub(super) noise: Vec<f64>,
    /// What the rule of succession says of each number.
    pub(super) successions: Vec<Succession>,
    /// Log mean of each count.
    pub(super) ln_rates: Vec<f64>,
    /// Texts of each category, by bucket.
    pub(super) texts: Vec<Texts>,
    /// Of the decoder's weights.
    pub(super) normal: Normal,
    /// The same for arithmetic in single precision.
    pub(super) mean: Parameters<f32>,
    pub(super) variance: Parameters<f32>,
    pub(super) encoder: Parameters<f32>,
    sampled: OnceLock<Loan<Sampled<f32>>>,
}

/// What the rule of succession says after n numbers.
#[derive(Clone, Copy, Debug)]
pub struct Succession {
    /// Their mean: the one value they have had, where they never varied. None before any.
    constant: Option<f64>,
    /// `ln (n + 1)/(n + 2)`: the next is like one of them.
    pub(super) ln_again: f64,
    /// `−ln (n + 2)`: it is like none.
    ln_another: f64,
    /// `−ln π(n + 2)`, which is the same with the height of Cauchy's law.
    pub(super) ln_stray: f64,
}

impl Succession {
    fn after(numbers: &Moments) -> Self {
        let ln_another = -(numbers.count + 2.0).ln();
        let constant = (numbers.count > 0.0).then_some(numbers.mean);
        Self { constant, ln_again: (numbers.count + 1.0).ln() + ln_another, ln_another, ln_stray: ln_another - PI.ln() }
    }
}

impl VaePosterior {
    pub(super) fn new(vae: &Vae, evidence: &VaeEvidence) -> Result<Self, NotFinite> {
        if !evidence.is_finite() {
            return Err(NotFinite { quantity: "the evidence".into() });
        }
        let units = vae.inputs.units(&evidence.inputs);
        let rule = &vae.config.rule;
        let normal =
            rule.normal(&vae.prior, &evidence.decoder, &Site::nothing(vae.decoder.parameters()), evidence.events, 1.0)?;
        let encoding = match evidence.events {
            0.0 => vae.start.to_vec(),
            events => evidence.encoder.iter().map(|sum| sum / events).collect(),
        };
        // `(Σ r² + d) / (n + d)` with d made-up residuals of 1 that fade as the rule's made-up events do.
        let made_up = rule.made_up(evidence.events) / rule.burn_in;
        let (mut noise, mut successions, mut ln_rates, mut texts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (index, column) in vae.columns.iter().enumerate() {
            match column.likelihood {
                Likelihood::Normal { design } => {
                    let [count, squares] = evidence.residuals[column.rank];
                    let square = squares * units.inverse[design] * units.inverse[design];
                    noise.push(((square + made_up) / (count + made_up)).max(LEAST_NOISE));
                    successions.push(Succession::after(&evidence.columns[index]));
                }
                Likelihood::Poisson => {
                    let counts = evidence.columns[index];
                    ln_rates.push(((counts.mean * counts.count + 0.5) / (counts.count + 0.5)).ln());
                }
                Likelihood::Bernoulli => {}
                Likelihood::Softmax { buckets } => texts.push(Texts::of(&evidence.texts[column.rank], buckets)),
            }
        }
        let (mut mean, mut variance) = (Parameters::zeros(&vae.decoder), Parameters::zeros(&vae.decoder));
        let mut encoder = Parameters::zeros(&vae.encoder);
        mean.set(&normal.mean);
        variance.set(&normal.variance);
        encoder.set(&encoding);
        if !noise.iter().chain(&ln_rates).all(|x| x.is_finite()) {
            return Err(NotFinite { quantity: "a column's noise or rate".into() });
        }
        if !(mean.is_finite() && variance.is_finite() && encoder.is_finite()) {
            return Err(NotFinite { quantity: "a weight's posterior in single precision".into() });
        }
        Ok(Self { units, noise, successions, ln_rates, texts, normal, mean, variance, encoder, sampled: OnceLock::new() })
    }

    /// `ln p(value | f)` as an event is judged by it. A number is like none of the n before with probability `1/(n + 2)`, by
    /// Laplace's rule of succession, and then anywhere, by Cauchy's law in standard units; else it has its likelihood, which may
    /// have become narrow. The greater of the two is taken for their sum: it is at most `ln 2` below.
    pub(super) fn ln_judged(&self, column: &Column, value: Value, f: impl Fn(usize) -> f64) -> f64 {
        let parameter = self.parameter(column);
        match (column.likelihood, value) {
            (Likelihood::Normal { .. }, Value::Number(x)) => {
                let Succession { ln_again, ln_stray, .. } = self.successions[column.rank];
                let x = x.clamp(-LIMIT, LIMIT);
                (ln_again + column.ln_likelihood(Value::Number(x), parameter, f)).max(ln_stray - (x * x).ln_1p())
            }
            _ => column.ln_likelihood(value, parameter, f),
        }
    }

    /// Whether it is a number that has always been the same.
    pub(super) fn is_constant(&self, column: &Column) -> bool {
        matches!(column.likelihood, Likelihood::Normal { design } if self.units.inverse[design] == 0.0)
    }

    /// Of a number that has always been the same, the log probability that it is so again, or that it is not, whichever came; 0
    /// of all else.
    pub(super) fn ln_constant(&self, column: &Column, cell: f64) -> f64 {
        if !self.is_constant(column) || cell.is_nan() {
            return 0.0;
        }
        let Succession { constant, ln_again, ln_another, .. } = self.successions[column.rank];
        constant.map_or(0.0, |constant| if Standard::differs(cell, constant) { ln_another } else { ln_again })
    }

    /// The parameter of a column's likelihood that is not an output.
    pub(super) fn parameter(&self, column: &Column) -> f64 {
        match column.likelihood {
            Likelihood::Normal { .. } => self.noise[column.rank],
            Likelihood::Poisson => self.ln_rates[column.rank],
            Likelihood::Bernoulli | Likelihood::Softmax { .. } => 0.0,
        }
    }

    /// The sampled decoders, set when first asked for.
    pub(super) fn sampled(&self, vae: &Vae) -> &Sampled<f32> {
        self.sampled.get_or_init(|| {
            let mut sampled = vae.sampled();
            let mut deviation = self.variance.clone();
            deviation.combine([&self.variance], |_, [variance]| variance.sqrt());
            sampled.set(&self.mean, &deviation);
            sampled
        })
    }
}
