//! A mean-field Gaussian taken through one block of a likelihood of which only values and gradients are known.
//!
//! q(θ) = Π N(θ_i | μ_i, 1/Λ_i), and a block moves it from q_b to the maximiser of `w E_q[ln p(block | θ)] − KL(q ‖ q_b)`: the
//! rule `λ = λ_b + w ∇_m E_q[ln p(block | θ)]` with the expectation under the q that it leads to, found by several steps. By the
//! theorems of Bonnet and Price the gradient in mean parameters is one of two expectations, `G = E_q[∇ ln p]` and
//! `C = −E_q[∇² ln p]`, and the natural parameters (Λ, Λμ) gain (diag C, diag C ∘ μ + G) (Khan & Rue 2023, section 1.3).
//!
//! Both come from gradients alone: `E_q[∇² ln p] = E_q[∇ ln p (ε/σ)ᵀ]` with θ = μ + σ ∘ ε (Stein), and an antithetic pair ±ε makes of
//! it a central difference. Draws are matched ([`matched_draws`]), so that both are exact where ln p is a cubic, and a linear
//! regression is learnt without noise.

use nalgebra::{Cholesky, DMatrix, DVector};

use crate::noise::Noise;

/// q(θ): independent Gaussians.
#[derive(Clone, Debug, PartialEq)]
pub struct Gaussians {
    /// μ `[parameters]`.
    pub mean: Vec<f64>,
    /// Λ `[parameters]`, above 0.
    pub precision: Vec<f64>,
}

impl Gaussians {
    /// σ of parameter `index`.
    pub fn sd(&self, index: usize) -> f64 {
        self.precision[index].sqrt().recip()
    }

    /// `μ + σ ∘ ε` and `μ − σ ∘ ε` for each row ε of `draws` `[pairs, parameters]`: `[2 pairs, parameters]`, all with plus first.
    pub fn antithetic(&self, draws: &DMatrix<f64>) -> Vec<f64> {
        let mut theta = Vec::with_capacity(2 * draws.len());
        for sign in [1.0, -1.0] {
            for pair in 0..draws.nrows() {
                theta.extend((0..draws.ncols()).map(|i| self.mean[i] + sign * self.sd(i) * draws[(pair, i)]));
            }
        }
        theta
    }
}

/// `[pairs, dim]` standard normals whose columns have mean square 1, and are orthogonal within each `pairs` of them: with their
/// negatives, moments up to the third are those of the normal (second-order exact sampling, Pham 2001).
pub fn matched_draws(noise: Noise, step: u64, stream: u32, pairs: usize, dim: usize) -> DMatrix<f64> {
    let mut draws = vec![0.0; pairs * dim];
    noise.fill_normal(step, stream, &mut draws);
    let mut draws = DMatrix::from_iterator(pairs, dim, draws.into_iter().map(f64::from));
    for i in 0..dim {
        // Gram & Schmidt.
        let mut column = draws.column(i).into_owned();
        for j in i - i % pairs..i {
            let known = draws.column(j);
            column.axpy(-known.dot(&column) / pairs as f64, &known, 1.0);
        }
        let size = (pairs as f64).sqrt() / column.norm();
        draws.set_column(i, &(column * size));
    }
    draws
}

/// How a block is taken in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Steps {
    /// Steps at most.
    pub most: usize,
    /// Steps end when no mean moves by more than this many standard deviations, and no precision by more than this share.
    pub tolerance: f64,
    /// Standard deviations that a mean moves in one step at most.
    pub longest: f64,
}

/// What events did to q.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// The site's precision, with what it held before.
    pub precision: Vec<f64>,
    /// What is added to the site's shift.
    pub shift: Vec<f64>,
    /// `√(Δμᵀ Λ Δμ)` from where it began, with the new Λ.
    pub step_norm: f64,
    /// Whether a step was cut to the greatest length allowed.
    pub clipped: bool,
}

