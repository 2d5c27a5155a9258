//! What can be said exactly: gradients are those of finite differences, and where the likelihood is normal and the design orthogonal, the
//! mean field is the conjugate posterior, with forgetting and in a population, and its predictive the closed form.

use candle_core::{Result, Tensor};
use nalgebra::{Matrix3, Vector3};
use surprisal::engine::{Engine, Learning};
use surprisal::features::{Column, Kind, Rows, RowsView, Schema};
use surprisal::inference::rule::{Pace, Population, Rule};
use surprisal::models::mean_field::{Draws, Events, LogJoint, MeanField, MeanFieldConfig, Parameter};
use surprisal::models::{Block, Evidence, Model, Surprisal};
use surprisal::record::Offset;

use crate::data::{P0, assert_close, engine, latencies, model, run, schema, take};
use crate::example::RobustRegression;
use crate::noise::normal;

/// `y = slopes · (1, a, b) + N(0, NOISE²)`, with the prior's standard deviation.
#[derive(Debug)]
pub struct Linear(pub f64);

pub const NAMES: [&str; 3] = ["a", "b", "y"];
const NOISE: f64 = 0.7;
/// A prior that says something, and one that says nothing.
const PRIOR_SDS: [f64; 2] = [2.0, 1e7];

impl LogJoint for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn columns(&self) -> Vec<&str> {
        NAMES.to_vec()
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![Parameter::real("slopes", 3, 0.5, self.0)]
    }

    fn log_likelihood(&self, theta: &Draws, events: &Events) -> Result<Tensor> {
        let inputs = Tensor::cat(&[&events["a"].ones_like()?, &events["a"], &events["b"]], 0)?;
        let gap = events["y"].broadcast_sub(&theta["slopes"].matmul(&inputs)?)?;
        (gap.sqr()? * (-0.5 / NOISE.powi(2)))? - (NOISE.ln() + 0.5 * std::f64::consts::TAU.ln())
    }
}

/// Events whose inputs are ±1, orthogonal within each four.
pub fn orthogonal(count: usize) -> Rows {
    let mut cells = Vec::with_capacity(3 * count);
    for event in 0..count {
        let (a, b) = (if event % 2 == 0 { 1.0 } else { -1.0 }, if event % 4 < 2 { 1.0 } else { -1.0 });
        cells.extend([a, b, 4.0 - 2.0 * a + 0.3 * b + NOISE * normal(event as u64)]);
    }
    Rows::from_cells(3, cells)
}

/// Mean and precision of the conjugate posterior when event i counts `weight(i)` times.
fn conjugate(rows: RowsView<'_>, prior_sd: f64, weight: impl Fn(usize) -> f64) -> (Vector3<f64>, Matrix3<f64>) {
    let mut precision = Matrix3::identity() / prior_sd.powi(2);
    let mut shift = Vector3::repeat(0.5 / prior_sd.powi(2));
    for event in 0..rows.len() {
        let [a, b, y] = rows.row(event) else { unreachable!("three columns") };
        let x = Vector3::new(1.0, *a, *b);
        precision += weight(event) * x * x.transpose() / NOISE.powi(2);
        shift += weight(event) * x * *y / NOISE.powi(2);
    }
    (precision.try_inverse().expect("the prior is proper") * shift, precision)
}

#[test]
fn a_normal_likelihood_with_an_orthogonal_design_gives_the_conjugate_posterior() {
    for (prior_sd, count) in PRIOR_SDS.into_iter().flat_map(|prior_sd| [4, 200, 1_024].map(|count| (prior_sd, count))) {
        let model = model(Linear(prior_sd), &NAMES);
        let rows = orthogonal(count);
        let mut engine = engine(&model, &NAMES, 1);
        take(&mut engine, rows.view(), 0);
        let (expected, precision) = conjugate(rows.view(), prior_sd, |_| 1.0);
        for (i, (mean, sd)) in engine.posterior().moments("slopes").into_iter().enumerate() {
            assert_close(mean, expected[i], 1e-9);
            assert_close(sd * precision[(i, i)].sqrt(), 1.0, 1e-9);
        }
        assert!(!engine.progress().0.clipped && engine.progress().0.step_norm.unwrap() > 0.0);
    }
}

#[test]
fn an_event_counts_as_far_as_it_is_believed() {
    let model = model(Linear(2.0), &NAMES);
    let rows = orthogonal(256);
    // The design is orthogonal within each four.
    let weights: Vec<f64> = (0..256).map(|event| 1.0 / (1 + event / 4 % 3) as f64).collect();
    let nothing = model.nothing();
    let block = Block { rows: rows.view(), partition: P0, offset: Offset(0), step: 0, pace: Pace::BAYES, weights: &weights };
    let evidence = model.learn(&model.posterior(&nothing).unwrap(), &nothing, block).unwrap().evidence;
    let (expected, precision) = conjugate(rows.view(), 2.0, |event| weights[event]);
    for (i, (mean, sd)) in model.posterior(&evidence).unwrap().moments("slopes").into_iter().enumerate() {
        assert_close(mean, expected[i], 1e-9);
        assert_close(sd * precision[(i, i)].sqrt(), 1.0, 1e-9);
    }
    assert_close(evidence.events(), weights.iter().sum(), 1e-12);
}

