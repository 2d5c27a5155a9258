//! The thread that polls Kafka: heartbeats, rebalances and records.
//!
//! It polls whatever the loop is doing, decodes each message at once into the open run of its partition, and hands runs over.
//! It never commits anything, and knows no more of the model than how to decode.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset as KafkaOffset, TopicPartitionList};

use super::client::{self, Complaints};
use super::fault;
use super::handover::{Epoch, Handover, Room};
use super::settings::Settings;
use crate::codec::{Decode, Fault, timestamp};
use crate::failpoint;
use crate::record::{Dead, Head, Offset, Partition, Reason, Run};
use crate::stream::StreamError;
use crate::telemetry::events::RunDecoded;

/// One record of so many is timed while it is decoded, and stands for the others: the clock costs as much as a short event.
const TIMED_EVERY: usize = 16;
/// Records after which a run is handed over even if more are at hand.
const RUN_RECORDS: usize = 1024;
/// Bytes after which it is.
const RUN_BYTES: usize = 1 << 20;
/// How long the thread sleeps in the client when there is nothing to read: the delay of an order, too.
const IDLE: Duration = Duration::from_millis(10);
/// How long a full buffer is waited for before partitions are paused. Pausing throws away what was fetched ahead, so a loop
/// that is merely slower than the log never causes it; while waiting, a rebalance is noticed this much later.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long a partition's fetcher may take to be ready for a seek.
const SEEK_LIMIT: Duration = Duration::from_secs(30);
/// Bytes of a key that is carried along with its event; it is written twice, in each score.
const MAX_KEY_BYTES: usize = 64 << 10;
/// Room for what a dead letter says beside key and payload.
const DEAD_LETTER_ROOM: usize = 4 << 10;

/// The consumer's callbacks. They run on the intake thread, within `poll`.
#[derive(Debug)]
pub(super) struct Callbacks {
    topic: String,
    release_limit: Duration,
    handover: Arc<Handover>,
    complaints: Arc<Complaints>,
    /// Partitions taken since the thread last looked.
    withdrawn: Mutex<Vec<Partition>>,
}

/// The consumer that shares the events with its group.
pub(super) type EventConsumer = BaseConsumer<Callbacks>;

impl ClientContext for Callbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::complain(&self.complaints, &error, reason);
        if let Some(denial) = self.complaints.denial() {
            self.handover.fail(StreamError::Stop(format!("`{}` can't be read: {denial}", self.topic)));
        }
    }

    fn stats(&self, statistics: Statistics) {
        let Some(topic) = statistics.topics.get(&self.topic) else { return };
        let ends = topic.partitions.values().filter(|of| of.partition >= 0 && of.ls_offset >= 0);
        self.handover.set_ends(ends.map(|of| (Partition(of.partition), Offset(of.ls_offset))));
    }
}

impl ConsumerContext for Callbacks {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions: Vec<Partition> = list.elements().iter().map(|element| Partition(element.partition())).collect();
        let done = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(consumer, &partitions),
            _ => self.revoke(consumer, &partitions),
        };
        if let Err(error) = done {
            self.handover.fail(StreamError::Restore(format!("the change of assignment failed: {error}")));
        }
    }
}

impl Callbacks {
    /// Takes partitions over, silent until their reading is ordered.
    ///
    /// Until then they are paused at the log's start, as a true offset: a fetch can slip out before the pause, and one from an
    /// offset that isn't there would stop the partition for good. Nor may it be a logical offset: looking that up goes on behind
    /// a seek, whose offset the late answer then replaces.
    fn assign(&self, consumer: &BaseConsumer<Self>, partitions: &[Partition]) -> KafkaResult<()> {
        let deadline = Instant::now() + self.release_limit;
        let mut starts = Vec::with_capacity(partitions.len());
        for partition in partitions {
            starts.push((*partition, KafkaOffset::Offset(self.earliest(consumer, *partition, deadline)?)));
        }
        let list = list(&self.topic, starts.into_iter())?;
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(&list)?,
            _ => consumer.assign(&list)?,
        }
        consumer.pause(&list)?;
        self.handover.grant(partitions.iter().copied());
        Ok(())
    }

    /// The first offset in the log.
    fn earliest(&self, consumer: &BaseConsumer<Self>, partition: Partition, deadline: Instant) -> KafkaResult<i64> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match consumer.fetch_watermarks(&self.topic, partition.0, left) {
                Ok((low, _)) => return Ok(low),
                Err(error) if left.is_zero() || fault::is_final(&error) => return Err(error),
                Err(_) => thread::sleep(IDLE), // a leader is being elected
            }
        }
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>, partitions: &[Partition]) -> KafkaResult<()> {
        if consumer.assignment_lost() {
            self.handover.lose(partitions);
        } else {
            self.handover.revoke(partitions, self.release_limit);
        }
        self.withdrawn.lock().unwrap_or_else(PoisonError::into_inner).extend(partitions);
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => {
                consumer.incremental_unassign(&list(&self.topic, partitions.iter().map(|of| (*of, KafkaOffset::Invalid)))?)
            }
            _ => consumer.unassign(),
        }
    }
}

