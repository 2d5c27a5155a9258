//! The variational online Newton rule for models with no conjugate form: networks above all.
//!
//! q(θ) is normal with a diagonal precision. Natural-gradient learning moves it by gradient and curvature of the expected log
//! likelihood (Khan & Rue 2023, section 5; Lin, Schmidt & Khan 2020; Shen et al. 2024; Jones, Chang & Murphy 2024), so both are
//! evidence that adds:
//!
//! - *curvature* H, the diagonal of the Gauss-Newton matrix `Σ JᵀUJ`, of which each event adds what it adds, and *weight* W, how
//!   many events are in it. Curvature where the mean was long ago says little of where it is now: what was seen before the n
//!   newest of t events is kept by `(t / (t + n))^r`, which makes it an average over the latest `1 / (1 + r)` of them, at any
//!   time.
//! - *shift* S, which the mean is read from.
//!
//! With N events in all, prior `N(0, 1/ρ)`, noise variance s² (1 for likelihoods that have none) and a few made-up events of
//! curvature h₀ that fade as others come:
//!
//! - `A = ρ s² W/N + H`, the metric of steps, in units of H;
//! - `μ = S / (H + h₀ W)`, before any event a random start;
//! - `Λ = ρ + N H / (W s² T)`, with the temperature T.
//!
//! A block with gradient `g = Σ Jᵀ(y − f)` moves μ to the minimum of the quadratic model `½ Δᵀ(A + B)Δ − Δᵀ(g − ρ s² n/N μ)`,
//! where B is the block's own Gauss-Newton matrix in full, known by its products with vectors: a few steps of conjugate gradients
//! with the diagonal as preconditioner (Martens 2010). The diagonal alone would overstep where weights act together. Then `S' =
//! (H' + h₀ W')(μ + Δ) − S of all others`. Other ways to a Δ, which take no products, are in [`Stepping`].

use pulp::Arch;

use super::NotFinite;
use super::layers::{Parameters, Real, Shape};
use super::optimiser::{Method, Optimiser, State};
use super::rule::Pace;
use crate::dist::lanes;

/// How the rule learns. The defaults do well on data of all kinds; they are not meant to be tuned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Newton {
    /// How many made-up events there are at first: the more, the more careful are the first steps.
    pub burn_in: f64,
    /// The curvature of a made-up event, for every weight.
    pub curvature: f64,
    /// r: how fast old curvature fades.
    pub fading: f64,
    /// T: 1 is Bayes' rule for what a diagonal can say; below, q is narrower.
    pub temperature: f64,
    /// Events that the curvature of q counts beside those that came.
    pub base: f64,
    /// How a block moves the mean.
    pub stepping: Stepping,
    /// The greatest change of a weight in one block, in standard deviations of its prior.
    pub longest: f64,
}

impl Default for Newton {
    fn default() -> Self {
        Self {
            burn_in: 64.0,
            curvature: 0.01,
            fading: 3.0,
            temperature: 0.01,
            base: 300.0,
            stepping: Stepping::default(),
            longest: 3.0,
        }
    }
}

/// How a block moves the mean. The variances take no steps: they follow from the curvature, whatever the way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stepping {
    /// To about the minimum of the quadratic model.
    Quadratic {
        /// Steps of conjugate gradients.
        iterations: usize,
    },
    /// As the improved variational online Newton method moves it (Shen et al. 2024, algorithm 1): with ĝ, ĥ and δ = ρ s²/N what
    /// gradient, curvature and prior are to an event, `m ← β m + (1 − β) ĝ` and `Δ = α (m / (1 − βᵗ) − δ μ) / max(ĥ + δ, h₀)`.
    /// Its correction of the curvature is not needed, since a Gauss-Newton matrix has no negative one; h₀ keeps an input that
    /// comes for the first time late, of which the average knows nothing, from being overstepped.
    Ivon {
        /// β, in [0, 1).
        decay: f64,
        /// α, above 0.
        rate: f64,
    },
    /// An optimiser's step on the negative evidence lower bound of an event.
    Descent(Optimiser),
}

