//! Transactions: what is aborted is never seen and what is committed is seen once, with a control that the count would notice a
//! loss, and the same on the broker inside the client.

use rdkafka::mocking::MockCluster;
use surprisal::stream::Stream;

use crate::copier::{Copier, committed, expect_each_once, fill, produce, settings};
use crate::support::broker::Broker;

#[test]
fn what_is_aborted_is_never_seen_and_what_is_committed_is_seen_once() {
    let brokers = Broker::shared().bootstrap();
    let (topic, events) = ("aborts", 5_000);
    fill(brokers, topic, 2, events);
    let mut copier = Copier::connect(settings(brokers, topic, "a"));
    let (mut done, mut step) = (0, 0);
    while done < events {
        let run = copier.run();
        assert!(run.from >= copier.next[&run.partition], "records don't come twice unless asked for");
        copier.send(&run);
        step += 1;
        if step % 3 == 1 {
            copier.rewind(); // the first of all included
        } else {
            copier.commit(&run).unwrap();
            done += run.len();
        }
    }
    assert_eq!(done, events);
    expect_each_once(&committed(brokers, "aborts.scores", 2), 2, events);
    // Nothing is left to do for who comes after.
    drop(copier);
    let mut second = Copier::connect(settings(brokers, topic, "b"));
    produce(brokers, topic, 2, events..events + 1);
    let run = second.run();
    assert_eq!((run.len(), run.events().cells()[0]), (1, events as f64));
}

/// The negative control: offsets that are committed without their scores are a loss, and the count says so.
#[test]
#[should_panic(expected = "scores and distinct scores")]
fn offsets_without_their_scores_are_caught() {
    let brokers = Broker::shared().bootstrap();
    fill(brokers, "careless", 1, 2_000);
    let mut copier = Copier::connect(settings(brokers, "careless", "a"));
    let (mut done, mut first) = (0, true);
    while done < 2_000 {
        let run = copier.run();
        copier.send(&run);
        if std::mem::take(&mut first) {
            copier.stream.abort().unwrap(); // and goes on as if nothing had happened
        } else {
            copier.commit(&run).unwrap();
        }
        done += run.len();
    }
    expect_each_once(&committed(brokers, "careless.scores", 1), 1, 2_000);
}

#[test]
fn the_same_code_runs_on_the_broker_inside_the_client() {
    let cluster = MockCluster::new(1).unwrap();
    let brokers = cluster.bootstrap_servers();
    for topic in ["demo", "demo.scores", "demo.posterior", "demo.dead"] {
        cluster.create_topic(topic, 1, 1).unwrap();
    }
    produce(&brokers, "demo", 1, 0..3_000);
    let mut copier = Copier::connect(settings(&brokers, "demo", "a"));
    let mut done = 0;
    while done < 3_000 {
        let run = copier.run();
        copier.send(&run);
        copier.commit(&run).unwrap();
        done += run.len();
    }
    expect_each_once(&committed(&brokers, "demo.scores", 1), 1, 3_000);
}
