//! The Bayesian network against what it should find, through the engine's own blocks.

use candle_core::Device;
use surprisal::checkpoint::Data;
use surprisal::engine::{Engine, Learning, block_len};
use surprisal::features::{Column, Kind, Rows, Schema, Task};
use surprisal::inference::newton::{Newton, Stepping};
use surprisal::inference::optimiser::{Method, Optimiser};
use surprisal::inference::rule::Pace;
use surprisal::models::neural_network::{Network, NetworkConfig, NoiseKind};
use surprisal::models::regression::{LinearRegression, RegressionConfig};
use surprisal::models::{Block, Evidence, Model};
use surprisal::noise::Noise;
use surprisal::record::{Head, Offset, Partition, Run};

const WIDTH: usize = 4;

fn schema(target: Kind) -> Schema {
    let column = |index: usize| {
        let kind = if index + 1 == WIDTH { target } else { Kind::Number };
        Column { name: format!("x{index}"), path: vec![format!("x{index}")], kind }
    };
    Schema::new((0..WIDTH).map(column).collect())
}

fn task() -> Task {
    Task { target: WIDTH - 1, inputs: (0..WIDTH - 1).collect() }
}

/// `y = 3 sin 2a + b² + 0.3 noise`, in units of their own; as a boolean, whether it is above 1.
fn rows(target: Kind, range: std::ops::Range<u64>) -> Rows {
    let noise = Noise::new(11);
    let mut rows = Rows::new(WIDTH);
    for event in range {
        let (cells, _) = rows.push_missing();
        let [a, b, c, e] = std::array::from_fn(|at| noise.normal(event, 0, at as u32));
        let y = 3.0 * (2.0 * a).sin() + b * b + 0.3 * e;
        let y = if target == Kind::Boolean { f64::from(u8::from(y > 1.0)) } else { 1e3 + 50.0 * y };
        cells.copy_from_slice(&[10.0 + a, 0.01 * b, c, y]);
    }
    rows
}

fn run(partition: i32, from: u64, rows: Rows) -> Run {
    let mut run = Run::new(Partition(partition), Offset(from as i64), WIDTH);
    let head = |event: u64| Head { offset: Offset(event as i64), timestamp_ms: None, key: None };
    run.heads = (from..from + rows.len() as u64).map(head).collect();
    run.next = Offset((from + rows.len() as u64) as i64);
    run.rows = rows;
    run
}

/// Learns events `0..count` in runs of `step` and returns the engine with the mean surprisal of those from `from` on.
fn learnt<M: Model>(model: M, target: Kind, count: u64, step: u64, from: u64) -> (Engine<M>, f64) {
    let mut engine = Engine::new(model, &schema(target), Learning::default()).unwrap();
    engine.assign(Partition(0), None, None, Offset(0)).unwrap();
    let mut sum = 0.0;
    for at in (0..count).step_by(step as usize) {
        let ready = engine.step(vec![run(0, at, rows(target, at..(at + step).min(count)))]).unwrap();
        sum +=
            ready.scores().filter(|(_, head, _)| head.offset.0 as u64 >= from).map(|(_, _, score)| score.surprisal).sum::<f64>();
        ready.advance(false);
    }
    (engine, sum / (count - from) as f64)
}

fn network(target: Kind) -> Network {
    Network::new(&schema(target), &task(), NetworkConfig::default()).unwrap()
}

const NOISES: [NoiseKind; 2] = [NoiseKind::Constant, NoiseKind::Varying];

/// A network that predicts a number.
fn of_noise(noise: NoiseKind) -> Network {
    Network::new(&schema(Kind::Number), &task(), NetworkConfig { noise, ..NetworkConfig::default() }).unwrap()
}

fn of_stepping(stepping: Stepping) -> Network {
    let rule = Newton { stepping, ..Newton::default() };
    Network::new(&schema(Kind::Number), &task(), NetworkConfig { rule, ..NetworkConfig::default() }).unwrap()
}

/// With rates for a few dozen steps.
fn steppings() -> [Stepping; 3] {
    let descent = |method, rate| Stepping::Descent(Optimiser { method, rate, greatest_norm: 100.0 });
    [Stepping::Ivon { decay: 0.9, rate: 0.1 }, descent(Method::ADAM, 0.01), descent(Method::Sgd { momentum: 0.9 }, 0.01)]
}

