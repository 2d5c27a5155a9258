//! Many series side by side.

use crate::data::{follow, keyed, model, rows, seasonal, series};
use surprisal::models::{Evidence, Model};

const HOSTS: [&str; 3] = ["a", "b", "c"];

/// A host's event in turn.
fn turns(values: &[f64]) -> impl Iterator<Item = (f64, f64, Option<&'static str>)> {
    values.iter().enumerate().map(|(at, x)| (300_000.0 * (at / 3) as f64, x + 100.0 * (at % 3) as f64, Some(HOSTS[at % 3])))
}

#[test]
fn each_key_has_a_series_of_its_own() {
    let values = seasonal(900, 12);
    let (together, evidence) = follow(&keyed(10), keyed(10).nothing(), &rows(turns(&values)));
    assert_eq!(keyed(10).active(&evidence), 3);
    for host in 0..3 {
        let own: Vec<f64> =
            values.iter().enumerate().filter(|(at, _)| at % 3 == host).map(|(_, x)| x + 100.0 * host as f64).collect();
        let (alone, _) = follow(&model(), model().nothing(), &series(&own));
        let of_host: Vec<_> = together.iter().skip(host).step_by(3).copied().collect();
        assert_eq!(of_host, alone, "{host}");
    }
}

/// A sum of sites says of each key what the site that has it says.
#[test]
fn sites_add_up_key_by_key() {
    let values = seasonal(900, 13);
    let all: Vec<_> = turns(&values).collect();
    let model = keyed(10);
    let site = |host: &str| follow(&model, model.nothing(), &rows(all.iter().copied().filter(|event| event.2 == Some(host)))).1;
    let mut sum = site("a");
    sum.add(&site("b"));
    sum.add(&site("c"));
    let whole = follow(&model, model.nothing(), &rows(all.iter().copied())).1;
    let (mut found, mut expected) = (Vec::new(), Vec::new());
    let next = rows(turns(&[40.0, 41.0, 42.0]));
    model.score(&sum, next.view(), &mut found);
    model.score(&whole, next.view(), &mut expected);
    assert_eq!(found, expected);
    assert_eq!((sum.events(), model.active(&sum)), (900.0, 3));
    // Of a key that two sites have, the one that has seen more counts.
    let mut twice = follow(&model, model.nothing(), &rows(turns(&[1.0, 2.0, 3.0]))).1;
    twice.add(&whole);
    let mut found = Vec::new();
    model.score(&twice, next.view(), &mut found);
    assert_eq!(found, expected);
}

#[test]
fn the_key_learnt_longest_ago_goes_first() {
    let model = keyed(2);
    let event = |host| (0.0, 1.0, Some(host));
    let (_, evidence) = follow(&model, model.nothing(), &rows(["a", "b", "a", "c"].map(event)));
    let keys = |evidence: &surprisal::models::forecast::ForecastEvidence| evidence.tensors()[0].data.clone();
    assert_eq!(keys(&evidence), surprisal::checkpoint::Data::Text(vec!["a".into(), "c".into()]));
}

#[test]
fn an_event_without_its_number_teaches_nothing() {
    let model = model();
    let values = seasonal(300, 14);
    let gaps = values.iter().enumerate().flat_map(|(at, x)| {
        let time = 300_000.0 * at as f64;
        [(time, *x, None)].into_iter().chain((at % 4 == 0).then_some((time, f64::NAN, None)))
    });
    let (said, evidence) = follow(&model, model.nothing(), &rows(gaps));
    assert_eq!(evidence.events(), 300.0);
    assert_eq!(model.columns(&evidence)[0].missing, 75.0);
    assert!(said[1].prediction.is_none() && said[1].surprisal.nats == 0.0);
    let (expected, _) = follow(&model, model.nothing(), &series(&values));
    let kept: Vec<_> = said.into_iter().enumerate().filter(|(at, _)| at % 5 != 1).map(|(_, said)| said).collect();
    assert_eq!(kept, expected);
}
