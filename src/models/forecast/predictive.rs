//! What is expected of the next event: a mixture of Student's t over all members of both experts, recalibrated.

use super::recalibration::Recalibration;
use crate::dist::special::trigamma;
use crate::dist::student::Student;
use crate::models::{INTERVAL, Prediction};

/// Squared distance, in scales, at which an event counts half for a member: c² of the weight `1/(1 + z²/c²)`, the EM weight of a
/// Student's t likelihood.
const ROBUST: f64 = 16.0;

/// The probability of the farthest tail that is told from others.
const LEAST_TAIL: f64 = 1e-40;

/// Steps of the search for a quantile at most.
const STEPS: usize = 200;

/// A quantile is found with one more step when the logarithm of the tail's probability is right to this.
const NEAR: f64 = 1e-4;

/// Members of which there is less have no say in a quantile.
const NO_WEIGHT: f64 = 1e-13;

/// One member's forecast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Member {
    /// Its share of its expert.
    pub weight: f64,
    /// Its predictive.
    pub student: Student,
    /// By what share uncertain coefficients widen the square of its scale.
    pub leverage: f64,
}

impl Member {
    /// How much an event at `x` is to count.
    pub fn robust_weight(&self, x: f64) -> f64 {
        let z = self.student.standardised(x);
        1.0 / (1.0 + z * z / ROBUST)
    }
}

/// One expert's forecast: the mixture of its members.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// The expert's share of the whole.
    pub weight: f64,
    /// Whose weights add up to 1.
    pub members: Vec<Member>,
}

impl Forecast {
    /// `ln p(x)` of each member.
    pub fn ln_densities(&self, x: f64) -> Vec<f64> {
        self.members.iter().map(|member| member.student.ln_density(x)).collect()
    }

    /// `ln Σ w p(x)`.
    pub fn ln_density(&self, x: f64) -> f64 {
        ln_mixture(self.members.iter().map(|member| (member.student.ln_density(x), member.weight)))
    }

    /// `P(X ≤ x)` and `P(X > x)`.
    pub fn tails(&self, x: f64) -> (f64, f64) {
        self.members.iter().fold((0.0, 0.0), |(lower, upper), member| {
            let (below, above) = member.student.tails(x);
            (lower + member.weight * below, upper + member.weight * above)
        })
    }

    /// The mean.
    pub fn mean(&self) -> f64 {
        self.members.iter().map(|member| member.weight * member.student.location).sum()
    }

    /// `−ln` of the probability of a number at least as far out on either side, `−ln(2 min(P, 1 − P))`.
    pub fn extremity(&self, x: f64) -> f64 {
        let (lower, upper) = self.tails(x);
        -(2.0 * lower.min(upper)).clamp(LEAST_TAIL, 1.0).ln()
    }
}

/// `ln Σ w exp(ln p)` of pairs of ln p and w.
fn ln_mixture(terms: impl Iterator<Item = (f64, f64)>) -> f64 {
    let terms: Vec<(f64, f64)> = terms.collect();
    let most = terms.iter().map(|(ln, _)| *ln).fold(f64::NEG_INFINITY, f64::max);
    most + (terms.iter().map(|(ln, weight)| weight * (ln - most).exp()).sum::<f64>() + f64::MIN_POSITIVE).ln()
}

/// The forecast of both experts.
#[derive(Clone, Debug)]
pub struct Predictive<'a> {
    /// The context's and the dynamics'.
    pub experts: [Forecast; 2],
    /// What past forecasts teach about this one.
    pub recalibration: &'a Recalibration,
}

