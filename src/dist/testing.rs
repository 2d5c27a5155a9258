//! What the tests of several families share: quadrature, and noise that depends on nothing but its index.

/// ∫ f over [low, high] by the composite Simpson rule with `2 · halves` intervals.
pub fn simpson(low: f64, high: f64, halves: usize, f: impl Fn(f64) -> f64) -> f64 {
    let step = (high - low) / (2 * halves) as f64;
    let inner: f64 = (1..2 * halves).map(|i| f(low + i as f64 * step) * if i % 2 == 1 { 4.0 } else { 2.0 }).sum();
    (f(low) + inner + f(high)) * step / 3.0
}

/// The `index`-th of a fixed sequence of uniform numbers in (0, 1): SplitMix64 of a counter.
pub fn uniform(index: u64) -> f64 {
    let mut z = index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 * 2f64.powi(-53) + 2f64.powi(-54)
}

/// The `index`-th of a fixed sequence of standard normal numbers (Box–Muller).
pub fn normal(index: u64) -> f64 {
    (-2.0 * uniform(2 * index).ln()).sqrt() * (std::f64::consts::TAU * uniform(2 * index + 1)).cos()
}

/// Asserts `|left − right| ≤ tolerance · max(1, |right|)`.
#[track_caller]
pub fn assert_close(left: f64, right: f64, tolerance: f64) {
    let error = (left - right).abs() / right.abs().max(1.0);
    assert!(error <= tolerance, "{left} is not {right}: off by {error:e}");
}
