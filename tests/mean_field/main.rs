//! Models of one's own against oracles: finite differences, closed forms, a long NUTS run, and what must never change a bit.

#[path = "../support/noise.rs"]
mod noise;

#[allow(dead_code, reason = "the model is used here; the program is run as a process")]
#[path = "../../examples/robust_regression.rs"]
mod example;

mod data;
mod exact;
mod program;
mod refusals;
mod robust;
mod state;
