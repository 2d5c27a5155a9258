//! q(θ) of a network with what scoring and learning need of it, computed once a block.

use std::sync::{Arc, OnceLock};

use super::evidence::NetworkEvidence;
use super::likelihood::StudentNoise;
use super::{Network, Target};
use crate::inference::layers::{Parameters, Sampled, Shape};
use crate::inference::newton::{Normal, Prior};
use crate::models::inputs::Units;
use crate::models::pool::Loan;
use crate::models::vocabulary::Vocabulary;
use crate::models::{Evidence, NotFinite, Standard};

/// The least noise variance, in units of the target's own: below it, single precision is the noise.
const LEAST_NOISE: f64 = 1e-6;

/// What is believed.
#[derive(Debug)]
pub struct NetworkPosterior {
    pub(super) shape: Shape,
    pub(super) units: Units,
    /// Units of the target: 1 for what is no number, nothing for a number that has never varied.
    pub(super) target: Option<Standard>,
    /// The only value that the target has had, and how often.
    pub(super) constant: Option<(f64, f64)>,
    /// Noise of a normal likelihood, in units of the target.
    pub(super) noise: StudentNoise,
    pub(super) vocabulary: Vocabulary,
    pub(super) prior: Arc<Prior>,
    /// Of the weights.
    pub(super) normal: Normal,
    /// The same for arithmetic in single precision.
    pub(super) mean: Parameters<f32>,
    pub(super) variance: Parameters<f32>,
    pub(super) sampled: OnceLock<Loan<Sampled<f32>>>,
}

impl NetworkPosterior {
    /// What is believed where partitions with the evidence `own` are learnt, beside `others`.
    pub(super) fn new(network: &Network, own: &NetworkEvidence, others: &NetworkEvidence) -> Result<Self, NotFinite> {
        let layout = &network.layout;
        let mut evidence = others.clone();
        evidence.add(own);
        let aligned = |of: &NetworkEvidence| {
            let mut aligned = of.clone();
            aligned.conform(&evidence.vocabulary);
            aligned.site
        };
        let (own, others) = (aligned(own), aligned(others));
        let shape = layout.shape(evidence.vocabulary.len());
        let moments = &evidence.target;
        let (target, constant) = match layout.target {
            Target::Number { fixed, .. } => {
                let target = fixed.or_else(|| Standard::learnt(moments.count, moments.mean, moments.scatter));
                (target, (target.is_none() && moments.count > 0.0).then_some((moments.mean, moments.count)))
            }
            Target::Boolean | Target::Category { .. } => (Some(Standard { location: 0.0, scale: 1.0 }), None),
        };
        let noise = noise(network, &evidence, target.map_or(1.0, |target| target.scale));
        let prior = network.prior(&shape, &evidence.vocabulary);
        let square_scale = if layout.has_noise() { noise.square_scale } else { 1.0 };
        let normal = network.config.rule.normal(&prior, &own, &others, evidence.events, square_scale)?;
        let (mut mean, mut variance) = (Parameters::zeros(&shape), Parameters::zeros(&shape));
        mean.set(&normal.mean);
        variance.set(&normal.variance);
        if !(mean.is_finite() && variance.is_finite() && noise.square_scale.is_finite()) {
            return Err(NotFinite { quantity: "a weight's posterior in single precision".into() });
        }
        Ok(Self {
            units: layout.inputs.units(&evidence.inputs),
            target,
            constant,
            noise,
            vocabulary: evidence.vocabulary,
            prior,
            normal,
            mean,
            variance,
            sampled: OnceLock::new(),
            shape,
        })
    }

    /// The sampled networks, set when first asked for.
    pub(super) fn sampled(&self, network: &Network) -> &Sampled<f32> {
        self.sampled.get_or_init(|| {
            let mut sampled = network.samples(&self.shape);
            let deviations: Vec<f64> = self.normal.variance.iter().map(|variance| variance.sqrt()).collect();
            let mut deviation = Parameters::zeros(&self.shape);
            deviation.set(&deviations);
            sampled.set(&self.mean, &deviation);
            sampled
        })
    }
}

/// The noise's posterior: `(Σ r² + d) / (n + d)` with `d` made-up residuals of 1 that fade as the rule's made-up events do.
fn noise(network: &Network, evidence: &NetworkEvidence, scale: f64) -> StudentNoise {
    let rule = &network.config.rule;
    let made_up = rule.made_up(evidence.events) / rule.burn_in;
    let [count, squares] = evidence.residuals;
    let dof = count + made_up;
    let square_scale = (squares / scale / scale + made_up) / dof;
    StudentNoise { dof, square_scale: square_scale.max(LEAST_NOISE) }
}
