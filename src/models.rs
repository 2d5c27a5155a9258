//! Models: what a model is to the engine. One file a model: what it believes and how it scores.
//!
//! A model is pure. It holds its configuration only; what was learnt is [`Evidence`], which belongs to the engine.
//! Models know nothing of Kafka, clocks, files or threads.

mod account;
pub mod any;
pub mod forecast;
pub mod inferred;
mod inputs;
pub mod mean_field;
mod memory;
pub mod mixture;
pub mod neural_network;
mod pool;
pub mod regression;
mod standard;
pub mod vae;
mod vocabulary;
mod words;

use std::fmt::Debug;

use crate::checkpoint::{CheckpointError, Tensor};
use crate::features::{Rows, RowsView};
use crate::inference::rule::Pace;
use crate::noise::Noise;
use crate::record::{Offset, Partition};

pub use crate::inference::NotFinite;
pub use account::{Contribution, Expected, Explanation, INTERVAL, Prediction};
pub use any::AnyModel;
pub use inferred::Inferred;
pub use standard::Standard;

/// What data say about a model's parameters: natural parameters, which add.
///
/// The evidence of independent data is the sum of their evidence, and forgetting scales it.
pub trait Evidence: Clone + Debug + PartialEq + Send + Sync + 'static {
    /// λ ← λ + λ′.
    fn add(&mut self, other: &Self);

    /// λ ← factor · λ, with a positive factor.
    fn scale(&mut self, factor: f64);

    /// Effective number of events behind it.
    fn events(&self) -> f64;

    /// [`events`](Self::events), with those that had nothing to say: as many as were learnt, where all were believed and none is
    /// forgotten. Of use where an event's evidence can be [subtracted](Self::subtract).
    fn gathered(&self) -> f64 {
        self.events()
    }

    /// λ ← λ − λ′, where λ′ is a part of λ. Returns whether it is, to the digits that a sum would have: otherwise, as where what
    /// is left is next to nothing beside what is taken away, λ is of no use any more.
    fn subtract(&mut self, other: &Self) -> bool {
        let _ = other;
        false
    }

    /// The evidence as named tensors, all that [`Model::restore`] needs.
    fn tensors(&self) -> Vec<Tensor>;
}

impl Pace {
    /// `site ← retention · site + weight · news`: the rule, for models whose evidence adds up.
    pub fn apply<E: Evidence>(self, site: &E, mut news: E) -> E {
        let mut site = site.clone();
        if self.retention != 1.0 {
            site.scale(self.retention);
        }
        if self.weight != 1.0 {
            news.scale(self.weight);
        }
        site.add(&news);
        site
    }
}

/// How surprising one event is, and how well that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Surprisal {
    /// `-ln ∫ p(x | θ) q(θ) dθ`, in nats.
    pub nats: f64,
    /// Standard deviation of `-ln p(x | θ)` under q(θ), in nats: large where the model doesn't know yet.
    pub sd: f64,
}

impl Surprisal {
    /// The same, where the model can't tell infinite: then nothing is more surprising.
    pub fn told(self) -> Self {
        let told = |number: f64| if number.is_nan() { f64::INFINITY } else { number };
        Self { nats: told(self.nats), sd: told(self.sd) }
    }
}

/// A block of events to be learnt, and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// The events.
    pub rows: RowsView<'a>,
    /// Whose they are.
    pub partition: Partition,
    /// Where the first of them stands, or of those left out before it: with the partition it names whatever the block brings to
    /// life.
    pub offset: Offset,
    /// Steps that the site has taken before: the place in every sequence of noise.
    pub step: u64,
    /// What is kept of the site, and how much the block counts.
    pub pace: Pace,
    /// How much of each event is believed, in [0, 1]: one a row, or none where all are believed. A model that doesn't weigh
    /// events believes all.
    pub weights: &'a [f64],
}

impl Block<'_> {
    /// How much of the event in `row` is believed.
    pub fn believed(&self, row: usize) -> f64 {
        self.weights.get(row).copied().unwrap_or(1.0)
    }
}

