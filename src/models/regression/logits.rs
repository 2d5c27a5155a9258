//! q of the coefficients of several linear predictors, one a class: a normal with full covariance over all of them, in standard units.

use pulp::{Arch, Simd, WithSimd};

use super::batch::Lens;
use super::classes::pairs;
use super::factor::Factor;
use super::joint::Joint;
use super::panel::Panel;
use super::predictor::{Predicted, Prior, REACH};
use super::target::Coefficients;
use super::tensors::Placed;
use super::units::{Axis, Units};
use crate::dist::lanes::{LANES, Lanes};
use crate::models::NotFinite;

/// Mean `[classes]` and covariance `[classes, classes]` of an event's linear predictors.
#[derive(Clone, Debug, PartialEq)]
pub struct Logits {
    /// E η.
    pub mean: Vec<f64>,
    /// Cov η.
    pub covariance: Vec<f64>,
}

impl Logits {
    /// Mean and variance of `η_c − η_k`.
    pub fn difference(&self, c: usize, k: usize) -> Predicted {
        let classes = self.mean.len();
        let at = |row: usize, column: usize| self.covariance[row * classes + column];
        Predicted { mean: self.mean[c] - self.mean[k], variance: (at(c, c) + at(k, k) - 2.0 * at(c, k)).max(0.0) }
    }

    /// The nearest that a likelihood can deal with.
    fn within_reach(mut self) -> Self {
        let classes = self.mean.len();
        self.mean.iter_mut().for_each(|mean| *mean = mean.clamp(-REACH, REACH));
        let widest = (0..classes).map(|class| self.covariance[class * (classes + 1)]).fold(0.0, f64::max);
        if widest > REACH {
            self.covariance.iter_mut().for_each(|entry| *entry *= REACH / widest);
        }
        self
    }
}

/// The posterior. A coefficient vector is `[class][1, z]`, with `N(0, v)` for each a priori. A pseudo-observation of `η_c − η_k` adds
/// `(e_c − e_k)(e_c − e_k)ᵀ ⊗ w (1, z)(1, z)ᵀ` to the precision.
#[derive(Clone, Debug)]
pub struct LogitCoefficients {
    axes: Vec<Axis>,
    lens: Lens,
    classes: usize,
    factor: Factor,
    /// `L⁻¹ h`.
    along: Vec<f64>,
    /// Λ⁻¹ h.
    mean: Vec<f64>,
    /// A coefficient's, v.
    variance: f64,
}

/// What pseudo-observations of a contrast add up to in standard units: [`product`](Self::product) gives `Σ w (1, z)(1, z)ᵀ`, and
/// [`shift`](Self::shift) `Σ w t (1, z)`, by their entries.
struct Products<'a> {
    joint: &'a Joint,
    /// Which column of `joint` each axis is, if it has been met there.
    columns: Vec<Option<usize>>,
    /// 1/scale of each axis.
    inverse: &'a [f64],
    /// The weighted mean of each axis, in standard units.
    means: Vec<f64>,
    /// The weighted mean of the pseudo-targets t.
    level: f64,
}

impl<'a> Products<'a> {
    fn new(joint: &'a Joint, axes: &[Axis], inverse: &'a [f64]) -> Self {
        let columns: Vec<Option<usize>> = axes.iter().map(|axis| joint.column(axis.source)).collect();
        let mean = |(column, axis): (&Option<usize>, &Axis)| {
            (column.map_or(0.0, |column| joint.mean[column]) - axis.standard.location) / axis.standard.scale
        };
        let means = if joint.count > 0.0 { columns.iter().zip(axes).map(mean).collect() } else { vec![0.0; axes.len()] };
        Self { joint, columns, inverse, means, level: if joint.count > 0.0 { joint.mean[joint.target()] } else { 0.0 } }
    }

    fn scatter(&self, a: Option<usize>, b: Option<usize>) -> f64 {
        a.zip(b).map_or(0.0, |(a, b)| self.joint.scatter(a, b))
    }

