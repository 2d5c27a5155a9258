//! The guarantee as a check: every event is scored once among committed scores, and a committed snapshot is the fold of exactly
//! the offsets that it names.

use std::collections::BTreeMap;

use surprisal::codec::wire::{self, Assembler, Format};
use surprisal::models::Model;
use surprisal::record::{Offset, Partition};
use surprisal::stream::Outlet;
use surprisal::stream::memory::MemoryLog;

use super::tracer::{Trace, Tracer};

/// What a log holds at the end: committed scores by partition and offset, each partition's last snapshot, and the group's offsets.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    pub scores: BTreeMap<(Partition, Offset), Vec<f64>>,
    pub sites: BTreeMap<Partition, (Offset, Trace)>,
    pub consumed: BTreeMap<Partition, Option<Offset>>,
    /// Where a reader of what is committed would have seen something go back.
    pub backwards: Option<String>,
}

impl Outcome {
    pub fn of(log: &MemoryLog) -> Self {
        let (mut outcome, mut last) = (Self::default(), BTreeMap::new());
        for message in log.messages(Outlet::Scores) {
            let scored = wire::decode_score(&message.payload.expect("a score"), Format::Json).expect("a score");
            let (partition, offset) = (scored.partition, scored.head.offset);
            outcome.scores.entry((partition, offset)).or_default().push(scored.score.surprisal);
            outcome.consumed.insert(partition, log.consumed(partition));
            outcome.advance(&mut last, "score", partition, offset);
        }
        let mut assembler = Assembler::default();
        last.clear();
        for chunk in log.messages(Outlet::Posterior).into_iter().filter_map(|message| message.payload) {
            if let Some(whole) = assembler.push(&chunk).expect("a chunk") {
                let snapshot = wire::decode_snapshot(&whole).expect("a snapshot");
                outcome.advance(&mut last, "snapshot", snapshot.header.partition, snapshot.covers_to);
            }
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

    fn advance(&mut self, last: &mut BTreeMap<Partition, Offset>, what: &str, partition: Partition, to: Offset) {
        if let Some(before) = last.insert(partition, to).filter(|before| *before > to) {
            self.backwards = Some(format!("a {what} of partition {partition} at {to} follows one at {before}"));
        }
    }

    /// Why the guarantee does not hold for a log of `events` events in each partition, if it doesn't.
    pub fn violation(&self, events: &BTreeMap<Partition, i64>) -> Option<String> {
        if self.backwards.is_some() {
            return self.backwards.clone();
        }
        for (partition, count) in events {
            if self.consumed.get(partition) != Some(&Some(Offset(*count))) {
                return Some(format!(
                    "the group's offset of partition {partition} is {:?}, not {count}",
                    self.consumed.get(partition)
                ));
            }
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