/// What a block has taught.
#[derive(Clone, Debug, PartialEq)]
pub struct Learnt<E> {
    /// The site with the block in it.
    pub evidence: E,
    /// How the step went.
    pub progress: Progress,
}

/// How a step went, as far as the model can tell at no great cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// `E_q ln p(block | θ)` before it was learnt, in nats: of each event as far as it is believed.
    pub expected_log_likelihood: Option<f64>,
    /// Length of the step in the posterior's own metric, `√(Δμᵀ Λ Δμ)`.
    pub step_norm: Option<f64>,
    /// Whether a step was shortened: cut to the greatest length allowed, or until the bound did not fall.
    pub clipped: bool,
}

/// Says for people what has been seen of a column.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnSummary {
    /// The column's name.
    pub name: String,
    /// The kind's name.
    pub kind: &'static str,
    /// Effective number of values seen and of values missing.
    pub observed: f64,
    /// See `observed`.
    pub missing: f64,
    /// Mean and standard deviation of a number or count; the mean of a boolean is the share of true.
    pub mean: Option<f64>,
    /// See `mean`.
    pub standard_deviation: Option<f64>,
    /// Values of a category told apart.
    pub distinct: Option<usize>,
}

/// A part of a model that people can look at: a mixture's component, say.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The part's lasting identity.
    pub name: String,
    /// Its share of the predictive density.
    pub weight: f64,
    /// What it expects: a line a column.
    pub expects: Vec<(String, String)>,
}

