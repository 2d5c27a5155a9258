//! A variational autoencoder over columns of all kinds (Kingma & Welling 2014; Rezende, Mohamed & Wierstra 2014).
//!
//! An event x has a place z in a space of few dimensions, `z ~ N(0, 1)`, and a *decoder* network says of each column what follows
//! from it: a number is `N(f, s²)` with a noise variance of its own, a boolean Bernoulli, a count Poisson, a category softmax
//! over buckets of texts. Columns are independent given z; a missing one is left out. When an event is judged a number may also
//! be a stray, by Laplace's rule of succession and Cauchy's law ([`VaePosterior`]). The decoder's weights are uncertain and
//! learnt by the variational online Newton rule ([`crate::inference::newton`]). An *encoder* network gives `q(z | x) = N(m,
//! e^(2ρ))`; its weights are no belief but a means to the bound, and are learnt by Adam on the negative evidence lower bound.
//!
//! The score is the importance-weighted bound `−ln 1/S Σ_s p(x | z_s, θ_s) p(z_s) / q(z_s | x)` (Burda, Grosse & Salakhutdinov
//! 2016), an upper bound of the surprisal, over draws that are fixed once for all, so that a score changes only because the
//! posterior does.

mod codes;
mod columns;
mod evidence;
mod explain;
mod learn;
mod numbers;
mod posterior;
mod sample;
mod score;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::Device;
use xxhash_rust::xxh3::xxh3_64;

use super::inputs::{FARTHEST, Inputs, Units};
use super::pool::{Loan, Pool};
use crate::checkpoint::{CheckpointError, Tensor, TooLarge};
use crate::features::{Kind, Rows, RowsView, Schema};
use crate::inference::layers::{Activation, Sampled, Shape};
use crate::inference::newton::{Newton, Prior};
use crate::inference::optimiser::{Method, Optimiser};
use crate::models::{Block, ColumnSummary, Explanation, Learnt, Model, NotFinite, Part, Standard, Surprisal};
use crate::noise::Noise;

use columns::{Column, Likelihood};
use learn::Workspace;

pub use evidence::VaeEvidence;
pub use posterior::VaePosterior;

/// The autoencoder's configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct VaeConfig {
    /// Dimensions of z.
    pub latent: usize,
    /// Units of each hidden layer of the encoder; the decoder has the same in reverse. With none the model is linear: factor
    /// analysis.
    pub hidden: Vec<usize>,
    /// Draws of z and of the weights that a score is the mean of.
    pub samples: usize,
    /// Sweeps over a block in which the encoder learns: all but the last in parts of 64 events, with a step for each.
    pub inner_steps: usize,
    /// How the decoder learns.
    pub rule: Newton,
    /// How the encoder learns.
    pub encoder: Optimiser,
    /// Units of number columns, by the column's name, where they are not to be learnt from the data.
    pub standards: BTreeMap<String, Standard>,
}

impl Default for VaeConfig {
    fn default() -> Self {
        Self {
            latent: 8,
            hidden: vec![64],
            samples: 16,
            inner_steps: 3,
            rule: Newton { curvature: 0.1, ..Newton::default() },
            encoder: Optimiser { method: Method::ADAM, rate: 0.003, greatest_norm: 100.0 },
            standards: BTreeMap::new(),
        }
    }
}

/// A configuration that makes no autoencoder.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum VaeError {
    /// A field out of its range.
    #[error("the autoencoder's {field} is {value}; it must be {expected}")]
    OutOfRange {
        /// The field's name.
        field: &'static str,
        /// What it is.
        value: usize,
        /// What would be right.
        expected: &'static str,
    },
    /// A schema with nothing but timestamps.
    #[error("there is no column to model: add a number, category, count or boolean column")]
    NoColumn,
    /// An autoencoder of more than a snapshot holds.
    #[error("the autoencoder is too large: {0}")]
    TooLarge(#[from] TooLarge),
    /// Units of a column that is no number, or that measure nothing.
    #[error("column `{column}`: a location and scale are for number columns, finite, and the scale above 1e-150")]
    BadStandard {
        /// The column's name.
        column: String,
    },
}

/// An autoencoder over a schema's columns.
#[derive(Clone, Debug)]
pub struct Vae {
    schema: Schema,
    config: VaeConfig,
    inputs: Inputs,
    columns: Vec<Column>,
    encoder: Shape,
    decoder: Shape,
    /// Weights of the encoder before any event.
    start: Arc<Vec<f64>>,
    prior: Arc<Prior>,
    workspaces: Pool<Workspace<f32>>,
    samples: Pool<Sampled<f32>>,
    device: Option<Device>,
}

