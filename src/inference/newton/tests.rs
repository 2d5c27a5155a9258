//! The ways of stepping, on a network that is a line: `f = θ · (x, 1)`, whose gradients and curvature are sums.

use super::*;
use crate::dist::testing::{assert_close, normal};
use crate::inference::layers::Activation;

const DIM: usize = 3;
const EVENTS: usize = 40;
const NOISE: f64 = 0.25;

/// Inputs and a 1, and what is to be found: `y = 2 x₀ − x₁ + 0.5` and noise.
fn events(from: u64) -> Vec<([f64; DIM], f64)> {
    let event = |at: u64| {
        let [a, b, e] = std::array::from_fn(|i| normal(from + 3 * at + i as u64));
        ([a, b, 1.0], 2.0 * a - b + 0.5 + NOISE.sqrt() * e)
    };
    (0..EVENTS as u64).map(event).collect()
}

fn prior() -> Prior {
    Prior { precision: vec![0.5, 2.0, 1.0], start: vec![0.3, -0.2, 0.1] }
}

/// A learner of one partition.
struct Learner {
    rule: Newton,
    site: Site,
    seen: f64,
    memory: State<f64>,
}

impl Learner {
    fn new(stepping: Stepping) -> Self {
        let rule = Newton { stepping, ..Newton::default() };
        Self { rule, site: Site::nothing(DIM), seen: 0.0, memory: stepping.start(DIM) }
    }

    fn q(&self) -> Normal {
        self.rule.normal(&prior(), &self.site, &Site::nothing(DIM), self.seen, NOISE).unwrap()
    }

    fn learn(&mut self, block: &[([f64; DIM], f64)]) -> Step {
        self.learn_believed(block, 1.0)
    }

    /// Learns a block whose events are all believed by as much.
    fn learn_believed(&mut self, block: &[([f64; DIM], f64)], believed: f64) -> Step {
        let shape = Shape::new(vec![DIM - 1, 1], Activation::Relu);
        let (q, mut scratch) = (self.q(), Scratch::<f64>::new(&shape));
        let of = |each: &dyn Fn(&[f64; DIM], f64, usize) -> f64| {
            let mut sums = Parameters::zeros(&shape);
            sums.set(&(0..DIM).map(|i| block.iter().map(|(x, y)| believed * each(x, *y, i)).sum()).collect::<Vec<f64>>());
            sums
        };
        let predicted = |x: &[f64; DIM]| x.iter().zip(&q.mean).map(|(x, w)| x * w).sum::<f64>();
        let (gradient, curvature) = (of(&|x, y, i| x[i] * (y - predicted(x))), of(&|x, _, i| x[i] * x[i]));
        let product = |vector: &Parameters<f64>, image: &mut Parameters<f64>| {
            let v = vector.flat::<f64>();
            *image = of(&|x, _, i| x[i] * x.iter().zip(&v).map(|(x, v)| x * v).sum::<f64>());
        };
        let count = believed * block.len() as f64;
        let news = News { events: count, rows: block.len(), gradient: &gradient, curvature: &curvature };
        let place = Place { site: &self.site, events: self.seen };
        let memory = &mut self.memory;
        let (site, step) = self.rule.learn(&prior(), &q, place, Pace::BAYES, news, memory, &mut scratch, product).unwrap();
        (self.site, self.seen) = (site, self.seen + count);
        step
    }
}

fn descent(method: Method, rate: f64) -> Stepping {
    Stepping::Descent(Optimiser { method, rate, greatest_norm: f64::INFINITY })
}

/// Against finite differences of `−Σ ln N(y | f, s²) / n + ½ Σ ρ μ² / N`, which is what of the bound depends on the mean.
#[test]
fn a_descent_is_along_the_negative_bound() {
    let rate = 1e-3;
    let mut learner = Learner::new(descent(Method::Sgd { momentum: 0.0 }, rate));
    for round in 0..3 {
        let block = events(1_000 * round);
        let before = learner.q().mean;
        let all = learner.seen + block.len() as f64 + learner.rule.burn_in;
        let bound = |mean: &[f64]| {
            let square = |(x, y): &([f64; DIM], f64)| (y - x.iter().zip(mean).map(|(x, w)| x * w).sum::<f64>()).powi(2);
            let fit = block.iter().map(square).sum::<f64>() / (2.0 * NOISE * block.len() as f64);
            fit + mean.iter().zip(prior().precision).map(|(m, p)| 0.5 * p * m * m).sum::<f64>() / all
        };
        learner.learn(&block);
        let after = learner.q().mean;
        for i in 0..DIM {
            let at = |step: f64| {
                let mut moved = before.clone();
                moved[i] += step;
                bound(&moved)
            };
            // The bound is a parabola, of which a central difference is the slope.
            let slope = (at(1e-3) - at(-1e-3)) / 2e-3;
            assert_close(after[i] - before[i], -rate * slope, 1e-12);
        }
    }
    assert_eq!(learner.memory.steps, 3);
}

