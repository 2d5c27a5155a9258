//! A log in memory: the contract of [`Stream`] without a network, where every operation can be made the last one.
//!
//! Transactions, compaction of the posterior topic and the group's offsets are as on Kafka. It serves tests and embedders. A [`Fault`]
//! plan stops, aborts, rebalances or repeats at the n-th operation; what was committed stays in the log, and another stream can be
//! opened on it. One member works at a time: others have their turn while partitions are taken from it ([`MemoryStream::meanwhile`]).

mod history;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Incoming, Outlet, Restored, Stream, StreamError};
use crate::codec::wire::{Assembler, parse_snapshot_key};
use crate::codec::{Decode, Fault as Malformed};
use crate::noise::Noise;
use crate::record::{Dead, Head, Offset, Partition, Run};

/// A message that was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The partition of the events that it is about.
    pub partition: Partition,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; none is a tombstone.
    pub payload: Option<Vec<u8>>,
}

/// All that is durable. Clones share one log.
#[derive(Clone, Debug, Default)]
pub struct MemoryLog(Arc<Mutex<Contents>>);

#[derive(Debug, Default)]
struct Contents {
    events: BTreeMap<Partition, Vec<Vec<u8>>>,
    consumed: BTreeMap<Partition, Offset>,
    messages: BTreeMap<Outlet, Vec<Message>>,
    operations: usize,
}

impl MemoryLog {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        // Changes are made whole or not at all, so a thread that died with the lock has left nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends an event to a partition, which it creates if need be.
    pub fn append(&self, partition: Partition, payload: impl Into<Vec<u8>>) {
        self.contents().events.entry(partition).or_default().push(payload.into());
    }

    /// The committed messages of an outlet, in order.
    pub fn messages(&self, outlet: Outlet) -> Vec<Message> {
        self.contents().messages.get(&outlet).cloned().unwrap_or_default()
    }

    /// The group's committed offset.
    pub fn consumed(&self, partition: Partition) -> Option<Offset> {
        self.contents().consumed.get(&partition).copied()
    }

    /// Whether the group has committed all events.
    pub fn is_consumed(&self) -> bool {
        let contents = self.contents();
        contents
            .events
            .iter()
            .all(|(partition, events)| contents.consumed.get(partition).is_some_and(|offset| offset.0 == events.len() as i64))
    }

    /// Operations that streams on this log have begun: restore, resume, begin, send, commit, abort, and looks further back.
    pub fn operations(&self) -> usize {
        self.contents().operations
    }

    /// What is left of the posterior topic after compaction: the last message of each key.
    pub fn compacted(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut last = BTreeMap::new();
        for Message { key, payload, .. } in self.messages(Outlet::Posterior) {
            let key = key.unwrap_or_default();
            match payload {
                Some(payload) => last.insert(key, payload),
                None => last.remove(&key),
            };
        }
        last
    }
}

/// What goes wrong with the n-th operation of a stream, counted from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process dies before the operation.
    CrashBefore(usize),
    /// The process dies after the operation has taken effect and before it has heard of it.
    CrashAfter(usize),
    /// The operation, if it sends or commits, is refused: the transaction is to be aborted.
    Abort(usize),
    /// The operation, if it sends or commits, ends in doubt: the state is to be restored.
    Restore(usize),
    /// With the operation, every other partition is asked for; once it is released, others have it for a while.
    Revoke(usize),
    /// Before the operation, every other partition is taken and others have it for a while: what is open can't be committed.
    Lose(usize),
    /// After the operation, the latest run is handed out once more.
    Repeat(usize),
    /// After the operation, the records of the next run come in reverse order.
    Reverse(usize),
}

/// What others do while partitions are theirs.
type Meanwhile = Box<dyn FnMut(&[Partition])>;

/// A member of the group on a log in memory.
pub struct MemoryStream {
    log: MemoryLog,
    /// Those that are this member's when it joins.
    partitions: Vec<Partition>,
    decode: Arc<dyn Decode>,
    columns: usize,
    max_run: usize,
    faults: Vec<Fault>,
    operations: usize,
    crashed: bool,
    notices: VecDeque<Incoming>,
    positions: BTreeMap<Partition, Offset>,
    /// Partitions that were taken, which the member hasn't been told yet.
    taken: BTreeSet<Partition>,
    meanwhile: Meanwhile,
    /// What is drawn from, and how often it was: which partition's run is next, and how long it is. None for the first offset and the
    /// longest run.
    shuffle: Option<(Noise, u64)>,
    /// Whether the next run's records come in reverse order.
    reversed: bool,
    /// Where the latest run began.
    latest: Option<(Partition, Offset)>,
    transaction: Option<Vec<(Outlet, Message)>>,
}

