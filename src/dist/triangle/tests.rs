//! Triangles against dense matrices.

use super::*;
use crate::dist::testing::normal;

/// A positive definite matrix.
fn matrix(dim: usize) -> DMatrix<f64> {
    let root = DMatrix::from_fn(dim, dim, |i, j| normal((i * dim + j) as u64));
    &root * root.transpose() + DMatrix::identity(dim, dim)
}

fn dense(triangle: &Triangle) -> DMatrix<f64> {
    DMatrix::from_fn(triangle.dim(), triangle.dim(), |i, j| if j <= i { triangle.row(i)[j] } else { 0.0 })
}

/// Every size of tiles' and lanes' remainders.
#[test]
fn all_operations_are_those_of_dense_matrices() {
    for dim in (0..20).chain([33, 64, 71]) {
        let matrix = matrix(dim);
        let factor = Triangle::cholesky(&matrix).expect("positive definite");
        let expected = matrix.clone().cholesky().expect("positive definite").unpack();
        let near = |found: &DMatrix<f64>, expected: &DMatrix<f64>| {
            let error = (found - expected).norm();
            assert!(error <= 1e-12 * (1.0 + expected.norm()), "{dim}: off by {error:e}");
        };
        near(&dense(&factor), &expected);
        let inverse = factor.inverse();
        near(&(dense(&inverse) * &expected), &DMatrix::identity(dim, dim));
        near(&(inverse.gram() * &matrix), &DMatrix::identity(dim, dim));
        let other = Triangle::cholesky(&(&matrix * 2.0 + DMatrix::identity(dim, dim))).expect("positive definite");
        let product = inverse.times(&other);
        near(&dense(&product), &(dense(&inverse) * dense(&other)));
        let below = (dense(&product) - DMatrix::from_diagonal(&dense(&product).diagonal())).norm_squared();
        assert!((product.square_below_diagonal() - below).abs() <= 1e-12 * below);

        let x = DVector::from_fn(dim, |i, _| normal(i as u64 + 9000));
        let applied = &expected * &x;
        assert!((factor.apply(x.as_slice()) - &applied).norm() <= 1e-12 * (1.0 + applied.norm()));
        assert!((factor.square(x.as_slice()) - applied.norm_squared()).abs() <= 1e-12 * (1.0 + applied.norm_squared()));
        let mut transposed = x.clone();
        factor.add_transposed(x.as_slice(), transposed.as_mut_slice());
        assert!((transposed - &x - expected.transpose() * &x).norm() <= 1e-12 * (1.0 + applied.norm()));
        let ln_determinant = 2.0 * expected.diagonal().iter().map(|entry| entry.ln()).sum::<f64>();
        assert!((factor.ln_square_determinant() - ln_determinant).abs() <= 1e-12 * (1.0 + ln_determinant.abs()));
    }
}

#[test]
fn only_the_lower_triangle_is_read() {
    let whole = matrix(7);
    assert_eq!(Triangle::cholesky(&whole.lower_triangle()), Triangle::cholesky(&whole));
}

#[test]
fn what_is_not_positive_definite_to_rounding_is_refused() {
    let nearly = |left: f64| DMatrix::from_row_slice(2, 2, &[1.0, 1.0, 1.0, 1.0 + left]);
    assert!(Triangle::cholesky(&nearly(1e-15)).is_ok());
    for left in [4e-16, 0.0, -1e-9, f64::NAN, f64::INFINITY] {
        assert_eq!(Triangle::cholesky(&nearly(left)), Err(NotPositiveDefinite), "{left}");
    }
    // In any units.
    let units = DMatrix::from_diagonal(&DVector::from_vec(vec![1e-150, 1e100, 1.0]));
    assert!(Triangle::cholesky(&(&units * matrix(3) * &units)).is_ok());
}
