//! Events decoded a second on one core: 8 numbers in about 120 bytes of JSON. The peer, in the same run, parses the same events into
//! `serde_json::Value` and looks the fields up.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use surprisal::codec::Decode;
use surprisal::codec::json::{JsonDecoder, Limits};
use surprisal::features::{Column, Kind, Rows, Schema};

const EVENTS: usize = 1024;
const FIELDS: [&str; 8] = ["temp", "load", "fan", "volt", "amps", "rpm", "flow", "noise"];

/// Numbers as sensors send them: five to seven digits.
fn events() -> Vec<String> {
    let number = |event: usize, field: usize| ((event * 7919 + field * 104_729) % 1_000_003) as f64 / 1_000.0 - 250.0;
    let field = |event, field| format!("\"{}\":{:.3}", FIELDS[field], number(event, field));
    (0..EVENTS).map(|event| format!("{{{}}}", (0..8).map(|index| field(event, index)).collect::<Vec<_>>().join(","))).collect()
}

fn decode(criterion: &mut Criterion) {
    let column = |name: &str| Column { name: name.into(), path: vec![name.into()], kind: Kind::Number };
    let schema = Schema::new(FIELDS.map(column).into());
    let events = events();
    let bytes: usize = events.iter().map(String::len).sum();
    let mut group = criterion.benchmark_group(format!("decode 8 numbers, {} bytes", bytes / EVENTS));
    group.throughput(Throughput::Elements(EVENTS as u64));
    let mut rows = Rows::new(schema.width());

    let mut run = |name: &str, schema: &Schema| {
        let decoder = JsonDecoder::new(schema, Limits::default());
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                rows.clear();
                for event in &events {
                    decoder.decode(event.as_bytes(), &mut rows).expect("these events are well formed");
                }
                black_box(rows.view().cells().len())
            });
        });
    };
    run("columns in the events' order", &schema);
    run("columns in the opposite order", &Schema::new(schema.columns().iter().rev().cloned().collect()));

    group.bench_function("peer: serde_json::Value, then lookup", |bencher| {
        bencher.iter(|| {
            rows.clear();
            for event in &events {
                let value: serde_json::Value = serde_json::from_slice(event.as_bytes()).expect("these events are well formed");
                let (cells, _) = rows.push_missing();
                for (cell, field) in cells.iter_mut().zip(FIELDS) {
                    *cell = value.get(field).and_then(serde_json::Value::as_f64).unwrap_or(f64::NAN);
                }
            }
            black_box(rows.view().cells().len())
        });
    });
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