impl MemoryStream {
    /// Joins the group: all partitions are assigned. Runs have at most `max_run` records.
    pub fn open(log: &MemoryLog, decode: Arc<dyn Decode>, columns: usize, max_run: usize, faults: Vec<Fault>) -> Self {
        let partitions: Vec<Partition> = log.contents().events.keys().copied().collect();
        Self::open_for(log, &partitions, decode, columns, max_run, faults)
    }

    /// As [`open`](Self::open), with these partitions.
    pub fn open_for(
        log: &MemoryLog,
        partitions: &[Partition],
        decode: Arc<dyn Decode>,
        columns: usize,
        max_run: usize,
        faults: Vec<Fault>,
    ) -> Self {
        Self {
            log: log.clone(),
            partitions: partitions.to_vec(),
            decode,
            columns,
            max_run,
            faults,
            operations: 0,
            crashed: false,
            notices: VecDeque::from([Incoming::Assigned(partitions.to_vec())]),
            positions: BTreeMap::new(),
            taken: BTreeSet::new(),
            meanwhile: Box::new(|_| {}),
            shuffle: None,
            reversed: false,
            latest: None,
            transaction: None,
        }
    }

    /// What others do with partitions that were taken from this member, before it has them back.
    pub fn meanwhile(self, others: impl FnMut(&[Partition]) + 'static) -> Self {
        Self { meanwhile: Box::new(others), ..self }
    }

    /// Hands runs out in an order of partitions, and of lengths, that are drawn from `seed`.
    pub fn shuffled(self, seed: u64) -> Self {
        Self { shuffle: Some((Noise::new(seed), 0)), ..self }
    }

    /// Every other of the partitions that are read.
    fn every_other(&self) -> Vec<Partition> {
        self.positions.keys().copied().filter(|partition| !self.taken.contains(partition)).step_by(2).collect()
    }

    /// Takes partitions away, lets others have them, and gives them back.
    fn lose(&mut self) {
        let partitions = self.every_other();
        if partitions.is_empty() {
            return;
        }
        (self.meanwhile)(&partitions);
        self.taken.extend(&partitions);
        self.notices.extend([Incoming::Lost(partitions.clone()), Incoming::Assigned(partitions)]);
    }

    /// A number below `count`, if the order is drawn.
    fn draw(&mut self, count: usize) -> Option<usize> {
        let (noise, draws) = self.shuffle.as_mut()?;
        *draws += 1;
        Some((noise.uniform(*draws, 0, 0) * count as f64) as usize)
    }

    /// Counts an operation, does it with `act`, and lets happen what was planned for it.
    fn operate<T>(&mut self, fallible: bool, act: impl FnOnce(&mut Self) -> Result<T, StreamError>) -> Result<T, StreamError> {
        let crash = || StreamError::Stop("the process has died, as planned".into());
        let at = self.operations;
        self.operations += 1;
        self.log.contents().operations += 1;
        if self.crashed || self.faults.contains(&Fault::CrashBefore(at)) {
            self.crashed = true;
            return Err(crash());
        }
        if fallible && self.faults.contains(&Fault::Abort(at)) {
            return Err(StreamError::Abort("as planned".into()));
        }
        if fallible && self.faults.contains(&Fault::Restore(at)) {
            self.transaction = None;
            return Err(StreamError::Restore("as planned".into()));
        }
        if self.faults.contains(&Fault::Lose(at)) {
            self.lose();
        }
        if self.faults.contains(&Fault::Revoke(at)) {
            self.notices.push_back(Incoming::Revoked(self.every_other()));
        }
        let done = act(self);
        if self.faults.contains(&Fault::Repeat(at))
            && let Some((partition, from)) = self.latest
            && let Some(position) = self.positions.get_mut(&partition)
        {
            *position = from.min(*position);
        }
        self.reversed |= self.faults.contains(&Fault::Reverse(at));
        if self.faults.contains(&Fault::CrashAfter(at)) {
            self.crashed = true;
            return Err(crash());
        }
        done
    }

    /// The next records of a partition.
    fn read(&self, partition: Partition, from: Offset, most: usize) -> Run {
        let mut run = Run::new(partition, from, self.columns);
        let contents = self.log.contents();
        let records = contents.events.get(&partition).map_or(&[][..], |events| &events[(from.0 as usize).min(events.len())..]);
        let records = &records[..records.len().min(most)];
        run.next = Offset(from.0 + records.len() as i64);
        for index in 0..records.len() {
            let index = if self.reversed { records.len() - 1 - index } else { index };
            let payload = &records[index];
            let mut head = Head { offset: Offset(from.0 + index as i64), timestamp_ms: None, key: None };
            run.bytes += payload.len();
            match self.decode.decode(payload, &mut run.rows) {
                Ok(decoded) => {
                    head.timestamp_ms = decoded.timestamp_ms;
                    run.heads.push(head);
                }
                Err(Malformed { reason, detail }) => {
                    let payload_bytes = payload.len();
                    run.dead.push(Dead { head, payload: payload.clone(), payload_bytes, reason, detail });
                }
            }
        }
        run
    }
}

