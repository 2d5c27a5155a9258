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
    q: Gaussians,
    /// What scores are the mean over.
    draws: Draws,
}

impl MeanFieldPosterior {
    /// Prior and evidence, with draws made of the noise `scoring` `[pairs, parameters]`.
    pub(super) fn new<L: LogJoint>(
        joint: &Joint<L>,
        evidence: &MeanFieldEvidence,
        scoring: &DMatrix<f64>,
    ) -> Result<Self, NotFinite> {
        let prior = joint.prior();
        let precision: Vec<f64> = prior.precision.iter().zip(evidence.precision()).map(|(prior, site)| prior + site).collect();
        let mean = |i: usize| (prior.precision[i] * prior.mean[i] + evidence.shift()[i]) / precision[i];
        let q = Gaussians { mean: (0..joint.dim()).map(mean).collect(), precision };
        let unconstrained = q.antithetic(scoring);
        if !unconstrained.iter().all(|value| value.is_finite()) {
            return Err(NotFinite { quantity: format!("the posterior of `{}`", joint.name()) });
        }
        let draws = joint.draws(&unconstrained).map_err(|error| joint.failed(&error))?;
        Ok(Self { parameters: joint.parameters().to_vec(), prior, q, draws })
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

    /// q without `share` of a site's evidence.
    pub(super) fn without(&self, site: &MeanFieldEvidence, share: f64) -> Gaussians {
        if share == 0.0 {
            return self.q.clone();
        }
        let Gaussians { mean, precision } = &self.q;
        let rest: Vec<f64> = precision.iter().zip(site.precision()).map(|(all, site)| all - share * site).collect();
        let mean = |i: usize| (precision[i] * mean[i] - share * site.shift()[i]) / rest[i];
        Gaussians { mean: (0..rest.len()).map(mean).collect(), precision: rest }
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
