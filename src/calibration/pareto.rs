//! The generalised Pareto law of what exceeds a high threshold (Balkema & de Haan 1974; Pickands 1975).

use super::sketch::PROTECTED;

/// Share of the weight that exceeds the threshold, and events at least, as long as these are no more than a tenth.
const SHARE: f64 = 0.02;
const EVENTS: f64 = 64.0;
const LARGEST_SHARE: f64 = 0.1;
/// Excesses at least, to say anything of their law.
const LEAST_EVENTS: f64 = 32.0;
/// Excesses that the belief in an exponential tail is worth.
const PRIOR: f64 = 20.0;
/// The shape is at most this: the mean of the excesses says nothing of heavier tails.
const LARGEST_SHAPE: f64 = 0.5;

/// `P(S ≥ s | S ≥ threshold) = (1 + shape (s − threshold) / scale)^(−1 / shape)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pareto {
    pub(super) threshold: f64,
    scale: f64,
    shape: f64,
}

impl Pareto {
    /// The law of the excesses over the threshold that 2 % of the weight exceed, by probability-weighted moments (Hosking & Wallis
    /// 1987): with `a₀ = E[X]` and `a₁ = E[X (1 − F)]`, shape `2 − a₀ / (a₀ − 2 a₁)` and scale `a₀ (1 − shape)`. The shape is shrunk to
    /// that of an exponential tail, as if 20 more excesses had said so. It is never below `1 / (4 + N)`, as the rate of the tail isn't
    /// known better.
    ///
    /// `thinned` says which share of what protection takes from exponential excesses was taken: their mean is lengthened accordingly.
    /// `None` where there is too little.
    pub(super) fn fit(means: &[f64], weights: &[f64], thinned: f64) -> Option<Self> {
        let total: f64 = weights.iter().sum();
        let share = (EVENTS / total).clamp(SHARE, LARGEST_SHARE);
        let (mut count, mut first) = (0.0, means.len());
        while first > 0 && count < share * total {
            first -= 1;
            count += weights[first];
        }
        let threshold = *means.get(first.checked_sub(1)?)?;
        if count < LEAST_EVENTS {
            return None;
        }
        let (mut mean, mut weighted, mut above) = (0.0, 0.0, count);
        for (value, weight) in means[first..].iter().zip(&weights[first..]) {
            let excess = (value - threshold) * weight / count;
            mean += excess;
            weighted += excess * (above - 0.5 * weight) / count;
            above -= weight;
        }
        let spread = mean - 2.0 * weighted;
        let scale_free = |shape: f64| (shape * count / (count + PRIOR)).clamp(1.0 / (4.0 + count), LARGEST_SHAPE);
        let shape = scale_free(if spread > 0.0 { 2.0 - mean / spread } else { 0.0 });
        let scale = mean * (1.0 - shape) / shortened(PROTECTED * total / count, thinned);
        (scale > 0.0 && scale.is_finite()).then_some(Self { threshold, scale, shape })
    }

    /// `P(S ≥ s | S ≥ from)`, for `s ≥ from ≥ threshold`.
    pub(super) fn survival(&self, from: f64, s: f64) -> f64 {
        let scale = self.scale + self.shape * (from - self.threshold);
        // Halves, because the distance of two numbers need not be one.
        let beyond = (0.5 * s - 0.5 * from) / scale * 2.0 * self.shape;
        (-beyond.ln_1p() / self.shape).exp()
    }
}

/// What is left of the mean of exponential excesses if those of tail probability below c weigh `U / c`:
/// `(1 − c (½ ln(1 / c) + ¾)) / (1 − c / 2)`, by integration.
fn shortened(c: f64, thinned: f64) -> f64 {
    let c = c.clamp(0.0, 0.5);
    let kept = if c > 0.0 { (1.0 - c * (0.75 - 0.5 * c.ln())) / (1.0 - 0.5 * c) } else { 1.0 };
    1.0 - thinned * (1.0 - kept)
}
