//! The sketch: the surprisals that the model has seen.
//!
//! Those of learnt events are kept in a t-digest (Dunning 2021) with the model's forgetting. One that is very rare among those before
//! it is learnt with the weight `min(1, p / 0.001)`, so that anomalies don't become what is usual; how much weight was withheld is
//! kept, too, and [`Tail`] gives back what the rarest of ordinary events have lost by it.

use tdigest::{Centroid, TDigest};

use super::tail::Tail;

/// Centroids kept. The sketch is finest in the tails, where each holds a few events.
const CENTROIDS: usize = 200;

/// Tail probability below which a surprisal is learnt with less than its weight.
pub(super) const PROTECTED: f64 = 1e-3;

/// A centroid that weighs less, in events, is dropped.
const FORGOTTEN: f64 = 1e-6;

/// Surprisals seen, with forgetting: a sketch that adds and fades like evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibrator {
    digest: TDigest,
    /// Weight that was not learnt, faded as the sketch is.
    withheld: f64,
}

impl Default for Calibrator {
    fn default() -> Self {
        Self { digest: TDigest::new_with_size(CENTROIDS), withheld: 0.0 }
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

    /// With this much weight withheld. `None` if that is no weight.
    pub fn with_withheld(self, withheld: f64) -> Option<Self> {
        (withheld >= 0.0 && withheld.is_finite()).then_some(Self { withheld, ..self })
    }

    /// Weight of rare surprisals that was not learnt.
    pub fn withheld(&self) -> f64 {
        self.withheld
    }

    fn of(centroids: Vec<Centroid>, (min, max): (f64, f64)) -> Self {
        if centroids.is_empty() {
            return Self::default();
        }
        // The sum is the digest's own business (its mean) and is not used here; the count is taken from the centroids, so that
        // a sketch is the same after a snapshot as before it.
        let count = centroids.iter().map(Centroid::weight).sum();
        Self { digest: TDigest::new(centroids, 0.0, count, Some(max), Some(min), CENTROIDS), withheld: 0.0 }
    }

    /// Means and weights of the centroids, in ascending order of mean.
    pub fn centroids(&self) -> (Vec<f64>, Vec<f64>) {
        self.digest.centroids().iter().map(|centroid| (centroid.mean(), centroid.weight())).unzip()
    }

    /// The least and the greatest surprisal seen; zeros before any.
    pub fn range(&self) -> (f64, f64) {
        (self.digest.min().unwrap_or(0.0), self.digest.max().unwrap_or(0.0))
    }

    /// Fades what was seen by `retention` and adds `surprisals`, which are finite, each with the weight `min(1, p / 0.001)`.
    pub fn learn(&mut self, retention: f64, surprisals: &[f64]) {
        let tail = self.tail();
        let rare = |surprisal: &f64| tail.weight(*surprisal) < 1.0;
        let (rare, usual): (Vec<f64>, Vec<f64>) = surprisals.iter().partition(|surprisal| rare(surprisal));
        let faded = self.digest.centroids().iter().map(|centroid| Centroid::new(centroid.mean(), centroid.weight() * retention));
        let remembered = faded.filter(|centroid| centroid.weight() > FORGOTTEN).collect();
        let mut digest = Self::of(remembered, self.range()).digest.merge_unsorted(usual);
        let mut withheld = self.withheld * retention;
        let weights = rare.iter().map(|surprisal| (*surprisal, tail.weight(*surprisal)));
        let mut learnt: Vec<Centroid> = Vec::new();
        for (surprisal, weight) in weights {
            withheld += 1.0 - weight;
            learnt.extend((weight > FORGOTTEN).then(|| Centroid::new(surprisal, weight)));
        }
        if !learnt.is_empty() {
            learnt.sort();
            let range = (learnt[0].mean(), learnt[learnt.len() - 1].mean());
            digest = TDigest::merge_digests(vec![digest, Self::of(learnt, range).digest]);
        }
        let range = (digest.min().unwrap_or(0.0), digest.max().unwrap_or(0.0));
        *self = Self { withheld, ..Self::of(digest.centroids().to_vec(), range) };
    }

    /// Takes `surprisals` out again, which were learnt: each, with the weight that it would have now, from the centroids nearest to it,
    /// as far as these weigh as much. Where many are taken out of the tail, what is left of it is as coarse as the sketch was there:
    /// probabilities of a thousandth are within a factor of two and a half.
    pub fn unlearn(&mut self, surprisals: &[f64]) {
        let (means, mut weights) = self.centroids();
        let tail = self.tail();
        let mut withheld = self.withheld;
        for surprisal in surprisals.iter().filter(|surprisal| surprisal.is_finite()) {
            let mut left = tail.weight(*surprisal);
            withheld -= 1.0 - left;
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
        *self = Self { withheld: withheld.max(0.0), ..Self::of(centroids, (min, max)) };
    }

    /// The sketch of everything that `sketches` have seen.
    pub fn sum<'a>(sketches: impl IntoIterator<Item = &'a Self>) -> Self {
        let seen: Vec<_> = sketches.into_iter().filter(|sketch| !sketch.digest.is_empty()).collect();
        match seen[..] {
            [] => Self::default(),
            [one] => one.clone(),
            _ => Self {
                digest: TDigest::merge_digests(seen.iter().map(|sketch| sketch.digest.clone()).collect()),
                withheld: seen.iter().map(|sketch| sketch.withheld).sum(),
            },
        }
    }

    /// The tail probabilities that this sketch gives, ready to be asked often.
    pub fn tail(&self) -> Tail {
        let (means, weights) = self.centroids();
        Tail::new(&means, &weights, self.range(), self.withheld)
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
            // Of the rarest thousandth, half is withheld and given back.
            let tolerance = if exact > 0.001 { 0.03 } else { 0.1 };
            assert!((estimate / rule - 1.0).abs() < tolerance, "tail {exact}: estimated {estimate}");
        }
    }

