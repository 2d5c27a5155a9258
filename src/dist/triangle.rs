//! Lower triangles: guarded Cholesky factors, their inverses, and what is made of them.
//!
//! Rows are kept one after another, each filled up with zeros to whole lane groups, so that all work is sums over whole vectors. The
//! processor's widest vectors are found at run time; products are fused with their sums and nothing is reordered, so all of them give
//! the same bits.

use nalgebra::{DMatrix, DVector};
use pulp::{Arch, Simd, WithSimd};

use super::lanes::{LANES, Lanes, across, vectors, vectors_mut};

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
    lanes: Vec<Lanes>,
}

/// Lane groups of row `i`.
const fn groups(i: usize) -> usize {
    i / LANES + 1
}

/// Where row `i` begins, in lane groups; also how many a triangle of `i` rows has.
const fn start(i: usize) -> usize {
    (i / LANES * LANES / 2 + i % LANES) * groups(i)
}

impl Triangle {
    fn zeros(dim: usize) -> Self {
        Self { dim, lanes: vec![[0.0; LANES]; start(dim)] }
    }

    /// The Cholesky factor L of `matrix = LLᵀ`, of which only the lower triangle is read.
    ///
    /// The guard: what is left of a diagonal entry once the rows before have explained their part must be more than `dim · ε` of
    /// it, or it is nothing but rounding. There is no jitter: what is refused changes nothing, and is not silently another matrix.
    pub fn cholesky(matrix: &DMatrix<f64>) -> Result<Self, NotPositiveDefinite> {
        assert!(matrix.is_square(), "a Cholesky factor of a square matrix");
        let dim = matrix.nrows();
        // The lower triangle's columns, each from its first row on in whole lane groups.
        let height = dim.div_ceil(LANES);
        let mut columns = vec![[0.0; LANES]; dim * height];
        for (k, column) in columns.as_flattened_mut().chunks_exact_mut((height * LANES).max(1)).enumerate() {
            column[k..dim].copy_from_slice(&matrix.column(k).as_slice()[k..]);
        }
        Arch::new().dispatch(Factorise { dim, columns: &mut columns })?;
        let mut factor = Self::zeros(dim);
        let columns = columns.as_flattened();
        for (i, row) in factor.rows_mut().enumerate() {
            row.as_flattened_mut()[..=i].iter_mut().enumerate().for_each(|(k, entry)| *entry = columns[k * height * LANES + i]);
        }
        Ok(factor)
    }

    /// Number of rows.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The entries `0..=i` of row `i`.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.lanes[start(i)..start(i + 1)].as_flattened()[..=i]
    }

    fn rows_mut(&mut self) -> impl Iterator<Item = &mut [Lanes]> {
        let mut rest = self.lanes.as_mut_slice();
        (0..self.dim).map(move |i| rest.split_off_mut(..groups(i)).expect("a row"))
    }

    /// The diagonal.
    pub fn diagonal(&self) -> impl Iterator<Item = f64> {
        (0..self.dim).map(|i| self.row(i)[i])
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

/// `x` with zeros up to whole lane groups.
fn padded(x: &[f64]) -> Vec<Lanes> {
    let mut lanes = vec![[0.0; LANES]; x.len().div_ceil(LANES)];
    lanes.as_flattened_mut()[..x.len()].copy_from_slice(x);
    lanes
}

/// `row · x`, as far as the row reaches.
#[inline(always)]
fn dot(row: &[Lanes], x: &[Lanes]) -> f64 {
    let mut s = [0.0; LANES];
    for (row, x) in row.iter().zip(x) {
        for i in 0..LANES {
            s[i] = row[i].mul_add(x[i], s[i]);
        }
    }
    across(&s)
}

/// Adds `Σ factor · row` to `out`, as far as the first row and `out` reach.
#[inline(always)]
fn add_tile<S: Simd>(simd: S, out: &mut [Lanes], rows: [&[Lanes]; TILE], factors: [f64; TILE]) {
    let [p, q, r, s] = rows.map(vectors::<S>);
    let [a, b, c, d] = factors.map(|factor| simd.splat_f64s(factor));
    for ((((out, p), q), r), s) in vectors_mut::<S>(out).iter_mut().zip(p).zip(q).zip(r).zip(s) {
        let (first, second) = (simd.mul_add_f64s(a, *p, *out), simd.mul_f64s(c, *r));
        *out = simd.add_f64s(simd.mul_add_f64s(b, *q, first), simd.mul_add_f64s(d, *s, second));
    }
}

/// Adds `factor · row` to `out`, as far as both reach.
#[inline(always)]
fn add_row<S: Simd>(simd: S, out: &mut [Lanes], row: &[Lanes], factor: f64) {
    let factor = simd.splat_f64s(factor);
    for (out, entry) in vectors_mut::<S>(out).iter_mut().zip(vectors::<S>(row)) {
        *out = simd.mul_add_f64s(factor, *entry, *out);
    }
}

/// Adds `Σ_k factor(k) · row k` of a triangle for the rows `from..to`, as far as each and `out` reach.
#[inline(always)]
fn add_rows<S: Simd>(simd: S, out: &mut [Lanes], lanes: &[Lanes], (from, to): (usize, usize), factor: impl Fn(usize) -> f64) {
    let row = |k: usize| &lanes[start(k)..start(k + 1)];
    let whole = from + (to - from) / TILE * TILE;
    for k in (from..whole).step_by(TILE) {
        let factors = [factor(k), factor(k + 1), factor(k + 2), factor(k + 3)];
        let shared = out.len().min(groups(k));
        add_tile(simd, &mut out[..shared], [row(k), row(k + 1), row(k + 2), row(k + 3)], factors);
        if out.len().min(groups(k + TILE - 1)) > shared {
            (1..TILE).for_each(|r| add_row(simd, &mut out[shared..], &row(k + r)[shared..], factors[r]));
        }
    }
    (whole..to).for_each(|k| add_row(simd, out, row(k), factor(k)));
}

struct Factorise<'a> {
    dim: usize,
    /// `[dim, dim]` in whole lane groups. What stands above the diagonal means nothing.
    columns: &'a mut [Lanes],
}

