//! The Cholesky factor of a precision matrix and its inverse, in the layout that products with many rows want.

use pulp::{Arch, Simd, WithSimd};

use crate::dist::lanes::{LANES, Lanes};

/// Rows of the inverse worked out together.
const TILE: usize = 4;

/// An upper triangle `[dim, dim]`, padded with zeros to whole lane groups both ways.
#[derive(Clone, Debug)]
struct Upper {
    dim: usize,
    groups: usize,
    lanes: Vec<Lanes>,
}

impl Upper {
    fn zeros(dim: usize) -> Self {
        let groups = dim.div_ceil(LANES);
        Self { dim, groups, lanes: vec![[0.0; LANES]; groups * LANES * groups] }
    }

    #[inline(always)]
    fn at(&self, row: usize, column: usize) -> f64 {
        self.lanes[row * self.groups + column / LANES][column % LANES]
    }

    #[inline(always)]
    fn set(&mut self, row: usize, column: usize, value: f64) {
        self.lanes[row * self.groups + column / LANES][column % LANES] = value;
    }
}

/// L⁻ᵀ, where `Λ = LLᵀ`.
#[derive(Clone, Debug)]
pub struct Factor {
    /// Row j holds column j of L⁻¹: its entries from j on.
    inverse: Upper,
    /// ln|Λ|.
    pub ln_determinant: f64,
}

/// A pivot below this share of its diagonal is rounding.
const LEAST_PIVOT: f64 = 1e-14;

impl Factor {
    /// The factor of `Λ [dim, dim]`, whose upper triangle `entry(row, column)` gives. `None` if Λ is not positive definite, to
    /// rounding.
    pub fn new(dim: usize, entry: impl Fn(usize, usize) -> f64) -> Option<Self> {
        let mut upper = Upper::zeros(dim);
        for row in 0..dim {
            for column in row..dim {
                upper.set(row, column, entry(row, column));
            }
        }
        Arch::new().dispatch(Factorise { upper })
    }

    /// Dimensions.
    pub fn dim(&self) -> usize {
        self.inverse.dim
    }

    /// L⁻¹ by columns, each padded to whole lane groups, and zero columns to fill the last lane group.
    #[inline(always)]
    pub fn columns(&self) -> &[Lanes] {
        &self.inverse.lanes
    }

    /// Column j of L⁻¹, from row j on.
    pub fn column(&self, j: usize) -> &[f64] {
        let Upper { dim, groups, lanes } = &self.inverse;
        &lanes[j * groups..(j + 1) * groups].as_flattened()[j..*dim]
    }

    /// `L⁻¹ x`.
    pub fn whiten(&self, x: &[f64]) -> Vec<f64> {
        let mut white = vec![0.0; self.dim()];
        for (j, x) in x.iter().enumerate() {
            white[j..].iter_mut().zip(self.column(j)).for_each(|(white, entry)| *white += entry * x);
        }
        white
    }

    /// `L⁻ᵀ x`.
    pub fn colour(&self, x: &[f64]) -> Vec<f64> {
        (0..self.dim()).map(|j| self.column(j).iter().zip(&x[j..]).map(|(entry, x)| entry * x).sum()).collect()
    }

    /// The diagonal of Λ⁻¹.
    pub fn variances(&self) -> Vec<f64> {
        (0..self.dim()).map(|j| self.column(j).iter().map(|entry| entry * entry).sum()).collect()
    }
}

struct Factorise {
    upper: Upper,
}

