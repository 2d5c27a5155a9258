//! What generalised linear models differ in: the kind of the target, its likelihood, and how many linear predictors it has.

use std::fmt::Debug;

use super::joint::Joint;
use super::predictor::{Predicted, Prior};
use super::tensors::Placed;
use super::units::{Axis, Units};
use crate::features::Kind;
use crate::inference::likelihood::Predictive;
use crate::models::NotFinite;

/// A pseudo-observation: a normal likelihood of a linear predictor with weight w and shift `w t`, `exp(w t η − ½ w η²)`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Site {
    /// w.
    pub weight: f64,
    /// `w t`.
    pub shift: f64,
}

/// The normal posterior of all coefficients.
pub trait Coefficients: Clone + Debug + Send + Sync + 'static {
    /// What it expects of an event's linear predictors.
    type Predicted: Clone + Debug;

    /// That of pseudo-observations `[contrasts]`.
    fn new(units: Units, pseudo: &[Joint], prior: Prior) -> Result<Self, NotFinite>;

    /// What it expects of each row.
    fn predict(&self, placed: &Placed<'_>) -> Vec<Self::Predicted>;

    /// ln|Λ|.
    fn ln_determinant(&self) -> f64;

    /// `√(Δᵀ Λ Δ)` between the means here and in `other`, which has the same axes.
    fn distance(&self, other: &Self) -> f64;

    /// `KL(q ‖ p)`.
    fn kl(&self) -> f64;

    /// Inputs that have a say.
    fn axes(&self) -> &[Axis];

    /// Mean and variance of the intercept, then of each axis' coefficient: of each class about the mean of all classes, or of the only
    /// predictor.
    fn coefficients(&self) -> Vec<Vec<Predicted>>;
}

/// A kind of target with its likelihood.
///
/// All that is learnt of an event goes into pseudo-observations of *contrasts*: of the only predictor, or of the differences of any two.
pub trait Target: Clone + Debug + Send + Sync + 'static {
    /// The model's name.
    const KIND: &'static str;
    /// The kind of column that it predicts.
    const COLUMN: &'static str;
    /// q of its coefficients.
    type Coefficients: Coefficients;

    /// That of a column of this kind.
    fn new(kind: Kind) -> Self;

    /// Classes that are told apart; 0 if the target is no category.
    fn classes(&self) -> usize;

    /// Pseudo-observations of an event.
    fn contrasts(&self) -> usize;

    /// Mean and variance of each contrast of an event.
    fn contrasts_of<'a>(&'a self, predicted: &'a Expected<Self>) -> impl Iterator<Item = Predicted> + 'a;

    /// `E ln p(y | η)` of each event, and the pseudo-observations that the natural gradient makes of them, `[events, contrasts]`.
    fn expected(&self, targets: &[f64], predicted: &[Expected<Self>]) -> (Vec<f64>, Vec<Site>);

    /// Pseudo-observations to begin with, as if each event were the only one of its block.
    fn alone(&self, targets: &[f64], predicted: &[Expected<Self>]) -> Vec<Site>;

    /// The predictive of each event.
    fn predictive(&self, targets: &[f64], predicted: &[Expected<Self>]) -> Vec<Predictive>;
}

/// What a target's coefficients expect of an event.
pub type Expected<T> = <<T as Target>::Coefficients as Coefficients>::Predicted;
