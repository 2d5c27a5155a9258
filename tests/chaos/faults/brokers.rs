//! What befalls brokers: killed and restarted, away for a minute, and in a cluster those that lead and coordinate.

use std::thread;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::Play;
use crate::process::now_ms;
use crate::process::{LIMIT, eventually};
use crate::stage::{LINEAR, MIXTURE, SOLO, Scene, Stage, idle};
use crate::support::broker::Broker;
use crate::table::Row;

/// The only broker killed and started again at once.
pub fn restart(play: &Play, fault: &str) -> Row {
    away(play, fault, "restart", play.runs(5, 1), Duration::ZERO)
}

/// All brokers, of which there is one, killed and away for a minute.
pub fn outage(play: &Play, fault: &str) -> Row {
    away(play, fault, "outage", 1, Duration::from_secs(60))
}

fn away(play: &Play, fault: &str, name: &str, runs: usize, time: Duration) -> Row {
    let mut dice = play.dice(fault);
    let mut broker = Broker::start();
    let mut stage = Stage::open(fault, Scene { brokers: Some(broker.bootstrap()), ..Scene::of(name, MIXTURE, 1, &[SOLO]) });
    stage.begin("a");
    for _ in 0..runs {
        idle(dice.below(500));
        broker.kill();
        thread::sleep(time);
        broker.revive();
        let since = now_ms();
        stage.ran();
        stage.await_recovery(since, None);
    }
    stage.close()
}

/// Three brokers, of which the one is killed that leads the events' partition, coordinates the group, or the transactions; it comes
/// back, and the next is killed.
pub fn cluster(play: &Play, fault: &str) -> Row {
    let mut dice = play.dice(fault);
    let mut brokers = Broker::cluster();
    let all = brokers.each_ref().map(Broker::bootstrap).join(",");
    let mut stage = Stage::open(fault, Scene { brokers: Some(&all), ..Scene::of("cluster", LINEAR, 3, &[SOLO]) });
    stage.begin("a");
    for run in 0..play.runs(9, 3) {
        // Who coordinates is who leads the partition of the topic in question that the name falls on.
        let (topic, partition) = match run % 3 {
            0 => ("cluster", 0),
            1 => ("__consumer_offsets", place("cluster", 4)),
            _ => ("__transaction_state", place("cluster-a", 4)),
        };
        let leader = leader(&all, topic, partition);
        idle(dice.below(500));
        brokers[leader].kill();
        let since = now_ms();
        stage.ran();
        stage.await_recovery(since, None);
        brokers[leader].revive();
        await_copies(&all, "cluster");
        await_copies(&all, topic);
    }
    stage.close()
}

/// The partition of an internal topic that a name falls on, by Java's hash of a text.
fn place(name: &str, partitions: i32) -> i32 {
    let hash = name.bytes().fold(0_i32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    (hash & i32::MAX) % partitions
}

fn client(brokers: &str) -> BaseConsumer {
    ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap()
}

/// The index of the broker that leads a partition.
fn leader(brokers: &str, topic: &str, partition: i32) -> usize {
    let client = client(brokers);
    let leader = eventually("a leader", || {
        let metadata = client.fetch_metadata(Some(topic), LIMIT).ok()?;
        let found = metadata.topics()[0].partitions().iter().find(|found| found.id() == partition)?.leader();
        (found > 0).then_some(found)
    });
    leader as usize - 1
}

/// Waits until each partition has all of its copies again.
fn await_copies(brokers: &str, topic: &str) {
    let client = client(brokers);
    eventually("all copies are up to date", || {
        let metadata = client.fetch_metadata(Some(topic), LIMIT).ok()?;
        metadata.topics()[0].partitions().iter().all(|found| found.isr().len() == 3).then_some(())
    });
}