impl Stepping {
    /// What snapshots tell it from others by; nothing of the default.
    pub fn fingerprint(&self) -> Option<&'static str> {
        match self {
            Self::Quadratic { .. } => None,
            Self::Ivon { .. } => Some("ivon"),
            Self::Descent(Optimiser { method: Method::Sgd { .. }, .. }) => Some("sgd"),
            Self::Descent(Optimiser { method: Method::Adam { .. }, .. }) => Some("adam"),
        }
    }

    /// How many numbers are remembered of a weight.
    pub fn remembered(&self) -> usize {
        let State { first, second, .. } = self.start(1);
        first.len() + second.len()
    }

    /// What is remembered before the first of steps of so many weights.
    pub fn start(&self, parameters: usize) -> State<f64> {
        match self {
            Self::Quadratic { .. } => State::default(),
            Self::Ivon { .. } => State { first: vec![0.0; parameters], ..State::default() },
            Self::Descent(optimiser) => optimiser.start(parameters),
        }
    }
}

impl Default for Stepping {
    fn default() -> Self {
        Self::Quadratic { iterations: 3 }
    }
}

/// Below 2, by which a step beyond the minimum of its block's quadratic model would lead as far from it on the other side.
const LONGEST_STRIDE: f64 = 1.5;

/// Takes gradients into a running average, and says what makes up for its having begun at 0.
fn average(memory: &mut State<f64>, decay: f64, gradients: impl Iterator<Item = f64>) -> f64 {
    memory.first.iter_mut().zip(gradients).for_each(|(mean, new)| *mean = decay * *mean + (1.0 - decay) * new);
    memory.steps += 1;
    1.0 / (1.0 - decay.powf(memory.steps as f64))
}

/// What is believed of the weights before any event: `N(0, 1/ρ)` each.
#[derive(Clone, Debug, PartialEq)]
pub struct Prior {
    /// ρ.
    pub precision: Vec<f64>,
    /// m₀, where the made-up events have the mean: random, so that units differ, and the same for all partitions.
    pub start: Vec<f64>,
}

/// A partition's evidence about the weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// W.
    pub weight: f64,
    /// H.
    pub curvature: Vec<f64>,
    /// S.
    pub shift: Vec<f64>,
}

impl Site {
    /// Of no events.
    pub fn nothing(parameters: usize) -> Self {
        Self { weight: 0.0, curvature: vec![0.0; parameters], shift: vec![0.0; parameters] }
    }

    /// Adds the evidence of other events.
    pub fn add(&mut self, other: &Self) {
        self.weight += other.weight;
        lanes::add(&mut self.curvature, &other.curvature);
        lanes::add(&mut self.shift, &other.shift);
    }

    /// Weighs all events by `factor`.
    pub fn scale(&mut self, factor: f64) {
        self.weight *= factor;
        self.curvature.iter_mut().chain(&mut self.shift).for_each(|x| *x *= factor);
    }

    /// Whether all numbers are finite.
    pub fn is_finite(&self) -> bool {
        self.weight.is_finite() && lanes::all_finite(&self.curvature) && lanes::all_finite(&self.shift)
    }
}

/// q(θ) and what steps are measured by.
#[derive(Clone, Debug, PartialEq)]
pub struct Normal {
    /// μ.
    pub mean: Vec<f64>,
    /// 1/Λ.
    pub variance: Vec<f64>,
    /// Evidence of the sites whose mean it has.
    pub own: Site,
    /// Evidence of all sites.
    pub total: Site,
    /// s².
    pub noise: f64,
    /// N.
    pub events: f64,
}

impl Normal {
    /// `KL(q ‖ p) = ½ Σ ρ/Λ + ρμ² − 1 − ln(ρ/Λ)`.
    pub fn kl(&self, prior: &Prior) -> f64 {
        let each = self.mean.iter().zip(&self.variance).zip(&prior.precision).map(|((mean, variance), precision)| {
            let ratio = precision * variance;
            ratio + precision * mean * mean - 1.0 - ratio.ln()
        });
        0.5 * each.sum::<f64>()
    }
}

