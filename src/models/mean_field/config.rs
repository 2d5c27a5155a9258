//! How a model of one's own is learnt, and what makes no model.

use crate::device::{Device, DeviceError};

/// How a model of one's own is learnt and scored.
#[derive(Clone, Debug, PartialEq)]
pub struct MeanFieldConfig {
    /// Antithetic pairs of draws in a step, at least; there are never fewer than parameters.
    pub pairs: usize,
    /// Steps in a block at most.
    pub steps: usize,
    /// A block's steps end when no mean moves by more than this many standard deviations, and no precision by more than this share.
    pub tolerance: f64,
    /// Standard deviations that a mean moves in one step at most.
    pub longest_step: f64,
    /// Events of a partition that are kept, and learnt anew with each block, until there are so many: what is said of θ while
    /// little is known would otherwise be held for ever.
    pub first_events: usize,
    /// Antithetic pairs of draws that a score is the mean over.
    pub scoring_pairs: usize,
    /// What makes this noise another than others.
    pub seed: u64,
    /// Where tensors live: in f64 on the processor, in f32 on a GPU.
    pub device: Device,
}

impl Default for MeanFieldConfig {
    fn default() -> Self {
        Self {
            pairs: 8,
            steps: 8,
            tolerance: 0.03,
            longest_step: 4.0,
            first_events: 256,
            scoring_pairs: 32,
            seed: 0,
            device: Device::Cpu,
        }
    }
}

impl MeanFieldConfig {
    /// Refuses what is out of range.
    pub(super) fn check(&self) -> Result<(), MeanFieldError> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let ranges = [
            ("pairs", self.pairs as f64, (1..=4096).contains(&self.pairs), "from 1 to 4096"),
            ("steps", self.steps as f64, (1..=1000).contains(&self.steps), "from 1 to 1000"),
            ("first_events", self.first_events as f64, self.first_events <= 65536, "at most 65536"),
            ("tolerance", self.tolerance, positive(self.tolerance), "above 0"),
            ("longest_step", self.longest_step, positive(self.longest_step), "above 0"),
            ("scoring_pairs", self.scoring_pairs as f64, (1..=4096).contains(&self.scoring_pairs), "from 1 to 4096"),
        ];
        for (field, value, right, expected) in ranges {
            if !right {
                return Err(MeanFieldError::OutOfRange { field, value, expected });
            }
        }
        Ok(())
    }
}

/// A model that can't be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MeanFieldError {
    /// A field out of its range.
    #[error("the mean field's {field} is {value}; it must be {expected}")]
    OutOfRange {
        /// The field's name.
        field: &'static str,
        /// What it is.
        value: f64,
        /// What would be right.
        expected: &'static str,
    },
    /// A column that isn't in the schema, or has no number.
    #[error("`{model}` reads the column {column:?}, but {found}; add it to the columns, or change `LogJoint::columns`")]
    Column {
        /// The model's name.
        model: &'static str,
        /// The column's name.
        column: String,
        /// What there is in its place.
        found: String,
    },
    /// Parameters that make no prior.
    #[error("`{model}`, parameter {parameter:?}: {detail}")]
    Parameter {
        /// The model's name.
        model: &'static str,
        /// The parameter's name.
        parameter: String,
        /// What is wrong and what would be right.
        detail: String,
    },
    /// A likelihood that fails on three made-up events.
    #[error("`{model}`: the likelihood of {events} events under {draws} draws fails: {detail}")]
    Likelihood {
        /// The model's name.
        model: &'static str,
        /// Events it was given.
        events: usize,
        /// Draws it was given.
        draws: usize,
        /// What candle says, or what is wrong.
        detail: String,
    },
    /// The device can't be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
}
