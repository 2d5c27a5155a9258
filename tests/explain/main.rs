//! Accounts of surprisals against oracles: events whose corrupted fields are known, the chain rule by scores of events with
//! fields left out, and closed forms of what was to be expected.

#[path = "../support/noise.rs"]
mod noise;

mod blame;
mod data;
mod exact;
mod models;
