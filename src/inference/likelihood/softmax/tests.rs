//! Held against fine grids in two and three dimensions, against Monte Carlo in more, and against itself.

use nalgebra::DMatrix;

use super::*;
use crate::dist::testing::{assert_close, normal, uniform};

/// Logits with a mean of spread 1.5 and a correlated covariance of about sd², common shift included.
fn logits(classes: usize, sd: f64, seed: u64) -> (Vec<f64>, Vec<f64>) {
    let at = |index: usize| normal(seed * 10_000 + index as u64);
    let mean = (0..classes).map(|class| 1.5 * at(class)).collect();
    let root = |row: usize, column: usize| at(100 + row * classes + column);
    let mut covariance = vec![0.0; classes * classes];
    for row in 0..classes {
        for column in 0..classes {
            let product: f64 = (0..classes).map(|k| root(row, k) * root(column, k)).sum();
            covariance[row * classes + column] =
                sd * sd * (0.5 * product / classes as f64 + if row == column { 0.5 } else { 0.0 });
        }
    }
    (mean, covariance)
}

/// Averages over `(weight, z)`, with as many z as classes and the covariance as it is, without a thought of shifts: of ln p(y), its
/// square, p and p pᵀ one after another.
fn brute(y: usize, mean: &[f64], covariance: &[f64], points: impl Iterator<Item = (f64, Vec<f64>)>) -> Vec<f64> {
    let classes = mean.len();
    let factor = nalgebra::Cholesky::new(DMatrix::from_row_slice(classes, classes, covariance)).unwrap().unpack();
    let mut sums = vec![0.0; 2 + classes + classes * classes];
    for (weight, z) in points {
        let eta: Vec<f64> = (0..classes).map(|c| mean[c] + (0..=c).map(|k| factor[(c, k)] * z[k]).sum::<f64>()).collect();
        let total = log_sum_exp(&eta);
        let p: Vec<f64> = eta.iter().map(|eta| (eta - total).exp()).collect();
        let products = p.iter().flat_map(|one| p.iter().map(move |other| one * other));
        let values = [eta[y] - total, (eta[y] - total).powi(2)].into_iter().chain(p.iter().copied()).chain(products);
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += weight * value;
        }
    }
    sums
}

/// All combinations of `points` equal steps over ±7.5, in three dimensions.
fn grid(points: usize) -> impl Iterator<Item = (f64, Vec<f64>)> {
    let z = move |i: usize| 7.5 * (2.0 * i as f64 / (points - 1) as f64 - 1.0);
    let total = (0..points).map(|i| (-0.5 * z(i).powi(2)).exp()).sum::<f64>().powi(3);
    (0..points.pow(3)).map(move |index| {
        let z = vec![z(index % points), z(index / points % points), z(index / points.pow(2))];
        ((-0.5 * z.iter().map(|z| z * z).sum::<f64>()).exp() / total, z)
    })
}

/// The same of what the cubature says.
fn ours(softmax: &Softmax, y: usize, mean: &[f64], covariance: &[f64]) -> Vec<f64> {
    let mut out = softmax.room();
    softmax.expected(y, mean, covariance, &mut out);
    let classes = mean.len();
    let p: Vec<f64> = out.gradient.iter().enumerate().map(|(class, g)| if class == y { 1.0 - g } else { -g }).collect();
    let product = (0..classes * classes).map(|i| (if i % (classes + 1) == 0 { p[i / classes] } else { 0.0 }) - out.precision[i]);
    let (value, product) = (out.value, product.collect::<Vec<_>>());
    let sd = softmax.predictive(y, mean, covariance, &mut out).sd;
    [value, sd * sd + value * value].into_iter().chain(p).chain(product).collect()
}

fn greatest_error(found: &[f64], expected: &[f64]) -> f64 {
    found.iter().zip(expected).map(|(found, expected)| (found - expected).abs()).fold(0.0, f64::max)
}

#[test]
fn expectations_agree_with_fine_grids() {
    let softmax = Softmax::new(3);
    for (sd, of_probabilities, of_logs) in
        [(0.1, 2e-6, 2e-6), (0.2, 3e-5, 3e-5), (0.5, 4e-4, 4e-4), (1.0, 2e-3, 2e-3), (3.0, 2e-3, 5e-3)]
    {
        for seed in 0..4 {
            let (mean, covariance) = logits(3, sd, seed);
            let y = seed as usize % 3;
            let (found, expected) =
                (ours(&softmax, y, &mean, &covariance), brute(y, &mean, &covariance, grid(if sd < 2.0 { 40 } else { 70 })));
            let (logs, probabilities) =
                (greatest_error(&found[..1], &expected[..1]), greatest_error(&found[2..], &expected[2..]));
            assert!(logs < of_logs && probabilities < of_probabilities, "sd {sd}, {seed}: {logs:e} {probabilities:e}");
            let sds = [&found, &expected].map(|it| (it[1] - it[0] * it[0]).sqrt());
            assert!((sds[0] / sds[1] - 1.0).abs() < 0.01, "{sds:?}");
        }
    }
}

