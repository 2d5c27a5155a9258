//! What the tests of several families share: quadrature, and noise that depends on nothing but its index.

use crate::noise::Noise;

mod calibration;
pub mod draws;
pub mod oracle;

/// ∫ f over [low, high] by the composite Simpson rule with `2 · halves` intervals.
pub fn simpson(low: f64, high: f64, halves: usize, f: impl Fn(f64) -> f64) -> f64 {
    let step = (high - low) / (2 * halves) as f64;
    let inner: f64 = (1..2 * halves).map(|i| f(low + i as f64 * step) * if i % 2 == 1 { 4.0 } else { 2.0 }).sum();
    (f(low) + inner + f(high)) * step / 3.0
}

const NOISE: Noise = Noise { seed: 7 };

/// The `index`-th of a fixed sequence of uniform numbers in (0, 1).
pub fn uniform(index: u64) -> f64 {
    NOISE.uniform(index >> 32, 0, index as u32)
}

/// The `index`-th of a fixed sequence of standard normal numbers.
pub fn normal(index: u64) -> f64 {
    NOISE.normal(index >> 32, 0, index as u32)
}

/// Asserts `|left − right| ≤ tolerance · max(1, |right|)`.
#[track_caller]
pub fn assert_close(left: f64, right: f64, tolerance: f64) {
    let error = (left - right).abs() / right.abs().max(1.0);
    assert!(error <= tolerance, "{left} is not {right}: off by {error:e}");
}
