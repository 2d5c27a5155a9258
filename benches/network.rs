//! How many events a second a network scores and learns: 32 number columns, hidden layers of 64 and 64, one number to predict, 16
//! samples a score. The peer computes the same scores, and the gradient without the curvature and the conjugate gradients, by candle's
//! operations and its automatic differentiation; `RAYON_NUM_THREADS=1` keeps it to one core, as the network is.
#![allow(missing_docs)]

use candle_core::{D, Device, Tensor, Var};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use surprisal::engine::block_len;
use surprisal::features::{Column, Kind, Rows, Schema, Task};
use surprisal::inference::rule::Pace;
use surprisal::models::neural_network::{Network, NetworkConfig, NetworkEvidence};
use surprisal::models::{Block, Model};
use surprisal::record::{Offset, Partition};

#[path = "../tests/support/noise.rs"]
mod noise;

use noise::normal;

const DIM: usize = 32;
const SAMPLES: usize = 16;

/// Rows whose last number is a smooth function of the others, and noise.
fn rows(count: usize) -> Rows {
    let mut cells = Vec::with_capacity(count * (DIM + 1));
    for event in 0..count as u64 {
        let x: Vec<f64> = (0..DIM as u64).map(|d| normal(event * 64 + d)).collect();
        let y = (x[0] + x[1] * x[2]).sin() + 0.5 * x[3] + 0.1 * normal((1 << 40) + event);
        cells.extend(x);
        cells.push(y);
    }
    Rows::from_cells(DIM + 1, cells)
}

fn block(rows: &Rows, from: usize, len: usize, step: u64) -> Block<'_> {
    let rows = rows.view().slice(from..from + len);
    Block { rows, partition: Partition(0), offset: Offset(from as i64), step, pace: Pace::BAYES, weights: &[] }
}

/// A network that has seen 32 768 events.
fn taught() -> (Network, NetworkEvidence) {
    let column = |d| Column { name: format!("x{d}"), path: vec![format!("x{d}")], kind: Kind::Number };
    let schema = Schema::new((0..=DIM).map(column).collect());
    let task = Task { target: DIM, inputs: (0..DIM).collect() };
    let config = NetworkConfig { hidden: vec![64, 64], samples: SAMPLES, ..NetworkConfig::default() };
    let model = Network::new(&schema, &task, config).expect("the configuration is right");
    let rows = rows(32 * 1024);
    let (mut evidence, mut at, mut step) = (model.nothing(), 0, 0);
    while at < rows.len() {
        let len = block_len(at as u64, 256).min(rows.len() - at);
        let posterior = model.posterior(&evidence).expect("finite");
        evidence = model.learn(&posterior, &evidence, block(&rows, at, len, step)).expect("finite").evidence;
        (at, step) = (at + len, step + 1);
    }
    (model, evidence)
}

fn network(criterion: &mut Criterion) {
    let (model, evidence) = taught();
    let others = model.nothing();
    for batch in [256, 32] {
        let rows = rows(batch);
        let mut group = criterion.benchmark_group("network/32-64-64-1");
        group.throughput(Throughput::Elements(batch as u64));
        let posterior = model.belief(&evidence, &others).expect("finite");
        let mut scores = Vec::new();
        group.bench_function(BenchmarkId::new("score", batch), |bencher| {
            bencher.iter(|| {
                scores.clear();
                model.score(&posterior, rows.view(), &mut scores);
            });
        });
        // A block as the engine learns it: the site's new evidence and the next posterior, of one site after another.
        let mut state = (evidence.clone(), posterior);
        let mut step = 0;
        group.bench_function(BenchmarkId::new("score and learn", batch), |bencher| {
            bencher.iter(|| {
                scores.clear();
                model.score(&state.1, rows.view(), &mut scores);
                let learnt = model.learn(&state.1, &state.0, block(&rows, 0, batch, step)).expect("finite");
                let posterior = model.belief(&learnt.evidence, &others).expect("finite");
                state = (learnt.evidence, posterior);
                step += 1;
            });
        });
        let peer = Peer::new(batch).expect("candle has what it needs");
        group.bench_function(BenchmarkId::new("candle: score and gradient", batch), |bencher| {
            bencher.iter(|| peer.step().expect("candle does it"));
        });
        group.finish();
    }
}

/// The same arithmetic by candle's operations.
struct Peer {
    inputs: Tensor,
    targets: Tensor,
    means: Vec<Var>,
    deviations: Vec<Tensor>,
    /// ε of the samples `[samples, inputs + 1, outputs]`.
    draws: Vec<Tensor>,
    ones: Tensor,
}

impl Peer {
    fn new(batch: usize) -> candle_core::Result<Self> {
        let device = Device::Cpu;
        let widths = [DIM, 64, 64, 1];
        let layers = || widths.windows(2).map(|pair| (pair[0] + 1, pair[1]));
        let normal = |scale: f64, shape: &[usize]| Tensor::randn(0f32, scale as f32, shape, &device);
        let mean = |(rows, columns)| Var::from_tensor(&normal(0.2, &[rows, columns])?);
        Ok(Self {
            inputs: normal(1.0, &[batch, DIM])?,
            targets: normal(1.0, &[batch, 1])?,
            means: layers().map(mean).collect::<candle_core::Result<_>>()?,
            deviations: layers().map(|(rows, columns)| normal(0.05, &[rows, columns])).collect::<candle_core::Result<_>>()?,
            draws: layers().map(|(rows, columns)| normal(1.0, &[SAMPLES, rows, columns])).collect::<candle_core::Result<_>>()?,
            ones: Tensor::ones((batch, 1), candle_core::DType::F32, &device)?,
        })
    }

    /// Scores the block by sampled networks, and takes the gradient of one noisy pass.
    fn step(&self) -> candle_core::Result<(Vec<f32>, candle_core::backprop::GradStore)> {
        let ones = self.ones.unsqueeze(0)?.repeat((SAMPLES, 1, 1))?;
        let mut a = self.inputs.unsqueeze(0)?.repeat((SAMPLES, 1, 1))?;
        let last = self.means.len() - 1;
        for (index, ((mean, deviation), draws)) in self.means.iter().zip(&self.deviations).zip(&self.draws).enumerate() {
            let weights = draws.broadcast_mul(deviation)?.broadcast_add(mean)?;
            a = Tensor::cat(&[&a, &ones], 2)?.matmul(&weights)?;
            a = if index < last { a.relu()? } else { a };
        }
        let logs = (a.broadcast_sub(&self.targets)?.sqr()? * -0.5)?.squeeze(2)?;
        let scores = logs.log_sum_exp(0)?.to_vec1::<f32>()?;
        let mut a = self.inputs.clone();
        for (index, (mean, deviation)) in self.means.iter().zip(&self.deviations).enumerate() {
            let inputs = Tensor::cat(&[&a, &self.ones], 1)?;
            let z = inputs.matmul(mean)?;
            let spread = inputs.sqr()?.matmul(&deviation.sqr()?)?.sqrt()?;
            a = (&z + (spread * z.randn_like(0.0, 1.0)?)?)?;
            a = if index < last { a.relu()? } else { a };
        }
        let loss = ((a - &self.targets)?.sqr()?.sum(D::Minus2)? * 0.5)?.sum_all()?;
        Ok((scores, loss.backward()?))
    }
}

criterion_group!(benches, network);
criterion_main!(benches);
