//! Noise that depends on nothing but its index, for tests and benchmarks: whoever asks for the same index gets the same number, in
//! whatever order. tests/golden/mixture.py repeats it in Python.

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
