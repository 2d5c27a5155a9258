//! The faults.

pub mod answers;
pub mod brokers;
pub mod group;
pub mod process;
pub mod snapshots;
