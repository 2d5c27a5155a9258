//! Lower triangles: guarded Cholesky factors, their inverses, and what is made of them.
//!
//! Rows are kept one after another, row i with its i + 1 entries, so that all work is sums over contiguous numbers. The processor's
//! widest vectors are found at run time; nothing is fused or reordered, so all of them give the same bits.

use nalgebra::{DMatrix, DVector};
use pulp::{Arch, Simd, WithSimd};

use super::lanes::{LANES, Lanes};

/// Rows worked on at a time.
const TILE: usize = 4;

/// A matrix that is not positive definite, to rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the matrix is not positive definite")]
pub struct NotPositiveDefinite;

/// A lower triangular matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Triangle {
    dim: usize,
    entries: Vec<f64>,
}

/// Where row `i` begins; also how many entries a triangle of `i` rows has.
const fn start(i: usize) -> usize {
    i * (i + 1) / 2
}

impl Triangle {
    fn zeros(dim: usize) -> Self {
        Self { dim, entries: vec![0.0; start(dim)] }
    }

    /// The Cholesky factor L of `matrix = LLᵀ`, of which only the lower triangle is read.
    ///
    /// The guard: what is left of a diagonal entry once the rows before have explained their part must be more than `dim · ε` of
    /// it, or it is nothing but rounding. There is no jitter: what is refused changes nothing, and is not silently another matrix.
    pub fn cholesky(matrix: &DMatrix<f64>) -> Result<Self, NotPositiveDefinite> {
        assert!(matrix.is_square(), "a Cholesky factor of a square matrix");
        let dim = matrix.nrows();
        // Lᵀ row after row, each with the entries from its diagonal on: the lower triangle's columns.
        let mut columns = Vec::with_capacity(start(dim));
        (0..dim).for_each(|k| columns.extend_from_slice(&matrix.column(k).as_slice()[k..]));
        Arch::new().dispatch(Factorise { dim, columns: &mut columns })?;
        let mut factor = Self::zeros(dim);
        let mut rest = columns.as_slice();
        for k in 0..dim {
            let column = rest.split_off(..dim - k).expect("a column");
            column.iter().enumerate().for_each(|(r, entry)| factor.entries[start(k + r) + k] = *entry);
        }
        Ok(factor)
    }

    /// Number of rows.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The entries `0..=i` of row `i`.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.entries[start(i)..start(i + 1)]
    }

    fn rows_mut(&mut self) -> impl Iterator<Item = &mut [f64]> {
        let mut rest = self.entries.as_mut_slice();
        (0..self.dim).map(move |i| rest.split_off_mut(..=i).expect("a row"))
    }

    /// The diagonal.
    pub fn diagonal(&self) -> impl Iterator<Item = f64> {
        (0..self.dim).map(|i| self.entries[start(i) + i])
    }

    /// `ln|LLᵀ|`, where the diagonal is positive.
    pub fn ln_square_determinant(&self) -> f64 {
        2.0 * self.diagonal().map(f64::ln).sum::<f64>()
    }

    /// The sum of the squares of all entries below the diagonal.
    pub fn square_below_diagonal(&self) -> f64 {
        (0..self.dim).map(|i| self.row(i)[..i].iter().map(|entry| entry * entry).sum::<f64>()).sum()
    }

    /// `L⁻¹`.
    pub fn inverse(&self) -> Self {
        let mut inverse = Self::zeros(self.dim);
        Arch::new().dispatch(Invert { factor: self, inverse: &mut inverse });
        inverse
    }

    /// `L M`.
    pub fn times(&self, other: &Self) -> Self {
        let mut product = Self::zeros(self.dim);
        Arch::new().dispatch(Multiply { left: self, right: other, product: &mut product });
        product
    }

    /// `L x`.
    pub fn apply(&self, x: &[f64]) -> DVector<f64> {
        let mut out = DVector::zeros(self.dim);
        Arch::new().dispatch(Apply { triangle: self, x, each: |i, y| out[i] = y });
        out
    }

    /// `|L x|²`.
    pub fn square(&self, x: &[f64]) -> f64 {
        let mut sum = 0.0;
        Arch::new().dispatch(Apply { triangle: self, x, each: |_, y| sum += y * y });
        sum
    }

    /// Adds `Lᵀ x` to `out`.
    pub fn add_transposed(&self, x: &[f64], out: &mut [f64]) {
        Arch::new().dispatch(AddTransposed { triangle: self, x, out });
    }

    /// `LᵀL`, where L is the inverse of a Cholesky factor: the inverse of the matrix.
    pub fn gram(&self) -> DMatrix<f64> {
        let mut gram = DMatrix::zeros(self.dim, self.dim);
        Arch::new().dispatch(Gram { triangle: self, gram: &mut gram });
        gram.fill_upper_triangle_with_lower_triangle();
        gram
    }
}

/// `row · x`.
#[inline(always)]
fn dot(row: &[f64], x: &[f64]) -> f64 {
    let ((row, row_rest), (x, x_rest)) = (row.as_chunks::<LANES>(), x.as_chunks::<LANES>());
    let mut s: Lanes = [0.0; LANES];
    for (row, x) in row.iter().zip(x) {
        for i in 0..LANES {
            s[i] += row[i] * x[i];
        }
    }
    s.iter_mut().zip(row_rest.iter().zip(x_rest)).for_each(|(sum, (entry, x))| *sum += entry * x);
    ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
}

