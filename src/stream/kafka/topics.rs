//! Topics: are they there, are they right, and if not, making them or saying how.
//!
//! Runs once, before anything is read. Never changes a topic that exists.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::client::{Complaints, Plain};
use super::fault;
use super::settings::Settings;
use crate::stream::{Outlet, StreamError};

/// How long one question to the brokers may take: between questions, complaints are looked at.
const SLICE: Duration = Duration::from_millis(500);
/// How long the client may be silent before all that it had to say counts as heard.
const DRAIN: Duration = Duration::from_millis(5);
/// How long a new topic may take to be known to all.
const SPREAD_LIMIT: Duration = Duration::from_secs(10);

/// How many partitions each topic has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Partitions {
    pub(super) scores: i32,
    pub(super) dead_letters: i32,
}

/// Topics as they are: partitions of the events topic and, by outlet, of those for results that exist.
pub(super) struct Found {
    pub(super) events: i32,
    pub(super) results: [(Outlet, Option<i32>); 3],
}

/// Looks at the topics and makes none. It is an error if one is wrong, or missing and not to be made.
pub(super) fn survey(settings: &Settings, client: &BaseConsumer<Plain>) -> Result<Found, StreamError> {
    let topics = &settings.topics;
    let deadline = Instant::now() + settings.connect_timeout;
    let Some(events) = partitions_of(settings, client, &topics.events, deadline)? else {
        return Err(StreamError::Stop(format!(
            "the events topic `{}` doesn't exist at {}: create it, or correct its name",
            topics.events, settings.brokers
        )));
    };
    let mut results = [Outlet::Scores, Outlet::DeadLetters, Outlet::Posterior].map(|outlet| (outlet, None));
    for (outlet, partitions) in &mut results {
        let topic = topics.of(*outlet);
        *partitions = partitions_of(settings, client, topic, deadline)?;
        if partitions.is_none() && !settings.create_topics {
            return Err(StreamError::Stop(format!(
                "the topic `{topic}` doesn't exist, and creating topics isn't allowed; create it with\n    {}",
                creation_command(settings, topic, *outlet, wanted(*outlet, events))
            )));
        }
        if *outlet == Outlet::Posterior && partitions.is_some() && settings.check_topics {
            check_posterior(settings, &admin(settings, client)?)?;
        }
    }
    Ok(Found { events, results })
}

/// Checks the topics and makes those that are missing.
pub(super) fn prepare(settings: &Settings, client: &BaseConsumer<Plain>) -> Result<Partitions, StreamError> {
    let found = survey(settings, client)?;
    check_events(settings, client)?;
    let mut made = Partitions { scores: 0, dead_letters: 0 };
    for (outlet, partitions) in found.results {
        let partitions = match partitions {
            Some(partitions) => partitions,
            None => {
                let topic = settings.topics.of(outlet);
                create(settings, &admin(settings, client)?, topic, outlet, wanted(outlet, found.events))?;
                await_topic(settings, client, topic)?
            }
        };
        match outlet {
            Outlet::Scores => made.scores = partitions,
            Outlet::DeadLetters => made.dead_letters = partitions,
            Outlet::Posterior => {}
        }
    }
    Ok(made)
}

/// Partitions that a topic for results is made with.
fn wanted(outlet: Outlet, events: i32) -> i32 {
    if outlet == Outlet::Posterior { 1 } else { events }
}

fn admin(settings: &Settings, client: &BaseConsumer<Plain>) -> Result<AdminClient<Plain>, StreamError> {
    let admin = settings.admin().create_with_context(client.context().as_ref().clone());
    admin.map_err(|error| fault::unmade("the Kafka admin client", &error))
}

