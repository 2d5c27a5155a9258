//! A log in memory: the contract of [`Stream`] without a network, where every operation can be made the last one.
//!
//! Transactions, compaction of the posterior topic and the group's offsets are as on Kafka; there is one member in the group. It
//! serves tests and embedders. A [`Fault`] plan stops or aborts at the n-th operation; what was committed stays in the log, and
//! another stream can be opened on it.

mod history;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Incoming, Outlet, Restored, Stream, StreamError};
use crate::codec::wire::{Assembler, parse_snapshot_key};
use crate::codec::{Decode, Fault as Malformed};
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

    /// Operations that streams on this log have begun: restore, resume, begin, send, commit and abort.
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
}

/// A member of the group on a log in memory.
#[derive(Debug)]
pub struct MemoryStream {
    log: MemoryLog,
    decode: Arc<dyn Decode>,
    columns: usize,
    max_run: usize,
    faults: Vec<Fault>,
    operations: usize,
    crashed: bool,
    notices: VecDeque<Incoming>,
    positions: BTreeMap<Partition, Offset>,
    transaction: Option<Vec<(Outlet, Message)>>,
}

impl MemoryStream {
    /// Joins the group: all partitions are assigned. Runs have at most `max_run` records.
    pub fn open(log: &MemoryLog, decode: Arc<dyn Decode>, columns: usize, max_run: usize, faults: Vec<Fault>) -> Self {
        let mut stream = Self {
            log: log.clone(),
            decode,
            columns,
            max_run,
            faults,
            operations: 0,
            crashed: false,
            notices: VecDeque::new(),
            positions: BTreeMap::new(),
            transaction: None,
        };
        stream.assign();
        stream
    }

    fn assign(&mut self) {
        let partitions = self.log.contents().events.keys().copied().collect();
        self.notices.push_back(Incoming::Assigned(partitions));
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
        let done = act(self);
        if self.faults.contains(&Fault::CrashAfter(at)) {
            self.crashed = true;
            return Err(crash());
        }
        done
    }

    /// The next records of a partition.
    fn read(&self, partition: Partition, from: Offset) -> Run {
        let mut run = Run::new(partition, from, self.columns);
        let contents = self.log.contents();
        let records = contents.events.get(&partition).map_or(&[][..], |events| &events[(from.0 as usize).min(events.len())..]);
        for payload in records.iter().take(self.max_run) {
            let mut head = Head { offset: run.next, timestamp_ms: None, key: None };
            run.bytes += payload.len();
            run.next = run.next.next();
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
            return Ok(Some(notice));
        }
        let runs = self.positions.iter().map(|(partition, from)| self.read(*partition, *from));
        let Some(run) = runs.filter(|run| !run.is_empty()).min_by_key(|run| (run.from, run.partition)) else { return Ok(None) };
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
            Ok(restored.collect())
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
        let lost = std::mem::take(&mut self.positions).into_keys().collect();
        self.notices = VecDeque::from([Incoming::Lost(lost)]);
        self.assign();
        Ok(())
    }

    fn lag(&self) -> Option<u64> {
        let contents = self.log.contents();
        Some(self.positions.iter().map(|(partition, next)| contents.events[partition].len() as u64 - next.0 as u64).sum())
    }

    fn close(&mut self) {
        self.positions.clear();
    }
}