/// What a block says: sums over its events.
#[derive(Clone, Copy, Debug)]
pub struct News<'a, T> {
    /// How many, as far as they are believed.
    pub events: f64,
    /// How many, believed or not.
    pub rows: usize,
    /// `Σ Jᵀ(y − f)`, in expectation under q.
    pub gradient: &'a Parameters<T>,
    /// The diagonal of `Σ JᵀUJ`.
    pub curvature: &'a Parameters<T>,
}

/// The partition that learns.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Its evidence.
    pub site: &'a Site,
    /// Its events.
    pub events: f64,
}

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// `√(Δᵀ Λ Δ)`.
    pub norm: f64,
    /// Whether a weight's change was cut, or the step given up because the quadratic model had no minimum in single precision.
    pub clipped: bool,
}

/// Vectors of conjugate gradients, reused from block to block.
#[derive(Clone, Debug)]
pub struct Scratch<T> {
    metric: Parameters<T>,
    inverse: Parameters<T>,
    residual: Parameters<T>,
    direction: Parameters<T>,
    image: Parameters<T>,
    step: Parameters<T>,
}

impl<T: Real> Scratch<T> {
    /// Vectors for weights of this shape.
    pub fn new(shape: &Shape) -> Self {
        let zeros = Parameters::zeros(shape);
        Self {
            metric: zeros.clone(),
            inverse: zeros.clone(),
            residual: zeros.clone(),
            direction: zeros.clone(),
            image: zeros.clone(),
            step: zeros,
        }
    }
}

/// How the metric is made of evidence, W with what is made up: `A = ridge · ρ + H + floor`, and `Λ = ρ + scale · (H + floor)`.
#[derive(Clone, Copy, Debug)]
struct Balance {
    weight: f64,
    ridge: f64,
    floor: f64,
    scale: f64,
}

impl Newton {
    /// How many made-up events are left after `events`.
    pub fn made_up(&self, events: f64) -> f64 {
        self.burn_in * (self.burn_in / (self.burn_in + events)).powf(self.fading)
    }

    /// What is kept of sums over `seen` events when `fresh` ones come.
    pub fn keep(&self, seen: f64, fresh: f64) -> f64 {
        ((self.burn_in + seen) / (self.burn_in + seen + fresh)).powf(self.fading)
    }

    fn balance(&self, weight: f64, events: f64, noise: f64) -> Balance {
        let made_up = self.made_up(events);
        let weight = weight + made_up;
        Balance {
            weight,
            ridge: noise * weight / (events + self.burn_in),
            floor: self.curvature * made_up,
            scale: (events + self.base) / (weight * noise * self.temperature),
        }
    }

    /// The mean that evidence has: `S / (H + h₀ W)`, of none the start.
    fn mean(&self, prior: &Prior, site: &Site) -> Vec<f64> {
        if site.weight > 0.0 {
            let steady = self.curvature * site.weight;
            site.shift.iter().zip(&site.curvature).map(|(shift, curvature)| shift / (curvature + steady)).collect()
        } else {
            prior.start.clone()
        }
    }

