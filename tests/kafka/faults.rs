//! What goes wrong and what is said of it: an instance that runs twice, a broker that goes away and comes back, and the errors that
//! people meet at the start, each with what to do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::mocking::{MockCluster, MockCoordinator};
use surprisal::record::Partition;
use surprisal::stream::kafka::{KafkaStream, Settings};
use surprisal::stream::{Incoming, Outlet, Stream, StreamError};

use crate::copier::{Copier, LIMIT, Numbers, WAIT, committed, expect_each_once, fill, produce, settings};
use crate::support::broker::Broker;
use crate::support::topics::create_topic;

#[test]
fn the_same_instance_twice_is_noticed() {
    let brokers = Broker::shared().bootstrap();
    fill(brokers, "twins", 1, 100);
    let mut first = Copier::connect(settings(brokers, "twins", "same"));
    let run = first.run();
    first.send(&run);
    let mut second = Copier::connect(settings(brokers, "twins", "same"));
    let error = first.commit(&run).unwrap_err();
    assert!(matches!(&error, StreamError::Restore(text) if text.contains("twins-same")), "{error}");
    first.stream.restart().unwrap();
    assert!(matches!(first.stream.next(WAIT), Ok(Some(Incoming::Lost(_)))), "a restart begins with what is lost");
    // Each fences the other until one says why it gives up.
    let deadline = Instant::now() + LIMIT;
    let stopped = loop {
        assert!(Instant::now() < deadline, "nobody gives up");
        second.stream.begin().unwrap();
        let sent = second.stream.send(Outlet::Scores, Partition(0), None, Some(b"?"));
        let refused = sent.and_then(|()| second.stream.commit(&[])).unwrap_err();
        assert!(matches!(refused, StreamError::Restore(_)), "{refused}");
        if let Err(error) = second.stream.restart() {
            break error;
        }
        first.stream.restart().ok();
    };
    assert!(matches!(&stopped, StreamError::Stop(text) if text.contains("name of its own")), "{stopped}");
}

#[test]
fn a_broker_that_goes_away_and_comes_back_is_waited_for() {
    let mut broker = Broker::start();
    fill(broker.bootstrap(), "outage", 1, 3_000);
    let mut copier = Copier::connect(settings(broker.bootstrap(), "outage", "a"));
    let run = copier.run();
    copier.send(&run);
    broker.kill();
    broker.restart();
    // Whatever becomes of the transaction that was open, it is known afterwards.
    let mut done = 0;
    match copier.commit(&run) {
        Ok(()) => done += run.len(),
        Err(StreamError::Abort(_)) => copier.rewind(),
        Err(StreamError::Restore(_)) => copier.restart(),
        Err(error) => panic!("{error}"),
    }
    let deadline = Instant::now() + LIMIT;
    while done < 3_000 {
        assert!(Instant::now() < deadline, "{done} are done");
        let run = copier.run();
        copier.send(&run);
        match copier.commit(&run) {
            Ok(()) => done += run.len(),
            Err(StreamError::Abort(_)) => copier.rewind(),
            Err(StreamError::Restore(_)) => copier.restart(),
            Err(error) => panic!("{error}"),
        }
    }
    expect_each_once(&committed(broker.bootstrap(), "outage.scores", 1), 1, 3_000);
}

/// The client itself would wait for a coordinator that is away, whatever the time-out.
#[test]
fn a_coordinator_that_is_gone_does_not_hold_a_commit_up_for_ever() {
    let cluster = MockCluster::new(2).unwrap();
    let brokers = cluster.bootstrap_servers();
    for topic in ["gone", "gone.scores", "gone.posterior", "gone.dead"] {
        cluster.create_topic(topic, 1, 1).unwrap();
        cluster.partition_leader(topic, 0, Some(1)).unwrap();
    }
    let mut settings = settings(&brokers, "gone", "a");
    settings.transaction_timeout = Duration::from_secs(2);
    settings.check_topics = false;
    cluster.coordinator(MockCoordinator::Transaction(settings.transactional_id()), 1).unwrap();
    cluster.coordinator(MockCoordinator::Group("gone".into()), 2).unwrap();
    produce(&brokers, "gone", 1, 0..3_000);
    let mut copier = Copier::connect(settings);
    let run = copier.run();
    copier.send(&run);
    copier.commit(&run).unwrap();
    let run = copier.run();
    copier.send(&run);
    cluster.broker_down(2).unwrap();
    let asked = Instant::now();
    let refused = copier.commit(&run).unwrap_err();
    assert!(matches!(refused, StreamError::Abort(_) | StreamError::Restore(_)), "{refused}");
    assert!(asked.elapsed() < Duration::from_secs(8), "after {:?}", asked.elapsed());
    cluster.broker_up(2).unwrap();
    drop(copier);
}

