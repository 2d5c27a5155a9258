//! Dense rows of numbers, and the two products that a regression is made of: their scatter, and their image under a factor.
//!
//! Rows lie one after another, each padded with zeros to whole lane groups, so that a row's numbers fill the vector and no sum has to
//! be taken across it. The processor's widest vectors are found at run time; nothing is fused or reordered, so all of them give the
//! same bits.

use pulp::{Arch, Simd, WithSimd};

use super::factor::Factor;
use crate::dist::lanes::{LANES, Lanes};

/// Rows worked on together.
const TILE: usize = 4;

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
    fn with_simd<S: Simd>(self, _: S) -> Vec<f64> {
        let Panel { rows, width, groups, ref lanes } = *self.panel;
        // Tiles of four rows of the square by a lane group, as far as the lower triangle reaches.
        let tiles = width.div_ceil(TILE);
        let mut square = vec![[[0.0; LANES]; TILE]; tiles * groups];
        for strip in lanes[..rows * groups].chunks(STRIP * groups) {
            for tile in 0..tiles {
                let (first, within) = (tile * TILE / LANES, tile * TILE % LANES);
                for group in 0..=first {
                    let mut sums = square[tile * groups + group];
                    for row in strip.chunks_exact(groups) {
                        let (left, right) = (&row[first][within..within + TILE], &row[group]);
                        for k in 0..TILE {
                            for i in 0..LANES {
                                sums[k][i] += left[k] * right[i];
                            }
                        }
                    }
                    square[tile * groups + group] = sums;
                }
            }
        }
        let mut triangle = Vec::with_capacity(width * (width + 1) / 2);
        for a in 0..width {
            let row = |group: usize| &square[a / TILE * groups + group][a % TILE];
            for group in 0..=a / LANES {
                triangle.extend_from_slice(&row(group)[..LANES.min(a + 1 - group * LANES)]);
            }
        }
        triangle
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
    fn with_simd<S: Simd>(self, _: S) -> Vec<Image> {
        let Self { panel: &Panel { rows, groups, ref lanes, .. }, factor, b } = self;
        let columns = factor.columns();
        let mut weights = vec![[0.0; LANES]; groups];
        weights.as_flattened_mut()[..b.len()].copy_from_slice(b);
        let mut images = vec![Image::default(); rows];
        if groups == 0 {
            return images;
        }
        for (rows, images) in lanes.chunks_exact(TILE * groups).zip(images.chunks_mut(TILE)) {
            let rows: [&[Lanes]; TILE] = std::array::from_fn(|k| &rows[k * groups..(k + 1) * groups]);
            let (mut along, mut square) = ([[0.0; LANES]; TILE], [[0.0; LANES]; TILE]);
            for (group, weights) in weights.iter().enumerate() {
                let mut image = [[0.0; LANES]; TILE];
                for inner in 0..=group {
                    let left = rows.map(|row| row[inner]);
                    let right = &columns[inner * LANES * groups..(inner + 1) * LANES * groups];
                    for j in 0..LANES {
                        let right = right[j * groups + group];
                        for k in 0..TILE {
                            for i in 0..LANES {
                                image[k][i] += left[k][j] * right[i];
                            }
                        }
                    }
                }
                for k in 0..TILE {
                    for i in 0..LANES {
                        along[k][i] += image[k][i] * weights[i];
                        square[k][i] += image[k][i] * image[k][i];
                    }
                }
            }
            for (k, image) in images.iter_mut().enumerate() {
                *image = Image { along: sum(&along[k]), square: sum(&square[k]) };
            }
        }
        images
    }
}

/// The sum of the lanes, in a fixed order.
#[inline(always)]
fn sum(lanes: &Lanes) -> f64 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}
