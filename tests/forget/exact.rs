//! Models whose evidence is a sum over events: forgetting subtracts, and to 1e-9 the events were never there.

use proptest::prelude::*;
use surprisal::checkpoint::Data;
use surprisal::codec::wire::Snapshot;
use surprisal::engine::{Learning, Means};
use surprisal::features::{Column, Kind, Schema, Task};
use surprisal::models::Model;
use surprisal::models::mixture::{Mixture, MixtureConfig};
use surprisal::models::regression::{LinearRegression, RegressionConfig};
use surprisal::pipeline::amend::Amendment;
use surprisal::record::{Offset, Span};

use crate::run::{NO_EVENT, P0, World};
use crate::support::noise::{normal, uniform};

fn schema() -> Schema {
    let column = |name: &str, kind| Column { name: name.into(), path: vec![name.into()], kind };
    Schema::new(vec![
        column("load", Kind::Number),
        column("users", Kind::Number),
        column("latency", Kind::Number),
        column("retries", Kind::Count),
        column("paid", Kind::Boolean),
    ])
}

/// An event whose `latency` follows `load` and `users`; poison has it the other way round.
fn event(number: i64, poison: bool) -> String {
    let at = number as u64 * 8;
    let (load, users) = (100.0 + normal(at), 3.0 * normal(at + 1));
    let noise = 0.3 * normal(at + 2);
    let latency = if poison { 20.0 - 2.0 * load + noise } else { 5.0 + 2.0 * load - users + noise };
    let users = if uniform(at + 3) < 0.1 { "null".into() } else { users.to_string() };
    let (retries, paid) = ((uniform(at + 4) * 4.0) as u32, uniform(at + 5) < 0.3);
    let latency = if uniform(at + 6) < 0.05 { "null".into() } else { latency.to_string() };
    format!(r#"{{"load": {load}, "users": {users}, "latency": {latency}, "retries": {retries}, "paid": {paid}}}"#)
}

/// One event a block: then all that was read is learnt, and the two runs have learnt the same events.
fn learning() -> Learning {
    Learning { max_block: 1, ..Learning::default() }
}

fn mixture() -> World<Mixture> {
    let config = MixtureConfig { components: 1, ..MixtureConfig::default() };
    World::new(Mixture::new(&schema(), config).expect("a model"), schema(), learning())
}

fn regression() -> World<LinearRegression> {
    let task = Task { target: 2, inputs: vec![0, 1, 3, 4] };
    let model = LinearRegression::new(&schema(), &task, RegressionConfig::default()).expect("a model");
    World::new(model, schema(), learning())
}

/// Two worlds: one has learnt poison and forgotten it, the other has never seen it.
fn live<M: Model>(make: impl Fn() -> World<M>, total: i64, span: Span) -> (World<M>, World<M>) {
    let poison = |number: i64| span.contains(Offset(number));
    let (world, other) = (make(), make());
    for number in 0..total {
        world.log.append(P0, event(number, poison(number)));
        other.log.append(P0, if poison(number) { NO_EVENT.into() } else { event(number, false) });
    }
    world.run();
    other.run();
    let amended = world.amend(&Amendment::ForgetOffsets { partition: P0, span }, Vec::new()).expect("it can be forgotten");
    assert_eq!(amended[0].forgotten.means, Means::Subtracted);
    assert_eq!(amended[0].events_before - amended[0].events, (span.to.0 - span.from.0) as u64);
    (world, other)
}

/// The greatest difference of two snapshots' numbers, each relative to the greatest of its tensor. The last rows, of which one component
/// makes no use, are left out.
fn difference(found: &Snapshot, expected: &Snapshot) -> f64 {
    let mut greatest: f64 = 0.0;
    for expected in
        expected.tensors.iter().filter(|tensor| !tensor.name.starts_with("recent") && !tensor.name.starts_with("search"))
    {
        let found = found.tensors.iter().find(|tensor| tensor.name == expected.name).expect("the same tensors");
        assert_eq!(found.shape, expected.shape, "{}", expected.name);
        let (Data::F64(found), Data::F64(numbers)) = (&found.data, &expected.data) else { continue };
        let scale = numbers.iter().fold(1e-300, |scale: f64, number| scale.max(number.abs()));
        let gaps = found.iter().zip(numbers).map(|(found, expected)| (found - expected).abs() / scale);
        greatest = gaps.fold(greatest, f64::max);
    }
    greatest
}

/// Scores of what comes after, by both.
fn surprisals<M: Model>(world: &World<M>, from: i64, to: i64) -> Vec<f64> {
    (from..to).for_each(|number| world.log.append(P0, event(number, false)));
    world.run();
    let all = world.surprisals();
    (from..to).map(|number| f64::from_bits(all[&(P0, Offset(number))])).collect()
}

/// Forgets `share` of `total` events, from the part `from` on, and holds the rest against a world that has never seen them.
fn check<M: Model>(make: impl Fn() -> World<M>, total: i64, from: f64, share: f64) -> Result<(), TestCaseError> {
    let from = (from * total as f64) as i64;
    let to = (from + (share * total as f64) as i64).clamp(from + 1, total);
    let span = Span { from: Offset(from), to: Offset(to) };
    let (world, other) = live(make, total, span);
    let (found, expected) = (&world.snapshots()[&P0], &other.snapshots()[&P0]);
    prop_assert_eq!(found.events, expected.events);
    prop_assert_eq!(found.forgotten.iter().map(|forgotten| forgotten.span).collect::<Vec<_>>(), vec![span]);
    let gap = difference(found, expected);
    prop_assert!(gap < 1e-9, "evidence differs by {}", gap);
    // A restart learns nothing of it, and goes on as if it had never been.
    let (found, expected) = (surprisals(&world, total, total + 50), surprisals(&other, total, total + 50));
    for (found, expected) in found.iter().zip(&expected) {
        prop_assert!((found - expected).abs() < 1e-9 * expected.abs().max(1.0), "{} and {}", found, expected);
    }
    let gap = difference(&world.snapshots()[&P0], &other.snapshots()[&P0]);
    prop_assert!(gap < 1e-9, "evidence differs by {} in the end", gap);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn one_component_without_some_events_has_never_seen_them(total in 300_i64..600, from in 0.1..0.9_f64, share in 0.01..0.5_f64) {
        check(mixture, total, from, share)?;
    }

    #[test]
    fn a_linear_regression_without_some_events_has_never_seen_them(
        total in 300_i64..600, from in 0.1..0.9_f64, share in 0.01..0.5_f64,
    ) {
        check(regression, total, from, share)?;
    }
}

/// Poison so far away that the digits of the others are gone beside it: the rest is learnt again, which is exact.
#[test]
fn what_the_digits_do_not_bear_is_learnt_again() {
    let (world, other) = (regression(), regression());
    let span = Span { from: Offset(200), to: Offset(220) };
    for number in 0..400 {
        let poison = span.contains(Offset(number));
        world.log.append(P0, if poison { r#"{"load": 1e9, "latency": -1e9}"#.into() } else { event(number, false) });
        other.log.append(P0, if poison { NO_EVENT.into() } else { event(number, false) });
    }
    world.run();
    other.run();
    let amended = world.amend(&Amendment::ForgetOffsets { partition: P0, span }, Vec::new()).expect("it can be learnt again");
    assert_eq!(amended[0].forgotten.means, Means::Relearnt);
    [&world, &other].iter().for_each(|world| world.log.append(P0, event(400, false)));
    world.run();
    other.run();
    let (found, expected) = (&world.snapshots()[&P0], &other.snapshots()[&P0]);
    assert_eq!(found.tensors, expected.tensors);
}

/// Alerts are as they would be: the surprisals of the forgotten no longer count among those seen.
#[test]
fn the_forgotten_no_longer_make_the_surprising_look_usual() {
    let span = Span { from: Offset(1000), to: Offset(1200) };
    let (world, other) = live(mixture, 2000, span);
    let tail = |world: &World<Mixture>| {
        let snapshot = &world.snapshots()[&P0];
        let (means, weights) = snapshot.calibrator.centroids();
        let total: f64 = weights.iter().sum();
        let above: f64 = means.iter().zip(&weights).filter(|(mean, _)| **mean > 25.0).map(|(_, weight)| weight).sum();
        (total, above)
    };
    let ((total, above), (expected_total, expected_above)) = (tail(&world), tail(&other));
    // Up to the weight that rare ones are learnt with, which is not the same in both.
    assert!((total / expected_total - 1.0).abs() < 0.01, "{total} and {expected_total} surprisals");
    assert!(above <= expected_above + 20.0, "{above} and {expected_above} above 25 nats");
}

/// Evidence that was half forgotten isn't taken for whole because nothing is forgotten any more.
#[test]
fn what_was_learnt_with_a_half_life_is_learnt_again_once_it_is_gone() {
    let mut world = regression();
    (0..300).for_each(|number| world.log.append(P0, event(number, false)));
    world.learning.rule.half_life_events = 200.0;
    world.run();
    world.learning = learning();
    let span = Span { from: Offset(250), to: Offset(260) };
    let amended = world.amend(&Amendment::ForgetOffsets { partition: P0, span }, Vec::new()).expect("it can be learnt again");
    assert_eq!(amended[0].forgotten.means, Means::Relearnt);
}
