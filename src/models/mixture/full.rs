//! The arithmetic of number columns with covariance: what `diagonal` is to columns by themselves.
//!
//! Complete rows go eight at a time. In a row with missing cells the missing ones are local latent variables: their optimal q is the
//! normal of the missing given the present under the component, `x̂ = m + Ψ_MO Ψ_OO⁻¹ (x_O − m_O)` with covariance
//! `(Ψ_MM − Ψ_MO Ψ_OO⁻¹ Ψ_OM)/ν`; the predictive is the marginal of the present ones.

use std::collections::HashMap;
use std::f64::consts::{LN_2, PI};
use std::sync::Arc;

use nalgebra::{DMatrix, DVector};
use pulp::{Arch, Simd, WithSimd};

use super::batch::NumberColumns;
use super::kernel::{Matrix, TILE, select, tile, total};
use super::statistics::JointMoments;
use crate::dist::lanes::{LANES, Lanes, across, vectors, vectors_mut};
use crate::dist::normal_wishart::{NormalWishart, NotPositiveDefinite, log_density_variance};
use crate::dist::special::{LN_TAU, digamma, ln_gamma, trigamma};
use crate::dist::triangle::Triangle;

/// A component's belief about all numbers, with what makes them independent.
#[derive(Clone, Debug)]
pub struct WhitenedNormal {
    belief: NormalWishart,
    /// L⁻¹ `[dim, dim]`, lower triangular, row after row, where LLᵀ = Ψ.
    whitening: Vec<f64>,
    /// Of the columns that are live, whose marginal is meant by all that follows: ln|Ψ|.
    ln_determinant: f64,
    /// Σ ψ₀((ν − i)/2).
    digammas: f64,
    /// ν.
    dof: f64,
    /// How many they are.
    dim: usize,
    /// 0 for columns that are not live, else 1.
    live: Vec<f64>,
}

/// Which density of a component is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Density {
    /// E ln N(z; μ, Λ⁻¹), for learning.
    Expected,
    /// ln E N(z; μ, Λ⁻¹), for scoring.
    Predictive,
}

impl WhitenedNormal {
    /// What is to be computed once for `belief`.
    pub fn new(belief: NormalWishart, live: &[bool]) -> Result<Self, NotPositiveDefinite> {
        let dim = belief.dim();
        let factor = Triangle::cholesky(&belief.scatter)?;
        let inverse = factor.inverse();
        let mut whitening = vec![0.0; dim * dim];
        (0..dim).for_each(|i| whitening[i * dim..][..=i].copy_from_slice(inverse.row(i)));
        // Columns that are not live are read as standard normal, so the marginal of the others is at hand.
        let still = || (0..dim).filter(|d| !live[*d]);
        let (dof, dim) = (belief.dof - still().count() as f64, dim - still().count());
        Ok(Self {
            whitening,
            ln_determinant: factor.ln_square_determinant() - still().map(|d| belief.scatter[(d, d)].ln()).sum::<f64>(),
            digammas: (0..dim).map(|i| digamma(0.5 * (dof - i as f64))).sum(),
            dof,
            dim,
            live: live.iter().map(|live| if *live { 1.0 } else { 0.0 }).collect(),
            belief,
        })
    }

    /// The belief.
    pub fn belief(&self) -> &NormalWishart {
        &self.belief
    }

    /// L⁻¹ row after row, with zeros for columns that are not live.
    pub fn live_whitening(&self) -> impl Iterator<Item = f64> {
        self.whitening.iter().zip(self.live.iter().cycle()).map(|(factor, live)| factor * live)
    }

    /// Degrees of freedom of the live columns' marginal.
    pub fn dof(&self) -> f64 {
        self.dof
    }

    /// The log density at the mean, all columns present.
    pub fn at_mean(&self, density: Density) -> f64 {
        self.log_density(density, 0.0, self.dim, self.ln_determinant)
    }

    /// The log density at Mahalanobis square `square` over `seen` of the live columns, where `ln|Ψ_OO|` is `ln_seen`.
    pub fn log_density(&self, density: Density, square: f64, seen: usize, ln_seen: f64) -> f64 {
        let (dim, seen) = (self.dim as f64, seen as f64);
        let (strength, dof) = (self.belief.strength, self.dof);
        match density {
            // The entropy of what is missing, ½ ln|2π Λ̄_MM⁻¹|, takes the place of its density.
            Density::Expected => {
                let missing = dim - seen;
                0.5 * (self.digammas + dim * LN_2 - ln_seen - missing * dof.ln() - seen * LN_TAU - dim / strength - dof * square)
            }
            Density::Predictive => {
                let free = self.belief.predictive_dof();
                let spread = (strength + 1.0) / strength;
                ln_gamma(0.5 * (free + seen))
                    - ln_gamma(0.5 * free)
                    - 0.5 * (seen * (PI * spread).ln() + ln_seen)
                    - 0.5 * (free + seen) * (square / spread).ln_1p()
            }
        }
    }

