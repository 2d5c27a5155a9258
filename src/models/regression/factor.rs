//! The Cholesky factor of a precision matrix and its inverse, in the layout that products with many rows want.

use nalgebra::DMatrix;

use crate::dist::lanes::{LANES, Lanes};
use crate::dist::triangle::{NotPositiveDefinite, Triangle};

/// L and L⁻¹, where `Λ = LLᵀ`.
#[derive(Clone, Debug)]
pub struct Factor {
    factor: Triangle,
    whitening: Triangle,
    /// L⁻¹ by columns, each padded to whole lane groups, and zero columns to fill the last lane group.
    columns: Vec<Lanes>,
}

impl Factor {
    /// The factor of `Λ [dim, dim]`, whose lower triangle `entry(row, column)` gives.
    pub fn new(dim: usize, entry: impl Fn(usize, usize) -> f64) -> Result<Self, NotPositiveDefinite> {
        let mut precision = DMatrix::zeros(dim, dim);
        for column in 0..dim {
            for row in column..dim {
                precision[(row, column)] = entry(row, column);
            }
        }
        let factor = Triangle::cholesky(&precision)?;
        let whitening = factor.inverse();
        let groups = dim.div_ceil(LANES);
        let mut columns = vec![[0.0; LANES]; groups * LANES * groups];
        for row in 0..dim {
            for (column, entry) in whitening.row(row).iter().enumerate() {
                columns[column * groups + row / LANES][row % LANES] = *entry;
            }
        }
        Ok(Self { factor, whitening, columns })
    }

    /// L⁻¹ by columns, each padded to whole lane groups, and zero columns to fill the last lane group.
    #[inline(always)]
    pub fn columns(&self) -> &[Lanes] {
        &self.columns
    }

    /// The rows of L⁻¹, each as far as its diagonal.
    pub fn rows(&self) -> impl Iterator<Item = &[f64]> {
        (0..self.whitening.dim()).map(|row| self.whitening.row(row))
    }

    /// ln|Λ|.
    pub fn ln_determinant(&self) -> f64 {
        self.factor.ln_square_determinant()
    }

    /// `xᵀ Λ x = |Lᵀx|²`.
    pub fn square(&self, x: &[f64]) -> f64 {
        let mut out = vec![0.0; x.len()];
        self.factor.add_transposed(x, &mut out);
        out.iter().map(|x| x * x).sum()
    }

    /// `L⁻¹ x`.
    pub fn whiten(&self, x: &[f64]) -> Vec<f64> {
        self.whitening.apply(x).as_slice().to_vec()
    }

    /// `L⁻ᵀ x`.
    pub fn colour(&self, x: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; self.whitening.dim()];
        self.whitening.add_transposed(x, &mut out);
        out
    }

    /// The diagonal of Λ⁻¹.
    pub fn variances(&self) -> Vec<f64> {
        let mut variances = vec![0.0; self.whitening.dim()];
        for row in 0..variances.len() {
            variances.iter_mut().zip(self.whitening.row(row)).for_each(|(sum, entry)| *sum += entry * entry);
        }
        variances
    }
}
