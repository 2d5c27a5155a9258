//! How rare is a level among those of the past? A histogram that forgets, with a tail beyond it.

use crate::checkpoint::{CheckpointError, Reader, Tensor};

/// Width of a bin, in nats, where most levels are.
const WIDTH: f64 = 0.05;
/// Bins of that width below and above zero. Beyond them a bin is as wide as a share of its level.
const BELOW: usize = 512;
const ABOVE: usize = 2048;
/// Bins for an e-fold of the level beyond, and how many of them there are on either side.
const EFOLD: f64 = 64.0;
const OUTER: usize = 448;
const BINS: usize = OUTER + BELOW + ABOVE + OUTER;

/// Levels are kept within this: at its end are the last bins.
pub(super) const LARGEST: f64 = 1e5;

/// Share of the levels, at most, that lie in the tail.
const TAIL: f64 = 0.02;
/// What the prior of the tail is worth, in excesses of 1 nat: the exponential tail that surprisals have where the model is right.
const PRIOR: f64 = 4.0;
/// Tail probability below which a level is learnt with less than its weight: an outlier is not what is usual, and must not become it.
const PROTECTED: f64 = 2e-3;
/// Weights are written in units that grow, and are scaled back from here.
const LARGEST_UNIT: f64 = 1e100;

/// Levels seen, newer ones with more weight.
///
/// Up to the threshold u, which at most 2 % of the weight lies above, `p(s) = (weight above + ½ of the same bin + ½) / (weight + 1)`.
/// Beyond it the excess is exponential with a rate that is `Gamma(4 + N, 4 + E)` a posteriori, where N excesses sum up to E, so
///
/// ```text
/// p(s) = p(u) ((4 + E) / (4 + E + s − u))^(4 + N)
/// ```
///
/// a generalised Pareto tail of shape `1 / (4 + N)` (Pickands 1975). A level is then learnt with the weight `min(1, p / 0.002)`. Where
/// all levels are alike, this makes excesses look a tenth shorter than they are: probabilities of 1e-5 come out up to a third of what
/// they are. Whoever alerts has to allow for that.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rarity {
    /// Weight in each bin, times `unit`; none before the first level.
    bins: Vec<f64>,
    /// Weight of a level learnt now: it grows, in place of all others' fading.
    unit: f64,
    /// Sum of the bins, and of those above the threshold's, as they were added up.
    total: f64,
    above: f64,
    /// The last bin below the tail.
    threshold: usize,
    /// Weight of the excesses, and their sum.
    count: f64,
    excess: f64,
}

impl Rarity {
    /// Levels seen, each by what is left of its weight.
    pub(super) fn weight(&self) -> f64 {
        if self.bins.is_empty() { 0.0 } else { self.total / self.unit }
    }

    /// `log10 p` of a level at least as high as `level`, which is finite, among those before; then learns it. Others keep `retention` of
    /// their weight.
    pub(super) fn advance(&mut self, level: f64, retention: f64) -> f64 {
        let level = level.clamp(-LARGEST, LARGEST);
        let bin = bin(level);
        if self.bins.is_empty() {
            *self = Self { bins: vec![0.0; BINS], unit: 1.0, threshold: bin, ..Self::default() };
        }
        let log10_p = self.log10_probability(level, bin);
        let weight = self.unit * weight(log10_p);
        self.bins[bin] += weight;
        self.total += weight;
        if bin > self.threshold {
            self.above += weight;
            self.count += weight;
            self.excess += weight * (level - upper_edge(self.threshold)).max(0.0);
        }
        self.unit /= retention;
        if self.unit > LARGEST_UNIT {
            self.scale(1.0 / self.unit);
            self.unit = 1.0;
        }
        log10_p
    }

    fn log10_probability(&mut self, level: f64, bin: usize) -> f64 {
        if self.total <= 0.0 {
            return 0.0;
        }
        while self.above > TAIL * self.total && self.threshold < BINS - 1 {
            self.threshold += 1;
            // Not below zero, where the bins that it was the sum of are rounded otherwise.
            self.above = (self.above - self.bins[self.threshold]).max(0.0);
        }
        while self.threshold > 0 && self.above + self.bins[self.threshold] <= TAIL * self.total {
            self.above += self.bins[self.threshold];
            self.threshold -= 1;
        }
        let log10_p = if bin > self.threshold {
            let known = PRIOR + self.excess / self.unit;
            let beyond = (level - upper_edge(self.threshold)).max(0.0);
            let share = (self.above + 0.5 * self.unit) / (self.total + self.unit);
            share.log10() - (PRIOR + self.count / self.unit) * (beyond / known).ln_1p() / std::f64::consts::LN_10
        } else {
            // Four sums at a time, since each addition waits for the one before.
            let (fours, rest) = self.bins[bin + 1..=self.threshold].as_chunks::<4>();
            let mut sums = [0.0; 4];
            fours.iter().for_each(|four| sums.iter_mut().zip(four).for_each(|(sum, bin)| *sum += bin));
            let between: f64 = sums.iter().chain(rest).sum();
            let weight = self.above + between + 0.5 * self.bins[bin] + 0.5 * self.unit;
            (weight / (self.total + self.unit)).log10()
        };
        log10_p.clamp(f64::MIN_10_EXP.into(), 0.0)
    }

