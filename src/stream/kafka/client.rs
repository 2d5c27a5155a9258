//! What every Kafka client of ours has in common: its log lines go to `tracing`, and its latest complaint is kept.
//!
//! A call that fails on time says only that time was over. The complaint says why: a refused connection, a wrong password.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::fault;

/// The latest complaint of any client of a stream; a denial is never replaced by a lesser one.
#[derive(Debug, Default)]
pub(super) struct Complaints(Mutex<Option<(Code, String)>>);

impl Complaints {
    pub(super) fn note(&self, code: Code, text: &str) {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // `AllBrokersDown` repeats in general what a broker's own complaint says better.
        let worse = |(known, _): &(Code, String)| fault::is_denial(*known) || code == Code::AllBrokersDown;
        if !latest.as_ref().is_some_and(worse) || fault::is_denial(code) {
            *latest = Some((code, text.to_owned()));
        }
    }

    /// The complaint of being denied, if there is one.
    pub(super) fn denial(&self) -> Option<String> {
        let latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        latest.as_ref().filter(|(code, _)| fault::is_denial(*code)).map(|(code, text)| format!("{text}{}", fault::advice(*code)))
    }

    /// The latest complaint in brackets, to follow another text; empty if there is none.
    pub(super) fn bracketed(&self) -> String {
        let latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        latest.as_ref().map_or_else(String::new, |(_, text)| format!(" ({text})"))
    }
}

/// The context of clients without callbacks of their own.
#[derive(Clone, Debug, Default)]
pub(super) struct Plain {
    pub(super) complaints: Arc<Complaints>,
}

impl ClientContext for Plain {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        complain(&self.complaints, &error, reason);
    }
}

impl ConsumerContext for Plain {}

/// Passes a line of librdkafka's log on.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
            tracing::error!(target: "kafka", facility, "{message}");
        }
        RDKafkaLogLevel::Warning => tracing::warn!(target: "kafka", facility, "{message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::info!(target: "kafka", facility, "{message}"),
        RDKafkaLogLevel::Debug => tracing::debug!(target: "kafka", facility, "{message}"),
    }
}

/// Keeps and logs a complaint. A client without a broker says so hundreds of times a second in general, and what it says in
/// particular, it has said by its log before, with the repetitions left out.
pub(super) fn complain(complaints: &Complaints, error: &KafkaError, reason: &str) {
    let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
    let text = if reason.is_empty() { error.to_string() } else { reason.to_owned() };
    match code {
        Code::AllBrokersDown | Code::BrokerTransportFailure => tracing::debug!(target: "kafka", %code, "{text}"),
        _ => tracing::warn!(target: "kafka", %code, "{text}"),
    }
    complaints.note(code, &text);
}
