//! q(θ), its draws for scores, and what it says to people.

use nalgebra::DMatrix;

use super::joint::Joint;
use super::parameter::Estimate;
use super::{Draws, LogJoint, MeanFieldEvidence, Parameter};
use crate::inference::mean_field::Gaussians;
use crate::models::NotFinite;

/// q(θ): independent Gaussians on the unconstrained scale.
#[derive(Clone, Debug)]
pub struct MeanFieldPosterior {
    parameters: Vec<Parameter>,
    prior: Gaussians,
    /// Λ and Λμ of all evidence, without the prior.
    precision: Vec<f64>,
    shift: Vec<f64>,
    q: Gaussians,
    /// What scores are the mean over.
    draws: Draws,
}

/// The prior with evidence.
fn with(prior: &Gaussians, precision: &[f64], shift: &[f64]) -> Gaussians {
    let precision: Vec<f64> = prior.precision.iter().zip(precision).map(|(prior, evidence)| prior + evidence).collect();
    let mean = |i: usize| (prior.precision[i] * prior.mean[i] + shift[i]) / precision[i];
    Gaussians { mean: (0..precision.len()).map(mean).collect(), precision }
}

impl MeanFieldPosterior {
    /// Prior and evidence, with draws made of the noise `scoring` `[pairs, parameters]`.
    pub(super) fn new<L: LogJoint>(
        joint: &Joint<L>,
        evidence: &MeanFieldEvidence,
        scoring: &DMatrix<f64>,
    ) -> Result<Self, NotFinite> {
        let prior = joint.prior();
        let (precision, shift) = (evidence.precision().to_vec(), evidence.shift().to_vec());
        let q = with(&prior, &precision, &shift);
        let unconstrained = q.antithetic(scoring);
        let supports = joint.parameters().iter().flat_map(|parameter| std::iter::repeat_n(parameter.support, parameter.length));
        if !unconstrained.iter().zip(supports.cycle()).all(|(value, support)| value.is_finite() && support.reaches(*value)) {
            return Err(NotFinite { quantity: format!("the posterior of `{}`", joint.name()) });
        }
        let draws = joint.draws(&unconstrained).map_err(|error| joint.failed(&error))?;
        Ok(Self { parameters: joint.parameters().to_vec(), prior, precision, shift, q, draws })
    }

    /// Mean and standard deviation of each value of the parameter `name`, on the unconstrained scale; none if there is no such.
    pub fn moments(&self, name: &str) -> Vec<(f64, f64)> {
        self.indices(name).map(|(i, _)| (self.q.mean[i], self.q.sd(i))).collect()
    }

    /// Median and central 95 % of each value of the parameter `name`; none if there is no such.
    pub fn estimates(&self, name: &str) -> Vec<Estimate> {
        self.indices(name).map(|(i, parameter)| Estimate::new(parameter.support, self.q.mean[i], self.q.sd(i))).collect()
    }

    fn indices(&self, name: &str) -> impl Iterator<Item = (usize, &Parameter)> {
        let each = self.parameters.iter().flat_map(|parameter| std::iter::repeat_n(parameter, parameter.length));
        each.enumerate().filter(move |(_, parameter)| parameter.name == name)
    }

    pub(super) fn gaussians(&self) -> &Gaussians {
        &self.q
    }

    pub(super) fn draws(&self) -> &Draws {
        &self.draws
    }

    /// q without `share` of a site's evidence. A sum of what is not negative is never less than its parts, rounded or not, so the
    /// prior's precision is always left.
    pub(super) fn without(&self, site: &MeanFieldEvidence, share: f64) -> Gaussians {
        let rest = |all: &[f64], site: &[f64]| all.iter().zip(site).map(|(all, site)| all - share * site).collect::<Vec<_>>();
        with(&self.prior, &rest(&self.precision, site.precision()), &rest(&self.shift, site.shift()))
    }

    /// KL(q ‖ p) in nats: `½ Σ (Λ₀/Λ + Λ₀ (μ − μ₀)² − 1 + ln Λ/Λ₀)`.
    pub(super) fn divergence(&self) -> f64 {
        let Gaussians { mean, precision } = &self.prior;
        let each = (0..mean.len()).map(|i| {
            let ratio = precision[i] / self.q.precision[i];
            ratio + precision[i] * (self.q.mean[i] - mean[i]).powi(2) - 1.0 - ratio.ln()
        });
        0.5 * each.sum::<f64>()
    }

    /// Each value's estimate.
    pub(super) fn words(&self) -> Vec<(String, String)> {
        let mut words = Vec::new();
        for parameter in &self.parameters {
            for (index, estimate) in self.estimates(&parameter.name).into_iter().enumerate() {
                let name = match parameter.length {
                    1 => parameter.name.clone(),
                    _ => format!("{}[{index}]", parameter.name),
                };
                words.push((name, estimate.to_string()));
            }
        }
        words
    }
}