    /// The variance under the posterior of the log density at Mahalanobis square `square` over `seen` of the live columns. Their
    /// marginal has `predictive_dof + seen − 1` degrees of freedom.
    fn log_density_variance(&self, square: f64, seen: usize, trigammas: &[f64]) -> f64 {
        let dof = self.belief.predictive_dof() + seen as f64 - 1.0;
        log_density_variance(self.belief.strength, dof, seen, trigammas[seen], square)
    }

    /// `Σ ψ₁((ν_O − i)/2)` over the marginal of any `0..=dim` of the live columns.
    fn trigammas(&self) -> Vec<f64> {
        let free = self.belief.predictive_dof();
        let mut sum = 0.0;
        let terms = (0..self.dim).map(|i| {
            sum += trigamma(0.5 * (free + i as f64));
            sum
        });
        std::iter::once(0.0).chain(terms).collect()
    }

    /// The conditional of missing columns given the present ones `seen`.
    fn conditional(&self, seen: &[usize]) -> Option<Conditional> {
        let scatter = &self.belief.scatter;
        let among = DMatrix::from_fn(seen.len(), seen.len(), |i, j| scatter[(seen[i], seen[j])]);
        let factor = Triangle::cholesky(&among).ok()?;
        Some(Conditional { ln_determinant: factor.ln_square_determinant(), whitening: factor.inverse() })
    }

    /// Those of `seen` that are live, and the Mahalanobis squares over them of `events`; `None` where there is nothing to say.
    fn marginal(&self, numbers: &NumberColumns, seen: &[usize], events: &[usize]) -> Option<Marginal> {
        let seen: Vec<usize> = seen.iter().copied().filter(|d| self.live[*d] == 1.0).collect();
        if seen.is_empty() {
            return None;
        }
        let conditional = self.conditional(&seen)?;
        let square = |event: &usize| conditional.whitening.square(self.gap(numbers, *event, &seen).as_slice());
        let squares = events.iter().map(square).collect();
        Some(Marginal { seen: seen.len(), ln_determinant: conditional.ln_determinant, squares })
    }

    /// `z_O − m_O`.
    fn gap(&self, numbers: &NumberColumns, event: usize, seen: &[usize]) -> DVector<f64> {
        let gap = |d: &usize| numbers.get(event, *d).unwrap_or(0.0) - self.belief.mean[*d];
        DVector::from_iterator(seen.len(), seen.iter().map(gap))
    }
}

struct Conditional {
    /// L⁻¹, where LLᵀ = Ψ_OO.
    whitening: Triangle,
    ln_determinant: f64,
}

struct Marginal {
    seen: usize,
    ln_determinant: f64,
    squares: Vec<f64>,
}

/// Events that have missing numbers, by which columns are present.
fn patterns(numbers: &NumberColumns) -> Vec<(Vec<usize>, Vec<usize>)> {
    if numbers.present.is_empty() {
        return Vec::new();
    }
    let dim = numbers.complete.len();
    let mut groups: HashMap<Vec<usize>, usize> = HashMap::new();
    let mut out: Vec<(Vec<usize>, Vec<usize>)> = Vec::new();
    for event in 0..numbers.events {
        let seen: Vec<usize> = (0..dim).filter(|d| numbers.get(event, *d).is_some()).collect();
        if seen.len() < dim {
            let at = *groups.entry(seen.clone()).or_insert_with(|| {
                out.push((seen, Vec::new()));
                out.len() - 1
            });
            out[at].1.push(event);
        }
    }
    out
}

/// Adds the log densities of numbers under each normal to `log` `[normals, events]`.
pub fn add_to(normals: &[Arc<WhitenedNormal>], density: Density, numbers: &NumberColumns, log: &mut Matrix) {
    let patterns = patterns(numbers);
    for (row, normal) in normals.iter().enumerate() {
        let squares = squares(normal, numbers);
        let mut logs = vec![0.0; numbers.events];
        let at_mean = normal.at_mean(density);
        for (value, square) in logs.iter_mut().zip(squares) {
            // As `log_density`, with what doesn't depend on the event taken out.
            *value = match density {
                Density::Expected => at_mean - 0.5 * normal.dof * square,
                Density::Predictive => {
                    let spread = (normal.belief.strength + 1.0) / normal.belief.strength;
                    at_mean - 0.5 * (normal.dof + 1.0) * (square / spread).ln_1p()
                }
            };
        }
        for (seen, events) in &patterns {
            // With no number present there is nothing to say, and nothing is learnt.
            let marginal = normal.marginal(numbers, seen, events);
            for (i, event) in events.iter().enumerate() {
                logs[*event] =
                    marginal.as_ref().map_or(0.0, |of| normal.log_density(density, of.squares[i], of.seen, of.ln_determinant));
            }
        }
        for (out, value) in log.row_mut(row).as_flattened_mut().iter_mut().zip(logs) {
            *out += value;
        }
    }
}

