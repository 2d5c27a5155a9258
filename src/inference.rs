//! Inference: how evidence becomes a posterior, whatever the model.
//!
//! The rule and its forgetting, estimators of the evidence lower bound, and optimisers for models whose statistics have no closed form.

pub mod layers;
pub mod rule;
