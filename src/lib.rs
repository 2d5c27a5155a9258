//! Surprisal keeps a Bayesian model of an event stream up to date and says how surprising each event is.

pub mod app;
pub mod calibration;
pub mod checkpoint;
pub mod cli;
pub mod codec;
pub mod config;
pub mod device;
pub mod dist;
pub mod drift;
pub mod engine;
pub mod failpoint;
pub mod features;
pub mod inference;
pub mod models;
pub mod noise;
pub mod pipeline;
pub mod record;
pub mod stream;
pub mod telemetry;
