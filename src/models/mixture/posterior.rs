//! q(θ) of a mixture: weights, what each component expects, and tables computed once for many events.

use candle_core::Device;

use super::MixtureConfig;
use super::discrete::{Discrete, gather, posteriors};
use super::evidence::{ComponentId, MixtureEvidence};
use super::frame::{Batch, Frame, Layout};
use super::full::{self, Density, Ellipse};
use super::kernel::{self, Gaussians, Matrix, Students};
use super::prior::Prior;
use super::statistics::{Moments, Numbers, Statistics};
use super::tensor::{ExpectationTensors, PredictiveTensors};
use crate::dist::beta::Beta;
use crate::dist::dirichlet;
use crate::dist::family::ExponentialFamily;
use crate::dist::normal_gamma::NormalGamma;
use crate::dist::special::{LN_TAU, digamma, ln_gamma_half_step};
use crate::models::NotFinite;
use crate::models::vocabulary::Vocabulary;

/// Share of all events that is held by components not known, at most.
const MOST_UNKNOWN: f64 = 1.0 / 3.0;

/// Stick-breaking weights: `π_k = v_k Π_{j before k} (1 − v_j)`, `q(v_k) = Beta(1 + N_k, α + Σ_{j after k} N_j)`, in the order of size
/// (Blei & Jordan 2006; sorting by size: Kurihara, Welling & Vlassis 2007).
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// E ln π_k.
    pub expected_ln: Vec<f64>,
    /// E π_k.
    pub mean: Vec<f64>,
    /// What is left for components not yet there: `E Π (1 − v_k)`.
    pub rest: f64,
    /// KL(q(v) ‖ p(v)).
    pub kl: f64,
}

impl Weights {
    /// The weights of components with `events` in each.
    pub fn new(events: &[f64], concentration: f64) -> Self {
        let mut order: Vec<usize> = (0..events.len()).collect();
        order.sort_by(|a, b| events[*b].total_cmp(&events[*a]));
        let mut weights = Self { expected_ln: vec![0.0; events.len()], mean: vec![0.0; events.len()], rest: 1.0, kl: 0.0 };
        let prior = Beta { yes: 1.0, no: concentration };
        let mut later: f64 = events.iter().sum();
        let mut ln_rest = 0.0;
        for k in order {
            later = (later - events[k]).max(0.0);
            let stick = Beta { yes: 1.0 + events[k], no: concentration + later };
            let [ln_yes, ln_no] = stick.to_mean();
            weights.expected_ln[k] = ln_rest + ln_yes;
            weights.mean[k] = weights.rest * stick.mean();
            weights.rest *= stick.no / (stick.yes + stick.no);
            weights.kl += stick.kl(&prior);
            ln_rest += ln_no;
        }
        weights
    }

    /// The weight of a component that is alone for good.
    pub fn alone() -> Self {
        Self { expected_ln: vec![0.0], mean: vec![1.0], rest: 0.0, kl: 0.0 }
    }
}

/// What learning needs: expected log densities of all components.
#[derive(Clone, Debug)]
pub struct Expectation {
    ln_weights: Vec<f64>,
    numbers: Expected,
    discrete: Discrete,
}

/// Expected log densities of numbers.
#[derive(Clone, Debug)]
pub enum Expected {
    /// Each by itself.
    Diagonal(Gaussians),
    /// All jointly, an ellipse a component.
    Full(Vec<Ellipse>),
}

impl Expectation {
    /// The tables of components with statistics in standard units and `ln_weights`, E ln π.
    pub fn new(prior: &Prior, live: &[bool], components: &[Statistics], ln_weights: Vec<f64>) -> Result<Self, NotFinite> {
        let dim = live.len();
        let mut table = Gaussians { dim, ..Gaussians::default() };
        let mut ellipses = Vec::new();
        let mut full = false;
        for component in components {
            match &component.numbers {
                Numbers::Diagonal(columns) => {
                    // Columns seen equally often share what depends on the count only.
                    let mut shared = (f64::NAN, 0.0);
                    for (d, column) in columns.iter().enumerate() {
                        let NormalGamma { mean, strength, dof, scatter } = prior.observe_number(d, column);
                        if dof != shared.0 {
                            shared = (dof, digamma(0.5 * dof) - LN_TAU - 1.0 / strength);
                        }
                        table.centre.push(mean);
                        table.weight.push(if live[d] { 0.5 * dof / scatter } else { 0.0 });
                        table.constant.push(if live[d] { 0.5 * (shared.1 - (0.5 * scatter).ln()) } else { 0.0 });
                    }
                }
                Numbers::Full(cloud) => {
                    full = true;
                    ellipses.push(ellipse(prior, cloud, live)?);
                }
            }
        }
        let numbers = if full { Expected::Full(ellipses) } else { Expected::Diagonal(table) };
        Ok(Self { ln_weights, numbers, discrete: Discrete::expected(prior, components) })
    }