/// Variances under the posterior of the log densities of numbers `[events]`.
pub fn log_density_variances(normal: &WhitenedNormal, numbers: &NumberColumns) -> Vec<f64> {
    let trigammas = normal.trigammas();
    let variance = |square| normal.log_density_variance(square, normal.dim, &trigammas);
    let mut variances: Vec<f64> = squares(normal, numbers).into_iter().map(variance).collect();
    for (seen, events) in patterns(numbers) {
        let marginal = normal.marginal(numbers, &seen, &events);
        for (i, event) in events.into_iter().enumerate() {
            variances[event] =
                marginal.as_ref().map_or(0.0, |of| normal.log_density_variance(of.squares[i], of.seen, &trigammas));
        }
    }
    variances
}

/// Mahalanobis squares `(z − m)ᵀ Ψ⁻¹ (z − m)` `[events]`, right where none of the row is missing.
fn squares(normal: &WhitenedNormal, numbers: &NumberColumns) -> Vec<f64> {
    Arch::new().dispatch(Squares { normal, numbers })
}

struct Squares<'a> {
    normal: &'a WhitenedNormal,
    numbers: &'a NumberColumns,
}

impl WithSimd for Squares<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f64> {
        let mut out = vec![[0.0; LANES]; self.numbers.groups];
        let squares = vectors_mut::<S>(&mut out);
        let mut gaps = vec![simd.splat_f64s(0.0); TILE * self.normal.live.len()];
        let mut at = 0;
        while at < squares.len() {
            let left = squares.len() - at;
            at += match left {
                TILE.. => self.tile::<S, TILE>(simd, at, &mut gaps, squares),
                4.. => self.tile::<S, 4>(simd, at, &mut gaps, squares),
                2.. => self.tile::<S, 2>(simd, at, &mut gaps, squares),
                _ => self.tile::<S, 1>(simd, at, &mut gaps, squares),
            };
        }
        let mut out = out.into_flattened();
        out.truncate(self.numbers.events);
        out
    }
}

impl Squares<'_> {
    /// Those of T vectors from `at` on. Returns T.
    #[inline(always)]
    fn tile<S: Simd, const T: usize>(&self, simd: S, at: usize, gaps: &mut [S::f64s], squares: &mut [S::f64s]) -> usize {
        let Self { normal, numbers } = self;
        let dim = normal.live.len();
        let gaps = &mut gaps.as_chunks_mut::<T>().0[..dim];
        for (d, gaps) in gaps.iter_mut().enumerate() {
            let [mean, live] = [normal.belief.mean[d], normal.live[d]].map(|value| simd.splat_f64s(value));
            for (gap, z) in gaps.iter_mut().zip(&tile::<S, T>(numbers.column(d), at)) {
                *gap = simd.mul_f64s(simd.sub_f64s(*z, mean), live);
            }
        }
        let zeros = [simd.splat_f64s(0.0); T];
        let mut square = zeros;
        for (row, factors) in normal.whitening.chunks_exact(dim).enumerate() {
            let mut white = zeros;
            for (gap, factor) in gaps.iter().zip(&factors[..=row]) {
                let factor = simd.splat_f64s(*factor);
                for t in 0..T {
                    white[t] = simd.mul_add_f64s(gap[t], factor, white[t]);
                }
            }
            for t in 0..T {
                square[t] = simd.mul_add_f64s(white[t], white[t], square[t]);
            }
        }
        squares[at..at + T].copy_from_slice(&square);
        T
    }
}

