//! The stream on Kafka: a consumer group in, transactions out.
//!
//! Two threads share the work. The *intake* polls: heartbeats, rebalances, decoding. The *loop*, whoever calls [`Stream`]'s
//! methods, owns the transactional producer. Between them is the handover, which holds the one truth about which partitions are
//! this instance's. A revoked partition is let go when the loop has released it; one that was taken without that is noticed
//! before the next commit, which is refused.

mod client;
mod event;
mod fault;
mod handover;
mod history;
mod intake;
mod outlet;
mod restore;
mod settings;
mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};

pub use self::event::event;
pub use self::history::members;
pub use self::settings::{RESERVED, Settings, Start, Topics};

use self::client::{Complaints, Plain};
use self::handover::{Epoch, Grant, Handed, Handover, Notice, Order};
use self::intake::{EventConsumer, Intake};
use self::outlet::Outlet as Producer;
use self::restore::{Ends, Snapshots};
use self::topics::Partitions;
use super::{Incoming, Outlet, Restored, Stream, StreamError};
use crate::codec::Decode;
use crate::failpoint;
use crate::record::{Offset, Partition};

/// What a look at the cluster has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Partitions of the events topic.
    pub event_partitions: i32,
    /// Topics for results that don't exist yet.
    pub missing: Vec<String>,
}

/// Connects and looks at the topics. Starts, joins and makes nothing.
pub fn check(settings: &Settings) -> Result<Checked, StreamError> {
    settings.check()?;
    let ends = Ends::new(settings, Plain::default())?;
    let found = topics::survey(settings, ends.client())?;
    topics::check_events(settings, ends.client())?;
    let missing = found.results.iter().filter(|(_, partitions)| partitions.is_none());
    Ok(Checked {
        event_partitions: found.events,
        missing: missing.map(|(outlet, _)| settings.topics.of(*outlet).into()).collect(),
    })
}

/// The latest committed snapshot of each partition, encoded.
pub fn snapshots(settings: &Settings) -> Result<Vec<Vec<u8>>, StreamError> {
    // A look makes nothing, and finds nothing wrong with topics that are yet to be made.
    let settings = Settings { create_topics: true, ..settings.clone() };
    settings.check()?;
    let ends = Ends::new(&settings, Plain::default())?;
    let found = topics::survey(&settings, ends.client())?;
    if found.results.contains(&(Outlet::Posterior, None)) {
        return Ok(Vec::new());
    }
    let mut snapshots = Snapshots::new(&settings, Plain::default())?;
    snapshots.catch_up(&ends, settings.transaction_timeout + settings.connect_timeout)?;
    Ok(std::iter::from_fn(|| snapshots.next_changed(|_| true)).collect())
}

/// Fencings within [`FENCING_WINDOW`] after which two processes must be at it, each fencing the other.
const MAX_FENCINGS: usize = 3;
const FENCING_WINDOW: Duration = Duration::from_secs(300);

/// A partition as the loop knows it.
#[derive(Clone, Copy, Debug)]
struct Held {
    grant: Grant,
    /// Runs of other epochs are of a time before the last [`Stream::resume`].
    epoch: Option<Epoch>,
    /// The offset after the last record handed out; of no meaning before the first epoch.
    next: Offset,
}

/// The stream on Kafka.
pub struct KafkaStream {
    settings: Settings,
    decode: Arc<dyn Decode>,
    columns: usize,
    complaints: Arc<Complaints>,
    ends: Ends,
    snapshots: Snapshots,
    partitions: Partitions,
    outlet: Option<Arc<Producer>>,
    handover: Arc<Handover>,
    intake: Option<(Intake, Arc<EventConsumer>)>,
    held: BTreeMap<Partition, Held>,
    epochs: u64,
    in_transaction: bool,
    /// When the latest transaction was begun.
    begun: Instant,
    /// Whether the last thing handed out was a snapshot.
    snapshot_last: bool,
    /// Partitions lost by a restart, still to be told of.
    lost: Vec<Partition>,
    fencings: Vec<Instant>,
}