/// The best q for events after `base`, looked for from `start` on.
///
/// `kept` is the part of the base's precision that is the site's own. Curvature can be negative where ln p is not concave, as in
/// the tail of a Student-t; the site's own precision, which has to stay positive for sites to add up to a posterior in any
/// company, then falls by the retraction [`retract`]. `gradients` gives `∇ ln p(events | θ)` at `[draws, parameters]`, in that shape.
pub fn fit<E>(
    base: &Gaussians,
    kept: &[f64],
    start: Gaussians,
    draws: &DMatrix<f64>,
    steps: Steps,
    mut gradients: impl FnMut(Vec<f64>) -> Result<Vec<f64>, E>,
) -> Result<Fit, E> {
    let dim = kept.len();
    let mut q = start.clone();
    let mut precision: Vec<f64> = (0..dim).map(|i| start.precision[i] - base.precision[i] + kept[i]).collect();
    let mut clipped = false;
    for _ in 0..steps.most {
        let (gradient, curvature) = expectations(&q, draws, &gradients(q.antithetic(draws))?);
        let pull = (0..dim).map(|i| base.precision[i] * (q.mean[i] - base.mean[i]));
        let newton = solve(&base.precision, &curvature, gradient - DVector::from_iterator(dim, pull));
        let length = (0..dim).map(|i| newton[i].abs() / q.sd(i)).fold(0.0, f64::max);
        let share = if length > steps.longest { steps.longest / length } else { 1.0 };
        clipped |= share < 1.0;
        let mut change = share * length;
        for i in 0..dim {
            precision[i] += share * (retract(kept[i], curvature[(i, i)]) - precision[i]);
            let before = q.precision[i];
            q.precision[i] = base.precision[i] - kept[i] + precision[i];
            q.mean[i] += share * newton[i];
            change = change.max((q.precision[i] - before).abs() / before);
        }
        if change <= steps.tolerance {
            break;
        }
    }
    let shift = |i: usize| (precision[i] - kept[i]) * q.mean[i] + base.precision[i] * (q.mean[i] - base.mean[i]);
    let square = |i: usize| q.precision[i] * (q.mean[i] - start.mean[i]).powi(2);
    let (shift, step_norm) = ((0..dim).map(shift).collect(), (0..dim).map(square).sum::<f64>().sqrt());
    Ok(Fit { precision, shift, step_norm, clipped })
}

/// `E_q[∇ ln p]` `[parameters]` and `−E_q[∇² ln p]` `[parameters, parameters]`, made symmetric, from gradients at
/// [`Gaussians::antithetic`] draws.
fn expectations(q: &Gaussians, draws: &DMatrix<f64>, gradients: &[f64]) -> (DVector<f64>, DMatrix<f64>) {
    let (pairs, dim) = draws.shape();
    let gradients = DMatrix::from_row_slice(2 * pairs, dim, gradients);
    let (plus, minus) = (gradients.rows(0, pairs), gradients.rows(pairs, pairs));
    let share = 1.0 / (2 * pairs) as f64;
    let mean = (plus + minus).row_sum_tr() * share;
    // [parameters of the gradient, parameters of the difference].
    let mut hessian = (plus - minus).tr_mul(draws) * share;
    for (i, mut column) in hessian.column_iter_mut().enumerate() {
        column /= q.sd(i);
    }
    let curvature = -(&hessian + hessian.transpose()) * 0.5;
    (mean, curvature)
}

/// `(diag(base) + curvature)⁻¹ residual`, Newton's step; where the matrix is not positive, that of a diagonal one that bounds it.
fn solve(base: &[f64], curvature: &DMatrix<f64>, residual: DVector<f64>) -> DVector<f64> {
    let mut matrix = curvature.clone();
    for (i, precision) in base.iter().enumerate() {
        matrix[(i, i)] += precision;
    }
    match Cholesky::new(matrix) {
        Some(factor) => factor.solve(&residual),
        // Gershgorin: no eigenvalue of |C| is beyond its rows' sums.
        None => DVector::from_iterator(
            base.len(),
            (0..base.len()).map(|i| residual[i] / (base[i] + curvature.row(i).iter().map(|c| c.abs()).sum::<f64>())),
        ),
    }
}

