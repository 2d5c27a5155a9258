//! The loop and its amendments on a log in memory.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use surprisal::codec::Decode;
use surprisal::codec::json::{JsonDecoder, Limits};
use surprisal::codec::wire::{self, Assembler, Format, Snapshot};
use surprisal::engine::Learning;
use surprisal::features::Schema;
use surprisal::models::Model;
use surprisal::pipeline::amend::{AmendError, Amended, Amender, Amendment};
use surprisal::pipeline::{Archive, Clock, Pipeline, Settings};
use surprisal::record::{Offset, Partition};
use surprisal::stream::memory::{Fault, MemoryLog, MemoryStream};
use surprisal::stream::{Outlet, Stream};
use surprisal::telemetry::Health;

/// The partition of most worlds.
pub const P0: Partition = Partition(0);

/// A record that is none, in the place of an event that never came.
pub const NO_EVENT: &str = "spoilt";

/// A clock that ticks when it is looked at, and tells the loop to stop once everything is consumed.
struct Ticking {
    log: MemoryLog,
    stop: Arc<AtomicBool>,
    ticks: Cell<u64>,
}

impl Clock for Ticking {
    fn monotonic(&self) -> Duration {
        if self.log.is_consumed() {
            self.stop.store(true, Ordering::Relaxed);
        }
        self.ticks.set(self.ticks.get() + 1);
        Duration::from_millis(self.ticks.get())
    }

    fn unix_ms(&self) -> i64 {
        self.ticks.get() as i64
    }

    fn pause(&self, _: Duration) {}
}

/// A model over a log in memory.
pub struct World<M: Model> {
    pub log: MemoryLog,
    pub model: M,
    pub schema: Schema,
    pub learning: Learning,
    pub archive: Archive,
    ticks: Cell<u64>,
}

impl<M: Model> World<M> {
    pub fn new(model: M, schema: Schema, learning: Learning) -> Self {
        let archive = Archive { snapshots: 8, interval: Duration::from_millis(60) };
        Self { log: MemoryLog::default(), model, schema, learning, archive, ticks: Cell::new(0) }
    }

    fn settings(&self) -> Settings {
        Settings {
            model_id: "model".into(),
            topic: "events".into(),
            skip_deleted: false,
            commit_interval: Duration::from_millis(20),
            commit_max_events: 30,
            snapshot_interval: Duration::from_millis(30),
            archive: self.archive,
            scores_format: Format::Protobuf,
        }
    }

    fn stream(&self, faults: Vec<Fault>) -> MemoryStream {
        let decoder: Arc<dyn Decode> = Arc::new(JsonDecoder::new(&self.schema, Limits::default()));
        MemoryStream::open(&self.log, decoder, self.schema.width(), 7, faults)
    }

    fn clock(&self, stop: &Arc<AtomicBool>) -> Ticking {
        Ticking { log: self.log.clone(), stop: Arc::clone(stop), ticks: Cell::new(self.ticks.get()) }
    }

    /// Runs the loop until all is consumed. With nothing new in the log it ends before it has learnt anything again.
    pub fn run(&self) {
        let stop = Arc::new(AtomicBool::new(false));
        let (model, schema) = (self.model.clone(), self.schema.clone());
        let (settings, stream, clock) = (self.settings(), self.stream(Vec::new()), self.clock(&stop));
        let pipeline = Pipeline::new(model, schema, self.learning, settings, stream, clock, Health::default());
        pipeline.expect("a loop").run(&stop, &mut |_| {}).expect("nothing goes wrong");
        // Time goes on between runs.
        self.ticks.set(self.ticks.get() + 100_000);
    }

    /// Makes a change, on a stream with `faults`.
    pub fn amend(&self, amendment: &Amendment, faults: Vec<Fault>) -> Result<Vec<Amended>, AmendError> {
        self.amend_as(amendment, faults, false, self.snapshots().len())
    }

    pub fn amend_as(
        &self,
        amendment: &Amendment,
        faults: Vec<Fault>,
        dry: bool,
        partitions: usize,
    ) -> Result<Vec<Amended>, AmendError> {
        let mut stream = self.stream(faults);
        let amender = Amender {
            model: &self.model,
            schema: &self.schema,
            setup: self.learning.into(),
            settings: &self.settings(),
            stream: &mut stream,
            clock: &self.clock(&Arc::default()),
            partitions,
        };
        let amended = amender.amend(amendment, dry);
        stream.close();
        amended
    }

    /// The latest snapshot of each partition.
    pub fn snapshots(&self) -> BTreeMap<Partition, Snapshot> {
        let mut assembler = Assembler::default();
        let mut snapshots = BTreeMap::new();
        for (key, chunk) in self.log.compacted() {
            if wire::parse_snapshot_key(&key).is_none() {
                continue;
            }
            if let Some(whole) = assembler.push(&chunk).expect("a chunk") {
                let snapshot = wire::decode_snapshot(&whole).expect("a snapshot");
                snapshots.insert(snapshot.header.partition, snapshot);
            }
        }
        assembler.finish().expect("snapshots are whole");
        snapshots
    }

    /// What the archive holds of a partition, by the keys that are there.
    pub fn archived(&self, partition: Partition) -> Vec<Offset> {
        let keys = self.log.compacted().into_keys();
        let places = keys.filter_map(|key| wire::parse_archive_key(&key).map(|(_, of, covers_to, _)| (of, covers_to)));
        let mut offsets: Vec<Offset> = places.filter(|(of, _)| *of == partition).map(|(_, covers_to)| covers_to).collect();
        offsets.sort_unstable();
        offsets.dedup();
        offsets
    }

    /// The committed surprisals by partition and offset; each event has one.
    pub fn surprisals(&self) -> BTreeMap<(Partition, Offset), u64> {
        let mut surprisals = BTreeMap::new();
        for message in self.log.messages(Outlet::Scores) {
            let scored = wire::decode_score(&message.payload.expect("a score"), Format::Protobuf).expect("a score");
            let before = surprisals.insert((scored.partition, scored.head.offset), scored.score.surprisal.to_bits());
            assert_eq!(before, None, "{:?} is scored once", scored.head.offset);
        }
        surprisals
    }
}
