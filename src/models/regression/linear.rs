//! Linear regression: a number with normal noise, by exact conjugate Bayes.
//!
//! In standard units `y = α + βᵀz + ε`, `ε ~ N(0, σ²)`, with the Normal-inverse-Gamma prior
//!
//! - `β | σ² ~ N(0, σ² v I)`, `v = prior_scale²`;
//! - `α | σ² ~ N(0, σ²/κ₀)`, κ₀ = 0.1: next to free, since the target is measured about its mean;
//! - `σ² ~ InvGamma(½, ½ · 0.01)`: worth one event, with noise of a tenth of the target's standard deviation.
//!
//! The posterior is of the same family and the predictive a Student's t, both for all coefficients jointly (Bishop 2006, section 3.3;
//! Gelman et al. 2013, chapter 14). Surprisal is with respect to the target's own standard deviation, so that a change of units
//! changes nothing.

use candle_core::Device;

use crate::checkpoint::{CheckpointError, Reader, Tensor, TooLarge};
use crate::device::joint::FARTHEST;
use crate::dist::family::ExponentialFamily;
use crate::dist::gamma::Gamma;
use crate::dist::lanes::{self, LANES, Lanes};
use crate::dist::special::{LN_TAU, ln_gamma_half_step, trigamma};
use crate::dist::student::Student;
use crate::features::{RowsView, Schema, Task};
use crate::models::{
    Block, ColumnSummary, Evidence, Expected, Explanation, Learnt, Model, NotFinite, Part, Prediction, Progress, Standard,
    Surprisal,
};

use pulp::{Arch, Simd, WithSimd};

use super::batch::{Raw, Table};
use super::joint::{Joint, most_numbers};
use super::missing::Missing;
use super::prediction::predictions;
use super::predictor::{Predicted, Predictor, Prior};
use super::tensors::Placed;
use super::units::Units;
use super::words;
use super::{Layout, RegressionConfig, RegressionError, SMALLER};

/// How many events the prior intercept is worth.
const INTERCEPT_EVENTS: f64 = 0.1;

/// The prior of the noise's precision 1/σ².
const PRECISION: Gamma = Gamma { shape: 0.5, rate: 0.5 * 0.01 };

/// A number from other columns.
#[derive(Clone, Debug)]
pub struct LinearRegression {
    layout: Layout,
    config: RegressionConfig,
}

/// What data say about a linear regression: the joint moments of inputs and target.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearEvidence {
    joint: Joint,
    missing: Missing,
}

impl Evidence for LinearEvidence {
    fn add(&mut self, other: &Self) {
        self.joint.add(&other.joint);
        self.missing.add(&other.missing);
    }

    fn scale(&mut self, factor: f64) {
        self.joint.scale(factor);
        self.missing.scale(factor);
    }

    fn subtract(&mut self, other: &Self) -> bool {
        self.missing.subtract(&other.missing);
        self.joint.subtract(&other.joint)
    }

    fn events(&self) -> f64 {
        self.joint.count
    }

    fn gathered(&self) -> f64 {
        self.joint.count + self.missing.0[0]
    }

    fn tensors(&self) -> Vec<Tensor> {
        let mut tensors = self.joint.tensors("joint");
        tensors.push(self.missing.tensor());
        tensors
    }
}

/// q(α, β, σ²) of a linear regression.
#[derive(Clone, Debug)]
pub struct LinearPosterior {
    /// The target's units; none before it has varied.
    pub(super) target: Option<Standard>,
    /// α and β over σ.
    pub(super) predictor: Predictor,
    /// 1/σ², in units of the target.
    pub(super) precision: Gamma,
    /// Effective number of targets, and the only one there has been if they have not varied.
    seen: (f64, f64),
}

impl LinearRegression {
    /// The regression of `task`, whose target is a number column.
    pub fn new(schema: &Schema, task: &Task, config: RegressionConfig) -> Result<Self, RegressionError> {
        let layout = Layout::new(schema, task, "number", &config)?;
        TooLarge::check(most_numbers(layout.inputs()), SMALLER)?;
        Ok(Self { layout, config })
    }

    /// The same model with its products taken on `device`: worth it for large blocks of many inputs. Blocks that the device fails
    /// on are done by the processor; both agree to rounding.
    pub fn on(mut self, device: Device) -> Self {
        self.layout.device = Some(device);
        self
    }

    /// What `rows` say, to be added to `site`, as far as each is believed: `weights`, none where all are.
    fn news(&self, site: &LinearEvidence, rows: RowsView<'_>, weights: &[f64]) -> Result<LinearEvidence, NotFinite> {
        let table = Table::new(&self.layout, rows);
        let weighed = (!weights.is_empty()).then(|| table.places.iter().map(|row| weights[*row]).collect::<Vec<_>>());
        let joint = Raw::new(&site.joint, &Placed::new(&self.layout, &table)).statistics(weighed.as_deref());
        let missing = Missing::of(&self.layout, rows, weights);
        if joint.is_finite() { Ok(LinearEvidence { joint, missing }) } else { Err(not_finite()) }
    }
}

