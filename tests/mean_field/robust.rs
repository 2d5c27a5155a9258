//! The regression of the example against a NUTS run of all data at once.

use serde_json::Value;
use surprisal::models::mean_field::{MeanField, MeanFieldConfig};
use surprisal::record::Offset;

use crate::data::{assert_close, engine, latencies, model, schema, take};
use crate::example::RobustRegression;

const NAMES: [&str; 3] = ["load", "users", "latency"];

/// The columns are centred and independent, so the posterior's correlations are at most 0.15 and a mean field can be right.
#[test]
fn one_pass_comes_to_the_posterior_of_a_long_nuts_run() {
    let golden: Value = serde_json::from_str(include_str!("../golden/robust_regression.json")).expect("a golden file");
    let model = model(RobustRegression, &NAMES);
    for size in [200, 2_048] {
        let golden = &golden[&size.to_string()];
        let numbers = |key: &str| golden[key].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect::<Vec<_>>();
        let rows = latencies(size);
        for (key, row) in [("first_row", 0), ("last_row", size - 1)] {
            let found = rows.view().row(row);
            found.iter().zip(numbers(key)).for_each(|(found, expected)| assert_close(*found, expected, 1e-9));
        }
        assert!(golden["least_effective_sample_size"].as_f64().unwrap() > 10_000.0);
        assert!(golden["greatest_correlation"].as_f64().unwrap() < 0.15);

        let mut engine = engine(&model, &NAMES, 1);
        take(&mut engine, rows.view(), 0);
        assert_eq!(engine.sites().next().unwrap().1.covers_to, Offset(size as i64), "all blocks are full");
        let posterior = engine.posterior();
        let found = ["intercept", "slopes", "noise"].map(|name| posterior.moments(name)).concat();
        for (i, (mean, sd)) in numbers("mean").into_iter().zip(numbers("sd")).enumerate() {
            println!("{size} {i}: mean off {:.3} sd, sd ratio {:.3}", (found[i].0 - mean) / sd, found[i].1 / sd);
            assert!((found[i].0 - mean).abs() < 0.15 * sd, "{size}, parameter {i}: {} is not {mean} ± {sd}", found[i].0);
            assert!((0.92..1.03).contains(&(found[i].1 / sd)), "{size}, parameter {i}: sd {} is not {sd}", found[i].1);
        }
    }
}

/// What is said of θ while little is known is held for ever, unless the first events are learnt anew.
#[test]
fn without_its_first_events_at_hand_a_site_remembers_its_ignorance() {
    let rows = latencies(2_048);
    let noise = |first_events| {
        let config = MeanFieldConfig { first_events, ..MeanFieldConfig::default() };
        let model = MeanField::new(&schema(&NAMES), RobustRegression, config).expect("a right model");
        let mut engine = engine(&model, &NAMES, 1);
        take(&mut engine, rows.view(), 0);
        engine.posterior().moments("noise")[0]
    };
    let [(without, _), (few, _), (usual, sd), (many, _)] = [0, 64, 256, 1_024].map(noise);
    println!("off by {:?} sd", [without, few, many].map(|mean| (mean - usual) / sd));
    assert!(without - usual > 0.5 * sd, "{without} is not above {usual} ± {sd}");
    assert!((few - usual).abs().max((many - usual).abs()) < 0.15 * sd, "{few} and {many} are not {usual} ± {sd}");
}