/// Of noise that weights begin with; draws for scores are its opposite's.
const SEED: u64 = 0x6175_746f_656e_636f;

impl Vae {
    /// The autoencoder over `schema` that `config` describes.
    pub fn new(schema: &Schema, config: VaeConfig) -> Result<Self, VaeError> {
        let ranges =
            [("latent", config.latent, 1024), ("samples", config.samples, 1024), ("inner_steps", config.inner_steps, 1024)];
        for (field, value, most) in ranges.into_iter().chain(config.hidden.iter().map(|width| ("hidden", *width, 4096))) {
            if !(1..=most).contains(&value) {
                let expected = if most == 1024 { "from 1 to 1024" } else { "from 1 to 4096" };
                return Err(VaeError::OutOfRange { field, value, expected });
            }
        }
        let columns = Column::of(schema);
        if columns.is_empty() {
            return Err(VaeError::NoColumn);
        }
        for (name, standard) in &config.standards {
            let number = schema.columns().iter().any(|column| column.name == *name && column.kind == Kind::Number);
            if !number || !standard.is_right() {
                return Err(VaeError::BadStandard { column: name.clone() });
            }
        }
        let cells: Vec<usize> = columns.iter().map(|column| column.cell).collect();
        let inputs = Inputs::new(schema, &cells, |name| config.standards.get(name).copied());
        let outputs = columns.iter().map(Column::outputs).sum();
        let shape = |first: usize, hidden: Vec<usize>, last: usize| {
            let widths = [first].into_iter().chain(hidden).chain([last]).collect();
            Shape::new(widths, Activation::Relu)
        };
        let encoder = shape(inputs.count(), config.hidden.clone(), 2 * config.latent);
        let decoder = shape(config.latent, config.hidden.iter().rev().copied().collect(), outputs);
        // Curvature and shift of the decoder, the encoder's weights, and what their steps remember.
        let numbers = (2 + config.rule.stepping.remembered()) * decoder.parameters() + 3 * encoder.parameters();
        TooLarge::check(
            numbers,
            "fewer or narrower hidden layers, a smaller latent, or fewer columns: a category counts as up to 32",
        )?;
        let start = Arc::new(weights(&encoder, inputs.width(), 0).0);
        let (mean, variance) = weights(&decoder, config.latent, 1);
        let prior = Arc::new(Prior { start: mean, precision: variance.iter().map(|variance| 1.0 / variance).collect() });
        let (workspaces, samples) = (Pool::default(), Pool::default());
        let schema = schema.clone();
        Ok(Self { schema, config, inputs, columns, encoder, decoder, start, prior, workspaces, samples, device: None })
    }

    /// The same autoencoder with its layers' arithmetic done on `device`: worth it for wide layers and large blocks. Blocks that
    /// the device fails on are done by the processor, or not learnt; both agree to rounding.
    pub fn on(self, device: Device) -> Self {
        Self { workspaces: Pool::default(), samples: Pool::default(), device: Some(device), ..self }
    }

    /// The configuration.
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    fn workspace(&self) -> Loan<Workspace<f32>> {
        self.workspaces.take(|_| true, || Workspace::new(&self.encoder, &self.decoder, self.device.as_ref()))
    }

    fn sampled(&self) -> Loan<Sampled<f32>> {
        let make = || Sampled::new(&self.decoder, self.config.samples, &Noise::new(!SEED)).on(self.device.as_ref());
        self.samples.take(|_| true, make)
    }
}

/// Means and variances of weights before any event: `N(m, g/a)` for a inputs that vary, where g is 2 for units that are rectified
/// (He et al. 2015) and 1 for outputs; m is drawn from there, by a fixed seed, so that units differ, and for outputs is a tenth
/// of that.
fn weights(shape: &Shape, vary: usize, stream: u32) -> (Vec<f64>, Vec<f64>) {
    let noise = Noise::new(SEED);
    let (mut mean, mut variance) = (Vec::new(), Vec::new());
    for index in 0..shape.layers() {
        let (rows, columns) = shape.layer(index);
        let last = index + 1 == shape.layers();
        let inputs = if index == 0 { vary } else { rows - 1 };
        let spread = (if last { 1.0 } else { 2.0 }) / inputs.max(1) as f64;
        for row in 0..rows {
            for column in 0..columns {
                let draw = noise.normal(u64::from(stream), index as u32, (row * columns + column) as u32);
                let bias = row + 1 == rows;
                mean.push(if bias { 0.0 } else { spread.sqrt() * draw * if last { 0.1 } else { 1.0 } });
                variance.push(if bias { 1.0 } else { spread });
            }
        }
    }
    (mean, variance)
}