/// The thread, as the stream holds it.
#[derive(Debug)]
pub(super) struct Intake {
    thread: Option<JoinHandle<()>>,
}

impl Intake {
    /// Makes the consumer, subscribes it and sets the thread going.
    pub(super) fn start(
        settings: &Settings,
        decode: Arc<dyn Decode>,
        columns: usize,
        handover: Arc<Handover>,
        complaints: Arc<Complaints>,
    ) -> Result<(Self, Arc<EventConsumer>), StreamError> {
        let stop = |error: KafkaError| fault::unmade("the Kafka consumer", &error);
        let callbacks = Callbacks {
            topic: settings.topics.events.clone(),
            release_limit: settings.session_timeout * 2 / 3,
            handover: Arc::clone(&handover),
            complaints,
            withdrawn: Mutex::default(),
        };
        let consumer: Arc<EventConsumer> = Arc::new(settings.consumer().create_with_context(callbacks).map_err(stop)?);
        consumer.subscribe(&[&settings.topics.events]).map_err(stop)?;
        let reading = Reading {
            consumer: Arc::clone(&consumer),
            topic: settings.topics.events.clone(),
            handover,
            decode,
            columns,
            max_message_bytes: settings.max_message_bytes,
            taps: BTreeMap::new(),
            seeks: Vec::new(),
            paused: false,
        };
        let thread = thread::Builder::new()
            .name("kafka-intake".into())
            .spawn(move || reading.run())
            .map_err(|error| StreamError::Stop(format!("the intake thread can't be started: {error}")))?;
        Ok((Self { thread: Some(thread) }, consumer))
    }

    /// Whether the thread has ended, which it does only when told to or by a bug.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for the thread, which has been told to end.
    pub(super) fn join(&mut self) {
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the Kafka intake thread panicked");
        }
    }
}

/// A partition whose records are read.
#[derive(Debug)]
struct Tap {
    epoch: Epoch,
    /// The next record to come. Earlier ones are of a time before a seek.
    next: Offset,
    /// Records not yet handed over.
    open: Run,
    /// Records of `open` whose decoding was timed, and the time it took.
    timed: u32,
    timed_for: Duration,
    /// Whether the seek to `next` is done; until then, whatever comes is from elsewhere.
    ready: bool,
}

/// The thread's state.
struct Reading {
    consumer: Arc<EventConsumer>,
    topic: String,
    handover: Arc<Handover>,
    decode: Arc<dyn Decode>,
    columns: usize,
    max_message_bytes: usize,
    taps: BTreeMap<Partition, Tap>,
    /// Partitions to be set to their taps' `next`, and until when that is tried.
    seeks: Vec<(Partition, Instant)>,
    /// Whether partitions are paused because the loop has enough to do.
    paused: bool,
}

