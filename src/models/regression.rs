//! Regressions: one column predicted from others by a linear predictor `η = α + βᵀz`, with a full posterior over α and β.
//!
//! [`linear`] is exact: a number with normal noise of unknown variance. [`glm`] has booleans and counts, whose posterior is
//! approximated by a normal one with full covariance.
//!
//! The inputs z are a [`Design`]'s numbers in *standard units*: a number or count about its mean in standard deviations, as far as they
//! have been seen, and what is 0 or 1 about its mean as it is (Gelman, Jakulin, Pittau & Su 2008). The prior is stated in these
//! units, evidence is kept in raw ones, so that units may move as more is seen and the posterior remains a function of the
//! evidence alone (empirical Bayes). A value that is missing is the column's mean, and tells by an input of its own that it was
//! missing. Inputs that have never varied cost nothing: they say nothing about the target, and nothing is known of what they would
//! say.
//!
//! An event without a target has no surprisal and teaches nothing.

mod batch;
mod census;
mod factor;
mod first;
mod fit;
pub mod glm;
mod joint;
pub mod linear;
mod missing;
mod panel;
mod predictor;
mod units;
mod words;

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

use crate::features::{Column, Design, Kind, Schema, Task};
use crate::models::Standard;
use units::Measure;

pub use glm::{LogisticRegression, PoissonRegression};
pub use linear::LinearRegression;
pub use predictor::Predicted;

/// What regressions have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct RegressionConfig {
    /// Standard deviation of a coefficient before any event: how far the predictor moves, or for a linear regression how many standard
    /// deviations of the noise the target moves, with one unit of an input in standard units.
    pub prior_scale: f64,
    /// Steps at most that a block of a regression that isn't linear is taken in by.
    pub inner_steps: usize,
    /// Units of number columns, by the column's name, where they are not to be learnt from the data.
    pub standards: BTreeMap<String, Standard>,
}

impl Default for RegressionConfig {
    fn default() -> Self {
        Self { prior_scale: 2.5, inner_steps: 2, standards: BTreeMap::new() }
    }
}

/// The greatest `prior_scale`: above it, rounding is more than the prior.
const GREATEST_SCALE: f64 = 1000.0;

/// The most `inner_steps`.
const MOST_STEPS: usize = 100;

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
    /// A target among the inputs, or inputs that have no place in a design.
    #[error("there is nothing to predict `{target}` from: add an input of another kind than timestamp that is not the target")]
    NoInput {
        /// The target's name.
        target: String,
    },
}

/// Where a regression finds its target and inputs, and how they are measured.
#[derive(Clone, Debug)]
struct Layout {
    schema: Schema,
    task: Task,
    design: Design,
    /// Of each of the design's numbers.
    measures: Vec<Measure>,
    /// Units of the target, if they are fixed.
    target: Option<Standard>,
}

impl Layout {
    /// The layout of a regression of `task` whose target is of the kind named `expected`.
    fn new(schema: &Schema, task: &Task, expected: &'static str, config: &RegressionConfig) -> Result<Self, RegressionError> {
        let value = config.prior_scale;
        if !(value > 0.0 && value <= GREATEST_SCALE) {
            return Err(RegressionError::OutOfRange { field: "prior_scale", value, expected: "above 0, at most 1000" });
        }
        if !(1..=MOST_STEPS).contains(&config.inner_steps) {
            let value = config.inner_steps as f64;
            return Err(RegressionError::OutOfRange { field: "inner_steps", value, expected: "from 1 to 100" });
        }
        let column = |cell: usize| &schema.columns()[cell];
        let target = column(task.target);
        if target.kind.name() != expected {
            return Err(RegressionError::WrongTarget { column: target.name.clone(), found: target.kind.name(), expected });
        }
        let design = Design::new(schema, task.inputs.iter().copied());
        if design.width() == 0 || task.inputs.contains(&task.target) {
            return Err(RegressionError::NoInput { target: target.name.clone() });
        }
        for (name, standard) in &config.standards {
            let numbers = task.inputs.iter().chain([&task.target]).map(|cell| column(*cell));
            let is_named = |column: &Column| column.name == *name && column.kind == Kind::Number;
            if !numbers.into_iter().any(is_named) {
                return Err(RegressionError::NoNumber { column: name.clone() });
            }
            if !standard.is_right() {
                let Standard { location, scale } = *standard;
                return Err(RegressionError::BadStandard { column: name.clone(), location, scale });
            }
        }
        let mut measures = Vec::with_capacity(design.width());
        for &cell in &task.inputs {
            let measure = match (column(cell).kind, config.standards.get(&column(cell).name)) {
                (_, Some(standard)) => Measure::Fixed(*standard),
                (Kind::Number | Kind::Count, None) => Measure::Learnt,
                (Kind::Boolean | Kind::Category { .. } | Kind::Timestamp, None) => Measure::Unit,
            };
            measures.resize(measures.len() + Design::new(schema, [cell]).width(), measure);
        }
        let target = config.standards.get(&target.name).copied();
        Ok(Self { schema: schema.clone(), task: task.clone(), design, measures, target })
    }

    /// Numbers in a row of inputs.
    fn inputs(&self) -> usize {
        self.measures.len()
    }

    /// What evidence depends on.
    fn fingerprint(&self, kind: &str) -> u64 {
        let mut text = format!("{kind} 1\n");
        for cell in [&self.task.target].into_iter().chain(&self.task.inputs) {
            let Column { name, path, kind } = &self.schema.columns()[*cell];
            let capacity = if let Kind::Category { capacity } = kind { *capacity } else { 0 };
            text += &format!("{name:?} {path:?} {} {capacity}\n", kind.name());
        }
        xxh3_64(text.as_bytes())
    }
}
