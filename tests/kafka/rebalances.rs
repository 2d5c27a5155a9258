//! Partitions move between instances, by either protocol and all at once or one by one: nothing is lost or doubled, and who no
//! longer holds a partition may not commit it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use surprisal::record::Offset;
use surprisal::stream::{Stream, StreamError};

use crate::copier::{Copier, LIMIT, WAIT, committed, expect_each_once, fill, produce, settings};
use crate::support::broker::Broker;

#[test]
fn partitions_move_between_instances_and_nothing_is_lost_or_doubled() {
    move_partitions("moves", &[]);
}

#[test]
fn partitions_move_one_by_one_as_well() {
    move_partitions("moves-cooperatively", &[("partition.assignment.strategy", "cooperative-sticky")]);
}

#[test]
fn partitions_move_by_the_newer_group_protocol_as_well() {
    move_partitions("moves-newly", &[("group.protocol", "consumer")]);
}

fn move_partitions(topic: &'static str, properties: &[(&str, &str)]) {
    let brokers = Broker::shared().bootstrap();
    let partitions = 4;
    fill(brokers, topic, partitions, 20_000);
    /// What a thread has committed, whether it holds partitions, and whether it is to leave.
    #[derive(Default)]
    struct Progress {
        done: AtomicUsize,
        holds: AtomicUsize,
        leave: AtomicBool,
    }
    let work = |name: &'static str, progress: Arc<Progress>| {
        let mut settings = settings(brokers, topic, name);
        settings.max_buffered_records = 512;
        settings.properties = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        thread::spawn(move || {
            let mut copier = Copier::connect(settings);
            let deadline = Instant::now() + LIMIT;
            while !progress.leave.load(Ordering::SeqCst) {
                assert!(Instant::now() < deadline, "{name} hangs");
                let run = copier.stream.next(WAIT).unwrap().and_then(|incoming| copier.handle(incoming));
                progress.holds.store(copier.next.len(), Ordering::SeqCst);
                let Some(run) = run else { continue };
                copier.send(&run);
                match copier.commit(&run) {
                    Ok(()) => drop(progress.done.fetch_add(run.len(), Ordering::SeqCst)),
                    Err(StreamError::Abort(_)) => copier.rewind(),
                    Err(error) => panic!("{name}: {error}"),
                }
            }
            copier.stream.close();
        })
    };
    let (first, second) = (Arc::new(Progress::default()), Arc::new(Progress::default()));
    let done = || first.done.load(Ordering::SeqCst) + second.done.load(Ordering::SeqCst);
    let await_that = |what: &str, condition: &dyn Fn() -> bool| {
        let deadline = Instant::now() + LIMIT;
        while !condition() {
            assert!(Instant::now() < deadline, "{what}: {} done", done());
            thread::sleep(Duration::from_millis(1));
        }
    };
    // One works alone; another joins in the middle of it; both have something to do; the first leaves in the middle of that.
    let first_thread = work("first", Arc::clone(&first));
    await_that("the first works", &|| done() >= 1_000);
    let second_thread = work("second", Arc::clone(&second));
    await_that("they share", &|| first.holds.load(Ordering::SeqCst) == 2 && second.holds.load(Ordering::SeqCst) == 2);
    produce(brokers, topic, partitions, 20_000..40_000);
    await_that("the second works", &|| second.done.load(Ordering::SeqCst) >= 1_000);
    first.leave.store(true, Ordering::SeqCst);
    first_thread.join().unwrap();
    await_that("the second has it all", &|| second.holds.load(Ordering::SeqCst) == 4);
    produce(brokers, topic, partitions, 40_000..50_000);
    await_that("all is done", &|| done() >= 50_000);
    second.leave.store(true, Ordering::SeqCst);
    second_thread.join().unwrap();
    expect_each_once(&committed(brokers, &format!("{topic}.scores"), partitions), partitions, 50_000);
    assert_eq!(done(), 50_000);
}

#[test]
fn a_loop_that_hangs_loses_its_partitions_and_may_not_commit_them() {
    let brokers = Broker::shared().bootstrap();
    fill(brokers, "hangs", 2, 100);
    let slow = || {
        let mut settings = settings(brokers, "hangs", "slow");
        settings.session_timeout = Duration::from_millis(1500);
        settings
    };
    let mut slow = Copier::connect(slow());
    let run = slow.run();
    slow.send(&run);
    // It holds still in the middle of a transaction while another joins, which gets its share when patience is over.
    let mut quick = Copier::connect(settings(brokers, "hangs", "quick"));
    let other = quick.run();
    assert_eq!(other.from, Offset(0));
    assert!(matches!(slow.commit(&run), Err(StreamError::Abort(_))), "a generation that is over may not commit");
    slow.rewind();
    quick.send(&other);
    quick.commit(&other).unwrap();
    // Now they share: each has one partition and what nobody has committed comes to whom it belongs.
    let run = slow.run();
    assert_ne!(run.partition, other.partition);
    slow.send(&run);
    slow.commit(&run).unwrap();
    expect_each_once(&committed(brokers, "hangs.scores", 2), 2, 100);
}
