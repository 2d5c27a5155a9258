//! What Kafka's errors ask for: trying again, aborting, restoring, or a person.
//!
//! Owns the classification. Never decides how long to go on trying.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::stream::StreamError;

/// What is to be done about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// The same call again.
    Retry,
    /// Abort the transaction and read its records again.
    Abort,
    /// A fresh producer, and everything restored from the log.
    Restore,
    /// Nothing helps before a person has acted.
    Stop,
}

impl Remedy {
    /// Of an error of a transactional call.
    ///
    /// The client's own flags decide, but for errors of rights and configuration: it calls some of them abortable, and
    /// aborting would only meet them again. A static member that slept through its session finds itself fenced by the one that it
    /// has become since; if there is another process of its name, the consumer hears of that as well.
    pub(super) fn of(error: &KafkaError) -> Self {
        match error.rdkafka_error_code() {
            Some(Code::FencedInstanceId) => Self::Abort,
            Some(code) if needs_a_person(code) => Self::Stop,
            Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch) => Self::Restore,
            _ => match error {
                KafkaError::Transaction(error) if error.is_fatal() => Self::Restore,
                KafkaError::Transaction(error) if error.txn_requires_abort() => Self::Abort,
                KafkaError::Transaction(error) if error.is_retriable() => Self::Retry,
                _ => Self::Restore,
            },
        }
    }

    /// The error of this remedy. A call that may still be tried again, but not any longer, leaves its outcome unknown.
    pub(super) fn error(self, text: String) -> StreamError {
        match self {
            Self::Abort => StreamError::Abort(text),
            Self::Retry | Self::Restore => StreamError::Restore(text),
            Self::Stop => StreamError::Stop(text),
        }
    }
}

/// A client that can't be made, because of a property. Its value is not shown, for it may be a secret.
pub(super) fn unmade(what: &str, error: &KafkaError) -> StreamError {
    let KafkaError::ClientConfig(_, description, name, value) = error else {
        return StreamError::Stop(format!("{what} can't be made: {error}"));
    };
    let description = if value.is_empty() { description.clone() } else { description.replace(value.as_str(), "…") };
    let advice = if description.contains("not available at build time") { "; build with `--features tls`" } else { "" };
    StreamError::Stop(format!("{what} can't be made, by the property `{name}` in [kafka.properties]: {description}{advice}"))
}

/// Whether an error is one of rights or configuration, which time doesn't heal.
pub(super) fn needs_a_person(code: Code) -> bool {
    is_denial(code)
        || matches!(
            code,
            Code::MessageSizeTooLarge
                | Code::UnknownTopic
                | Code::UnknownTopicOrPartition
                | Code::UnknownPartition
                | Code::InvalidTopic
                | Code::InvalidTransactionTimeout
                | Code::InvalidSessionTimeout
                | Code::InvalidGroupId
                | Code::InconsistentGroupProtocol
                | Code::FencedInstanceId
                | Code::GroupMaxSizeReached
                | Code::UnsupportedVersion
                | Code::UnsupportedFeature
                | Code::UnsupportedCompressionType
                | Code::NotImplemented
                | Code::PolicyViolation
                | Code::BadMessage
                | Code::BadCompression
                | Code::InvalidArgument
        )
}

/// Whether asking again can't bring another answer.
pub(super) fn is_final(error: &KafkaError) -> bool {
    error.rdkafka_error_code().is_some_and(needs_a_person)
}

/// Whether the brokers won't let this client in, or not do this.
pub(super) fn is_denial(code: Code) -> bool {
    matches!(
        code,
        Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::IllegalSASLState
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::DelegationTokenAuthorizationFailed
            | Code::DelegationTokenExpired
    )
}

/// What a person can do about an error, to follow its text.
pub(super) fn advice(code: Code) -> &'static str {
    match code {
        Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism | Code::IllegalSASLState => {
            "; check `security.protocol`, `sasl.*` and `ssl.*` among the Kafka properties"
        }
        Code::TopicAuthorizationFailed => {
            "; this user needs Read on the events and posterior topics, and Write on the scores, posterior and dead-letter topics"
        }
        Code::GroupAuthorizationFailed => "; this user needs Read on the consumer group",
        Code::TransactionalIdAuthorizationFailed => "; this user needs Write on the transactional id",
        Code::InvalidTransactionTimeout => "; the transaction time-out is above the brokers' `transaction.max.timeout.ms`",
        Code::InvalidSessionTimeout => "; the session time-out is outside the brokers' `group.{min,max}.session.timeout.ms`",
        Code::MessageSizeTooLarge => "; raise the topic's `max.message.bytes` to 1048588, its default",
        Code::FencedInstanceId => "; another process has the same `group.instance.id`",
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => "; a topic has been removed",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::config::FromClientConfig;
    use rdkafka::consumer::{BaseConsumer, DefaultConsumerContext};

    use super::*;

    #[test]
    fn the_value_of_a_property_that_is_refused_is_never_shown() {
        for (name, value) in [("sasl.passwrd", "hunter2"), ("security.protocol", "hunter2"), ("linger.ms", "hunter2")] {
            let made: Result<BaseConsumer<DefaultConsumerContext>, _> =
                BaseConsumer::from_config(ClientConfig::new().set(name, value));
            let error = made.err().expect("such a property is refused");
            let text = unmade("the client", &error).to_string();
            assert!(text.contains(name) && !text.contains(value), "{text}");
        }
    }
}