    fn product(&self, a: usize, b: usize) -> f64 {
        let count = self.joint.count;
        match (a.checked_sub(1), b.checked_sub(1)) {
            (None, None) => count,
            (Some(a), None) | (None, Some(a)) => count * self.means[a],
            (Some(a), Some(b)) => {
                let scatter = self.scatter(self.columns[a], self.columns[b]) * self.inverse[a] * self.inverse[b];
                scatter + count * self.means[a] * self.means[b]
            }
        }
    }

    fn shift(&self, a: usize) -> f64 {
        let total = self.joint.count * self.level;
        a.checked_sub(1)
            .map_or(total, |a| self.scatter(self.columns[a], Some(self.joint.target())) * self.inverse[a] + total * self.means[a])
    }
}

impl Coefficients for LogitCoefficients {
    type Predicted = Logits;

    fn new(units: Units, pseudo: &[Joint], prior: Prior) -> Result<Self, NotFinite> {
        // As many pairs as there are.
        let classes = (1 + 8 * pseudo.len()).isqrt().div_ceil(2);
        let features = units.axes.len() + 1;
        let pseudo: Vec<Joint> = pseudo.iter().map(|joint| units.anchored(joint)).collect();
        let Units { axes, still } = units;
        let inverse: Vec<f64> = axes.iter().map(|axis| 1.0 / axis.standard.scale).collect();
        let products: Vec<Products> = pseudo.iter().map(|joint| Products::new(joint, &axes, &inverse)).collect();
        let size = features * features;
        // Between any two classes, and of each with itself.
        let mut blocks = vec![0.0; classes * classes * size];
        let mut shift = vec![0.0; classes * features];
        for ((c, k), products) in pairs(classes).zip(&products) {
            for a in 0..features {
                for b in 0..features {
                    let (product, at) = (products.product(a, b), a * features + b);
                    blocks[(c * classes + c) * size + at] += product;
                    blocks[(k * classes + k) * size + at] += product;
                    blocks[(k * classes + c) * size + at] = -product;
                }
                shift[c * features + a] += products.shift(a);
                shift[k * features + a] -= products.shift(a);
            }
        }
        let entry = |row: usize, column: usize| {
            let at = (row / features * classes + column / features) * size + row % features * features + column % features;
            blocks[at] + if row == column { 1.0 / prior.variance } else { 0.0 }
        };
        let factor = Factor::new(classes * features, entry);
        let factor = factor.map_err(|_| NotFinite { quantity: "the precision of the coefficients".into() })?;
        let along = factor.whiten(&shift);
        let mean = factor.colour(&along);
        if !mean.iter().chain(&along).all(|x| x.is_finite()) {
            return Err(NotFinite { quantity: "the mean of the coefficients".into() });
        }
        let lens = Lens::new(&axes, &vec![0.0; axes.len()], still);
        if !lens.is_finite() {
            return Err(NotFinite { quantity: "a column's spread".into() });
        }
        Ok(Self { axes, lens, classes, factor, along, mean, variance: prior.variance })
    }

    /// `E η_c = m_cᵀ (1, z)` and `Cov η = U Uᵀ`, where row c of U is `L⁻¹ (e_c ⊗ (1, z))`. What has never varied and does so here adds the
    /// variance that its coefficients have a priori.
    fn predict(&self, placed: &Placed<'_>) -> Vec<Logits> {
        let news = self.lens.news(placed.table);
        match placed.predictions(&self.lens, 1, &self.factor, &self.along) {
            Some(found) => news.iter().enumerate().map(|(event, news)| self.logits(&found, event, *news)).collect(),
            None => Arch::new().dispatch(Predict { of: self, panel: self.lens.look(placed.table), news }),
        }
    }

    fn ln_determinant(&self) -> f64 {
        self.factor.ln_determinant()
    }

    fn distance(&self, other: &Self) -> f64 {
        let gaps: Vec<f64> = self.mean.iter().zip(&other.mean).map(|(own, other)| own - other).collect();
        self.factor.square(&gaps).sqrt()
    }

