//! How long a standard normal takes.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use surprisal::noise::Noise;

fn bench(criterion: &mut Criterion) {
    let noise = Noise::new(7);
    let mut out = vec![0.0; 1 << 14];
    let mut group = criterion.benchmark_group("noise");
    group.throughput(Throughput::Elements(out.len() as u64));
    group.bench_function("fill_normal", |bench| bench.iter(|| noise.fill_normal(black_box(3), 0, &mut out)));
    group.throughput(Throughput::Elements(1));
    group.bench_function("normal", |bench| bench.iter(|| noise.normal(black_box(3), 0, black_box(12_345))));
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