    /// q(θ) where sites with sum `own` learn, beside `others`, by `events` events in all, with noise of variance `noise`.
    pub fn normal(&self, prior: &Prior, own: &Site, others: &Site, events: f64, noise: f64) -> Result<Normal, NotFinite> {
        let mut total = others.clone();
        total.add(own);
        let Balance { floor, scale, .. } = self.balance(total.weight, events, noise);
        let mean = self.mean(prior, if own.weight > 0.0 { own } else { others });
        let mut variance = vec![0.0; mean.len()];
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for (variance, (precision, curvature)) in variance.iter_mut().zip(prior.precision.iter().zip(&total.curvature)) {
                    *variance = 1.0 / (precision + scale * (curvature + floor));
                }
            },
        );
        let normal = Normal { mean, variance, own: own.clone(), total, noise, events };
        if lanes::all_finite(&normal.mean) && lanes::all_finite(&normal.variance) {
            Ok(normal)
        } else {
            Err(NotFinite { quantity: "a weight's posterior".into() })
        }
    }

    /// Moves a site of those with sum `own` so that their mean is drawn to that of `news` by its share of all evidence, own and
    /// `others`: means that several learners have come to by themselves are averaged, since their steps, which each took as if
    /// alone, would together go too far (McMahan et al. 2017).
    pub fn reconcile(&self, prior: &Prior, own: &Site, others: &Site, news: &Site, site: &mut Site) {
        if own.weight <= 0.0 || news.weight <= 0.0 {
            return;
        }
        let (ours, theirs) = (self.mean(prior, own), self.mean(prior, news));
        let steady = |site: &Site| self.curvature * site.weight;
        for i in 0..ours.len() {
            let weight = |of: &Site| of.curvature[i] + steady(of);
            let share = weight(news) / (weight(own) + weight(others));
            site.shift[i] = weight(site) * (ours[i] + share * (theirs[i] - ours[i]));
        }
    }

    /// How much longer the steps of a learner are that has the share `own` of all evidence: since means are averaged
    /// ([`Newton::reconcile`]), each would else go as far as one learner goes by a part of the blocks, and averages bear longer steps,
    /// being less noisy.
    fn stride(own: f64, total: f64) -> f64 {
        if own > 0.0 { (total / own).cbrt().min(LONGEST_STRIDE) } else { 1.0 }
    }

    /// The site with a block in it, and how the step went. `memory` is what [`Stepping::start`] begins and goes from block to
    /// block of the partition, and on an error is to be dropped with what was to be learnt; `product` writes `B v`, the block's
    /// Gauss-Newton matrix times a vector.
    #[allow(clippy::too_many_arguments)]
    pub fn learn<T: Real>(
        &self,
        prior: &Prior,
        normal: &Normal,
        place: Place<'_>,
        pace: Pace,
        news: News<'_, T>,
        memory: &mut State<f64>,
        scratch: &mut Scratch<T>,
        product: impl FnMut(&Parameters<T>, &mut Parameters<T>),
    ) -> Result<(Site, Step), NotFinite> {
        let Pace { retention, weight } = pace;
        let fresh = weight * news.events;
        let Place { site, events } = place;
        let keep = retention * self.keep(retention * events, fresh);
        let events = normal.events - (1.0 - retention) * events + fresh;
        let total_weight = normal.total.weight - (1.0 - keep) * site.weight + fresh;
        let Balance { weight: total, ridge, floor, .. } = self.balance(total_weight, events, normal.noise);
        let pull = normal.noise * fresh / (events + self.burn_in);
        // The metric without the block, and the gradient with the prior's.
        let count = prior.start.len();
        let (mut old, mut gradient): (Vec<f64>, Vec<f64>) = (Vec::with_capacity(count), news.gradient.flat());
        let mut curvature: Vec<f64> = news.curvature.flat();
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for i in 0..count {
                    let faded = normal.total.curvature[i] - (1.0 - keep) * site.curvature[i];
                    old.push(ridge * prior.precision[i] + floor + if faded > 0.0 { faded } else { 0.0 });
                    gradient[i] = weight * gradient[i] - pull * prior.precision[i] * normal.mean[i];
                    curvature[i] *= weight;
                }
            },
        );
        // A step goes by the mean over all rows: by that over what is believed, a block that is hardly believed would move the
        // mean as far as any.
        let an_event = 1.0 / (weight * news.rows.max(1) as f64);
        let (steps, mut clipped) = match self.stepping {
            Stepping::Quadratic { iterations } => {
                let found = solve(iterations, T::of(weight), &old, &curvature, &gradient, scratch, product);
                (scratch.step.flat(), !found)
            }
            Stepping::Ivon { decay, rate } => {
                let likelihood = news.gradient.flat::<f64>().into_iter().map(|g| weight * an_event * g);
                let unbiased = average(memory, decay, likelihood);
                let step = |i: usize| {
                    let slope = unbiased * memory.first[i] - an_event * pull * prior.precision[i] * normal.mean[i];
                    rate * slope / ((old[i] + curvature[i]) / total).max(self.curvature)
                };
                ((0..count).map(step).collect(), false)
            }
            Stepping::Descent(optimiser) => {
                let mut change = vec![0.0; count];
                let descent: Vec<f64> = gradient.iter().map(|g| -an_event * g / normal.noise).collect();
                let step = optimiser.step(memory, &mut change, &descent)?;
                (change, step.clipped)
            }
        };
        let mut learnt = site.clone();
        learnt.weight = keep * site.weight + fresh;
        let steady = self.curvature * (normal.own.weight - site.weight + learnt.weight);
        let stride = Self::stride(normal.own.weight, normal.total.weight);
        // How far each weight goes, within `longest` of its prior's standard deviations.
        let mut changes: Vec<f64> = steps.into_iter().map(|step| stride * step).collect();
        for (change, precision) in changes.iter_mut().zip(&prior.precision) {
            if *change * *change * precision > self.longest * self.longest {
                let longest = self.longest / precision.sqrt();
                (*change, clipped) = (change.clamp(-longest, longest), true);
            }
        }
        let mut squares = vec![0.0; count];
        Arch::new().dispatch(
            #[inline(always)]
            || {
                let [mean, variance, changes, fresh] =
                    [&normal.mean, &normal.variance, &changes, &curvature].map(|of| &of[..count]);
                let [own, own_shift] = [&normal.own.curvature, &normal.own.shift].map(|of| &of[..count]);
                let [before, before_shift] = [&site.curvature, &site.shift].map(|of| &of[..count]);
                let (after, after_shift) = (&mut learnt.curvature[..count], &mut learnt.shift[..count]);
                let squares = &mut squares[..count];
                for i in 0..count {
                    squares[i] = changes[i] * changes[i] / variance[i];
                    after[i] = keep * before[i] + fresh[i];
                    let whole = own[i] - before[i] + after[i] + steady;
                    after_shift[i] = whole * (mean[i] + changes[i]) - (own_shift[i] - before_shift[i]);
                }
            },
        );
        let step = Step { norm: lanes::sum(&squares, |square| square).sqrt(), clipped };
        if step.norm.is_finite() && learnt.is_finite() {
            Ok((learnt, step))
        } else {
            Err(NotFinite { quantity: "a weight's step".into() })
        }
    }
}