#[test]
fn a_wrong_password_is_said_at_once() {
    const LOGIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule required \
                         username=\"broker\" password=\"right\" user_broker=\"right\" user_engine=\"right\";";
    let broker = Broker::start_with(&[
        ("listener.security.protocol.map", "PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT"),
        ("sasl.enabled.mechanisms", "PLAIN"),
        ("sasl.mechanism.inter.broker.protocol", "PLAIN"),
        ("listener.name.plaintext.plain.sasl.jaas.config", LOGIN),
    ]);
    let mut settings = settings(broker.bootstrap(), "secret", "a");
    settings.properties = [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", "engine"),
        ("sasl.password", "wrong"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    assert!(!format!("{settings:?}").contains("wrong"), "passwords stay out of logs");
    let begun = Instant::now();
    let denied = refusal(settings.clone());
    assert!(denied.contains("uthentication failed") && denied.contains("`sasl.*`"), "{denied}");
    assert!(begun.elapsed() < Duration::from_secs(5), "after {:?}", begun.elapsed());
    settings.properties.last_mut().unwrap().1 = "right".into();
    assert!(refusal(settings).contains("`secret` doesn't exist"));
}

fn refusal(settings: Settings) -> String {
    let begun = Instant::now();
    let refused = KafkaStream::connect(settings, Arc::new(Numbers), 1).map(|_| ());
    assert!(begun.elapsed() < Duration::from_secs(12), "an answer within 12 s");
    match refused {
        Err(StreamError::Stop(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn errors_at_the_start_say_what_to_do() {
    let brokers = Broker::shared().bootstrap();

    let unknown = refusal(settings(brokers, "no-such-topic", "a"));
    assert!(unknown.contains("`no-such-topic` doesn't exist"), "{unknown}");

    fill(brokers, "plain", 1, 1);
    create_topic(brokers, "plain.posterior", 1, &[]);
    let plain = refusal(settings(brokers, "plain", "a"));
    assert!(plain.contains("cleanup.policy=delete") && plain.contains("--add-config cleanup.policy=compact"), "{plain}");

    let mut forbidden = settings(brokers, "plain", "a");
    forbidden.create_topics = false;
    forbidden.topics.posterior = "plain.missing".into();
    forbidden.topics.scores = "plain".into();
    forbidden.topics.dead_letters = "plain".into();
    let forbidden = refusal(forbidden);
    assert!(forbidden.contains("--create --topic plain.missing") && forbidden.contains("cleanup.policy=compact"), "{forbidden}");

    let mut reserved = settings(brokers, "plain", "a");
    reserved.properties = vec![("isolation.level".into(), "read_uncommitted".into())];
    assert!(refusal(reserved).contains("isolation.level"));

    let mut misspelt = settings(brokers, "plain", "a");
    misspelt.properties = vec![("fetch.wiat.max.ms".into(), "5".into())];
    assert!(refusal(misspelt).contains("fetch.wiat.max.ms"));

    // A port that nobody listens on: bound once, so that it is nobody's, and closed again.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut nobody = settings(&format!("127.0.0.1:{port}"), "plain", "a");
    nobody.connect_timeout = Duration::from_secs(2);
    let nobody = refusal(nobody);
    assert!(nobody.contains(&format!("127.0.0.1:{port}")) && nobody.contains("refused"), "{nobody}");
}
