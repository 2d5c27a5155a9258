//! Dense rows of numbers, and the two products that a regression is made of: their scatter, and their image under a factor.
//!
//! Rows lie one after another, each padded with zeros to whole lane groups, so that a row's numbers fill the vector and no sum has to
//! be taken across it. The processor's widest vectors are found at run time; products are fused with their sums and nothing is
//! reordered, so all of them give the same bits.

use pulp::{Arch, Simd, WithSimd};

use super::factor::Factor;
use crate::dist::lanes::{LANES, Lanes, across, vectors, vectors_mut};

/// Rows are padded to a multiple of this.
const TILE: usize = 8;

/// Rows of the scatter worked on together.
const BAND: usize = 4;

/// Rows that stay in the nearest cache while their products are taken.
const STRIP: usize = 64;

/// Numbers `[rows, width]`.
#[derive(Clone, Debug)]
pub struct Panel {
    rows: usize,
    width: usize,
    /// Lane groups in a row.
    groups: usize,
    /// `[rows padded to whole tiles, groups]`.
    lanes: Vec<Lanes>,
}

impl Panel {
    /// All zeros.
    pub fn zeros(rows: usize, width: usize) -> Self {
        let groups = width.div_ceil(LANES);
        Self { rows, width, groups, lanes: vec![[0.0; LANES]; rows.next_multiple_of(TILE) * groups] }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The lane groups of row `index`.
    pub fn lanes_mut(&mut self, index: usize) -> &mut [Lanes] {
        &mut self.lanes[index * self.groups..(index + 1) * self.groups]
    }

    /// The numbers of row `index`.
    pub fn row_mut(&mut self, index: usize) -> &mut [f64] {
        let width = self.width;
        &mut self.lanes_mut(index).as_flattened_mut()[..width]
    }

    /// Takes the mean of the rows, row e weighing `weights[e]`, from all of them, multiplies each by the root of its weight, and
    /// returns the mean `[width]` and the sum of weights.
    pub fn centre(&mut self, weights: Option<&[f64]>) -> (Vec<f64>, f64) {
        Arch::new().dispatch(Centre { panel: self, weights })
    }

    /// `Σ_e x_e x_eᵀ`: the lower triangle, row after row, row a with its a + 1 entries.
    pub fn scatter(&self) -> Vec<f64> {
        Arch::new().dispatch(Scatter { panel: self })
    }

    /// Of each row x: `bᵀ L⁻¹ x` and `|L⁻¹ x|²`.
    pub fn images(&self, factor: &Factor, b: &[f64]) -> Vec<Image> {
        Arch::new().dispatch(Images { panel: self, factor, b })
    }
}

/// A row's image under L⁻¹.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Image {
    /// Its product with a given vector.
    pub along: f64,
    /// Its square.
    pub square: f64,
}

struct Centre<'a> {
    panel: &'a mut Panel,
    weights: Option<&'a [f64]>,
}

impl WithSimd for Centre<'_> {
    type Output = (Vec<f64>, f64);

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> (Vec<f64>, f64) {
        let Self { panel, weights } = self;
        let (groups, width) = (panel.groups, panel.width);
        let rows = &mut panel.lanes[..panel.rows * groups];
        let mut mean = vec![[0.0; LANES]; groups];
        let total = weights.map_or(panel.rows as f64, |weights| weights.iter().sum());
        for (e, row) in rows.chunks_exact(groups).enumerate() {
            let weight = weights.map_or(1.0, |weights| weights[e]);
            for (sum, x) in mean.iter_mut().zip(row) {
                for i in 0..LANES {
                    sum[i] += weight * x[i];
                }
            }
        }
        mean.iter_mut().flatten().for_each(|sum| *sum /= total);
        for (e, row) in rows.chunks_exact_mut(groups).enumerate() {
            let root = weights.map_or(1.0, |weights| weights[e].sqrt());
            for (mean, x) in mean.iter().zip(row) {
                for i in 0..LANES {
                    x[i] = root * (x[i] - mean[i]);
                }
            }
        }
        let mut mean = mean.into_flattened();
        mean.truncate(width);
        (mean, total)
    }
}

struct Scatter<'a> {
    panel: &'a Panel,
}