    /// `½ [Σ (Var β + E²β)/v − dim + ln|Λ| + dim ln v]`.
    fn kl(&self) -> f64 {
        let squares: f64 = self.mean.iter().map(|mean| mean * mean).chain(self.factor.variances()).sum();
        let dim = self.mean.len() as f64;
        0.5 * (squares / self.variance - dim + self.factor.ln_determinant() + dim * self.variance.ln())
    }

    fn axes(&self) -> &[Axis] {
        &self.axes
    }

    fn coefficients(&self) -> Vec<Vec<Predicted>> {
        let (classes, features) = (self.classes, self.axes.len() + 1);
        let one = |class: usize, feature: usize| {
            let mut weights = vec![0.0; classes * features];
            (0..classes).for_each(|k| weights[k * features + feature] = -1.0 / classes as f64);
            weights[class * features + feature] += 1.0;
            let mean = weights.iter().zip(&self.mean).map(|(weight, mean)| weight * mean).sum();
            Predicted { mean, variance: self.factor.whiten(&weights).iter().map(|x| x * x).sum() }
        };
        (0..classes).map(|class| (0..features).map(|feature| one(class, feature)).collect()).collect()
    }
}

impl LogitCoefficients {
    /// Those of an event, from the lower triangle of all events' covariances and the means below it.
    fn logits(&self, found: &[Vec<f64>], event: usize, news: f64) -> Logits {
        let classes = self.classes;
        let (triangle, means) = found.split_at(found.len() - classes);
        let entry = |c: usize, k: usize| {
            let (row, column) = (c.max(k), c.min(k));
            triangle[row * (row + 1) / 2 + column][event] + if c == k { self.variance * news } else { 0.0 }
        };
        let covariance = (0..classes).flat_map(|c| (0..classes).map(move |k| (c, k))).map(|(c, k)| entry(c, k)).collect();
        Logits { mean: means.iter().map(|mean| mean[event]).collect(), covariance }.within_reach()
    }
}

struct Predict<'a> {
    of: &'a LogitCoefficients,
    panel: Panel,
    news: Vec<f64>,
}

impl WithSimd for Predict<'_> {
    type Output = Vec<Logits>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<Logits> {
        let Self { of: LogitCoefficients { axes, classes, factor, mean, variance, .. }, mut panel, news } = self;
        let (classes, features) = (*classes, axes.len() + 1);
        let groups = (classes * features).div_ceil(LANES);
        let columns = factor.columns();
        let mut images: Vec<Lanes> = vec![[0.0; LANES]; classes * groups];
        let mut found = Vec::with_capacity(news.len());
        let mut row = vec![1.0; features];
        for (event, news) in news.iter().enumerate() {
            row[1..].copy_from_slice(&panel.row_mut(event)[..features - 1]);
            images.fill([0.0; LANES]);
            for (class, image) in images.chunks_exact_mut(groups).enumerate() {
                // L⁻¹ is lower triangular.
                let first = class * features / LANES;
                for (feature, x) in row.iter().enumerate() {
                    let column = &columns[(class * features + feature) * groups..][..groups];
                    for (image, column) in image[first..].iter_mut().zip(&column[first..]) {
                        for i in 0..LANES {
                            image[i] += x * column[i];
                        }
                    }
                }
            }
            let dot = |one: &[f64]| one.iter().zip(&row).map(|(weight, x)| weight * x).sum::<f64>();
            let mut logits =
                Logits { mean: mean.chunks_exact(features).map(dot).collect(), covariance: vec![0.0; classes * classes] };
            for c in 0..classes {
                for k in 0..=c {
                    let mut sum = [0.0; LANES];
                    let first = c * features / LANES;
                    for group in first..groups {
                        let (left, right) = (&images[c * groups + group], &images[k * groups + group]);
                        for i in 0..LANES {
                            sum[i] += left[i] * right[i];
                        }
                    }
                    let entry = sum.iter().sum::<f64>() + if c == k { variance * news } else { 0.0 };
                    logits.covariance[c * classes + k] = entry;
                    logits.covariance[k * classes + c] = entry;
                }
            }
            found.push(logits.within_reach());
        }
        found
    }
}
