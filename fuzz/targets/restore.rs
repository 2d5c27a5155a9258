//! Snapshots are changed as messages, not only as bytes: lengths and tags stay right, so that what is tried is what a model reads.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use prost::Message;
use surprisal::codec::wire::proto::{Snapshot, Tensor, tensor::DType};

fuzz_target!(|bytes: &[u8]| surprisal_fuzz::restore(bytes));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut dice = Dice(seed.into());
    let changed = match Snapshot::decode(&data[..size]) {
        Ok(mut snapshot) if dice.roll(8) > 0 => {
            (0..=dice.roll(3)).for_each(|_| change(&mut snapshot, &mut dice));
            snapshot.encode_to_vec()
        }
        _ => return fuzzer_mutate(data, size, max_size),
    };
    if changed.len() > max_size {
        return fuzzer_mutate(data, size, max_size);
    }
    data[..changed.len()].copy_from_slice(&changed);
    changed.len()
});

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len())]
    }

    fn float(&mut self) -> f64 {
        let odd = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            0.5,
            3.0,
            1e-3,
            1e9,
            5e-324,
            1e-160,
            1e-308,
            1e155,
            -1e155,
            f64::MAX,
            f64::MIN,
            f64::NAN,
            f64::INFINITY,
        ];
        self.pick(&odd)
    }

    fn integer(&mut self) -> i64 {
        self.pick(&[0, 1, -1, 2, 3, 255, 256, i64::MAX, i64::MIN, i64::MAX / 2, 1 << 32, 1 << 62])
    }
}

fn change(snapshot: &mut Snapshot, dice: &mut Dice) {
    match dice.roll(16) {
        0 => {
            (snapshot.covers_to, snapshot.events, snapshot.step) = (dice.integer(), dice.integer() as u64, dice.integer() as u64)
        }
        1 => snapshot.time_ms = Some(dice.integer()),
        2 => {
            let calibrator = snapshot.calibrator.get_or_insert_default();
            let (value, which) = (dice.float(), dice.roll(4));
            match which {
                0 => calibrator.means.push(value),
                1 => calibrator.weights.push(value),
                2 => calibrator.min = value,
                _ => calibrator.max = value,
            }
        }
        3 if !snapshot.evidence.is_empty() => {
            let (one, other) = (dice.roll(snapshot.evidence.len()), dice.roll(snapshot.evidence.len()));
            snapshot.evidence[one] = Tensor { name: snapshot.evidence[one].name.clone(), ..snapshot.evidence[other].clone() };
        }
        _ if !snapshot.evidence.is_empty() => {
            let at = dice.roll(snapshot.evidence.len());
            tensor(&mut snapshot.evidence[at], dice);
        }
        _ => {}
    }
}

/// Changes an element or two; seldom their number.
fn tensor(tensor: &mut Tensor, dice: &mut Dice) {
    let words = tensor.data.len() / 8;
    match (DType::try_from(tensor.dtype), dice.roll(10)) {
        (Ok(DType::F64 | DType::I64), 0) => {
            let bytes = dice.float().to_le_bytes();
            tensor.data.extend_from_slice(&bytes);
            if let Some(first) = tensor.shape.first_mut() {
                *first += 1;
            }
        }
        (Ok(DType::F64), 1..=2) => tensor.data = (0..words).flat_map(|_| dice.float().to_le_bytes()).collect(),
        (Ok(DType::F64), _) if words > 0 => {
            let at = 8 * dice.roll(words);
            tensor.data[at..at + 8].copy_from_slice(&dice.float().to_le_bytes());
        }
        (Ok(DType::I64), _) if words > 0 => {
            let at = 8 * dice.roll(words);
            tensor.data[at..at + 8].copy_from_slice(&dice.integer().to_le_bytes());
        }
        (Ok(DType::Text), _) => {
            let text = dice.pick(&["", "a", "b", "new"]);
            tensor.data.extend_from_slice(&(text.len() as u32).to_le_bytes());
            tensor.data.extend_from_slice(text.as_bytes());
            if let Some(first) = tensor.shape.first_mut() {
                *first += 1;
            }
        }
        _ => {}
    }
}
