//! Bayesian online changepoint detection: the posterior of the run length (Adams & MacKay 2007).
//!
//! Before each value the regime changes with probability h, and then its mean and variance are drawn anew. With `p(x | run)` the predictive
//! of the values since a run began and `p₀(x)` that of a value that begins one,
//!
//! ```text
//! w(run) ← w(run) · (1 − h) · p(x | run)^τ        w(new run) = h · p₀(x)^τ        then they are scaled to the sum 1.
//! ```
//!
//! τ is how much of an independent value x is; as much of it counts in its run.
//!
//! A value is a stray with probability ε, and then says nothing of its regime: `p(x | run) = (1 − ε) t(x | run) + ε p₀(x)`, and the run
//! counts it as far as it is none, `(1 − ε) t(x | run) / p(x | run)`. One stray is likelier than two changes, several in a row are not.
//!
//! With ε = 0, τ = 1 and no more values than [`MOST_RUNS`] this is exact.

use crate::dist::normal_gamma::NormalGamma;

/// Runs that are told apart. When there are more, two neighbours are made one.
pub const MOST_RUNS: usize = 64;

/// How a series behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Law {
    /// h: the probability that the regime changes before a value, in (0, 1).
    pub hazard: f64,
    /// ε: the probability that a value is a stray, in [0, 1).
    pub stray: f64,
}

/// A value as the first of its regime.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Birth {
    /// `ln p₀(x)`.
    pub log_density: f64,
    /// What is believed of a regime with that value.
    pub level: NormalGamma,
}

/// A regime that may be the present one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run {
    /// The number of its first value.
    pub start: u64,
    /// Log of the probability that the present regime began there.
    pub log_weight: f64,
    /// Mean and precision, given its values.
    pub level: NormalGamma,
}

/// The posterior of where the present regime began.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunLengths {
    /// In the order of their beginnings.
    pub(super) runs: Vec<Run>,
}

impl RunLengths {
    /// The regimes that may be the present one, the oldest first. Their weights sum to 1.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Takes in the value `x`, whose number `at` is greater than any before, as `share` of an independent one; `rounding` is the variance of
    /// what rounding takes off values about a mean. `birth` is what it would be to a regime that begins. Returns the place of a run that was
    /// [merged](MOST_RUNS) into its neighbour, if one was, before it went.
    pub fn observe(
        &mut self,
        law: Law,
        birth: Birth,
        at: u64,
        x: f64,
        share: f64,
        rounding: impl Fn(f64) -> f64,
    ) -> Option<usize> {
        let Law { hazard, stray } = law;
        let fresh = Run { start: at, log_weight: share * birth.log_density, level: birth.level };
        if self.runs.is_empty() {
            self.runs.push(Run { log_weight: 0.0, ..fresh });
            return None;
        }
        let astray = stray.ln() + birth.log_density;
        for run in &mut self.runs {
            let regular = (1.0 - stray).ln() + run.level.predictive_log_density(x);
            let most = regular.max(astray);
            let log_density = most + ((regular - most).exp() + (astray - most).exp()).ln();
            run.log_weight += (1.0 - hazard).ln() + share * log_density;
            let count = share * (regular - log_density).exp();
            run.level = run.level.observe(count, x, count * rounding(run.level.mean));
        }
        self.runs.push(Run { log_weight: hazard.ln() + fresh.log_weight, ..fresh });
        let merged = (self.runs.len() > MOST_RUNS).then(|| self.merge(at));
        let most = self.runs.iter().map(|run| run.log_weight).fold(f64::NEG_INFINITY, f64::max);
        let total = most + self.runs.iter().map(|run| (run.log_weight - most).exp()).sum::<f64>().ln();
        self.runs.iter_mut().for_each(|run| run.log_weight -= total);
        merged
    }