impl WithSimd for Factorise<'_> {
    type Output = Result<(), NotPositiveDefinite>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let dim = self.dim;
        let height = dim.div_ceil(LANES);
        let least = dim as f64 * f64::EPSILON;
        for k in 0..dim {
            let (before, rest) = self.columns.split_at_mut(k * height);
            let (first, within) = (k / LANES, k % LANES);
            let own = &mut rest[first..height];
            let diagonal = own[0][within];
            // Column j from row k's lane group on.
            let from = |j: usize| &before[j * height + first..(j + 1) * height];
            let whole = k / TILE * TILE;
            for j in (0..whole).step_by(TILE) {
                let rows = [from(j), from(j + 1), from(j + 2), from(j + 3)];
                add_tile(simd, own, rows, rows.map(|row| -row[0][within]));
            }
            (whole..k).for_each(|j| add_row(simd, own, from(j), -from(j)[0][within]));
            // Written so that NaN is refused.
            let left = own[0][within];
            if !(left > least * diagonal && left < f64::INFINITY) {
                return Err(NotPositiveDefinite);
            }
            let pivot = simd.splat_f64s(left.sqrt());
            vectors_mut::<S>(own).iter_mut().for_each(|entry| *entry = simd.div_f64s(*entry, pivot));
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
    fn with_simd<S: Simd>(self, simd: S) {
        for i in 0..self.factor.dim {
            let (above, rest) = self.inverse.lanes.split_at_mut(start(i));
            let (row, factors) = (&mut rest[..groups(i)], self.factor.row(i));
            add_rows(simd, row, above, (0, i), |k| factors[k]);
            let pivot = simd.splat_f64s(-factors[i]);
            vectors_mut::<S>(row).iter_mut().for_each(|entry| *entry = simd.div_f64s(*entry, pivot));
            row[i / LANES][i % LANES] = 1.0 / factors[i];
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
    fn with_simd<S: Simd>(self, simd: S) {
        for (i, row) in self.product.rows_mut().enumerate() {
            let factors = self.left.row(i);
            add_rows(simd, row, &self.right.lanes, (0, i + 1), |k| factors[k]);
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
        let x = padded(x);
        (0..triangle.dim).for_each(|i| each(i, dot(&triangle.lanes[start(i)..start(i + 1)], &x)));
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
    fn with_simd<S: Simd>(self, simd: S) {
        let mut sum = padded(self.out);
        add_rows(simd, &mut sum, &self.triangle.lanes, (0, self.triangle.dim), |k| self.x[k]);
        self.out.copy_from_slice(&sum.as_flattened()[..self.out.len()]);
    }
}

struct Gram<'a> {
    triangle: &'a Triangle,
    gram: &'a mut DMatrix<f64>,
}

impl WithSimd for Gram<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (dim, lanes) = (self.triangle.dim, &self.triangle.lanes);
        let mut row = vec![[0.0; LANES]; dim.div_ceil(LANES)];
        for i in 0..dim {
            let row = &mut row[..groups(i)];
            row.fill([0.0; LANES]);
            add_rows(simd, row, lanes, (i, dim), |k| self.triangle.row(k)[i]);
            row.as_flattened()[..=i].iter().enumerate().for_each(|(j, sum)| self.gram[(i, j)] = *sum);
        }
    }
}

#[cfg(test)]
mod tests;
