//! Noise by address: a draw is a function of the seed, a step, a stream and a position, and of nothing else.
//!
//! No state is carried from draw to draw, so a restart, another order or another device gives the same noise. The generator is
//! Philox4x32-10 (Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3"): the seed is its key, the
//! address its counter. `f32` draws use only operations that IEEE 754 rounds exactly, none fused, so every machine that keeps to
//! them gets the same bits.
//!
//! The counter is `[block, stream, step low, step high]`. Blocks give four words. Normals take a word each, sixteen blocks making
//! a group of 64 that is transposed: position `64 g + 16 k + j` is made by block `16 g + j`, so that neither vector lanes nor the
//! threads of a GPU need to shuffle. Uniforms take two words each, of blocks with the highest bit set: the two never share a word.

use pulp::{Arch, Simd, WithSimd};

/// Blocks made at a time.
const LANES: usize = 16;

/// Normals that a group of blocks gives.
const GROUP: usize = 4 * LANES;

/// Set in the blocks of uniforms.
const UNIFORM: u32 = 1 << 31;

/// A source of noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noise {
    /// What makes this source another than others.
    pub seed: u64,
}

impl Noise {
    /// The source with this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Writes standard normals, the draws of positions `0..out.len()`. The largest possible is 6.67.
    pub fn fill_normal(&self, step: u64, stream: u32, out: &mut [f32]) {
        Arch::new().dispatch(FillNormal { noise: *self, step, stream, out });
    }

    /// Writes 1 or −1, each with probability ½: a bit of the stream's words for each position. A stream of signs has no normals.
    pub fn fill_signs(&self, step: u64, stream: u32, out: &mut [f32]) {
        for (block, chunk) in out.chunks_mut(4 * u32::BITS as usize).enumerate() {
            let words = self.words(step, stream, block as u32);
            for (chunk, word) in chunk.chunks_mut(u32::BITS as usize).zip(words) {
                for (bit, sign) in chunk.iter_mut().enumerate() {
                    *sign = f32::from_bits(1f32.to_bits() | (word >> bit) << 31);
                }
            }
        }
    }

    /// A standard normal: what [`Noise::fill_normal`] writes at this position, in double precision. The last digits
    /// are those of the platform's logarithm and sine.
    pub fn normal(&self, step: u64, stream: u32, position: u32) -> f64 {
        let (group, within) = (position / GROUP as u32, position as usize % GROUP);
        let words = self.words(step, stream, group * LANES as u32 + (within % LANES) as u32);
        let output = within / LANES;
        let (first, second) = (words[output & 2], words[output | 1]);
        let radius = (-2.0 * ((f64::from(first >> 1) + 0.5) * 2f64.powi(-31)).ln()).sqrt();
        let (sine, cosine) = (f64::from((second << 1) as i32) * (std::f64::consts::PI * 2f64.powi(-32))).sin_cos();
        let cosine = if second >> 31 == 0 { cosine } else { -cosine };
        radius * if output.is_multiple_of(2) { cosine } else { sine }
    }

    /// A uniform number strictly between 0 and 1, of 52 bits.
    pub fn uniform(&self, step: u64, stream: u32, position: u32) -> f64 {
        let words = self.words(step, stream, UNIFORM | (position / 2));
        let half = 2 * (position as usize % 2);
        let bits = u64::from(words[half]) << 32 | u64::from(words[half + 1]);
        ((bits >> 12) as f64 + 0.5) * 2f64.powi(-52)
    }

    /// The words of one block.
    fn words(&self, step: u64, stream: u32, block: u32) -> [u32; 4] {
        philox([[block], [stream], [step as u32], [(step >> 32) as u32]], self.key()).map(|[word]| word)
    }

    fn key(&self) -> [u32; 2] {
        [self.seed as u32, (self.seed >> 32) as u32]
    }
}