#[test]
fn forgetting_and_a_population_weigh_events_as_the_rule_says() {
    let population = Some(Population { events: 5_000.0, exponent: 0.8 });
    for rule in [Rule { half_life_events: 300.0, ..Rule::default() }, Rule { population, ..Rule::default() }] {
        let learning = Learning { rule, max_block: 256 };
        let rows = orthogonal(1_024);
        let mut engine = Engine::new(model(Linear(2.0), &NAMES), &schema(&NAMES), learning).unwrap();
        engine.assign(P0, None, None, Offset(0)).unwrap();
        engine.step(vec![run(P0, rows.view(), 0)]).unwrap().advance(false);
        let (mut weights, mut learnt) = (Vec::<f64>::new(), 0);
        while learnt + learning.block_len(learnt as u64) <= rows.len() {
            let len = learning.block_len(learnt as u64);
            let pace = rule.pace(learnt as u64, len, 0.0);
            weights.iter_mut().for_each(|weight| *weight *= pace.retention);
            weights.extend(vec![pace.weight; len]);
            learnt += len;
        }
        let (expected, precision) = conjugate(rows.view().slice(0..learnt), 2.0, |event| weights[event]);
        for (i, (mean, sd)) in engine.posterior().moments("slopes").into_iter().enumerate() {
            // Where weights within four differ, the design is orthogonal only nearly.
            assert!((mean - expected[i]).abs() < 0.05 * sd, "{mean} is not {} ± {sd}", expected[i]);
            assert_close(sd * precision[(i, i)].sqrt(), 1.0, 1e-6);
        }
    }
}

/// Columns that are independent, but not orthogonal.
#[test]
fn a_random_design_gives_nearly_the_conjugate_posterior() {
    let mut cells = Vec::new();
    for event in 0..4_096_u64 {
        let [a, b, error] = [0, 1, 2].map(|column| normal(3 * event + column));
        cells.extend([a, b, 4.0 - 2.0 * a + 0.3 * b + NOISE * error]);
    }
    let rows = Rows::from_cells(3, cells);
    let mut engine = engine(&model(Linear(2.0), &NAMES), &NAMES, 1);
    take(&mut engine, rows.view(), 0);
    let (expected, precision) = conjugate(rows.view(), 2.0, |_| 1.0);
    let covariance = precision.try_inverse().expect("the prior is proper");
    for (i, (mean, sd)) in engine.posterior().moments("slopes").into_iter().enumerate() {
        let expected_sd = covariance[(i, i)].sqrt();
        println!("mean off {:.4} sd, sd ratio {:.4}", (mean - expected[i]) / expected_sd, sd / expected_sd);
        assert!((mean - expected[i]).abs() < 0.1 * expected_sd, "{mean} is not {} ± {expected_sd}", expected[i]);
        assert_close(sd / expected_sd, 1.0, 0.02);
    }
}

/// `y ~ N(x · mean, NOISE² + Σ x² sd²)`, and `Var ½z² = ½ s⁴ + m² s²` for z ~ N(m, s²).
#[test]
fn scores_are_those_of_the_predictive() {
    let model = model(Linear(2.0), &NAMES);
    for count in [0, 4, 64] {
        let rows = orthogonal(count);
        let mut engine = engine(&model, &NAMES, 1);
        take(&mut engine, rows.view(), 0);
        let moments = engine.posterior().moments("slopes");
        let unseen = orthogonal(32);
        let mut surprisals = Vec::new();
        model.score(engine.posterior(), unseen.view(), &mut surprisals);
        let (mut worst, mut worst_sd): (f64, f64) = (0.0, 0.0);
        for (event, Surprisal { nats, sd }) in surprisals.into_iter().enumerate() {
            let [a, b, y] = unseen.view().row(event) else { unreachable!("three columns") };
            let mean: f64 = moments.iter().zip([1.0, *a, *b]).map(|((mean, _), x)| mean * x).sum();
            let variance: f64 = moments.iter().map(|(_, sd)| sd * sd).sum();
            let total = NOISE.powi(2) + variance;
            let expected = 0.5 * ((y - mean).powi(2) / total + (std::f64::consts::TAU * total).ln());
            let (m, s) = ((y - mean) / NOISE, variance.sqrt() / NOISE);
            let expected_sd = (0.5 * s.powi(4) + m * m * s * s).sqrt();
            worst = worst.max((nats - expected).abs());
            worst_sd = worst_sd.max((sd / expected_sd - 1.0).abs());
        }
        println!("{count}: {worst} nats, sd off by {worst_sd}");
        // From the prior, 64 draws know the predictive less well.
        assert!(worst < if count == 0 { 0.7 } else { 0.05 }, "{count}: {worst}");
        assert!(worst_sd < 0.35, "{count}: {worst_sd}");
    }
}