impl Stream for MemoryStream {
    fn next(&mut self, _: Duration) -> Result<Option<Incoming>, StreamError> {
        if let Some(notice) = self.notices.pop_front() {
            if let Incoming::Lost(partitions) = &notice {
                self.positions.retain(|partition, _| !partitions.contains(partition));
                self.taken.retain(|partition| !partitions.contains(partition));
            }
            return Ok(Some(notice));
        }
        let most = self.draw(self.max_run).map_or(self.max_run, |less| less + 1);
        let runs = self.positions.iter().map(|(partition, from)| self.read(*partition, *from, most));
        let mut runs: Vec<Run> = runs.filter(|run| !run.is_empty()).collect();
        runs.sort_by_key(|run| (run.from, run.partition));
        if runs.is_empty() {
            return Ok(None);
        }
        let run = runs.swap_remove(self.draw(runs.len()).unwrap_or_default());
        self.reversed = false;
        self.latest = Some((run.partition, run.from));
        self.positions.insert(run.partition, run.next);
        Ok(Some(Incoming::Run(run)))
    }

    fn restore(&mut self, partitions: &[Partition]) -> Result<Vec<Restored>, StreamError> {
        self.operate(false, |stream| {
            let mut snapshots = BTreeMap::new();
            let mut assembler = Assembler::default();
            for (key, chunk) in stream.log.compacted() {
                let Some((_, partition, _)) = parse_snapshot_key(&key) else { continue };
                if let Some(whole) = assembler.push(&chunk).map_err(|error| StreamError::Stop(error.to_string()))? {
                    snapshots.insert(partition, whole);
                }
            }
            let restored = partitions.iter().map(|partition| Restored {
                committed: stream.log.consumed(*partition),
                initial: Offset(0),
                earliest: Offset(0),
                snapshot: snapshots.remove(partition),
            });
            let restored = restored.collect();
            // Others' evidence is known with one's own.
            stream.notices.extend(snapshots.into_values().map(Incoming::Snapshot));
            Ok(restored)
        })
    }

    fn resume(&mut self, from: &[(Partition, Offset)]) -> Result<(), StreamError> {
        self.operate(false, |stream| {
            stream.positions.extend(from.iter().copied());
            Ok(())
        })
    }

    fn released(&mut self, partitions: &[Partition]) {
        self.positions.retain(|partition, _| !partitions.contains(partition));
        if !partitions.is_empty() {
            (self.meanwhile)(partitions);
            self.notices.push_back(Incoming::Assigned(partitions.to_vec()));
        }
    }

    fn begin(&mut self) -> Result<(), StreamError> {
        self.operate(false, |stream| {
            stream.transaction = Some(Vec::new());
            Ok(())
        })
    }

    fn send(
        &mut self,
        outlet: Outlet,
        partition: Partition,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
    ) -> Result<(), StreamError> {
        self.operate(true, |stream| {
            let open = stream.transaction.as_mut().ok_or_else(|| StreamError::Stop("there is no open transaction".into()))?;
            open.push((outlet, Message { partition, key: key.map(Into::into), payload: payload.map(Into::into) }));
            Ok(())
        })
    }

    fn commit(&mut self, consumed: &[(Partition, Offset)]) -> Result<(), StreamError> {
        self.operate(true, |stream| {
            if let Some(partition) = stream.taken.first() {
                return Err(StreamError::Abort(format!("partition {partition} has been taken from this instance")));
            }
            let open = stream.transaction.take().ok_or_else(|| StreamError::Stop("there is no open transaction".into()))?;
            let mut contents = stream.log.contents();
            for (outlet, message) in open {
                contents.messages.entry(outlet).or_default().push(message);
            }
            contents.consumed.extend(consumed.iter().copied());
            Ok(())
        })
    }

    fn abort(&mut self) -> Result<(), StreamError> {
        self.operate(false, |stream| {
            stream.transaction = None;
            Ok(())
        })
    }

    fn restart(&mut self) -> Result<(), StreamError> {
        self.transaction = None;
        self.taken.clear();
        self.positions.clear();
        self.notices = VecDeque::from([Incoming::Lost(self.partitions.clone()), Incoming::Assigned(self.partitions.clone())]);
        Ok(())
    }

    fn lag(&self) -> Option<u64> {
        let contents = self.log.contents();
        let end = |partition| contents.events.get(partition).map_or(0, Vec::len) as u64;
        Some(self.positions.iter().map(|(partition, next)| end(partition) - next.0 as u64).sum())
    }

    fn close(&mut self) {
        self.positions.clear();
    }
}
