//! Sums, the chain rule by an independent way, and conditional expectations in closed form.

use surprisal::features::{Kind, Rows};
use surprisal::models::mixture::{Covariance, Mixture, MixtureConfig};
use surprisal::models::{Expected, Model};

use crate::data::{FAR, Learnt, event, schema};
use crate::noise::{normal, uniform};

fn close(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance * expected.abs().max(1.0), "{found} is not {expected}");
}

/// Contributions are differences of surprisals of the event with ever fewer fields, in some order of them: by scores of all 64
/// events that have some of the fields only. The corrupted field is the first to go.
#[test]
fn contributions_are_differences_of_marginal_surprisals() {
    const DIM: usize = 6;
    for covariance in [Covariance::Full, Covariance::Diagonal] {
        let learnt = Learnt::numbers(DIM, covariance);
        let mut first = 0;
        for trial in 0..50 {
            let (cells, fields) = learnt.corrupted(200_000 + trial, 1, FAR);
            let explanation = learnt.explain(&cells);
            let sets: Vec<Vec<bool>> =
                (0..1_usize << DIM).map(|set| (0..DIM).map(|field| set >> field & 1 == 1).collect()).collect();
            let scores = learnt.scores(&cells, &sets);
            let sum: f64 = explanation.contributions.iter().map(|contribution| contribution.nats).sum();
            close(sum, scores[(1 << DIM) - 1], 1e-9);
            let nats = |field: usize| {
                explanation.contributions.iter().find(|one| one.column == format!("c{field}")).expect("there").nats
            };
            let order =
                chain((1 << DIM) - 1, &|set, field| (scores[set] - scores[set & !(1 << field)] - nats(field)).abs() < 1e-8);
            first += u32::from(order.expect("an order")[0] == fields[0]);
        }
        assert!(first >= 45, "{covariance:?}: {first} of 50");
    }
}

/// An order in which fields can leave `set`, if each `may`.
fn chain(set: usize, may: &dyn Fn(usize, usize) -> bool) -> Option<Vec<usize>> {
    if set == 0 {
        return Some(Vec::new());
    }
    (0..usize::BITS as usize).filter(|field| set >> field & 1 == 1 && may(set, *field)).find_map(|field| {
        let rest = chain(set & !(1 << field), may)?;
        Some([vec![field], rest].concat())
    })
}

/// Cells of a row of a number, a count, a boolean and a category, some missing.
fn mixed(count: usize) -> Rows {
    let mut rows = Rows::new(5);
    for at in 0..count as u64 {
        let kind = uniform((1 << 40) + at) < 0.5;
        let (cells, texts) = rows.push_missing();
        cells[0] = if kind { 5.0 } else { -5.0 } + normal(at);
        cells[1] = ((if kind { 3.0 } else { 30.0 }) + 2.0 * normal((1 << 41) + at)).round().max(0.0);
        cells[2] = f64::from(u8::from(kind == (uniform((1 << 42) + at) < 0.9)));
        cells[3] = texts.push(if kind { "morning" } else { "night" }) as f64;
        cells[4] = 7.0;
        if at % 11 == 3 {
            cells[(at % 5) as usize] = f64::NAN;
        }
    }
    rows
}

#[test]
fn columns_of_all_kinds_add_up_and_say_what_was_expected() {
    let kinds = [Kind::Number, Kind::Count, Kind::Boolean, Kind::Category { capacity: 8 }, Kind::Number];
    let model = Mixture::new(&schema(&kinds), MixtureConfig::default()).expect("a right configuration");
    let rows = mixed(2000);
    let learnt = Learnt::of(model, rows.view());
    let mut surprisals = Vec::new();
    learnt.model.score(&learnt.posterior, rows.view(), &mut surprisals);
    for (at, surprisal) in surprisals.iter().enumerate().take(200) {
        let explanation = learnt.model.explain(&learnt.posterior, rows.view().slice(at..at + 1)).expect("an account");
        let sum: f64 = explanation.contributions.iter().map(|contribution| contribution.nats).sum();
        close(sum, surprisal.nats, 1e-9);
        let there = rows.view().row(at).iter().filter(|cell| !cell.is_nan()).count();
        assert_eq!(explanation.contributions.len(), there, "a missing field has no share");
    }
    // A morning with the text of the night, and a constant that has changed.
    let mut wrong = Rows::new(5);
    let (cells, texts) = wrong.push_missing();
    cells.copy_from_slice(&[5.0, 3.0, 1.0, texts.push("night") as f64, 8.0]);
    let explanation = learnt.model.explain(&learnt.posterior, wrong.view()).expect("an account");
    let of = |name: &str| explanation.contributions.iter().find(|one| one.column == name).expect("a contribution");
    let names: Vec<&str> = explanation.contributions[..2].iter().map(|one| one.column.as_str()).collect();
    assert!(names.contains(&"c3") && names.contains(&"c4"), "{explanation:?}");
    assert_eq!(of("c4").expected, Some(Expected::Number { mean: 7.0, lower: 7.0, upper: 7.0 }));
    assert!(
        matches!(&of("c3").expected, Some(Expected::Value { likeliest, probability }) if likeliest == "morning" && *probability > 0.9)
    );
    assert!(
        matches!(&of("c2").expected, Some(Expected::Value { likeliest, probability }) if likeliest == "true" && *probability > 0.8)
    );
    let Some(Expected::Number { mean, lower, upper }) = of("c1").expected else { panic!("a count") };
    assert!((mean - 3.0).abs() < 0.5 && lower < 3.0 && upper > 3.0 && upper < 12.0, "{mean} {lower} {upper}");
    let largest = learnt.model.parts(&learnt.posterior);
    assert!(largest.iter().any(|part| Some(&part.name) == explanation.nearest.as_ref()), "{:?}", explanation.nearest);
}