/// Philox4x32-10 of `L` counters, with one key: ten rounds of `(hi, lo) = M · c`, where the key is bumped between rounds.
#[inline(always)]
pub fn philox<const L: usize>(mut counter: [[u32; L]; 4], mut key: [u32; 2]) -> [[u32; L]; 4] {
    for _ in 0..10 {
        let [mut a, mut b, mut c, mut d] = counter;
        for i in 0..L {
            let first = u64::from(a[i]) * 0xD251_1F53;
            let second = u64::from(c[i]) * 0xCD9E_8D57;
            a[i] = (second >> 32) as u32 ^ b[i] ^ key[0];
            b[i] = second as u32;
            c[i] = (first >> 32) as u32 ^ d[i] ^ key[1];
            d[i] = first as u32;
        }
        counter = [a, b, c, d];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

struct FillNormal<'a> {
    noise: Noise,
    step: u64,
    stream: u32,
    out: &'a mut [f32],
}

impl WithSimd for FillNormal<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { noise, step, stream, out } = self;
        let fixed = [stream, step as u32, (step >> 32) as u32].map(|word| [word; LANES]);
        for (group, chunk) in out.chunks_mut(GROUP).enumerate() {
            let blocks = std::array::from_fn(|i| (group * LANES + i) as u32);
            let [a, b, c, d] = philox([blocks, fixed[0], fixed[1], fixed[2]], noise.key());
            let mut draws = [[0.0; LANES]; 4];
            [draws[0], draws[1]] = box_muller(a, b);
            [draws[2], draws[3]] = box_muller(c, d);
            chunk.copy_from_slice(&draws.as_flattened()[..chunk.len()]);
        }
    }
}

/// Two independent standard normals a lane: `√(−2 ln u) (cos x, sin x)` with u uniform in (0, 1] and x on the circle
/// (Box & Muller 1958).
///
/// Half of the circle, |x| ≤ π/2, is enough for the polynomials: the sine is as it should be, and the cosine's sign is a bit of
/// its own.
#[inline(always)]
fn box_muller(first: [u32; LANES], second: [u32; LANES]) -> [[f32; LANES]; 2] {
    let [mut cosines, mut sines] = [[0.0; LANES]; 2];
    for i in 0..LANES {
        // Signed conversions are one instruction everywhere.
        let u = ((first[i] >> 1) as i32 as f32 + 0.5) * 2f32.powi(-31);
        let radius = (-2.0 * ln(u)).sqrt();
        let x = (second[i] << 1) as i32 as f32 * (std::f32::consts::PI * 2f32.powi(-32));
        let sign = second[i] & 0x8000_0000;
        cosines[i] = f32::from_bits((radius * cos(x)).to_bits() ^ sign);
        sines[i] = radius * sin(x);
    }
    [cosines, sines]
}

/// Natural logarithm of normal numbers in (0, 1], to 1e-7 relative.
///
/// `x = 2^k (1 + f)` with 1 + f in [√½, √2); `ln(1 + f) = 2 artanh(s)`, `s = f / (2 + f)`, with fdlibm's polynomial in s².
#[inline(always)]
fn ln(x: f32) -> f32 {
    // Taking away the bits of √½ carries the exponent where the mantissa is above it.
    let offset = x.to_bits().wrapping_sub(0x3F35_04F3);
    let exponent = (offset as i32 >> 23) as f32;
    let f = f32::from_bits((offset & 0x007F_FFFF) + 0x3F35_04F3) - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let series = z * (0.666_666_6 + z * (0.400_009_72 + z * (0.284_987_87 + z * 0.242_790_79)));
    let half_square = 0.5 * f * f;
    let low = exponent * 9.058_001e-6;
    exponent * 0.693_138_1 - ((half_square - (s * (half_square + series) + low)) - f)
}

