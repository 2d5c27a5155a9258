//! What every family must pass: maps that go round, means that are gradients, and divergences that draws agree with.

use nalgebra::{DMatrix, DVector};
use proptest::prelude::*;

use crate::dist::family::{ExponentialFamily, Parameters};

/// How far a number may be from itself after going round, as a share of its scale.
const ROUND: f64 = 1e-12;

/// All numbers of `parameters`.
fn flat<P: Parameters>(parameters: &P) -> Vec<f64> {
    parameters.slices().concat()
}

/// Positive numbers across magnitudes.
pub fn magnitudes() -> impl Strategy<Value = f64> {
    (-7.0..7.0f64).prop_map(f64::exp)
}

/// Symmetric positive definite matrices of numbers across magnitudes, and the scale of each number.
pub fn matrices(dim: usize) -> impl Strategy<Value = (DMatrix<f64>, DVector<f64>)> {
    let entries = prop::collection::vec(-1.0..1.0f64, dim * dim);
    (entries, prop::collection::vec(magnitudes(), dim)).prop_map(move |(entries, scale)| {
        let root = DMatrix::from_vec(dim, dim, entries);
        let scale = DVector::from_vec(scale);
        let matrix = &root * root.transpose() + DMatrix::identity(dim, dim) * 0.3;
        (matrix.component_mul(&(&scale * scale.transpose())), scale)
    })
}

/// Asserts that each number of `found` is that of `expected`, to `tolerance` of its size in `scale`.
#[track_caller]
pub fn assert_same<P: Parameters>(found: &P, expected: &P, scale: &P, tolerance: f64) {
    for (i, ((a, b), scale)) in flat(found).into_iter().zip(flat(expected)).zip(flat(scale)).enumerate() {
        let error = (a - b).abs();
        assert!(error <= tolerance * scale.abs(), "number {i}: {a} is not {b}: off by {:e} of {scale}", error / scale);
    }
}

/// Natural parameters come back from the member that they give.
#[track_caller]
pub fn natural_parameters_go_round<F: ExponentialFamily>(member: &F, scale: &F::Parameters) {
    let natural = member.to_natural();
    let back = F::from_natural(natural.clone()).expect("natural parameters of a member");
    assert_same(&back.to_natural(), &natural, scale, ROUND);
}

/// Mean parameters come back from the member that they give.
#[track_caller]
pub fn mean_parameters_go_round<F: ExponentialFamily>(member: &F, scale: &F::Parameters) {
    let mean = member.to_mean();
    let back = F::from_mean(mean.clone()).expect("mean parameters of a member");
    assert_same(&back.to_mean(), &mean, scale, ROUND);
}

/// `m = ∇A(η)`, by central differences of fourth order with steps of half a hundredth of `scale`, which is how far each natural
/// parameter may be moved without A changing its character.
#[track_caller]
pub fn mean_is_the_gradient<F: ExponentialFamily>(member: &F, scale: &F::Parameters) {
    let (natural, mean) = (member.to_natural(), flat(&member.to_mean()));
    for (i, scale) in flat(scale).into_iter().enumerate() {
        let at = |steps: f64| {
            let mut moved = natural.clone();
            *moved.slices_mut().into_iter().flatten().nth(i).expect("a number") += steps * 0.005 * scale;
            F::from_natural(moved).expect("natural parameters near those of a member").log_normaliser()
        };
        let (near, far) = (at(1.0) - at(-1.0), at(2.0) - at(-2.0));
        let slope = (8.0 * near - far) / (0.06 * scale);
        // In units of the step: the differences' own error, and rounding of A and of the terms that it is the difference of.
        let error = 1e-6 * (slope * scale).abs() + 1e-6 + 1e-12 * at(0.0).abs();
        assert!(((slope - mean[i]) * scale).abs() <= error, "number {i}: the slope is {slope}, the mean {}", mean[i]);
    }
}

/// KL is not negative, and 0 from a member to itself.
#[track_caller]
pub fn kl_is_not_negative<F: ExponentialFamily>(q: &F, p: &F) {
    assert!(q.kl(p) >= 0.0 && p.kl(q) >= 0.0, "{} and {}", q.kl(p), p.kl(q));
    assert!(q.kl(q).abs() <= 1e-20 && p.kl(p).abs() <= 1e-20, "{:e} and {:e}", q.kl(q), p.kl(p));
}