/// A Bayesian model that learns by adding evidence.
pub trait Model: Clone + Debug + Send + Sync + 'static {
    /// Evidence about the parameters.
    type Evidence: Evidence;
    /// q(θ), with whatever is computed once for many events.
    type Posterior: Debug + Send + Sync;

    /// The kind's name in configuration and snapshots.
    fn kind(&self) -> &'static str;

    /// A fingerprint of what evidence depends on: evidence gathered under another fingerprint doesn't fit.
    fn fingerprint(&self) -> u64;

    /// No evidence: the posterior is the prior.
    fn nothing(&self) -> Self::Evidence;

    /// Evidence from the tensors that [`Evidence::tensors`] gave.
    fn restore(&self, tensors: &[Tensor]) -> Result<Self::Evidence, CheckpointError>;

    /// q(θ) for `evidence`, which is the sum over all partitions.
    fn posterior(&self, evidence: &Self::Evidence) -> Result<Self::Posterior, NotFinite>;

    /// q(θ) where some partitions are learnt, whose evidence is `own`, and all others' is `others`: that of the sum, unless the
    /// model can tell the two apart to an advantage.
    fn belief(&self, own: &Self::Evidence, others: &Self::Evidence) -> Result<Self::Posterior, NotFinite> {
        let mut sum = others.clone();
        sum.add(own);
        self.posterior(&sum)
    }

    /// Reconciles a partition learnt here with one learnt elsewhere, of which `news` has come: `own` is the evidence of all
    /// partitions learnt here, `others` of all learnt elsewhere. Models whose evidence adds up have nothing to reconcile.
    fn reconcile(&self, own: &Self::Evidence, others: &Self::Evidence, news: &Self::Evidence, site: &mut Self::Evidence) {
        let _ = (own, others, news, site);
    }

    /// Whether [`reconcile`](Self::reconcile) does anything.
    fn reconciles(&self) -> bool {
        false
    }

    /// Whether the model judges an event with these cells. One that predicts judges none whose target is missing: its surprisal
    /// is 0, and says nothing.
    fn judges(&self, row: &[f64]) -> bool {
        let _ = row;
        true
    }

    /// Appends each row's surprisal: a number, infinite where the posterior holds an event to be impossible, or NaN
    /// where it can't tell. Its bits depend on the row and the posterior and not on the rows beside it: how a stream falls into
    /// transactions must leave no trace.
    fn score(&self, posterior: &Self::Posterior, rows: RowsView<'_>, surprisals: &mut Vec<Surprisal>);

    /// About how many multiplications the score of a row takes the processor, where they may be so many that a block is worth several
    /// cores, else 0.
    fn multiplications(&self) -> usize {
        0
    }

    /// The numbers whose density a surprisal is, by their cells, and the scale that each is measured in: what it takes to compare
    /// the surprisals of two posteriors, each of which is with respect to units that it has learnt. None where they are of
    /// probabilities.
    fn scales(&self, posterior: &Self::Posterior) -> Vec<(usize, f64)> {
        let _ = posterior;
        Vec::new()
    }

    /// What was expected of each of `rows`, by a model that predicts a number; `None` in place of a row whose number is missing.
    fn predict(&self, posterior: &Self::Posterior, rows: RowsView<'_>) -> Option<Vec<Option<Prediction>>> {
        let _ = (posterior, rows);
        None
    }

    /// `-ln` of the probability of an event at least as extreme as each of `rows`, by a model that has a distribution function:
    /// what alerts are judged by. That of any other model is its surprisal.
    fn extremity(&self, posterior: &Self::Posterior, rows: RowsView<'_>) -> Option<Vec<f64>> {
        let _ = (posterior, rows);
        None
    }

    /// An account of the surprisal of `row`, which is one, by a model that can give it.
    fn explain(&self, posterior: &Self::Posterior, row: RowsView<'_>) -> Option<Explanation> {
        let _ = (posterior, row);
        None
    }

    /// Whether a model that weighs events wants none of those that are not believed at all: blocks come without them.
    fn shuns_doubted(&self) -> bool {
        false
    }

    /// How far a doubted event is believed: `weight`, from 0 to below 1, is what its surprisal says. 0 leaves it out.
    fn credence(&self, posterior: &Self::Posterior, row: &[f64], weight: f64) -> f64 {
        let _ = (posterior, row);
        weight
    }

    /// The site after a block: `retention · site + weight · ∇_m E_q[ln p(block | θ)]`, one natural-gradient step.
    fn learn(
        &self,
        posterior: &Self::Posterior,
        site: &Self::Evidence,
        block: Block<'_>,
    ) -> Result<Learnt<Self::Evidence>, NotFinite>;

    /// What `rows`, which are a part of `site`, have added to it, if that depends on nothing else that was learnt: then it can be
    /// [subtracted](Evidence::subtract).
    fn contribution(&self, site: &Self::Evidence, rows: RowsView<'_>) -> Option<Self::Evidence> {
        let _ = (site, rows);
        None
    }

    /// Simplifies one partition's evidence in the light of everyone's: `rest` is the sum over all other partitions.
    fn reorganise(&self, rest: &Self::Evidence, site: &mut Self::Evidence) {
        let _ = (rest, site);
    }

    /// KL(q(θ) ‖ p(θ)) in nats, where it has a closed form.
    fn divergence(&self, posterior: &Self::Posterior) -> Option<f64> {
        let _ = posterior;
        None
    }

    /// Events drawn from the predictive, `x ~ ∫ p(x | θ) q(θ) dθ`, by a model that can; one that describes a column given the
    /// others can't.
    fn sample(&self, posterior: &Self::Posterior, noise: Noise, count: usize) -> Option<Rows> {
        let _ = (posterior, noise, count);
        None
    }

    /// Half-lives in events, and the weight of each, by a model that [infers](Inferred) how fast it forgets; empty otherwise.
    fn memory(&self, posterior: &Self::Posterior) -> Vec<(f64, f64)> {
        let _ = posterior;
        Vec::new()
    }

    /// How many parts the predictive is made of: a mixture's components, say.
    fn active(&self, posterior: &Self::Posterior) -> usize;

    /// Columns in words.
    fn columns(&self, evidence: &Self::Evidence) -> Vec<ColumnSummary>;

    /// Parts in words, the largest first.
    fn parts(&self, posterior: &Self::Posterior) -> Vec<Part>;
}