    #[test]
    fn nothing_seen_is_no_surprise_and_the_worst_is_never_zero() {
        assert_eq!(Calibrator::default().tail().probability(3.0), 1.0);
        let tail = learnt(&exponential(999), 1.0).tail();
        let worst = tail.probability(1e9);
        assert!(worst > 0.0 && worst < 1.0 / 1000.0, "{worst}");
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

    /// What is a twentieth of all is no anomaly: it counts, at once and in the end.
    #[test]
    fn a_level_that_rises_for_good_is_soon_experience() {
        let mut stream = exponential(10_000);
        stream.extend(exponential(10_000).iter().map(|nats| 30.0 + nats));
        let few = learnt(&stream[..10_300], 1.0).tail();
        assert!(few.probability(30.0) < 1e-3, "{}", few.probability(30.0));
        let share = learnt(&stream, 1.0).tail().probability(30.0);
        assert!((0.45..0.55).contains(&share), "{share}");
    }

    #[test]
    fn surprisals_that_were_taken_out_count_no_more() {
        let normal = exponential(20_000);
        let mut poisoned = normal.clone();
        let poison: Vec<f64> = (0..2_000).map(|index| 30.0 + f64::from(index * 7919 % 2_000) / 1000.0).collect();
        poisoned.splice(0..0, poison.iter().copied());
        let mut sketch = learnt(&poisoned, 1.0);
        assert!(sketch.tail().probability(20.0) > 0.08);
        sketch.unlearn(&poison);
        let (tail, clean) = (sketch.tail(), learnt(&normal, 1.0).tail());
        // The poison was the tail, so the sketch was coarse where the tail of the others is.
        for (surprisal, factor) in [(0.1, 1.05), (1.0, 1.05), (3.0, 1.05), (6.0, 2.5)] {
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
        let read = Calibrator::from_centroids(&means, &weights, calibrator.range())
            .and_then(|read| read.with_withheld(calibrator.withheld()));
        assert_eq!(read, Some(calibrator.clone()));
        assert_eq!(calibrator.clone().with_withheld(-1.0), None);
        assert_eq!(calibrator.clone().with_withheld(f64::NAN), None);
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
