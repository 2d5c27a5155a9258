//! What an optimiser remembers, in snapshots.

use crate::checkpoint::{CheckpointError, Reader, Tensor};
use crate::inference::optimiser::State;

/// Steps that may have been taken, so that one more is a number.
const MOST_STEPS: i64 = 1 << 53;

/// `NAME.first`, `NAME.second` and `NAME.steps`; nothing of what remembers nothing.
pub fn tensors(State { steps, clipped, first, second }: &State<f64>, name: &str) -> Vec<Tensor> {
    if first.is_empty() {
        return Vec::new();
    }
    let list = |part: &str, values: &[f64]| Tensor::f64(format!("{name}.{part}"), &[values.len()], values.to_vec());
    let counts = Tensor::i64(format!("{name}.steps"), &[2], vec![*steps as i64, *clipped as i64]);
    vec![list("first", first), list("second", second), counts]
}

/// What [`tensors`] has written down, of a state of the shape of `empty`.
pub fn restore(reader: Reader<'_>, name: &str, empty: &State<f64>) -> Result<State<f64>, CheckpointError> {
    if empty.first.is_empty() {
        return Ok(empty.clone());
    }
    let first = reader.f64(&format!("{name}.first"), &[empty.first.len()])?.to_vec();
    let second = reader.at_least(0.0, &format!("{name}.second"), &[empty.second.len()])?.to_vec();
    let counts = reader.within(0..=MOST_STEPS, &format!("{name}.steps"), &[2])?;
    Ok(State { steps: counts[0].unsigned_abs(), clipped: counts[1].unsigned_abs(), first, second })
}
