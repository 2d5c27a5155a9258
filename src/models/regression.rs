//! Regressions: one column predicted from others by a linear predictor `η = α + βᵀz`, with a full posterior over α and β.
//!
//! [`linear`] is exact: a number with normal noise of unknown variance. [`glm`] has booleans, counts and categories, whose posterior is
//! approximated by a normal one with full covariance.
//!
//! The inputs z are a [`Design`](crate::features::Design)'s numbers in *standard units*: a number or count about its mean in standard
//! deviations, as far as they have been seen, and what is 0 or 1 about its mean as it is (Gelman, Jakulin, Pittau & Su 2008). The prior
//! is stated in these units, evidence is kept in raw ones, so that units may move as more is seen and the posterior remains a function
//! of the evidence alone (empirical Bayes). A value that is missing is the column's mean, and tells by an input of its own that it was
//! missing. Inputs that have never varied cost nothing: they say nothing about the target, and nothing is known of what they would
//! say.
//!
//! An event without a target has no surprisal and teaches nothing.

mod batch;
mod census;
mod classes;
mod factor;
mod first;
mod fit;
pub mod glm;
mod joint;
mod labels;
mod layout;
pub mod linear;
mod logits;
mod missing;
mod panel;
mod prediction;
mod predictor;
mod pseudo;
mod single;
mod target;
mod tensors;
mod units;
mod words;

use std::collections::BTreeMap;

use crate::checkpoint::TooLarge;
use crate::models::Standard;
use classes::MOST_CLASSES;
use layout::Layout;

pub use glm::{LogisticRegression, PoissonRegression, SoftmaxRegression};
pub use linear::LinearRegression;
pub use predictor::Predicted;
pub use target::Coefficients;

/// What regressions have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct RegressionConfig {
    /// Standard deviation of a coefficient before any event: how far the predictor moves, or for a linear regression how many standard
    /// deviations of the noise the target moves, with one unit of an input in standard units.
    pub prior_scale: f64,
    /// Steps in which a block is taken in, if no more are needed: while they lead far, up to 20 are taken. A linear regression needs none.
    pub inner_steps: usize,
    /// Units of number columns, by the column's name, where they are not to be learnt from the data.
    pub standards: BTreeMap<String, Standard>,
}

impl Default for RegressionConfig {
    fn default() -> Self {
        Self { prior_scale: 2.5, inner_steps: 2, standards: BTreeMap::new() }
    }
}

/// What makes one that is too large smaller.
const SMALLER: &str = "fewer inputs, of which a category counts as up to 32, or fewer classes";

/// A configuration that makes no regression.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RegressionError {
    /// A field out of its range.
    #[error("the regression's {field} is {value}; it must be {expected}")]
    OutOfRange {
        /// The field's name.
        field: &'static str,
        /// What it is.
        value: f64,
        /// What would be right.
        expected: &'static str,
    },
    /// A target of the wrong kind.
    #[error("the target `{column}` is a {found} column; it must be a {expected} column")]
    WrongTarget {
        /// The column's name.
        column: String,
        /// Its kind.
        found: &'static str,
        /// The kind that the model predicts.
        expected: &'static str,
    },
    /// A target with too many classes, or with one.
    #[error(
        "the target `{column}` has a capacity of {capacity}; a softmax regression tells 2 to {MOST_CLASSES} classes apart: give the column \
         such a capacity"
    )]
    Classes {
        /// The column's name.
        column: String,
        /// Its capacity.
        capacity: usize,
    },
    /// Units of a column that is no number among inputs and target.
    #[error("column `{column}` has a location and scale, but is no number column of the regression")]
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
    /// A regression of more than a snapshot holds.
    #[error("the regression is too large: {0}")]
    TooLarge(#[from] TooLarge),
    /// A target among the inputs, or inputs that have no place in a design.
    #[error("there is nothing to predict `{target}` from: add an input of another kind than timestamp that is not the target")]
    NoInput {
        /// The target's name.
        target: String,
    },
}