/// Puts into `scratch.step` about the Δ with `(old + factor · B) Δ = gradient`, by conjugate gradients from 0 with the diagonal
/// `old + curvature` as preconditioner; 0 if numbers give out, and then says so.
fn solve<T: Real>(
    iterations: usize,
    factor: T,
    old: &[f64],
    curvature: &[f64],
    gradient: &[f64],
    scratch: &mut Scratch<T>,
    mut product: impl FnMut(&Parameters<T>, &mut Parameters<T>),
) -> bool {
    let Scratch { metric, inverse, residual, direction, image, step } = scratch;
    metric.set(old);
    residual.set(gradient);
    let whole: Vec<f64> = old.iter().zip(curvature).map(|(old, new)| 1.0 / (old + new)).collect();
    inverse.set(&whole);
    step.clear();
    direction.combine([&*residual, &*inverse], |_, [r, p]| r * p);
    let mut along = residual.dot(direction);
    for _ in 0..iterations {
        if along == 0.0 {
            break;
        }
        product(direction, image);
        image.combine([&*metric, &*direction], |b, [a, d]| factor * b + a * d);
        let length = along / direction.dot(image);
        if !(length > 0.0 && length.is_finite()) {
            step.clear();
            return false;
        }
        let length = T::of(length);
        step.combine([&*direction], |x, [d]| x + length * d);
        residual.combine([&*image], |r, [b]| r - length * b);
        image.combine([&*residual, &*inverse], |_, [r, p]| r * p);
        let next = residual.dot(image);
        let turn = T::of(next / along);
        direction.combine([&*image], |d, [z]| z + turn * d);
        along = next;
    }
    true
}

#[cfg(test)]
mod tests;
