//! The arithmetic of number columns with covariance: what `kernel` is to diagonal ones.
//!
//! Complete rows go eight at a time. In a row with missing cells the missing ones are local latent variables: their optimal q is the
//! normal of the missing given the present under the component, `x̂ = m + Ψ_MO Ψ_OO⁻¹ (x_O − m_O)` with covariance
//! `(Ψ_MM − Ψ_MO Ψ_OO⁻¹ Ψ_OM)/ν`; the predictive is the marginal of the present ones.

use std::collections::HashMap;
use std::f64::consts::{LN_2, PI};

use nalgebra::{DMatrix, DVector};
use pulp::{Arch, Simd, WithSimd};

use super::frame::Batch;
use super::kernel::{Matrix, total};
use super::statistics::Cloud;
use crate::dist::lanes::{LANES, Lanes};
use crate::dist::normal_wishart::{NormalWishart, NotPositiveDefinite};
use crate::dist::special::{LN_TAU, digamma, ln_gamma};
use crate::dist::triangle::Triangle;

/// A component's belief about all numbers, ready for many events.
#[derive(Clone, Debug)]
pub struct Ellipse {
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

impl Ellipse {
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
    fn log_density(&self, density: Density, square: f64, seen: usize, ln_seen: f64) -> f64 {
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

    /// The conditional of missing columns given the present ones `seen`.
    fn conditional(&self, seen: &[usize]) -> Option<Conditional> {
        let scatter = &self.belief.scatter;
        let among = DMatrix::from_fn(seen.len(), seen.len(), |i, j| scatter[(seen[i], seen[j])]);
        let factor = Triangle::cholesky(&among).ok()?;
        Some(Conditional { ln_determinant: factor.ln_square_determinant(), whitening: factor.inverse() })
    }
}

struct Conditional {
    /// L⁻¹, where LLᵀ = Ψ_OO.
    whitening: Triangle,
    ln_determinant: f64,
}

/// Rows of a batch that have missing numbers, by which columns are present.
fn patterns(batch: &Batch) -> Vec<(Vec<usize>, Vec<usize>)> {
    if batch.present.is_empty() {
        return Vec::new();
    }
    let dim = batch.complete.len();
    let mut groups: HashMap<Vec<usize>, usize> = HashMap::new();
    let mut out: Vec<(Vec<usize>, Vec<usize>)> = Vec::new();
    for event in 0..batch.events {
        let seen: Vec<usize> = (0..dim).filter(|d| batch.number(event, *d).is_some()).collect();
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

/// Adds the log densities of the batch's numbers under each ellipse to `log` `[ellipses, events]`.
pub fn add_to(ellipses: &[Ellipse], density: Density, batch: &Batch, log: &mut Matrix) {
    let patterns = patterns(batch);
    for (row, ellipse) in ellipses.iter().enumerate() {
        let squares = Arch::new().dispatch(Squares { ellipse, batch });
        let mut logs = vec![0.0; batch.events];
        let at_middle = ellipse.at_mean(density);
        for (event, value) in logs.iter_mut().enumerate() {
            let square = squares[event / LANES][event % LANES];
            // As `log_density`, with what doesn't depend on the event taken out.
            *value = match density {
                Density::Expected => at_middle - 0.5 * ellipse.dof * square,
                Density::Predictive => {
                    let spread = (ellipse.belief.strength + 1.0) / ellipse.belief.strength;
                    at_middle - 0.5 * (ellipse.dof + 1.0) * (square / spread).ln_1p()
                }
            };
        }
        for (seen, events) in &patterns {
            let seen: Vec<usize> = seen.iter().copied().filter(|d| ellipse.live[*d] == 1.0).collect();
            let Some(conditional) = ellipse.conditional(&seen) else { continue };
            for &event in events {
                let gap = gap(ellipse, batch, event, &seen);
                let square = conditional.whitening.square(gap.as_slice());
                // With no number present there is nothing to say, and nothing is learnt.
                let nothing = seen.is_empty();
                logs[event] =
                    if nothing { 0.0 } else { ellipse.log_density(density, square, seen.len(), conditional.ln_determinant) };
            }
        }
        for (event, value) in logs.into_iter().enumerate() {
            *log.at(row, event) += value;
        }
    }
}

/// `z_O − m_O`.
fn gap(ellipse: &Ellipse, batch: &Batch, event: usize, seen: &[usize]) -> DVector<f64> {
    let gap = |d: &usize| batch.number(event, *d).unwrap_or(0.0) - ellipse.belief.mean[*d];
    DVector::from_iterator(seen.len(), seen.iter().map(gap))
}

/// Mahalanobis squares `(z − m)ᵀ Ψ⁻¹ (z − m)` of all events, right where none of the row is missing.
struct Squares<'a> {
    ellipse: &'a Ellipse,
    batch: &'a Batch,
}

impl WithSimd for Squares<'_> {
    type Output = Vec<Lanes>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<Lanes> {
        let Self { ellipse, batch } = self;
        let dim = batch.complete.len();
        let mut gaps = vec![[0.0; LANES]; dim];
        let mut out = Vec::with_capacity(batch.groups);
        for group in 0..batch.groups {
            for (d, gap) in gaps.iter_mut().enumerate() {
                let z = &batch.standard[d * batch.stride + group];
                for i in 0..LANES {
                    gap[i] = (z[i] - ellipse.belief.mean[d]) * ellipse.live[d];
                }
            }
            let mut square = [0.0; LANES];
            for row in 0..dim {
                let mut white = [0.0; LANES];
                for (gap, factor) in gaps[..=row].iter().zip(&ellipse.whitening[row * dim..row * dim + row + 1]) {
                    for i in 0..LANES {
                        white[i] += gap[i] * factor;
                    }
                }
                for i in 0..LANES {
                    square[i] += white[i] * white[i];
                }
            }
            out.push(square);
        }
        out
    }
}

/// Statistics of the batch's numbers, in standard units, weighted by each row of responsibilities.
pub fn clouds(ellipses: &[Ellipse], batch: &Batch, responsibilities: &Matrix) -> Vec<Cloud> {
    let patterns = patterns(batch);
    let mut whole = responsibilities.clone();
    for &event in patterns.iter().flat_map(|(_, events)| events) {
        (0..whole.rows()).for_each(|row| *whole.at(row, event) = 0.0);
    }
    let mut clouds: Vec<Cloud> = Vec::with_capacity(ellipses.len());
    for (row, ellipse) in ellipses.iter().enumerate().take(responsibilities.rows()) {
        let mut cloud = Arch::new().dispatch(Gather { ellipse, batch, weights: whole.row(row) });
        for (seen, events) in patterns.iter().filter(|(seen, _)| !seen.is_empty()) {
            let Some(conditional) = ellipse.conditional(seen) else { continue };
            let missing: Vec<usize> = (0..ellipse.belief.dim()).filter(|d| !seen.contains(d)).collect();
            let scatter = &ellipse.belief.scatter;
            let across = DMatrix::from_fn(seen.len(), missing.len(), |i, j| scatter[(seen[i], missing[j])]);
            let regression = conditional.whitening.gram() * &across;
            let explained = across.transpose() * &regression;
            for &event in events {
                let weight = responsibilities.get(row, event);
                if weight == 0.0 {
                    continue;
                }
                let gap = gap(ellipse, batch, event, seen);
                let filled = regression.transpose() * &gap;
                let mut one = Cloud::nothing(ellipse.belief.dim());
                one.count = weight;
                one.mean.copy_from(&ellipse.belief.mean);
                seen.iter().enumerate().for_each(|(i, d)| one.mean[*d] += gap[i]);
                missing.iter().enumerate().for_each(|(i, d)| one.mean[*d] += filled[i]);
                for (i, a) in missing.iter().enumerate() {
                    for (j, b) in missing.iter().enumerate() {
                        // A column that has not varied is held to be constant: its missing cells are that constant.
                        let live = ellipse.live[*a] * ellipse.live[*b];
                        one.scatter[(*a, *b)] = live * weight * (scatter[(*a, *b)] - explained[(i, j)]) / ellipse.dof;
                    }
                }
                cloud.add(&one);
            }
        }
        clouds.push(cloud);
    }
    clouds
}

struct Gather<'a> {
    ellipse: &'a Ellipse,
    batch: &'a Batch,
    weights: &'a [Lanes],
}

impl WithSimd for Gather<'_> {
    type Output = Cloud;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Cloud {
        let Self { ellipse, batch, weights } = self;
        let (dim, groups) = (batch.complete.len(), batch.groups);
        let mut cloud = Cloud::nothing(dim);
        let count = total(weights);
        if count == 0.0 {
            return cloud;
        }
        let mean = &ellipse.belief.mean;
        // Gaps from the mean `[dim, groups]`, and one column of them weighted.
        let mut gaps = vec![[0.0; LANES]; dim * groups];
        let mut weighted = vec![[0.0; LANES]; groups];
        let mut shift = vec![0.0; dim];
        for d in 0..dim {
            let column = &batch.standard[d * batch.stride..d * batch.stride + groups];
            for (gap, z) in gaps[d * groups..(d + 1) * groups].iter_mut().zip(column) {
                for i in 0..LANES {
                    gap[i] = z[i] - mean[d];
                }
            }
        }
        for a in 0..dim {
            for ((weighted, gap), weight) in weighted.iter_mut().zip(&gaps[a * groups..(a + 1) * groups]).zip(weights) {
                for i in 0..LANES {
                    weighted[i] = weight[i] * gap[i];
                }
            }
            shift[a] = total(&weighted) / count;
            for b in 0..=a {
                let mut sum = [0.0; LANES];
                for (weighted, gap) in weighted.iter().zip(&gaps[b * groups..(b + 1) * groups]) {
                    for i in 0..LANES {
                        sum[i] += weighted[i] * gap[i];
                    }
                }
                let second = total(&[sum]) - shift[a] * shift[b] * count;
                cloud.scatter[(a, b)] = if a == b { second.max(0.0) } else { second };
                cloud.scatter[(b, a)] = cloud.scatter[(a, b)];
            }
        }
        cloud.count = count;
        (0..dim).for_each(|d| cloud.mean[d] = mean[d] + shift[d]);
        cloud
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::testing::{assert_close, simpson};
    use crate::models::mixture::frame::{Frame, Layout};

    /// Densities of a row `[2]`, NaN missing.
    fn log_density(density: Density, row: [f64; 2]) -> f64 {
        let belief = NormalWishart {
            mean: DVector::from_vec(vec![0.5, -1.0]),
            strength: 2.0,
            dof: 9.0,
            scatter: DMatrix::from_row_slice(2, 2, &[12.0, 5.0, 5.0, 8.0]),
        };
        let fixed = vec![Some((0.0, 1.0)); 2];
        let frame = Frame::new(&[Default::default(); 2], &fixed);
        let layout =
            Layout { numbers: vec![0, 1], fixed, counts: Vec::new(), booleans: Vec::new(), categories: Vec::new(), full: true };
        let batch = Batch::from_cells(&layout, &frame, &row, &[0]);
        let mut log = Matrix::filled([0.0], batch.groups);
        add_to(&[Ellipse::new(belief, &[true, true]).expect("positive definite")], density, &batch, &mut log);
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
