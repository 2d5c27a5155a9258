//! The program as people run it: events go into a real broker, the binary runs as a process with a configuration file, and what
//! it has committed is read back and counted.
//!
//! All tests of this binary share one broker; each has topics, group and model of its own.

#[path = "../support/mod.rs"]
mod support;

mod alerts;
mod commands;
mod denied;
mod events;
mod faults;
mod forget;
mod group;
#[allow(dead_code, reason = "shared with tests/chaos")]
mod log;
mod models;
mod plain;
mod poison;
#[allow(dead_code, reason = "shared with tests/chaos")]
mod process;
mod refusals;
mod restart;
mod scale;
mod setup;