/// With one component and much evidence the predictive is normal, and what was to be expected of a field is the regression on the
/// others, by the sample's own mean and covariance; of a corrupted one too, and of the others as if it were not there.
#[test]
fn expectations_are_those_of_the_regression_on_the_fields_that_are_not_to_blame() {
    const EVENTS: usize = 20_000;
    let config =
        MixtureConfig { components: 1, covariance: Covariance::Full, scale_prior_events: 3.0, ..MixtureConfig::default() };
    let model = Mixture::new(&schema(&[Kind::Number; 3]), config).expect("a right configuration");
    let row = |at: u64| {
        let z = [0, 1, 2].map(|d| normal(at * 3 + d));
        [z[0], 0.9 * z[0] + 0.4 * z[1], 5.0 + 0.5 * z[0] + 0.5 * z[1] + z[2]]
    };
    let rows = Rows::from_cells(3, (0..EVENTS as u64).flat_map(row).collect());
    let learnt = Learnt::of(model, rows.view());
    // The second number follows the first with a standard deviation of 0.4, and here is 20 of these off.
    let explanation = learnt.explain(&[0.3, 0.27 + 8.0, 5.2]);
    let top = &explanation.contributions[0];
    assert_eq!(top.column, "c1");
    let Some(Expected::Number { mean, lower, upper }) = top.expected else { panic!("a number") };
    // E[x1 | x0, x2]: with x2 − 5 = 0.5 z0 + 0.5 z1 + z2 and z0 known, E[z1] = 0.5 (0.2 − 0.15) / 1.25 and Var z1 = 1 − 0.25 /
    // 1.25.
    let (centre, sd) = (0.27 + 0.4 * 0.5 * 0.05 / 1.25, 0.4 * 0.8_f64.sqrt());
    close(mean, centre, 0.02);
    close(upper - lower, 2.0 * 1.6449 * sd, 0.03);
    // E[x0 | x2] without the corrupted field: Cov(x0, x2) / Var x2 · (x2 − 5).
    let first = explanation.contributions.iter().find(|one| one.column == "c0").expect("there");
    let Some(Expected::Number { mean, .. }) = first.expected else { panic!("a number") };
    close(mean, 0.5 / 1.5 * 0.2, 0.03);
}

/// Numbers beyond all reason have an account, in numbers.
#[test]
fn numbers_meant_to_break_it() {
    for covariance in [Covariance::Full, Covariance::Diagonal] {
        let learnt = Learnt::numbers(6, covariance);
        for extreme in [1e30, -1e150, f64::MAX] {
            let mut cells = event(6, 300_000);
            cells[2] = extreme;
            cells[4] = -extreme;
            let explanation = learnt.explain(&cells);
            let sum: f64 = explanation.contributions.iter().map(|one| one.nats).sum();
            close(sum, learnt.scores(&cells, &[vec![true; 6]])[0], 1e-9);
            let names: Vec<&str> = explanation.contributions[..2].iter().map(|one| one.column.as_str()).collect();
            assert!(names.contains(&"c2") && names.contains(&"c4"), "{names:?}");
        }
    }
    let learnt = Learnt::numbers(6, Covariance::Full);
    assert!(learnt.explain(&[f64::NAN; 6]).contributions.is_empty());
}
