//! One series: both experts, how well each has predicted of late, and what is to be learnt of past forecasts.

use super::average::Average;
use super::context::{Context, LEVELS};
use super::dynamics::Dynamics;
use super::predictive::{Forecast, Member, Predictive};
use super::recalibration::Recalibration;
use crate::models::{NotFinite, Standard, Surprisal};

/// Events with which a series begins, all of which count in full.
const FIRST: u64 = 20;

/// Numbers farther from 0 are refused: squares of their differences would be more than a snapshot may hold.
const LARGEST: f64 = 1e140;

/// The evidence of one series.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Series {
    /// What is normal at a time of the week.
    pub context: Context,
    /// How the series goes on.
    pub dynamics: Dynamics,
    /// Of the two.
    pub experts: Average<2>,
    /// How past forecasts turned out.
    pub recalibration: Recalibration,
    /// Events learnt.
    pub rows: u64,
    /// Its place in the order in which series were last learnt.
    pub seen: u64,
}

impl Series {
    /// What is expected of the event at `time_ms`; nothing before the first.
    pub fn predict(&self, time_ms: Option<i64>) -> Option<Predictive<'_>> {
        if self.rows == 0 {
            return None;
        }
        let [of_context, of_dynamics] = self.experts.weights(2);
        let context = Forecast { weight: of_context, members: self.context.predict(time_ms, self.dynamics.recent.step) };
        let dynamics = Forecast { weight: of_dynamics, members: self.dynamics.predict(context.mean()) };
        Some(Predictive { experts: [context, dynamics], recalibration: &self.recalibration })
    }

    /// The series' own spread, in which surprisal is measured; none before it has varied.
    fn units(&self) -> Option<Standard> {
        let whole = self.context.whole();
        Standard::learnt(whole.weight, whole.mean, whole.weight * self.context.variance(self.dynamics.recent.step))
    }

    /// How surprising `x` is. A series that has never varied changes with probability 1/(n + 2), as a regression's target does.
    pub fn score(&self, x: f64, time_ms: Option<i64>) -> Surprisal {
        let Some(predictive) = self.predict(time_ms) else { return Surprisal::default() };
        let Some(units) = self.units() else {
            let other = Standard::differs(x, self.context.whole().mean);
            return Surprisal { nats: if other { (self.rows as f64 + 2.0).ln() } else { 0.0 }, sd: 0.0 };
        };
        let (ln_density, sd) = predictive.ln_density(x);
        let nats = -ln_density - units.scale.ln();
        if nats.is_nan() || sd.is_nan() { Surprisal { nats: f64::INFINITY, sd: 0.0 } } else { Surprisal { nats, sd } }
    }

    /// `√(c² + d²)` of both experts' [extremities](Forecast::extremity): what is odd to both is odder than what is odd to one. That is no
    /// longer the log of a probability, and need not be: alarms go by how rare it is.
    pub fn extremity(&self, x: f64, time_ms: Option<i64>) -> f64 {
        let found = |predictive: Predictive<'_>| {
            let [context, dynamics] = predictive.experts.each_ref().map(|expert| expert.extremity(x));
            context.hypot(dynamics)
        };
        self.predict(time_ms).map_or(0.0, found)
    }

    /// The series with `x` in it.
    pub fn learn(&self, x: f64, time_ms: Option<i64>) -> Result<Self, NotFinite> {
        let refused = |quantity: &str| NotFinite { quantity: quantity.into() };
        if x.abs() > LARGEST {
            return Err(refused("the square of the target"));
        }
        let mut next = *self;
        next.rows += 1;
        let Some(predictive) = self.predict(time_ms) else {
            next.context.learn(time_ms, x, &[1.0; LEVELS]);
            next.dynamics = Dynamics::begin(x);
            return Ok(next);
        };
        let [context, dynamics] = &predictive.experts;
        let robust = self.rows > FIRST;
        let weights = |forecast: &Forecast| -> Vec<f64> {
            let weight = |member: &Member| if robust { member.robust_weight(x) } else { 1.0 };
            forecast.members.iter().map(weight).collect()
        };
        // Without a time the levels can't be told apart.
        if let Ok(levels) = context.ln_densities(x).as_slice().try_into() {
            next.context.average.learn(levels);
        }
        next.dynamics.average.learn(dynamics.ln_densities(x).as_slice().try_into().expect("one a member"));
        next.experts.learn(&[context.ln_density(x), dynamics.ln_density(x)]);
        let (lower, upper) = predictive.raw_tails(x);
        next.recalibration.learn(lower, upper);
        next.context.learn(time_ms, x, &weights(context));
        next.dynamics.learn(x, context.mean(), next.rows, &weights(dynamics), robust);
        if next.is_finite() { Ok(next) } else { Err(refused("the evidence of a series")) }
    }

    fn is_finite(&self) -> bool {
        let bins = self.context.bins.iter().all(|bin| (bin.weight + bin.mean + bin.variance).is_finite());
        let bank = self.dynamics.bank.iter().all(|regression| regression.numbers().all(f64::is_finite));
        let averages = [&self.context.average.ln_weights[..], &self.dynamics.average.ln_weights, &self.experts.ln_weights];
        let rest = self.dynamics.recent.numbers().into_iter().chain(averages.into_iter().flatten().copied());
        bins && bank && rest.chain(self.recalibration.counts).all(f64::is_finite)
    }
}
