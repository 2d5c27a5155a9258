//! A cluster that asks who one is and what one may: a wrong password, no rights, and rights that are taken away.

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

#[test]
fn whoever_may_not_is_told_what_they_would_need() {
    let broker = guarded();
    let folder = tempfile::tempdir().unwrap();
    let login = file(&folder, "login.properties");
    let module = "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"broker\" password=\"right\";";
    std::fs::write(&login, format!("security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config={module}\n"))
        .unwrap();
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
    let grant = |arguments: &[&str]| {
        let connection = ["--bootstrap-server", broker.bootstrap(), "--command-config", text(&login), "--add"];
        broker.tool("kafka.admin.AclCommand", &[&connection, arguments].concat());
    };
    refused("wrong", &["uthentication failed", "check `security.protocol`, `sasl.*`"]);
    refused("right", &["`guarded`", "uthorization failed", "this user needs Read on the events and posterior topics"]);
    grant(&["--allow-principal", "User:engine", "--operation", "All", "--topic", "*"]);
    refused("right", &["uthorization failed", "this user needs Write on the transactional id"]);
    grant(&["--allow-principal", "User:engine", "--operation", "All", "--transactional-id", "*"]);
    refused("right", &["roup authorization failed", "this user needs Read on the consumer group"]);
    grant(&["--allow-principal", "User:engine", "--operation", "All", "--group", "*"]);
    let mut service = start("right");
    service.await_ready();
    grant(&["--deny-principal", "User:engine", "--operation", "Read", "--topic", "guarded"]);
    let status = eventually("the service ends", || service.ended());
    let said = service.stderr();
    let last = said.lines().last().unwrap();
    assert_eq!(status, 1, "{said}");
    assert!(last.contains("`guarded` can't be read") && last.contains("this user needs Read"), "{said}");
}