/// Against the algorithm as it is printed, with averages in place of sums.
#[test]
fn momentum_moves_the_mean_as_ivon_does() {
    let (decay, rate) = (0.9, 0.1);
    let mut learner = Learner::new(Stepping::Ivon { decay, rate });
    let rule = learner.rule;
    let (mut mean, mut momentum) = (prior().start, [0.0; DIM]);
    // Averages over the weight that curvature has, made-up events among it.
    let (mut weight, mut sums) = (0.0, [0.0; DIM]);
    for round in 1..=5 {
        let block = events(1_000 * round);
        let (n, seen) = (EVENTS as f64, EVENTS as f64 * (round - 1) as f64);
        let keep = rule.keep(seen, n);
        weight = keep * weight + n;
        let made_up = rule.made_up(seen + n);
        let mut next = mean.clone();
        for i in 0..DIM {
            let residual = |x: &[f64; DIM], y: f64| y - x.iter().zip(&mean).map(|(x, w)| x * w).sum::<f64>();
            let gradient = block.iter().map(|(x, y)| x[i] * residual(x, *y)).sum::<f64>() / n;
            sums[i] = keep * sums[i] + block.iter().map(|(x, _)| x[i] * x[i]).sum::<f64>();
            let curvature = (sums[i] + rule.curvature * made_up) / (weight + made_up);
            let delta = prior().precision[i] * NOISE / (seen + n + rule.burn_in);
            momentum[i] = decay * momentum[i] + (1.0 - decay) * gradient;
            let unbiased = momentum[i] / (1.0 - decay.powi(round as i32));
            next[i] += rate * (unbiased - delta * mean[i]) / (curvature + delta).max(rule.curvature);
        }
        mean = next;
        learner.learn(&block);
        learner.q().mean.iter().zip(&mean).for_each(|(found, expected)| assert_close(*found, *expected, 1e-12));
    }
}

/// Where every block is the same, all ways lead to its least squares: the prior's share of an event vanishes.
#[test]
fn every_way_of_stepping_leads_to_the_same_mean() {
    let block = events(0);
    let (mut gram, mut moments) = (nalgebra::DMatrix::zeros(DIM, DIM), nalgebra::DVector::zeros(DIM));
    for (x, y) in &block {
        let x = nalgebra::DVector::from_column_slice(x);
        (gram, moments) = (gram + &x * x.transpose(), moments + &x * *y);
    }
    let expected = gram.cholesky().unwrap().solve(&moments);
    let sgd = descent(Method::Sgd { momentum: 0.9 }, 0.01);
    for stepping in [Stepping::default(), Stepping::Ivon { decay: 0.9, rate: 0.1 }, sgd, descent(Method::ADAM, 0.01)] {
        let mut learner = Learner::new(stepping);
        (0..3_000).for_each(|_| {
            learner.learn(&block);
        });
        for (found, expected) in learner.q().mean.iter().zip(expected.iter()) {
            assert!((found - expected).abs() < 1e-3, "{stepping:?}: {found} is not {expected}");
        }
        // T N/s² times the mean square of an input, by which the rule's variances are narrower than Bayes'.
        let scale = (learner.seen + learner.rule.base) / (NOISE * learner.rule.temperature);
        let square = block.iter().map(|(x, _)| x[0] * x[0]).sum::<f64>() / EVENTS as f64;
        assert_close(learner.q().variance[0] * (prior().precision[0] + scale * square), 1.0, 1e-3);
    }
}

/// The less a block is believed, the less it moves the mean. Not by Adam, whose steps don't shrink with the gradient.
#[test]
fn what_is_hardly_believed_hardly_moves_the_mean() {
    let sgd = descent(Method::Sgd { momentum: 0.9 }, 0.01);
    for stepping in [Stepping::default(), Stepping::Ivon { decay: 0.9, rate: 0.1 }, sgd] {
        let moved = |believed: f64| {
            let mut learner = Learner::new(stepping);
            (0..20).for_each(|round| {
                learner.learn(&events(1_000 * round));
            });
            // Events that say something else.
            let block: Vec<_> = events(77).into_iter().map(|(x, y)| (x, y + 10.0)).collect();
            let before = learner.q().mean[2];
            learner.memory = stepping.start(DIM);
            learner.learn_believed(&block, believed);
            learner.q().mean[2] - before
        };
        let (whole, little) = (moved(1.0), moved(1e-3));
        assert!(whole > 0.0 && little / whole < 2e-3, "{stepping:?}: {little} of {whole}");
    }
}

/// An input that is met for the first time after a hundred thousand events is not overstepped.
#[test]
fn an_input_that_comes_late_is_met_with_care() {
    let mut learner = Learner::new(Stepping::Ivon { decay: 0.9, rate: 0.003 });
    let mut round = 0;
    while learner.seen < 1e5 {
        let block: Vec<_> = events(1_000 * round).into_iter().map(|(x, y)| ([x[0], 0.0, 1.0], y)).collect();
        learner.learn(&block);
        round += 1;
    }
    let before = learner.q().mean[1];
    let mut block: Vec<_> = events(99).into_iter().map(|(x, y)| ([x[0], 0.0, 1.0], y)).collect();
    block[0] = ([0.0, 1.0, 1.0], 0.5 + before + 5.0);
    let idle: Vec<_> = events(5).into_iter().map(|(x, y)| ([x[0], 0.0, 1.0], y)).collect();
    learner.learn(&block);
    (0..100).for_each(|_| {
        learner.learn(&idle);
    });
    let moved = learner.q().mean[1] - before;
    assert!((0.01..5.0).contains(&moved), "{moved} of 5");
}