/// And what each way remembers comes back from a snapshot.
#[test]
fn other_ways_of_stepping_learn_too() {
    let linear = LinearRegression::new(&schema(Kind::Number), &task(), RegressionConfig::default()).unwrap();
    let (_, line) = learnt(linear, Kind::Number, 12_000, 1_000, 8_000);
    for stepping in steppings() {
        let (_, curve) = learnt(of_stepping(stepping), Kind::Number, 12_000, 1_000, 8_000);
        println!("{stepping:?}: {curve}, a line {line}");
        assert!(curve < line - 0.3, "{stepping:?} {curve}, line {line}");
        let (half, _) = learnt(of_stepping(stepping), Kind::Number, 6_000, 1_000, 0);
        check_restored(&of_stepping(stepping), &half);
    }
}

/// The site, whose evidence alone has what the steps remember, comes back from its tensors.
fn check_restored(network: &Network, engine: &Engine<Network>) {
    let evidence = &engine.sites().next().expect("a site").1.evidence;
    let tensors = evidence.tensors();
    let steps = tensors.iter().find(|tensor| tensor.name == "weights.steps").expect("steps are counted");
    assert!(matches!(&steps.data, Data::I64(counts) if counts[0] > 10), "{steps:?}");
    assert_eq!(&network.restore(&tensors).unwrap(), evidence);
}

/// Outputs are added for classes that come late, and what the steps remember finds its place.
#[test]
fn other_ways_of_stepping_learn_classes_that_come_late() {
    let schema = schema(Kind::Category { capacity: 8 });
    let noise = Noise::new(5);
    for stepping in steppings() {
        let config = NetworkConfig { rule: Newton { stepping, ..Newton::default() }, ..NetworkConfig::default() };
        let network = Network::new(&schema, &task(), config).unwrap();
        let mut engine = Engine::new(network.clone(), &schema, Learning::default()).unwrap();
        engine.assign(Partition(0), None, None, Offset(0)).unwrap();
        let (mut late, mut counted) = (0.0, 0);
        for at in (0..6_000).step_by(100) {
            let mut rows = Rows::new(WIDTH);
            for event in at..at + 100 {
                let (cells, texts) = rows.push_missing();
                let [a, b, c] = std::array::from_fn(|i| noise.normal(event, 0, i as u32));
                let class = match a {
                    a if a > 0.5 && event > 2_000 => "late",
                    a if a > -0.5 => "middle",
                    _ => "low",
                };
                cells.copy_from_slice(&[a, b, c, texts.push(class) as f64]);
            }
            let ready = engine.step(vec![run(0, at, rows)]).unwrap();
            if at >= 5_000 {
                late += ready.scores().map(|(_, _, score)| score.surprisal).sum::<f64>();
                counted += 100;
            }
            ready.advance(false);
        }
        // Three classes by chance cost 1.09 nats.
        println!("{stepping:?}: {}", late / f64::from(counted));
        assert!(late / f64::from(counted) < 0.5, "{stepping:?}: {}", late / f64::from(counted));
        check_restored(&network, &engine);
    }
}

#[test]
fn what_no_line_can_say_is_learnt() {
    let linear = LinearRegression::new(&schema(Kind::Number), &task(), RegressionConfig::default()).unwrap();
    let (_, line) = learnt(linear, Kind::Number, 12_000, 1_000, 8_000);
    let (_, curve) = learnt(network(Kind::Number), Kind::Number, 12_000, 1_000, 8_000);
    // The noise has a standard deviation of 0.3, all together one of about 2.6: ln(2.6 / 0.3) nats are there to be won.
    assert!(curve < line - 1.2, "network {curve}, line {line}");
    let (_, chance) = learnt(network(Kind::Boolean), Kind::Boolean, 12_000, 1_000, 8_000);
    assert!(chance < 0.35, "{chance} nats a boolean; 0.69 is a coin's");
}