impl KafkaStream {
    /// Connects, checks the topics and joins the group. Events are decoded into rows of `columns` cells.
    ///
    /// # Errors
    /// [`StreamError::Stop`], with what a person can do about it, when the brokers don't answer in time or refuse, when a topic
    /// is missing or wrong, or when a property is.
    pub fn connect(settings: Settings, decode: Arc<dyn Decode>, columns: usize) -> Result<Self, StreamError> {
        settings.check()?;
        let complaints = Arc::new(Complaints::default());
        let plain = Plain { complaints: Arc::clone(&complaints) };
        let ends = Ends::new(&settings, plain.clone())?;
        let partitions = topics::prepare(&settings, ends.client())?;
        let mut stream = Self {
            snapshots: Snapshots::new(&settings, plain)?,
            handover: Arc::new(Handover::new(settings.max_buffered_records)),
            settings,
            decode,
            columns,
            complaints,
            ends,
            partitions,
            outlet: None,
            intake: None,
            held: BTreeMap::new(),
            epochs: 0,
            in_transaction: false,
            begun: Instant::now(),
            snapshot_last: false,
            lost: Vec::new(),
            fencings: Vec::new(),
        };
        stream.start().map_err(|error| match error {
            StreamError::Stop(text) | StreamError::Abort(text) | StreamError::Restore(text) => StreamError::Stop(text),
        })?;
        Ok(stream)
    }

    /// Records that are decoded and wait for [`Stream::next`].
    pub fn buffered_records(&self) -> usize {
        self.handover.buffered_records()
    }

    /// The producer first: it ends what an earlier one of its identity has left open, so that the offsets are stable.
    fn start(&mut self) -> Result<(), StreamError> {
        self.outlet = Some(Arc::new(Producer::start(&self.settings, Arc::clone(&self.complaints))?));
        self.handover = Arc::new(Handover::new(self.settings.max_buffered_records));
        self.intake = Some(Intake::start(
            &self.settings,
            Arc::clone(&self.decode),
            self.columns,
            Arc::clone(&self.handover),
            Arc::clone(&self.complaints),
        )?);
        Ok(())
    }

    /// Ends both threads. Dropping the consumer leaves the group.
    fn end(&mut self) {
        if std::mem::take(&mut self.in_transaction)
            && let Some(outlet) = &self.outlet
            && let Err(error) = outlet.abort()
        {
            tracing::warn!("the open transaction is left to time out: {error}");
        }
        self.handover.close();
        if let Some((mut intake, consumer)) = self.intake.take() {
            intake.join();
            drop(consumer);
        }
        self.outlet = None;
        self.held.clear();
    }

    fn outlet(&self) -> Result<&Arc<Producer>, StreamError> {
        self.outlet.as_ref().ok_or_else(|| StreamError::Restore("there is no producer before a restart".into()))
    }

    fn consumer(&self) -> Result<&EventConsumer, StreamError> {
        let (_, consumer) =
            self.intake.as_ref().ok_or_else(|| StreamError::Restore("there is no consumer before a restart".into()))?;
        Ok(consumer)
    }

    /// A run that is still wanted, or a notice.
    fn receive(&mut self, handed: Handed) -> Option<Incoming> {
        match handed {
            Handed::Notice(Notice::Assigned(grants)) => {
                for (partition, grant) in &grants {
                    self.held.insert(*partition, Held { grant: *grant, epoch: None, next: Offset(0) });
                }
                Some(Incoming::Assigned(grants.into_iter().map(|(partition, _)| partition).collect()))
            }
            Handed::Notice(Notice::Revoked(partitions)) => Some(Incoming::Revoked(partitions)),
            Handed::Notice(Notice::Lost(partitions)) => {
                self.held.retain(|partition, _| !partitions.contains(partition));
                Some(Incoming::Lost(partitions))
            }
            Handed::Run(epoch, run) => {
                let held = self.held.get_mut(&run.partition).filter(|held| held.epoch == Some(epoch))?;
                held.next = run.next;
                Some(Incoming::Run(run))
            }
        }
    }

