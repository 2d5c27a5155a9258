//! The transactional producer: results out, and offsets with them.
//!
//! Owns transactions and their deadlines. Whether the partitions are still this instance's is for the caller to check.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, TopicPartitionList};

use super::client::{self, Complaints};
use super::fault::{self, Remedy};
use super::settings::Settings;
use crate::failpoint;
use crate::stream::StreamError;

/// How often the end of deliveries is looked for.
const DELIVERY_POLL: Duration = Duration::from_micros(200);
/// How long to wait before an unfinished call is repeated.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// How long after its time-out a call is known to hang.
const OVERDUE: Duration = Duration::from_secs(1);

/// Keeps the first delivery that failed: the transaction's own error says less.
#[derive(Debug)]
pub(super) struct Deliveries {
    complaints: Arc<Complaints>,
    failed: Mutex<Option<(Code, String)>>,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::complain(&self.complaints, &error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
            // Those are of an abort, or of an error that came before.
            if !matches!(code, Code::PurgeQueue | Code::PurgeInflight) {
                let text = format!("a message of {} bytes to `{}`: {error}", message.payload_len(), message.topic());
                self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert((code, text));
            }
        }
    }
}

impl Deliveries {
    fn failure(&self) -> Option<(Code, String)> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Something that may hang.
type Call = Box<dyn FnOnce() + Send>;

/// The producer.
pub(super) struct Outlet {
    producer: ThreadedProducer<Deliveries>,
    /// To the thread that sends offsets, which ends with this.
    offsets: mpsc::Sender<Call>,
    transactional_id: String,
    transaction_timeout: Duration,
    /// How long a call is repeated before its outcome counts as unknown.
    limit: Duration,
}

impl Outlet {
    /// Makes the producer and fences older ones of its identity, whose open transaction is aborted by that.
    pub(super) fn start(settings: &Settings, complaints: Arc<Complaints>) -> Result<Self, StreamError> {
        let deliveries = Deliveries { complaints: Arc::clone(&complaints), failed: Mutex::default() };
        let producer =
            settings.producer().create_with_context(deliveries).map_err(|error| fault::unmade("the Kafka producer", &error))?;
        let (offsets, calls) = mpsc::channel::<Call>();
        thread::Builder::new()
            .name("kafka-offsets".into())
            .spawn(move || calls.into_iter().for_each(|call| call()))
            .map_err(|error| StreamError::Restore(format!("no thread to send offsets: {error}")))?;
        let outlet = Self {
            producer,
            offsets,
            transactional_id: settings.transactional_id(),
            transaction_timeout: settings.transaction_timeout,
            limit: settings.transaction_timeout + Duration::from_secs(5),
        };
        outlet.repeat("transactions can't be set up", Instant::now() + outlet.limit, |left| {
            outlet.producer.init_transactions(left)
        })?;
        Ok(outlet)
    }

    pub(super) fn begin(&self) -> Result<(), StreamError> {
        *self.producer.context().failed.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.producer.begin_transaction().map_err(|error| self.error("a transaction can't begin", &error))
    }