impl WithSimd for Scatter<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f64> {
        let Panel { rows, width, groups, ref lanes } = *self.panel;
        let padded = groups * LANES;
        let wide = size_of::<S::f64s>() / size_of::<f64>();
        // Bands of rows of the square, as far as the lower triangle reaches.
        let mut square = vec![0.0; width.next_multiple_of(BAND) * padded];
        for strip in lanes[..rows * groups].as_flattened().chunks(STRIP * padded) {
            for (band, square) in square.chunks_exact_mut(BAND * padded).enumerate() {
                let vectors = (band * BAND + BAND).div_ceil(wide);
                for at in (0..vectors / 2 * 2).step_by(2) {
                    multiply::<S, 2>(simd, strip, (padded, band, at), square);
                }
                if vectors % 2 == 1 {
                    multiply::<S, 1>(simd, strip, (padded, band, vectors - 1), square);
                }
            }
        }
        (0..width).flat_map(|a| &square[a * padded..][..=a]).copied().collect()
    }
}

/// Adds to a band of the square, over rows of `strip`, the products of the band's columns with those of N vectors from vector `at`
/// on.
#[inline(always)]
fn multiply<S: Simd, const N: usize>(simd: S, strip: &[f64], (padded, band, at): (usize, usize, usize), square: &mut [f64]) {
    let mut sums: [[S::f64s; N]; BAND] =
        std::array::from_fn(|k| std::array::from_fn(|n| S::as_simd_f64s(&square[k * padded..][..padded]).0[at + n]));
    for row in strip.chunks_exact(padded) {
        let (left, right) = (&row[band * BAND..][..BAND], &S::as_simd_f64s(row).0[at..at + N]);
        for k in 0..BAND {
            let factor = simd.splat_f64s(left[k]);
            for n in 0..N {
                sums[k][n] = simd.mul_add_f64s(factor, right[n], sums[k][n]);
            }
        }
    }
    for (row, sums) in square.chunks_exact_mut(padded).zip(&sums) {
        S::as_mut_simd_f64s(row).0[at..at + N].copy_from_slice(sums);
    }
}

struct Images<'a> {
    panel: &'a Panel,
    factor: &'a Factor,
    b: &'a [f64],
}

impl WithSimd for Images<'_> {
    type Output = Vec<Image>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<Image> {
        let Self { panel: &Panel { rows, groups, ref lanes, .. }, factor, b } = self;
        let mut images = vec![Image::default(); rows];
        if groups == 0 {
            return images;
        }
        let mut weights = vec![[0.0; LANES]; groups];
        weights.as_flattened_mut()[..b.len()].copy_from_slice(b);
        let (weights, columns) = (vectors::<S>(&weights), vectors::<S>(factor.columns()));
        // Vectors of a lane group, and numbers of a vector.
        let share = weights.len() / groups;
        let wide = LANES / share;
        for (rows, images) in lanes.chunks_exact(TILE * groups).zip(images.chunks_mut(TILE)) {
            let rows: [&[f64]; TILE] = std::array::from_fn(|k| rows[k * groups..(k + 1) * groups].as_flattened());
            let (mut along, mut square) = ([[0.0; LANES]; TILE], [[0.0; LANES]; TILE]);
            for (at, weights) in weights.iter().enumerate() {
                let mut image = [simd.splat_f64s(0.0); TILE];
                // L⁻¹ is lower triangular.
                for (j, column) in columns.chunks_exact(groups * share).enumerate().take((at + 1) * wide) {
                    for k in 0..TILE {
                        image[k] = simd.mul_add_f64s(simd.splat_f64s(rows[k][j]), column[at], image[k]);
                    }
                }
                for k in 0..TILE {
                    let along = &mut vectors_mut::<S>(&mut along[k..k + 1])[at % share];
                    *along = simd.mul_add_f64s(image[k], *weights, *along);
                    let square = &mut vectors_mut::<S>(&mut square[k..k + 1])[at % share];
                    *square = simd.mul_add_f64s(image[k], image[k], *square);
                }
            }
            for (k, image) in images.iter_mut().enumerate() {
                *image = Image { along: across(&along[k]), square: across(&square[k]) };
            }
        }
        images
    }
}