fn not_finite() -> NotFinite {
    NotFinite { quantity: "the scatter of inputs and target".into() }
}

impl Model for LinearRegression {
    type Evidence = LinearEvidence;
    type Posterior = LinearPosterior;

    fn kind(&self) -> &'static str {
        "linear_regression"
    }

    fn fingerprint(&self) -> u64 {
        self.layout.fingerprint(self.kind())
    }

    fn nothing(&self) -> LinearEvidence {
        LinearEvidence { joint: Joint::nothing(self.layout.inputs()), missing: Missing::nothing(&self.layout) }
    }

    fn restore(&self, tensors: &[Tensor]) -> Result<LinearEvidence, CheckpointError> {
        let reader = Reader(tensors);
        let joint = Joint::restore("joint", self.layout.inputs(), reader)?;
        Ok(LinearEvidence { joint, missing: Missing::restore(&self.layout, reader)? })
    }

    fn posterior(&self, evidence: &LinearEvidence) -> Result<LinearPosterior, NotFinite> {
        let joint = &evidence.joint;
        if !joint.is_finite() {
            return Err(not_finite());
        }
        let units = Units::new(&self.layout, joint.count, |input| joint.observed(input));
        let (count, mean, scatter) = (joint.count, joint.mean[joint.target()], joint.scatter(joint.target(), joint.target()));
        let target = self.layout.target.or_else(|| Standard::learnt(count, mean, scatter));
        // A target that has never varied has no say.
        let measured = target.unwrap_or(Standard { location: mean, scale: mean.abs().max(1.0) });
        let prior = Prior { variance: self.config.prior_scale.powi(2), intercept: INTERCEPT_EVENTS };
        let predictor = Predictor::new(units, joint, measured, prior)?;
        let precision = Gamma { shape: PRECISION.shape + 0.5 * count, rate: PRECISION.rate + 0.5 * predictor.unexplained };
        Ok(LinearPosterior { target, predictor, precision, seen: (count, mean) })
    }

    fn judges(&self, row: &[f64]) -> bool {
        !row[self.layout.task.target].is_nan()
    }

    fn score(&self, posterior: &LinearPosterior, rows: RowsView<'_>, surprisals: &mut Vec<Surprisal>) {
        let start = surprisals.len();
        surprisals.resize(start + rows.len(), Surprisal::default());
        let table = Table::new(&self.layout, rows);
        let found = match posterior.target {
            Some(target) => {
                let y = table.targets.iter().map(|y| (y - target.location) / target.scale);
                let y: Vec<f64> = y.map(|y| y.clamp(-FARTHEST, FARTHEST)).collect();
                let predicted = posterior.predictor.predict(&Placed::new(&self.layout, &table));
                Arch::new().dispatch(Students { precision: posterior.precision, predicted: &predicted, y: &y })
            }
            None => {
                // A target that has always been the same changes with probability 1/(n + 2) (Laplace's rule of succession).
                let (count, constant) = posterior.seen;
                let nats = |other| if other && count > 0.0 { (count + 2.0).ln() } else { 0.0 };
                let found = table.targets.iter().map(|y| nats(Standard::differs(*y, constant)));
                found.map(|nats| Surprisal { nats, sd: 0.0 }).collect()
            }
        };
        table.places.iter().zip(found).for_each(|(place, surprisal)| surprisals[start + place] = surprisal);
    }

    fn scales(&self, posterior: &LinearPosterior) -> Vec<(usize, f64)> {
        posterior.target.iter().map(|target| (self.layout.task.target, target.scale)).collect()
    }

    fn predict(&self, posterior: &LinearPosterior, rows: RowsView<'_>) -> Option<Vec<Option<Prediction>>> {
        Some(predictions(posterior, &Placed::new(&self.layout, &Table::new(&self.layout, rows)), rows.len()))
    }

    fn explain(&self, posterior: &LinearPosterior, row: RowsView<'_>) -> Option<Explanation> {
        let expected = || match posterior.target {
            Some(target) => {
                let table = Table::new(&self.layout, row);
                let Predicted { mean, variance } = *posterior.predictor.predict(&Placed::new(&self.layout, &table)).first()?;
                let Gamma { shape, rate } = posterior.precision;
                let student = Student::new(2.0 * shape, mean, (rate / shape * (1.0 + variance)).sqrt());
                Expected::students(&[(1.0, student)], target)
            }
            None => (posterior.seen.0 > 0.0).then(|| Expected::always(posterior.seen.1)),
        };
        Explanation::of_target(self, posterior, row, (&self.layout.schema, self.layout.task.target), expected)
    }

    fn shuns_doubted(&self) -> bool {
        true
    }

    fn learn(
        &self,
        _posterior: &LinearPosterior,
        site: &LinearEvidence,
        block: Block<'_>,
    ) -> Result<Learnt<LinearEvidence>, NotFinite> {
        let mut evidence = block.pace.apply(site, self.news(site, block.rows, block.weights)?);
        evidence.joint.settle();
        Ok(Learnt { evidence, progress: Progress::default() })
    }

    fn contribution(&self, site: &LinearEvidence, rows: RowsView<'_>) -> Option<LinearEvidence> {
        self.news(site, rows, &[]).ok()
    }

    fn divergence(&self, posterior: &LinearPosterior) -> Option<f64> {
        let precision = posterior.precision;
        Some(posterior.predictor.kl(precision.shape / precision.rate) + precision.kl(&PRECISION))
    }

    /// Coefficients that the data say something of.
    fn active(&self, posterior: &LinearPosterior) -> usize {
        posterior.predictor.axes.len()
    }

    fn columns(&self, evidence: &LinearEvidence) -> Vec<ColumnSummary> {
        words::columns(&self.layout, evidence.joint.count, |input| evidence.joint.observed(input), &evidence.missing, None)
    }

    fn parts(&self, posterior: &LinearPosterior) -> Vec<Part> {
        words::linear(&self.layout, posterior)
    }
}

