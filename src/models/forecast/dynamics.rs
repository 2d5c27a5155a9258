//! How the series goes on from where it is: a bank of regressions of its next step, weighted by evidence.
//!
//! The step `y = x_t − x_{t−1}` is regressed on the last two steps (autoregression), on how far means of the last 4, 16 and 64 events
//! are away (level and trend in error-correction form; Engle & Granger 1987), and on the season that the context expects. All are
//! differences, so the series' level has next to no say and a change of units changes nothing.

use super::average::Average;
use super::predictive::Member;
use super::regression::{MOST, Regression};

/// Features of each specification: a drift; with autoregression and means; with the season.
const SPECIFICATIONS: [usize; 3] = [1, 6, 8];

/// What a regression keeps of its evidence with each event: memories of 50 and 500 events.
const DISCOUNTS: [f64; 2] = [0.98, 0.998];

/// Members of the bank.
pub const MEMBERS: usize = SPECIFICATIONS.len() * DISCOUNTS.len();

/// Gains of the means that the series is drawn to.
const GAINS: [f64; 3] = [1.0 / 4.0, 1.0 / 16.0, 1.0 / 64.0];

/// What the typical step keeps of its evidence with each event.
const STEP_KEPT: f64 = 0.999;

/// Square of a step, in typical ones, at which it counts half in what is typical.
const FAR_STEP: f64 = 25.0;

/// Events that the mean and variance about the series' level are taken over.
const WINDOW: f64 = 512.0;

/// How far from the last event one may be, in the series' spread, to be taken as it is: one farther out is held at this. Its square would
/// else be in all that isn't weighed for thousands of events.
const FARTHEST: f64 = 100.0;

/// Events in a row so far out from which they are taken as they are: the series is elsewhere.
const LASTING: f64 = 3.0;

/// The bank, and what its features are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Dynamics {
    /// One a specification, for each discount.
    pub bank: [Regression; MEMBERS],
    /// Of the bank.
    pub average: Average<MEMBERS>,
    /// What the features are made of.
    pub recent: Recent,
}

/// The series as it was lately.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Recent {
    /// x_{t−1}.
    pub last: f64,
    /// The steps to x_{t−1} and to x_{t−2}.
    pub steps: [f64; 2],
    /// The season at x_{t−1}.
    pub season: f64,
    /// Exponential means with [`GAINS`].
    pub means: [f64; GAINS.len()],
    /// Mean over [`WINDOW`] events.
    pub level: f64,
    /// Variance about it.
    pub variance: f64,
    /// Mean square of the steps, far ones counting for less.
    pub step: f64,
    /// Discounted number of steps behind it.
    pub step_count: f64,
    /// Events in a row, up to x_{t−1}, that were farther out than [`FARTHEST`].
    pub far: f64,
}

/// Numbers in [`Recent`].
pub const RECENT: usize = 12;

impl Recent {
    /// As numbers, in the order of the fields.
    pub fn numbers(&self) -> [f64; RECENT] {
        let [a, b] = self.steps;
        let [quick, middle, slow] = self.means;
        [self.last, a, b, self.season, quick, middle, slow, self.level, self.variance, self.step, self.step_count, self.far]
    }

    /// What [`numbers`](Self::numbers) gave.
    pub fn from_numbers(numbers: [f64; RECENT]) -> Self {
        let [last, a, b, season, quick, middle, slow, level, variance, step, step_count, far] = numbers;
        Self { last, steps: [a, b], season, means: [quick, middle, slow], level, variance, step, step_count, far }
    }

    /// The square of a step before any is known: the typical one, and next to nothing of the series' spread and level.
    fn prior(&self) -> f64 {
        self.step + 1e-8 * self.variance + 1e-12 * self.level * self.level + 1e-100
    }

    /// `x` as it is learnt, and how many in a row have been far out with it. What has never varied has no spread to be held by.
    fn held(&self, x: f64) -> (f64, f64) {
        let most = FARTHEST * (self.variance.max(self.step) + 1e-12 * self.level * self.level).sqrt();
        let gap = x - self.last;
        let far = if self.variance > 0.0 && gap.abs() > most { self.far + 1.0 } else { 0.0 };
        (if far > 0.0 && far < LASTING { self.last + gap.clamp(-most, most) } else { x }, far)
    }

    fn features(&self, season: f64, prior: f64) -> [f64; MOST] {
        let Self { last, steps, means, .. } = *self;
        let [quick, middle, slow] = means.map(|mean| mean - last);
        [prior.sqrt(), steps[0], steps[1], quick, middle, slow, season - last, season - self.season]
    }

    /// Takes in `x`, the `rows`-th event, where the context expected `season`.
    fn learn(&mut self, x: f64, season: f64, rows: u64, prior: f64, robust: bool) {
        let step = x - self.last;
        let weight = if robust { 1.0 / (1.0 + step * step / (FAR_STEP * prior)) } else { 1.0 };
        self.step_count = STEP_KEPT * self.step_count + 1.0;
        self.step += weight * (step * step - self.step) / self.step_count;
        self.steps = [step, self.steps[0]];
        for (mean, gain) in self.means.iter_mut().zip(GAINS) {
            *mean += gain * (x - *mean);
        }
        let (gap, count) = (x - self.level, (rows as f64).min(WINDOW));
        self.level += gap / count;
        self.variance += (gap * gap - self.variance) / count;
        (self.last, self.season) = (x, season);
    }
}

impl Dynamics {
    /// A series that begins with `x`.
    pub fn begin(x: f64) -> Self {
        let recent = Recent { last: x, season: x, means: [x; GAINS.len()], level: x, ..Recent::default() };
        Self { recent, ..Self::default() }
    }

    /// What each member expects of the next event, where the context expects `season`.
    pub fn predict(&self, season: f64) -> Vec<Member> {
        let prior = self.recent.prior();
        let phi = self.recent.features(season, prior);
        let weights = self.average.weights(MEMBERS);
        let member = |(at, regression): (usize, &Regression)| {
            let mut member = regression.predict(&phi[..SPECIFICATIONS[at % SPECIFICATIONS.len()]], prior);
            member.student.location += self.recent.last;
            Member { weight: weights[at], ..member }
        };
        self.bank.iter().enumerate().map(member).collect()
    }

    /// Learns `x`, the `rows`-th event, with the weight that each member's prediction gives it.
    pub fn learn(&mut self, x: f64, season: f64, rows: u64, weights: &[f64], robust: bool) {
        let prior = self.recent.prior();
        let phi = self.recent.features(season, prior);
        let (x, far) = if robust { self.recent.held(x) } else { (x, 0.0) };
        self.recent.far = far;
        for (at, (regression, weight)) in self.bank.iter_mut().zip(weights).enumerate() {
            let features = SPECIFICATIONS[at % SPECIFICATIONS.len()];
            regression.learn(&phi[..features], x - self.recent.last, *weight, DISCOUNTS[at / SPECIFICATIONS.len()]);
        }
        self.recent.learn(x, season, rows, prior, robust);
    }
}

/// What member `at` is called.
pub fn name(at: usize) -> String {
    let specification = ["drift", "autoregression", "autoregression and season"][at % SPECIFICATIONS.len()];
    format!("{specification}, memory {:.0}", 1.0 / (1.0 - DISCOUNTS[at / SPECIFICATIONS.len()]))
}