    /// Responsibilities `r ∝ exp(E ln π + E ln p(x | θ))` `[components, events]`, and each event's log of the sum.
    pub fn responsibilities(&self, batch: &Batch) -> (Matrix, Vec<f64>) {
        let mut log = self.without_numbers(batch);
        match &self.numbers {
            Expected::Diagonal(table) => table.add_to(batch, &mut log),
            Expected::Full(ellipses) => full::add_to(ellipses, Density::Expected, batch, &mut log),
        }
        let totals = kernel::normalise(&mut log, batch.events);
        (log, totals)
    }

    /// Statistics of the batch under `responsibilities`, in standard units.
    pub fn statistics(&self, batch: &Batch, responsibilities: &Matrix) -> Vec<Statistics> {
        let numbers: Vec<Numbers> = match &self.numbers {
            Expected::Diagonal(table) => {
                kernel::moments(batch, responsibilities, &table.centre).into_iter().map(Numbers::Diagonal).collect()
            }
            Expected::Full(ellipses) => full::clouds(ellipses, batch, responsibilities).into_iter().map(Numbers::Full).collect(),
        };
        numbers.into_iter().enumerate().map(|(row, numbers)| gather(batch, responsibilities, row, numbers)).collect()
    }

    /// `E ln π + E ln p(x | θ)` of every column but the numbers `[components, events]`.
    pub fn without_numbers(&self, batch: &Batch) -> Matrix {
        let mut log = Matrix::filled(self.ln_weights.iter().copied(), batch.groups);
        self.discrete.add_to(batch, &mut log);
        log
    }

    /// The tables of numbers.
    pub fn numbers(&self) -> &Expected {
        &self.numbers
    }
}

fn ellipse(prior: &Prior, cloud: &super::statistics::Cloud, live: &[bool]) -> Result<Ellipse, NotFinite> {
    Ellipse::new(prior.observe_numbers(cloud), live)
        .map_err(|_| NotFinite { quantity: "the determinant of a component's covariance".into() })
}

/// Degrees of freedom of the background's numbers: tails that reach everywhere.
const BACKGROUND_DOF: f64 = 4.0;

/// Squared scale of the background's numbers, in variances of the column.
const BACKGROUND_SQUARE_SCALE: f64 = 2.0;

/// What scoring needs: predictive log densities of the components that are known, then of the background.
#[derive(Clone, Debug)]
pub struct Predictive {
    ln_weights: Vec<f64>,
    /// Of known components if diagonal, and of the background.
    students: Students,
    /// Of known components if full.
    ellipses: Vec<Ellipse>,
    discrete: Discrete,
}

impl Predictive {
    /// `ellipses` are those of the known components, if numbers are joint.
    fn new(
        prior: &Prior,
        live: &[bool],
        known: &[Statistics],
        ellipses: Vec<Ellipse>,
        weights: &[f64],
        background: Option<f64>,
    ) -> Self {
        let dim = live.len();
        let mut students = Students { dim, ..Students::default() };
        for component in known {
            if let Numbers::Diagonal(columns) = &component.numbers {
                let beliefs = columns.iter().enumerate().map(|(d, column)| prior.observe_number(d, column));
                push_students(&mut students, live, beliefs);
            }
        }
        if background.is_some() {
            push_students(&mut students, live, (0..dim).map(|_| background_number()));
        }
        let ln_weights = weights.iter().copied().chain(background).map(f64::ln).collect();
        Self { ln_weights, students, ellipses, discrete: Discrete::predictive(prior, known, background.is_some()) }
    }

    /// `ln Σ weight · density` of each event, in standard units.
    pub fn log_density(&self, batch: &Batch) -> Vec<f64> {
        let mut log = self.without_numbers(batch);
        full::add_to(&self.ellipses, Density::Predictive, batch, &mut log);
        self.students.add_to(batch, self.ellipses.len(), &mut log);
        kernel::normalise(&mut log, batch.events)
    }

    /// Log weights and densities of every column but the numbers `[known and background, events]`.
    pub fn without_numbers(&self, batch: &Batch) -> Matrix {
        let mut log = Matrix::filled(self.ln_weights.iter().copied(), batch.groups);
        self.discrete.add_to(batch, &mut log);
        log
    }

    /// The tables of numbers: the first rows are the ellipses, the rest are Student's t column by column.
    pub fn numbers(&self) -> (&[Ellipse], &Students) {
        (&self.ellipses, &self.students)
    }
}

/// The number whose predictive is the background's: κ = ∞ takes the mean's own uncertainty out of the way.
fn background_number() -> NormalGamma {
    NormalGamma { mean: 0.0, strength: f64::INFINITY, dof: BACKGROUND_DOF, scatter: BACKGROUND_DOF * BACKGROUND_SQUARE_SCALE }
}

