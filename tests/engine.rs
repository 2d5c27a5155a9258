//! The engine as a pure fold over the log: batching, aborts and restarts leave no trace in it.

mod support;

use proptest::prelude::*;
use support::tracer::{Trace, Tracer};
use surprisal::calibration::{Alerts, Budget};
use surprisal::drift::{Change, Series, Watch};
use surprisal::engine::{Engine, EngineError, Learning, Setup, block_len};
use surprisal::features::{Column, Kind, Rows, Schema, Task};
use surprisal::inference::rule::Rule;
use surprisal::models::mixture::{Mixture, MixtureConfig};
use surprisal::models::regression::{LinearRegression, RegressionConfig};
use surprisal::noise::Noise;
use surprisal::record::{Head, Offset, Partition, Run};

const P0: Partition = Partition(0);

fn run(partition: Partition, offsets: std::ops::Range<i64>) -> Run {
    let mut run = Run::new(partition, Offset(offsets.start), 1);
    run.rows = Rows::from_cells(1, offsets.clone().map(|offset| offset as f64).collect());
    run.heads = offsets.clone().map(|offset| Head { offset: Offset(offset), timestamp_ms: None, key: None }).collect();
    run.next = Offset(offsets.end);
    run
}

fn engine(model: Tracer) -> Engine<Tracer> {
    Engine::new(model, &Tracer::schema(), Learning::default()).expect("a trace is always finite")
}

fn fresh() -> Engine<Tracer> {
    let mut engine = engine(Tracer::default());
    assert_eq!(engine.assign(P0, None, None, Offset(0)), Ok(Offset(0)));
    engine
}

/// Scores of events as (offset, surprisal), from steps cut at `cuts`.
fn fold(engine: &mut Engine<Tracer>, from: i64, cuts: &[i64]) -> Vec<(i64, f64)> {
    let mut scores = Vec::new();
    let mut start = from;
    for &end in cuts {
        let ready = engine.step(vec![run(P0, start..end)]).expect("in order");
        scores.extend(ready.scores().map(|(_, head, score)| (head.offset.0, score.surprisal)));
        ready.advance(false);
        start = end;
    }
    scores
}

#[test]
fn blocks_grow_with_what_was_learnt() {
    let forgetful = Learning { rule: Rule { half_life_events: 100.0, ..Rule::default() }, max_block: 256 };
    assert_eq!([0, 127, 1 << 40].map(|learnt| forgetful.block_len(learnt)), [1, 2, 4]);
    assert_eq!(Learning::default().block_len(8192), 256);
    let lengths: Vec<usize> = [0, 1, 63, 64, 127, 128, 8191, 8192, 1 << 40].map(|learnt| block_len(learnt, 256)).into();
    assert_eq!(lengths, [1, 1, 1, 2, 2, 4, 128, 256, 256]);
}

#[test]
fn every_event_is_scored_before_it_is_learnt_and_learnt_once() {
    let mut engine = fresh();
    let scores = fold(&mut engine, 0, &[10_000]);
    assert_eq!(scores.len(), 10_000);
    for (offset, known) in scores {
        assert!(known <= offset as f64, "event {offset} was scored by a posterior that knew {known} events");
        assert!(known >= (offset - offset / 32 - 1) as f64, "event {offset} was scored by a posterior that knew only {known}");
    }
    let (_, site) = engine.sites().next().expect("assigned");
    assert_eq!(site.evidence, Trace::of(0..site.covers_to.0 as u64));
    assert_eq!(site.events, site.covers_to.0 as u64);
}

