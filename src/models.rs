//! Models: what a model is to the engine. One file a model: what it believes and how it scores.
//!
//! A model is pure. It holds its configuration only; what was learnt is [`Evidence`], which belongs to the engine.
//! Models know nothing of Kafka, clocks, files or threads.

pub mod mixture;

use std::fmt::Debug;

use crate::checkpoint::{CheckpointError, Tensor};
use crate::features::RowsView;
use crate::record::{Offset, Partition};

/// What data say about a model's parameters: natural parameters, which add.
///
/// The evidence of independent data is the sum of their evidence, and forgetting scales it.
pub trait Evidence: Clone + Debug + PartialEq + Send + Sync + 'static {
    /// λ ← λ + λ′.
    fn add(&mut self, other: &Self);

    /// λ ← retention · λ, with retention in (0, 1].
    fn scale(&mut self, retention: f64);

    /// Effective number of events behind it.
    fn events(&self) -> f64;

    /// The evidence as named tensors, all that [`Model::restore`] needs.
    fn tensors(&self) -> Vec<Tensor>;
}

/// A number that is not finite, where one would have entered the state.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{quantity} is not finite")]
pub struct NotFinite {
    /// What was being computed.
    pub quantity: String,
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
    const KIND: &'static str;

    /// A fingerprint of what evidence depends on: evidence gathered under another fingerprint doesn't fit.
    fn fingerprint(&self) -> u64;

    /// No evidence: the posterior is the prior.
    fn nothing(&self) -> Self::Evidence;

    /// Evidence from the tensors that [`Evidence::tensors`] gave.
    fn restore(&self, tensors: &[Tensor]) -> Result<Self::Evidence, CheckpointError>;

    /// q(θ) for `evidence`, which is the sum over all partitions.
    fn posterior(&self, evidence: &Self::Evidence) -> Result<Self::Posterior, NotFinite>;

    /// Appends the surprisal `-ln ∫ p(x | θ) q(θ) dθ` of each row to `surprisals`, in nats.
    fn score(&self, posterior: &Self::Posterior, rows: RowsView<'_>, surprisals: &mut Vec<f64>);

    /// What `rows` say: ∇_m E_q[ln p(rows | θ)], the natural-gradient step without its forgetting.
    ///
    /// `birthplace` is where the first of the rows stands: it names whatever the rows bring to life.
    fn learn(
        &self,
        posterior: &Self::Posterior,
        rows: RowsView<'_>,
        birthplace: (Partition, Offset),
    ) -> Result<Self::Evidence, NotFinite>;

    /// Simplifies one partition's evidence in the light of everyone's: `rest` is the sum over all other partitions.
    fn reorganise(&self, rest: &Self::Evidence, site: &mut Self::Evidence) {
        let _ = (rest, site);
    }

    /// How many parts the predictive is made of: a mixture's components, say.
    fn active(&self, posterior: &Self::Posterior) -> usize;

    /// Columns in words.
    fn columns(&self, evidence: &Self::Evidence) -> Vec<ColumnSummary>;

    /// Parts in words, the largest first.
    fn parts(&self, posterior: &Self::Posterior) -> Vec<Part>;
}
