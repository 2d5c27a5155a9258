//! The weights of a mixture's components: stick-breaking.

use pulp::{Arch, Simd, WithSimd};

use super::kernel::Matrix;
use crate::dist::beta::Beta;
use crate::dist::family::ExponentialFamily;
use crate::dist::lanes::{LANES, Lanes};
use crate::dist::special::trigamma;

/// Stick-breaking weights: `π_k = v_k Π_{j before k} (1 − v_j)`, `q(v_k) = Beta(1 + N_k, α + Σ_{j after k} N_j)`, in the order of size
/// (Blei & Jordan 2006; sorting by size: Kurihara, Welling & Vlassis 2007).
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// The components in the order of size, and their sticks.
    pub sticks: Vec<(usize, Beta)>,
    /// E ln π_k.
    pub expected_ln: Vec<f64>,
    /// E π_k.
    pub mean: Vec<f64>,
    /// What is left for components not yet there: `E Π (1 − v_k)`.
    pub rest: f64,
    /// KL(q(v) ‖ p(v)).
    pub kl: f64,
}

impl Weights {
    /// The weights of components with `events` in each.
    pub fn new(events: &[f64], concentration: f64) -> Self {
        let mut order: Vec<usize> = (0..events.len()).collect();
        order.sort_by(|a, b| events[*b].total_cmp(&events[*a]));
        let zeros = vec![0.0; events.len()];
        let mut weights = Self { sticks: Vec::new(), expected_ln: zeros.clone(), mean: zeros, rest: 1.0, kl: 0.0 };
        let prior = Beta { yes: 1.0, no: concentration };
        let mut later: f64 = events.iter().sum();
        let mut ln_rest = 0.0;
        for k in order {
            later = (later - events[k]).max(0.0);
            let stick = Beta { yes: 1.0 + events[k], no: concentration + later };
            let [ln_yes, ln_no] = stick.to_mean();
            weights.expected_ln[k] = ln_rest + ln_yes;
            weights.mean[k] = weights.rest * stick.mean();
            weights.rest *= stick.no / (stick.yes + stick.no);
            weights.kl += stick.kl(&prior);
            weights.sticks.push((k, stick));
            ln_rest += ln_no;
        }
        weights
    }

    /// The weight of a component that is alone for good.
    pub fn alone() -> Self {
        Self { sticks: Vec::new(), expected_ln: vec![0.0], mean: vec![1.0], rest: 0.0, kl: 0.0 }
    }
}

/// How well the logs of weights are known: those of the first components in the order of size, and of all that the later ones and
/// components not yet there share, `Π (1 − v_j)`.
#[derive(Clone, Debug)]
pub struct WeightVariance {
    /// ψ₁ of `(a, b, a + b)` of each stick.
    trigammas: Vec<[f64; 3]>,
}

impl WeightVariance {
    /// Of the weights that come by these sticks.
    pub fn new(sticks: impl Iterator<Item = Beta>) -> Self {
        Self { trigammas: sticks.map(|Beta { yes, no }| [yes, no, yes + no].map(trigamma)).collect() }
    }

    /// `Var Σ_k r_k ln π_k` of each event, for responsibilities r `[components and rest, events]`:
    /// `Σ_j r_j² ψ₁(a_j) + R_j² ψ₁(b_j) − (r_j + R_j)² ψ₁(a_j + b_j)`, where R_j is the sum of all r after j: `ln v_j` enters with r_j and
    /// `ln(1 − v_j)` with R_j. Zeros if there are no sticks.
    pub fn of_sums(&self, responsibilities: &Matrix) -> Vec<Lanes> {
        Arch::new().dispatch(OfSums { trigammas: &self.trigammas, responsibilities })
    }
}

struct OfSums<'a> {
    trigammas: &'a [[f64; 3]],
    responsibilities: &'a Matrix,
}

impl WithSimd for OfSums<'_> {
    type Output = Vec<Lanes>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<Lanes> {
        let groups = self.responsibilities.groups;
        let mut sums = vec![[0.0; LANES]; groups];
        if self.trigammas.is_empty() {
            return sums;
        }
        let mut later = self.responsibilities.row(self.trigammas.len()).to_vec();
        for (row, [yes, no, both]) in self.trigammas.iter().enumerate().rev() {
            for ((sum, later), own) in sums.iter_mut().zip(&mut later).zip(self.responsibilities.row(row)) {
                for i in 0..LANES {
                    let total = own[i] + later[i];
                    sum[i] += own[i] * own[i] * yes + later[i] * later[i] * no - total * total * both;
                    later[i] = total;
                }
            }
        }
        sums
    }
}