proptest! {
    #[test]
    fn scores_and_posterior_do_not_depend_on_how_records_arrive(mut cuts in prop::collection::vec(1_i64..3_000, 0..40)) {
        cuts.push(3_000);
        cuts.sort_unstable();
        cuts.dedup();
        let (mut whole, mut cut) = (fresh(), fresh());
        prop_assert_eq!(fold(&mut whole, 0, &[3_000]), fold(&mut cut, 0, &cuts));
        prop_assert_eq!(whole.sites().next(), cut.sites().next());
    }

    #[test]
    fn an_aborted_step_leaves_no_trace(first in 0_i64..500, second in 1_i64..500, third in 1_i64..500) {
        let (mut calm, mut shaken) = (fresh(), fresh());
        fold(&mut calm, 0, &[first, first + second + third]);
        fold(&mut shaken, 0, &[first]);
        let back = shaken.step(vec![run(P0, first..first + second)]).expect("in order").abort();
        prop_assert_eq!(back, vec![(P0, Offset(first))]);
        drop(shaken.step(vec![run(P0, first..first + 1)]).expect("in order"));
        fold(&mut shaken, first, &[first + second + third]);
        prop_assert_eq!(calm.sites().next(), shaken.sites().next());
        prop_assert_eq!(calm.posterior(), shaken.posterior());
    }

    #[test]
    fn a_restart_relearns_quietly_and_goes_on(published in 0_i64..2_000, scored in 0_i64..500, rest in 1_i64..500) {
        let (committed, end) = (published + scored, published + scored + rest);
        let mut calm = fresh();
        let expected = fold(&mut calm, 0, &[published, committed, end]);

        let mut before = fresh();
        fold(&mut before, 0, &[published]);
        let site = before.sites().next().expect("assigned").1.clone();
        let covered = site.covers_to;
        let mut after = engine(Tracer::default());
        prop_assert_eq!(after.assign(P0, Some(site), Some(Offset(committed)), Offset(0)), Ok(covered));
        let scores = fold(&mut after, covered.0, &[end]);
        prop_assert_eq!(&scores[..], &expected[committed as usize..]);
        prop_assert_eq!(calm.sites().next(), after.sites().next());
    }
}

/// An engine that watches the only column, which changes its level at offset 2000.
fn watching() -> Engine<Tracer> {
    let watch = Watch { series: vec![Series { name: "level".into(), cell: Some(0) }], ..Watch::default() };
    let setup = Setup { watch, ..Setup::default() };
    Engine::new(Tracer::default(), &Tracer::schema(), setup).expect("a trace is always finite")
}

/// Changes told of, each with the offset of the event that told.
fn changes(engine: &mut Engine<Tracer>, offsets: std::ops::Range<i64>, committed: bool) -> Vec<(i64, Change)> {
    let mut run = run(P0, offsets.clone());
    let noise = |offset: i64| (offset as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) as f64 / u64::MAX as f64;
    run.rows = Rows::from_cells(1, offsets.map(|offset| noise(offset) + if offset < 2000 { 0.0 } else { 5.0 }).collect());
    let ready = engine.step(vec![run]).expect("in order");
    let told = ready.scores().flat_map(|(_, head, score)| score.changes.iter().map(|change| (head.offset.0, change.clone())));
    let told = told.collect();
    if committed {
        ready.advance(false);
    }
    told
}

#[test]
fn a_change_of_regime_is_told_once_however_the_log_is_cut() {
    let mut whole = watching();
    whole.assign(P0, None, None, Offset(0)).unwrap();
    let expected = changes(&mut whole, 0..3000, true);
    assert_eq!(expected.len(), 1, "{expected:?}");
    let (told_at, Change { series, offset, .. }) = &expected[0];
    assert_eq!((series.as_str(), *offset), ("level", 2000));
    for cut in [1990, 2001, *told_at, told_at + 1, 2500] {
        let mut first = watching();
        first.assign(P0, None, None, Offset(0)).unwrap();
        let mut told = changes(&mut first, 0..cut, true);
        assert_eq!(changes(&mut first, cut..3000, false).len() + told.len(), 1, "a step that is taken back at {cut}");
        let (_, site) = first.sites().next().expect("assigned");
        let mut second = watching();
        let from = second.assign(P0, Some(site.clone()), Some(Offset(cut)), Offset(0)).unwrap();
        told.extend(changes(&mut second, from.0..3000, true));
        assert_eq!(told, expected, "restarted at {cut}");
        assert_eq!(second.sites().next(), whole.sites().next());
    }
}

#[test]
fn a_refused_block_changes_nothing_and_is_counted() {
    let mut engine = engine(Tracer { poison: Some(70) });
    engine.assign(P0, None, None, Offset(0)).expect("the prior is finite");
    let ready = engine.step(vec![run(P0, 0..100)]).expect("in order");
    assert_eq!(ready.scores().count(), 100, "a refused event is scored all the same");
    assert_eq!(ready.refused().events, 2, "70 stands in a block of two");
    ready.advance(false);
    let (_, site) = engine.sites().next().expect("assigned");
    assert_eq!(site.evidence, Trace::of((0..site.covers_to.0 as u64).filter(|number| !(70..72).contains(number))));
}

#[test]
fn records_that_do_not_follow_are_errors() {
    let mut engine = fresh();
    fold(&mut engine, 0, &[10]);
    let again = engine.step(vec![run(P0, 5..12)]).err();
    assert_eq!(again, Some(EngineError::OutOfOrder { partition: P0, found: Offset(5), expected: Offset(10) }));
    let foreign = engine.step(vec![run(Partition(3), 0..1)]).err();
    assert_eq!(foreign, Some(EngineError::NotAssigned { partition: Partition(3) }));
    fold(&mut engine, 10, &[20]);
}

