//! A Bayesian network of several layers that predicts one column from others.
//!
//! Weights have independent normal posteriors, learnt by the variational online Newton rule ([`crate::inference::newton`]). A number
//! has normal noise, whose variance is learnt or is an output of its own; a boolean is Bernoulli, a category softmax over the texts
//! seen so far and "any other". The score is `−ln 1/S Σ_s p(y | x, θ_s)` over S fixed draws of the weights.
//!
//! Inputs are a [`Design`](crate::features::Design)'s numbers in standard units, 0 where missing, with an input more for each that can
//! be missing. Units are evidence, in the data's own, and move as more is seen. An event without a target has no surprisal and teaches
//! nothing.

mod evidence;
mod explain;
mod learn;
mod likelihood;
mod posterior;
mod targets;
mod words;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::Device;
use xxhash_rust::xxh3::xxh3_64;

use super::inputs::Inputs;
use super::pool::{Loan, Pool};
use crate::checkpoint::{CheckpointError, Tensor, TooLarge};
use crate::features::{Column, Kind, RowsView, Schema, Task};
use crate::inference::layers::{Activation, Sampled, Shape};
use crate::inference::newton::{Newton, Prior};
use crate::models::vocabulary::Vocabulary;
use crate::models::{Block, ColumnSummary, Explanation, Learnt, Model, NotFinite, Part, Standard, Surprisal};
use crate::noise::Noise;
use learn::Workspace;
use likelihood::{Likelihood, StudentNoise};
use targets::Targets;

pub use evidence::NetworkEvidence;
pub use posterior::NetworkPosterior;

/// Noise about a number that is predicted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NoiseKind {
    /// The same for all events.
    #[default]
    Constant,
    /// A second output of the network: `ln σ(x)`.
    Varying,
}

/// The network's configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkConfig {
    /// Units of each hidden layer.
    pub hidden: Vec<usize>,
    /// Draws of the weights that a score is the mean of.
    pub samples: usize,
    /// Noise about a number.
    pub noise: NoiseKind,
    /// Standard deviation of the weights before any event, in units of the one at which a layer keeps its inputs' size.
    pub prior_scale: f64,
    /// How it learns.
    pub rule: Newton,
    /// Of the weights before any event, and of all draws.
    pub seed: u64,
    /// Units of number columns, by the column's name, where they are not to be learnt from the data.
    pub standards: BTreeMap<String, Standard>,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            hidden: vec![64, 64],
            samples: 16,
            noise: NoiseKind::default(),
            prior_scale: 3.0,
            rule: Newton::default(),
            seed: 0,
            standards: BTreeMap::new(),
        }
    }
}

/// A configuration that makes no network.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NetworkError {
    /// A field out of its range.
    #[error("the network's {field} is {value}; it must be {expected}")]
    OutOfRange {
        /// The field's name.
        field: &'static str,
        /// What it is.
        value: f64,
        /// What would be right.
        expected: &'static str,
    },
    /// A target of the wrong kind.
    #[error("the target `{column}` is a {found} column; it must be a number, boolean or category column")]
    WrongTarget {
        /// The column's name.
        column: String,
        /// Its kind.
        found: &'static str,
    },
    /// Units of a column that is no number among inputs and target.
    #[error("column `{column}` has a location and scale, but is no number column of the network")]
    NoNumber {
        /// The column's name.
        column: String,
    },
    /// Units that measure nothing.
    #[error("column `{column}`: location {location} and scale {scale} must be finite, and the scale above 1e-150")]
    BadStandard {
        /// The column's name.
        column: String,
        /// Its location.
        location: f64,
        /// Its scale.
        scale: f64,
    },
    /// A network of more than a snapshot holds.
    #[error("the network is too large: {0}")]
    TooLarge(#[from] TooLarge),
    /// A target among the inputs, or inputs that have no place in a design.
    #[error("there is nothing to predict `{target}` from: add an input of another kind than timestamp that is not the target")]
    NoInput {
        /// The target's name.
        target: String,
    },
}

/// What is predicted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Target {
    Number { fixed: Option<Standard> },
    Boolean,
    Category { capacity: usize },
}