/// Adds `Σ factor · row` to `out`, as far as the first row reaches.
#[inline(always)]
fn add_tile(out: &mut [f64], rows: [&[f64]; TILE], [a, b, c, d]: [f64; TILE]) {
    let [p, q, r, s] = rows;
    for ((((out, p), q), r), s) in out.iter_mut().zip(p).zip(q).zip(r).zip(s) {
        *out += (a * p + b * q) + (c * r + d * s);
    }
}

/// Adds `factor · row` to `out`, as far as the row reaches.
#[inline(always)]
fn add_row(out: &mut [f64], row: &[f64], factor: f64) {
    out.iter_mut().zip(row).for_each(|(out, entry)| *out += factor * entry);
}

/// Adds `Σ_k factor(k) · row k` of a triangle for the rows `from..to`, as far as each and `out` reach.
#[inline(always)]
fn add_rows(out: &mut [f64], entries: &[f64], (from, to): (usize, usize), factor: impl Fn(usize) -> f64) {
    let row = |k: usize| &entries[start(k)..start(k + 1)];
    let whole = from + (to - from) / TILE * TILE;
    for k in (from..whole).step_by(TILE) {
        let factors = [factor(k), factor(k + 1), factor(k + 2), factor(k + 3)];
        add_tile(out, [row(k), row(k + 1), row(k + 2), row(k + 3)], factors);
        let shared = out.len().min(k + 1);
        (1..TILE).for_each(|r| add_row(&mut out[shared..], &row(k + r)[shared..], factors[r]));
    }
    (whole..to).for_each(|k| add_row(out, row(k), factor(k)));
}

struct Factorise<'a> {
    dim: usize,
    columns: &'a mut [f64],
}

impl WithSimd for Factorise<'_> {
    type Output = Result<(), NotPositiveDefinite>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Self::Output {
        let dim = self.dim;
        let least = dim as f64 * f64::EPSILON;
        let column = |j: usize| j * dim - j * j.saturating_sub(1) / 2;
        for k in 0..dim {
            let (before, rest) = self.columns.split_at_mut(column(k));
            let own = &mut rest[..dim - k];
            let diagonal = own[0];
            // Column j from row k on.
            let from = |j: usize| &before[column(j) + (k - j)..column(j + 1)];
            let whole = k / TILE * TILE;
            for j in (0..whole).step_by(TILE) {
                let rows = [from(j), from(j + 1), from(j + 2), from(j + 3)];
                add_tile(own, rows, rows.map(|row| -row[0]));
            }
            (whole..k).for_each(|j| add_row(own, from(j), -from(j)[0]));
            // Written so that NaN is refused.
            if !(own[0] > least * diagonal && own[0] < f64::INFINITY) {
                return Err(NotPositiveDefinite);
            }
            let pivot = own[0].sqrt();
            own.iter_mut().for_each(|entry| *entry /= pivot);
        }
        Ok(())
    }
}

struct Invert<'a> {
    factor: &'a Triangle,
    inverse: &'a mut Triangle,
}

impl WithSimd for Invert<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for i in 0..self.factor.dim {
            let (above, rest) = self.inverse.entries.split_at_mut(start(i));
            let (row, factors) = (&mut rest[..=i], self.factor.row(i));
            add_rows(&mut row[..i], above, (0, i), |k| factors[k]);
            row[..i].iter_mut().for_each(|entry| *entry = -*entry / factors[i]);
            row[i] = 1.0 / factors[i];
        }
    }
}

struct Multiply<'a> {
    left: &'a Triangle,
    right: &'a Triangle,
    product: &'a mut Triangle,
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (i, row) in self.product.rows_mut().enumerate() {
            let factors = self.left.row(i);
            add_rows(row, &self.right.entries, (0, i + 1), |k| factors[k]);
        }
    }
}

struct Apply<'a, F> {
    triangle: &'a Triangle,
    x: &'a [f64],
    each: F,
}

impl<F: FnMut(usize, f64)> WithSimd for Apply<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { triangle, x, mut each } = self;
        (0..triangle.dim).for_each(|i| each(i, dot(triangle.row(i), &x[..=i])));
    }
}

struct AddTransposed<'a> {
    triangle: &'a Triangle,
    x: &'a [f64],
    out: &'a mut [f64],
}

impl WithSimd for AddTransposed<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        add_rows(self.out, &self.triangle.entries, (0, self.triangle.dim), |k| self.x[k]);
    }
}

struct Gram<'a> {
    triangle: &'a Triangle,
    gram: &'a mut DMatrix<f64>,
}

impl WithSimd for Gram<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (dim, entries) = (self.triangle.dim, &self.triangle.entries);
        let mut row = vec![0.0; dim];
        for i in 0..dim {
            row.fill(0.0);
            add_rows(&mut row[..=i], entries, (i, dim), |k| entries[start(k) + i]);
            (0..=i).for_each(|j| self.gram[(i, j)] = row[j]);
        }
    }
}

#[cfg(test)]
mod tests;
