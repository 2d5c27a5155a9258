//! The loop on the in-memory log: whatever operation is the last one, every event is scored once and learnt once.

mod support;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::check::Outcome;
use support::tracer::Tracer;
use surprisal::codec::Decode;
use surprisal::codec::json::{JsonDecoder, Limits};
use surprisal::codec::wire::Format;
use surprisal::engine::Learning;
use surprisal::pipeline::{Archive, Clock, Pipeline, PipelineError, Settings};
use surprisal::record::{Offset, Partition};
use surprisal::stream::memory::{Fault, MemoryLog, MemoryStream};
use surprisal::stream::{Incoming, Outlet, Restored, Stream, StreamError};
use surprisal::telemetry::Health;

const EVENTS: i64 = 130;

/// A clock that ticks when it is looked at, and tells the loop to stop once everything is consumed.
struct TickingClock<'a> {
    log: &'a MemoryLog,
    stop: &'a AtomicBool,
    ticks: Cell<u64>,
    /// What the machine's clock shows after so many ticks.
    wall: fn(u64) -> i64,
}

impl Clock for TickingClock<'_> {
    fn monotonic(&self) -> Duration {
        if self.log.is_consumed() {
            self.stop.store(true, Ordering::Relaxed);
        }
        self.ticks.set(self.ticks.get() + 1);
        Duration::from_millis(self.ticks.get())
    }

    fn unix_ms(&self) -> i64 {
        (self.wall)(self.ticks.get())
    }

    fn pause(&self, time: Duration) {
        self.ticks.set(self.ticks.get() + time.as_millis() as u64);
    }
}

