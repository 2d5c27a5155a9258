//! Unlearning on the in-memory log: what was forgotten was never there, whatever was learnt of it, and whatever operation is the last
//! one.
//!
//! The log to compare with has records that are no events in the place of the forgotten: the offsets of all others are the same.

#[path = "../support/mod.rs"]
mod support;

mod exact;
mod run;
mod spans;