/// Where a network finds its target and inputs.
#[derive(Clone, Debug)]
struct Layout {
    schema: Schema,
    task: Task,
    inputs: Inputs,
    /// Cells of categories among the inputs.
    categories: Vec<usize>,
    target: Target,
    likelihood: Likelihood,
    hidden: Vec<usize>,
}

impl Layout {
    fn new(schema: &Schema, task: &Task, config: &NetworkConfig) -> Result<Self, NetworkError> {
        let column = |cell: usize| &schema.columns()[cell];
        let name = || column(task.target).name.clone();
        let (target, likelihood) = match (column(task.target).kind, config.noise) {
            (Kind::Number, noise) => {
                let fixed = config.standards.get(&name()).copied();
                let likelihood = if noise == NoiseKind::Constant { Likelihood::Normal } else { Likelihood::Scaled };
                (Target::Number { fixed }, likelihood)
            }
            (Kind::Boolean, _) => (Target::Boolean, Likelihood::Bernoulli),
            (Kind::Category { capacity }, _) => (Target::Category { capacity }, Likelihood::Softmax),
            (other, _) => return Err(NetworkError::WrongTarget { column: name(), found: other.name() }),
        };
        let inputs = Inputs::new(schema, &task.inputs, |name| config.standards.get(name).copied());
        if inputs.width() == 0 || task.inputs.contains(&task.target) {
            return Err(NetworkError::NoInput { target: name() });
        }
        for (name, standard) in &config.standards {
            let mut numbers = task.inputs.iter().chain([&task.target]).map(|cell| column(*cell));
            if !numbers.any(|column| column.name == *name && column.kind == Kind::Number) {
                return Err(NetworkError::NoNumber { column: name.clone() });
            }
            if !standard.is_right() {
                let Standard { location, scale } = *standard;
                return Err(NetworkError::BadStandard { column: name.clone(), location, scale });
            }
        }
        let is_category = |cell: &usize| matches!(column(*cell).kind, Kind::Category { .. });
        let categories = task.inputs.iter().copied().filter(is_category).collect();
        let (schema, task, hidden) = (schema.clone(), task.clone(), config.hidden.clone());
        Ok(Self { schema, task, inputs, categories, target, likelihood, hidden })
    }

    /// The layers, for a target of `classes` known classes.
    fn shape(&self, classes: usize) -> Shape {
        let mut widths = vec![self.inputs.count()];
        widths.extend(&self.hidden);
        widths.push(self.likelihood.outputs(classes + 1));
        Shape::new(widths, Activation::Relu)
    }

    fn is_category(&self) -> bool {
        matches!(self.target, Target::Category { .. })
    }

    fn has_noise(&self) -> bool {
        self.likelihood == Likelihood::Normal
    }
}

/// The prior of the weights for the classes of a vocabulary.
type KnownPrior = (Vocabulary, Arc<Prior>);

/// A network over a schema's columns.
#[derive(Clone, Debug)]
pub struct Network {
    layout: Layout,
    config: NetworkConfig,
    workspaces: Pool<Workspace>,
    samples: Pool<Sampled<f32>>,
    /// The latest prior, which depends on the classes known.
    prior: Arc<Mutex<Option<KnownPrior>>>,
    device: Option<Device>,
}

impl Network {
    /// The network for `task` that `config` describes.
    pub fn new(schema: &Schema, task: &Task, config: NetworkConfig) -> Result<Self, NetworkError> {
        let widths = config.hidden.iter().map(|width| ("hidden", *width as f64, (1..=4096).contains(width), "from 1 to 4096"));
        let scale = config.prior_scale;
        let fields = [
            ("samples", config.samples as f64, (1..=1024).contains(&config.samples), "from 1 to 1024"),
            ("prior_scale", scale, scale > 0.0 && scale <= 1000.0, "above 0, at most 1000"),
        ];
        for (field, value, right, expected) in widths.chain(fields) {
            if !right {
                return Err(NetworkError::OutOfRange { field, value, expected });
            }
        }
        let layout = Layout::new(schema, task, &config)?;
        let classes = if let Target::Category { capacity } = layout.target { capacity } else { 0 };
        let cure =
            "fewer or narrower hidden layers, a smaller capacity of the target, or fewer inputs: a category counts as up to 32";
        TooLarge::check((2 + config.rule.stepping.remembered()) * layout.shape(classes).parameters(), cure)?;
        let (workspaces, samples) = (Pool::default(), Pool::default());
        Ok(Self { layout, config, workspaces, samples, prior: Arc::default(), device: None })
    }