    fn scale(&mut self, factor: f64) {
        self.bins
            .iter_mut()
            .chain([&mut self.total, &mut self.above, &mut self.count, &mut self.excess])
            .for_each(|sum| *sum *= factor);
    }

    /// All that `records` have seen, worth `weight` levels at most.
    pub(super) fn pooled<'a>(records: impl IntoIterator<Item = &'a Self>, weight: f64) -> Self {
        let mut pool = Self { bins: vec![0.0; BINS], unit: 1.0, ..Self::default() };
        for record in records.into_iter().filter(|record| !record.bins.is_empty()) {
            pool.bins.iter_mut().zip(&record.bins).for_each(|(sum, bin)| *sum += bin / record.unit);
            pool.count += record.count / record.unit;
            pool.excess += record.excess / record.unit;
        }
        pool.total = pool.bins.iter().sum();
        if pool.total <= 0.0 {
            return Self::default();
        }
        pool.threshold = BINS - 1;
        pool.scale((weight / pool.total).min(1.0));
        pool
    }

    /// Appends what [`restore`](Self::restore) needs: the bins with something in them.
    pub(super) fn tensors(&self, tensors: &mut Vec<Tensor>) {
        let filled = || self.bins.iter().enumerate().filter(|(_, weight)| **weight != 0.0);
        let places: Vec<i64> = filled().map(|(bin, _)| bin as i64).chain([self.threshold as i64]).collect();
        let sums = [self.unit, self.total, self.above, self.count, self.excess];
        let weights: Vec<f64> = filled().map(|(_, weight)| *weight).chain(sums).collect();
        tensors.push(Tensor::i64("alarm.rarity.bins", &[places.len()], places));
        tensors.push(Tensor::f64("alarm.rarity.weights", &[weights.len()], weights));
    }

    pub(super) fn restore(reader: Reader<'_>) -> Result<Self, CheckpointError> {
        const NAME: &str = "alarm.rarity.bins";
        let length = reader.length(NAME)?;
        let places = reader.within(0..=BINS as i64 - 1, NAME, &[length])?;
        let weights = reader.at_least(0.0, "alarm.rarity.weights", &[length + 4])?;
        let bad = |name: &str, detail: String| CheckpointError::BadValue { name: name.into(), detail };
        let Some((threshold, places)) = places.split_last() else {
            return Err(bad(NAME, "has no element, expected the threshold's at least".into()));
        };
        if let Some(at) = places.windows(2).position(|pair| pair[0] >= pair[1]) {
            return Err(bad(NAME, format!("element {} is {}, expected more than {}", at + 1, places[at + 1], places[at])));
        }
        let (filled, sums) = weights.split_at(places.len());
        if let Some(large) = weights.iter().find(|weight| **weight > LARGEST_UNIT * 1e20) {
            return Err(bad("alarm.rarity.weights", format!("{large} is more than a weight can be")));
        }
        if places.is_empty() {
            return Ok(Self::default());
        }
        let [unit, total, above, count, excess] = *sums else { unreachable!("their length was checked") };
        if unit < 1.0 || total <= 0.0 {
            return Err(bad(
                "alarm.rarity.weights",
                format!("a unit of {unit} and a total of {total}, expected at least 1 and above 0"),
            ));
        }
        let mut bins = vec![0.0; BINS];
        places.iter().zip(filled).for_each(|(bin, weight)| bins[*bin as usize] = *weight);
        Ok(Self { bins, unit, total, above, threshold: *threshold as usize, count, excess })
    }
}

/// The weight with which a level of this probability is learnt.
pub(super) fn weight(log10_p: f64) -> f64 {
    if log10_p >= PROTECTED.log10() { 1.0 } else { 10_f64.powf(log10_p) / PROTECTED }
}

/// The bin that `level` falls into.
fn bin(level: f64) -> usize {
    const ZERO: i64 = (OUTER + BELOW) as i64;
    let linear = (level / WIDTH).floor();
    let bin = if linear >= ABOVE as f64 {
        ZERO + ABOVE as i64 + ((level / (ABOVE as f64 * WIDTH)).ln() * EFOLD).floor() as i64
    } else if linear < -(BELOW as f64) {
        ZERO - BELOW as i64 - 1 - ((-level / (BELOW as f64 * WIDTH)).ln() * EFOLD).floor() as i64
    } else {
        ZERO + linear as i64
    };
    bin.clamp(0, BINS as i64 - 1) as usize
}

/// Where a bin ends.
fn upper_edge(bin: usize) -> f64 {
    let end = bin as f64 + 1.0;
    let (first, last) = (OUTER as f64, (OUTER + BELOW + ABOVE) as f64);
    if end > last {
        ABOVE as f64 * WIDTH * ((end - last) / EFOLD).exp()
    } else if end < first {
        -(BELOW as f64) * WIDTH * ((first - end) / EFOLD).exp()
    } else {
        (end - first - BELOW as f64) * WIDTH
    }
}