impl Reading {
    fn run(mut self) {
        let consumer = Arc::clone(&self.consumer);
        while !self.handover.is_closing() {
            self.follow_orders();
            self.seek();
            if self.paused && self.handover.wait_for_room(Duration::ZERO) == Room::Half {
                self.paused = false;
                let partitions: Vec<Partition> = self.taps.keys().copied().collect();
                self.request_seeks(&partitions);
                continue;
            }
            for _ in 0..RUN_RECORDS {
                let polled = match consumer.poll(Duration::ZERO) {
                    Some(polled) => Some(polled),
                    None => {
                        self.withdraw();
                        self.hand_over_all();
                        consumer.poll(IDLE)
                    }
                };
                match polled {
                    Some(Ok(message)) => {
                        // A run may be a few large records; polling a thousand of them before looking would overfill the buffer.
                        if self.take(&message) && self.handover.is_full() {
                            break;
                        }
                    }
                    Some(Err(error)) => self.suffer(&error),
                    None => {
                        self.withdraw();
                        break;
                    }
                }
            }
            if self.handover.is_full() && !self.paused && self.handover.wait_for_room(PATIENCE) == Room::None {
                self.pause();
            }
        }
        // What is left to do, leaving the group, is done by the last owner's drop of the consumer.
    }

    /// Forgets partitions that were taken during a poll.
    fn withdraw(&mut self) {
        let withdrawn = mem::take(&mut *self.consumer.context().withdrawn.lock().unwrap_or_else(PoisonError::into_inner));
        for partition in withdrawn {
            self.taps.remove(&partition);
            self.seeks.retain(|(waiting, _)| *waiting != partition);
        }
    }

    fn follow_orders(&mut self) {
        // Orders are of what was granted after that, and must not be forgotten with it.
        self.withdraw();
        for order in self.handover.take_orders() {
            for (partition, next) in &order.from {
                if self.handover.owns(*partition) {
                    let open = Run::new(*partition, *next, self.columns);
                    self.taps.insert(*partition, Tap::new(order.epoch, *next, open));
                }
            }
            // While reading is paused, they wait with all others for room.
            if !self.paused {
                let partitions: Vec<Partition> = order.from.iter().map(|(partition, _)| *partition).collect();
                self.request_seeks(&partitions);
            }
        }
    }

    fn request_seeks(&mut self, partitions: &[Partition]) {
        let deadline = Instant::now() + SEEK_LIMIT;
        self.seeks.retain(|(waiting, _)| !partitions.contains(waiting));
        for partition in partitions {
            if let Some(tap) = self.taps.get_mut(partition) {
                tap.ready = false;
                self.seeks.push((*partition, deadline));
            }
        }
    }

    /// Lets partitions go and sets them to where they are to be read. One whose fetcher isn't ready is tried again.
    ///
    /// In this order: a seek wakes the client's thread that fetches, and letting go doesn't, which may then sleep for a second.
    /// What is fetched from elsewhere in between is dropped, as its tap isn't ready.
    fn seek(&mut self) {
        if self.seeks.is_empty() {
            return;
        }
        let targets = self.seeks.iter().filter_map(|(of, _)| self.taps.get(of).map(|tap| (*of, KafkaOffset::Offset(tap.next.0))));
        let sought = list(&self.topic, targets).and_then(|list| {
            self.consumer.resume(&list)?;
            self.consumer.seek_partitions(list, Duration::from_secs(1))
        });
        match sought {
            Ok(list) => {
                for of in list.elements().iter().filter(|of| of.error().is_ok()) {
                    let partition = Partition(of.partition());
                    self.seeks.retain(|(waiting, _)| *waiting != partition);
                    self.taps.entry(partition).and_modify(|tap| tap.ready = true);
                }
                failpoint::reach("sought");
            }
            Err(error) => tracing::debug!("partitions can't be set to their offsets yet: {error}"),
        }
        if let Some((partition, _)) = self.seeks.iter().find(|(_, deadline)| *deadline < Instant::now()) {
            let text = format!("partition {partition} can't be read from its offset: no answer within {SEEK_LIMIT:?}");
            self.handover.fail(StreamError::Restore(text));
            self.seeks.clear();
        }
    }

    /// Stops the flow until the loop has made room.
    fn pause(&mut self) {
        let paused = list(&self.topic, self.taps.keys().map(|partition| (*partition, KafkaOffset::Invalid)))
            .and_then(|list| self.consumer.pause(&list));
        match paused {
            // A seek resumes its partition, so none may be left over; after the pause all are sought anew.
            Ok(()) => {
                self.paused = true;
                self.seeks.clear();
            }
            Err(error) => tracing::warn!("partitions can't be paused: {error}"),
        }
    }