/// How many partitions a topic has, or `None` if there is no such topic.
fn partitions_of(
    settings: &Settings,
    client: &BaseConsumer<Plain>,
    topic: &str,
    deadline: Instant,
) -> Result<Option<i32>, StreamError> {
    loop {
        let answer = client.fetch_metadata(Some(topic), SLICE);
        drain(client);
        if let Some(denial) = client.context().complaints.denial() {
            return Err(StreamError::Stop(format!("the brokers at {} refuse: {denial}", settings.brokers)));
        }
        let error = match answer {
            Ok(metadata) => match metadata.topics().iter().find(|found| found.name() == topic) {
                Some(found) => match found.error().map(Code::from) {
                    None => return Ok(Some(found.partitions().len() as i32)),
                    Some(Code::UnknownTopic | Code::UnknownTopicOrPartition) => return Ok(None),
                    Some(Code::LeaderNotAvailable) => KafkaError::MetadataFetch(Code::LeaderNotAvailable),
                    Some(code) => {
                        let text = format!("the topic `{topic}` can't be used: {code}{}", fault::advice(code));
                        return Err(StreamError::Stop(text));
                    }
                },
                None => return Ok(None),
            },
            Err(error) => error,
        };
        if Instant::now() > deadline {
            return Err(unreachable(settings, &error, &client.context().complaints));
        }
    }
}

fn unreachable(settings: &Settings, error: &KafkaError, complaints: &Complaints) -> StreamError {
    StreamError::Stop(format!(
        "no Kafka broker answers at {} within {:?}: {error}{}; check the address and that the broker is up",
        settings.brokers,
        settings.connect_timeout,
        complaints.bracketed()
    ))
}

/// Has the client's events served: complaints are among them. A poll that may not wait would serve one log line and no more.
fn drain(client: &BaseConsumer<Plain>) {
    while client.poll(DRAIN).is_some() {}
}

fn create(
    settings: &Settings,
    admin: &AdminClient<Plain>,
    topic: &str,
    outlet: Outlet,
    partitions: i32,
) -> Result<(), StreamError> {
    let replication = TopicReplication::Fixed(settings.replication_factor.unwrap_or(-1));
    let new =
        properties(outlet).iter().fold(NewTopic::new(topic, partitions, replication), |new, (name, value)| new.set(name, value));
    let options =
        AdminOptions::new().operation_timeout(Some(settings.connect_timeout)).request_timeout(Some(settings.connect_timeout));
    let failed = match block_on(admin.create_topics([&new], &options)) {
        Ok(results) => results.into_iter().find_map(Result::err).map(|(_, code)| code),
        Err(error) => Some(error.rdkafka_error_code().unwrap_or(match error {
            KafkaError::AdminOp(code) => code,
            _ => Code::Unknown,
        })),
    };
    match failed {
        None => {
            tracing::info!(topic, partitions, "topic created");
            Ok(())
        }
        Some(Code::TopicAlreadyExists) => Ok(()), // another instance was faster
        Some(code) => Err(StreamError::Stop(format!(
            "the topic `{topic}` doesn't exist and can't be created: {code}; create it with\n    {}",
            creation_command(settings, topic, outlet, partitions)
        ))),
    }
}

/// What a topic is created with.
///
/// Snapshots are replaced often: small segments are compacted soon, and a restart has little to read.
fn properties(outlet: Outlet) -> &'static [(&'static str, &'static str)] {
    match outlet {
        Outlet::Posterior => &[
            ("cleanup.policy", "compact"),
            ("segment.bytes", "16777216"),
            ("min.cleanable.dirty.ratio", "0.1"),
            ("max.compaction.lag.ms", "3600000"),
            ("delete.retention.ms", "86400000"),
        ],
        Outlet::Scores | Outlet::DeadLetters => &[],
    }
}

fn creation_command(settings: &Settings, topic: &str, outlet: Outlet, partitions: i32) -> String {
    let replication = settings.replication_factor.map_or_else(String::new, |factor| format!(" --replication-factor {factor}"));
    let properties: String = properties(outlet).iter().map(|(name, value)| format!(" --config {name}={value}")).collect();
    format!(
        "kafka-topics.sh --bootstrap-server {} --create --topic {topic} --partitions {partitions}{replication}{properties}",
        settings.brokers
    )
}

