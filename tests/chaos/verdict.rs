//! The verdict: what is committed in the end against what came, and against a run that nothing has disturbed.

use std::collections::BTreeMap;
use std::path::Path;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use surprisal::calibration::Calibrator;
use surprisal::codec::wire::{self, Format, Snapshot};

use crate::feed::SPOILT;
use crate::log::{Message, committed, dead_letters, difference, snapshots};
use crate::process::{LIMIT, Process, eventually};
use crate::table::Row;
use crate::watch::Seen;

/// Where records are, in order: partition and offset.
type Places = Vec<(i32, i64)>;

/// What came.
pub struct Input {
    pub events: Places,
    /// Records that are none.
    others: Places,
}

impl Input {
    /// Read from the topic itself, since a record may be there twice. Messages carry no offset: it is counted, as this topic has
    /// no transactions and so no gaps.
    pub fn read(brokers: &str, topic: &str, records: u64) -> Self {
        let (mut input, mut next) = (Self { events: Vec::new(), others: Vec::new() }, BTreeMap::new());
        for message in committed(brokers, topic) {
            let offset: &mut i64 = next.entry(message.partition).or_default();
            let of = if message.payload.as_deref() == Some(SPOILT) { &mut input.others } else { &mut input.events };
            of.push((message.partition, *offset));
            *offset += 1;
        }
        assert_eq!((input.events.len() + input.others.len()) as u64, records, "the whole topic is read");
        input.events.sort_unstable();
        input.others.sort_unstable();
        input
    }
}

/// A fault that has been played. The events' topic, its group and the topics of results have the same name.
pub struct Case<'a> {
    pub brokers: &'a str,
    pub name: &'a str,
    pub partitions: i32,
    pub input: &'a Input,
}

impl Case<'_> {
    fn topic(&self, of: &str) -> String {
        format!("{}.{of}", self.name)
    }

    fn scores(&self) -> Vec<Message> {
        committed(self.brokers, &self.topic("scores"))
    }

    /// Counts events without a score and with more than one, the other records' dead letters alike, and holds what the reader saw
    /// and what the group has committed against what there is.
    pub fn count(&self, seen: &Seen, row: &mut Row) {
        row.events = self.input.events.len();
        let decode = |message: Message| {
            let scored = wire::decode_score(&message.payload.expect("a score"), Format::Json).expect("a score");
            (scored.partition.0, scored.head.offset.0)
        };
        let scores: Vec<_> = self.scores().into_iter().map(decode).collect();
        for (partition, sights) in &seen.scores {
            let stand = scores.iter().filter(|(of, _)| of == partition).map(|(_, offset)| *offset);
            if !stand.eq(sights.iter().map(|sight| sight.offset)) {
                row.complaints.push(format!("partition {partition}: what the reader saw no longer stands"));
            }
        }
        let letters = dead_letters(self.brokers, &self.topic("dead"));
        let letters: Vec<_> = letters.iter().map(|letter| (letter.partition.0, letter.dead.head.offset.0)).collect();
        for (mut found, expected) in [(scores, &self.input.events), (letters, &self.input.others)] {
            found.sort_unstable();
            let all = found.len();
            found.dedup();
            row.doubled += all - found.len();
            row.lost += expected.iter().filter(|place| found.binary_search(place).is_err()).count();
            let strange = found.iter().find(|place| expected.binary_search(place).is_err());
            row.complaints
                .extend(strange.map(|place| format!("something is said about {place:?}, of which there is nothing to say")));
        }
        for partition in 0..self.partitions {
            let all = self.input.events.iter().chain(&self.input.others);
            let end = all.filter(|(of, _)| *of == partition).count() as i64;
            let found = self.committed_offset(partition);
            if found != end {
                row.complaints.push(format!("partition {partition}: the group has committed {found} of {end}"));
            }
        }
    }

    fn committed_offset(&self, partition: i32) -> i64 {
        let client: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", self.brokers).set("group.id", self.name).create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition(self.name, partition);
        let list = client.committed_offsets(list, LIMIT).unwrap();
        match list.elements()[0].offset() {
            Offset::Offset(offset) => offset,
            _ => 0,
        }
    }

    /// Has the same events scored and learnt once more, by a group `calm` with nothing to disturb it, and compares, bit by bit.
    /// Where `is_one` is false, scores may differ, and what snapshots keep of surprisals.
    pub fn compare(&self, config: &Path, calm: &str, is_one: bool, row: &mut Row) {
        let mut undisturbed = Process::run(config);
        undisturbed.await_ready();
        let events = self.input.events.len() as f64;
        eventually("the undisturbed run is through", || (undisturbed.metric("surprisal_events_total") >= events).then_some(()));
        undisturbed.stop();
        let calm = Case { name: calm, ..*self };
        let [expected, found] = [&calm, self].map(|case| snapshots(case.brokers, &case.topic("posterior")));
        let kept = |snapshot: &Snapshot| match is_one {
            true => snapshot.clone(),
            false => {
                let mut kept = Snapshot { calibrator: Calibrator::default(), ..snapshot.clone() };
                kept.trail.retain(|tensor| !["alarm.", "regimes."].iter().any(|of| tensor.name.starts_with(of)));
                kept
            }
        };
        let mut differs = (!expected.keys().eq(found.keys())).then(|| "which partitions have snapshots".to_owned());
        for (left, right) in expected.values().zip(found.values()) {
            differs = differs.or_else(|| difference(&kept(left), &kept(right)));
        }
        if is_one {
            let [expected, found] = [calm.scores(), self.scores()];
            let same = expected.iter().map(|message| &message.payload).eq(found.iter().map(|message| &message.payload));
            differs = differs.or_else(|| (!same).then(|| "scores".into()));
        }
        row.equal = if differs.is_none() { "equal" } else { "DIFFERS" };
        row.complaints.extend(differs.map(|what| format!("unlike in an undisturbed run: {what}")));
    }
}
