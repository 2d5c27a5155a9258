//! Snapshots in the log of posteriors: who takes a partition over finds the latest that was committed, whole, and who runs beside
//! it hears of each.

use std::time::Instant;

use surprisal::record::{Offset, Partition};
use surprisal::stream::{Incoming, Outlet, Stream, StreamError};

use crate::copier::{Copier, LIMIT, WAIT, fill, settings};
use crate::support::broker::Broker;
use crate::support::topics::{chunks, snapshot};

#[test]
fn restoring_finds_the_latest_committed_snapshot_whole() {
    let brokers = Broker::shared().bootstrap();
    fill(brokers, "restores", 2, 10);
    let mut first = Copier::connect(settings(brokers, "restores", "a"));
    let run = first.run();
    let publish = |copier: &mut Copier, partition: i32, snapshot: &[u8], commit: bool| {
        copier.stream.begin().unwrap();
        for (key, chunk) in chunks(partition, snapshot, 300_000) {
            copier.stream.send(Outlet::Posterior, Partition(partition), Some(key.as_bytes()), Some(&chunk)).unwrap();
        }
        if commit {
            copier.stream.commit(&[]).unwrap();
        } else {
            copier.stream.abort().unwrap();
        }
    };
    publish(&mut first, 0, &snapshot(0, 1, 2_000_000), true);
    publish(&mut first, 0, &snapshot(0, 2, 1_300_000), true); // more than one message may have, in five chunks instead of seven
    publish(&mut first, 1, &snapshot(1, 3, 10), true);
    publish(&mut first, 0, &snapshot(0, 4, 900_000), false);
    first.send(&run);
    first.commit(&run).unwrap();
    let (partition, next) = (run.partition, run.next);
    let other = Partition(1 - partition.0);

    // Another model's snapshots are of no concern.
    first.stream.begin().unwrap();
    first.stream.send(Outlet::Posterior, Partition(0), Some(b"other/0/0"), Some(b"?")).unwrap();
    first.stream.commit(&[]).unwrap();
    drop(first);

    let mut second = Copier::connect(settings(brokers, "restores", "b"));
    let restored = second.stream.restore(&[Partition(0), Partition(1)]).unwrap();
    assert_eq!(restored[0].snapshot.as_deref(), Some(&snapshot(0, 2, 1_300_000)[..]));
    assert_eq!(restored[1].snapshot.as_deref(), Some(&snapshot(1, 3, 10)[..]));
    assert_eq!(restored[partition.0 as usize].committed, Some(next));
    assert_eq!(restored[other.0 as usize].committed, None);
    assert!(restored.iter().all(|known| known.initial == Offset(0) && known.earliest == Offset(0)));
}

#[test]
fn snapshots_of_others_arrive_while_the_loop_runs() {
    let brokers = Broker::shared().bootstrap();
    fill(brokers, "others", 2, 100);
    let mut copiers = [Copier::connect(settings(brokers, "others", "a")), Copier::connect(settings(brokers, "others", "b"))];
    let deadline = Instant::now() + LIMIT;
    // Until each has one partition.
    while copiers.iter().any(|copier| copier.next.len() != 1) {
        assert!(Instant::now() < deadline, "the two don't share");
        for copier in &mut copiers {
            if let Some(incoming) = copier.stream.next(WAIT).unwrap() {
                copier.handle(incoming);
            }
        }
    }
    let [writer, reader] = &mut copiers;
    let partition = *writer.next.keys().next().unwrap();
    writer.stream.begin().unwrap();
    let site = snapshot(partition.0, 1, 10);
    let (key, chunk) = &chunks(partition.0, &site, 100)[0];
    writer.stream.send(Outlet::Posterior, partition, Some(key.as_bytes()), Some(chunk)).unwrap();
    writer.stream.commit(&[]).unwrap();
    loop {
        assert!(Instant::now() < deadline, "no snapshot");
        if let Some(Incoming::Snapshot(found)) = reader.stream.next(WAIT).unwrap() {
            assert_eq!(found, site);
            break;
        }
    }
}

/// A topic that was made anew is shorter than what the group has committed.
#[test]
fn a_committed_offset_beyond_the_end_is_for_a_person() {
    let brokers = Broker::shared().bootstrap();
    fill(brokers, "shorter", 1, 10);
    let mut copier = Copier::connect(settings(brokers, "shorter", "a"));
    let run = copier.run();
    copier.stream.begin().unwrap();
    copier.stream.commit(&[(run.partition, Offset(11))]).unwrap();
    let refused = copier.stream.restore(&[run.partition]);
    let Err(StreamError::Stop(text)) = refused else { panic!("{refused:?}") };
    assert!(text.contains("ends at offset 10, but the group has committed 11"), "{text}");
}
