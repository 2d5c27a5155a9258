//! Special functions, where the obvious formula loses its digits.
//!
//! Digamma and ln Γ are statrs'; here is what is made of them: differences and divergences of ln Γ, and masses of counts.

pub use statrs::function::gamma::{digamma, ln_gamma};

/// ln 2π.
pub const LN_TAU: f64 = 1.837_877_066_409_345_3;

/// Above it, asymptotic series in 1/x are exact to the last digits.
const ASYMPTOTIC: f64 = 20.0;

/// `ln Γ(x + ½) − ln Γ(x)` for x > 0, to 1e-14.
///
/// For large x the two terms agree in nearly all of their digits; there it is the series
/// `½ ln x − 1/(8x) + 1/(192x³) − 1/(640x⁵) + 17/(14336x⁷) − 31/(18432x⁹)` (Tricomi & Erdélyi 1951).
pub fn ln_gamma_half_step(x: f64) -> f64 {
    // Γ(x + 1) = x Γ(x) takes small x up to where the series holds.
    let (mut x, mut ratio) = (x, 1.0);
    while x < ASYMPTOTIC {
        ratio *= x / (x + 0.5);
        x += 1.0;
    }
    let y = 1.0 / (x * x);
    let series = -1.0 / 8.0 + y * (1.0 / 192.0 + y * (-1.0 / 640.0 + y * (17.0 / 14336.0 - y * 31.0 / 18432.0)));
    0.5 * x.ln() + series / x + ratio.ln()
}

/// Stirling's error `ln Γ(x + 1) − (x + ½) ln x + x − ½ ln 2π` for x > 0, to 1e-13 (Loader 2000).
pub fn stirling_error(x: f64) -> f64 {
    if x < ASYMPTOTIC {
        return ln_gamma(x + 1.0) - (x + 0.5) * x.ln() + x - 0.5 * LN_TAU;
    }
    let y = 1.0 / (x * x);
    (1.0 / 12.0 - y * (1.0 / 360.0 - y * (1.0 / 1260.0 - y * (1.0 / 1680.0 - y / 1188.0)))) / x
}

/// `ln x − ψ₀(x)` for x > 0, which is about 1/(2x): what the logarithm of a Gamma's mean is above the mean of its logarithm.
pub fn ln_minus_digamma(x: f64) -> f64 {
    // ψ₀(x + 1) = ψ₀(x) + 1/x.
    let (mut shifted, mut sum) = (x, 0.0);
    while shifted < ASYMPTOTIC {
        sum += 1.0 / shifted;
        shifted += 1.0;
    }
    0.5 / shifted - stirling_slope(shifted) + (sum - (shifted / x).ln())
}

/// `ψ₁(x) = ψ₀'(x)` for x > 0, by the same recurrence and its asymptotic series.
pub fn trigamma(x: f64) -> f64 {
    // The recurrence would take for ever to bring a large negative number up.
    if x < 0.0 {
        return f64::NAN;
    }
    let (mut shifted, mut sum) = (x, 0.0);
    while shifted < ASYMPTOTIC {
        sum += 1.0 / (shifted * shifted);
        shifted += 1.0;
    }
    let y = 1.0 / (shifted * shifted);
    let series = 1.0 / 6.0 - y * (1.0 / 30.0 - y * (1.0 / 42.0 - y * (1.0 / 30.0 - y * 5.0 / 66.0)));
    sum + (1.0 + 0.5 / shifted + series * y) / shifted
}

/// The slope of Stirling's error for `ln Γ(x)`, `ψ₀(x) − ln x + 1/(2x)`, for large x.
fn stirling_slope(x: f64) -> f64 {
    let y = 1.0 / (x * x);
    -y * (1.0 / 12.0 - y * (1.0 / 120.0 - y * (1.0 / 252.0 - y * (1.0 / 240.0 - y / 132.0))))
}