/// `y = 2a + 0.2 e^(0.8 b) noise`: the width of the noise is said by a column.
#[test]
fn noise_that_varies_is_learnt() {
    let noise = Noise::new(23);
    let event = |event: u64| -> [f64; 5] {
        let [a, b, c, e] = std::array::from_fn(|at| noise.normal(event, 0, at as u32));
        let sd = 0.2 * (0.8 * b).exp();
        [a, b, c, 2.0 * a + sd * e, sd]
    };
    let (count, from) = (20_000, 16_000);
    let rows = Rows::from_cells(WIDTH, (0..count).flat_map(|at| event(at)[..WIDTH].to_vec()).collect());
    let score = |noise: NoiseKind| {
        let mut engine = Engine::new(of_noise(noise), &schema(Kind::Number), Learning::default()).unwrap();
        engine.assign(Partition(0), None, None, Offset(0)).unwrap();
        let ready = engine.step(vec![run(0, 0, rows.clone())]).unwrap();
        let late = ready.scores().skip(from as usize).map(|(_, _, score)| score.surprisal).sum::<f64>() / (count - from) as f64;
        ready.advance(false);
        let columns = engine.model().columns(&engine.evidence());
        late + columns.iter().find(|column| column.name == "x3").unwrap().standard_deviation.unwrap().ln()
    };
    // That of the density that the events were drawn from.
    let truth = |at: u64| {
        let [a, _, _, y, sd] = event(at);
        0.5 * ((y - 2.0 * a) / sd).powi(2) + sd.ln() + 0.5 * std::f64::consts::TAU.ln()
    };
    let truth = (from..count).map(truth).sum::<f64>() / (count - from) as f64;
    let [varying, constant] = [NoiseKind::Varying, NoiseKind::Constant].map(score);
    println!("nats above the truth: {} varying, {} constant", varying - truth, constant - truth);
    assert!(varying < truth + 0.1 && constant > truth + 0.4, "{varying} {constant} {truth}");
}

#[test]
fn the_same_log_gives_the_same_bits_however_it_arrives() {
    for noise in NOISES {
        let (first, _) = learnt(of_noise(noise), Kind::Number, 700, 700, 0);
        let (second, _) = learnt(of_noise(noise), Kind::Number, 700, 13, 0);
        assert_eq!(first.evidence(), second.evidence());
        let restored = of_noise(noise).restore(&first.evidence().tensors()).unwrap();
        assert_eq!(restored, first.evidence());
    }
}

#[test]
fn the_predictive_is_a_density() {
    NOISES.into_iter().for_each(check_mass);
}

fn check_mass(noise: NoiseKind) {
    let (engine, _) = learnt(of_noise(noise), Kind::Number, 500, 500, 0);
    let mut grid = Rows::new(WIDTH);
    let (low, step, points) = (-2_000.0, 1.0, 6_000);
    for point in 0..points {
        let (cells, _) = grid.push_missing();
        cells.copy_from_slice(&[10.2, 0.003, -0.4, low + step * f64::from(point)]);
    }
    let mut surprisals = Vec::new();
    engine.model().score(engine.posterior(), grid.view(), &mut surprisals);
    // Densities are in units of the target's spread.
    let columns = engine.model().columns(&engine.evidence());
    let spread = columns.iter().find(|column| column.name == "x3").and_then(|column| column.standard_deviation).unwrap();
    let mass: f64 = surprisals.iter().map(|surprisal| (-surprisal.nats).exp() * step / spread).sum();
    assert!((mass - 1.0).abs() < 1e-3, "{mass}");
}

#[test]
fn wild_values_and_gaps_leave_no_number_that_is_not_finite() {
    NOISES.into_iter().for_each(check_finite);
}

fn check_finite(noise: NoiseKind) {
    let (mut engine, _) = learnt(of_noise(noise), Kind::Number, 300, 300, 0);
    let nan = f64::NAN;
    let wild =
        [[1e30, 0.0, nan, 5.0], [5e-324, 0.0, nan, -1e30], [nan, nan, nan, 3.0], [0.0, 0.0, nan, nan], [1.0, -1e30, nan, 1e-310]];
    for at in (300..600).step_by(5) {
        let cells = wild.iter().flatten().copied().collect();
        let ready = engine.step(vec![run(0, at, Rows::from_cells(WIDTH, cells))]).unwrap();
        assert!(ready.scores().all(|(_, _, score)| score.surprisal.is_finite() && score.surprisal_sd.is_finite()));
        ready.advance(false);
    }
    assert!(engine.evidence().tensors().iter().all(|tensor| match &tensor.data {
        Data::F64(data) => data.iter().all(|number| number.is_finite()),
        _ => true,
    }));
}

