//! ln, exp and ln Γ on eight numbers at a time.
//!
//! Plain loops over `[f64; 8]` that the compiler turns into vector instructions wherever they are inlined into code that may use
//! them. No operation is fused or reordered, so every machine computes the same bits.

use std::f64::consts::SQRT_2;

use pulp::{Arch, Simd};

/// Numbers handled at a time.
pub const LANES: usize = 8;

/// Eight numbers.
pub type Lanes = [f64; LANES];

/// Lane groups as the processor's vectors.
#[inline(always)]
pub fn vectors<S: Simd>(lanes: &[Lanes]) -> &[S::f64s] {
    S::as_simd_f64s(lanes.as_flattened()).0
}

/// Lane groups as the processor's vectors.
#[inline(always)]
pub fn vectors_mut<S: Simd>(lanes: &mut [Lanes]) -> &mut [S::f64s] {
    S::as_mut_simd_f64s(lanes.as_flattened_mut()).0
}

/// The sum of the lanes, in a fixed order.
#[inline(always)]
pub fn across(lanes: &Lanes) -> f64 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// `Σ f(x)` by lanes, in a fixed order.
pub fn sum<T: Copy>(numbers: &[T], f: impl Fn(T) -> f64) -> f64 {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            let (groups, rest) = numbers.as_chunks::<LANES>();
            let mut sums = [0.0; LANES];
            for group in groups {
                for i in 0..LANES {
                    sums[i] += f(group[i]);
                }
            }
            across(&sums) + rest.iter().map(|x| f(*x)).sum::<f64>()
        },
    )
}

/// Whether all are finite: 0 · x is 0 for what is finite, and NaN for what is not.
pub fn all_finite(numbers: &[f64]) -> bool {
    sum(numbers, |x| 0.0 * x) == 0.0
}

/// Adds `more` to `sums`, element by element.
pub fn add(sums: &mut [f64], more: &[f64]) {
    Arch::new().dispatch(
        #[inline(always)]
        || sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more),
    );
}

/// 2^52 + 1023: subtracting it from a float with these low bits leaves the exponent as a number.
const EXPONENT_BIAS: f64 = 4_503_599_627_370_496.0 + 1023.0;

/// Natural logarithm of normal positive numbers, to 2 ulp. +∞ gives about 709.8; what is below 2.3e-308 gives nonsense.
///
/// `x = 2^k (1 + f)` with 1 + f in [√½, √2); `ln(1 + f) = 2 artanh(s)`, `s = f / (2 + f)`, with fdlibm's polynomial in s².
#[inline(always)]
pub fn ln(x: Lanes) -> Lanes {
    let mut out = [0.0; LANES];
    for i in 0..LANES {
        let bits = x[i].to_bits();
        let mantissa = f64::from_bits((bits & 0x000F_FFFF_FFFF_FFFF) | 0x3FF0_0000_0000_0000);
        let exponent = f64::from_bits((bits >> 52) | 0x4330_0000_0000_0000) - EXPONENT_BIAS;
        let above = mantissa > SQRT_2;
        let mantissa = if above { 0.5 * mantissa } else { mantissa };
        let exponent = if above { exponent + 1.0 } else { exponent };
        let f = mantissa - 1.0;
        let s = f / (2.0 + f);
        let z = s * s;
        let w = z * z;
        let even = w * (0.399_999_999_994_094_2 + w * (0.222_221_984_321_497_84 + w * 0.153_138_376_992_093_73));
        let odd = z
            * (0.666_666_666_666_673_5
                + w * (0.285_714_287_436_623_9 + w * (0.181_835_721_616_180_5 + w * 0.147_981_986_051_165_86)));
        let half_square = 0.5 * f * f;
        let low = exponent * 1.908_214_929_270_587_7e-10;
        let high = exponent * 0.693_147_180_369_123_8;
        out[i] = high - ((half_square - (s * (half_square + (even + odd)) + low)) - f);
    }
    out
}

/// 1.5 · 2^52: adding it rounds a small float to a whole number in the low bits.
const ROUND: f64 = 6_755_399_441_055_744.0;

/// `e^x` for x ≤ 700, to 2e-16 relative; what is below −700 gives `e^-700`, about 1e-304.
///
/// `x = k ln 2 + r`, |r| ≤ ½ ln 2, Taylor's polynomial of degree 13 in r.
#[inline(always)]
pub fn exp(x: Lanes) -> Lanes {
    let mut out = [0.0; LANES];
    for i in 0..LANES {
        let x = if x[i] < -700.0 { -700.0 } else { x[i] };
        let shifted = x * std::f64::consts::LOG2_E + ROUND;
        let k = shifted - ROUND;
        let r = (x - k * 0.693_147_180_369_123_8) - k * 1.908_214_929_270_587_7e-10;
        let mut p = 1.0 / 6_227_020_800.0;
        for factorial in
            [479_001_600.0, 39_916_800.0, 3_628_800.0, 362_880.0, 40_320.0, 5040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0]
        {
            p = p * r + 1.0 / factorial;
        }
        // The low bits of `shifted` hold k; 2^k is k + 1023 in the exponent's place.
        let power = f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52);
        out[i] = p * power;
    }
    out
}

