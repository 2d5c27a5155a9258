//! The loop on the in-memory log: whatever operation is the last one, every event is scored once and learnt once.

mod support;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use support::check::Outcome;
use support::tracer::Tracer;
use surprisal::codec::Decode;
use surprisal::codec::json::{JsonDecoder, Limits};
use surprisal::codec::wire::{self, Format};
use surprisal::engine::{EngineError, Learning};
use surprisal::pipeline::{Archive, Clock, Pipeline, PipelineError, Settings};
use surprisal::record::{Offset, Partition};
use surprisal::stream::memory::{Fault, MemoryLog, MemoryStream};
use surprisal::stream::{Incoming, Outlet, Restored, Stream, StreamError};
use surprisal::telemetry::Health;

const EVENTS: i64 = 130;

/// A clock that ticks when it is looked at, and tells the loop to stop after so many ticks.
struct TickingClock<'a> {
    stop: &'a AtomicBool,
    ticks: Cell<u64>,
    /// What the machine's clock shows after so many ticks.
    wall: fn(u64) -> i64,
    last: u64,
}

impl Clock for TickingClock<'_> {
    fn monotonic(&self) -> Duration {
        if self.ticks.get() >= self.last {
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

fn decoder() -> Arc<dyn Decode> {
    Arc::new(JsonDecoder::new(&Tracer::schema(), Limits::default()))
}

fn open(log: &MemoryLog, faults: Vec<Fault>) -> MemoryStream {
    MemoryStream::open(log, decoder(), 1, 7, faults)
}

/// Runs the loop on `stream` until there is nothing left to read, or for so many ticks, or until it dies.
fn run_for(ticks: u64, stream: MemoryStream, how: Alteration) -> Result<(), PipelineError> {
    run_by(ticks, |ticks| ticks as i64, stream, how)
}

/// The same by a machine's clock that shows `wall`.
fn run_by(ticks: u64, wall: fn(u64) -> i64, stream: MemoryStream, how: Alteration) -> Result<(), PipelineError> {
    let stop = &Arc::new(AtomicBool::new(false));
    let stream = Altered { stream, how, stop: Arc::clone(stop) };
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
    let clock = TickingClock { stop, ticks: Cell::new(0), wall, last: ticks };
    let pipeline =
        Pipeline::new(Tracer::default(), Tracer::schema(), Learning::default(), settings, stream, clock, Health::default())?;
    pipeline.run(stop, &mut |_| {}).map(drop)
}

fn run(stream: MemoryStream, how: Alteration) -> Result<(), PipelineError> {
    run_for(u64::MAX, stream, how)
}

/// Whether the process lived or died, also of records that came twice or in another order, which it refuses. Nothing else is
/// expected.
fn died(run: Result<(), PipelineError>) -> Result<bool, PipelineError> {
    match run {
        Ok(()) => Ok(false),
        Err(PipelineError::Stream(StreamError::Stop(_)) | PipelineError::Engine(EngineError::OutOfOrder { .. })) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Runs with `faults` and then once more without.
fn outcome(partitions: i32, faults: Vec<Fault>, how: Alteration) -> Outcome {
    let log = log(partitions);
    died(run(open(&log, faults), how)).expect("nothing but death");
    run(open(&log, Vec::new()), how).expect("nothing goes wrong");
    Outcome::of(&log)
}

/// Operations of a run in which nothing goes wrong.
fn operations() -> usize {
    let log = log(1);
    run(open(&log, Vec::new()), Alteration::None).expect("nothing goes wrong");
    log.operations()
}

#[test]
fn the_last_operation_can_be_any() {
    let calm = outcome(1, Vec::new(), Alteration::None);
    assert_eq!(calm.violation(&events(1)), None);
    for at in 0..operations() {
        for fault in [Fault::CrashBefore(at), Fault::CrashAfter(at), Fault::Abort(at), Fault::Restore(at)] {
            let shaken = outcome(1, vec![fault], Alteration::None);
            assert_eq!(shaken.violation(&events(1)), None, "after {fault:?}");
            assert_eq!(shaken.scores, calm.scores, "after {fault:?}");
        }
    }
}

/// The machine's clock is for people: set back or wrong, it changes nothing that is scored or learnt.
#[test]
fn a_clock_that_runs_backwards_changes_nothing() {
    let calm = outcome(1, Vec::new(), Alteration::None);
    let walls: [fn(u64) -> i64; 4] = [
        |ticks| 1_700_000_000_000 - 1000 * ticks as i64,
        |_| i64::MIN,
        |_| i64::MAX,
        |ticks| if ticks % 2 == 0 { i64::MAX } else { i64::MIN },
    ];
    for wall in walls {
        let log = log(1);
        run_by(u64::MAX, wall, open(&log, Vec::new()), Alteration::None).expect("nothing goes wrong");
        let found = Outcome::of(&log);
        assert_eq!(found.violation(&events(1)), None);
        assert_eq!(found.scores, calm.scores);
    }
}

/// What was archived by a clock far ahead is followed by another once the clock is right.
#[test]
fn a_clock_that_was_ahead_does_not_end_the_archive() {
    let archived = |wall: fn(u64) -> i64| {
        let log = log(1);
        run_by(u64::MAX, wall, open(&log, Vec::new()), Alteration::None).expect("nothing goes wrong");
        let keys = log.messages(Outlet::Posterior).into_iter().filter_map(|message| message.key);
        keys.filter_map(|key| wire::parse_archive_key(&key).map(|(_, _, covers_to, _)| covers_to)).collect::<BTreeSet<_>>().len()
    };
    // The run is too short for a second one, but for that.
    assert_eq!(archived(|ticks| ticks as i64), 1);
    assert_eq!(archived(|ticks| if ticks < 60 { 1_700_000_000_000 } else { ticks as i64 }), 2);
}

#[test]
fn faults_in_a_row_and_several_partitions() {
    for at in 0..60 {
        let faults = vec![Fault::Abort(at), Fault::Restore(at + 7), Fault::Abort(at + 31), Fault::CrashAfter(2 * at + 40)];
        let shaken = outcome(3, faults.clone(), Alteration::None);
        assert_eq!(shaken.violation(&events(3)), None, "after {faults:?}");
    }
}

/// Records that don't come in order are refused, and the next start reads them as they are.
#[test]
fn records_in_another_order_are_refused_and_none_is_lost() {
    let calm = outcome(1, Vec::new(), Alteration::None);
    let mut refused = 0;
    for at in 0..operations() {
        for fault in [Fault::Repeat(at), Fault::Reverse(at)] {
            let log = log(1);
            let ended = run(open(&log, vec![fault]), Alteration::None);
            refused += usize::from(matches!(ended, Err(PipelineError::Engine(EngineError::OutOfOrder { .. }))));
            died(ended).expect("nothing but death");
            run(open(&log, Vec::new()), Alteration::None).expect("nothing goes wrong");
            let shaken = Outcome::of(&log);
            assert_eq!(shaken.violation(&events(1)), None, "after {fault:?}");
            assert_eq!(shaken.scores, calm.scores, "after {fault:?}");
        }
    }
    assert!(refused > operations(), "{refused} of {} were refused", 2 * operations());
}

/// A group that begins at the log's end begins there once, though the commit of it was refused: as where one of several
/// partitions is taken meanwhile.
#[test]
fn where_partitions_begin_is_committed_in_the_end() {
    let partitions = [Partition(0), Partition(1), Partition(2)];
    for at in 0..8 {
        let log = MemoryLog::default();
        let stream = MemoryStream::open_for(&log, &partitions, decoder(), 1, 7, vec![Fault::Abort(at)]);
        run(stream, Alteration::None).expect("nothing but an abort");
        for partition in partitions {
            assert_eq!(log.consumed(partition), Some(Offset(0)), "partition {partition} after an abort of operation {at}");
        }
    }
}

/// A stream that is not quite the log in memory.
struct Altered {
    stream: MemoryStream,
    how: Alteration,
    /// Set when there is nothing left to read.
    stop: Arc<AtomicBool>,
}

#[derive(Clone, Copy, PartialEq)]
enum Alteration {
    /// It is.
    None,
    /// It commits its offsets outside the transaction, as many do.
    Careless,
    /// The process is told to stop just when it hears that partitions are lost.
    StoppedWhenLost,
    /// Partitions begin at the log's end as of now, unless a snapshot says more. The first start finds an empty log.
    Latest,
}

impl Stream for Altered {
    fn next(&mut self, wait: Duration) -> Result<Option<Incoming>, StreamError> {
        let next = self.stream.next(wait)?;
        if next.is_none() || self.how == Alteration::StoppedWhenLost && matches!(next, Some(Incoming::Lost(_))) {
            self.stop.store(true, Ordering::Relaxed);
        }
        Ok(next)
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

/// What happens to a member from its start to its end, and to those that have partitions of its in the meantime.
#[derive(Clone, Debug)]
struct Life {
    faults: Vec<Fault>,
    /// In which order and in how long runs records come.
    order: u64,
    /// Of those that have partitions meanwhile: how long each is at work, and where it dies, if it lives so long.
    others: (u64, usize),
}

fn lives() -> impl Strategy<Value = Vec<Life>> {
    let fault = prop_oneof![
        2 => (0..300_usize).prop_map(Fault::CrashBefore),
        2 => (0..300_usize).prop_map(Fault::CrashAfter),
        2 => (0..300_usize).prop_map(Fault::Abort),
        2 => (0..300_usize).prop_map(Fault::Restore),
        3 => (0..300_usize).prop_map(Fault::Revoke),
        3 => (0..300_usize).prop_map(Fault::Lose),
        1 => (0..300_usize).prop_map(Fault::Repeat),
        1 => (0..300_usize).prop_map(Fault::Reverse),
    ];
    let life = (vec(fault, 0..6), any::<u64>(), (5..200_u64, 10..400_usize));
    vec(life.prop_map(|(faults, order, others)| Life { faults, order, others }), 1..5)
}

/// Plays `lives` one after the other, and one more in which nothing goes wrong.
fn play(partitions: i32, lives: &[Life], how: Alteration) -> Result<Outcome, PipelineError> {
    let log = log(partitions);
    let surprise = Rc::new(RefCell::new(None));
    for Life { faults, order, others } in lives.iter().cloned() {
        let (shared, unexpected, (ticks, death)) = (log.clone(), Rc::clone(&surprise), others);
        let others = move |partitions: &[Partition]| {
            let stream = MemoryStream::open_for(&shared, partitions, decoder(), 1, 7, vec![Fault::CrashAfter(death)]);
            if let Err(error) = died(run_for(ticks, stream.shuffled(order ^ 1), how)) {
                *unexpected.borrow_mut() = Some(error);
            }
        };
        died(run(open(&log, faults).shuffled(order).meanwhile(others), how))?;
        surprise.take().map_or(Ok(()), Err)?;
    }
    run(open(&log, Vec::new()), how)?;
    Ok(Outcome::of(&log))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Scores, evidence and offsets are those of an uninterrupted run; with one partition, every score to the bit.
    #[test]
    fn whatever_happens_in_whatever_order_each_event_counts_once(lives in lives()) {
        let shaken = play(1, &lives, Alteration::None).unwrap();
        prop_assert_eq!(shaken.violation(&events(1)), None);
        prop_assert_eq!(shaken.scores, outcome(1, Vec::new(), Alteration::None).scores);
    }

    #[test]
    fn also_with_several_partitions(lives in lives()) {
        prop_assert_eq!(play(3, &lives, Alteration::None).unwrap().violation(&events(3)), None);
    }
}

/// Partitions whose loss is the last that a process hears of are another's, and nothing is committed of them.
#[test]
fn nothing_is_committed_of_partitions_lost_in_the_end() {
    for at in 0..operations() {
        for order in 0..3 {
            let life = Life { faults: vec![Fault::Lose(at)], order, others: (40, 1000) };
            let shaken = play(3, &[life], Alteration::StoppedWhenLost).unwrap();
            assert_eq!(shaken.violation(&events(3)), None, "lost at operation {at}, order {order}");
        }
    }
}

/// As many instances, each with a partition of its own, in turns; in the second round every third one dies. What one of them says
/// in the end rests on what all others have committed.
#[test]
fn two_hundred_and_fifty_six_instances_make_one_posterior() {
    const INSTANCES: i32 = 256;
    let log = log(INSTANCES);
    let instance = |partition: i32, ticks: u64, faults: Vec<Fault>| {
        let stream = MemoryStream::open_for(&log, &[Partition(partition)], decoder(), 1, 7, faults);
        died(run_for(ticks, stream.shuffled(partition as u64), Alteration::None)).expect("nothing but death")
    };
    let mut deaths = 0;
    for partition in 0..INSTANCES {
        instance(partition, 40, Vec::new());
    }
    for partition in 0..INSTANCES {
        let faults = if partition % 3 == 0 { vec![Fault::CrashAfter(partition as usize % 40)] } else { Vec::new() };
        deaths += usize::from(instance(partition, 80, faults));
    }
    (0..INSTANCES).for_each(|partition| assert!(!instance(partition, u64::MAX, Vec::new())));
    assert!(deaths > 20, "{deaths} deaths");
    let all = Outcome::of(&log);
    assert_eq!(all.violation(&events(INSTANCES)), None);

    let learnt: i64 = all.sites.values().map(|(covers_to, _)| covers_to.0).sum();
    log.append(Partition(7), format!(r#"{{"sequence": {EVENTS}}}"#));
    instance(7, u64::MAX, Vec::new());
    let known = &Outcome::of(&log).scores[&(Partition(7), Offset(EVENTS))];
    assert!((known[0] - learnt as f64).abs() <= 4.0, "{known:?}, {learnt} were learnt and committed");
}

/// The same lives, with a loop that commits its offsets outside the transaction.
#[test]
fn such_lives_catch_offsets_committed_outside_the_transaction() {
    let mut runner = TestRunner::deterministic();
    let caught = (0..200).filter(|_| {
        let lives = lives().new_tree(&mut runner).unwrap().current();
        // Its snapshots end up ahead of its offsets, too, and then it doesn't start.
        play(1, &lives, Alteration::Careless).map_or(true, |end| end.violation(&events(1)).is_some())
    });
    let caught = caught.count();
    assert!(caught >= 5, "{caught} of 200 such lives have caught it");
}

#[test]
fn the_check_catches_offsets_committed_outside_the_transaction() {
    let calm = outcome(1, Vec::new(), Alteration::Careless);
    assert_eq!(calm.violation(&events(1)), None, "without a fault even a careless loop is right");
    let caught = (0..operations()).filter(|at| {
        let log = log(1);
        let lived = died(run(open(&log, vec![Fault::CrashAfter(*at)]), Alteration::Careless));
        let again = lived.and_then(|_| run(open(&log, Vec::new()), Alteration::Careless));
        again.is_err() || Outcome::of(&log).violation(&events(1)).is_some()
    });
    assert!(caught.count() > 3, "a crash between the two commits scores events twice");
}

/// Before a partition's first snapshot nothing says where its evidence begins, so the first commit brings one.
#[test]
fn a_group_that_begins_at_the_end_of_the_log_learns_every_event_that_it_has_scored() {
    for at in 0..200 {
        let shaken = outcome(8, vec![Fault::CrashAfter(at)], Alteration::Latest);
        assert_eq!(shaken.violation(&events(8)), None, "after the death at operation {at}");
    }
}
