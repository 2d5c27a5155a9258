//! Models of other kinds: their accounts add up too, and expect what their predictives say.

use surprisal::app;
use surprisal::config::{ModelConfig, ModelKind};
use surprisal::features::{Kind, Rows, RowsView, Schema};
use surprisal::inference::rule::Pace;
use surprisal::models::{AnyModel, Block, Expected, Model};
use surprisal::record::{Offset, Partition};

use crate::data::{event, schema};
use crate::noise::{normal, uniform};

const EVENTS: usize = 2000;

fn learn(model: &AnyModel, rows: RowsView<'_>) -> <AnyModel as Model>::Posterior {
    let mut site = model.nothing();
    for (step, start) in (0..rows.len()).step_by(50).enumerate() {
        let posterior = model.posterior(&site).expect("finite");
        let pace = Pace { retention: 1.0, weight: 1.0 };
        let rows = rows.slice(start..(start + 50).min(rows.len()));
        let block = Block { rows, partition: Partition(0), offset: Offset(start as i64), step: step as u64, pace, weights: &[] };
        site = model.learn(&posterior, &site, block).expect("finite").evidence;
        model.reorganise(&model.nothing(), &mut site);
    }
    model.posterior(&site).expect("finite")
}

/// Rows of x, a target that depends on it, and their model.
fn predicted(kind: ModelKind, target: Kind) -> (AnyModel, Rows) {
    let schema = schema(&[Kind::Number, target]);
    let config = ModelConfig { kind, target: Some("c1".into()), ..ModelConfig::default() };
    let mut rows = Rows::new(2);
    for at in 0..EVENTS as u64 {
        let x = normal(2 * at);
        let (cells, texts) = rows.push_missing();
        cells[0] = x;
        cells[1] = match target {
            Kind::Number => 3.0 + 2.0 * x + 0.5 * normal(2 * at + 1),
            Kind::Count => (3.0 + (0.5 * x).exp() + normal(2 * at + 1)).round().max(0.0),
            Kind::Boolean => f64::from(u8::from(uniform((1 << 40) + at) < 1.0 / (1.0 + (-3.0 * x).exp()))),
            _ => texts.push(if x + 0.3 * normal(2 * at + 1) > 0.0 { "up" } else { "down" }) as f64,
        };
    }
    (app::model(&schema, &config).expect("a right configuration"), rows)
}

#[test]
fn a_model_of_one_column_charges_it_with_all() {
    let category = Kind::Category { capacity: 4 };
    for (kind, target) in [
        (ModelKind::LinearRegression, Kind::Number),
        (ModelKind::LogisticRegression, Kind::Boolean),
        (ModelKind::PoissonRegression, Kind::Count),
        (ModelKind::SoftmaxRegression, category),
        (ModelKind::NeuralNetwork, Kind::Number),
        (ModelKind::NeuralNetwork, Kind::Boolean),
        (ModelKind::NeuralNetwork, category),
    ] {
        let (model, rows) = predicted(kind, target);
        let posterior = learn(&model, rows.view());
        let mut surprisals = Vec::new();
        model.score(&posterior, rows.view(), &mut surprisals);
        let mut inside = 0;
        for (at, surprisal) in surprisals.iter().enumerate().take(200) {
            let explanation = model.explain(&posterior, rows.view().slice(at..at + 1)).expect("an account");
            let [only] = &explanation.contributions[..] else { panic!("one contribution") };
            assert_eq!((only.column.as_str(), only.nats), ("c1", surprisal.nats), "{kind:?}");
            let y = rows.view().row(at)[1];
            inside += match only.expected.as_ref().expect("an expectation") {
                Expected::Number { mean, lower, upper } => {
                    assert!(lower <= mean && mean <= upper, "{kind:?}");
                    u32::from(y >= *lower && y <= *upper)
                }
                Expected::Value { likeliest, probability } => {
                    let own = match target {
                        Kind::Boolean => (y == 1.0).to_string(),
                        _ => rows.view().text(y).expect("a text").to_owned(),
                    };
                    // The likeliest value's surprisal is its probability's.
                    if own == *likeliest {
                        assert!((-probability.ln() - surprisal.nats).abs() < 1e-6, "{kind:?}: {probability} {surprisal:?}");
                    }
                    u32::from(own == *likeliest)
                }
            };
        }
        // 180 of 200 by design for numbers; counts are discrete, and likeliest values are right more often than not.
        assert!(inside >= 150, "{kind:?}: {inside} of 200");
        let mut missing = Rows::new(2);
        missing.push_missing().0[0] = 1.0;
        assert!(model.explain(&posterior, missing.view()).expect("an account").contributions.is_empty(), "{kind:?}");
    }
}

/// The autoencoder's accounts add up; how often they name the field is said, and bounded from below by what was measured.
#[test]
fn an_autoencoder_adds_up() {
    const DIM: usize = 8;
    let schema: Schema = schema(&[Kind::Number; DIM]);
    let model =
        app::model(&schema, &ModelConfig { kind: ModelKind::Vae, ..ModelConfig::default() }).expect("a right configuration");
    let rows = Rows::from_cells(DIM, (0..EVENTS as u64).flat_map(|at| event(DIM, at)).collect());
    let posterior = learn(&model, rows.view());
    let mut named = 0;
    for trial in 0..200 {
        let mut cells = event(DIM, 100_000 + trial);
        let field = (uniform((1 << 50) + trial) * DIM as f64) as usize;
        cells[field] += if uniform((1 << 51) + trial) < 0.5 { -9.0 } else { 9.0 };
        let rows = Rows::from_cells(DIM, cells);
        let mut surprisals = Vec::new();
        model.score(&posterior, rows.view(), &mut surprisals);
        let explanation = model.explain(&posterior, rows.view()).expect("an account");
        let sum: f64 = explanation.contributions.iter().map(|one| one.nats).sum();
        assert!((sum - surprisals[0].nats).abs() <= 1e-9 * sum.abs().max(1.0), "{sum} {surprisals:?}");
        named += u32::from(explanation.contributions[0].column == format!("c{field}"));
    }
    println!("autoencoder: {named} of 200");
    assert!(named >= 100, "{named} of 200");
}