#[test]
fn a_snapshot_ahead_of_the_committed_offset_is_an_error() {
    let mut engine = fresh();
    fold(&mut engine, 0, &[50]);
    let mut site = engine.sites().next().expect("assigned").1.clone();
    site.covers_to = Offset(50);
    let error = self::engine(Tracer::default()).assign(P0, Some(site), Some(Offset(40)), Offset(0));
    assert_eq!(error, Err(EngineError::AheadOfCommit { partition: P0, covers_to: Offset(50), committed: Offset(40) }));
}

/// The group's offsets expire while it is down. What was scored beyond the snapshot would be scored again.
#[test]
fn a_snapshot_without_a_committed_offset_is_an_error() {
    let mut engine = fresh();
    fold(&mut engine, 0, &[203]);
    let site = engine.sites().next().expect("assigned").1.clone();
    let covers_to = site.covers_to;
    assert!(covers_to < Offset(203), "the last events wait for their block");
    let error = self::engine(Tracer::default()).assign(P0, Some(site), None, Offset(0));
    assert_eq!(error, Err(EngineError::NothingCommitted { partition: P0, covers_to }));
}

/// The offset is what brokers check the owner by.
#[test]
fn a_site_is_published_with_its_offset_only() {
    let mut engine = fresh();
    fold(&mut engine, 0, &[10]);
    let ready = engine.open();
    assert_eq!(ready.unpublished().count(), 1);
    assert_eq!(ready.consumed().collect::<Vec<_>>(), [(P0, Offset(10))]);
    ready.advance(true);
    assert_eq!(engine.open().consumed().count(), 0);
}

#[test]
fn sites_of_all_partitions_add_up_wherever_they_are_learnt() {
    let (p1, p2) = (Partition(1), Partition(2));
    let mut single = engine(Tracer::default());
    for partition in [p1, p2] {
        single.assign(partition, None, None, Offset(0)).expect("fresh");
    }
    single.step(vec![run(p1, 0..64), run(p2, 100..164)]).expect("in order").advance(false);

    let mut left = engine(Tracer::default());
    left.assign(p1, None, None, Offset(0)).expect("fresh");
    left.step(vec![run(p1, 0..64)]).expect("in order").advance(false);
    let mut right = engine(Tracer::default());
    right.assign(p2, None, None, Offset(0)).expect("fresh");
    right.step(vec![run(p2, 100..164)]).expect("in order").advance(false);

    let of_right = right.sites().next().expect("assigned").1.clone();
    left.absorb(p2, of_right.clone()).expect("finite");
    left.absorb(p2, of_right).expect("absorbing twice changes nothing");
    left.settle().expect("finite");
    assert_eq!(left.posterior(), single.posterior());
    left.release(p1);
    assert_eq!(left.evidence(), single.evidence());
}

fn numbers(names: &[&str]) -> Schema {
    let column = |name: &&str| Column { name: (*name).into(), path: vec![(*name).into()], kind: Kind::Number };
    Schema::new(names.iter().map(column).collect())
}

#[test]
fn a_budget_is_of_all_partitions_together() {
    const DAYS: i64 = 150;
    const EVENTS: i64 = 288;
    let schema = numbers(&["x"]);
    let model = Mixture::new(&schema, MixtureConfig { components: 1, ..MixtureConfig::default() }).unwrap();
    let alerts = Alerts { budget: Budget::PerDay(1.0), ..Alerts::default() };
    let mut engine = Engine::new(model, &schema, Setup { alerts, ..Setup::default() }).unwrap();
    let partitions = [Partition(0), Partition(1), Partition(2)];
    for partition in partitions {
        engine.assign(partition, None, None, Offset(0)).unwrap();
    }
    let noise = Noise::new(1);
    let mut told = [0; 3];
    for day in 0..DAYS {
        let of = |partition: Partition| {
            let offsets = day * EVENTS..(day + 1) * EVENTS;
            let mut run = run(partition, offsets.clone());
            let cell = |offset: i64| noise.normal(offset as u64, partition.0 as u32, 0);
            run.rows = Rows::from_cells(1, offsets.map(cell).collect());
            run.heads.iter_mut().for_each(|head| head.timestamp_ms = Some(head.offset.0 * 86_400_000 / EVENTS));
            run
        };
        let ready = engine.step(partitions.map(of).to_vec()).expect("in order");
        ready.scores().for_each(|(partition, _, score)| told[partition.0 as usize] += usize::from(score.alert));
        ready.advance(false);
    }
    println!("{told:?} alerts in {DAYS} days");
    let share = told.iter().sum::<usize>() as f64 / DAYS as f64;
    assert!((0.75..1.25).contains(&share), "{share} a day, where one is asked for: {told:?}");
    assert!(told.iter().all(|told| *told > DAYS as usize / 6), "each partition has its share: {told:?}");
}