    /// Enqueues a message. A full queue is waited for.
    pub(super) fn send(
        &self,
        topic: &str,
        partition: i32,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
    ) -> Result<(), StreamError> {
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition);
        record.key = key;
        record.payload = payload;
        let mut deadline = None;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(Code::QueueFull), back)) => {
                    if Instant::now() > *deadline.get_or_insert_with(|| Instant::now() + self.limit) {
                        return Err(StreamError::Abort(format!("no delivery to `{topic}` within {:?}", self.limit)));
                    }
                    record = back;
                    thread::sleep(Duration::from_millis(1));
                }
                Err((error, _)) => {
                    let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
                    let bytes = payload.map_or(0, <[u8]>::len);
                    let text = format!("a message of {bytes} bytes can't be sent to `{topic}`: {error}{}", fault::advice(code));
                    return Err(match code {
                        _ if self.producer.client().fatal_error().is_some() => StreamError::Restore(text),
                        _ if fault::needs_a_person(code) => StreamError::Stop(text),
                        _ => StreamError::Abort(text),
                    });
                }
            }
        }
    }

    /// Commits the open transaction, with `offsets` of the consumer group.
    pub(super) fn commit(self: &Arc<Self>, offsets: TopicPartitionList, group: ConsumerGroupMetadata) -> Result<(), StreamError> {
        let deadline = Instant::now() + self.limit;
        // Both calls below would wait for deliveries, but in steps of 100 ms.
        self.await_deliveries(deadline)?;
        failpoint::reach("flushed");
        if offsets.count() > 0 {
            self.send_offsets(offsets, group, deadline)?;
        }
        failpoint::reach("offsets_sent");
        self.repeat("the commit failed", deadline, |left| self.producer.commit_transaction(left))
    }

    /// Sends offsets from a thread of their own, which is left behind if it hangs: a client whose group coordinator is gone from the
    /// cluster may wait for it for ever, whatever the time-out (librdkafka 2.12, issues 5456 and 5511).
    fn send_offsets(
        self: &Arc<Self>,
        offsets: TopicPartitionList,
        group: ConsumerGroupMetadata,
        deadline: Instant,
    ) -> Result<(), StreamError> {
        let what = "offsets can't be sent";
        let (outlet, (told, heard)) = (Arc::clone(self), mpsc::sync_channel(1));
        let send = move || {
            let sent = outlet.repeat(what, deadline, |left| outlet.producer.send_offsets_to_transaction(&offsets, &group, left));
            told.send(sent).ok(); // nobody listens any more if it has hung
        };
        self.offsets.send(Box::new(send)).ok(); // without the thread nothing will be heard
        let limit = self.transaction_timeout + OVERDUE;
        heard.recv_timeout(limit).unwrap_or_else(|_| {
            Err(StreamError::Restore(format!(
                "{what}: the client hasn't come back within {limit:?}, as if its coordinator were gone"
            )))
        })
    }

    /// Aborts the open transaction.
    pub(super) fn abort(&self) -> Result<(), StreamError> {
        let aborted = self.repeat("the abort failed", Instant::now() + self.limit, |left| self.producer.abort_transaction(left));
        aborted.map_err(|error| match error {
            // An abort that can't be done leaves nothing to abort again.
            StreamError::Abort(text) => StreamError::Restore(text),
            error => error,
        })
    }

    /// Whether a newer producer of the same identity has come, or the brokers gave a transaction up.
    pub(super) fn is_fenced(&self) -> bool {
        matches!(
            self.producer.client().fatal_error(),
            Some((Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch, _))
        )
    }

    fn await_deliveries(&self, deadline: Instant) -> Result<(), StreamError> {
        while self.producer.in_flight_count() > 0 && self.producer.context().failure().is_none() && Instant::now() < deadline {
            thread::sleep(DELIVERY_POLL);
        }
        match self.producer.context().failure() {
            None => Ok(()), // if deliveries are still out, the next call says what is wrong with the transaction
            Some((code, text)) if self.producer.client().fatal_error().is_none() => {
                let text = format!("{text}{}", fault::advice(code));
                Err(if fault::needs_a_person(code) { StreamError::Stop(text) } else { StreamError::Abort(text) })
            }
            Some((_, text)) => Err(StreamError::Restore(text)),
        }
    }

    /// Repeats a call that may be repeated.
    fn repeat(&self, what: &str, deadline: Instant, call: impl Fn(Duration) -> KafkaResult<()>) -> Result<(), StreamError> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Err(error) = call(left) else { return Ok(()) };
            if Remedy::of(&error) != Remedy::Retry || left.is_zero() {
                return Err(self.error(what, &error));
            }
            tracing::debug!("{what}, to be tried again: {error}");
            thread::sleep(RETRY_PAUSE.min(left));
        }
    }

    fn error(&self, what: &str, error: &KafkaError) -> StreamError {
        let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
        let delivery = self.producer.context().failure().map_or_else(String::new, |(_, text)| format!(" ({text})"));
        let fenced = if self.is_fenced() {
            format!("; another producer has the transactional id `{}`, or the transaction timed out", self.transactional_id)
        } else {
            self.producer.context().complaints.bracketed()
        };
        Remedy::of(error).error(format!("{what}: {error}{delivery}{fenced}{}", fault::advice(code)))
    }
}
