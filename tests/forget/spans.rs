//! Spans of events whose evidence can't be subtracted: forgotten means learnt again without them, bit for bit.

use std::time::Duration;

use proptest::prelude::*;
use surprisal::engine::{Learning, Means};
use surprisal::features::{Column, Kind, Schema};
use surprisal::inference::rule::Rule;
use surprisal::models::Model;
use surprisal::models::mixture::{Mixture, MixtureConfig};
use surprisal::pipeline::amend::{AmendError, Amendment};
use surprisal::pipeline::{Archive, PipelineError};
use surprisal::record::{Offset, Partition, Span};
use surprisal::stream::StreamError;
use surprisal::stream::memory::Fault;

use crate::run::{NO_EVENT, P0, World};
use crate::support::tracer::{Trace, Tracer};

fn sequence(number: i64) -> String {
    format!(r#"{{"sequence": {number}}}"#)
}

fn tracer() -> World<Tracer> {
    World::new(Tracer::default(), Tracer::schema(), Learning::default())
}

fn span(from: i64, to: i64) -> Span {
    Span { from: Offset(from), to: Offset(to) }
}

fn forget(partition: Partition, from: i64, to: i64) -> Amendment {
    Amendment::ForgetOffsets { partition, span: span(from, to) }
}

/// Runs `world` over records up to `first`, makes the changes, and goes on up to `last`.
fn live<M: Model>(world: &World<M>, record: impl Fn(i64) -> String, first: i64, last: i64, changes: &[Amendment]) {
    (0..first).for_each(|number| world.log.append(P0, record(number)));
    world.run();
    for change in changes {
        match world.amend(change, Vec::new()) {
            Ok(_) | Err(AmendError::Nothing(_)) => {}
            Err(error) => panic!("{change:?}: {error}"),
        }
    }
    (first..last).for_each(|number| world.log.append(P0, record(number)));
    world.run();
}

/// Asserts that `world` has learnt what `other` has, which never saw the forgotten.
fn assert_same<M: Model>(world: &World<M>, other: &World<M>) {
    let (found, expected) = (&world.snapshots()[&P0], &other.snapshots()[&P0]);
    assert_eq!((found.events, found.step, found.covers_to), (expected.events, expected.step, expected.covers_to));
    assert_eq!(found.tensors, expected.tensors);
    assert_eq!(found.calibrator, expected.calibrator);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Wherever the span lies, learnt, waiting for its block, or not read yet, and whatever was forgotten before it.
    #[test]
    fn what_was_forgotten_was_never_there(
        first in 1_i64..400, more in 1_i64..200, spans in prop::collection::vec((0.0..1.0_f64, 0.0..1.0_f64), 1..4),
    ) {
        let last = first + more;
        let spans: Vec<(i64, i64)> = spans.iter().map(|(a, b)| {
            let (a, b) = ((a * first as f64) as i64, (b * first as f64) as i64);
            (a.min(b), a.max(b) + 1)
        }).collect();
        let gone = |number: i64| spans.iter().any(|(from, to)| (*from..*to).contains(&number));
        let world = tracer();
        let changes: Vec<_> = spans.iter().map(|(from, to)| forget(P0, *from, (*to).min(first))).collect();
        live(&world, sequence, first, last, &changes);
        let other = tracer();
        live(&other, |number| if gone(number) { NO_EVENT.into() } else { sequence(number) }, first, last, &[]);
        let snapshot = &world.snapshots()[&P0];
        let learnt = (0..snapshot.covers_to.0).filter(|number| !gone(*number)).map(|number| number as u64);
        prop_assert_eq!(world.model.restore(&snapshot.tensors).expect("a trace"), Trace::of(learnt));
        let surprisals = world.surprisals();
        prop_assert_eq!(surprisals.len() as i64, last, "every event is scored once, the forgotten, too");
        // With no event to learn there is no snapshot to compare with.
        if let Some(expected) = other.snapshots().get(&P0) {
            prop_assert_eq!((snapshot.events, snapshot.step), (expected.events, expected.step));
            prop_assert_eq!(&snapshot.tensors, &expected.tensors);
            for (place, bits) in other.surprisals().range((P0, Offset(first))..) {
                prop_assert_eq!(surprisals[place], *bits, "{:?}", place);
            }
        }
    }
}

/// Two kinds of events, and poison that is like neither.
fn measured(number: i64) -> String {
    let noise = |salt: i64| ((number * 7919 + salt * 104_729) % 1000) as f64 / 1000.0;
    let place = if number % 3 == 0 { 8.0 } else { 0.0 };
    format!(r#"{{"a": {}, "b": {}, "host": "h{}"}}"#, place + noise(1), noise(2) - place, number % 5)
}

fn mixture(learning: Learning) -> World<Mixture> {
    let column = |name: &str, kind| Column { name: name.into(), path: vec![name.into()], kind };
    let columns = vec![column("a", Kind::Number), column("b", Kind::Number), column("host", Kind::Category { capacity: 8 })];
    let schema = Schema::new(columns);
    let model = Mixture::new(&schema, MixtureConfig::default()).expect("a model");
    World::new(model, schema, learning)
}

/// Splits, vocabularies, the last rows and forgetting: all of it as if the poison had never come.
#[test]
fn a_mixture_that_has_learnt_poison_is_as_one_that_has_not() {
    let forgetful = Learning { rule: Rule { half_life_events: 500.0, ..Rule::default() }, ..Learning::default() };
    for learning in [Learning::default(), forgetful] {
        let poisoned = |number: i64| match number {
            600..700 => format!(r#"{{"a": {}, "b": 900, "host": "evil-{number}"}}"#, 500 + number),
            _ => measured(number),
        };
        let world = mixture(learning);
        live(&world, poisoned, 1000, 2000, &[forget(P0, 600, 700)]);
        let other = mixture(learning);
        live(&other, |number| if (600..700).contains(&number) { NO_EVENT.into() } else { measured(number) }, 1000, 2000, &[]);
        assert_same(&world, &other);
        let snapshot = &world.snapshots()[&P0];
        assert_eq!((snapshot.forgotten.len(), snapshot.forgotten[0].means), (1, Means::Relearnt));
        assert!(!snapshot.tensors.iter().any(|tensor| format!("{tensor:?}").contains("evil")), "no trace of it is left");
    }
}

/// An archived snapshot before the span is where learning begins again, and those that hold the span go with it.
#[test]
fn learning_begins_again_at_the_last_archived_snapshot_before_the_span() {
    let world = tracer();
    (0..400).for_each(|number| world.log.append(P0, sequence(number)));
    world.run();
    let archive = world.archived(P0);
    assert!(archive.len() > 3, "{archive:?}");
    let before = archive[archive.len() / 2];
    let amended = world.amend(&forget(P0, before.0 + 1, before.0 + 20), Vec::new()).expect("it can be learnt again");
    assert_eq!((amended[0].forgotten.means, amended[0].covers_to, amended[0].committed), (Means::Relearnt, before, Offset(400)));
    assert_eq!(world.archived(P0).last(), Some(&before));
    assert_eq!(world.snapshots()[&P0].header.archive.last().map(|kept| kept.covers_to), Some(before));
    world.log.append(P0, sequence(400));
    world.run();
    let snapshot = &world.snapshots()[&P0];
    let learnt =
        (0..snapshot.covers_to.0 as u64).filter(|number| !span(before.0 + 1, before.0 + 20).contains(Offset(*number as i64)));
    assert_eq!(world.model.restore(&snapshot.tensors).expect("a trace"), Trace::of(learnt));
    assert_eq!(world.surprisals().len(), 401);
}

/// A rollback forgets what came after the snapshot, and a restart does not bring it back.
#[test]
fn after_a_rollback_the_rest_is_never_learnt() {
    let world = tracer();
    (0..300).for_each(|number| world.log.append(P0, sequence(number)));
    world.run();
    let target = world.archived(P0)[2];
    let amended = world.amend(&Amendment::RollBack { partition: P0, covers_to: target }, Vec::new()).expect("it is there");
    assert_eq!((amended[0].forgotten.span, amended[0].covers_to), (span(target.0, 300), Offset(300)));
    world.run();
    assert_eq!(world.snapshots()[&P0].events, amended[0].events, "a restart changes nothing");
    (300..500).for_each(|number| world.log.append(P0, sequence(number)));
    world.run();
    let snapshot = &world.snapshots()[&P0];
    let learnt = (0..target.0 as u64).chain(300..snapshot.covers_to.0 as u64);
    assert_eq!(world.model.restore(&snapshot.tensors).expect("a trace"), Trace::of(learnt));
    assert_eq!(snapshot.forgotten.len(), 1);
    assert_eq!(world.surprisals().len(), 500);
}

#[test]
fn all_partitions_go_back_to_the_same_time() {
    let world = tracer();
    for number in 0..300 {
        (0..3).for_each(|partition| world.log.append(Partition(partition), sequence(number)));
    }
    world.run();
    let made: Vec<i64> = world.snapshots().values().map(|snapshot| snapshot.header.archive[1].created_ms).collect();
    let to_ms = *made.iter().max().expect("three");
    let amended = world.amend(&Amendment::RollBackAll { to_ms }, Vec::new()).expect("each has one");
    assert_eq!(amended.len(), 3);
    for snapshot in world.snapshots().values() {
        let later = snapshot.header.archive.iter().filter(|kept| kept.created_ms > to_ms);
        assert!(later.into_iter().all(|kept| kept.covers_to == Offset(300)), "what is there now may be kept, too");
        assert_eq!((snapshot.covers_to, snapshot.forgotten[0].means), (Offset(300), Means::RolledBack));
    }
    let error = world.amend(&Amendment::RollBackAll { to_ms: -1 }, Vec::new()).expect_err("there was none then").to_string();
    assert!(error.starts_with("partition 0 has no archived snapshot of -1 ms since 1970 or before; it has 0@"), "{error}");
}

/// All or nothing, whichever operation is the last; and then once more, if need be.
#[test]
fn the_last_operation_of_an_amendment_can_be_any() {
    let amendment = Amendment::ForgetTimes { partition: None, since_ms: 40_000, until_ms: 60_000 };
    let build = || {
        let mut schema = Tracer::schema().columns().to_vec();
        schema.push(Column { name: "at".into(), path: vec!["at".into()], kind: Kind::Timestamp });
        let world = World::new(Tracer::default(), Schema::new(schema), Learning::default());
        for number in 0..100 {
            (0..2).for_each(|of| world.log.append(Partition(of), format!(r#"{{"sequence": {number}, "at": {number}}}"#)));
        }
        world.run();
        world
    };
    let expected = build();
    let before = expected.log.operations();
    let amended = expected.amend(&amendment, Vec::new()).expect("it can be learnt again");
    assert_eq!(amended.iter().map(|of| of.forgotten.span).collect::<Vec<_>>(), [span(40, 60); 2]);
    let operations = expected.log.operations() - before;
    assert!(operations > 6, "{operations}");
    for at in 0..operations {
        for fault in [Fault::CrashBefore(at), Fault::CrashAfter(at), Fault::Abort(at), Fault::Restore(at)] {
            let world = build();
            let amended = world.amend(&amendment, vec![fault]);
            let forgotten: Vec<usize> = world.snapshots().values().map(|snapshot| snapshot.forgotten.len()).collect();
            assert!(forgotten == [0, 0] || forgotten == [1, 1], "{fault:?}: {forgotten:?}");
            if forgotten == [0, 0] {
                assert!(amended.is_err(), "{fault:?}");
                world.amend(&amendment, Vec::new()).expect("nothing goes wrong");
            }
            (0..2).for_each(|of| world.log.append(Partition(of), r#"{"sequence": 100}"#));
            world.run();
            for snapshot in world.snapshots().values() {
                let learnt = (0..snapshot.covers_to.0 as u64).filter(|number| !(40..60).contains(number));
                assert_eq!(world.model.restore(&snapshot.tensors).expect("a trace"), Trace::of(learnt), "{fault:?}");
            }
        }
    }
}

#[test]
fn what_cannot_be_done_is_said_and_changes_nothing() {
    let world = tracer();
    (0..100).for_each(|number| world.log.append(P0, sequence(number)));
    let refused =
        |amendment, partitions| world.amend_as(&amendment, Vec::new(), false, partitions).expect_err("refused").to_string();
    assert_eq!(refused(forget(P0, 1, 2), 1), "partition 0 has no snapshot under this model id: nothing of it was learnt");
    world.run();
    let before = world.snapshots();
    assert!(refused(forget(P0, 1, 2), 2).starts_with("the group has given 1 of 2 partitions: it has other members"));
    assert_eq!(refused(forget(P0, 90, 101), 1), "partition 0 ends at offset 100: forget offsets up to 100 at most");
    assert_eq!(refused(forget(Partition(7), 1, 2), 1), "there is no partition 7: `events` has 1");
    let times = Amendment::ForgetTimes { partition: None, since_ms: 5, until_ms: 6 };
    assert!(refused(times, 1).starts_with("there is nothing to change"));
    let error = refused(Amendment::RollBack { partition: P0, covers_to: Offset(77_777) }, 1);
    assert!(error.starts_with("partition 0 has no archived snapshot 0@77777; it has 0@"), "{error}");
    let amended = world.amend_as(&forget(P0, 10, 20), Vec::new(), true, 1).expect("it could be");
    assert_eq!(amended[0].forgotten.span, span(10, 20));
    assert_eq!(world.snapshots(), before);
    let aborted = world.amend(&forget(P0, 10, 20), vec![Fault::Abort(3)]);
    match &aborted {
        Err(AmendError::Pipeline(error @ PipelineError::Stream(StreamError::Abort(_)))) => {
            assert!(error.to_string().ends_with("nothing has changed"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    world.amend(&forget(P0, 10, 20), Vec::new()).expect("it can be learnt again");
    assert!(refused(forget(P0, 12, 18), 1).starts_with("there is nothing to change"), "they are forgotten already");
}

/// The archive keeps as many snapshots as it may, no two of them closer than the interval.
#[test]
fn the_archive_has_its_limits() {
    let mut world = tracer();
    world.archive.snapshots = 3;
    (0..1000).for_each(|number| world.log.append(P0, sequence(number)));
    world.run();
    let snapshot = &world.snapshots()[&P0];
    let kept: Vec<Offset> = snapshot.header.archive.iter().map(|kept| kept.covers_to).collect();
    assert_eq!((kept.len(), world.archived(P0)), (3, kept));
    let times: Vec<i64> = snapshot.header.archive.iter().map(|kept| kept.created_ms).collect();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 60), "{times:?}");
    world.archive = Archive { snapshots: 0, interval: Duration::ZERO };
    (1000..1100).for_each(|number| world.log.append(P0, sequence(number)));
    world.run();
    assert_eq!(world.archived(P0), []);
}