/// `Λ + d` for d ≥ 0; `Λ + d + d²/(2Λ)`, never below Λ/2, for d < 0: the retraction that keeps precisions positive (Lin, Schmidt &
/// Khan 2020, section 4; Shen et al. 2024).
fn retract(precision: f64, change: f64) -> f64 {
    if change >= 0.0 {
        return precision + change;
    }
    let change = change.max(-precision);
    if precision > 0.0 { precision + change + change * change / (2.0 * precision) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::dist::testing::assert_close;

    const STEPS: Steps = Steps { most: 50, tolerance: 1e-10, longest: 1e9 };

    fn gaussians(mean: &[f64], precision: &[f64]) -> Gaussians {
        Gaussians { mean: mean.to_vec(), precision: precision.to_vec() }
    }

    /// Gradients of one parameter.
    fn fit_one(base: &Gaussians, kept: f64, pairs: usize, steps: Steps, gradient: impl Fn(f64) -> f64) -> Fit {
        let draws = matched_draws(Noise::new(3), 0, 0, pairs, 1);
        let gradients = |theta: Vec<f64>| Ok::<_, Infallible>(theta.into_iter().map(&gradient).collect());
        match fit(base, &[kept], base.clone(), &draws, steps, gradients) {
            Ok(fit) => fit,
        }
    }

    #[test]
    fn draws_are_matched_up_to_the_second_moment() {
        for (pairs, dim) in [(8, 3), (8, 8), (4, 10), (1, 5)] {
            let draws = matched_draws(Noise::new(1), 7, 2, pairs, dim);
            for i in 0..dim {
                for j in i - i % pairs..=i {
                    let moment = draws.column(i).dot(&draws.column(j)) / pairs as f64;
                    assert_close(moment, if i == j { 1.0 } else { 0.0 }, 1e-9);
                }
            }
        }
        // What is done to them leaves them nearly normal: the fourth moment of a coordinate of the sphere is 3 n/(n + 2).
        let fourth: f64 =
            (0..500).flat_map(|step| matched_draws(Noise::new(1), step, 2, 32, 4).data.as_vec().clone()).map(|x| x.powi(4)).sum();
        assert!((fourth / 64_000.0 - 3.0 * 32.0 / 34.0).abs() < 0.1, "{}", fourth / 64_000.0);
        assert_ne!(matched_draws(Noise::new(1), 0, 0, 4, 2), matched_draws(Noise::new(1), 1, 0, 4, 2));
    }

    /// ln p = −½ (θ − c)ᵀ H (θ − c), correlated: the mean is that of the conjugate posterior, the precision its diagonal.
    #[test]
    fn a_quadratic_takes_one_step_however_correlated() {
        let hessian = DMatrix::from_row_slice(3, 3, &[4.0, 3.0, 1.0, 3.0, 5.0, 2.0, 1.0, 2.0, 6.0]);
        let centre = DVector::from_column_slice(&[10.0, -4.0, 2.0]);
        let base = gaussians(&[1.0, 0.0, -1.0], &[0.5, 1.0, 2.0]);
        let prior = DMatrix::from_diagonal(&DVector::from_column_slice(&base.precision));
        let expected =
            (&prior + &hessian).try_inverse().unwrap() * (&prior * DVector::from_column_slice(&base.mean) + &hessian * &centre);
        let draws = matched_draws(Noise::new(3), 0, 0, 4, 3);
        let mut calls = 0;
        let gradients = |theta: Vec<f64>| {
            calls += 1;
            let slopes =
                theta.chunks(3).flat_map(|draw| (&hessian * (&centre - DVector::from_column_slice(draw))).data.as_vec().clone());
            Ok::<_, Infallible>(slopes.collect())
        };
        let kept = [0.5, 0.25, 0.0];
        let Ok(fit) = fit(&base, &kept, base.clone(), &draws, STEPS, gradients);
        assert_eq!(calls, 2, "one step, and one to see that it was enough");
        let mut square = 0.0;
        for i in 0..3 {
            assert_close(fit.precision[i], kept[i] + hessian[(i, i)], 1e-12);
            let precision = base.precision[i] + hessian[(i, i)];
            let mean = (base.precision[i] * base.mean[i] + fit.shift[i]) / precision;
            assert_close(mean, expected[i], 1e-12);
            square += precision * (mean - base.mean[i]).powi(2);
        }
        assert_close(fit.step_norm, square.sqrt(), 1e-12);
        assert!(!fit.clipped);
    }

    /// ln p = n θ − m exp θ, whose expectations are known: E exp θ = exp(μ + 1/(2Λ)).
    #[test]
    fn a_poisson_rate_comes_to_the_best_gaussian() {
        let (n, m) = (7.0, 3.0);
        let base = gaussians(&[0.2], &[0.8]);
        let (mut mean, mut precision) = (0.0, 1.0);
        for _ in 0..10_000 {
            let rate = m * f64::exp(mean + 0.5 / precision);
            precision += 0.1 * (0.8 + rate - precision);
            mean += 0.1 * (n - rate - 0.8 * (mean - 0.2)) / precision;
        }
        let fit = fit_one(&base, 0.0, 256, STEPS, |theta| n - m * theta.exp());
        let found = 0.8 + fit.precision[0];
        assert_close(found / precision, 1.0, 1e-2);
        assert_close((0.8 * 0.2 + fit.shift[0]) / found, mean, 2e-3);
    }

    #[test]
    fn curvature_of_the_wrong_sign_leaves_a_sites_precision_positive() {
        assert_eq!([retract(2.0, 0.5), retract(2.0, 0.0), retract(2.0, -1.0)], [2.5, 2.0, 1.25]);
        assert_eq!([retract(2.0, -2.0), retract(2.0, -50.0), retract(0.0, -1.0)], [1.0, 1.0, 0.0]);
        let base = gaussians(&[0.0], &[3.0]);
        for curvature in [-0.5, -2.0, -40.0] {
            let fit = fit_one(&base, 1.0, 2, Steps { most: 5, ..STEPS }, |theta| 1.0 - curvature * theta);
            assert_eq!(fit.precision[0], retract(1.0, curvature));
            assert!(fit.precision[0] >= 0.5 && fit.shift[0].is_finite(), "{fit:?}");
        }
    }

    #[test]
    fn long_steps_are_cut_and_said_to_be() {
        let base = gaussians(&[0.0], &[1.0]);
        let towards = |theta: f64| 1_000.0 - theta;
        let fit = fit_one(&base, 0.0, 2, Steps { most: 1, longest: 4.0, ..STEPS }, towards);
        assert!(fit.clipped);
        // The evidence is taken in by the same share as the step.
        assert_close(fit.precision[0], 4.0 / 500.0, 1e-9);
        assert_close(fit.shift[0] / (1.0 + fit.precision[0]), 4.0, 1e-9);
        let patient = fit_one(&base, 0.0, 2, Steps { longest: 4.0, most: 1_000, ..STEPS }, towards);
        assert_close(patient.precision[0], 1.0, 1e-6);
        assert_close(patient.shift[0], 1_000.0, 1e-6);
    }

    #[test]
    fn an_error_ends_the_fit() {
        let base = gaussians(&[0.0], &[1.0]);
        let draws = matched_draws(Noise::new(3), 0, 0, 1, 1);
        assert_eq!(fit(&base, &[0.0], base.clone(), &draws, STEPS, |_| Err("no")), Err("no"));
    }
}
