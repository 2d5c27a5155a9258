//! The Kafka stream against a real broker: transactions, rebalances, restoring, back-pressure, and errors that people meet.
//!
//! The tests of this binary share one broker, but for those that stop it or set it up otherwise; each has topics and a group of its
//! own.

#[path = "../support/mod.rs"]
mod support;

mod commits;
mod copier;
mod faults;
mod reading;
mod rebalances;
mod restore;