    /// What the intake hands over within `wait`.
    fn handed(&mut self, wait: Duration) -> Result<Option<Incoming>, StreamError> {
        let deadline = Instant::now() + wait;
        loop {
            match self.handover.take(deadline.saturating_duration_since(Instant::now()))? {
                Some(handed) => {
                    if let Some(incoming) = self.receive(handed) {
                        return Ok(Some(incoming));
                    }
                }
                None if self.intake.as_ref().is_none_or(|(intake, _)| intake.has_ended()) => {
                    return Err(StreamError::Restore("the intake has ended".into()));
                }
                None => return Ok(None),
            }
        }
    }

    /// The group's committed offsets, once no transaction can change them any more.
    fn committed(&self, partitions: &[Partition]) -> Result<TopicPartitionList, StreamError> {
        let events = self.settings.topics.events.as_str();
        let deadline = Instant::now() + self.patience();
        loop {
            let mut list = TopicPartitionList::new();
            for partition in partitions {
                list.add_partition(events, partition.0);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let error = match self.consumer()?.committed_offsets(list, left) {
                Ok(list) => match list.elements().iter().find_map(|element| element.error().err()) {
                    None => return Ok(list),
                    Some(error) => error,
                },
                Err(error) => error,
            };
            if left.is_zero() || fault::is_final(&error) {
                return Err(restore::asking("the group's committed offsets", &error, &self.complaints));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// How long the log may take to settle: an instance that died may have left a transaction open.
    fn patience(&self) -> Duration {
        self.settings.transaction_timeout + self.settings.connect_timeout
    }
}

impl Stream for KafkaStream {
    fn next(&mut self, wait: Duration) -> Result<Option<Incoming>, StreamError> {
        if !self.lost.is_empty() {
            return Ok(Some(Incoming::Lost(std::mem::take(&mut self.lost))));
        }
        // Records and notices have their turn, however many snapshots others send.
        if std::mem::take(&mut self.snapshot_last)
            && let Some(incoming) = self.handed(Duration::ZERO)?
        {
            return Ok(Some(incoming));
        }
        self.snapshots.poll()?;
        if let Some(snapshot) = self.snapshots.next_changed(|partition| !self.held.contains_key(&partition)) {
            self.snapshot_last = true;
            return Ok(Some(Incoming::Snapshot(snapshot)));
        }
        self.handed(wait)
    }

    fn restore(&mut self, partitions: &[Partition]) -> Result<Vec<Restored>, StreamError> {
        let events = self.settings.topics.events.clone();
        let patience = self.patience();
        // In this order: a snapshot that was committed with these offsets is in the posterior topic by now.
        let committed = self.committed(partitions)?;
        self.snapshots.catch_up(&self.ends, patience)?;
        failpoint::reach("chunks_read");
        // Another may have taken them since, and what was read is then of two times.
        let again = self.committed(partitions)?;
        let offset =
            |list: &TopicPartitionList, of: &Partition| list.find_partition(&events, of.0).map(|element| element.offset());
        if let Some(partition) = partitions.iter().find(|&of| offset(&committed, of) != offset(&again, of)) {
            return Err(StreamError::Restore(format!("another instance has gone on with partition {partition} meanwhile")));
        }
        partitions
            .iter()
            .map(|partition| {
                let (earliest, latest) = self.ends.of(&events, *partition, patience)?;
                let committed = match committed.find_partition(&events, partition.0).map(|element| element.offset()) {
                    Some(KafkaOffset::Offset(offset)) => Some(Offset(offset)),
                    _ => None,
                };
                if let Some(committed) = committed.filter(|committed| *committed > latest) {
                    return Err(StreamError::Stop(format!(
                        "partition {partition} of `{events}` ends at offset {latest}, but the group has committed {committed}: the \
                         topic was made anew, or has lost records; give group and model another name to begin anew"
                    )));
                }
                Ok(Restored {
                    committed,
                    initial: match self.settings.start {
                        Start::Earliest => earliest,
                        Start::Latest => latest,
                    },
                    earliest,
                    snapshot: self.snapshots.latest(*partition)?,
                })
            })
            .collect()
    }

    fn resume(&mut self, from: &[(Partition, Offset)]) -> Result<(), StreamError> {
        self.epochs += 1;
        let epoch = Epoch(self.epochs);
        // Partitions that were taken in the meantime are none of our business any more.
        let from: Vec<_> = from.iter().copied().filter(|(partition, _)| self.held.contains_key(partition)).collect();
        for (partition, next) in &from {
            self.held.entry(*partition).and_modify(|held| *held = Held { epoch: Some(epoch), next: *next, ..*held });
        }
        self.handover.order(Order { from, epoch });
        Ok(())
    }

    fn released(&mut self, partitions: &[Partition]) {
        let grants: Vec<(Partition, Grant)> =
            partitions.iter().filter_map(|partition| self.held.remove(partition).map(|held| (*partition, held.grant))).collect();
        self.handover.release(&grants);
    }

    fn begin(&mut self) -> Result<(), StreamError> {
        self.outlet()?.begin()?;
        self.in_transaction = true;
        self.begun = Instant::now();
        Ok(())
    }

    fn send(
        &mut self,
        outlet: Outlet,
        partition: Partition,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
    ) -> Result<(), StreamError> {
        let to = match outlet {
            Outlet::Scores => partition.0 % self.partitions.scores,
            Outlet::DeadLetters => partition.0 % self.partitions.dead_letters,
            Outlet::Posterior => 0,
        };
        self.outlet()?.send(self.settings.topics.of(outlet), to, key, payload)
    }

    fn commit(&mut self, consumed: &[(Partition, Offset)]) -> Result<(), StreamError> {
        let unusable = |error| StreamError::Restore(format!("the consumed offsets can't be committed: {error}"));
        let mut offsets = TopicPartitionList::new();
        for (partition, offset) in consumed {
            // The handover is asked below only about what is held.
            if !self.held.contains_key(partition) {
                return Err(StreamError::Abort(format!("partition {partition} has been taken from this instance")));
            }
            offsets
                .add_partition_offset(&self.settings.topics.events, partition.0, KafkaOffset::Offset(offset.0))
                .map_err(unusable)?;
        }
        // In this order: the group's generation is read while the partitions are known to be ours, so that the brokers refuse
        // it once they no longer are.
        let group = self.consumer()?.group_metadata();
        let group = group.ok_or_else(|| StreamError::Restore("the consumer isn't in a group".into()))?;
        if let Some(partition) = self.handover.first_taken(self.held.iter().map(|(partition, held)| (*partition, held.grant))) {
            return Err(StreamError::Abort(format!("partition {partition} has been taken from this instance")));
        }
        // A client that was thrown out forgets generation and name before the intake hears of it; the brokers take offsets
        // without either from anybody.
        if self.consumer()?.assignment_lost() {
            return Err(StreamError::Abort("the group has given up on this instance".into()));
        }
        let committed = self.outlet()?.commit(offsets, group);
        // On an abortable error the transaction is open until it is aborted.
        self.in_transaction = matches!(committed, Err(StreamError::Abort(_)));
        committed
    }

    fn abort(&mut self) -> Result<(), StreamError> {
        self.in_transaction = false;
        self.outlet()?.abort()
    }

    fn restart(&mut self) -> Result<(), StreamError> {
        // The brokers fence the producer of a transaction that has timed out, too. That is no other process.
        let timed_out = self.begun.elapsed() >= self.settings.transaction_timeout;
        if !timed_out && self.outlet.as_ref().is_some_and(|outlet| outlet.is_fenced()) {
            self.fencings.retain(|at| at.elapsed() < FENCING_WINDOW);
            self.fencings.push(Instant::now());
        }
        if self.fencings.len() >= MAX_FENCINGS {
            return Err(StreamError::Stop(format!(
                "fenced {MAX_FENCINGS} times within {FENCING_WINDOW:?}: another process uses the transactional id `{}`; \
                 give each instance of the group a name of its own",
                self.settings.transactional_id()
            )));
        }
        self.lost.extend(self.held.keys());
        self.in_transaction = false; // the next producer ends what is open
        self.end();
        self.start()
    }

    fn lag(&self) -> Option<u64> {
        self.held.iter().try_fold(0, |lag, (partition, held)| {
            held.epoch?;
            let end = self.handover.end_of(*partition)?;
            Some(lag + end.0.saturating_sub(held.next.0).max(0).unsigned_abs())
        })
    }

    fn close(&mut self) {
        self.end();
    }
}

impl Drop for KafkaStream {
    fn drop(&mut self) {
        self.end();
    }
}
