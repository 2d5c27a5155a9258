//! q(θ) of a mixture: weights, what each component expects, and tables computed once for many events.

use candle_core::Device;

use super::MixtureConfig;
use super::batch::Batch;
use super::discrete::posteriors;
use super::evidence::{ComponentId, MixtureEvidence};
use super::expectation::{Expectation, Expected};
use super::kernel::Matrix;
use super::predictive::Predictive;
use super::prior::Prior;
use super::statistics::{Moments, Numbers, Statistics};
use super::tensor::{ExpectationTensors, PredictiveTensors};
use super::units::{Layout, Units};
use super::weights::Weights;
use crate::device::given_up;
use crate::dist::family::ExponentialFamily;
use crate::models::NotFinite;
use crate::models::vocabulary::Vocabulary;

/// Share of all events that is held by components not known, at most.
const MOST_UNKNOWN: f64 = 1.0 / 3.0;

/// q(θ) of a mixture.
#[derive(Clone, Debug)]
pub struct MixturePosterior {
    /// The units of numbers.
    pub(super) units: Units,
    pub(super) vocabularies: Vec<Vocabulary>,
    /// The components in the order of their names, and their statistics in standard units.
    pub(super) ids: Vec<ComponentId>,
    pub(super) components: Vec<Statistics>,
    pub(super) prior: Prior,
    pub(super) weights: Weights,
    /// Whether each component has had a large enough share of the events to count as normal life.
    pub(super) known: Vec<bool>,
    pub(super) expectation: Expectation,
    pub(super) predictive: Predictive,
    /// The same tables on a device.
    tensors: Option<(ExpectationTensors, PredictiveTensors)>,
}

/// Which components are normal life: those that hold a share `rare` of all, and the largest. Of the others, the smallest are not
/// known, as long as together they hold no more than [`MOST_UNKNOWN`]: where all kinds of events are small, small is normal.
fn known(sizes: &[f64], rare: f64) -> Vec<bool> {
    let total: f64 = sizes.iter().sum();
    let no_larger = |size: f64| sizes.iter().filter(|other| **other <= size).sum::<f64>();
    let unknown = |size: f64| size < rare * total && no_larger(size) <= MOST_UNKNOWN * total;
    let largest = largest(sizes);
    sizes.iter().enumerate().map(|(k, size)| k == largest || !unknown(*size)).collect()
}

impl MixturePosterior {
    pub(super) fn new(layout: &Layout, settings: &MixtureConfig, evidence: &MixtureEvidence) -> Result<Self, NotFinite> {
        if !evidence.is_finite() {
            return Err(NotFinite { quantity: "the evidence".into() });
        }
        let Numbers::Diagonal(total) = &evidence.total.numbers else { unreachable!("columns' totals are diagonal") };
        let units = Units::new(total, &layout.fixed);
        let (mut ids, mut components) = (Vec::new(), Vec::new());
        for (id, statistics) in &evidence.components {
            ids.push(*id);
            components.push(units.standardise(statistics));
        }
        if ids.is_empty() {
            ids.push(ComponentId::ORIGIN);
            components.push(layout.shape().nothing(layout.full));
        }
        let prior = Prior::new(layout, settings.scale_prior_events, &units, evidence, &components);
        let sizes: Vec<f64> = components.iter().map(|component| component.events).collect();
        let weights = if settings.components == 1 { Weights::alone() } else { Weights::new(&sizes, settings.concentration) };
        let known = known(&sizes, settings.rare);
        let all: Vec<&Statistics> = components.iter().collect();
        let expectation = Expectation::new(&prior, &units.live, &all, weights.expected_ln.clone())?;
        let predictive = Predictive::new(&prior, &units.live, &all, expectation.numbers(), &weights, &known);
        Ok(Self {
            vocabularies: evidence.vocabularies.clone(),
            units,
            ids,
            components,
            prior,
            weights,
            known,
            expectation,
            predictive,
            tensors: None,
        })
    }

    /// The same, with its tables on `device` as well, if it will have them.
    pub(super) fn on(self, device: &Device) -> Self {
        let tensors = ExpectationTensors::new(&self.expectation, device)
            .and_then(|expectation| Ok((expectation, PredictiveTensors::new(&self.predictive, device)?)));
        Self { tensors: tensors.inspect_err(given_up).ok(), ..self }
    }

    /// The device's tables, if they can do `batch`.
    fn tensors(&self, batch: &Batch) -> Option<&(ExpectationTensors, PredictiveTensors)> {
        let full = matches!(self.expectation.numbers(), Expected::Full(_));
        self.tensors.as_ref().filter(|_| !full || batch.numbers.present.is_empty())
    }

