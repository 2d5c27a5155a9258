//! A snapshot is all that is known.

use crate::data::{follow, keyed, rows, seasonal};
use surprisal::features::{Column, Kind, Schema};
use surprisal::models::forecast::{ForecastConfig, Forecasts};
use surprisal::models::{Evidence, Model};

#[test]
fn a_restored_series_goes_on_with_the_very_bits() {
    let model = keyed(10);
    let events: Vec<_> =
        seasonal(700, 15).into_iter().enumerate().map(|(at, x)| (3e5 * at as f64, x, Some(["a", "b"][at % 2]))).collect();
    let (expected, whole) = follow(&model, model.nothing(), &rows(events.clone()));
    let (_, half) = follow(&model, model.nothing(), &rows(events[..400].to_vec()));
    let restored = model.restore(&half.tensors()).unwrap();
    assert_eq!(restored, half);
    let (found, end) = follow(&model, restored, &rows(events[400..].to_vec()));
    assert_eq!(found, expected[400..]);
    assert_eq!(end, whole);
    assert_eq!(end.tensors(), whole.tensors());
}

#[test]
fn tensors_that_no_series_has_are_refused_by_name() {
    let model = keyed(10);
    let (_, evidence) = follow(&model, model.nothing(), &rows(seasonal(50, 16).into_iter().map(|x| (0.0, x, Some("a")))));
    for at in 0..evidence.tensors().len() {
        let mut others = evidence.tensors();
        let missing = others.remove(at);
        assert!(model.restore(&others).unwrap_err().to_string().contains(&missing.name));
    }
    for (name, number) in [("context.variance", -1.0), ("bank.count", -1.0), ("recalibration", -1.0), ("experts.ln_weights", 1.0)]
    {
        let mut tensors = evidence.tensors();
        let tensor = tensors.iter_mut().find(|tensor| tensor.name == name).unwrap();
        let surprisal::checkpoint::Data::F64(data) = &mut tensor.data else { panic!("{name}") };
        data[0] = number;
        assert!(model.restore(&tensors).unwrap_err().to_string().contains(&format!("tensor `{name}`: element 0 is {number}")));
    }
}

#[test]
fn impossible_forecasts_are_refused_by_name() {
    let column = |(name, kind): (&str, Kind)| Column { name: name.into(), path: vec![name.into()], kind };
    let schema = Schema::new([("x", Kind::Number), ("host", Kind::Category { capacity: 4 })].map(column).to_vec());
    let refused = |target: usize, key: Option<&str>, max_keys: usize| {
        Forecasts::new(&schema, target, &ForecastConfig { key: key.map(Into::into), max_keys }).unwrap_err().to_string()
    };
    assert!(refused(1, None, 1).starts_with("the target `host` is a category column"));
    assert_eq!(refused(0, Some("x"), 1), "the key `x` is a number column; it must be a category column");
    assert_eq!(refused(0, Some("y"), 1), "the key `y` is no column; it must be a category column");
    assert!(refused(0, Some("host"), 80_000).contains("choose a smaller max_keys"));
}
