//! The events that the benchmarks on a broker send: the same each time, of two kinds, each number spread about its kind's place.

/// Numbers of an event.
pub const COLUMNS: usize = 8;

/// So many events, as JSON.
pub fn events(count: usize) -> impl Iterator<Item = String> {
    let mut state = 7_u64;
    (0..count).map(move |number| {
        let kind = f64::from(number % 3 == 0);
        let fields = (0..COLUMNS).map(|column| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let spread = (0..4).map(|part| ((state >> (16 * part)) & 0xFFFF) as f64 / 65536.0).sum::<f64>();
            format!(r#""x{column}":{:.4}"#, 5.0 * kind + spread)
        });
        format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
    })
}
