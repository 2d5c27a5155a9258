//! Against tests/golden/forecast.py, which computes what is said of an event from all events before it.

use serde_json::Value;

use crate::data::{follow, model, rows};
use surprisal::models::Model;

fn golden() -> Value {
    serde_json::from_str(include_str!("../golden/forecast.json")).expect("JSON")
}

#[test]
fn everything_said_agrees_with_a_computation_from_the_whole_past() {
    let golden = golden();
    let cells =
        |key: &str| golden[key].as_array().unwrap().iter().map(|cell| cell.as_f64().unwrap_or(f64::NAN)).collect::<Vec<f64>>();
    let events = cells("time").into_iter().zip(cells("x"));
    let model = model();
    let (said, _) = follow(&model, model.nothing(), &rows(events.map(|(time, x)| (time, x, None))));
    let mut compared = 0;
    for (row, expected) in golden["said"].as_object().unwrap() {
        let said = &said[row.parse::<usize>().unwrap()];
        let prediction = said.prediction.unwrap();
        let found = |name: &str| match name {
            "nats" => said.surprisal.nats,
            "extremity" => said.extremity,
            "probability" => prediction.probability,
            "expected" => prediction.expected,
            "lower" => prediction.lower,
            _ => prediction.upper,
        };
        for (name, expected) in expected.as_object().unwrap() {
            let expected = expected.as_f64().unwrap();
            let gap = (found(name) - expected).abs() / expected.abs().max(1.0);
            assert!(gap < 1e-8, "row {row}, {name}: {}, expected {expected}", found(name));
            compared += 1;
        }
    }
    assert!(compared > 90, "{compared} figures");
}