/// Taylor's polynomial of degree 11: within 1e-7 for |x| ≤ π/2.
#[inline(always)]
fn sin(x: f32) -> f32 {
    let y = x * x;
    let terms = [1.0 / 39_916_800.0, 1.0 / 362_880.0, 1.0 / 5040.0, 1.0 / 120.0, 1.0 / 6.0, 1.0];
    x * terms.into_iter().fold(0.0, |sum, term| term - y * sum)
}

/// Taylor's polynomial of degree 12: within 1e-7 for |x| ≤ π/2.
#[inline(always)]
fn cos(x: f32) -> f32 {
    let y = x * x;
    let terms = [1.0 / 479_001_600.0, 1.0 / 3_628_800.0, 1.0 / 40_320.0, 1.0 / 720.0, 1.0 / 24.0, 0.5, 1.0];
    terms.into_iter().fold(0.0, |sum, term| term - y * sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOISE: Noise = Noise { seed: 0x5EED_0000_0000_0007 };

    /// A million draws.
    fn million() -> Vec<f32> {
        let mut draws = vec![0.0; 1_000_000];
        NOISE.fill_normal(11, 3, &mut draws);
        draws
    }

    /// `√n` times the largest distance between the distribution of `draws` and what `cdf` says (Kolmogorov & Smirnov). Above 1.95
    /// once in a thousand.
    fn distance(mut draws: Vec<f64>, cdf: impl Fn(f64) -> f64) -> f64 {
        draws.sort_by(f64::total_cmp);
        let n = draws.len() as f64;
        let gaps = draws.iter().enumerate().map(|(i, x)| {
            let expected = cdf(*x);
            (expected - i as f64 / n).abs().max(((i + 1) as f64 / n - expected).abs())
        });
        gaps.fold(0.0, f64::max) * n.sqrt()
    }

    fn normal_cdf(x: f64) -> f64 {
        0.5 * statrs::function::erf::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
    }

    /// Signs, and products of those next to each other and of those one, two and four words apart, are as often one as the other.
    #[test]
    fn signs_are_even() {
        let mut signs = vec![0.0; 1_000_000];
        NOISE.fill_signs(11, 3, &mut signs);
        let even = |sum: f32, count: usize| assert!(sum.abs() < 4.0 * (count as f32).sqrt(), "{sum} of {count}");
        even(signs.iter().sum(), signs.len());
        for lag in [1, 32, 64, 128] {
            even(signs.iter().zip(&signs[lag..]).map(|(a, b)| a * b).sum(), signs.len() - lag);
        }
        let mut few = vec![0.0; 333];
        NOISE.fill_signs(11, 3, &mut few);
        assert_eq!(few, signs[..333]);
    }

    #[test]
    fn philox_gives_the_known_answers_of_random123() {
        for (counter, key, answer) in [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ] {
            assert_eq!(philox(counter.map(|word| [word; 3]), key), answer.map(|word: u32| [word; 3]));
        }
    }

    #[test]
    fn what_is_filled_is_the_draw_of_its_address() {
        let mut draws = [0.0; 1000];
        NOISE.fill_normal(u64::MAX - 1, 5, &mut draws);
        for (position, draw) in draws.into_iter().enumerate() {
            let exact = NOISE.normal(u64::MAX - 1, 5, position as u32);
            assert!((f64::from(draw) - exact).abs() < 4e-6, "{position}: {draw}, exactly {exact}");
        }
        let mut fewer = [0.0; 77];
        NOISE.fill_normal(u64::MAX - 1, 5, &mut fewer);
        assert_eq!(fewer, draws[..77]);
    }

    #[test]
    fn single_precision_is_as_good_as_it_can_be() {
        let worst = million().into_iter().enumerate().map(|(i, x)| (f64::from(x) - NOISE.normal(11, 3, i as u32)).abs());
        // Radii near zero are those of u near 1, of which there are 2²⁴ in single precision.
        assert!(worst.fold(0.0, f64::max) < 3e-4);
        let close = million().into_iter().enumerate();
        let close = close.filter(|(i, x)| (f64::from(*x) - NOISE.normal(11, 3, *i as u32)).abs() < 1e-6).count();
        assert!(close > 999_000, "{close}");
    }

    // The references are by numpy, in single precision.
    #[test]
    fn bits_are_the_same_on_every_machine() {
        let mut draws = [0.0; 64];
        Noise::new(1).fill_normal(2, 3, &mut draws);
        assert_eq!(
            [draws[0], draws[17], draws[34], draws[63]].map(f32::to_bits),
            [0x3eb0_a14b, 0x3f89_0e4d, 0x3f93_2cb3, 0xbf5a_6d5f]
        );
        let hash = million().into_iter().fold(0_u64, |hash, x| (hash ^ u64::from(x.to_bits())).wrapping_mul(0x100_0000_01B3));
        assert_eq!(hash, 0xfd47_5806_e6fc_1542);
    }

    #[test]
    fn moments_are_those_of_the_normal() {
        let draws = million();
        // Variances of x, x², x³ and x⁴ are 1, 2, 15 and 96.
        for (power, moment, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0_f64)] {
            let mean = draws.iter().map(|x| f64::from(*x).powi(power)).sum::<f64>() / 1e6;
            assert!((mean - moment).abs() < 4.0 * variance.sqrt() / 1e3, "E x^{power} = {mean}");
        }
    }

    #[test]
    fn distribution_is_normal_and_the_check_can_fail() {
        let draws: Vec<f64> = million().into_iter().map(f64::from).collect();
        assert!(distance(draws.clone(), normal_cdf) < 1.95);
        assert!(distance(draws.iter().map(|x| 1.01 * x).collect(), normal_cdf) > 1.95);
        // Each of the four outputs of a block on its own.
        for output in 0..4 {
            let part = draws.iter().enumerate().filter(|(i, _)| i % GROUP / LANES == output).map(|(_, x)| *x).collect();
            assert!(distance(part, normal_cdf) < 1.95, "output {output}");
        }
        assert!(distance((0..1_000_000).map(|i| NOISE.uniform(2, 1, i)).collect(), |u| u) < 1.95);
    }

    #[test]
    fn draws_of_different_addresses_are_uncorrelated() {
        let draws = million();
        let correlation = |others: &[f32]| {
            let products = draws.iter().zip(others).map(|(a, b)| f64::from(a * b));
            let squares = draws.iter().zip(others).map(|(a, b)| (f64::from(a * a) - 1.0) * (f64::from(b * b) - 1.0) / 2.0);
            let n = draws.len().min(others.len()) as f64;
            (products.sum::<f64>() / n.sqrt()).abs().max((squares.sum::<f64>() / n.sqrt()).abs())
        };
        for lag in [1, 2, 15, LANES, 2 * LANES, 3 * LANES, GROUP, 1000] {
            assert!(correlation(&draws[lag..]) < 4.0, "lag {lag}");
        }
        let mut others = vec![0.0; draws.len()];
        for (seed, step, stream) in
            [(NOISE.seed, 12, 3), (NOISE.seed, 11, 4), (NOISE.seed + 1, 11, 3), (NOISE.seed, 11 + (1 << 32), 3)]
        {
            Noise::new(seed).fill_normal(step, stream, &mut others);
            assert!(correlation(&others) < 4.0, "seed {seed}, step {step}, stream {stream}");
        }
    }

    #[test]
    fn uniforms_stay_inside_and_never_repeat_the_words_of_normals() {
        let mut draws: Vec<f64> = (0..10_000).map(|i| NOISE.uniform(0, 0, i)).collect();
        assert!(draws.iter().all(|u| *u > 0.0 && *u < 1.0));
        assert!(NOISE.words(0, 0, UNIFORM) != NOISE.words(0, 0, 0));
        draws.sort_by(f64::total_cmp);
        draws.dedup();
        assert_eq!(draws.len(), 10_000);
    }
}
