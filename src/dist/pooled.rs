//! The scatter of two sets about their common mean.

use nalgebra::{DMatrix, DVector};
use pulp::Arch;

/// Adds `other + weight · gap gapᵀ` to `scatter`: with scatters of n and m vectors, the gap between their means and the weight
/// `nm / (n + m)` it is that of all (Chan, Golub & LeVeque 1983).
pub fn pool(scatter: &mut DMatrix<f64>, other: &DMatrix<f64>, weight: f64, gap: &DVector<f64>) {
    let (dim, gap) = (gap.len().max(1), gap.as_slice());
    Arch::new().dispatch(
        #[inline(always)]
        || {
            let columns = scatter.as_mut_slice().chunks_exact_mut(dim).zip(other.as_slice().chunks_exact(dim));
            for ((sums, others), this) in columns.zip(gap) {
                let along = weight * this;
                for ((sum, other), gap) in sums.iter_mut().zip(others).zip(gap) {
                    *sum += along.mul_add(*gap, *other);
                }
            }
        },
    );
}
