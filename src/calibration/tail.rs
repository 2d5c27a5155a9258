//! Tail probabilities of a sketch: what was seen in the bulk, a generalised Pareto law in the tail.

use statrs::function::erf::erfc_inv;

use super::pareto::Pareto;
use super::sketch::PROTECTED;

/// Events beyond which the tail is told by its law: so few say little by themselves.
const FEW: f64 = 10.0;

/// Events from which a surprisal has a place among them, and what is near one, in nats.
const EXPERIENCE: f64 = 100.0;
const NEARBY: f64 = 0.4;

/// The share of all events that may be anomalies, and by how many standard deviations of what it is by chance it may be more.
const ANOMALIES: f64 = 0.05;
const BY_CHANCE: f64 = 3.0;

/// Tail probabilities of surprisals, `P(S ≥ s)`.
///
/// In the bulk it is `(1 + weight of surprisals ≥ s) / (1 + weight of all)`, below α no more often than α where surprisals are
/// exchangeable, up to the sketch's error: a few percent of the probability, and at most half a centroid's weight where many surprisals
/// tie. Beyond the ten most surprising events, or the thousandth, it goes on from there as the law of the excesses, [`Pareto`]:
/// continuous, never rising, never zero, and below α as often as the law fits. What of the rarest thousandth was withheld from the
/// sketch, half of it where surprisals are exchangeable, counts in both weights, up to that half: what was withheld beyond it are
/// anomalies, unless the stream [is another](Self::is_another), and then all counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tail {
    /// Surprisal, and the weight below it.
    knots: Vec<(f64, f64)>,
    pub(super) total: f64,
    /// Weight withheld that belongs to the tail.
    withheld: f64,
    /// All weight withheld.
    doubted: f64,
    beyond: Option<Beyond>,
}

/// Where the law takes over.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Beyond {
    from: f64,
    probability: f64,
    law: Pareto,
}

impl Tail {
    /// Of centroids in ascending order between the least and the greatest surprisal.
    pub(super) fn new(means: &[f64], weights: &[f64], (min, max): (f64, f64), withheld: f64) -> Self {
        let total: f64 = weights.iter().sum();
        let half = 0.5 * PROTECTED * total;
        let mut tail = Self {
            knots: Vec::with_capacity(means.len() + 2),
            total,
            withheld: withheld.min(half),
            doubted: withheld,
            beyond: None,
        };
        let mut below = 0.0;
        if !means.is_empty() {
            tail.knots.push((min, 0.0));
        }
        for (mean, weight) in means.iter().zip(weights) {
            tail.knots.push((*mean, below + 0.5 * weight));
            below += weight;
        }
        if !means.is_empty() {
            tail.knots.push((max, below));
        }
        let thinned = if half > 0.0 { tail.withheld / half } else { 0.0 };
        if let Some(law) = Pareto::fit(means, weights, thinned) {
            let few = (FEW / total).max(PROTECTED);
            // The last knot that is not yet among the few.
            let from = tail.knots.iter().rev().map(|knot| knot.0).find(|knot| tail.seen(*knot) >= few);
            tail.beyond = from.map(|from| from.max(law.threshold)).map(|from| Beyond { from, probability: tail.seen(from), law });
        }
        tail
    }

    /// Estimate of P(S ≥ `surprisal`), in (0, 1].
    pub fn probability(&self, surprisal: f64) -> f64 {
        let usual = self.usual(surprisal);
        if self.is_another() { (self.doubted + usual * self.total) / self.events() } else { usual }
    }

    /// The same among what is usual.
    fn usual(&self, surprisal: f64) -> f64 {
        match &self.beyond {
            Some(Beyond { from, probability, law }) if surprisal > *from => {
                (probability * law.survival(*from, surprisal)).clamp(f64::MIN_POSITIVE, 1.0)
            }
            _ => self.seen(surprisal),
        }
    }

    /// How many standard deviations of a normal distribution `surprisal` is above its mean, at the same share of all: `Φ⁻¹(1 − p)`, within
    /// −3 and 6. None before a hundred events.
    ///
    /// p is drawn by `uniform`, in 0..1, from between the probabilities of what is a little more and a little less surprising. So scores are
    /// normal where nothing changes, of many events that are all alike, too, though what these are scored moves a little with each step.
    pub fn normal_score(&self, surprisal: f64, uniform: f64) -> Option<f64> {
        let [rarer, less_rare] = [NEARBY, -NEARBY].map(|nats| self.probability(surprisal + nats));
        let score = || std::f64::consts::SQRT_2 * erfc_inv(2.0 * (rarer + uniform * (less_rare - rarer)));
        (self.events() >= EXPERIENCE).then(|| score().clamp(-3.0, 6.0))
    }

    /// The weight of all surprisals, those withheld among them.
    pub fn events(&self) -> f64 {
        self.total + self.doubted
    }

    /// The share of events up to which they may be the exception: a twentieth, and three standard deviations of what that is by chance.
    pub fn exceptions(&self) -> f64 {
        ANOMALIES + BY_CHANCE * (ANOMALIES * (1.0 - ANOMALIES) / self.events()).sqrt()
    }

    /// Whether more than that is far rarer than what is usual: then what is usual has changed.
    pub fn is_another(&self) -> bool {
        self.doubted > self.exceptions() * self.events()
    }

    /// The surprisal that a `share` of all events is below; none where it is among those withheld.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let below = share * self.events();
        let above = self.knots.partition_point(|knot| knot.1 < below);
        let (right, weight_right) = *self.knots.get(above)?;
        let (left, weight_left) = self.knots[above.checked_sub(1)?];
        Some(left + (below - weight_left) / (weight_right - weight_left) * (right - left))
    }

    /// The weight with which `surprisal` is learnt: `min(1, p / 0.001)`.
    pub(super) fn weight(&self, surprisal: f64) -> f64 {
        (self.usual(surprisal) / PROTECTED).min(1.0)
    }

    fn seen(&self, surprisal: f64) -> f64 {
        let above = self.knots.partition_point(|knot| knot.0 < surprisal);
        let below = match (above.checked_sub(1).map(|index| self.knots[index]), self.knots.get(above)) {
            (None, _) => 0.0,
            (Some(_), None) => self.total,
            (Some((left, weight_left)), Some(&(right, weight_right))) => {
                // Halves, because the distance of two numbers need not be one.
                weight_left + (0.5 * surprisal - 0.5 * left) / (0.5 * right - 0.5 * left) * (weight_right - weight_left)
            }
        };
        let all = 1.0 + self.total + self.withheld;
        ((all - below) / all).clamp(f64::MIN_POSITIVE, 1.0)
    }
}

#[cfg(test)]
mod tests;