/// `ln Γ(x)` for x from 0.01 to 1e30, to 1e-13 of the larger of 1 and itself.
///
/// `Γ(x) = Γ(x + 8) / (x (x + 1) ⋯ (x + 7))`, and Stirling's series at x + 8.
#[inline(always)]
pub fn ln_gamma(x: Lanes) -> Lanes {
    let (mut shifted, mut product) = (x, x);
    for i in 0..LANES {
        for step in 1..8 {
            product[i] *= x[i] + f64::from(step);
        }
        shifted[i] += 8.0;
    }
    let (logarithm, below) = (ln(shifted), ln(product));
    let mut out = [0.0; LANES];
    for i in 0..LANES {
        let inverse = 1.0 / shifted[i];
        let y = inverse * inverse;
        let series = 1.0 / 12.0 - y * (1.0 / 360.0 - y * (1.0 / 1260.0 - y * (1.0 / 1680.0 - y / 1188.0)));
        let stirling = (shifted[i] - 0.5) * logarithm[i] - shifted[i] + 0.5 * super::special::LN_TAU;
        out[i] = stirling + series * inverse - below[i];
    }
    out
}

/// `ψ₀(x)` for x from 0.01 to 1e30, to 1e-13 of the larger of 1 and itself.
///
/// `ψ₀(x) = ψ₀(x + 8) − Σ 1/(x + i)` over i from 0 to 7, the sum as one fraction, and the asymptotic series at x + 8.
#[inline(always)]
pub fn digamma(x: Lanes) -> Lanes {
    let (mut shifted, mut numerator, mut denominator) = (x, [1.0; LANES], x);
    for i in 0..LANES {
        for step in 1..8 {
            let next = x[i] + f64::from(step);
            numerator[i] = numerator[i] * next + denominator[i];
            denominator[i] *= next;
        }
        shifted[i] += 8.0;
    }
    let logarithm = ln(shifted);
    let mut out = [0.0; LANES];
    for i in 0..LANES {
        let y = 1.0 / (shifted[i] * shifted[i]);
        let high = 1.0 / 252.0 - y * (1.0 / 240.0 - y * (1.0 / 132.0 - y * 691.0 / 32760.0));
        let series = y * (1.0 / 12.0 - y * (1.0 / 120.0 - y * high));
        out[i] = logarithm[i] - 0.5 / shifted[i] - series - numerator[i] / denominator[i];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ln_agrees_with_the_standard_library() {
        let mut values: Vec<f64> = (-1000..1000).map(|i| (f64::from(i) * 0.7).exp()).collect();
        values.extend((1..4000).map(|i| f64::from(i) / 2000.0));
        values.extend([f64::MIN_POSITIVE, f64::MAX, 1.0, 1.0 + f64::EPSILON, SQRT_2, 1.0 - f64::EPSILON]);
        for x in values.into_iter().filter(|x| x.is_normal()) {
            let (found, expected) = (ln([x; LANES])[3], x.ln());
            assert!((found - expected).abs() <= 5e-16 * expected.abs(), "ln {x:e}: {found:e}, expected {expected:e}");
        }
    }

    #[test]
    fn exp_agrees_with_the_standard_library() {
        for x in (-700_000..700_000).step_by(7).map(|i| f64::from(i) * 1e-3) {
            let (found, expected) = (exp([x; LANES])[5], x.exp());
            assert!((found - expected).abs() <= 5e-16 * expected, "exp {x}: {found:e}, expected {expected:e}");
        }
        assert!(exp([f64::NEG_INFINITY; LANES])[0] < 1e-300);
    }

    #[test]
    fn ln_gamma_agrees_with_statrs() {
        for x in (-45..690).map(|i| (f64::from(i) * 0.1).exp()) {
            let (found, expected) = (ln_gamma([x; LANES])[2], crate::dist::special::ln_gamma(x));
            assert!((found - expected).abs() <= 2e-13 * expected.abs().max(1.0), "ln Γ {x}: {found}, expected {expected}");
        }
    }

    #[test]
    fn digamma_agrees_with_statrs() {
        for x in (-460..6900).map(|i| (0.01 * f64::from(i)).exp()) {
            let (found, expected) = (digamma([x; LANES])[1], super::super::special::digamma(x));
            assert!((found - expected).abs() <= 1e-13 * expected.abs().max(1.0), "{x}: {found}, expected {expected}");
        }
    }
}