/// Whether `value` is within four standard errors of the mean of a sample with this sum and sum of squares.
fn agrees(value: f64, (sum, squares): (f64, f64), count: f64) -> bool {
    let mean = sum / count;
    let error = ((squares / count - mean * mean) / count).sqrt();
    (value - mean).abs() <= 4.0 * error.max(1e-15)
}

/// Draws from q, given by their statistics T(x), have the mean parameters of q for their mean, and
/// `E ln q/p = ⟨η − η', T⟩ − A + A'` for their divergence. The draws are so many that a KL wrong by a twentieth is found out.
#[track_caller]
pub fn draws_agree<F: ExponentialFamily>(q: &F, p: &F, count: u64, statistics: impl Fn(u64) -> F::Parameters) {
    let mut difference = q.to_natural();
    difference.add(-1.0, &p.to_natural());
    let normalisers = p.log_normaliser() - q.log_normaliser();
    let mut sums = vec![(0.0, 0.0); flat(&difference).len() + 1];
    for index in 0..count {
        let drawn = statistics(index);
        let ratio = difference.dot(&drawn) + normalisers;
        for ((sum, squares), x) in sums.iter_mut().zip(flat(&drawn).into_iter().chain([ratio])) {
            (*sum, *squares) = (*sum + x, *squares + x * x);
        }
    }
    let count = count as f64;
    let ratio = sums.pop().expect("the last sum");
    let kl = q.kl(p);
    assert!(agrees(kl, ratio, count), "KL is {kl}, by draws {}", ratio.0 / count);
    for wrong in [0.95, 1.05] {
        assert!(!agrees(wrong * kl, ratio, count), "{count} draws can't tell {kl} from {}", wrong * kl);
    }
    for (i, (mean, sums)) in flat(&q.to_mean()).into_iter().zip(sums).enumerate() {
        assert!(agrees(mean, sums, count), "statistic {i}: the mean is {mean}, by draws {}", sums.0 / count);
    }
}

mod tests {
    use super::*;
    use crate::dist::family::NoMember;

    /// The exponential family of unit Gaussians, whose mean and KL are multiplied by something.
    struct Wrong<const PERCENT: u32>(f64);

    impl<const PERCENT: u32> ExponentialFamily for Wrong<PERCENT> {
        type Parameters = [f64; 1];

        fn to_natural(&self) -> [f64; 1] {
            [self.0]
        }

        fn from_natural([natural]: [f64; 1]) -> Result<Self, NoMember> {
            Ok(Self(natural))
        }

        fn to_mean(&self) -> [f64; 1] {
            [self.0 * f64::from(PERCENT) * 0.01]
        }

        fn from_mean([mean]: [f64; 1]) -> Result<Self, NoMember> {
            Ok(Self(mean))
        }

        fn log_normaliser(&self) -> f64 {
            0.5 * self.0 * self.0
        }

        fn kl(&self, other: &Self) -> f64 {
            0.5 * (self.0 - other.0).powi(2) * f64::from(PERCENT) * 0.01
        }
    }

    fn passes(check: impl FnOnce() + std::panic::UnwindSafe) -> bool {
        std::panic::catch_unwind(check).is_ok()
    }

    #[test]
    fn the_checks_can_fail() {
        let draw = |index| [1.0 + crate::dist::testing::normal(index)];
        assert!(passes(|| draws_agree(&Wrong::<100>(1.0), &Wrong(0.0), 200_000, draw)));
        assert!(!passes(|| draws_agree(&Wrong::<105>(1.0), &Wrong(0.0), 200_000, draw)));
        assert!(!passes(|| draws_agree(&Wrong::<95>(1.0), &Wrong(0.0), 200_000, draw)));
        assert!(!passes(|| draws_agree(&Wrong::<100>(1.0), &Wrong(0.0), 5_000, draw)), "too few draws");
        assert!(passes(|| mean_is_the_gradient(&Wrong::<100>(1.0), &[1.0])));
        assert!(!passes(|| mean_is_the_gradient(&Wrong::<101>(1.0), &[1.0])));
        assert!(passes(|| mean_parameters_go_round(&Wrong::<100>(1.0), &[1.0])));
        assert!(!passes(|| mean_parameters_go_round(&Wrong::<101>(1.0), &[1.0])));
    }
}
