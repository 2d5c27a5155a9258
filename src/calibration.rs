//! From surprisal to probability: how rare is a surprisal among those that the model has seen?
//!
//! The surprisals of learnt events are kept in a t-digest (Dunning 2021) with the model's forgetting. The tail probability is
//! `(1 + weight of surprisals ≥ s) / (1 + weight of all)`: never zero, and below α no more often than α where surprisals are
//! exchangeable, up to the sketch's error: a few percent of the probability, more among the few most surprising, and at most half a
//! centroid's weight where many surprisals tie.

use tdigest::{Centroid, TDigest};

/// Centroids kept. The sketch is finest in the tails, where each holds a few events.
const CENTROIDS: usize = 200;

/// A centroid that weighs less, in events, is dropped.
const FORGOTTEN: f64 = 1e-6;

/// Surprisals seen, with forgetting: a sketch that adds and fades like evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibrator {
    digest: TDigest,
}

impl Default for Calibrator {
    fn default() -> Self {
        Self { digest: TDigest::new_with_size(CENTROIDS) }
    }
}

impl Calibrator {
    /// The sketch with these centroids, in ascending order of mean, between the least and the greatest surprisal seen.
    /// `None` if they are not such.
    pub fn from_centroids(means: &[f64], weights: &[f64], range: (f64, f64)) -> Option<Self> {
        let whole = means.len() == weights.len() && means.len() <= CENTROIDS;
        let ordered = means.windows(2).all(|pair| pair[0] <= pair[1]);
        let finite = means.iter().chain(weights).chain([&range.0, &range.1]).all(|value| value.is_finite());
        let within = means.first().is_none_or(|first| range.0 <= *first) && means.last().is_none_or(|last| *last <= range.1);
        let weighs = weights.iter().all(|weight| *weight > 0.0) && weights.iter().sum::<f64>().is_finite();
        (whole && ordered && finite && within && weighs)
            .then(|| Self::of(means.iter().zip(weights).map(|(mean, weight)| Centroid::new(*mean, *weight)).collect(), range))
    }

    fn of(centroids: Vec<Centroid>, (min, max): (f64, f64)) -> Self {
        if centroids.is_empty() {
            return Self::default();
        }
        // The sum is the digest's own business (its mean) and is not used here; the count is taken from the centroids, so that
        // a sketch is the same after a snapshot as before it.
        let count = centroids.iter().map(Centroid::weight).sum();
        Self { digest: TDigest::new(centroids, 0.0, count, Some(max), Some(min), CENTROIDS) }
    }

    /// Means and weights of the centroids, in ascending order of mean.
    pub fn centroids(&self) -> (Vec<f64>, Vec<f64>) {
        self.digest.centroids().iter().map(|centroid| (centroid.mean(), centroid.weight())).unzip()
    }

    /// The least and the greatest surprisal seen; zeros before any.
    pub fn range(&self) -> (f64, f64) {
        (self.digest.min().unwrap_or(0.0), self.digest.max().unwrap_or(0.0))
    }

    /// Fades what was seen by `retention` and adds `surprisals`, which are finite.
    pub fn learn(&mut self, retention: f64, surprisals: &[f64]) {
        let faded = self.digest.centroids().iter().map(|centroid| Centroid::new(centroid.mean(), centroid.weight() * retention));
        let remembered = faded.filter(|centroid| centroid.weight() > FORGOTTEN).collect();
        let digest = Self::of(remembered, self.range()).digest.merge_unsorted(surprisals.to_vec());
        let range = (digest.min().unwrap_or(0.0), digest.max().unwrap_or(0.0));
        *self = Self::of(digest.centroids().to_vec(), range);
    }

