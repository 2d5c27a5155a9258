//! What past forecasts teach about the next one: the distribution of their probability integral transforms.
//!
//! If forecasts were right, `u = F(x)` would be uniform. Where it isn't, the forecast with the distribution function `G(F(x))` and
//! density `p(x) g(F(x))` is better, with G the distribution that u has had (Dawid 1984; Kuleshov, Fenner & Ermon 2018). G is a
//! forgetting histogram, shrunk to the uniform distribution, of which the forecast's density, intervals and probabilities are all made.

/// Edges of the bins of either tail, as `−ln 2u` of the tail's probability u: fine in the middle, where series that repeat their values
/// lie, and even on the scale of surprise further out. What is within the first of both tails is one bin.
const EDGES: [f64; SIDE] = [
    0.003, 0.01, 0.03, 0.06, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.4, 1.7, 2.0, 2.3, 2.6, 3.0, 3.5, 4.0, 4.5,
    5.0, 6.0, 7.0, 8.0, 10.0, 12.0, 15.0, 20.0,
];

/// Bins of a tail.
const SIDE: usize = 32;

/// Bins, from the lower tail's outermost to the upper's.
pub const BINS: usize = 2 * SIDE + 1;

/// Events after which a past forecast counts half.
const HALF_LIFE: f64 = 1_000.0;

/// Events that the uniform distribution is worth.
const PRIOR: f64 = 20.0;

/// Discounted numbers of past forecasts by their u.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recalibration {
    /// See [`BINS`].
    pub counts: [f64; BINS],
}

impl Default for Recalibration {
    fn default() -> Self {
        Self { counts: [0.0; BINS] }
    }
}

/// Where bin `steps` from the outside begins and ends.
fn bounds(steps: usize) -> (f64, f64) {
    let edge = |at: usize| 0.5 * (-EDGES[at]).exp();
    match steps {
        0 => (0.0, edge(SIDE - 1)),
        SIDE => (edge(0), 1.0 - edge(0)),
        _ if steps < SIDE => (edge(SIDE - steps), edge(SIDE - steps - 1)),
        _ => {
            let (outer, inner) = bounds(2 * SIDE - steps);
            (1.0 - inner, 1.0 - outer)
        }
    }
}

/// A raw probability: of the nearer tail, which of them it is, and how many bins are farther out.
fn place(lower: f64, upper: f64) -> (f64, bool, usize) {
    let tail = (lower.min(upper) / (lower + upper)).clamp(f64::MIN_POSITIVE, 0.5);
    let inner = EDGES.partition_point(|edge| *edge <= -(2.0 * tail).ln());
    (tail, upper < lower, SIDE - inner)
}

impl Recalibration {
    fn count(&self, steps: usize, upper: bool) -> f64 {
        self.counts[if upper { BINS - 1 - steps } else { steps }]
    }

    /// Events behind it, with the prior's.
    fn total(&self) -> f64 {
        PRIOR + self.counts.iter().sum::<f64>()
    }

    /// `ln g(u)`, where `lower` and `upper` are the raw tails.
    pub fn ln_ratio(&self, lower: f64, upper: f64) -> f64 {
        let (_, side, steps) = place(lower, upper);
        let (outer, inner) = bounds(steps);
        ((PRIOR + self.count(steps, side) / (inner - outer)) / self.total()).ln()
    }

    /// `G(u)`, where `lower` and `upper` are the raw tails.
    pub fn lower_tail(&self, lower: f64, upper: f64) -> f64 {
        let (tail, side, steps) = place(lower, upper);
        let (outer, inner) = bounds(steps);
        let farther: f64 = (0..steps).map(|at| self.count(at, side)).sum();
        let within = (tail - outer) / (inner - outer) * self.count(steps, side);
        let near = ((PRIOR * tail + farther + within) / self.total()).min(1.0);
        if side { 1.0 - near } else { near }
    }

    /// The raw tail that becomes `tail`.
    pub fn raw_tail(&self, tail: f64, upper: bool) -> f64 {
        let goal = tail * self.total();
        let mut farther = 0.0;
        for steps in 0..BINS {
            let ((outer, inner), count) = (bounds(steps), self.count(steps, upper));
            if PRIOR * inner + farther + count >= goal || steps == BINS - 1 {
                let raw = outer + (goal - PRIOR * outer - farther) / (PRIOR + count / (inner - outer));
                return raw.clamp(f64::MIN_POSITIVE, 1.0 - f64::EPSILON);
            }
            farther += count;
        }
        tail
    }

    /// Takes in where a number came to lie.
    pub fn learn(&mut self, lower: f64, upper: f64) {
        let (_, side, steps) = place(lower, upper);
        let kept = (-1.0 / HALF_LIFE).exp2();
        self.counts.iter_mut().for_each(|count| *count *= kept);
        self.counts[if side { BINS - 1 - steps } else { steps }] += 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Something uneven.
    fn learnt() -> Recalibration {
        let mut recalibration = Recalibration::default();
        for event in 0..3_000_u32 {
            let u = f64::from(event * 7919 % 3001 + 1) / 3002.0;
            let u = if event % 3 == 0 { u.powi(9) } else { 0.3 + 0.4 * u };
            recalibration.learn(u, 1.0 - u);
        }
        recalibration
    }

    #[test]
    fn bins_tile_the_unit_interval() {
        for steps in 1..BINS {
            assert!((bounds(steps - 1).1 - bounds(steps).0).abs() < 1e-16 && bounds(steps).0 < bounds(steps).1, "{steps}");
        }
        assert_eq!((bounds(0).0, bounds(BINS - 1).1), (0.0, 1.0));
    }

    #[test]
    fn nothing_learnt_changes_nothing() {
        let nothing = Recalibration::default();
        for u in [1e-12, 0.01, 0.3, 0.5, 0.8, 0.999] {
            assert!((nothing.lower_tail(u, 1.0 - u) - u).abs() < 1e-15 && nothing.ln_ratio(u, 1.0 - u).abs() < 1e-12);
            assert!((nothing.raw_tail(u, false) - u).abs() < 1e-15 && (nothing.raw_tail(u, true) - u).abs() < 1e-15);
        }
    }

    #[test]
    fn tails_come_back_and_their_slope_is_the_density() {
        let recalibration = learnt();
        for u in [1e-9, 1e-4, 0.013, 0.2, 0.41, 0.499, 0.5, 0.63, 0.87, 0.995] {
            let found = recalibration.lower_tail(u, 1.0 - u);
            assert!((recalibration.raw_tail(found, false) / u - 1.0).abs() < 1e-9, "{u}");
            assert!((recalibration.raw_tail(1.0 - found, true) / (1.0 - u) - 1.0).abs() < 1e-9, "{u}");
            let h = 1e-7 * u;
            let slope = (recalibration.lower_tail(u + h, 1.0 - u - h) - recalibration.lower_tail(u - h, 1.0 - u + h)) / (2.0 * h);
            assert!((recalibration.ln_ratio(u, 1.0 - u).exp() / slope - 1.0).abs() < 1e-5, "{u}: {slope}");
        }
    }

    #[test]
    fn a_value_always_in_the_middle_stays_there() {
        let mut recalibration = Recalibration::default();
        (0..5_000).for_each(|_| recalibration.learn(0.5, 0.5));
        assert!((recalibration.lower_tail(0.5, 0.5) - 0.5).abs() < 1e-12);
        assert!(recalibration.raw_tail(0.25, false) > 0.499);
    }
}
