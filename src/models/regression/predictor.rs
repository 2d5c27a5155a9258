//! q(α, β): the normal posterior of a linear predictor, in standard units and up to a common variance.

use super::batch::Lens;
use super::factor::Factor;
use super::joint::Joint;
use super::panel::Image;
use super::tensors::Placed;
use super::units::{Axis, Units};
use crate::models::{NotFinite, Standard};

/// What is known of α and β before any event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prior {
    /// Variance of each coefficient.
    pub variance: f64,
    /// 1 / variance of the intercept: how many events of weight 1 it is worth.
    pub intercept: f64,
}

/// How a factor that rounding has made indefinite is held up: this share of the weight of all events.
const RIDGE: f64 = 1e-12;

/// The posterior. With the rows' weighted mean `(z̄, t̄)`, scatter `(S, s, s_tt)` and weight n, and `g = κ₀ n / (κ₀ + n)`:
///
/// - `Λ = I/v + S + g z̄ z̄ᵀ`, `h = s + g z̄ t̄`, `β ~ N(m, Λ⁻¹)` with `Λ m = h`;
/// - the predictor at the centre `c = n z̄ / κ`, which is independent of β, is `N(n t̄ / κ, 1/κ)` with `κ = κ₀ + n`.
#[derive(Clone, Debug)]
pub struct Predictor {
    /// The axes.
    pub axes: Vec<Axis>,
    lens: Lens,
    /// c, in standard units.
    centre: Vec<f64>,
    factor: Factor,
    /// `L⁻¹ h`.
    along: Vec<f64>,
    /// The predictor at the centre.
    level: f64,
    /// κ.
    strength: f64,
    prior: Prior,
    /// What of the targets is not explained: `s_tt + g t̄² − hᵀ Λ⁻¹ h`.
    pub unexplained: f64,
}

/// Mean and variance of the linear predictor of an event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Predicted {
    /// E η.
    pub mean: f64,
    /// Var η.
    pub variance: f64,
}

/// The greatest predictor, and the greatest variance of one, that a likelihood is asked about: beyond, everything has been said.
pub const REACH: f64 = 1e6;

impl Predicted {
    /// The nearest that a likelihood can deal with.
    pub(super) fn within_reach(self) -> Self {
        Self { mean: self.mean.clamp(-REACH, REACH), variance: self.variance.min(REACH) }
    }
}

impl Predictor {
    /// The posterior of rows with statistics `joint`, whose target is measured in `target`.
    pub fn new(units: Units, joint: &Joint, target: Standard, prior: Prior) -> Result<Self, NotFinite> {
        let joint = units.anchored(joint);
        let Units { axes, still } = units;
        let columns: Vec<Option<usize>> = axes.iter().map(|axis| joint.column(axis.source)).collect();
        let inverse: Vec<f64> = axes.iter().map(|axis| 1.0 / axis.standard.scale).collect();
        let count = joint.count;
        let mean = |column: Option<usize>, standard: Standard| {
            let mean = column.map_or(0.0, |column| joint.mean[column]);
            if count > 0.0 { (mean - standard.location) / standard.scale } else { 0.0 }
        };
        let means: Vec<f64> = axes.iter().zip(&columns).map(|(axis, column)| mean(*column, axis.standard)).collect();
        let level = mean(Some(joint.target()), target);
        let strength = prior.intercept + count;
        let pull = prior.intercept * (count / strength);
        let scatter = |a: Option<usize>, b: Option<usize>| a.zip(b).map_or(0.0, |(a, b)| joint.scatter(a, b));
        let dim = axes.len();
        let factor = |ridge: f64| {
            Factor::new(dim, |a, b| {
                let product = scatter(columns[a], columns[b]) * inverse[a] * inverse[b] + pull * means[a] * means[b];
                if a == b { product + 1.0 / prior.variance + ridge } else { product }
            })
        };
        let factor = factor(0.0).or_else(|_| factor(RIDGE * count));
        let factor = factor.map_err(|_| NotFinite { quantity: "the precision of the coefficients".into() })?;
        let shift: Vec<f64> = (0..dim)
            .map(|a| scatter(columns[a], Some(joint.target())) * inverse[a] / target.scale + pull * means[a] * level)
            .collect();
        let along = factor.whiten(&shift);
        let total = joint.scatter(joint.target(), joint.target()) / target.scale / target.scale + pull * level * level;
        let unexplained = (total - along.iter().map(|x| x * x).sum::<f64>()).max(0.0);
        let centre: Vec<f64> = means.iter().map(|mean| mean * (count / strength)).collect();
        let predictor = Self {
            lens: Lens::new(&axes, &centre, still),
            level: level * (count / strength),
            axes,
            centre,
            factor,
            along,
            strength,
            prior,
            unexplained,
        };
        let finite = predictor.along.iter().chain(&predictor.centre).chain([&predictor.level, &unexplained]);
        let finite = finite.chain(predictor.factor.columns().as_flattened()).all(|x| x.is_finite());
        if finite && predictor.lens.is_finite() {
            Ok(predictor)
        } else {
            Err(NotFinite { quantity: "the mean of the coefficients".into() })
        }
    }