impl WithSimd for Factorise {
    type Output = Option<Factor>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Option<Factor> {
        let Self { mut upper } = self;
        let (dim, groups) = (upper.dim, upper.groups);
        let diagonal: Vec<f64> = (0..dim).map(|i| upper.at(i, i)).collect();
        // Row by row: what row j explains is taken from the rows below it. Lanes left of the diagonal hold nothing of meaning.
        let mut inverse_diagonal = Vec::with_capacity(dim);
        let mut ln_determinant = 0.0;
        for j in 0..dim {
            let pivot = upper.at(j, j);
            if !(pivot > LEAST_PIVOT * diagonal[j] && pivot < f64::INFINITY) {
                return None;
            }
            ln_determinant += pivot.ln();
            let scale = 1.0 / pivot.sqrt();
            inverse_diagonal.push(scale);
            let (above, below) = upper.lanes.split_at_mut((j + 1) * groups);
            let row = &mut above[j * groups..];
            row[j / LANES..].iter_mut().flatten().for_each(|entry| *entry *= scale);
            for (i, target) in (j + 1..dim).zip(below.chunks_exact_mut(groups)) {
                let factor = row[i / LANES][i % LANES];
                for (target, source) in target[i / LANES..].iter_mut().zip(&row[i / LANES..]) {
                    for k in 0..LANES {
                        target[k] -= factor * source[k];
                    }
                }
            }
        }
        // Row j of the inverse X: x_l = (e_j − Σ_{m<l} x_m U_m)_l / U_ll.
        let mut inverse = Upper::zeros(dim);
        let mut rest = vec![[[0.0; LANES]; TILE]; groups];
        for first in (0..dim).step_by(TILE) {
            let rows = TILE.min(dim - first);
            rest.iter_mut().flatten().for_each(|lanes| *lanes = [0.0; LANES]);
            for k in 0..rows {
                rest[(first + k) / LANES][k][(first + k) % LANES] = 1.0;
            }
            for (l, scale) in inverse_diagonal.iter().enumerate().skip(first) {
                let (group, within) = (l / LANES, l % LANES);
                let mut x = [0.0; TILE];
                for k in 0..TILE {
                    x[k] = rest[group][k][within] * scale;
                }
                for (k, x) in x.iter().enumerate().take(rows.min(l + 1 - first)) {
                    inverse.set(first + k, l, *x);
                }
                for (rest, source) in rest[group..].iter_mut().zip(&upper.lanes[l * groups + group..(l + 1) * groups]) {
                    for k in 0..TILE {
                        for i in 0..LANES {
                            rest[k][i] -= x[k] * source[i];
                        }
                    }
                }
            }
        }
        Some(Factor { inverse, ln_determinant })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::testing::{assert_close, normal};
    use nalgebra::DMatrix;

    fn factor(matrix: &DMatrix<f64>) -> Option<Factor> {
        Factor::new(matrix.nrows(), |row, column| matrix[(row, column)])
    }

    #[test]
    fn a_factor_is_that_of_another_library() {
        for dim in [1, 3, 4, 8, 13, 33] {
            let a = DMatrix::from_fn(dim, dim, |i, j| normal((i * dim + j) as u64));
            let matrix = &a * a.transpose() + DMatrix::identity(dim, dim);
            let found = factor(&matrix).expect("positive definite");
            let expected = matrix.clone().cholesky().expect("positive definite");
            let inverse = expected.l().solve_lower_triangular(&DMatrix::identity(dim, dim)).expect("no zero on the diagonal");
            for j in 0..dim {
                assert_eq!(found.column(j).len(), dim - j);
                found.column(j).iter().enumerate().for_each(|(i, entry)| assert_close(*entry, inverse[(j + i, j)], 1e-12));
            }
            assert_close(found.ln_determinant, crate::dist::normal_wishart::ln_determinant(&expected), 1e-12);
            let x: Vec<f64> = (0..dim as u64).map(|i| normal(5_000 + i)).collect();
            let solved = matrix.lu().solve(&nalgebra::DVector::from_column_slice(&x)).expect("regular");
            for (found, expected) in found.colour(&found.whiten(&x)).into_iter().zip(solved.iter()) {
                assert_close(found, *expected, 1e-10);
            }
        }
    }

    #[test]
    fn no_dimension_is_no_trouble() {
        let factor = Factor::new(0, |_, _| f64::NAN).expect("nothing is wrong");
        assert_eq!((factor.ln_determinant, factor.whiten(&[]), factor.variances()), (0.0, Vec::new(), Vec::new()));
    }

    #[test]
    fn what_is_not_positive_definite_is_refused() {
        for entries in
            [[1.0, 2.0, 2.0, 1.0], [1.0, 1.0, 1.0, 1.0], [0.0; 4], [1.0, 0.0, 0.0, f64::NAN], [f64::INFINITY, 0.0, 0.0, 1.0]]
        {
            assert!(factor(&DMatrix::from_row_slice(2, 2, &entries)).is_none(), "{entries:?}");
        }
    }
}
