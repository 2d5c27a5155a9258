//! Surprisal keeps a Bayesian model of an event stream up to date and says how surprising each event is.

pub mod calibration;
pub mod checkpoint;
pub mod dist;
pub mod engine;
pub mod features;
pub mod models;
pub mod record;