    /// The same network with its layers' arithmetic done on `device`: worth it for wide layers and large blocks. Blocks that the
    /// device fails on are done by the processor, or not learnt; both agree to rounding.
    pub fn on(self, device: Device) -> Self {
        Self { workspaces: Pool::default(), samples: Pool::default(), device: Some(device), ..self }
    }

    /// The configuration.
    pub fn config(&self) -> &NetworkConfig {
        &self.config
    }

    fn workspace(&self, shape: &Shape) -> Loan<Workspace> {
        self.workspaces.take(|workspace| workspace.shape == *shape, || Workspace::new(shape, self.device.as_ref()))
    }

    fn samples(&self, shape: &Shape) -> Loan<Sampled<f32>> {
        let make = || Sampled::new(shape, self.config.samples, &Noise::new(!self.config.seed)).on(self.device.as_ref());
        self.samples.take(|sampled| sampled.shape() == shape, make)
    }

    /// Weights before any event: `N(0, scale² g/a)` for a inputs, where g is 2 for units that are rectified (He et al. 2015) and 1 for
    /// outputs. They start at draws of `N(0, g/a)`, outputs at a tenth of such, those of a class by its text alone.
    fn prior(&self, shape: &Shape, vocabulary: &Vocabulary) -> Arc<Prior> {
        let mut latest = self.prior.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, prior)) = latest.as_ref().filter(|(known, _)| known == vocabulary) {
            let _ = known;
            return Arc::clone(prior);
        }
        let noise = Noise::new(self.config.seed);
        let (mut start, mut precision) = (Vec::new(), Vec::new());
        for index in 0..shape.layers() {
            let (rows, columns) = shape.layer(index);
            let last = index + 1 == shape.layers();
            let inputs = if index == 0 { self.layout.inputs.width() } else { rows - 1 };
            let deviation = ((if last { 1.0 } else { 2.0 }) / inputs as f64).sqrt();
            for row in 0..rows {
                for column in 0..columns {
                    let bias = row + 1 == rows;
                    let draw = if last && column > 0 && self.layout.is_category() {
                        noise.normal(xxh3_64(vocabulary.text(column - 1).as_bytes()), u32::MAX, row as u32)
                    } else {
                        noise.normal(0, index as u32, (row * columns.min(4096) + column) as u32)
                    };
                    start.push(if bias { 0.0 } else { deviation * draw * if last { 0.1 } else { 1.0 } });
                    let deviation = self.config.prior_scale * if bias { 1.0 } else { deviation };
                    precision.push(1.0 / (deviation * deviation));
                }
            }
        }
        let prior = Arc::new(Prior { precision, start });
        *latest = Some((vocabulary.clone(), Arc::clone(&prior)));
        prior
    }
}

impl Model for Network {
    type Evidence = NetworkEvidence;
    type Posterior = NetworkPosterior;

