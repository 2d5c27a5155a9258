//! Exponential families: conjugate priors and posteriors in ordinary and natural parameters, their moments, divergences and predictives.
//!
//! One file a family, each an [`ExponentialFamily`](family::ExponentialFamily). Natural parameters are those of the sufficient
//! statistics that data add, so that learning is addition: `η(posterior) = η(prior) + Σ statistics`. Log normalisers `A` leave out
//! factors that hold no parameter of the family, so a marginal likelihood is `exp(A(posterior) − A(prior))` times the base measure
//! of the data. All is `f64`, pure, and knows nothing of models.

pub mod bernoulli;
pub mod beta;
pub mod categorical;
pub mod diagonal;
pub mod dirichlet;
pub mod family;
pub mod gamma;
pub mod gaussian;
pub mod lanes;
pub mod normal_gamma;
pub mod normal_wishart;
pub mod poisson;
pub mod pooled;
pub mod solve;
pub mod special;
pub mod student;
pub mod triangle;

#[cfg(test)]
pub(crate) mod testing;