impl LinearPosterior {
    /// Of each active input in standard units, in the order of [`Model::parts`]: the mean of its coefficient, and the coefficient's
    /// variance over σ². Its marginal is Student's t with 2a degrees of freedom and squared scale `variance · b/a`.
    pub fn coefficients(&self) -> Vec<Predicted> {
        self.predictor.coefficients()
    }

    /// The same of the target where every input is at its location, in standard units.
    pub fn intercept(&self) -> Predicted {
        self.predictor.intercept()
    }

    /// `Gamma(a, b)`, the posterior of 1/σ² in units of the target.
    pub fn precision(&self) -> Gamma {
        self.precision
    }
}

/// Surprisals under `y ~ N(η, 1/τ)`, `η ~ N(m, w/τ)`, `τ ~ Gamma(a, b)`, at a gap `d = y − m`.
///
/// The predictive is Student's t with 2a degrees of freedom, `ln Γ(a + ½) − ln Γ(a) − ½ ln(2π b (1 + w)) − (a + ½) ln(1 + d²/(2b (1 +
/// w)))`. Given τ the log density is `½ ln τ − ½ (√τ d − √w ε)²` and a constant, with ε standard normal; its variance over ε is
/// `τ d² w + ½ w²`, and over τ that of its mean `½ (ln τ − τ d² − w)`, where `Var ln τ = ψ₁(a)`, `Cov(ln τ, τ) = 1/b` and
/// `Var τ = a/b²`:
///
/// `Var ln p(y | θ) = ¼ (ψ₁(a) − 2 d²/b + a d⁴/b² + 4 w d² a/b + 2 w²)`.
struct Students<'a> {
    precision: Gamma,
    predicted: &'a [Predicted],
    y: &'a [f64],
}

impl WithSimd for Students<'_> {
    type Output = Vec<Surprisal>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<Surprisal> {
        let Self { precision: Gamma { shape, rate }, predicted, y } = self;
        let peak = ln_gamma_half_step(shape) - 0.5 * (LN_TAU + rate.ln());
        let logarithm = trigamma(shape);
        let mut out = Vec::with_capacity(y.len());
        for (predicted, y) in predicted.chunks(LANES).zip(y.chunks(LANES)) {
            let (mut gap, mut wide): (Lanes, Lanes) = ([0.0; LANES], [0.0; LANES]);
            for (i, (predicted, y)) in predicted.iter().zip(y).enumerate() {
                (gap[i], wide[i]) = (y - predicted.mean, predicted.variance);
            }
            let (mut spread, mut tail, mut square) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
            for i in 0..LANES {
                spread[i] = 1.0 + wide[i];
                square[i] = gap[i] * gap[i] / rate;
                tail[i] = 0.5 * square[i] / spread[i];
            }
            let (spread, tail) = (lanes::ln(spread), ln_1p(tail));
            let mut found = [Surprisal::default(); LANES];
            for i in 0..LANES {
                let nats = 0.5 * spread[i] + (shape + 0.5) * tail[i] - peak;
                let by_precision = logarithm + square[i] * (shape * square[i] - 2.0);
                let by_predictor = wide[i] * (4.0 * shape * square[i] + 2.0 * wide[i]);
                found[i] = Surprisal { nats, sd: 0.5 * (by_precision + by_predictor).max(0.0).sqrt() };
            }
            out.extend_from_slice(&found[..y.len()]);
        }
        out
    }
}

/// `ln(1 + x)` for x ≥ 0, to 4 ulp: where 1 + x rounds, the logarithm is stretched by as much.
#[inline(always)]
fn ln_1p(x: Lanes) -> Lanes {
    let rounded = x.map(|x| 1.0 + x);
    let logarithm = lanes::ln(rounded);
    let mut out = x;
    for i in 0..LANES {
        let kept = rounded[i] - 1.0;
        out[i] = if kept > 0.0 && kept < f64::INFINITY { logarithm[i] * (x[i] / kept) } else { x[i] };
    }
    out
}
