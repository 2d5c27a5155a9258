//! Calibration: from surprisal to probability, and from probability to the decision whether people are told.
//!
//! Two questions, two records. *How rare is this surprisal among all that the model has learnt?* is answered by a [`Calibrator`], a sketch
//! that is learnt with its block and adds over partitions. *Is it time to tell somebody?* is answered by an [`Alarm`], which follows one
//! partition event by event: it smooths, calibrates, tells incidents apart and keeps to a [`Budget`].
//!
//! Pure numbers: it knows nothing of models, and times are arguments.

mod alarm;
mod budget;
mod incidents;
mod pareto;
mod rarity;
mod sketch;
mod tail;

pub use alarm::{Alarm, Alerts, Observation, Verdict};
pub use budget::Budget;
pub use sketch::Calibrator;
pub use tail::Tail;
