//! Instances that come, go and die: together they score every event once.

use surprisal::codec::wire::Format;

use crate::events::batch;
use crate::log::{Follower, produce, scores, snapshots};
use crate::plain::covered;
use crate::process::{Process, eventually};
use crate::setup::Setup;

const PARTITIONS: i32 = 4;
/// Events that come at a time.
const PORTION: u64 = 2000;

#[test]
fn instances_come_and_go_and_every_event_is_scored_once() {
    let setup = Setup::new("group", PARTITIONS);
    let start = |instance: &str| {
        let mut wishes = setup.wishes("group");
        wishes.instance = instance.into();
        wishes.kafka = "commit_interval_ms = 5\ncommit_max_events = 64\nsnapshot_interval_ms = 50\n\
                        transaction_timeout_ms = 2000\nsession_timeout_ms = 3000\n"
            .into();
        Process::run(&setup.config(instance, &wishes))
    };
    let mut sent = 0;
    let mut send = || {
        produce(setup.brokers, &setup.events, &batch(sent..sent + PORTION, PARTITIONS));
        sent += PORTION;
        sent as usize
    };
    let held = |process: &Process| process.metric("surprisal_assigned_partitions");

    let (mut first, mut second) = (start("first"), start("second"));
    eventually("the two share the partitions", || (held(&first) == 2.0 && held(&second) == 2.0).then_some(()));
    let mut follower = Follower::open(setup.brokers, "group.scores");
    send();
    follower.until(PORTION as usize / 2);
    first.stop(); // in the middle of the first portion
    let mut third = start("third");
    let count = send();
    eventually("the third has its share", || (held(&second) == 2.0 && held(&third) == 2.0).then_some(()));
    follower.until(count);
    send();
    follower.until(count + PORTION as usize / 4);
    third.kill(); // in the middle of the third portion
    send();
    let count = send();
    follower.until(count);
    eventually("the second has all", || (held(&second) == f64::from(PARTITIONS)).then_some(()));
    second.stop();

    let scores = scores(setup.brokers, "group.scores", Format::Json);
    let each = count as u64 / PARTITIONS as u64;
    let places: Vec<(i32, i64)> = (0..PARTITIONS).flat_map(|of| (0..each as i64).map(move |offset| (of, offset))).collect();
    assert!(scores.keys().copied().eq(places), "every event has one score");
    let snapshots = snapshots(setup.brokers, "group.posterior");
    assert_eq!(snapshots.len(), PARTITIONS as usize);
    for (partition, snapshot) in &snapshots {
        assert_eq!((snapshot.events, snapshot.covers_to.0 as u64), (covered(each), covered(each)), "partition {partition}");
    }
    let events: u64 = snapshots.values().map(|snapshot| snapshot.events).sum();
    assert_eq!(events, PARTITIONS as u64 * covered(each));
}

/// With static membership a restart within the session moves no partition: the other instance doesn't notice, and the one that comes
/// back goes on with what it had. Of two processes with the same name the one that joins last goes on, and the other says why it ends. Mostly the
/// second is the last; where its start cuts the first off in a transaction, that one may join again after it.
#[test]
fn a_static_member_comes_back_to_its_partitions() {
    let setup = Setup::new("static", PARTITIONS);
    let start = |instance: &str| {
        let mut wishes = setup.wishes("static");
        wishes.instance = instance.into();
        wishes.kafka = "static_membership = true\nsession_timeout_ms = 20000\ntransaction_timeout_ms = 2000\n".into();
        Process::run(&setup.config(instance, &wishes))
    };
    let held = |process: &Process| process.metric("surprisal_assigned_partitions");
    let (mut stays, mut goes) = (start("stays"), start("goes"));
    eventually("the two share the partitions", || (held(&stays) == 2.0 && held(&goes) == 2.0).then_some(()));
    let rebalances = stays.metric("surprisal_rebalances_total");
    let mut follower = Follower::open(setup.brokers, "static.scores");
    produce(setup.brokers, &setup.events, &batch(0..PORTION, PARTITIONS));
    follower.until(PORTION as usize / 2);
    goes.kill();
    let back = start("goes");
    eventually("the partitions are back", || (held(&back) == 2.0).then_some(()));
    produce(setup.brokers, &setup.events, &batch(PORTION..2 * PORTION, PARTITIONS));
    follower.until(2 * PORTION as usize);
    assert_eq!(stays.metric("surprisal_rebalances_total"), rebalances, "the other keeps what it has, undisturbed");

    let mut twins = [back, start("goes")];
    let gone = eventually("one of the two gives way", || twins.iter_mut().position(|twin| twin.ended().is_some()));
    assert_eq!(twins[gone].wait(), 1);
    let said = twins[gone].stderr();
    assert!(said.contains("another process has the same") && said.contains("instance"), "{said}");
    produce(setup.brokers, &setup.events, &batch(2 * PORTION..3 * PORTION, PARTITIONS));
    follower.until(3 * PORTION as usize);
    twins[1 - gone].stop();
    stays.stop();
    let scores = scores(setup.brokers, "static.scores", Format::Json);
    let each = 3 * PORTION as i64 / i64::from(PARTITIONS);
    let places: Vec<(i32, i64)> = (0..PARTITIONS).flat_map(|of| (0..each).map(move |offset| (of, offset))).collect();
    assert!(scores.keys().copied().eq(places), "every event has one score");
}