/// The Bregman divergence of Stirling's error from x to y, for large x and y.
///
/// That of `x^−p` is `x^−p (r − 1)² Σ_{k<p} (p − k) r^k / r` with `r = x/y`.
fn stirling_excess(y: f64, x: f64) -> f64 {
    let (r, inverse) = (x / y, 1.0 / (x * x));
    let mut sum = 0.0;
    for (p, coefficient) in [(9, 1.0 / 1188.0), (7, -1.0 / 1680.0), (5, 1.0 / 1260.0), (3, -1.0 / 360.0), (1, 1.0 / 12.0)] {
        let polynomial = (1..=p).fold(0.0, |sum, k| sum * r + f64::from(k));
        sum = sum * inverse + coefficient * polynomial;
    }
    let step = (x - y) / y;
    sum * step * step / (r * x)
}

/// By how much the Bregman divergence of `ln Γ` from x to y is above that of `x ln x − x`, for x, y > 0:
/// `[ln Γ(y) − ln Γ(x) − (y − x) ψ₀(x)] − deviance(y, x)`.
///
/// It is never negative, since `ln Γ(x) − x ln x + x` is convex. The KL of families that have `ln Γ` in their normaliser is a sum of
/// deviances and of these, where nothing cancels however much evidence there is.
pub fn ln_gamma_excess(y: f64, x: f64) -> f64 {
    if x.min(y) < ASYMPTOTIC && (y - x).abs() >= 0.1 * (x + y) {
        return ln_gamma(y) - ln_gamma(x) - (y - x) * digamma(x) - deviance(y, x);
    }
    // The divergence of ln Γ(x) is that of ln Γ(x + 1), plus that of −ln x.
    let (mut above, mut below, mut steps) = (y, x, 0.0);
    while above.min(below) < ASYMPTOTIC {
        steps += deviance(below, above) / below;
        (above, below) = (above + 1.0, below + 1.0);
    }
    // Above that, ln Γ(x) = (x − ½) ln x − x + ½ ln 2π + Stirling's error.
    let shifted = if steps == 0.0 { 0.0 } else { deviance(above, below) - deviance(y, x) };
    0.5 * deviance(below, above) / below + stirling_excess(above, below) + (steps + shifted)
}

/// The Poisson deviance `x ln(x / m) + m − x` for x, m > 0, without cancellation where x is near m (Loader 2000, `bd0`).
pub fn deviance(x: f64, m: f64) -> f64 {
    if (x - m).abs() >= 0.1 * (x + m) {
        return x * (x / m).ln() + m - x;
    }
    let v = (x - m) / (x + m);
    let mut sum = (x - m) * v;
    let mut term = 2.0 * x * v;
    for j in 1..1000 {
        term *= v * v;
        let next = sum + term / f64::from(2 * j + 1);
        if next == sum {
            break;
        }
        sum = next;
    }
    sum
}

