//! A cluster that asks who one is and what one may: a wrong password, no rights, and rights that are taken away.

use std::io::{Read, Write};
use std::net::TcpStream;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use crate::process::{Process, eventually, file, text};
use crate::setup::Wishes;
use crate::support::broker::Broker;

const LOGIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"broker\" password=\"right\" \
                     user_broker=\"right\" user_engine=\"right\";";

/// A broker with an authorizer, where `broker` may do everything and `engine` nothing.
fn guarded() -> Broker {
    Broker::start_with(&[
        ("listener.security.protocol.map", "PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT"),
        ("sasl.enabled.mechanisms", "PLAIN"),
        ("sasl.mechanism.inter.broker.protocol", "PLAIN"),
        ("listener.name.plaintext.plain.sasl.jaas.config", LOGIN),
        ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
        ("super.users", "User:broker;User:ANONYMOUS"),
    ])
}

/// Kinds of resources, operations and permissions, as Kafka's protocol numbers them.
const TOPIC: u8 = 2;
const GROUP: u8 = 3;
const TRANSACTIONAL_ID: u8 = 5;
const ALL: u8 = 2;
const READ: u8 = 3;
const DENY: u8 = 2;
const ALLOW: u8 = 3;

/// A connection of the user `broker`, spoken by hand: the client has no call for rules.
struct Administrator(TcpStream);

impl Administrator {
    fn log_in(bootstrap: &str) -> Self {
        let mut connection = Self(TcpStream::connect(bootstrap).unwrap());
        connection.ask(17, 1, &string("PLAIN")); // SaslHandshake
        let secret = b"\0broker\0right";
        connection.ask(36, 0, &[&(secret.len() as u32).to_be_bytes()[..], secret].concat()); // SaslAuthenticate
        connection
    }

    /// Lets the user `engine` do something, or not.
    fn rule(&mut self, resource: u8, name: &str, operation: u8, permission: u8) {
        const LITERAL: u8 = 3;
        let creation = [
            &[0, 0, 0, 1, resource][..],
            &string(name),
            &[LITERAL],
            &string("User:engine"),
            &string("*"),
            &[operation, permission],
        ];
        let answer = self.ask(30, 1, &creation.concat()); // CreateAcls
        // Behind the throttle time and the number of answers.
        assert_eq!(answer[8..10], [0, 0], "{answer:?}");
    }

    /// Sends a request and returns the answer's body.
    fn ask(&mut self, api: u16, version: u16, body: &[u8]) -> Vec<u8> {
        let header = [&api.to_be_bytes()[..], &version.to_be_bytes(), &[0; 4], &string("test")].concat();
        let length = ((header.len() + body.len()) as u32).to_be_bytes();
        self.0.write_all(&[&length[..], &header, body].concat()).unwrap();
        let mut length = [0; 4];
        self.0.read_exact(&mut length).unwrap();
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut answer).unwrap();
        answer.split_off(4) // behind the correlation
    }
}

/// A string of Kafka's protocol.
fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

#[test]
fn whoever_may_not_is_told_what_they_would_need() {
    let broker = guarded();
    let folder = tempfile::tempdir().unwrap();
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .set("security.protocol", "SASL_PLAINTEXT")
        .set("sasl.mechanism", "PLAIN")
        .set("sasl.username", "broker")
        .set("sasl.password", "right")
        .create()
        .unwrap();
    let topic = NewTopic::new("guarded", 1, TopicReplication::Fixed(1));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(admin.create_topics([&topic], &AdminOptions::new())).unwrap()[0].clone().unwrap();

    let config = file(&folder, "guarded.toml");
    let wishes = Wishes {
        brokers: broker.bootstrap().into(),
        events: "guarded".into(),
        results: "guarded".into(),
        model: "model".into(),
        instance: "one".into(),
        kafka: "[kafka.properties]\n\"security.protocol\" = \"SASL_PLAINTEXT\"\n\"sasl.mechanism\" = \"PLAIN\"\n\
                \"sasl.username\" = \"engine\"\n\"sasl.password\" = { env = \"SURPRISAL_TEST_PASSWORD\" }\n"
            .into(),
        model_keys: String::new(),
        columns: crate::events::COLUMNS.into(),
    };
    std::fs::write(&config, wishes.text()).unwrap();
    let start = |password: &str| {
        Process::start(&["run", "--log-format", "json", "--config", text(&config)], &[("SURPRISAL_TEST_PASSWORD", password)])
    };
    let refused = |password: &str, says: &[&str]| {
        let mut process = start(password);
        assert_eq!(process.wait(), 1);
        let said = process.stderr();
        let last = said.lines().last().unwrap();
        assert!(last.starts_with("surprisal: ") && says.iter().all(|part| last.contains(part)), "{says:?}: {said}");
    };
    let mut administrator = Administrator::log_in(broker.bootstrap());
    refused("wrong", &["uthentication failed", "check `security.protocol`, `sasl.*`"]);
    refused("right", &["`guarded`", "uthorization failed", "this user needs Read on the events and posterior topics"]);
    administrator.rule(TOPIC, "*", ALL, ALLOW);
    refused("right", &["uthorization failed", "this user needs Write on the transactional id"]);
    administrator.rule(TRANSACTIONAL_ID, "*", ALL, ALLOW);
    refused("right", &["roup authorization failed", "this user needs Read on the consumer group"]);
    administrator.rule(GROUP, "*", ALL, ALLOW);
    let mut service = start("right");
    service.await_ready();
    administrator.rule(TOPIC, "guarded", READ, DENY);
    let status = eventually("the service ends", || service.ended());
    let said = service.stderr();
    let last = said.lines().last().unwrap();
    assert_eq!(status, 1, "{said}");
    assert!(last.contains("`guarded` can't be read") && last.contains("this user needs Read"), "{said}");
}