    fn kind(&self) -> &'static str {
        "neural_network"
    }

    fn fingerprint(&self) -> u64 {
        let Layout { schema, task, likelihood, hidden, .. } = &self.layout;
        let mut text = format!("neural network 1\n{hidden:?} {likelihood:?} {}\n", self.config.seed);
        self.config.rule.stepping.fingerprint().into_iter().for_each(|mark| text += &format!("{mark}\n"));
        for cell in [&task.target].into_iter().chain(&task.inputs) {
            let Column { name, path, kind } = &schema.columns()[*cell];
            let capacity = if let Kind::Category { capacity } = kind { *capacity } else { 0 };
            text += &format!("{name:?} {path:?} {} {capacity}\n", kind.name());
        }
        xxh3_64(text.as_bytes())
    }

    fn nothing(&self) -> NetworkEvidence {
        NetworkEvidence::nothing(self)
    }

    fn restore(&self, tensors: &[Tensor]) -> Result<NetworkEvidence, CheckpointError> {
        NetworkEvidence::restore(self, tensors)
    }

    fn posterior(&self, evidence: &NetworkEvidence) -> Result<NetworkPosterior, NotFinite> {
        NetworkPosterior::new(self, evidence, &self.nothing())
    }

    fn belief(&self, own: &NetworkEvidence, others: &NetworkEvidence) -> Result<NetworkPosterior, NotFinite> {
        NetworkPosterior::new(self, own, others)
    }

    fn reconciles(&self) -> bool {
        true
    }

    fn reconcile(&self, own: &NetworkEvidence, others: &NetworkEvidence, news: &NetworkEvidence, site: &mut NetworkEvidence) {
        let mut vocabulary = own.vocabulary.clone();
        vocabulary.absorb(&others.vocabulary);
        let [own, others, news] = [own, others, news].map(|evidence| {
            let mut evidence = evidence.clone();
            evidence.conform(&vocabulary);
            evidence.site
        });
        site.conform(&vocabulary);
        let prior = self.prior(&self.layout.shape(vocabulary.len()), &vocabulary);
        self.config.rule.reconcile(&prior, &own, &others, &news, &mut site.site);
    }

    fn judges(&self, row: &[f64]) -> bool {
        !row[self.layout.task.target].is_nan()
    }

    fn multiplications(&self) -> usize {
        if self.device.is_some() { 0 } else { self.config.samples * self.layout.shape(0).parameters() }
    }

    fn score(&self, posterior: &NetworkPosterior, rows: RowsView<'_>, surprisals: &mut Vec<Surprisal>) {
        let targets = Targets::of(&self.layout, rows, &posterior.vocabulary, &[]);
        let start = surprisals.len();
        surprisals.resize(start + rows.len(), Surprisal::default());
        let Some(Standard { location, scale }) = posterior.target else {
            // A target that has always been the same changes with probability 1/(n + 2) (Laplace's rule of succession).
            if let Some((value, count)) = posterior.constant {
                for (row, y) in targets.rows.iter().zip(&targets.values).filter(|(_, y)| Standard::differs(**y, value)) {
                    let _ = y;
                    surprisals[start + row].nats = (count + 2.0).ln();
                }
            }
            return;
        };
        let mut workspace = self.workspace(&posterior.shape);
        let Workspace { pass, buffer, outputs, .. } = &mut *workspace;
        let inputs = pass.open(targets.rows.len());
        self.layout.inputs.fill(&posterior.units, rows, targets.rows.iter().copied(), buffer, inputs);
        posterior.sampled(self).predict(pass.inputs(), targets.rows.len(), outputs);
        let values: Vec<f64> = targets.values.iter().map(|y| (y - location) / scale).collect();
        let noise: StudentNoise = posterior.noise;
        let mut scores = Vec::with_capacity(values.len());
        self.layout.likelihood.score(outputs, self.config.samples, &values, noise, &mut scores);
        for (row, score) in targets.rows.iter().zip(scores) {
            surprisals[start + row] = score;
        }
    }

    fn explain(&self, posterior: &NetworkPosterior, row: RowsView<'_>) -> Option<Explanation> {
        let expected = || self.expected(posterior, row);
        Explanation::of_target(self, posterior, row, (&self.layout.schema, self.layout.task.target), expected)
    }

    fn shuns_doubted(&self) -> bool {
        matches!(self.layout.target, Target::Number { .. })
    }

    fn learn(
        &self,
        posterior: &NetworkPosterior,
        site: &NetworkEvidence,
        block: Block<'_>,
    ) -> Result<Learnt<NetworkEvidence>, NotFinite> {
        self.learnt(posterior, site, block)
    }

    fn divergence(&self, posterior: &NetworkPosterior) -> Option<f64> {
        Some(posterior.normal.kl(&posterior.prior))
    }

    /// The network.
    fn active(&self, _: &NetworkPosterior) -> usize {
        1
    }

    fn columns(&self, evidence: &NetworkEvidence) -> Vec<ColumnSummary> {
        words::columns(&self.layout, evidence)
    }

    fn parts(&self, posterior: &NetworkPosterior) -> Vec<Part> {
        words::parts(&self.layout, posterior)
    }
}
