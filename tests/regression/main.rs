//! The regressions against oracles: closed forms by another library's dense algebra, Monte Carlo, calibration under the prior, and numbers
//! meant to break them.

#[path = "../support/noise.rs"]
mod noise;

mod calibration;
mod data;
mod dense;
mod device;
mod glm;
mod golden;
mod inferred;
mod linear;
mod softmax;
mod state;
