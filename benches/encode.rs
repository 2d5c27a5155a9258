//! Scores written a second on one core. The peer, in the same run, builds prost's message for each and encodes it.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use prost::Message;
use surprisal::codec::wire::{Format, SCHEMA_VERSION, encode_score, proto};
use surprisal::engine::Score;
use surprisal::record::{Head, Offset, Partition};

fn encode(criterion: &mut Criterion) {
    let key: Box<[u8]> = (*b"sensor-4711").into();
    let head = Head { offset: Offset(123_456_789), timestamp_ms: Some(1_709_210_096_789), key: Some(key) };
    let score = Score {
        surprisal: 12.345_678_901_234_5,
        surprisal_sd: 0.345_678_9,
        tail_probability: 0.012_345_678_9,
        step: 4_567,
        ..Score::default()
    };
    let mut out = Vec::new();
    let mut group = criterion.benchmark_group("encode a score");
    group.throughput(Throughput::Elements(1));
    for (name, format) in [("json", Format::Json), ("protobuf", Format::Protobuf)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                encode_score("fleet", "events", Partition(3), black_box(&head), black_box(&score), format, &mut out);
                black_box(out.len())
            });
        });
    }
    group.bench_function("peer: prost's own message", |bencher| {
        bencher.iter(|| {
            let (head, score) = (black_box(&head), black_box(&score));
            let message = proto::Score {
                schema_version: SCHEMA_VERSION,
                model_id: "fleet".into(),
                topic: "events".into(),
                partition: 3,
                offset: head.offset.0,
                key: head.key.as_ref().map(|key| key.to_vec()),
                timestamp_ms: head.timestamp_ms,
                surprisal: score.surprisal,
                tail_probability: score.tail_probability,
                posterior_step: score.step,
                surprisal_sd: score.surprisal_sd,
                ..proto::Score::default()
            };
            out.clear();
            message.encode(&mut out).expect("a Vec grows as needed");
            black_box(out.len())
        });
    });
    group.finish();
}

criterion_group!(benches, encode);
criterion_main!(benches);