#[test]
fn expectations_agree_with_monte_carlo_in_many_dimensions() {
    for (classes, sd) in [(5, 1.0), (10, 0.3), (10, 2.0), (20, 1.0)] {
        const DRAWS: u64 = 20_000;
        let softmax = Softmax::new(classes);
        let (mean, covariance) = logits(classes, sd, 77);
        let points = |batch: u64| {
            (0..DRAWS).map(move |draw| {
                let z = (0..classes as u64).map(|k| normal((batch * DRAWS + draw) * classes as u64 + k)).collect();
                (1.0 / DRAWS as f64, z)
            })
        };
        let batches: Vec<Vec<f64>> = (1..9).map(|batch| brute(1, &mean, &covariance, points(batch))).collect();
        let found = ours(&softmax, 1, &mean, &covariance);
        for (index, found) in found.iter().enumerate() {
            let expected = batches.iter().map(|batch| batch[index]).sum::<f64>() / 8.0;
            let variance = batches.iter().map(|batch| (batch[index] - expected).powi(2)).sum::<f64>() / 7.0;
            let error = (variance / 8.0).sqrt();
            let allowed = if index == 0 {
                6e-3
            } else if index == 1 {
                0.02 * expected
            } else {
                3e-3
            };
            assert!(
                (found - expected).abs() < 4.0 * error + allowed,
                "{classes} {sd} {index}: {found} is not {expected} ± {error:e}"
            );
        }
    }
}

#[test]
fn derivatives_are_differences() {
    let softmax = Softmax::new(4);
    let (eta, _) = logits(4, 1.0, 3);
    let at = |eta: &[f64]| {
        let mut out = softmax.room();
        softmax.at(2, eta, &mut out);
        out
    };
    let here = at(&eta);
    for class in 0..4 {
        let moved = |step: f64| at(&(0..4).map(|i| eta[i] + if i == class { step } else { 0.0 }).collect::<Vec<_>>());
        let (below, above) = (moved(-1e-5), moved(1e-5));
        assert_close((above.value - below.value) / 2e-5, here.gradient[class], 1e-9);
        for other in 0..4 {
            assert_close((below.gradient[other] - above.gradient[other]) / 2e-5, here.precision[class * 4 + other], 1e-9);
        }
    }
}

/// Bonnet's and Price's theorems hold as far as the cubature does.
#[test]
fn expectations_are_derivatives_of_one_another() {
    let softmax = Softmax::new(4);
    let (mean, covariance) = logits(4, 0.4, 9);
    let expected = |mean: &[f64], covariance: &[f64]| {
        let mut out = softmax.room();
        softmax.expected(0, mean, covariance, &mut out);
        out
    };
    let here = expected(&mean, &covariance);
    for one in 0..4 {
        let moved =
            |step: f64| expected(&(0..4).map(|i| mean[i] + if i == one { step } else { 0.0 }).collect::<Vec<_>>(), &covariance);
        assert_close((moved(1e-4).value - moved(-1e-4).value) / 2e-4, here.gradient[one], 1e-7);
        for other in 0..4 {
            let moved = |step: f64| {
                let mut covariance = covariance.clone();
                covariance[one * 4 + other] += step;
                covariance[other * 4 + one] += step;
                expected(&mean, &covariance).value
            };
            // An entry off the diagonal moves with its mirror image; one on it moved twice.
            let price = (moved(1e-4) - moved(-1e-4)) / 2e-4;
            assert_close(price, -here.precision[one * 4 + other], 2e-3);
        }
    }
}

