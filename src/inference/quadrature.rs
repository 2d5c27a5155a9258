//! Expectations under a normal density, on one line.
//!
//! Gauss–Hermite rules are exact for polynomials, and are what tensor grids are made of. But log likelihoods have poles: softplus and
//! the logistic function at ±iπ, which is ±iπ/s in units of the predictor's standard deviation s, and N Gauss–Hermite points leave
//! an error near `exp(−2π√N / s)`: at s = 6, where a prior over forty inputs begins, 32 points leave two digits. The trapezoidal
//! rule with step h leaves `exp(−2π² / (h s) + π² / 2s²)` (Trefethen & Weideman 2014, §5), so halving its step squares the error,
//! and twice as many points serve twice the s. [`expect`] takes whichever is cheaper.

use std::sync::LazyLock;

use nalgebra::{DMatrix, SymmetricEigen};

use crate::dist::lanes::{LANES, Lanes};

/// Nodes and weights for the standard normal density: `E f(z) ≈ Σ_k w_k f(z_k)`.
#[derive(Clone, Debug, PartialEq)]
pub struct NormalRule<const N: usize> {
    /// z, ascending and symmetric about 0.
    pub nodes: [f64; N],
    /// w, whose sum is 1.
    pub weights: [f64; N],
}

impl<const N: usize> NormalRule<N> {
    /// The rule that is exact for polynomials of degree `2N − 1`, for N from 1 to 64.
    ///
    /// Golub & Welsch 1969: the nodes are the eigenvalues of the Jacobi matrix with √k beside its diagonal. Newton's method on the
    /// orthonormal polynomials takes them to the last digit, and `w = 1 / (N p_{N−1}(z)²)` is exact however small.
    pub fn gauss_hermite() -> Self {
        const { assert!(N >= 1 && N <= 64) };
        let jacobi = DMatrix::from_fn(N, N, |i, j| if i.abs_diff(j) == 1 { (i.max(j) as f64).sqrt() } else { 0.0 });
        let mut ascending: Vec<f64> = SymmetricEigen::new(jacobi).eigenvalues.iter().copied().collect();
        ascending.sort_by(f64::total_cmp);
        let mut rule = Self { nodes: [0.0; N], weights: [0.0; N] };
        for k in 0..N.div_ceil(2) {
            let mut z = if 2 * k + 1 == N { 0.0 } else { ascending[N - 1 - k] };
            for _ in 0..3 {
                let (value, before) = orthonormal_hermite(N, z);
                z -= value / ((N as f64).sqrt() * before);
            }
            let weight = 1.0 / (N as f64 * orthonormal_hermite(N, z).1.powi(2));
            (rule.nodes[k], rule.nodes[N - 1 - k]) = (-z, z);
            (rule.weights[k], rule.weights[N - 1 - k]) = (weight, weight);
        }
        rule
    }

    /// Equal steps from −8.1 to 8.1: 6e-16 of the density lies outside.
    pub fn trapezoidal() -> Self {
        const { assert!(N >= 16) };
        let nodes = std::array::from_fn(|i| 8.1 * (2.0 * i as f64 / (N - 1) as f64 - 1.0));
        let weights = nodes.map(|z: f64| (-0.5 * z * z).exp());
        let total: f64 = weights.iter().sum();
        Self { nodes, weights: weights.map(|weight| weight / total) }
    }

    /// `E f(x)` under `N(mean, sd²)`, of several functions at once.
    #[inline]
    pub fn expect<const K: usize>(&self, mean: f64, sd: f64, f: impl Fn(f64) -> [f64; K]) -> [f64; K] {
        let mut sums = [0.0; K];
        for (node, weight) in self.nodes.iter().zip(&self.weights) {
            let values = f(mean + sd * node);
            for k in 0..K {
                sums[k] += weight * values[k];
            }
        }
        sums
    }

    fn lanes(&self) -> Vec<[Lanes; 2]> {
        let chunk = |first: usize| [&self.nodes, &self.weights].map(|all| std::array::from_fn(|lane| all[first + lane]));
        (0..N).step_by(LANES).map(chunk).collect()
    }
}

/// The polynomials of degrees n and n − 1 that are orthonormal under the standard normal density, at z. The derivative of the first
/// is √n times the second.
fn orthonormal_hermite(n: usize, z: f64) -> (f64, f64) {
    let (mut value, mut before) = (1.0, 0.0);
    for k in 0..n {
        let next = (z * value - (k as f64).sqrt() * before) / ((k + 1) as f64).sqrt();
        (value, before) = (next, value);
    }
    (value, before)
}

/// The greatest sd that each rule of [`RULES`] is good for.
const REACH: [f64; 7] = [0.4, 0.8, 1.4, 2.8, 5.6, 11.2, f64::INFINITY];

