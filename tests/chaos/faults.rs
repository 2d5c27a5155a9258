//! The faults.

pub mod process;
