//! How many events a second a regression scores and learns: 32 number columns, and a naive linear regression to compare with.
#![allow(missing_docs)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nalgebra::{DMatrix, DVector};
use surprisal::features::{Column, Kind, Rows, Schema, Task};
use surprisal::inference::rule::Pace;
use surprisal::models::regression::{LinearRegression, RegressionConfig};
use surprisal::models::{Block, Evidence, Model};
use surprisal::record::{Offset, Partition};

#[path = "../tests/support/noise.rs"]
mod noise;

use noise::normal;

const DIM: usize = 32;

/// Rows `[inputs, target]`.
fn rows(count: usize) -> Rows {
    let mut cells = Vec::with_capacity(count * (DIM + 1));
    for event in 0..count {
        let at = cells.len();
        cells.extend((0..DIM).map(|d| 50.0 + d as f64 + normal((event * DIM + d) as u64)));
        let sum: f64 = cells[at..].iter().enumerate().map(|(d, x)| normal((1 << 40) + d as u64) * x).sum();
        cells.push(sum + 3.0 * normal((1 << 41) + event as u64));
    }
    Rows::from_cells(DIM + 1, cells)
}

fn schema() -> (Schema, Task) {
    let column = |d| Column { name: format!("x{d}"), path: vec![format!("x{d}")], kind: Kind::Number };
    (Schema::new((0..=DIM).map(column).collect()), Task { target: DIM, inputs: (0..DIM).collect() })
}

fn linear(criterion: &mut Criterion) {
    let (schema, task) = schema();
    let model = LinearRegression::new(&schema, &task, RegressionConfig::default()).expect("a right configuration");
    let pace = Pace { retention: 0.999_999, weight: 1.0 };
    for batch in [256, 32] {
        let rows = rows(batch);
        let block = |rows| Block { rows, partition: Partition(0), offset: Offset(1 << 20), step: 1000, pace, weights: &[] };
        let nothing = model.nothing();
        let prior = model.posterior(&nothing).expect("finite");
        let mut site = nothing.clone();
        for _ in 0..100 {
            site = model.learn(&prior, &site, block(rows.view())).expect("finite").evidence;
        }
        let posterior = model.posterior(&site).expect("finite");
        let mut group = criterion.benchmark_group("regression/linear");
        group.throughput(Throughput::Elements(batch as u64));
        let mut scores = Vec::new();
        group.bench_function(BenchmarkId::new("score", batch), |bencher| {
            bencher.iter(|| {
                scores.clear();
                model.score(&posterior, rows.view(), &mut scores);
            });
        });
        group.bench_function(BenchmarkId::new("learn", batch), |bencher| {
            bencher.iter(|| model.learn(&posterior, &site, block(rows.view())).expect("finite"));
        });
        group.bench_function(BenchmarkId::new("posterior", batch), |bencher| {
            bencher.iter(|| model.posterior(&site).expect("finite"));
        });
        // One step after another, as a stream comes: with the site, the sum of all sites, and the next posterior.
        let mut state = (posterior, site);
        group.bench_function(BenchmarkId::new("score and learn", batch), |bencher| {
            bencher.iter(|| {
                scores.clear();
                model.score(&state.0, rows.view(), &mut scores);
                let site = model.learn(&state.0, &state.1, block(rows.view())).expect("finite").evidence;
                let mut sum = nothing.clone();
                sum.add(&site);
                state = (model.posterior(&sum).expect("finite"), site);
            });
        });
        let mut peer = Naive::new(&task);
        group.bench_function(BenchmarkId::new("naive score and learn", batch), |bencher| {
            bencher.iter(|| {
                scores.clear();
                std::hint::black_box(peer.step(&rows));
            });
        });
        group.finish();
    }
}

/// The closed form as one would write it with a library of matrices: sums of products, a Cholesky factor and a solve a block.
struct Naive {
    products: DMatrix<f64>,
    shift: DVector<f64>,
    square: f64,
    count: f64,
}

impl Naive {
    fn new(task: &Task) -> Self {
        let dim = task.inputs.len() + 1;
        Self { products: DMatrix::identity(dim, dim), shift: DVector::zeros(dim), square: 0.0, count: 0.0 }
    }

    /// Scores and learns the rows.
    fn step(&mut self, rows: &Rows) -> f64 {
        let view = rows.view();
        let dim = self.shift.len();
        let x = DMatrix::from_fn(view.len(), dim, |e, d| if d + 1 == dim { 1.0 } else { view.row(e)[d] });
        let y = DVector::from_fn(view.len(), |e, _| view.row(e)[dim - 1]);
        let factor = self.products.clone().cholesky().expect("positive definite");
        let mean = factor.solve(&self.shift);
        let (shape, rate) = (1.0 + 0.5 * self.count, 1.0 + 0.5 * (self.square - self.shift.dot(&mean)).max(0.0));
        let white = factor.l().solve_lower_triangular(&x.transpose()).expect("no zero on the diagonal");
        let gaps = &y - &x * &mean;
        let surprisal: f64 = white
            .column_iter()
            .zip(gaps.iter())
            .map(|(white, gap)| {
                let spread = 2.0 * rate * (1.0 + white.norm_squared());
                0.5 * spread.ln() + (shape + 0.5) * (gap * gap / spread).ln_1p()
            })
            .sum();
        self.products = &self.products * 0.999_999 + x.transpose() * &x;
        self.shift = &self.shift * 0.999_999 + x.transpose() * &y;
        self.square = self.square * 0.999_999 + y.norm_squared();
        self.count = self.count * 0.999_999 + view.len() as f64;
        surprisal
    }
}

criterion_group!(benches, linear);
criterion_main!(benches);
