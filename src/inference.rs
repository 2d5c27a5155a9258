//! Inference: how evidence becomes a posterior, whatever the model.
//!
//! The rule and its forgetting; expectations of likelihoods under a normal predictor; estimators of the evidence lower bound, and
//! optimisers for models whose statistics have no closed form.

pub mod elbo;
pub mod layers;
pub mod likelihood;
pub mod mean_field;
pub mod newton;
pub mod optimiser;
pub mod quadrature;
pub mod rule;

/// A number that is not finite, where one would have entered the state.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{quantity} is not finite")]
pub struct NotFinite {
    /// What was being computed.
    pub quantity: String,
}