/// Statistics of numbers, in standard units, weighted by each row of responsibilities.
pub fn joint_moments(normals: &[Arc<WhitenedNormal>], numbers: &NumberColumns, responsibilities: &Matrix) -> Vec<JointMoments> {
    let patterns = patterns(numbers);
    let mut whole = responsibilities.clone();
    for &event in patterns.iter().flat_map(|(_, events)| events) {
        (0..whole.rows()).for_each(|row| *whole.at(row, event) = 0.0);
    }
    let rows = normals.iter().enumerate().take(responsibilities.rows());
    let mut buffer = Vec::new();
    rows.map(|(row, normal)| {
        let mut moments = complete(normal, numbers, &whole, row, &mut buffer);
        for (seen, events) in patterns.iter().filter(|(seen, _)| !seen.is_empty()) {
            let weights = events.iter().map(|event| responsibilities.get(row, *event));
            add_incomplete(&mut moments, normal, numbers, seen, events.iter().copied().zip(weights).filter(|(_, r)| *r > 0.0));
        }
        moments
    })
    .collect()
}

/// Adds events of which only the columns `seen` are present, the others filled by their expectation.
fn add_incomplete(
    moments: &mut JointMoments,
    normal: &WhitenedNormal,
    numbers: &NumberColumns,
    seen: &[usize],
    events: impl Iterator<Item = (usize, f64)>,
) {
    let Some(conditional) = normal.conditional(seen) else { return };
    let missing: Vec<usize> = (0..normal.belief.dim()).filter(|d| !seen.contains(d)).collect();
    let scatter = &normal.belief.scatter;
    let across = DMatrix::from_fn(seen.len(), missing.len(), |i, j| scatter[(seen[i], missing[j])]);
    let regression = conditional.whitening.gram() * &across;
    let explained = across.transpose() * &regression;
    for (event, weight) in events {
        let gap = normal.gap(numbers, event, seen);
        let filled = regression.transpose() * &gap;
        let mut one = JointMoments::nothing(normal.belief.dim());
        one.count = weight;
        one.mean.copy_from(&normal.belief.mean);
        seen.iter().enumerate().for_each(|(i, d)| one.mean[*d] += gap[i]);
        missing.iter().enumerate().for_each(|(i, d)| one.mean[*d] += filled[i]);
        for (i, a) in missing.iter().enumerate() {
            for (j, b) in missing.iter().enumerate() {
                // A column that has not varied is held to be constant: its missing cells are that constant.
                let live = normal.live[*a] * normal.live[*b];
                one.scatter[(*a, *b)] = live * weight * (scatter[(*a, *b)] - explained[(i, j)]) / normal.dof;
            }
        }
        moments.add(&one);
    }
}

/// Moments under a row of `weights`, which are 0 for events with missing numbers. `buffer` is scratch.
fn complete(
    normal: &WhitenedNormal,
    numbers: &NumberColumns,
    weights: &Matrix,
    row: usize,
    buffer: &mut Vec<Lanes>,
) -> JointMoments {
    let events = weights.above(row, 0.0);
    let mean = &normal.belief.mean;
    if events.len() == numbers.events {
        Arch::new().dispatch(Gather { mean, numbers, weights: weights.row(row), buffer })
    } else {
        let (numbers, weights) = (numbers.select(&events), select(weights.row(row), &events));
        Arch::new().dispatch(Gather { mean, numbers: &numbers, weights: &weights, buffer })
    }
}

struct Gather<'a> {
    mean: &'a DVector<f64>,
    numbers: &'a NumberColumns,
    weights: &'a [Lanes],
    buffer: &'a mut Vec<Lanes>,
}

impl WithSimd for Gather<'_> {
    type Output = JointMoments;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> JointMoments {
        if S::REGISTER_COUNT >= 32 { self.by::<S, 4>(simd) } else { self.by::<S, 2>(simd) }
    }
}

/// Columns multiplied at a time.
const COLUMNS: usize = 4;