/// A likelihood of every kind of column and parameter, some missing.
#[derive(Debug)]
struct Everything;

impl LogJoint for Everything {
    fn name(&self) -> &'static str {
        "everything"
    }

    fn columns(&self) -> Vec<&str> {
        vec!["number", "text", "count", "flag"]
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![
            Parameter::real("effects", 8, 0.0, 1.0),
            Parameter::positive("rate", 1, 2.0, 0.5),
            Parameter::unit("share", 1, 0.3, 1.0),
        ]
    }

    fn log_likelihood(&self, theta: &Draws, events: &Events) -> Result<Tensor> {
        let gap = events["number"].broadcast_sub(&theta["effects"].matmul(&events["text"])?)?;
        let number = (gap.sqr()? * -0.5)?.broadcast_mul(events.present("number"))?;
        let (rate, share) = (&theta["rate"], &theta["share"]);
        // Poisson, but for ln n!.
        let count = events["count"].broadcast_mul(&rate.log()?)?.broadcast_sub(rate)?.broadcast_mul(events.present("count"))?;
        let yes = events["flag"].broadcast_mul(&share.log()?)?;
        let no = events["flag"].affine(-1.0, 1.0)?.broadcast_mul(&share.affine(-1.0, 1.0)?.log()?)?;
        (number + count)? + (yes + no)?.broadcast_mul(events.present("flag"))?
    }

    fn takes_missing(&self) -> bool {
        true
    }
}

fn everything() -> (MeanField<Everything>, Rows) {
    let kinds =
        [("flag", Kind::Boolean), ("number", Kind::Number), ("count", Kind::Count), ("text", Kind::Category { capacity: 2 })];
    let column = |(name, kind): (&str, Kind)| Column { name: name.into(), path: vec![name.into()], kind };
    let schema = Schema::new(kinds.map(column).to_vec());
    let mut rows = Rows::new(4);
    for event in 0..40_u64 {
        let (cells, texts) = rows.push_missing();
        for (cell, value) in [(event % 3 == 0) as u64 as f64, normal(event), (event % 5) as f64].into_iter().enumerate() {
            if event % (cell as u64 + 3) != 1 {
                cells[cell] = value;
            }
        }
        if event % 7 != 0 {
            cells[3] = texts.push(["here", "there", "nowhere"][event as usize % 3]) as f64;
        }
    }
    (MeanField::new(&schema, Everything, MeanFieldConfig::default()).expect("a right model"), rows)
}

/// The tensors that a likelihood is given are the columns: the same sum by hand.
#[test]
fn a_likelihood_sees_every_kind_of_column() {
    let (model, rows) = everything();
    // Without effects, so that what texts are hashed to doesn't matter.
    let theta = [0.0; 8].into_iter().chain([0.4, -0.2]).collect::<Vec<f64>>();
    let (rate, share) = (0.4_f64.exp(), 1.0 / (1.0 + 0.2_f64.exp()));
    let mut expected = 0.0;
    for event in 0..40 {
        let [flag, number, count, _] = rows.view().row(event) else { unreachable!("four columns") };
        let terms = [
            (number, -0.5 * number * number),
            (count, count * rate.ln() - rate),
            (flag, if *flag == 1.0 { share.ln() } else { (1.0 - share).ln() }),
        ];
        expected += terms.iter().filter(|(cell, _)| !cell.is_nan()).map(|(_, term)| term).sum::<f64>();
    }
    assert_close(model.log_likelihood(&theta, rows.view()).unwrap().0, expected, 1e-12);
    // Effects of texts: all that an event's number is compared with.
    let shifted: Vec<f64> = theta.iter().enumerate().map(|(i, x)| if i < 8 { 0.5 } else { *x }).collect();
    assert!((model.log_likelihood(&shifted, rows.view()).unwrap().0 - expected).abs() > 0.1);
}

#[test]
fn gradients_are_those_of_finite_differences() {
    fn check<L: LogJoint>(model: &MeanField<L>, theta: &[f64], rows: RowsView<'_>) {
        let (_, gradient) = model.log_likelihood(theta, rows).unwrap();
        for i in 0..theta.len() {
            let at = |step: f64| {
                let mut theta = theta.to_vec();
                theta[i] += step;
                model.log_likelihood(&theta, rows).unwrap().0
            };
            // Fourth order.
            let h = 1e-3;
            let expected = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
            assert_close(gradient[i], expected, 1e-8);
        }
    }
    let rows = latencies(300);
    check(&model(RobustRegression, &["load", "users", "latency"]), &[0.8, 1.5, -2.0, -0.4], rows.view());
    let (model, rows) = everything();
    check(&model, &[0.1, -0.2, 0.3, 0.7, 0.0, -0.5, 0.2, 0.9, 0.4, -0.2], rows.view());
}