    /// Decodes a message into its partition's open run, and says whether this was handed over.
    fn take(&mut self, message: &BorrowedMessage<'_>) -> bool {
        let partition = Partition(message.partition());
        let offset = Offset(message.offset());
        let Some(tap) = self.taps.get_mut(&partition).filter(|tap| tap.ready && offset >= tap.next) else { return false };
        let run = &mut tap.open;
        if run.is_empty() {
            run.from = offset;
        }
        let payload = message.payload().unwrap_or_default();
        let key = message.key();
        let timestamp_ms = message.timestamp().to_millis().and_then(timestamp::plausible);
        let timed = run.len().is_multiple_of(TIMED_EVERY).then(Instant::now);
        let decoded = match key {
            Some(key) if key.len() > MAX_KEY_BYTES => Err(Fault {
                reason: Reason::TooLarge,
                detail: format!("the key has {} bytes; at most {MAX_KEY_BYTES} can be carried along", key.len()),
            }),
            _ => self.decode.decode(payload, &mut run.rows),
        };
        if let Some(at) = timed {
            tap.timed += 1;
            tap.timed_for += at.elapsed();
        }
        let key = key.filter(|key| key.len() <= MAX_KEY_BYTES).map(Box::from);
        match decoded {
            Ok(decoded) => {
                run.heads.push(Head { offset, timestamp_ms: decoded.timestamp_ms.or(timestamp_ms), key });
            }
            Err(fault) => {
                let taken = DEAD_LETTER_ROOM + fault.detail.len() + 2 * key.as_deref().map_or(0, <[u8]>::len);
                let kept = payload.len().min(self.max_message_bytes.saturating_sub(taken));
                run.dead.push(Dead {
                    head: Head { offset, timestamp_ms, key },
                    payload: payload[..kept].to_vec(),
                    payload_bytes: payload.len(),
                    reason: fault.reason,
                    detail: fault.detail,
                });
            }
        }
        run.bytes += payload.len();
        run.next = offset.next();
        tap.next = run.next;
        let ended = run.len() >= RUN_RECORDS || run.bytes >= RUN_BYTES;
        if ended {
            tap.hand_over(&self.handover, self.columns);
        }
        ended
    }

    fn hand_over_all(&mut self) {
        for tap in self.taps.values_mut().filter(|tap| !tap.open.is_empty()) {
            tap.hand_over(&self.handover, self.columns);
        }
    }

    /// Most errors are passing: the client goes on by itself and has logged them. The others are the loop's business.
    fn suffer(&self, error: &KafkaError) {
        let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
        match code {
            Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation => {
                let text = format!("the next record of a partition of `{}` is no longer in the log: {error}", self.topic);
                self.handover.fail(StreamError::Restore(text));
            }
            // Passes when a broker that has just started knows its topics.
            Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {}
            _ if fault::needs_a_person(code) => {
                let text = format!("`{}` can't be read: {error}{}", self.topic, fault::advice(code));
                self.handover.fail(StreamError::Stop(text));
            }
            _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => {
                self.handover.fail(StreamError::Restore(format!("the consumer is of no use any more: {error}")));
            }
            _ => {}
        }
    }
}

impl Tap {
    fn new(epoch: Epoch, next: Offset, open: Run) -> Self {
        Self { epoch, next, open, timed: 0, timed_for: Duration::ZERO, ready: false }
    }

    fn hand_over(&mut self, handover: &Handover, columns: usize) {
        let timed_for = mem::take(&mut self.timed_for);
        let records = self.open.len();
        let decode = timed_for.mul_f64(records as f64 / f64::from(mem::take(&mut self.timed).max(1)));
        RunDecoded { records, decode }.emit();
        let next = Run::new(self.open.partition, self.next, columns);
        handover.put(self.epoch, mem::replace(&mut self.open, next));
    }
}

/// A list of partitions of `topic`.
fn list(topic: &str, places: impl Iterator<Item = (Partition, KafkaOffset)>) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in places {
        list.add_partition_offset(topic, partition.0, offset)?;
    }
    Ok(list)
}
