//! The sums over a cubature's points, eight of them at a time.

use pulp::{Simd, WithSimd};

use crate::dist::lanes::{self, LANES, Lanes};
use crate::inference::cubature::NormalPoints;

/// Sums over the points of a cubature, lane by lane.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sums {
    /// ln p(y), less `centre`, and its square.
    pub moments: [Lanes; 2],
    /// `[classes]`.
    pub probability: Vec<Lanes>,
    /// The upper triangle of p pᵀ, if it is asked for.
    pub product: Vec<Lanes>,
    /// Logits, and then probabilities, at the points of the moment.
    pub row: Vec<Lanes>,
}

impl Sums {
    /// Room for this many classes.
    pub fn new(classes: usize) -> Self {
        Self {
            moments: Default::default(),
            probability: vec![[0.0; LANES]; classes],
            product: vec![[0.0; LANES]; classes * (classes + 1) / 2],
            row: vec![[0.0; LANES]; classes],
        }
    }
}

/// Writes the logits at eight points into `row`, less the greatest of each point.
#[inline(always)]
fn logits(z: &[Lanes], mean: &[f64], factor: &[f64], row: &mut [Lanes]) {
    let mut most = [f64::NEG_INFINITY; LANES];
    for ((out, mean), factor) in row.iter_mut().zip(mean).zip(factor.chunks_exact(mean.len())) {
        let mut eta = [*mean; LANES];
        for (z, factor) in z.iter().zip(factor) {
            for i in 0..LANES {
                eta[i] += factor * z[i];
            }
        }
        for i in 0..LANES {
            most[i] = if eta[i] > most[i] { eta[i] } else { most[i] };
        }
        *out = eta;
    }
    for eta in row {
        for i in 0..LANES {
            eta[i] -= most[i];
        }
    }
}

/// Sums what [`Sums`] holds over all points.
pub struct Pass<'a> {
    pub points: &'a NormalPoints,
    pub y: usize,
    pub centre: f64,
    pub products: bool,
    pub mean: &'a [f64],
    pub factor: &'a [f64],
    pub sums: &'a mut Sums,
}

impl WithSimd for Pass<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { points, y, centre, products, mean, factor, sums } = self;
        sums.moments = Default::default();
        sums.probability.fill([0.0; LANES]);
        sums.product.fill([0.0; LANES]);
        for z in points.lanes.chunks_exact(points.dimensions) {
            logits(z, mean, factor, &mut sums.row);
            let mut log_density = sums.row[y];
            let mut total = [0.0; LANES];
            for eta in &mut sums.row {
                *eta = lanes::exp(*eta);
                for i in 0..LANES {
                    total[i] += eta[i];
                }
            }
            let logarithm = lanes::ln(total);
            for i in 0..LANES {
                log_density[i] -= logarithm[i] + centre;
                sums.moments[0][i] += log_density[i];
                sums.moments[1][i] += log_density[i] * log_density[i];
            }
            for (p, sum) in sums.row.iter_mut().zip(&mut sums.probability) {
                for i in 0..LANES {
                    p[i] /= total[i];
                    sum[i] += p[i];
                }
            }
            if products {
                let mut triangle = sums.product.iter_mut();
                for (class, one) in sums.row.iter().enumerate() {
                    for (other, sum) in sums.row[class..].iter().zip(&mut triangle) {
                        for i in 0..LANES {
                            sum[i] += one[i] * other[i];
                        }
                    }
                }
            }
        }
    }
}

/// `Σ p(y | η) e^(−t (D − E D))` over all points, with `D = η_y − η_k`.
pub struct TiltedPass<'a> {
    pub points: &'a NormalPoints,
    pub y: usize,
    pub likeliest: usize,
    pub tilt: f64,
    pub mean: &'a [f64],
    pub factor: &'a [f64],
    pub row: &'a mut [Lanes],
}

impl WithSimd for TiltedPass<'_> {
    type Output = Lanes;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Lanes {
        let Self { points, y, likeliest, tilt, mean, factor, row } = self;
        let centre = mean[y] - mean[likeliest];
        let mut sum = [0.0; LANES];
        for z in points.lanes.chunks_exact(points.dimensions) {
            logits(z, mean, factor, row);
            let (own, other) = (row[y], row[likeliest]);
            let mut total = [0.0; LANES];
            for eta in row.iter() {
                let power = lanes::exp(*eta);
                for i in 0..LANES {
                    total[i] += power[i];
                }
            }
            let mut exponent = lanes::ln(total);
            for i in 0..LANES {
                exponent[i] = own[i] - exponent[i] - tilt * (own[i] - other[i] - centre);
            }
            let value = lanes::exp(exponent);
            for i in 0..LANES {
                sum[i] += value[i];
            }
        }
        sum
    }
}
