//! Exponential families: conjugate priors and posteriors in ordinary and natural parameters, their moments, divergences and predictives.
//!
//! One file a family. Natural parameters are those of the sufficient statistics that data add, so that learning is addition:
//! `to_natural(posterior) = to_natural(prior) + Σ statistics`. Log normalisers `A` leave out factors that hold no parameter of
//! the family, so a marginal likelihood is `A(posterior) − A(prior)` plus the base measure of the data. All is `f64`, pure, and
//! knows nothing of models.

pub mod beta;
pub mod dirichlet;
pub mod gamma;
pub mod lanes;
pub mod normal_gamma;
pub mod normal_wishart;
pub mod special;

#[cfg(test)]
pub(crate) mod testing;