    /// Takes `surprisals` out again, which were learnt: each from the centroids nearest to it, as far as these weigh as much. Where many are taken
    /// out of the tail, what is left of it is as coarse as the sketch was there: probabilities of a thousandth are within a factor of two.
    pub fn unlearn(&mut self, surprisals: &[f64]) {
        let (means, mut weights) = self.centroids();
        for surprisal in surprisals.iter().filter(|surprisal| surprisal.is_finite()) {
            let mut left = 1.0;
            while left > 0.0 {
                let weighs = |at: &usize| weights[*at] > 0.0;
                let far = |at: &usize| (means[*at] - surprisal).abs();
                let Some(at) = (0..means.len()).filter(weighs).min_by(|a, b| far(a).total_cmp(&far(b))) else { break };
                let taken = f64::min(left, weights[at]);
                weights[at] -= taken;
                left -= taken;
            }
        }
        let kept = means.into_iter().zip(weights).filter(|(_, weight)| *weight > FORGOTTEN);
        let centroids: Vec<Centroid> = kept.map(|(mean, weight)| Centroid::new(mean, weight)).collect();
        let ends = |centroids: &[Centroid]| centroids.first().zip(centroids.last()).map(|(low, high)| (low.mean(), high.mean()));
        let (mut min, mut max) = self.range();
        // Where the outermost is gone, nothing is known to be left beyond the next.
        if let (Some((first, last)), Some((low, high))) = (ends(self.digest.centroids()), ends(&centroids)) {
            min = if low > first { low } else { min };
            max = if high < last { high } else { max };
        }
        *self = Self::of(centroids, (min, max));
    }

    /// The sketch of everything that `sketches` have seen.
    pub fn sum<'a>(sketches: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut digests: Vec<_> =
            sketches.into_iter().filter(|sketch| !sketch.digest.is_empty()).map(|sketch| sketch.digest.clone()).collect();
        if digests.len() < 2 {
            return digests.pop().map_or_else(Self::default, |digest| Self { digest });
        }
        Self { digest: TDigest::merge_digests(digests) }
    }

    /// The tail probabilities that this sketch gives, ready to be asked often.
    pub fn tail(&self) -> Tail {
        let centroids = self.digest.centroids();
        let (min, max) = self.range();
        let mut tail = Tail { knots: Vec::with_capacity(centroids.len() + 2), total: self.digest.count() };
        let mut below = 0.0;
        if !centroids.is_empty() {
            tail.knots.push((min, 0.0));
        }
        for centroid in centroids {
            tail.knots.push((centroid.mean(), below + 0.5 * centroid.weight()));
            below += centroid.weight();
        }
        if !centroids.is_empty() {
            tail.knots.push((max, below));
        }
        tail
    }
}

/// Tail probabilities of surprisals: a piecewise linear distribution function.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tail {
    /// Surprisal, and the weight below it.
    knots: Vec<(f64, f64)>,
    total: f64,
}

impl Tail {
    /// The weight of all surprisals.
    pub fn total(&self) -> f64 {
        self.total
    }

    /// The surprisal below which a `share` of the weight lies; 0 before any was seen.
    pub fn quantile(&self, share: f64) -> f64 {
        let below = share * self.total;
        let above = self.knots.partition_point(|knot| knot.1 < below);
        match (above.checked_sub(1).map(|index| self.knots[index]), self.knots.get(above)) {
            (Some((left, weight_left)), Some(&(right, weight_right))) => {
                left + (below - weight_left) / (weight_right - weight_left) * (right - left)
            }
            (_, knot) => knot.or(self.knots.last()).map_or(0.0, |knot| knot.0),
        }
    }

