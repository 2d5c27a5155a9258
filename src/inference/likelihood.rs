//! Likelihoods of generalised linear models, seen from their linear predictor η: `p(y | η)`, and its expectations where η is only
//! known to be `N(m, s²)`.
//!
//! With Bonnet's and Price's theorems the expectations are gradients: `∂E/∂m = E ∂ ln p/∂η` and `∂E/∂s² = ½ E ∂² ln p/∂η²`
//! (Opper & Archambeau 2009), which is all that a step of variational inference needs to know of the likelihood.

pub mod bernoulli;
pub mod poisson;

pub use bernoulli::Bernoulli;
pub use poisson::Poisson;

/// `ln p(y | η)` and its derivatives in η, at a point or in expectation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LogLikelihood {
    /// `ln p(y | η)`, in nats.
    pub value: f64,
    /// `∂ ln p / ∂η`.
    pub gradient: f64,
    /// `−∂² ln p / ∂η²`: what an observation adds to the precision of η. Never negative, since these likelihoods are log-concave.
    pub precision: f64,
}

/// What is expected of an observation before it is learnt.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Predictive {
    /// `ln E p(y | η)`, in nats.
    pub log_density: f64,
    /// Standard deviation of `ln p(y | η)`, in nats.
    pub sd: f64,
}

/// A likelihood with one linear predictor.
pub trait Likelihood: Copy + std::fmt::Debug + Send + Sync + 'static {
    /// `ln p(y | η)` and its derivatives.
    fn at(self, y: f64, eta: f64) -> LogLikelihood;

    /// `E ln p(y | η)` and the expectations of its derivatives under `η ~ N(mean, variance)`.
    fn expected(self, y: f64, mean: f64, variance: f64) -> LogLikelihood;

    /// The predictive under `η ~ N(mean, variance)`.
    fn predictive(self, y: f64, mean: f64, variance: f64) -> Predictive;
}

#[cfg(test)]
mod tests;
