use statrs::function::erf::erfc_inv;

use super::super::Calibrator;
use crate::noise::Noise;

/// Events of each stream.
const EVENTS: u32 = 200_000;

/// The surprisal that is exceeded with a probability.
type Quantile = fn(f64) -> f64;

/// Surprisals with tails of all kinds, each with its quantile function of the tail probability.
const STREAMS: [(&str, Quantile); 3] = [
    ("exponential", |tail| -tail.ln()),
    ("lognormal", |tail| (0.5 * std::f64::consts::SQRT_2 * erfc_inv(2.0 * tail)).exp()),
    // Student's t of 2 degrees of freedom has a quantile function in closed form; its 4th root has tails as one of 8.
    ("student", |tail| student_quantile(tail).signum() * student_quantile(tail).abs().powf(0.25)),
];

fn student_quantile(tail: f64) -> f64 {
    (1.0 - 2.0 * tail) / (2.0 * tail * (1.0 - tail)).sqrt()
}

/// Shares of a stream's second half whose probability is at most each of `levels`, by a sketch that learns as the engine does.
fn coverage(stream: &[f64], levels: &[f64]) -> Vec<f64> {
    let mut calibrator = Calibrator::default();
    let mut counts = vec![0.0; levels.len()];
    for (index, block) in stream.chunks(128).enumerate() {
        let tail = calibrator.tail();
        if index * 128 >= stream.len() / 2 {
            for surprisal in block {
                let probability = tail.probability(*surprisal);
                counts.iter_mut().zip(levels).for_each(|(count, level)| *count += f64::from(u8::from(probability <= *level)));
            }
        }
        calibrator.learn(1.0, block);
    }
    counts.iter().map(|count| count / (stream.len() / 2) as f64).collect()
}

#[test]
fn what_is_as_rare_as_alpha_happens_as_often() {
    let levels = [1e-1, 1e-2, 1e-3, 1e-4];
    for (name, quantile) in STREAMS {
        let noise = Noise::new(3);
        let stream: Vec<f64> = (0..EVENTS).map(|at| quantile(noise.uniform(0, 0, at))).collect();
        let found = coverage(&stream, &levels);
        for ((found, level), factor) in found.iter().zip(levels).zip([1.05, 1.1, 1.35, 3.0]) {
            assert!((1.0 / factor..factor).contains(&(found / level)), "{name}: {found} at {level}");
        }
    }
}

#[test]
fn beyond_the_sample_the_law_of_the_tail_goes_on() {
    for (name, quantile) in STREAMS {
        let noise = Noise::new(5);
        let mut ratios = Vec::new();
        for stream in 0..20 {
            let mut calibrator = Calibrator::default();
            let sample: Vec<f64> = (0..5_000).map(|at| quantile(noise.uniform(0, stream, at))).collect();
            sample.chunks(128).for_each(|block| calibrator.learn(1.0, block));
            // A quarter of what the rarest of the sample is.
            ratios.push(calibrator.tail().probability(quantile(5e-5)) / 5e-5);
        }
        ratios.sort_by(f64::total_cmp);
        assert!((1.0 / 5.0..5.0).contains(&ratios[10]), "{name}: {ratios:?}");
    }
}

#[test]
fn anomalies_do_not_become_usual() {
    let noise = Noise::new(7);
    let clean: Vec<f64> = (0..EVENTS).map(|at| -noise.uniform(0, 0, at).ln()).collect();
    // From the 5,000th event on, every 50th is an anomaly of 20 to 40 nats.
    let anomaly = |at: usize| 20.0 + 20.0 * noise.uniform(0, 1, at as u32);
    let poisoned: Vec<f64> =
        clean.iter().enumerate().map(|(at, usual)| if at > 5_000 && at % 50 == 0 { anomaly(at) } else { *usual }).collect();
    let mut calibrator = Calibrator::default();
    poisoned.chunks(128).for_each(|block| calibrator.learn(1.0, block));
    let tail = calibrator.tail();
    for (exact, factor) in [(1e-1, 1.1), (1e-2, 1.2), (1e-3, 2.0), (1e-4, 3.0)] {
        let ratio = tail.probability(-f64::ln(exact)) / exact;
        assert!((1.0 / factor..factor).contains(&ratio), "{exact}: {ratio}");
    }
    assert!(tail.probability(20.0) < 1e-5, "{}", tail.probability(20.0));
}

#[test]
fn probabilities_fall_and_never_jump() {
    let noise = Noise::new(11);
    let mut calibrator = Calibrator::default();
    let sample: Vec<f64> = (0..20_000).map(|at| -noise.uniform(0, 0, at).ln()).collect();
    sample.chunks(128).for_each(|block| calibrator.learn(0.999, block));
    let tail = calibrator.tail();
    let probabilities: Vec<f64> = (0..100_000).map(|step| tail.probability(f64::from(step) * 1e-3)).collect();
    for pair in probabilities.windows(2) {
        assert!(pair[1] <= pair[0] && pair[1] > 0.9 * pair[0], "{pair:?}");
    }
    assert!(probabilities.iter().all(|probability| *probability > 0.0));
}