    /// Estimate of P(S ≥ `surprisal`), in (0, 1].
    pub fn probability(&self, surprisal: f64) -> f64 {
        let above = self.knots.partition_point(|knot| knot.0 < surprisal);
        let below = match (above.checked_sub(1).map(|index| self.knots[index]), self.knots.get(above)) {
            (None, _) => 0.0,
            (Some(_), None) => self.total,
            (Some((left, weight_left)), Some(&(right, weight_right))) => {
                // Halves, because the distance of two numbers need not be one.
                weight_left + (0.5 * surprisal - 0.5 * left) / (0.5 * right - 0.5 * left) * (weight_right - weight_left)
            }
        };
        ((1.0 + self.total - below) / (1.0 + self.total)).clamp(f64::MIN_POSITIVE, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Surprisals of an exponential distribution by its quantile function: the exact tail is `exp(-s)`.
    fn exponential(count: usize) -> Vec<f64> {
        // Visited in a fixed scattered order, as a stream would.
        (0..count).map(|index| (index * 7919) % count).map(|index| -(1.0 - (index as f64 + 0.5) / count as f64).ln()).collect()
    }

    fn learnt(surprisals: &[f64], retention: f64) -> Calibrator {
        let mut calibrator = Calibrator::default();
        surprisals.chunks(256).for_each(|block| calibrator.learn(retention.powi(block.len() as i32), block));
        calibrator
    }

    #[test]
    fn tail_agrees_with_the_exact_distribution() {
        let tail = learnt(&exponential(50_000), 1.0).tail();
        for exact in [0.9, 0.5, 0.1, 0.01, 0.001] {
            let (estimate, rule) = (tail.probability(-f64::ln(exact)), (1.0 + 50_000.0 * exact) / 50_001.0);
            assert!((estimate / rule - 1.0).abs() < 0.03, "tail {exact}: estimated {estimate}");
        }
    }

    #[test]
    fn nothing_seen_is_no_surprise_and_the_worst_is_never_zero() {
        assert_eq!(Calibrator::default().tail().probability(3.0), 1.0);
        let tail = learnt(&exponential(999), 1.0).tail();
        assert_eq!(tail.probability(1e9), 1.0 / 1000.0);
        assert_eq!(tail.probability(-1e9), 1.0);
    }

    #[test]
    fn ties_count_as_at_least_as_surprising() {
        let tail = learnt(&[1.0; 1000], 1.0).tail();
        assert_eq!(tail.probability(1.0), 1.0);
        assert_eq!(tail.probability(1.5), 1.0 / 1001.0);
    }

    #[test]
    fn forgetting_follows_a_change_of_level() {
        let mut stream = vec![10.0; 20_000];
        stream.extend(exponential(20_000));
        let half_life = 500.0;
        let tail = learnt(&stream, f64::powf(0.5, 1.0 / half_life)).tail();
        // 40 half-lives later the tens weigh nothing, and the effective number of events is half_life / ln 2.
        assert!(tail.probability(9.0) < 0.01);
        assert!((tail.total * std::f64::consts::LN_2 / half_life - 1.0).abs() < 0.3);
    }

    #[test]
    fn surprisals_that_were_taken_out_count_no_more() {
        let normal = exponential(20_000);
        let mut poisoned = normal.clone();
        let poison: Vec<f64> = (0..2_000).map(|index| 30.0 + f64::from(index) / 1000.0).collect();
        poisoned.splice(5_000..5_000, poison.iter().copied());
        let mut sketch = learnt(&poisoned, 1.0);
        assert!(sketch.tail().probability(20.0) > 0.09);
        sketch.unlearn(&poison);
        let (tail, clean) = (sketch.tail(), learnt(&normal, 1.0).tail());
        // The poison was the tail, so the sketch was coarse where the tail of the others is.
        for (surprisal, factor) in [(0.1, 1.05), (1.0, 1.05), (3.0, 1.05), (6.0, 2.0)] {
            let ratio = tail.probability(surprisal) / clean.probability(surprisal);
            assert!((1.0 / factor..factor).contains(&ratio), "{surprisal}: {ratio}");
        }
        assert!(tail.probability(20.0) < 0.002, "{}", tail.probability(20.0));
        sketch.unlearn(&normal);
        assert_eq!(sketch.tail().probability(3.0), 1.0, "nothing is left");
    }

    #[test]
    fn a_sum_of_sketches_sees_what_both_saw() {
        let all = exponential(20_000);
        let (left, right) = all.split_at(5_000);
        let sum = Calibrator::sum([&learnt(left, 1.0), &learnt(right, 1.0)]).tail();
        for exact in [0.5, 0.05, 0.005] {
            assert!((sum.probability(-f64::ln(exact)) / exact - 1.0).abs() < 0.05);
        }
    }

    #[test]
    fn centroids_round_trip() {
        let calibrator = learnt(&exponential(5_000), 0.9999);
        let (means, weights) = calibrator.centroids();
        assert_eq!(Calibrator::from_centroids(&means, &weights, calibrator.range()), Some(calibrator.clone()));
        assert_eq!(Calibrator::from_centroids(&means, &weights[1..], calibrator.range()), None);
        assert_eq!(Calibrator::from_centroids(&[2.0, 1.0], &[1.0, 1.0], (1.0, 2.0)), None);
        assert_eq!(Calibrator::from_centroids(&[1.0, 2.0], &[f64::MAX, f64::MAX], (1.0, 2.0)), None, "no sum");
    }

    #[test]
    fn surprisals_of_any_size_have_a_probability() {
        let calibrator = Calibrator::from_centroids(&[f64::MIN, f64::MAX], &[1.0, 2.0], (f64::MIN, f64::MAX)).unwrap();
        for surprisal in [f64::NEG_INFINITY, f64::MIN, -1.0, 0.0, 1e308, f64::MAX, f64::INFINITY] {
            let probability = calibrator.tail().probability(surprisal);
            assert!(probability > 0.0 && probability <= 1.0, "{surprisal}: {probability}");
        }
    }
}