/// The share of what one learner gains over the prior that the worst of four loses, each with a partition of a quarter of the events,
/// which exchange their sites every 500 events.
fn lost_apart(seed: u64) -> f64 {
    let network = || Network::new(&schema(Kind::Number), &task(), NetworkConfig { seed, ..NetworkConfig::default() }).unwrap();
    let (count, held_out) = (16_000, rows(Kind::Number, 100_000..102_000));
    let mean = |engine: &Engine<Network>| {
        let mut surprisals = Vec::new();
        engine.model().score(engine.posterior(), held_out.view(), &mut surprisals);
        surprisals.iter().map(|surprisal| surprisal.nats).sum::<f64>() / surprisals.len() as f64
    };
    let (one, _) = learnt(network(), Kind::Number, count, 1_000, 0);
    // Before any event the target is standard normal noise in units of its own.
    let prior = 0.5 * (1.0 + std::f64::consts::TAU.ln());
    let mut engines: Vec<Engine<Network>> = (0..4)
        .map(|partition| {
            let mut engine = Engine::new(network(), &schema(Kind::Number), Learning::default()).unwrap();
            engine.assign(Partition(partition), None, None, Offset(0)).unwrap();
            engine
        })
        .collect();
    const PORTION: u64 = 125;
    for at in (0..count / 4).step_by(PORTION as usize) {
        for (partition, engine) in engines.iter_mut().enumerate() {
            let from = partition as u64 * count / 4 + at;
            let rows = rows(Kind::Number, from..from + PORTION);
            engine.step(vec![run(partition as i32, at, rows)]).unwrap().advance(false);
        }
        let sites: Vec<_> =
            (0..4).map(|of| engines[of].sites().find(|site| site.0 == Partition(of as i32)).unwrap().1.clone()).collect();
        for (reader, engine) in engines.iter_mut().enumerate() {
            for (writer, site) in sites.iter().enumerate().filter(|(writer, _)| *writer != reader) {
                engine.absorb(Partition(writer as i32), site.clone()).unwrap();
            }
        }
    }
    let (single, worst) = (mean(&one), engines.iter().map(mean).fold(f64::NEG_INFINITY, f64::max));
    1.0 - (prior - worst) / (prior - single)
}

#[test]
fn partitions_learnt_apart_lose_little_against_one_learner() {
    let lost: Vec<f64> = (0..8).map(lost_apart).collect();
    println!("lost by each seed: {lost:.3?}");
    assert!(lost.iter().sum::<f64>() / 8.0 < 0.05 && lost.iter().all(|lost| *lost < 0.1), "{lost:?}");
}

/// With its layers' arithmetic done on a device, each that there is, the network says the same, and one too deep for a device is
/// the processor's. Each block is learnt from what the processor has: from block to block, rounding would grow to more than that.
#[test]
fn devices_tell_the_same_story() {
    const COUNT: usize = 700;
    for (target, noise, hidden, tolerance) in [
        (Kind::Number, NoiseKind::Constant, vec![64, 64], 1e-4),
        (Kind::Number, NoiseKind::Varying, vec![33], 1e-4),
        (Kind::Boolean, NoiseKind::Constant, vec![16, 8, 4], 1e-4),
        (Kind::Number, NoiseKind::Constant, vec![4; 10], 0.0),
    ] {
        let config = NetworkConfig { hidden, noise, ..NetworkConfig::default() };
        let network = Network::new(&schema(target), &task(), config).unwrap();
        let rows = rows(target, 0..COUNT as u64 + 100);
        for device in [Device::Cpu].into_iter().chain(Device::new_cuda(0).ok()) {
            let device = network.clone().on(device);
            let (mut evidence, mut at, mut rounded) = (network.nothing(), 0, false);
            while at < COUNT {
                let len = block_len(at as u64, 100).min(COUNT - at);
                let posterior = network.posterior(&evidence).unwrap();
                let [own, there] = [&network, &device].map(|network| {
                    let (partition, offset, rows) = (Partition(0), Offset(at as i64), rows.view().slice(at..at + len));
                    let block = Block { rows, partition, offset, step: at as u64, pace: Pace::BAYES, weights: &[] };
                    network.learn(&posterior, &evidence, block).unwrap().evidence
                });
                let [expected, found] = [(&network, &own), (&device, &there)].map(|(network, evidence)| {
                    let (mut scores, next) = (Vec::new(), rows.view().slice(at + len..at + len + 100));
                    network.score(&network.posterior(evidence).unwrap(), next, &mut scores);
                    scores
                });
                for (found, expected) in found.iter().zip(&expected) {
                    let gap = (found.nats - expected.nats).abs() / expected.nats.abs().max(1.0);
                    assert!(gap <= tolerance, "{target:?} {noise:?} from {at}: {found:?}, expected {expected:?}");
                    rounded |= found != expected;
                }
                (evidence, at) = (own, at + len);
            }
            assert_eq!(rounded, tolerance > 0.0, "whether the device has done it shows in the last digits");
        }
    }
}