    /// The predictor of each row: `level + mᵀζ` and `1/κ + ζᵀΛ⁻¹ζ`, where ζ is the distance from the centre. What has never varied and
    /// does so here adds the variance that its coefficient has a priori.
    pub fn predict(&self, placed: &Placed<'_>) -> Vec<Predicted> {
        let images = match placed.predictions(&self.lens, 0, &self.factor, &self.along).as_deref() {
            Some([squares, along]) => {
                squares.iter().zip(along).map(|(square, along)| Image { along: *along, square: *square }).collect()
            }
            _ => self.lens.look(placed.table).images(&self.factor, &self.along),
        };
        let pairs = images.into_iter().zip(self.lens.news(placed.table));
        pairs
            .map(|(image, news)| Predicted {
                mean: self.level + image.along,
                variance: 1.0 / self.strength + image.square + self.prior.variance * news,
            })
            .collect()
    }

    /// Mean and variance of each coefficient.
    pub fn coefficients(&self) -> Vec<Predicted> {
        let pairs = self.factor.colour(&self.along).into_iter().zip(self.factor.variances());
        pairs.map(|(mean, variance)| Predicted { mean, variance }).collect()
    }

    /// Mean and variance of the predictor where every input is at its location.
    pub fn intercept(&self) -> Predicted {
        let white = self.factor.whiten(&self.centre);
        let along: f64 = white.iter().zip(&self.along).map(|(a, b)| a * b).sum();
        Predicted { mean: self.level - along, variance: 1.0 / self.strength + white.iter().map(|x| x * x).sum::<f64>() }
    }

    /// ln|Λ| of α and β together.
    pub fn ln_determinant(&self) -> f64 {
        self.strength.ln() + self.factor.ln_determinant()
    }

    /// `√(Δᵀ Λ Δ)` between the means of α and β here and in `other`, which has the same axes.
    pub fn distance(&self, other: &Self) -> f64 {
        let gaps = |(own, other): (Predicted, Predicted)| own.mean - other.mean;
        let coefficients: Vec<f64> = self.coefficients().into_iter().zip(other.coefficients()).map(gaps).collect();
        // The predictor at our centre.
        let slope: f64 = coefficients.iter().zip(&self.centre).map(|(gap, centre)| gap * centre).sum();
        let level = gaps((self.intercept(), other.intercept())) + slope;
        (self.strength * level * level + self.factor.square(&coefficients)).sqrt()
    }

    /// `KL(q ‖ p)` of α and β where both have the variance 1/τ beside, in expectation over τ with mean `precision`:
    /// `½ [κ₀ (Var α + τ E²α) + Σ (Var β_i + τ E²β_i)/v − dim − 1 + ln(κ/κ₀) + ln|Λ| + dim ln v]`.
    pub fn kl(&self, precision: f64) -> f64 {
        let square = |x: Predicted| x.variance + precision * x.mean * x.mean;
        let dim = self.axes.len() as f64;
        let Prior { variance, intercept } = self.prior;
        let coefficients: f64 = self.coefficients().into_iter().map(square).sum();
        let determinants = (self.strength / intercept).ln() + self.factor.ln_determinant() + dim * variance.ln();
        0.5 * (intercept * square(self.intercept()) + coefficients / variance - dim - 1.0 + determinants)
    }
}
