//! How long Gaussians take: with full covariance, of a regression's weights, and diagonal, of a network's.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use nalgebra::{DMatrix, DVector};
use surprisal::dist::diagonal::Diagonal;
use surprisal::dist::family::ExponentialFamily;
use surprisal::dist::gaussian::Gaussian;
use surprisal::noise::Noise;

/// A belief that has seen twice as many events as it has dimensions.
fn information(dim: usize) -> (DVector<f64>, DMatrix<f64>) {
    let noise = Noise::new(3);
    let features = DMatrix::from_fn(dim, 2 * dim, |i, j| noise.normal(j as u64, 0, i as u32));
    (features.column_sum(), &features * features.transpose() + DMatrix::identity(dim, dim))
}

fn full(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gaussian");
    for dim in [30, 100, 300] {
        let (shift, precision) = information(dim);
        let member = Gaussian::from_information(shift.clone(), precision.clone()).expect("a precision");
        let other = Gaussian::from_information(shift.clone(), &precision * 1.5).expect("a precision");
        let features = shift.as_slice().to_vec();
        let build = |(shift, precision)| Gaussian::from_information(shift, precision);
        group.bench_function(BenchmarkId::new("build", dim), |bench| {
            bench.iter_batched(|| (shift.clone(), precision.clone()), build, BatchSize::LargeInput);
        });
        group.bench_function(BenchmarkId::new("linear", dim), |bench| bench.iter(|| member.linear(black_box(&features))));
        group.bench_function(BenchmarkId::new("covariance", dim), |bench| bench.iter(|| member.covariance()));
        group.bench_function(BenchmarkId::new("kl", dim), |bench| bench.iter(|| member.kl(black_box(&other))));
        let mut out = vec![0.0; dim];
        group.bench_function(BenchmarkId::new("sample", dim), |bench| {
            bench.iter(|| member.sample(black_box(&features), &mut out));
        });
    }
}

fn diagonal(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("diagonal");
    let (dim, noise) = (30_000, Noise::new(4));
    let precision = (0..dim).map(|i| noise.normal(1, 0, i).exp()).collect();
    let member = Diagonal { mean: (0..dim).map(|i| noise.normal(0, 0, i)).collect(), precision };
    let other = Diagonal { mean: vec![0.0; dim as usize], precision: vec![1.0; dim as usize] };
    let (mut normals, mut out) = (vec![0.0; dim as usize], vec![0.0; dim as usize]);
    noise.fill_normal(2, 0, &mut normals);
    group.bench_function("sample", |bench| bench.iter(|| member.sample(black_box(&normals), &mut out)));
    group.bench_function("kl", |bench| bench.iter(|| member.kl(black_box(&other))));
}

criterion_group!(benches, full, diagonal);
criterion_main!(benches);
