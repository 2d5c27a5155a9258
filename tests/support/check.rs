//! The guarantee as a check: every event is scored once among committed scores, and a committed snapshot is the fold of exactly
//! the offsets that it names.

use std::collections::BTreeMap;

use surprisal::codec::wire::{self, Assembler, Format};
use surprisal::models::Model;
use surprisal::record::{Offset, Partition};
use surprisal::stream::Outlet;
use surprisal::stream::memory::MemoryLog;

use super::tracer::{Trace, Tracer};

/// What a log holds at the end: committed scores by partition and offset, and each partition's last snapshot.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    pub scores: BTreeMap<(Partition, Offset), Vec<f64>>,
    pub sites: BTreeMap<Partition, (Offset, Trace)>,
}

impl Outcome {
    pub fn of(log: &MemoryLog) -> Self {
        let mut outcome = Self::default();
        for message in log.messages(Outlet::Scores) {
            let scored = wire::decode_score(&message.payload.expect("a score"), Format::Json).expect("a score");
            let scores = outcome.scores.entry((scored.partition, scored.head.offset)).or_default();
            scores.push(scored.score.surprisal);
        }
        let mut assembler = Assembler::default();
        let latest = log.compacted().into_iter().filter(|(key, _)| wire::parse_snapshot_key(key).is_some());
        for (_, chunk) in latest {
            if let Some(whole) = assembler.push(&chunk).expect("a chunk") {
                let snapshot = wire::decode_snapshot(&whole).expect("a snapshot");
                let evidence = Tracer::default().restore(&snapshot.tensors).expect("a trace");
                outcome.sites.insert(snapshot.header.partition, (snapshot.covers_to, evidence));
            }
        }
        outcome
    }

    /// Why the guarantee does not hold for a log of `events` events in each partition, if it doesn't.
    pub fn violation(&self, events: &BTreeMap<Partition, i64>) -> Option<String> {
        for (partition, count) in events {
            for offset in (0..*count).map(Offset) {
                match self.scores.get(&(*partition, offset)).map_or(0, Vec::len) {
                    1 => {}
                    times => return Some(format!("event {offset} of partition {partition} was scored {times} times")),
                }
            }
            let Some((covers_to, trace)) = self.sites.get(partition) else {
                return Some(format!("partition {partition} has no snapshot"));
            };
            if *trace != Trace::of(0..covers_to.0 as u64) {
                return Some(format!("the snapshot of partition {partition} is not the fold of its offsets up to {covers_to}"));
            }
            if covers_to.0 < count - 1 - count / 32 {
                return Some(format!("the snapshot of partition {partition} covers {covers_to} of {count} only"));
            }
        }
        let expected = events.values().sum::<i64>() as usize;
        (self.scores.len() != expected).then(|| format!("{} events were scored, expected {expected}", self.scores.len()))
    }
}