impl Gather<'_> {
    /// `ROWS` rows of the scatter at a time; ROWS divides [`COLUMNS`].
    #[inline(always)]
    fn by<S: Simd, const ROWS: usize>(self, simd: S) -> JointMoments {
        let Self { mean, numbers, weights, buffer } = self;
        let (dim, groups) = (numbers.complete.len(), numbers.groups);
        let mut moments = JointMoments::nothing(dim);
        let count = total(weights);
        if count == 0.0 {
            return moments;
        }
        // Gaps from the mean `[dim, groups]` with columns of zeros up to a whole tile, and some columns of them weighted.
        let whole = dim.next_multiple_of(COLUMNS);
        buffer.resize((whole + ROWS) * groups, [0.0; LANES]);
        let (gaps, weighted) = buffer.split_at_mut(whole * groups);
        for (d, gaps) in gaps.chunks_exact_mut(groups).enumerate() {
            if d >= dim {
                gaps.fill([0.0; LANES]);
                continue;
            }
            for (gap, z) in gaps.iter_mut().zip(numbers.column(d)) {
                for i in 0..LANES {
                    gap[i] = z[i] - mean[d];
                }
            }
        }
        let mut shift = vec![0.0; whole];
        for top in (0..dim).step_by(ROWS) {
            for (r, weighted) in weighted.chunks_exact_mut(groups).enumerate() {
                for ((weighted, gap), weight) in weighted.iter_mut().zip(&gaps[(top + r) * groups..]).zip(weights) {
                    for i in 0..LANES {
                        weighted[i] = weight[i] * gap[i];
                    }
                }
                shift[top + r] = total(weighted) / count;
            }
            for left in (0..top + ROWS).step_by(COLUMNS) {
                let sums = sums_of_products::<S, ROWS>(simd, weighted, &gaps[left * groups..(left + COLUMNS) * groups]);
                for (a, sums) in (top..dim).zip(&sums) {
                    for (b, lanes) in (left..=a).zip(sums) {
                        let second = across(lanes) - shift[a] * shift[b] * count;
                        moments.scatter[(a, b)] = if a == b { second.max(0.0) } else { second };
                        moments.scatter[(b, a)] = moments.scatter[(a, b)];
                    }
                }
            }
        }
        moments.count = count;
        (0..dim).for_each(|d| moments.mean[d] = mean[d] + shift[d]);
        moments
    }
}

/// The sums, lane by lane, of the products of each column of `weighted` with each of `gaps`.
#[inline(always)]
fn sums_of_products<S: Simd, const ROWS: usize>(simd: S, weighted: &[Lanes], gaps: &[Lanes]) -> [[Lanes; COLUMNS]; ROWS] {
    let mut out = [[[0.0; LANES]; COLUMNS]; ROWS];
    let (weighted, gaps) = (vectors::<S>(weighted), vectors::<S>(gaps));
    let length = weighted.len() / ROWS;
    let rows: [&[S::f64s]; ROWS] = std::array::from_fn(|r| &weighted[r * length..][..length]);
    let columns: [&[S::f64s]; COLUMNS] = std::array::from_fn(|c| &gaps[c * length..][..length]);
    // Vectors that make a lane group.
    let whole = LANES * size_of::<f64>() / size_of::<S::f64s>();
    for v in 0..whole {
        let mut sums = [[simd.splat_f64s(0.0); COLUMNS]; ROWS];
        for at in (v..length).step_by(whole) {
            for r in 0..ROWS {
                for c in 0..COLUMNS {
                    sums[r][c] = simd.mul_add_f64s(rows[r][at], columns[c][at], sums[r][c]);
                }
            }
        }
        for (out, sums) in out.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
            vectors_mut::<S>(std::slice::from_mut(out))[v] = *sums;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::testing::{assert_close, simpson};
    use crate::models::mixture::batch::Batch;
    use crate::models::mixture::units::{Layout, Units};

    /// Densities of a row `[2]`, NaN missing.
    fn log_density(density: Density, row: [f64; 2]) -> f64 {
        let belief = NormalWishart {
            mean: DVector::from_vec(vec![0.5, -1.0]),
            strength: 2.0,
            dof: 9.0,
            scatter: DMatrix::from_row_slice(2, 2, &[12.0, 5.0, 5.0, 8.0]),
        };
        let fixed = vec![Some((0.0, 1.0)); 2];
        let units = Units::new(&[Default::default(); 2], &fixed);
        let layout =
            Layout { numbers: vec![0, 1], fixed, counts: Vec::new(), booleans: Vec::new(), categories: Vec::new(), full: true };
        let batch = Batch::from_cells(&layout, &units, &row, &[0]);
        let mut log = Matrix::filled([0.0], batch.numbers.groups);
        let normal = WhitenedNormal::new(belief, &[true, true]).expect("positive definite");
        add_to(&[Arc::new(normal)], density, &batch.numbers, &mut log);
        log.get(0, 0)
    }

    /// The bound with the optimal q of what is missing is ln ∫ exp(E ln N); the predictive's marginal is ln ∫ of the predictive.
    #[test]
    fn missing_cells_are_integrated_out() {
        for density in [Density::Expected, Density::Predictive] {
            for x in [-2.0, 0.4, 6.0] {
                let whole = simpson(-12.0, 12.0, 20_000, |t| log_density(density, [x, t.sinh()]).exp() * t.cosh()).ln();
                assert_close(log_density(density, [x, f64::NAN]), whole, 1e-8);
            }
        }
        assert_eq!(log_density(Density::Predictive, [f64::NAN; 2]), 0.0);
        assert_eq!(log_density(Density::Expected, [f64::NAN; 2]), 0.0);
    }
}