fn push_students(table: &mut Students, live: &[bool], beliefs: impl Iterator<Item = NormalGamma>) {
    let mut shared = (f64::NAN, 0.0, 0.0);
    for (d, NormalGamma { mean, strength, dof, scatter }) in beliefs.enumerate() {
        if dof != shared.0 {
            let widening = if strength.is_finite() { (strength + 1.0) / strength } else { 1.0 };
            shared = (dof, widening, ln_gamma_half_step(0.5 * dof) - 0.5 * std::f64::consts::PI.ln());
        }
        let spread = scatter * shared.1;
        table.centre.push(mean);
        table.inverse.push(if live[d] { 1.0 / spread } else { 0.0 });
        table.exponent.push(0.5 * (dof + 1.0));
        table.peak.push(if live[d] { shared.2 - 0.5 * spread.ln() } else { 0.0 });
    }
}

/// q(θ) of a mixture.
#[derive(Clone, Debug)]
pub struct MixturePosterior {
    /// The units of numbers.
    pub(super) frame: Frame,
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
        let frame = Frame::new(total, &layout.fixed);
        let (mut ids, mut components) = (Vec::new(), Vec::new());
        for (id, statistics) in &evidence.components {
            ids.push(*id);
            components.push(frame.standardise(statistics));
        }
        if ids.is_empty() {
            ids.push(ComponentId::ORIGIN);
            components.push(layout.shape().nothing(layout.full));
        }
        let prior = Prior::new(layout, settings.scale_prior_events, &frame, evidence, &components);
        let sizes: Vec<f64> = components.iter().map(|component| component.events).collect();
        let single = settings.components == 1;
        let weights = if single { Weights::alone() } else { Weights::new(&sizes, settings.concentration) };
        let known = known(&sizes, settings.rare);
        let expectation = Expectation::new(&prior, &frame.live, &components, weights.expected_ln.clone())?;
        let (mut seen, mut ellipses, mut seen_weights, mut background) = (Vec::new(), Vec::new(), Vec::new(), weights.rest);
        for (k, component) in components.iter().enumerate() {
            if known[k] {
                seen.push(component.clone());
                seen_weights.push(weights.mean[k]);
                if let Expected::Full(all) = expectation.numbers() {
                    ellipses.push(all[k].clone());
                }
            } else {
                background += weights.mean[k];
            }
        }
        let background = (!single).then_some(background);
        let predictive = Predictive::new(&prior, &frame.live, &seen, ellipses, &seen_weights, background);
        Ok(Self {
            vocabularies: evidence.vocabularies.clone(),
            frame,
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
        Self { tensors: tensors.ok(), ..self }
    }

    /// The device's tables, if they can do `batch`.
    fn tensors(&self, batch: &Batch) -> Option<&(ExpectationTensors, PredictiveTensors)> {
        let full = matches!(self.expectation.numbers(), Expected::Full(_));
        self.tensors.as_ref().filter(|_| !full || batch.present.is_empty())
    }

    /// `ln p(x)` of each event in standard units.
    pub(super) fn log_density(&self, batch: &Batch) -> Vec<f64> {
        self.tensors(batch)
            .and_then(|(_, tensors)| tensors.log_density(&self.predictive, batch).ok())
            .unwrap_or_else(|| self.predictive.log_density(batch))
    }

    /// q(z) `[components, events]`.
    pub(super) fn responsibilities(&self, batch: &Batch) -> Matrix {
        self.tensors(batch)
            .and_then(|(tensors, _)| tensors.responsibilities(&self.expectation, batch).ok())
            .unwrap_or_else(|| self.expectation.responsibilities(batch))
            .0
    }

    /// Statistics of the batch under `responsibilities`, in standard units.
    pub(super) fn statistics(&self, batch: &Batch, responsibilities: &Matrix) -> Vec<Statistics> {
        self.tensors(batch)
            .and_then(|(tensors, _)| tensors.statistics(batch, responsibilities).ok())
            .unwrap_or_else(|| self.expectation.statistics(batch, responsibilities))
    }

    /// KL(q(θ) ‖ p(θ)) of weights and components.
    pub(super) fn kl(&self) -> Result<f64, NotFinite> {
        let mut sum = self.weights.kl;
        let (rates, chances) = posteriors(&self.prior, &self.components);
        for component in &self.components {
            sum += match &component.numbers {
                Numbers::Diagonal(columns) => {
                    let kl = |(d, column): (usize, &Moments)| self.prior.observe_number(d, column).kl(&self.prior.number(d));
                    columns.iter().enumerate().filter(|(d, _)| self.frame.live[*d]).map(kl).sum()
                }
                Numbers::Full(cloud) => {
                    let of_live = |belief: &_| self.prior.of_live(belief).factored();
                    let quantity = |_| NotFinite { quantity: "the KL of a component's covariance".into() };
                    let posterior = of_live(&self.prior.observe_numbers(cloud)).map_err(quantity)?;
                    posterior.kl(&of_live(&self.prior.numbers()).map_err(quantity)?)
                }
            };
            for (column, prior) in self.prior.values.iter().enumerate() {
                sum += dirichlet::kl(&self.prior.observe_values(column, component), prior);
            }
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