    /// Makes one run of those two neighbours whose beginnings differ least for their age: the likelier, with the probability of both.
    /// Returns the place of the other. So old runs stand as far apart as they are old, and the likeliest is always among them.
    fn merge(&mut self, now: u64) -> usize {
        let gap = |older: usize| {
            let [one, other] = [self.runs[older].start, self.runs[older + 1].start];
            (other - one) as f64 / (now - other + 1) as f64
        };
        let older = (0..self.runs.len() - 1).min_by(|one, other| gap(*one).total_cmp(&gap(*other))).expect("there are runs");
        let [one, other] = [older, older + 1].map(|place| self.runs[place].log_weight);
        let (kept, gone) = if one < other { (older + 1, older) } else { (older, older + 1) };
        self.runs[kept].log_weight = one.max(other) + (-(one - other).abs()).exp().ln_1p();
        self.runs.remove(gone);
        gone
    }

    /// The likeliest run of those that `which` picks.
    pub fn likeliest(&self, which: impl Fn(&Run) -> bool) -> Option<&Run> {
        self.runs.iter().filter(|run| which(run)).max_by(|one, other| one.log_weight.total_cmp(&other.log_weight))
    }

    /// The probability that the present regime began after `start`.
    pub fn probability_after(&self, start: u64) -> f64 {
        let after = self.runs.iter().filter(|run| run.start > start);
        after.map(|run| run.log_weight.exp()).sum::<f64>().min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIOR: NormalGamma = NormalGamma { mean: 0.5, strength: 0.05, dof: 2.0, scatter: 2.5 };

    /// With the prior as it is.
    fn birth(x: f64, count: f64) -> Birth {
        Birth { log_density: PRIOR.predictive_log_density(x), level: PRIOR.observe(count, x, 0.0) }
    }

    /// Every way to cut `values` into regimes, each with its probability, as independent normals with what is believed of each.
    fn by_enumeration(values: &[f64], hazard: f64) -> Vec<f64> {
        let mut weights = vec![0.0; values.len()];
        for cuts in 0..1_u32 << (values.len() - 1) {
            let (mut start, mut level, mut log_probability) = (0, PRIOR, 0.0);
            for (at, x) in values.iter().enumerate() {
                let cut = at > 0 && cuts >> (at - 1) & 1 == 1;
                if cut {
                    (start, level) = (at, PRIOR);
                }
                if at > 0 {
                    log_probability += if cut { hazard.ln() } else { (1.0 - hazard).ln() };
                }
                // Student's t from its textbook form, by way of the marginal likelihood of one more value.
                let (before, after) = (level, level.observe(1.0, *x, 0.0));
                let log_marginal = |of: NormalGamma| {
                    crate::dist::special::ln_gamma(0.5 * of.dof) - 0.5 * of.dof * (0.5 * of.scatter).ln() - 0.5 * of.strength.ln()
                };
                log_probability += log_marginal(after) - log_marginal(before) - 0.5 * crate::dist::special::LN_TAU;
                level = after;
            }
            weights[start] += log_probability.exp();
        }
        let total: f64 = weights.iter().sum();
        weights.iter().map(|weight| weight / total).collect()
    }

    #[test]
    fn the_posterior_is_that_of_all_segmentations() {
        let values = [0.3, -0.2, 0.1, 0.4, 7.1, 6.8, 7.4, 7.0, -3.0, 7.2, 40.0, 41.0];
        let law = Law { hazard: 0.07, stray: 0.0 };
        for count in 1..=values.len() {
            let mut lengths = RunLengths::default();
            for (at, x) in (0..).zip(&values[..count]) {
                lengths.observe(law, birth(*x, 1.0), at, *x, 1.0, |_| 0.0);
            }
            let expected = by_enumeration(&values[..count], law.hazard);
            assert_eq!(lengths.runs().len(), count);
            for (run, expected) in lengths.runs().iter().zip(expected) {
                assert!((run.log_weight.exp() - expected).abs() < 1e-12, "{count}: {run:?}, expected {expected}");
            }
        }
    }

    /// Strays as a mixture: with two values there are few enough ways to write them all down.
    #[test]
    fn strays_say_nothing_of_their_regime() {
        let law = Law { hazard: 0.1, stray: 0.05 };
        let mut lengths = RunLengths::default();
        lengths.observe(law, birth(1.0, 0.95), 3, 1.0, 1.0, |_| 0.0);
        lengths.observe(law, birth(25.0, 0.95), 4, 25.0, 1.0, |_| 0.0);
        let first = PRIOR.observe(0.95, 1.0, 0.0);
        let [regular, outright] = [first, PRIOR].map(|level| level.predictive_log_density(25.0).exp());
        let (stay, change) = (0.9 * (0.95 * regular + 0.05 * outright), 0.1 * outright);
        let [old, new] = lengths.runs() else { panic!("{lengths:?}") };
        assert_eq!((old.start, new.start), (3, 4));
        assert!((old.log_weight.exp() - stay / (stay + change)).abs() < 1e-14);
        assert!((new.log_weight.exp() - change / (stay + change)).abs() < 1e-14);
        let counted = old.level.strength - first.strength;
        assert!((counted - 0.95 * regular / (0.95 * regular + 0.05 * outright)).abs() < 1e-14, "{counted}");
    }

    /// The annual flow of the Nile at Aswan, 1871 to 1970 (Cobb 1978): less from 1899 on, when a dam was begun.
    #[test]
    fn the_nile_has_less_water_from_1899_on() {
        const FLOWS: [f64; 100] = [
            1120.0, 1160.0, 963.0, 1210.0, 1160.0, 1160.0, 813.0, 1230.0, 1370.0, 1140.0, 995.0, 935.0, 1110.0, 994.0, 1020.0,
            960.0, 1180.0, 799.0, 958.0, 1140.0, 1100.0, 1210.0, 1150.0, 1250.0, 1260.0, 1220.0, 1030.0, 1100.0, 774.0, 840.0,
            874.0, 694.0, 940.0, 833.0, 701.0, 916.0, 692.0, 1020.0, 1050.0, 969.0, 831.0, 726.0, 456.0, 824.0, 702.0, 1120.0,
            1100.0, 832.0, 764.0, 821.0, 768.0, 845.0, 864.0, 862.0, 698.0, 845.0, 744.0, 796.0, 1040.0, 759.0, 781.0, 865.0,
            845.0, 944.0, 984.0, 897.0, 822.0, 1010.0, 771.0, 676.0, 649.0, 846.0, 812.0, 742.0, 801.0, 1040.0, 860.0, 874.0,
            848.0, 890.0, 744.0, 749.0, 838.0, 1050.0, 918.0, 986.0, 797.0, 923.0, 975.0, 815.0, 1020.0, 906.0, 901.0, 1170.0,
            912.0, 746.0, 919.0, 718.0, 714.0, 740.0,
        ];
        let prior = NormalGamma { mean: 1000.0, strength: 0.1, dof: 2.0, scatter: 2.0 * 150.0 * 150.0 };
        let mut lengths = RunLengths::default();
        for (year, flow) in (1871..).zip(FLOWS) {
            let birth = Birth { log_density: prior.predictive_log_density(flow), level: prior.observe(1.0, flow, 0.0) };
            lengths.observe(Law { hazard: 0.01, stray: 0.0 }, birth, year, flow, 1.0, |_| 0.0);
        }
        let likeliest = lengths.likeliest(|_| true).unwrap();
        assert_eq!(likeliest.start, 1899, "{likeliest:?}");
        assert!(lengths.probability_after(1894) > 0.95);
    }

    #[test]
    fn runs_that_are_made_one_leave_the_likeliest_where_it_is() {
        let noise = crate::noise::Noise::new(5);
        let law = Law { hazard: 0.01, stray: 0.01 };
        let mut lengths = RunLengths::default();
        for at in 0..400_u32 {
            let level = if at < 250 { 0.0 } else { 4.0 };
            let x = level + noise.normal(0, 0, at);
            lengths.observe(law, birth(x, 1.0), at.into(), x, 1.0, |_| 0.0);
            assert!(lengths.runs().len() <= MOST_RUNS);
            let total: f64 = lengths.runs().iter().map(|run| run.log_weight.exp()).sum();
            assert!((total - 1.0).abs() < 1e-12);
        }
        let likeliest = lengths.likeliest(|_| true).unwrap();
        assert!((249..=251).contains(&likeliest.start), "{likeliest:?}");
        assert!(lengths.probability_after(240) > 0.999);
    }
}
