//! How many events a second the mixture scores and learns: 32 number columns, 8 components.
#![allow(missing_docs)]

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use surprisal::features::{Column, Kind, Rows, Schema};
use surprisal::models::mixture::evidence::MixtureEvidence;
use surprisal::models::mixture::{Covariance, Mixture, MixtureConfig, MixturePosterior};
use surprisal::models::{Evidence, Model};
use surprisal::record::{Offset, Partition};

#[path = "../tests/support/noise.rs"]
mod noise;

use noise::{normal, uniform};

const DIM: usize = 32;
const COMPONENTS: usize = 8;

/// Rows from eight far clusters.
fn rows(count: usize) -> Rows {
    let mut cells = Vec::with_capacity(count * DIM);
    for event in 0..count {
        let cluster = (uniform((1 << 40) + event as u64) * COMPONENTS as f64) as u64;
        cells.extend((0..DIM as u64).map(|d| 5.0 * normal((1 << 41) + cluster * 64 + d) + normal((event * DIM) as u64 + d)));
    }
    Rows::from_cells(DIM, cells)
}

/// A model that has found the clusters.
fn taught(covariance: Covariance) -> (Mixture, MixtureEvidence, MixturePosterior) {
    let column = |d| Column { name: format!("x{d}"), path: vec![format!("x{d}")], kind: Kind::Number };
    let schema = Schema::new((0..DIM).map(column).collect());
    let config = MixtureConfig { components: COMPONENTS, covariance, ..MixtureConfig::default() };
    let model = Mixture::new(&schema, config).expect("the configuration is right");
    let rows = rows(64 * 1024);
    let mut evidence = model.nothing();
    let mut posterior = model.posterior(&evidence).expect("finite");
    let mut at = 0;
    while at < rows.len() {
        let len = surprisal::engine::block_len(at as u64, 256).min(rows.len() - at);
        let news = model.news(&posterior, rows.view().slice(at..at + len), (Partition(0), Offset(at as i64))).expect("finite");
        evidence.add(&news);
        model.reorganise(&model.nothing(), &mut evidence);
        posterior = model.posterior(&evidence).expect("finite");
        at += len;
    }
    assert_eq!(evidence.components().count(), COMPONENTS, "the clusters are found");
    (model, evidence, posterior)
}

fn mixture(criterion: &mut Criterion) {
    for (name, covariance) in [("diagonal", Covariance::Diagonal), ("full", Covariance::Full)] {
        let (model, evidence, posterior) = taught(covariance);
        let nothing = model.nothing();
        for batch in [256, 32] {
            let rows = rows(batch);
            let place = (Partition(0), Offset(1 << 20));
            let mut group = criterion.benchmark_group(format!("mixture/{name}"));
            group.throughput(Throughput::Elements(batch as u64));
            let mut scores = Vec::new();
            group.bench_function(BenchmarkId::new("score", batch), |bencher| {
                bencher.iter(|| {
                    scores.clear();
                    model.score(&posterior, rows.view(), &mut scores);
                });
            });
            // A block as the engine learns it: statistics, the site's new evidence, structure, and the next posterior.
            let learn = |mut site: MixtureEvidence| {
                let news = model.news(&posterior, rows.view(), place).expect("finite");
                site.add(&news);
                model.reorganise(&nothing, &mut site);
                (model.posterior(&site).expect("finite"), site)
            };
            group.bench_function(BenchmarkId::new("learn", batch), |bencher| {
                bencher.iter_batched(|| evidence.clone(), learn, BatchSize::SmallInput);
            });
            // One step after another, as a stream comes.
            let mut state = (posterior.clone(), evidence.clone());
            group.bench_function(BenchmarkId::new("score and learn", batch), |bencher| {
                bencher.iter(|| {
                    scores.clear();
                    model.score(&state.0, rows.view(), &mut scores);
                    let news = model.news(&state.0, rows.view(), place).expect("finite");
                    let mut site = state.1.clone();
                    site.scale(0.999_999);
                    site.add(&news);
                    model.reorganise(&nothing, &mut site);
                    state = (model.posterior(&site).expect("finite"), site);
                });
            });
            group.finish();
        }
    }
}

criterion_group!(benches, mixture);
criterion_main!(benches);
