//! What tests share.

#![allow(dead_code, missing_docs, reason = "each test uses its part")]

pub mod broker;
pub mod check;
pub mod noise;
pub mod topics;
pub mod tracer;