#[test]
fn two_classes_are_a_bernoulli_and_shifts_change_nothing() {
    let two = Softmax::new(2);
    let mut out = two.room();
    for seed in 0..6 {
        let (mean, covariance) = logits(2, 0.3 * 2f64.powi(seed as i32), seed);
        let (m, v) = (mean[1] - mean[0], covariance[0] + covariance[3] - 2.0 * covariance[1]);
        two.expected(1, &mean, &covariance, &mut out);
        let one = Bernoulli.expected(1.0, m, v);
        assert_close(out.value, one.value, 1e-12);
        assert_close(out.gradient[1], one.gradient, 1e-12);
        assert_close(out.precision[0], one.precision, 1e-12);
        assert_close(
            two.predictive(0, &mean, &covariance, &mut out).log_density,
            Bernoulli.predictive(0.0, m, v).log_density,
            1e-12,
        );
    }
    let five = Softmax::new(5);
    let (mean, covariance) = logits(5, 1.0, 1);
    let plain = ours(&five, 2, &mean, &covariance);
    let shifted: Vec<f64> = mean.iter().map(|mean| mean + 300.0).collect();
    let wide: Vec<f64> = covariance.iter().map(|covariance| covariance + 50.0).collect();
    for (found, expected) in ours(&five, 2, &shifted, &wide).iter().zip(&plain) {
        assert_close(*found, *expected, 1e-11);
    }
}

#[test]
fn predictives_sum_to_one_and_keep_their_digits_in_the_tail() {
    for (classes, sd) in [(3, 0.2), (3, 3.0), (6, 0.7), (12, 4.0)] {
        let softmax = Softmax::new(classes);
        let mut out = softmax.room();
        let (mean, covariance) = logits(classes, sd, 5);
        let total: f64 = (0..classes).map(|y| softmax.predictive(y, &mean, &covariance, &mut out).log_density.exp()).sum();
        assert!((total - 1.0).abs() < 0.02 * f64::min(sd, 1.0), "{classes} {sd}: {total}");
    }
    // Class 2 is 40 below the others; only the tails of a wide predictor make it possible.
    let softmax = Softmax::new(3);
    let mut out = softmax.room();
    for scale in [0.01, 1.0, 9.0, 36.0] {
        let mean = [0.5, 0.0, -40.0];
        let covariance = [1.0, 0.3, 0.0, 0.3, 1.0, 0.1, 0.0, 0.1, 1.5].map(|entry| scale * entry);
        let found = softmax.predictive(2, &mean, &covariance, &mut out).log_density;
        // By brute force over the first two, with the third tilted: E e^(η_3) f(η) is e^(m + v/2) E f(η + Σ e_3).
        let tilted = [0, 1, 2].map(|c| mean[c] + covariance[c * 3 + 2]);
        let factor = nalgebra::Cholesky::new(DMatrix::from_row_slice(3, 3, &covariance)).unwrap().unpack();
        let sum: f64 = grid(90)
            .map(|(weight, z)| {
                let eta = [0, 1, 2].map(|c| tilted[c] + (0..=c).map(|k| factor[(c, k)] * z[k]).sum::<f64>());
                weight * (-log_sum_exp(&eta)).exp()
            })
            .sum();
        let expected = mean[2] + 0.5 * covariance[8] + sum.ln();
        assert!((found - expected).abs() < 0.05, "{scale}: {found} is not {expected}");
    }
}

#[test]
fn precisions_are_positive_semidefinite_and_degenerate_covariances_are_no_trouble() {
    for classes in [3, 9, 17] {
        let softmax = Softmax::new(classes);
        let mut out = softmax.room();
        let (mean, _) = logits(classes, 1.0, 2);
        let direction: Vec<f64> = (0..classes).map(|class| uniform(class as u64) - 0.5).collect();
        let rank_one: Vec<f64> = (0..classes * classes).map(|i| 9.0 * direction[i / classes] * direction[i % classes]).collect();
        for covariance in [vec![0.0; classes * classes], rank_one] {
            softmax.expected(1, &mean, &covariance, &mut out);
            let precision = DMatrix::from_row_slice(classes, classes, &out.precision);
            let eigenvalues = precision.symmetric_eigenvalues();
            assert!(eigenvalues.min() > -1e-14 && eigenvalues.max() <= 0.5 + 1e-12, "{eigenvalues}");
            assert!(out.gradient.iter().sum::<f64>().abs() < 1e-14 && out.value.is_finite());
        }
        let mut point = softmax.room();
        softmax.at(1, &mean, &mut point);
        softmax.expected(1, &mean, &vec![0.0; classes * classes], &mut out);
        assert_close(out.value, point.value, 1e-13);
        let predictive = softmax.predictive(1, &mean, &vec![0.0; classes * classes], &mut out);
        assert_close(predictive.log_density, point.value, 1e-13);
        assert!(predictive.sd < 1e-7);
    }
}