/// `ln C(a + x − 1, x) p^a q^x` with `p + q = 1`: the negative binomial's log mass at x ≥ 0 for real a > 0, by Loader's saddle-point
/// expansion, which keeps its digits however large a and x are. `p` and `q` are both given because neither is `1 −` the other
/// where that would round.
pub fn ln_negative_binomial(x: f64, a: f64, p: f64, q: f64) -> f64 {
    if x == 0.0 {
        return if p > 0.5 { a * (-q).ln_1p() } else { a * p.ln() };
    }
    let n = a + x;
    let correction = stirling_error(n) - stirling_error(a) - stirling_error(x);
    // a/(a+x) · Binomial(a; a+x, p), and a/(a+x) · √((a+x)/(2π a x)) = √(a / (2π x (a+x))).
    correction - deviance(a, n * p) - deviance(x, n * q) + 0.5 * (a.ln() - n.ln() - LN_TAU - x.ln())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::testing::assert_close;

    // The references are by mpmath with 60 digits or more.

    #[test]
    fn half_step_keeps_its_digits() {
        for (x, reference) in [
            (0.01, -4.046_506_060_112_221),
            (0.5, -0.572_364_942_924_700_1),
            (2.0, 0.284_682_870_472_919_2),
            (9.5, 1.112_494_059_284_201_2),
            (19.9, 1.489_079_119_236_098),
            (20.1, 1.494_141_642_957_404_8),
            (1000.0, 3.453_752_639_496_277),
            (1e8, 9.210_340_370_726_183),
            (1e15, 17.269_388_197_455_342),
        ] {
            assert_close(ln_gamma_half_step(x), reference, 2e-14);
        }
    }

    #[test]
    fn stirling_error_keeps_its_digits() {
        for (x, reference) in [
            (0.25, 0.272_510_401_213_432_06),
            (1.5, 0.054_814_121_051_917_65),
            (7.0, 0.011_896_709_945_891_77),
            (15.9, 0.005_240_399_880_756_108),
            (1e8, 8.333_333_333_333_334e-10),
        ] {
            assert_close(stirling_error(x), reference, 1e-13);
        }
    }

    #[test]
    fn derivatives_of_ln_gamma_keep_their_digits() {
        for (x, gap, slope) in [
            (0.001, 993.667_816_652_828_2, 1_000_001.642_533_195_8),
            (0.3, 2.298_551_417_874_197_3, 12.245_364_546_107_732),
            (1.0, 0.577_215_664_901_532_9, 1.644_934_066_848_226_4),
            (2.5, 0.213_134_091_228_911_9, 0.490_357_756_100_234_85),
            (19.75, 0.025_530_041_968_267_202, 0.051_936_380_707_078_34),
            (20.25, 0.024_894_529_577_240_33, 0.050_622_103_814_419_776),
            (1000.0, 0.000_500_083_333_325, 0.001_000_500_166_666_633_3),
            (1e8, 5.000_000_008_333_333_6e-09, 1.000_000_005e-08),
            (1e15, 5e-16, 1.000_000_000_000_000_5e-15),
        ] {
            assert!((ln_minus_digamma(x) / gap - 1.0).abs() < 1e-14, "{x}: {}", ln_minus_digamma(x));
            assert!((trigamma(x) / slope - 1.0).abs() < 1e-14, "{x}: {}", trigamma(x));
        }
    }

    #[test]
    fn excess_keeps_its_digits_near_and_far() {
        for (y, x, reference) in [
            (0.01, 3.0, 3.732_495_684_173_055),
            (5.0, 0.25, 11.741_774_221_417_174),
            (1.0, 1.25, 0.014_552_004_391_956_565),
            (3.0, 3.000_015_258_789_062_5, 7.171_218_291_794_384e-12),
            (0.5, 0.4375, 0.006_956_089_984_467_477_5),
            (19.5, 21.0, 0.001_361_493_568_412_168_5),
            (25.0, 25.000_015_258_789_062, 9.437_354_667_699_797e-14),
            (1e8, 100_001_024.0, 2.621_404_217_756_133_3e-11),
            (1e8, 30_000.0, 1_662.120_056_329_548_6),
            (2.0, 1_000_000.0, 6.102_523_217_991_074),
            (1e12, 1.5e12, 0.036_065_887_387_424_785),
        ] {
            let found = ln_gamma_excess(y, x);
            let tolerance = 1e-12 * reference + 1e-15 * deviance(y, x);
            assert!((found - reference).abs() <= tolerance, "{y}, {x}: {found}, expected {reference}");
            assert_eq!(ln_gamma_excess(x, x), 0.0);
        }
    }

    #[test]
    fn negative_binomial_at_any_size() {
        for (x, a, b, reference) in [
            (0.0, 0.5, 1.0, -0.346_573_590_279_972_64),
            (3.0, 2.0, 0.5, -2.027_325_540_540_821_7),
            (1e6, 1e6 + 0.5, 1.0, -8.173_267_464_966_782),
            (7.0, 1e8, 1e8, -9.525_161_216_065_419),
            (1e15, 3.5, 1e-3, -999_500_333_022.567_9),
            (0.0, 1e8, 1e7, -9.999_999_500_000_033),
            (1e300, 2.0, 1.0, -6.931_471_805_599_454e299),
        ] {
            assert_close(ln_negative_binomial(x, a, b / (b + 1.0), 1.0 / (b + 1.0)), reference, 1e-13);
        }
    }

    #[test]
    fn digamma_is_the_slope_of_ln_gamma() {
        for x in [0.3, 1.0, 2.5, 17.0, 400.0] {
            let h = 1e-4 * x;
            assert_close((ln_gamma(x + h) - ln_gamma(x - h)) / (2.0 * h), digamma(x), 1e-7);
            assert_close(digamma(x + 1.0), digamma(x) + 1.0 / x, 1e-13);
        }
    }
}
