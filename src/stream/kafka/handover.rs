//! What the intake thread and the loop share: runs on their way, notices, orders, and whose partitions are whose.
//!
//! Everything is behind one lock, which is taken once a run and never while a client is called. Notices overtake runs: a revoked
//! partition is given up after the step in work, not after all that is buffered.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::record::{Offset, Partition, Run};
use crate::stream::StreamError;

/// Each time that a partition becomes this instance's, it gets a new grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grant(pub u64);

/// Each time that a partition's reading begins somewhere, its runs get a new epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epoch(pub u64);

/// A change of assignment.
#[derive(Debug)]
pub(super) enum Notice {
    Assigned(Vec<(Partition, Grant)>),
    Revoked(Vec<Partition>),
    Lost(Vec<Partition>),
}

/// What the loop wants of the intake: these partitions' records, from these offsets on.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) from: Vec<(Partition, Offset)>,
    pub(super) epoch: Epoch,
}

/// What the loop is handed.
#[derive(Debug)]
pub(super) enum Handed {
    Notice(Notice),
    Run(Epoch, Run),
}

/// How a wait for room ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Half of what may be buffered is free.
    Half,
    /// The loop has an order, or wants to close.
    Wanted,
    /// Still full.
    None,
}

#[derive(Debug)]
pub(super) struct Handover {
    state: Mutex<State>,
    /// Something has come for the loop.
    arrived: Condvar,
    /// The loop has taken or released something.
    settled: Condvar,
    max_records: usize,
}

/// Bytes of values that may wait for the loop: dead letters keep theirs.
const MAX_BUFFERED_BYTES: usize = 64 << 20;

#[derive(Debug, Default)]
struct State {
    notices: VecDeque<Notice>,
    runs: VecDeque<(Epoch, Run)>,
    /// Of `runs`.
    records: usize,
    bytes: usize,
    orders: Vec<Order>,
    /// Partitions that the group has given to this instance and that haven't been released.
    owned: BTreeMap<Partition, Grant>,
    grants: u64,
    /// Last stable offset of each partition, as of the latest statistics.
    ends: BTreeMap<Partition, Offset>,
    failure: Option<StreamError>,
    closing: bool,
}

impl Handover {
    pub(super) fn new(max_records: usize) -> Self {
        Self { state: Mutex::default(), arrived: Condvar::new(), settled: Condvar::new(), max_records }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing here panics halfway through a change, so the state is whole even if a thread died with the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // The intake's side.

    pub(super) fn grant(&self, partitions: impl Iterator<Item = Partition>) {
        let mut state = self.lock();
        let mut granted = Vec::new();
        for partition in partitions {
            state.grants += 1;
            let grant = Grant(state.grants);
            state.owned.insert(partition, grant);
            granted.push((partition, grant));
        }
        state.notices.push_back(Notice::Assigned(granted));
        self.arrived.notify_all();
    }

    /// Asks the loop to release `partitions` and waits until it has, or until `limit` is over: then they are taken.
    pub(super) fn revoke(&self, partitions: &[Partition], limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut state = self.lock();
        state.notices.push_back(Notice::Revoked(partitions.to_vec()));
        self.arrived.notify_all();
        while !state.closing && partitions.iter().any(|partition| state.owned.contains_key(partition)) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.settled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.disown(partitions);
    }

    pub(super) fn lose(&self, partitions: &[Partition]) {
        let mut state = self.lock();
        state.disown(partitions);
        state.notices.push_back(Notice::Lost(partitions.to_vec()));
        self.arrived.notify_all();
    }

    pub(super) fn put(&self, epoch: Epoch, run: Run) {
        let mut state = self.lock();
        state.records += run.len();
        state.bytes += run.bytes;
        state.runs.push_back((epoch, run));
        self.arrived.notify_all();
    }

    /// Whether so much waits for the loop that reading is to stop.
    pub(super) fn is_full(&self) -> bool {
        self.lock().fills(self.max_records, MAX_BUFFERED_BYTES)
    }

    /// Waits until half of what may be buffered is free, the loop wants something, or `limit` is over.
    pub(super) fn wait_for_room(&self, limit: Duration) -> Room {
        let deadline = Instant::now() + limit;
        let mut state = self.lock();
        while state.fills(self.max_records / 2, MAX_BUFFERED_BYTES / 2) {
            let left = deadline.saturating_duration_since(Instant::now());
            if state.closing || !state.orders.is_empty() {
                return Room::Wanted;
            }
            if left.is_zero() {
                return Room::None;
            }
            state = self.settled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Room::Half
    }

    pub(super) fn take_orders(&self) -> Vec<Order> {
        std::mem::take(&mut self.lock().orders)
    }

    pub(super) fn owns(&self, partition: Partition) -> bool {
        self.lock().owned.contains_key(&partition)
    }

    pub(super) fn set_ends(&self, ends: impl Iterator<Item = (Partition, Offset)>) {
        self.lock().ends.extend(ends);
    }

    /// Keeps the first failure for the loop.
    pub(super) fn fail(&self, error: StreamError) {
        self.lock().failure.get_or_insert(error);
        self.arrived.notify_all();
    }

    pub(super) fn is_closing(&self) -> bool {
        self.lock().closing
    }

    // The loop's side.

    /// What comes next, within `wait`.
    pub(super) fn take(&self, wait: Duration) -> Result<Option<Handed>, StreamError> {
        let deadline = Instant::now() + wait;
        let mut state = self.lock();
        loop {
            if let Some(error) = state.failure.take() {
                return Err(error);
            }
            if let Some(notice) = state.notices.pop_front() {
                return Ok(Some(Handed::Notice(notice)));
            }
            if let Some((epoch, run)) = state.runs.pop_front() {
                state.records -= run.len();
                state.bytes -= run.bytes;
                self.settled.notify_all();
                return Ok(Some(Handed::Run(epoch, run)));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            state = self.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(super) fn order(&self, order: Order) {
        self.lock().orders.push(order);
        self.settled.notify_all();
    }

    /// Gives up what was granted; a later grant of the same partition stays.
    pub(super) fn release(&self, grants: &[(Partition, Grant)]) {
        let mut state = self.lock();
        for (partition, grant) in grants {
            if state.owned.get(partition) == Some(grant) {
                state.disown(&[*partition]);
            }
        }
        self.settled.notify_all();
    }

    /// The first partition of `held` that is no longer this instance's by the same grant.
    pub(super) fn first_taken(&self, mut held: impl Iterator<Item = (Partition, Grant)>) -> Option<Partition> {
        let state = self.lock();
        held.find(|(partition, grant)| state.owned.get(partition) != Some(grant)).map(|(partition, _)| partition)
    }

    pub(super) fn end_of(&self, partition: Partition) -> Option<Offset> {
        self.lock().ends.get(&partition).copied()
    }

    pub(super) fn buffered_records(&self) -> usize {
        self.lock().records
    }

    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.settled.notify_all();
    }
}

impl State {
    fn fills(&self, records: usize, bytes: usize) -> bool {
        self.records >= records.max(1) || self.bytes >= bytes
    }

    fn disown(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            self.owned.remove(partition);
            self.ends.remove(partition);
        }
    }
}