impl Model for Vae {
    type Evidence = VaeEvidence;
    type Posterior = VaePosterior;

    fn kind(&self) -> &'static str {
        "vae"
    }

    fn fingerprint(&self) -> u64 {
        let mut text = format!("vae 1\n{} {:?}\n", self.config.latent, self.config.hidden);
        self.config.rule.stepping.fingerprint().into_iter().for_each(|mark| text += &format!("{mark}\n"));
        for column in self.schema.columns() {
            let capacity = if let Kind::Category { capacity } = column.kind { capacity } else { 0 };
            text += &format!("{:?} {:?} {} {capacity}\n", column.name, column.path, column.kind.name());
        }
        xxh3_64(text.as_bytes())
    }

    fn nothing(&self) -> VaeEvidence {
        VaeEvidence::nothing(self)
    }

    fn restore(&self, tensors: &[Tensor]) -> Result<VaeEvidence, CheckpointError> {
        VaeEvidence::restore(self, tensors)
    }

    fn posterior(&self, evidence: &VaeEvidence) -> Result<VaePosterior, NotFinite> {
        VaePosterior::new(self, evidence)
    }

    fn multiplications(&self) -> usize {
        if self.device.is_some() { 0 } else { self.encoder.parameters() + self.config.samples * self.decoder.parameters() }
    }

    fn score(&self, posterior: &VaePosterior, rows: RowsView<'_>, surprisals: &mut Vec<Surprisal>) {
        self.surprisals(posterior, rows, surprisals);
    }

    fn explain(&self, posterior: &VaePosterior, row: RowsView<'_>) -> Option<Explanation> {
        self.account(posterior, row)
    }

    fn shuns_doubted(&self) -> bool {
        true
    }

    /// Not at all with a number more than eight standard deviations out: surprisal grows only with the logarithm of the
    /// distance, so the weight alone would let its square into the moments.
    fn credence(&self, posterior: &VaePosterior, row: &[f64], weight: f64) -> f64 {
        let is_far = |column: &Column| match column.likelihood {
            Likelihood::Normal { design } => {
                let Units { centre, inverse } = &posterior.units;
                ((row[column.cell] - centre[design]) * inverse[design]).abs() > FARTHEST
            }
            _ => false,
        };
        if self.columns.iter().any(is_far) { 0.0 } else { weight }
    }

    fn learn(&self, posterior: &VaePosterior, site: &VaeEvidence, block: Block<'_>) -> Result<Learnt<VaeEvidence>, NotFinite> {
        self.learnt(posterior, site, block)
    }

    /// Of the decoder's weights.
    fn divergence(&self, posterior: &VaePosterior) -> Option<f64> {
        Some(posterior.normal.kl(&self.prior))
    }

    fn sample(&self, posterior: &VaePosterior, noise: Noise, count: usize) -> Option<Rows> {
        Some(self.drawn(posterior, noise, count))
    }

    /// The dimensions of z.
    fn active(&self, _: &VaePosterior) -> usize {
        self.config.latent
    }

    fn columns(&self, evidence: &VaeEvidence) -> Vec<ColumnSummary> {
        self.columns.iter().enumerate().map(|(index, column)| evidence.summary(&self.schema, index, column)).collect()
    }

    /// The columns, with the noise that is left once z is known.
    fn parts(&self, posterior: &VaePosterior) -> Vec<Part> {
        let explained = |column: &Column| match column.likelihood {
            Likelihood::Normal { design } if posterior.units.inverse[design] > 0.0 => Some((
                self.schema.columns()[column.cell].name.clone(),
                posterior.noise[column.rank].sqrt() / posterior.units.inverse[design],
            )),
            _ => None,
        };
        let expects =
            self.columns.iter().filter_map(explained).map(|(name, sd)| (name, format!("± {}", super::words::short(sd))));
        vec![Part { name: "noise".into(), weight: 1.0, expects: expects.collect() }]
    }
}