/// Waits until a topic that was created is known.
fn await_topic(settings: &Settings, client: &BaseConsumer<Plain>, topic: &str) -> Result<i32, StreamError> {
    let deadline = Instant::now() + SPREAD_LIMIT;
    loop {
        if let Some(partitions) = partitions_of(settings, client, topic, deadline)? {
            return Ok(partitions);
        }
        if Instant::now() > deadline {
            return Err(StreamError::Stop(format!("the topic `{topic}` was created, but isn't known after {SPREAD_LIMIT:?}")));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The events topic must not be compacted: an event whose key comes again would be gone before it is scored, or before a restart learns
/// it again, and nothing tells such a gap from what is always between records.
pub(super) fn check_events(settings: &Settings, client: &BaseConsumer<Plain>) -> Result<(), StreamError> {
    let topic = settings.topics.events.as_str();
    let described = if settings.check_topics { describe(settings, &admin(settings, client)?, topic) } else { None };
    let policy = described.map(|config| value(&config, "cleanup.policy").to_owned()).unwrap_or_default();
    if !policy.contains("compact") {
        return Ok(());
    }
    if settings.skip_deleted {
        tracing::warn!(topic, policy, "the events topic is compacted: events are missed without being counted");
        return Ok(());
    }
    Err(StreamError::Stop(format!(
        "the events topic `{topic}` has cleanup.policy={policy}: compaction deletes events before they are scored and leaves no trace; \
         change it with\n    {}\nor set `deleted_events = \"skip\"` in [kafka] to go on without them",
        alteration(settings, topic, "cleanup.policy=delete")
    )))
}

/// The posterior topic must keep the latest snapshot for ever and take messages of our size.
fn check_posterior(settings: &Settings, admin: &AdminClient<Plain>) -> Result<(), StreamError> {
    let topic = settings.topics.posterior.as_str();
    describe(settings, admin, topic).map_or(Ok(()), |config| check_posterior_config(settings, topic, &config))
}

/// A topic's configuration. Some brokers don't tell, some users may not ask: that is no reason not to work.
fn describe(settings: &Settings, admin: &AdminClient<Plain>, topic: &str) -> Option<ConfigResource> {
    let options = AdminOptions::new().request_timeout(Some(settings.connect_timeout));
    let described = match block_on(admin.describe_configs(&[ResourceSpecifier::Topic(topic)], &options)) {
        Ok(results) => results.into_iter().next().unwrap_or(Err(Code::NoEnt)),
        Err(KafkaError::AdminOp(code)) => Err(code),
        Err(error) => Err(error.rdkafka_error_code().unwrap_or(Code::Unknown)),
    };
    described.inspect_err(|code| tracing::warn!(topic, %code, "can't check whether the topic is compacted")).ok()
}

fn value<'a>(config: &'a ConfigResource, name: &str) -> &'a str {
    config.get(name).and_then(|entry| entry.value.as_deref()).unwrap_or_default()
}

/// The command that changes a topic's configuration.
fn alteration(settings: &Settings, topic: &str, change: &str) -> String {
    format!(
        "kafka-configs.sh --bootstrap-server {} --alter --entity-type topics --entity-name {topic} --add-config {change}",
        settings.brokers
    )
}

fn check_posterior_config(settings: &Settings, topic: &str, config: &ConfigResource) -> Result<(), StreamError> {
    let policy = value(config, "cleanup.policy");
    if policy != "compact" {
        return Err(StreamError::Stop(format!(
            "the posterior topic `{topic}` has cleanup.policy={policy}, which would lose snapshots; change it with\n    {}",
            alteration(settings, topic, "cleanup.policy=compact")
        )));
    }
    let limit: usize = value(config, "max.message.bytes").parse().unwrap_or(usize::MAX);
    if limit < settings.max_message_bytes {
        return Err(StreamError::Stop(format!(
            "the posterior topic `{topic}` takes messages of at most {limit} bytes, and ours may have {}; \
             lower the largest message that is sent, or raise the limit with\n    {}",
            settings.max_message_bytes,
            alteration(settings, topic, &format!("max.message.bytes={}", settings.max_message_bytes))
        )));
    }
    Ok(())
}

/// Waits for a future on this thread, whether or not an async runtime is around.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