fn log(partitions: i32) -> MemoryLog {
    let log = MemoryLog::default();
    for sequence in 0..EVENTS {
        for partition in 0..partitions {
            log.append(Partition(partition), format!(r#"{{"sequence": {sequence}}}"#));
        }
    }
    log
}

fn events(partitions: i32) -> BTreeMap<Partition, i64> {
    (0..partitions).map(|partition| (Partition(partition), EVENTS)).collect()
}

fn open(log: &MemoryLog, faults: Vec<Fault>) -> MemoryStream {
    let decoder: Arc<dyn Decode> = Arc::new(JsonDecoder::new(&Tracer::schema(), Limits::default()));
    MemoryStream::open(log, decoder, 1, 7, faults)
}

/// Runs the loop on `stream` until everything is consumed or it dies.
fn run(log: &MemoryLog, stream: impl Stream) -> Result<(), PipelineError> {
    run_by(log, stream, |ticks| ticks as i64)
}

/// The same by a clock that shows `wall`.
fn run_by(log: &MemoryLog, stream: impl Stream, wall: fn(u64) -> i64) -> Result<(), PipelineError> {
    let stop = AtomicBool::new(false);
    let settings = Settings {
        model_id: "trace".into(),
        topic: "events".into(),
        skip_deleted: false,
        commit_interval: Duration::from_millis(20),
        commit_max_events: 30,
        snapshot_interval: Duration::from_millis(50),
        archive: Archive { snapshots: 2, interval: Duration::from_millis(100) },
        scores_format: Format::Json,
    };
    let clock = TickingClock { log, stop: &stop, ticks: Cell::new(0), wall };
    let pipeline =
        Pipeline::new(Tracer::default(), Tracer::schema(), Learning::default(), settings, stream, clock, Health::default())?;
    pipeline.run(&stop, &mut |_| {}).map(drop)
}

/// Runs with `faults` and then, if the process died, once more without.
fn outcome<S: Stream>(partitions: i32, faults: Vec<Fault>, wrap: impl Fn(MemoryStream) -> S) -> Outcome {
    let log = log(partitions);
    match run(&log, wrap(open(&log, faults))) {
        Ok(()) => {}
        Err(PipelineError::Stream(StreamError::Stop(_))) => run(&log, wrap(open(&log, Vec::new()))).expect("nothing goes wrong"),
        Err(error) => panic!("unexpected: {error}"),
    }
    Outcome::of(&log)
}

/// Operations of a run in which nothing goes wrong.
fn operations() -> usize {
    let log = log(1);
    run(&log, open(&log, Vec::new())).expect("nothing goes wrong");
    log.operations()
}

#[test]
fn the_last_operation_can_be_any() {
    let calm = outcome(1, Vec::new(), |stream| stream);
    assert_eq!(calm.violation(&events(1)), None);
    for at in 0..operations() {
        for fault in [Fault::CrashBefore(at), Fault::CrashAfter(at), Fault::Abort(at), Fault::Restore(at)] {
            let shaken = outcome(1, vec![fault], |stream| stream);
            assert_eq!(shaken.violation(&events(1)), None, "after {fault:?}");
            assert_eq!(shaken.scores, calm.scores, "after {fault:?}");
        }
    }
}

/// The machine's clock is for people: set back or wrong, it changes nothing that is scored or learnt.
#[test]
fn a_clock_that_runs_backwards_changes_nothing() {
    let calm = outcome(1, Vec::new(), |stream| stream);
    let walls: [fn(u64) -> i64; 4] = [
        |ticks| 1_700_000_000_000 - 1000 * ticks as i64,
        |_| i64::MIN,
        |_| i64::MAX,
        |ticks| if ticks % 2 == 0 { i64::MAX } else { i64::MIN },
    ];
    for wall in walls {
        let log = log(1);
        run_by(&log, open(&log, Vec::new()), wall).expect("nothing goes wrong");
        let found = Outcome::of(&log);
        assert_eq!(found.violation(&events(1)), None);
        assert_eq!(found.scores, calm.scores);
    }
}

#[test]
fn faults_in_a_row_and_several_partitions() {
    for at in 0..60 {
        let faults = vec![Fault::Abort(at), Fault::Restore(at + 7), Fault::Abort(at + 31), Fault::CrashAfter(2 * at + 40)];
        let shaken = outcome(3, faults.clone(), |stream| stream);
        assert_eq!(shaken.violation(&events(3)), None, "after {faults:?}");
    }
}

/// A stream that is not quite the log in memory.
struct Altered {
    stream: MemoryStream,
    how: Alteration,
}

#[derive(Clone, Copy, PartialEq)]
enum Alteration {
    /// It commits its offsets outside the transaction, as many do.
    Careless,
    /// Partitions begin at the log's end as of now, unless a snapshot says more. The first start finds an empty log.
    Latest,
}

impl Stream for Altered {
    fn next(&mut self, wait: Duration) -> Result<Option<Incoming>, StreamError> {
        self.stream.next(wait)
    }

    fn restore(&mut self, partitions: &[Partition]) -> Result<Vec<Restored>, StreamError> {
        let mut restored = self.stream.restore(partitions)?;
        for known in restored.iter_mut().filter(|known| self.how == Alteration::Latest && known.committed.is_some()) {
            known.initial = Offset(EVENTS);
        }
        Ok(restored)
    }

    fn resume(&mut self, from: &[(Partition, Offset)]) -> Result<(), StreamError> {
        self.stream.resume(from)
    }

    fn released(&mut self, partitions: &[Partition]) {
        self.stream.released(partitions);
    }

    fn begin(&mut self) -> Result<(), StreamError> {
        self.stream.begin()
    }

    fn send(
        &mut self,
        outlet: Outlet,
        partition: Partition,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
    ) -> Result<(), StreamError> {
        self.stream.send(outlet, partition, key, payload)
    }

    fn commit(&mut self, consumed: &[(Partition, Offset)]) -> Result<(), StreamError> {
        if self.how != Alteration::Careless {
            return self.stream.commit(consumed);
        }
        self.stream.commit(&[])?;
        self.stream.begin()?;
        self.stream.commit(consumed)
    }

    fn abort(&mut self) -> Result<(), StreamError> {
        self.stream.abort()
    }

    fn restart(&mut self) -> Result<(), StreamError> {
        self.stream.restart()
    }

    fn lag(&self) -> Option<u64> {
        self.stream.lag()
    }

    fn close(&mut self) {
        self.stream.close();
    }
}

#[test]
fn the_check_catches_offsets_committed_outside_the_transaction() {
    let careless = |stream| Altered { stream, how: Alteration::Careless };
    let calm = outcome(1, Vec::new(), careless);
    assert_eq!(calm.violation(&events(1)), None, "without a fault even a careless loop is right");
    let caught = (0..operations()).filter(|at| {
        let log = log(1);
        let first = run(&log, careless(open(&log, vec![Fault::CrashAfter(*at)])));
        let second = first.or_else(|_| run(&log, careless(open(&log, Vec::new()))));
        second.is_err() || Outcome::of(&log).violation(&events(1)).is_some()
    });
    assert!(caught.count() > 3, "a crash between the two commits scores events twice");
}

/// Before a partition's first snapshot nothing says where its evidence begins, so the first commit brings one.
#[test]
fn a_group_that_begins_at_the_end_of_the_log_learns_every_event_that_it_has_scored() {
    for at in 0..200 {
        let shaken = outcome(8, vec![Fault::CrashAfter(at)], |stream| Altered { stream, how: Alteration::Latest });
        assert_eq!(shaken.violation(&events(8)), None, "after the death at operation {at}");
    }
}