    /// `ln p(x)` of each event in standard units, and its variance under q(θ).
    pub(super) fn log_density(&self, batch: &Batch) -> (Vec<f64>, Vec<f64>) {
        let (responsibilities, totals) = self
            .tensors(batch)
            .and_then(|(_, tensors)| tensors.responsibilities(&self.predictive, batch).inspect_err(given_up).ok())
            .unwrap_or_else(|| self.predictive.responsibilities(batch));
        let variances = self.predictive.variances(batch, &responsibilities);
        (totals, variances)
    }

    /// q(z) `[components, events]`, and each event's `ln Σ exp(E ln π + E ln p(x | θ))`.
    pub(super) fn responsibilities(&self, batch: &Batch) -> (Matrix, Vec<f64>) {
        self.tensors(batch)
            .and_then(|(tensors, _)| tensors.responsibilities(&self.expectation, batch).inspect_err(given_up).ok())
            .unwrap_or_else(|| self.expectation.responsibilities(batch))
    }

    /// Statistics of the batch under `responsibilities`, in standard units.
    pub(super) fn statistics(&self, batch: &Batch, responsibilities: &Matrix) -> Vec<Statistics> {
        self.tensors(batch)
            .and_then(|(tensors, _)| tensors.statistics(batch, responsibilities).inspect_err(given_up).ok())
            .unwrap_or_else(|| self.expectation.statistics(batch, responsibilities))
    }

    /// KL(q(θ) ‖ p(θ)) of weights and components.
    pub(super) fn kl(&self) -> Result<f64, NotFinite> {
        let mut sum = self.weights.kl;
        let (rates, chances) = posteriors(&self.prior, &self.components.iter().collect::<Vec<_>>());
        let quantity = |_| NotFinite { quantity: "the KL of a component's covariance".into() };
        let factored = |belief| self.prior.of_live(belief).factored().map_err(quantity);
        let full = matches!(self.expectation.numbers(), Expected::Full(_));
        let prior = if full { Some(factored(self.prior.numbers())?) } else { None };
        for component in &self.components {
            sum += match &component.numbers {
                Numbers::Diagonal(columns) => {
                    let kl = |(d, column): (usize, &Moments)| self.prior.observe_number(d, column).kl(&self.prior.number(d));
                    columns.iter().enumerate().filter(|(d, _)| self.units.live[*d]).map(kl).sum()
                }
                Numbers::Full(seen) => {
                    let posterior = factored(self.prior.observe_numbers(seen))?;
                    prior.as_ref().map_or(0.0, |prior| posterior.kl(prior))
                }
            };
            sum += component.categories.iter().enumerate().map(|(column, seen)| self.prior.values_kl(column, seen)).sum::<f64>();
        }
        sum +=
            rates.iter().zip(&self.prior.rates).flat_map(|(rates, prior)| rates.iter().map(|rate| rate.kl(prior))).sum::<f64>();
        let chances = chances.iter().zip(&self.prior.chances);
        sum += chances.flat_map(|(chances, prior)| chances.iter().map(|chance| chance.kl(prior))).sum::<f64>();
        Ok(sum)
    }
}

/// The first of the largest.
pub fn largest(sizes: &[f64]) -> usize {
    (0..sizes.len()).rev().max_by(|a, b| sizes[*a].total_cmp(&sizes[*b])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::known;

    #[test]
    fn what_holds_a_share_is_known_and_a_small_remainder_is_not() {
        assert_eq!(known(&[60.0, 3.0, 36.0, 1.0], 0.05), [true, false, true, false]);
        assert_eq!(known(&[60.0, 3.0, 36.0, 1.0], 0.0), [true; 4]);
    }

    #[test]
    fn where_all_kinds_are_small_only_a_third_stays_unknown() {
        // Fifty kinds of two percent each: none stands out as rare.
        assert_eq!(known(&[2.0; 50], 0.05), [true; 50]);
        // Sizes 1, 2, …, 30 of 465: the smallest seventeen hold 153, just under a third; the eighteenth would pass it.
        let sizes: Vec<f64> = (1..=30).map(f64::from).collect();
        let unknown = known(&sizes, 0.07).iter().filter(|known| !**known).count();
        assert_eq!(unknown, 17);
    }

    #[test]
    fn the_largest_is_always_known() {
        assert_eq!(known(&[1.0], 0.9), [true]);
        assert_eq!(known(&[1.0, 3.0], 0.9), [false, true]);
    }
}