impl Predictive<'_> {
    /// All members with their shares of the whole.
    fn members(&self) -> impl Iterator<Item = Member> + '_ {
        let share = |expert: &Forecast, member: &Member| Member { weight: expert.weight * member.weight, ..*member };
        self.experts.iter().flat_map(move |expert| expert.members.iter().map(move |member| share(expert, member)))
    }

    /// `P(X ≤ x)` and `P(X > x)` before recalibration.
    pub fn raw_tails(&self, x: f64) -> (f64, f64) {
        self.experts.iter().fold((0.0, 0.0), |(lower, upper), expert| {
            let (below, above) = expert.tails(x);
            (lower + expert.weight * below, upper + expert.weight * above)
        })
    }

    /// `ln p(x)`, and the standard deviation of `ln p(x | θ)` over members and their parameters.
    ///
    /// Given a member it is that of a regression with normal noise of unknown variance; members are weighted by what they make of x.
    pub fn ln_density(&self, x: f64) -> (f64, f64) {
        let experts = self.experts.iter().map(|expert| (expert.ln_density(x), expert.weight));
        let raw = ln_mixture(experts);
        let (lower, upper) = self.raw_tails(x);
        let (mut mean, mut square, mut within) = (0.0, 0.0, 0.0);
        for member in self.members().filter(|member| member.weight > 0.0) {
            let own = member.student.ln_density(x) - raw;
            let share = member.weight * own.exp();
            mean += share * own;
            square += share * own * own;
            within += share * spread(&member, x);
        }
        (raw + self.recalibration.ln_ratio(lower, upper), (within + (square - mean * mean).max(0.0)).sqrt())
    }

    /// The number with the probability `tail` above it, or below it, after recalibration.
    pub fn quantile(&self, tail: f64, upper: bool) -> f64 {
        let tail = self.recalibration.raw_tail(tail, upper);
        if tail <= 0.5 { self.raw_quantile(tail, upper) } else { self.raw_quantile(1.0 - tail, !upper) }
    }

    /// The same before recalibration: the root of `f = ln P(X > x) − ln tail`, by Halley's method within a bracket.
    fn raw_quantile(&self, tail: f64, upper: bool) -> f64 {
        let members: Vec<Member> = self.members().filter(|member| member.weight > NO_WEIGHT).collect();
        let mean: f64 = members.iter().map(|member| member.weight * member.student.location).sum();
        let square = |member: &Member| member.student.scale.powi(2) + (member.student.location - mean).powi(2);
        let spread = members.iter().map(|member| member.weight * square(member)).sum::<f64>().sqrt();
        let sign = if upper { 1.0 } else { -1.0 };
        // Outwards from the mean, in units of the spread; a start that is right for a logistic distribution.
        let place = |way: f64| mean + sign * way * spread;
        let (mut low, mut high) = (f64::NEG_INFINITY, f64::INFINITY);
        let mut way = 0.56 * ((1.0 - tail) / tail).ln().min(20.0);
        for _ in 0..STEPS {
            let x = place(way);
            let (mut beyond, mut density, mut slope) = (0.0, 0.0, 0.0);
            for Member { weight, student, .. } in &members {
                let (lower, above) = student.tails(x);
                let own = weight * student.ln_density(x).exp();
                let t = student.standardised(x);
                beyond += weight * if upper { above } else { lower };
                density += own;
                slope -= sign * own * (student.dof + 1.0) * t / ((student.dof + t * t) * student.scale);
            }
            let gap = (beyond / tail).ln();
            if gap > 0.0 {
                low = way
            } else {
                high = way
            }
            let newton = gap * beyond / density;
            let curvature = slope / density + density / beyond;
            let next = way + newton / (1.0 + 0.5 * newton * curvature).max(0.5) / spread;
            if gap.abs() <= NEAR && (next - way).abs() < 1.0 {
                // The step brings the gap to about its cube.
                return place(next);
            }
            way = match (low.is_finite(), high.is_finite()) {
                _ if next > low && next < high && (next - way).abs() < 4.0 => next,
                (true, true) => 0.5 * (low + high),
                (true, false) => low + 1.0 + low.abs(),
                _ => high - 1.0 - high.abs(),
            };
            if place(way) == x {
                break;
            }
        }
        place(way)
    }

    /// What was expected of `x`: the median, and the central interval.
    pub fn prediction(&self, x: f64) -> Option<Prediction> {
        let tail = 0.5 * (1.0 - INTERVAL);
        let (lower, upper) = self.raw_tails(x);
        let prediction = Prediction {
            expected: self.quantile(0.5, false),
            lower: self.quantile(tail, false),
            upper: self.quantile(tail, true),
            probability: self.recalibration.lower_tail(lower, upper),
        };
        let Prediction { expected, lower, upper, probability } = prediction;
        [expected, lower, upper, probability].iter().all(|number| number.is_finite()).then_some(prediction)
    }
}

/// `Var ln p(x | θ)` of a member: see [`LinearRegression`](crate::models::regression::LinearRegression), whose noise has the precision
/// `Gamma(a, b)` and whose predictor the variance h in units of the noise's:
/// `¼ (ψ₁(a) − 2 d²/b + a d⁴/b² + 4 h d² a/b + 2 h²)` at a gap d.
fn spread(member: &Member, x: f64) -> f64 {
    let (a, h, z) = (0.5 * member.student.dof, member.leverage, member.student.standardised(x));
    let square = z * z * (1.0 + h) / a;
    0.25 * (trigamma(a) + square * (a * square - 2.0) + h * (4.0 * a * square + 2.0 * h)).max(0.0)
}
