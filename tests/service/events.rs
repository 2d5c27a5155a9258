//! Events of a shop, the same each time: nested fields, columns of all kinds, fields that are missing or null, and users who
//! were never seen before.

use serde_json::{Map, Value, json};

use crate::log::Record;

/// The columns of the events, as a configuration writes them.
pub const COLUMNS: &str = r#"
[[columns]]
name = "latency"
path = "request.latency_ms"
kind = "number"

[[columns]]
name = "amount"
kind = "number"

[[columns]]
name = "user"
path = ["request", "user.id"]
kind = "category"
capacity = 8

[[columns]]
name = "retries"
path = "request.retries"
kind = "count"

[[columns]]
name = "paid"
kind = "boolean"

[[columns]]
name = "at"
kind = "timestamp"
"#;

/// When the first record was written.
pub const START_MS: i64 = 1_700_000_000_000;

/// The event `number`, dealt to `partitions` in turn.
pub fn event(number: u64, partitions: i32) -> Record {
    let payload = Value::Object(fields(number)).to_string();
    Record {
        partition: (number % partitions as u64) as i32,
        key: key(number),
        payload: Some(payload.into_bytes()),
        timestamp_ms: START_MS + number as i64,
    }
}

/// The events `numbers`.
pub fn batch(numbers: std::ops::Range<u64>, partitions: i32) -> Vec<Record> {
    numbers.map(|number| event(number, partitions)).collect()
}

/// The record's key: none, text, or bytes that are no text.
fn key(number: u64) -> Option<Vec<u8>> {
    match hash(number, 1) % 4 {
        0 => None,
        1 => Some(vec![0xff, number as u8]),
        _ => Some(format!("customer-{}", number % 7).into_bytes()),
    }
}

/// The time that the event itself names, in milliseconds since 1970, if it does.
pub fn own_time_ms(number: u64) -> Option<i64> {
    hash(number, 2).is_multiple_of(3).then_some(1_600_000_000_000 + number as i64)
}

/// Whether the event has a latency. Null and absent are the same.
pub fn has_latency(number: u64) -> bool {
    !hash(number, 3).is_multiple_of(5)
}

fn fields(number: u64) -> Map<String, Value> {
    let slow = number.is_multiple_of(11);
    let mut request = Map::new();
    if has_latency(number) {
        let mean = if slow { 900.0 } else { 20.0 };
        request.insert("latency_ms".into(), json!(mean + 10.0 * unit(number, 4)));
    } else if hash(number, 5).is_multiple_of(2) {
        request.insert("latency_ms".into(), Value::Null);
    }
    // One in 16 users comes once and never again: more of them than the category tells apart.
    let user = if hash(number, 6).is_multiple_of(16) { format!("new-{number}") } else { format!("u{}", number % 5) };
    request.insert("user.id".into(), user.into());
    request.insert("retries".into(), json!(if slow { hash(number, 7) % 9 } else { 0 }));
    request.insert("headers".into(), json!({"accept": ["a", "b"]}));
    let mut event = Map::new();
    event.insert("request".into(), request.into());
    event.insert("amount".into(), json!((unit(number, 8) * 5.0).exp()));
    if !hash(number, 9).is_multiple_of(4) {
        event.insert("paid".into(), json!(!slow));
    }
    if let Some(time) = own_time_ms(number) {
        event.insert("at".into(), json!(time));
    }
    event
}

/// From 0 up to 1.
fn unit(number: u64, salt: u64) -> f64 {
    (hash(number, salt) >> 11) as f64 / (1_u64 << 53) as f64
}

/// SplitMix64.
fn hash(number: u64, salt: u64) -> u64 {
    let mut z = number.wrapping_mul(64).wrapping_add(salt).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
