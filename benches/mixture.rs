//! How many events a second the mixture scores and learns: 32 number columns, 8 components; the same with columns of every kind; and a
//! stream's first rows, of which blocks are small and structure is searched for often.
#![allow(missing_docs)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use surprisal::features::{Column, Kind, Rows, RowsView, Schema};
use surprisal::inference::rule::Pace;
use surprisal::models::mixture::evidence::MixtureEvidence;
use surprisal::models::mixture::{Covariance, Mixture, MixtureConfig, MixturePosterior};
use surprisal::models::{Block, Evidence, Model};
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

/// Rows of eight numbers, eight counts, eight booleans and eight categories of a thousand values, from eight kinds of events.
fn mixed_rows(count: usize) -> Rows {
    let mut rows = Rows::new(DIM);
    for event in 0..count as u64 {
        let cluster = (uniform((1 << 40) + event) * COMPONENTS as f64) as u64;
        let (cells, texts) = rows.push_missing();
        for d in 0..DIM as u64 {
            let (noise, place) = (uniform((1 << 42) + event * DIM as u64 + d), uniform((1 << 41) + cluster * 64 + d));
            cells[d as usize] = match d / 8 {
                0 => 10.0 * place + normal(event * DIM as u64 + d),
                1 => (20.0 * place + 5.0 * noise).floor(),
                2 => f64::from(u8::from(noise < place)),
                _ => texts.push(&format!("value {}", (1000.0 * noise.powf(1.0 + 3.0 * place)) as u64)) as f64,
            };
        }
    }
    rows
}

/// Columns of one kind, or of every kind.
fn schema(mixed: bool) -> Schema {
    let kinds = [Kind::Number, Kind::Count, Kind::Boolean, Kind::Category { capacity: 1024 }];
    let column = |d: usize| {
        let kind = if mixed { kinds[d / 8] } else { Kind::Number };
        Column { name: format!("x{d}"), path: vec![format!("x{d}")], kind }
    };
    Schema::new((0..DIM).map(column).collect())
}

/// The state after one block more, as the engine learns it: statistics, the site's new evidence, structure, and the next posterior.
fn learn(
    model: &Mixture,
    nothing: &MixtureEvidence,
    (posterior, site): &(MixturePosterior, MixtureEvidence),
    block: RowsView<'_>,
    offset: usize,
    pace: Pace,
) -> (MixturePosterior, MixtureEvidence) {
    let block = Block { rows: block, partition: Partition(0), offset: Offset(offset as i64), step: 0, pace, weights: &[] };
    let mut site = model.learn(posterior, site, block).expect("finite").evidence;
    model.reorganise(nothing, &mut site);
    let mut sum = nothing.clone();
    sum.add(&site);
    (model.posterior(&sum).expect("finite"), site)
}

/// The state after `rows`, scored and learnt from the first.
fn stream(model: &Mixture, rows: RowsView<'_>) -> (MixturePosterior, MixtureEvidence) {
    let nothing = model.nothing();
    let mut state = (model.posterior(&nothing).expect("finite"), nothing.clone());
    let (mut at, mut scores) = (0, Vec::new());
    while at < rows.len() {
        let len = surprisal::engine::block_len(at as u64, 256).min(rows.len() - at);
        let block = rows.slice(at..at + len);
        scores.clear();
        model.score(&state.0, block, &mut scores);
        state = learn(model, &nothing, &state, block, at, Pace::BAYES);
        at += len;
    }
    state
}

fn mixture(criterion: &mut Criterion) {
    for (name, covariance, mixed) in
        [("diagonal", Covariance::Diagonal, false), ("full", Covariance::Full, false), ("mixed", Covariance::Diagonal, true)]
    {
        let rows = if mixed { mixed_rows } else { rows };
        let config = MixtureConfig { components: COMPONENTS, covariance, ..MixtureConfig::default() };
        let model = Mixture::new(&schema(mixed), config).expect("the configuration is right");
        let first = rows(8 * 1024);
        let mut group = criterion.benchmark_group(format!("mixture/{name}"));
        group.throughput(Throughput::Elements(first.len() as u64));
        group.sample_size(10);
        group
            .bench_function(BenchmarkId::new("first rows", first.len()), |bencher| bencher.iter(|| stream(&model, first.view())));
        group.finish();

        let (posterior, evidence) = stream(&model, rows(64 * 1024).view());
        assert_eq!(evidence.components().count(), COMPONENTS, "the clusters are found");
        let nothing = model.nothing();
        let mut group = criterion.benchmark_group(format!("mixture/{name}"));
        group.bench_function(BenchmarkId::new("divergence", 1), |bencher| bencher.iter(|| model.divergence(&posterior)));
        group.finish();
        for batch in [256, 32] {
            let rows = rows(batch);
            let mut group = criterion.benchmark_group(format!("mixture/{name}"));
            group.throughput(Throughput::Elements(batch as u64));
            let mut scores = Vec::new();
            group.bench_function(BenchmarkId::new("score", batch), |bencher| {
                bencher.iter(|| {
                    scores.clear();
                    model.score(&posterior, rows.view(), &mut scores);
                });
            });
            // One step after another, as a stream comes.
            let pace = Pace { retention: 0.999_999, weight: 1.0 };
            let mut state = (posterior.clone(), evidence.clone());
            group.bench_function(BenchmarkId::new("score and learn", batch), |bencher| {
                bencher.iter(|| {
                    scores.clear();
                    model.score(&state.0, rows.view(), &mut scores);
                    state = learn(&model, &nothing, &state, rows.view(), 1 << 20, pace);
                });
            });
            group.finish();
        }
    }
}

criterion_group!(benches, mixture);
criterion_main!(benches);