/// Nodes and weights of Gauss–Hermite rules with 8 and 16 points, and of trapezoidal ones from 32 to 512.
static RULES: LazyLock<[Vec<[Lanes; 2]>; REACH.len()]> = LazyLock::new(|| {
    [
        NormalRule::<8>::gauss_hermite().lanes(),
        NormalRule::<16>::gauss_hermite().lanes(),
        NormalRule::<32>::trapezoidal().lanes(),
        NormalRule::<64>::trapezoidal().lanes(),
        NormalRule::<128>::trapezoidal().lanes(),
        NormalRule::<256>::trapezoidal().lanes(),
        NormalRule::<512>::trapezoidal().lanes(),
    ]
});

/// `E f(x)` under `N(mean, sd²)` of several functions at once, for functions that are analytic where |Im x| < π and grow like
/// polynomials on the real line, or like `exp(a x)` with |a| sd at most about 1. `f` sees [`LANES`] points at a time.
///
/// 8 points for an sd up to 0.4, 16 up to 0.8, 32 up to 1.4, and twice as many each time that the sd doubles, up to 512: the error
/// is near 1e-9 of f's size up to an sd of 22, and grows beyond.
#[inline(always)]
pub fn expect<const K: usize>(mean: f64, sd: f64, f: impl Fn(&Lanes) -> [Lanes; K]) -> [f64; K] {
    let rule = REACH.iter().position(|reach| sd <= *reach).unwrap_or(REACH.len() - 1);
    let mut sums = [[0.0; LANES]; K];
    for [nodes, weights] in &RULES[rule] {
        let values = f(&nodes.map(|z| mean + sd * z));
        for k in 0..K {
            for lane in 0..LANES {
                sums[k][lane] += weights[lane] * values[k][lane];
            }
        }
    }
    sums.map(|lanes| lanes.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::testing::assert_close;

    fn check<const N: usize>() {
        let rule = NormalRule::<N>::gauss_hermite();
        assert!(rule.nodes.is_sorted());
        // E z^2k = (2k − 1)!!, relative to which every degree up to 2N − 1 is exact; degree 2N is short by N!.
        let mut moment = 1.0;
        for k in 0..N {
            let [even, odd] = rule.expect(0.0, 1.0, |z| [z.powi(2 * k as i32) / moment, z.powi(2 * k as i32 + 1) / moment]);
            assert!((even - 1.0).abs() < 1e-12 && odd.abs() < 1e-12, "{N} points, degree {}: {even}, {odd}", 2 * k);
            moment *= (2 * k + 1) as f64;
        }
        let factorial: f64 = (1..=N).map(|k| k as f64).product();
        let [short] = rule.expect(0.0, 1.0, |z| [z.powi(2 * N as i32) / moment]);
        assert_close(1.0 - short, factorial / moment, 1e-12);
    }

    #[test]
    fn gauss_hermite_is_exact_up_to_its_degree_and_no_further() {
        check::<1>();
        check::<2>();
        check::<3>();
        check::<7>();
        check::<8>();
        check::<20>();
        check::<32>();
        check::<63>();
        check::<64>();
    }

    /// Abramowitz & Stegun, table 25.10, for n = 5 and 20: nodes times √2, weights over √π.
    #[test]
    fn known_nodes() {
        let five = NormalRule::<5>::gauss_hermite();
        let twenty = NormalRule::<20>::gauss_hermite();
        let sqrt_pi = std::f64::consts::PI.sqrt();
        for (node, weight, z, w) in [
            (five.nodes[2], five.weights[2], 0.0, 9.453_087_204_829e-1),
            (five.nodes[3], five.weights[3], 0.958_572_464_613_819, 3.936_193_231_522e-1),
            (five.nodes[4], five.weights[4], 2.020_182_870_456_086, 1.995_324_205_905e-2),
            (twenty.nodes[10], twenty.weights[10], 0.245_340_708_300_9, 4.622_436_696_006e-1),
            (twenty.nodes[19], twenty.weights[19], 5.387_480_890_011_2, 2.229_393_645_534e-13),
        ] {
            assert_close(node, z * std::f64::consts::SQRT_2, 1e-13);
            assert!((weight * sqrt_pi / w - 1.0).abs() < 2e-12, "{weight} {w}");
        }
    }

    #[test]
    fn expectations_of_polynomials_and_exponentials() {
        for sd in [0.0, 0.3, 0.4, 0.41, 0.8, 0.81, 1.4, 1.5, 4.0, 20.0] {
            let [one, square] = expect(0.7, sd, |x| [[1.0; LANES], x.map(|x| x * x)]);
            assert_close(one, 1.0, 1e-14);
            assert_close(square, 0.49 + sd * sd, 1e-13);
            let a = 1.0 / f64::max(sd, 1.0);
            let [exponential] = expect(0.7, sd, |x| [x.map(|x| (a * x).exp())]);
            assert_close(exponential, (0.7 * a + 0.5 * (a * sd).powi(2)).exp(), 1e-11);
        }
    }
}
