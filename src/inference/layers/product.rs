//! The one matrix product that layers are made of: `C += A B` with the rows of B and C along vector lanes.
//!
//! A tile of C is held in registers while the common dimension passes by. Every element is a chain of fused multiply-adds in the
//! order of that dimension, whatever the vectors' width, so all machines compute the same bits. Blocks are so small that they stay
//! in the cache as they are: nothing is packed. (Goto & van de Geijn 2008, without the outer loops.)

use pulp::Simd;

use super::real::Real;

/// Where `A`'s elements stand: element `(i, k)` at `data[i · row + k · column]`.
#[derive(Clone, Copy, Debug)]
pub struct Left<'a, T> {
    pub data: &'a [T],
    pub row: usize,
    pub column: usize,
}

/// Adds `A B` to `C` `[rows, width]`, or puts it there. `B` is `[depth, width]`; both have rows of `width`, a multiple of 16.
#[inline(always)]
pub fn product<T: Real, S: Simd>(
    simd: S,
    (rows, depth, width): (usize, usize, usize),
    left: Left<'_, T>,
    right: &[T],
    out: &mut [T],
    add: bool,
) {
    if S::REGISTER_COUNT >= 32 {
        tiles::<T, S, 8>(simd, (rows, depth, width), left, right, out, add);
    } else {
        tiles::<T, S, 6>(simd, (rows, depth, width), left, right, out, add);
    }
}

/// Puts `A B` there, where A are weights by column and B `[depth, width]` what they are given, a bias's ones last. The last inputs
/// before the bias, if they are 0 for all events, are passed over: most often those that tell what is missing.
#[inline(always)]
pub fn affine<T: Real, S: Simd>(
    simd: S,
    (rows, depth, width): (usize, usize, usize),
    left: Left<'_, T>,
    right: &[T],
    out: &mut [T],
) {
    let reach = reach(right, depth, width);
    if reach + 1 == depth {
        return product(simd, (rows, depth, width), left, right, out, false);
    }
    product(simd, (rows, reach, width), left, right, out, false);
    let bias = Left { data: &left.data[(depth - 1) * left.column..], ..left };
    product(simd, (rows, 1, width), bias, &right[(depth - 1) * width..], out, true);
}

/// How many of `depth` inputs, the bias not counted, come before those at the end that are 0 for all events.
#[inline(always)]
pub fn reach<T: Real>(inputs: &[T], depth: usize, width: usize) -> usize {
    // All events are looked at, since a vector looks faster than a branch.
    let idle = |unit: &usize| !inputs[unit * width..(unit + 1) * width].iter().fold(false, |any, a| any | (*a != T::ZERO));
    depth - 1 - (0..depth - 1).rev().take_while(idle).count()
}

#[inline(always)]
fn tiles<T: Real, S: Simd, const ROWS: usize>(
    simd: S,
    (rows, depth, width): (usize, usize, usize),
    left: Left<'_, T>,
    right: &[T],
    out: &mut [T],
    add: bool,
) {
    let lanes = size_of::<T::Vector<S>>() / size_of::<T>();
    let (right, out) = (&right[..depth * width], &mut out[..rows * width]);
    let mut row = 0;
    while row < rows {
        let mut column = 0;
        let tall = rows - row >= ROWS;
        while column < width {
            let wide = width - column >= 2 * lanes;
            let at = (row, column, width);
            match (tall, rows - row > 1, wide) {
                (true, _, true) => tile::<T, S, ROWS, 2>(simd, at, left, right, out, add),
                (true, _, false) => tile::<T, S, ROWS, 1>(simd, at, left, right, out, add),
                (false, true, true) => tile::<T, S, 2, 2>(simd, at, left, right, out, add),
                (false, true, false) => tile::<T, S, 2, 1>(simd, at, left, right, out, add),
                (false, false, true) => tile::<T, S, 1, 2>(simd, at, left, right, out, add),
                (false, false, false) => tile::<T, S, 1, 1>(simd, at, left, right, out, add),
            }
            column += if wide { 2 * lanes } else { lanes };
        }
        row += if tall { ROWS } else { (rows - row).min(2) };
    }
}

/// `ROWS` rows of C, `VECTORS` vectors wide, from `(row, column)` on.
#[inline(always)]
fn tile<T: Real, S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    (row, column, width): (usize, usize, usize),
    left: Left<'_, T>,
    right: &[T],
    out: &mut [T],
    add: bool,
) {
    let columns = column..column + VECTORS * (size_of::<T::Vector<S>>() / size_of::<T>());
    let mut sums = [[T::splat(simd, T::ZERO); VECTORS]; ROWS];
    if add {
        for (i, sums) in sums.iter_mut().enumerate() {
            let old = T::vectors::<S>(&out[(row + i) * width..][columns.clone()]);
            sums.copy_from_slice(old);
        }
    }
    let depth = right.len() / width;
    if left.row == 1 {
        // The tile's elements of a column of A lie side by side.
        let columns_of_left = left.data[row..].chunks(left.column);
        for (right, left) in right.chunks_exact(width).zip(columns_of_left) {
            let right = T::vectors::<S>(&right[columns.clone()]);
            let left = &left[..ROWS];
            for i in 0..ROWS {
                let factor = T::splat(simd, left[i]);
                for j in 0..VECTORS {
                    sums[i][j] = T::mul_add(simd, factor, right[j], sums[i][j]);
                }
            }
        }
    } else {
        debug_assert_eq!(left.column, 1);
        let left: [&[T]; ROWS] = std::array::from_fn(|i| &left.data[(row + i) * left.row..][..depth]);
        for (k, right) in right.chunks_exact(width).enumerate() {
            let right = T::vectors::<S>(&right[columns.clone()]);
            for i in 0..ROWS {
                let factor = T::splat(simd, left[i][k]);
                for j in 0..VECTORS {
                    sums[i][j] = T::mul_add(simd, factor, right[j], sums[i][j]);
                }
            }
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        T::vectors_mut::<S>(&mut out[(row + i) * width..][columns.clone()]).copy_from_slice(sums);
    }
}