/// What a tight regression says is far below 0 nats, and the 0 of an event without a target far above it.
#[test]
fn an_event_that_is_not_judged_is_no_news() {
    let schema = numbers(&["x", "y"]);
    let model = LinearRegression::new(&schema, &Task { target: 1, inputs: vec![0] }, RegressionConfig::default()).unwrap();
    let watch = Watch { series: vec![Series { name: "surprisal".into(), cell: None }], ..Watch::default() };
    let alerts = Alerts { budget: Budget::Rate(0.001), ..Alerts::default() };
    let mut engine = Engine::new(model, &schema, Setup { alerts, watch, ..Setup::default() }).unwrap();
    engine.assign(P0, None, None, Offset(0)).unwrap();
    let noise = Noise::new(2);
    let row = |offset: i64| {
        let [x, e] = [0, 1].map(|at| noise.normal(offset as u64, 0, at));
        [x, if (3_000..3_400).contains(&offset) { f64::NAN } else { 2.0 * x + 0.001 * e }]
    };
    let mut run = Run::new(P0, Offset(0), 2);
    run.rows = Rows::from_cells(2, (0..4_000).flat_map(row).collect());
    run.heads = (0..4_000).map(|offset| Head { offset: Offset(offset), timestamp_ms: None, key: None }).collect();
    run.next = Offset(4_000);
    let ready = engine.step(vec![run]).expect("in order");
    let scores: Vec<_> = ready.scores().map(|(_, _, score)| score.clone()).collect();
    ready.advance(false);
    let usual = scores[2_000..3_000].iter().map(|score| score.surprisal).sum::<f64>() / 1e3;
    assert!(usual < -3.5, "{usual}");
    for score in &scores[3_000..3_400] {
        assert_eq!((score.surprisal, score.surprisal_sd, score.tail_probability, score.alert), (0.0, 0.0, 1.0, false));
    }
    assert!(scores[3_000..3_450].iter().all(|score| score.changes.is_empty()), "a gap is no other regime");
    // Nor is 0 part of what the others are held against.
    let (_, site) = engine.sites().next().expect("assigned");
    assert!(site.calibrator.tail().quantile(0.95).expect("experience") < -1.0);
}

/// Watching the surprisal of a stream in which nothing changes tells nothing; where the model no longer fits, it does.
#[test]
fn the_surprisal_is_told_to_be_another_where_the_model_no_longer_fits() {
    let schema = numbers(&["x"]);
    type Shape<'a> = &'a dyn Fn(i64, f64) -> f64;
    let watch = Watch { series: vec![Series { name: "surprisal".into(), cell: None }], ..Watch::default() };
    let told = |seed: u64, value: Shape<'_>| {
        let model = Mixture::new(&schema, MixtureConfig::default()).unwrap();
        let mut engine = Engine::new(model, &schema, Setup { watch: watch.clone(), ..Setup::default() }).unwrap();
        engine.assign(P0, None, None, Offset(0)).unwrap();
        let noise = Noise::new(seed);
        let mut run = run(P0, 0..10_000);
        run.rows = Rows::from_cells(1, (0..10_000).map(|at| value(at, noise.normal(at as u64, 0, 0))).collect());
        let ready = engine.step(vec![run]).expect("in order");
        let told = ready.scores().flat_map(|(_, head, score)| score.changes.iter().map(|change| (head.offset.0, change.offset)));
        told.collect::<Vec<_>>()
    };
    // Of the latter two a mixture goes on learning.
    let shapes: [(&str, Shape<'_>, usize); 3] =
        [("normal", &|_, z| z, 1), ("lognormal", &|_, z| z.exp(), 10), ("whole", &|_, z| (1.5 * z).floor().max(0.0), 25)];
    for (name, shape, most) in shapes {
        let none: usize = (0..10).map(|seed| told(seed, shape).len()).sum();
        println!("{name}: {none} changes told in 100,000 events");
        assert!(none <= most, "{name}: {none}");
    }
    for seed in 0..5 {
        let found = told(seed, &|at, z| if at < 8_000 { z } else { 8.0 + z });
        let late: Vec<_> = found.iter().filter(|(at, _)| *at >= 8_000).collect();
        assert!(late.first().is_some_and(|(at, from)| *at < 8_030 && (7_995..8_010).contains(from)), "{found:?}");
    }
}
