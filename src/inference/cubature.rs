//! Points in many dimensions that stand for a standard normal vector.
//!
//! A rank-1 lattice (Sloan & Joe 1994) through the normal quantile, made to have mean 0 and covariance I exactly. The points come in
//! pairs ±z, so the rule is exact for polynomials of degree 3. Every weight is 1/n: unlike a rule of degree 5, whose weights are
//! partly negative above seven dimensions, it keeps probabilities positive and averages of positive semidefinite matrices so. Its
//! error falls as points are added, also where what is averaged bends sharply, as a softmax of wide logits does: up to nine
//! dimensions faster than that of as many independent pairs, beyond as theirs.

use nalgebra::{Cholesky, DMatrix};
use statrs::function::erf::erfc_inv;

use crate::dist::lanes::{LANES, Lanes};

/// Equally weighted points.
#[derive(Clone, Debug, PartialEq)]
pub struct NormalPoints {
    /// Coordinates of a point.
    pub dimensions: usize,
    /// `[points / LANES, dimensions]`, each with the coordinate of [`LANES`] points.
    pub lanes: Vec<Lanes>,
}

impl NormalPoints {
    /// At least `points` of them: a power of two, and at least eight times the dimensions.
    pub fn new(dimensions: usize, points: usize) -> Self {
        let points = points.max(8 * dimensions).max(16).next_power_of_two();
        let lattice = lattice(dimensions, points);
        // Half a step along the lattice, so that u and 1 − u are both points of it.
        let uniform = |point: usize, generator: usize| ((2 * point + 1) * generator % (2 * points)) as f64 / (2 * points) as f64;
        let quantile = |u: f64| -std::f64::consts::SQRT_2 * erfc_inv(2.0 * u);
        let raw = DMatrix::from_fn(dimensions, points, |d, point| quantile(uniform(point, lattice[d])));
        let covariance = &raw * raw.transpose() / points as f64;
        let factor = Cholesky::new(covariance).expect("a lattice with distinct generators spans its space").unpack();
        let white = factor.solve_lower_triangular(&raw).expect("a factor's diagonal is positive");
        let chunk = |index: usize| {
            let (group, d) = (index / dimensions, index % dimensions);
            std::array::from_fn(|lane| white[(d, group * LANES + lane)])
        };
        Self { dimensions, lanes: (0..points / LANES * dimensions).map(chunk).collect() }
    }

    /// How many points there are.
    pub fn points(&self) -> usize {
        self.lanes.len() * LANES / self.dimensions
    }
}

/// How much of a function is taken to depend on each coordinate: all are alike.
const WEIGHT: f64 = 0.3;

/// The generators of a rank-1 lattice, chosen one after another, each to make the worst-case error least, in a weighted Korobov
/// space of smoothness 1 (Sloan & Reztsov 2002). They are odd, and no two the same up to sign.
fn lattice(dimensions: usize, points: usize) -> Vec<usize> {
    // 2π² B₂(x), at x = k / points.
    let kernel: Vec<f64> = (0..points)
        .map(|k| k as f64 / points as f64)
        .map(|x| 2.0 * std::f64::consts::PI.powi(2) * (x * x - x + 1.0 / 6.0))
        .collect();
    let (mut generators, mut product) = (Vec::new(), vec![1.0; points]);
    for _ in 0..dimensions {
        let factor = |k: usize, generator: usize| 1.0 + WEIGHT * kernel[k * generator % points];
        let error = |generator: usize| product.iter().enumerate().map(|(k, product)| product * factor(k, generator)).sum::<f64>();
        let candidates = (1..points / 2).step_by(2).filter(|generator| !generators.contains(generator));
        let best = candidates.min_by(|one, other| error(*one).total_cmp(&error(*other))).expect("an odd number is left");
        for (k, product) in product.iter_mut().enumerate() {
            *product *= factor(k, best);
        }
        generators.push(best);
    }
    generators
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::testing::{assert_close, normal};

    /// The average of f over the points.
    fn average(points: &NormalPoints, f: impl Fn(&[f64]) -> f64) -> f64 {
        let mut sum = 0.0;
        for group in points.lanes.chunks_exact(points.dimensions) {
            for lane in 0..LANES {
                sum += f(&group.iter().map(|coordinate| coordinate[lane]).collect::<Vec<_>>());
            }
        }
        sum / points.points() as f64
    }

    #[test]
    fn moments_up_to_the_third_are_exact() {
        for dimensions in [1, 2, 3, 9, 40] {
            let points = NormalPoints::new(dimensions, 64);
            assert!(points.points() >= 8 * dimensions);
            for one in 0..dimensions {
                assert!(average(&points, |z| z[one]).abs() < 1e-13);
                for other in 0..=one {
                    let expected = if one == other { 1.0 } else { 0.0 };
                    assert_close(average(&points, |z| z[one] * z[other]), expected, 1e-12);
                    assert!(average(&points, |z| z[0] * z[one] * z[other]).abs() < 1e-12);
                }
            }
        }
    }

    /// `E cos(aᵀz) = exp(−|a|²/2)` and `E max(0, aᵀz) = |a| / √(2π)`, of which no polynomial of low degree is near.
    #[test]
    fn errors_fall_as_points_are_added() {
        for (dimensions, allowed) in [(2, [0.06, 0.02, 0.005]), (5, [0.1, 0.04, 0.012]), (10, [0.1, 0.06, 0.025])] {
            for (points, allowed) in [64, 256, 1024].into_iter().zip(allowed) {
                let points = NormalPoints::new(dimensions, points);
                let [mut of_cosine, mut of_corner] = [0.0; 2];
                for shape in 0..25 {
                    let raw: Vec<f64> = (0..dimensions).map(|d| normal(100 * shape + d as u64)).collect();
                    let length = raw.iter().map(|a| a * a).sum::<f64>().sqrt();
                    let dot = |z: &[f64]| 2.0 / length * z.iter().zip(&raw).map(|(z, a)| z * a).sum::<f64>();
                    of_cosine += (average(&points, |z| dot(z).cos()) - f64::exp(-2.0)).powi(2) / 25.0;
                    of_corner += (average(&points, |z| dot(z).max(0.0)) - 2.0 / std::f64::consts::TAU.sqrt()).powi(2) / 25.0;
                }
                let errors = [of_cosine.sqrt(), of_corner.sqrt()];
                assert!(errors[0] < allowed && errors[1] < 0.5 * allowed, "{dimensions}, {} points: {errors:?}", points.points());
            }
        }
    }
}
