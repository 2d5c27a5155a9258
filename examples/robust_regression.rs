//! A model of one's own: linear regression that gross outliers don't bend.
//!
//! `cargo run --release --example robust_regression` learns a stream with outliers and says what it has found. With a command it is
//! the whole program with this model in it: `cargo run --release --example robust_regression -- run --config surprisal.toml`.

use std::error::Error;
use std::process::ExitCode;

use candle_core::{Result, Tensor};
use nalgebra::{DMatrix, DVector};
use surprisal::app;
use surprisal::engine::{Engine, Learning};
use surprisal::features::{Column, Kind, Rows, RowsView, Schema};
use surprisal::models::AnyModel;
use surprisal::models::mean_field::{Draws, Events, LogJoint, MeanField, MeanFieldConfig, Parameter};
use surprisal::noise::Noise;
use surprisal::record::{Head, Offset, Partition, Run};

/// latency = intercept + slopes · (load, users) + noise · t, where t is Student's with 4 degrees of freedom.
#[derive(Debug)]
pub struct RobustRegression;

impl LogJoint for RobustRegression {
    fn name(&self) -> &'static str {
        "robust_regression"
    }

    fn columns(&self) -> Vec<&str> {
        vec!["load", "users", "latency"]
    }

    /// The prior: normal with a mean and a standard deviation; for what is positive, its logarithm is normal about a median.
    fn parameters(&self) -> Vec<Parameter> {
        vec![
            Parameter::real("intercept", 1, 0.0, 10.0),
            Parameter::real("slopes", 2, 0.0, 10.0),
            Parameter::positive("noise", 1, 1.0, 1.0),
        ]
    }

    /// ln p(latency | θ) `[draws, events]`: the density of t is 3/8 (1 + t²/4)^(-5/2).
    fn log_likelihood(&self, theta: &Draws, events: &Events) -> Result<Tensor> {
        let inputs = events.stack(&["load", "users"])?;
        let mean = theta["slopes"].matmul(&inputs)?.broadcast_add(&theta["intercept"])?;
        let t = events["latency"].broadcast_sub(&mean)?.broadcast_div(&theta["noise"])?;
        let tail = ((t.sqr()? / 4.0)? + 1.0)?.log()?;
        ((tail * -2.5)? + 0.375_f64.ln())?.broadcast_sub(&theta["noise"].log()?)
    }
}

fn main() -> ExitCode {
    if std::env::args().len() > 1 {
        return app::main_with(|schema, config| {
            let settings = MeanFieldConfig { device: config.device, ..MeanFieldConfig::default() };
            Ok(AnyModel::new(MeanField::new(schema, RobustRegression, settings)?))
        });
    }
    match compare() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

const EVENTS: usize = 5_000;

/// Intercept and slopes of what is not late.
const TRUTH: [f64; 3] = [1.0, 2.0, -3.0];

/// Learns a stream, event after event, and prints what was found beside the truth and what least squares makes of the same events.
fn compare() -> std::result::Result<(), Box<dyn Error>> {
    let column = |name: &str| Column { name: name.into(), path: vec![name.into()], kind: Kind::Number };
    let schema = Schema::new(["load", "users", "latency"].map(column).to_vec());
    let model = MeanField::new(&schema, RobustRegression, MeanFieldConfig::default())?;
    let mut engine = Engine::new(model, &schema, Learning::default())?;
    engine.assign(Partition(0), None, None, Offset(0))?;

    let (rows, late) = stream();
    let least_squares = least_squares(rows.view());
    let mut run = Run::new(Partition(0), Offset(0), schema.width());
    run.rows = rows;
    run.heads = (0..EVENTS as i64).map(|offset| Head { offset: Offset(offset), timestamp_ms: None, key: None }).collect();
    run.next = Offset(EVENTS as i64);
    // Every event is scored before it is learnt.
    let ready = engine.step(vec![run])?;
    let mut scored: Vec<(f64, bool)> = ready.scores().map(|(_, _, score)| score.surprisal).zip(late).collect();
    ready.advance(false);

    let posterior = engine.posterior();
    println!("                  truth   robust regression (central 95 %)   least squares");
    let estimates = [posterior.estimates("intercept"), posterior.estimates("slopes")].concat();
    let names = ["intercept", "slope of load", "slope of users"];
    for (((name, truth), estimate), fitted) in names.iter().zip(TRUTH).zip(estimates).zip(&least_squares) {
        println!(
            "{name:<16} {truth:>6.3}   {:>6.3} ({:.3} to {:.3})   {fitted:>15.3}",
            estimate.median, estimate.low, estimate.high
        );
    }
    scored.sort_by(|one, other| other.0.total_cmp(&one.0));
    let all = scored.iter().filter(|(_, late)| *late).count();
    let found = scored[..all].iter().filter(|(_, late)| *late).count();
    println!("{found} of {all} late events are among the {all} most surprising of {EVENTS}");
    Ok(())
}

/// load, users and latency, and which events are late: one in twenty, by 5 to 25, mostly under load. That drags least squares along.
fn stream() -> (Rows, Vec<bool>) {
    let noise = Noise::new(1);
    let (mut cells, mut lateness) = (Vec::new(), Vec::new());
    for event in 0..EVENTS as u32 {
        let [load, users, error] = [0, 1, 2].map(|stream| noise.normal(0, stream, event));
        let late = noise.uniform(0, 3, event) < if load > 0.0 { 0.08 } else { 0.02 };
        let delay = if late { 5.0 + 20.0 * noise.uniform(0, 4, event) } else { 0.0 };
        cells.extend([load, users, TRUTH[0] + TRUTH[1] * load + TRUTH[2] * users + 0.5 * error + delay]);
        lateness.push(late);
    }
    (Rows::from_cells(3, cells), lateness)
}

/// Intercept and slopes of the third column by the first two, with normal noise and no prior: all events at once.
fn least_squares(rows: RowsView<'_>) -> DVector<f64> {
    let design = DMatrix::from_fn(rows.len(), 3, |event, i| if i == 0 { 1.0 } else { rows.row(event)[i - 1] });
    let latency = DVector::from_fn(rows.len(), |event, _| rows.row(event)[2]);
    design.tr_mul(&design).lu().solve(&design.tr_mul(&latency)).expect("more events than coefficients")
}
