//! What a person meets who got something wrong: an exit status, and a message that says what and what to do, soon.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::events::batch;
use crate::log::{Follower, await_topic, produce};
use crate::plain::output;
use crate::process::{Process, text};
use crate::setup::{Setup, Wishes};
use crate::support::topics::create_topic;

/// A wrong configuration.
struct Case {
    name: &'static str,
    text: String,
    status: i32,
    /// Parts of the message.
    says: Vec<String>,
    /// Whether `surprisal check` finds it, too.
    checked: bool,
}

fn cases(setup: &Setup) -> Vec<Case> {
    let wishes = |change: &dyn Fn(&mut Wishes)| {
        let mut wishes = setup.wishes("wrong");
        change(&mut wishes);
        wishes.text()
    };
    let says = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    create_topic(setup.brokers, "uncompacted.posterior", 1, &[]);
    await_topic(setup.brokers, "uncompacted.posterior");
    create_topic(setup.brokers, "compacted-events", 1, &[("cleanup.policy", "compact")]);
    await_topic(setup.brokers, "compacted-events");
    let right = wishes(&|_| ());
    vec![
        Case {
            name: "broker",
            text: wishes(&|wishes| wishes.brokers.clone_from(&nobody)),
            status: 1,
            says: says(&["no Kafka broker answers at ", &nobody, "onnection refused"]),
            checked: true,
        },
        Case {
            name: "topic",
            text: wishes(&|wishes| wishes.events = "no-such-topic".into()),
            status: 1,
            says: says(&["the events topic `no-such-topic` doesn't exist", "create it, or correct its name"]),
            checked: true,
        },
        Case {
            name: "posterior",
            text: wishes(&|wishes| wishes.results = "uncompacted".into()),
            status: 1,
            says: says(&["`uncompacted.posterior` has cleanup.policy=delete", "--add-config cleanup.policy=compact"]),
            checked: true,
        },
        Case {
            name: "compacted",
            text: wishes(&|wishes| wishes.events = "compacted-events".into()),
            status: 1,
            says: says(&[
                "`compacted-events` has cleanup.policy=compact",
                "--add-config cleanup.policy=delete",
                "deleted_events = ",
            ]),
            checked: true,
        },
        Case {
            name: "key",
            text: wishes(&|wishes| wishes.kafka = "comit_interval_ms = 5\n".into()),
            status: 2,
            says: says(&["key.toml:", "unknown key `comit_interval_ms`", "did you mean `commit_interval_ms`?"]),
            checked: true,
        },
        Case {
            name: "variable",
            text: wishes(&|wishes| {
                wishes.kafka = "[kafka.properties]\n\"sasl.password\" = { env = \"SURPRISAL_UNSET\" }\n".into();
            }),
            status: 2,
            says: says(&["variable.toml:", "the environment variable \"SURPRISAL_UNSET\" is not set"]),
            checked: true,
        },
        Case {
            name: "password",
            text: wishes(&|wishes| wishes.kafka = "[kafka.properties]\n\"sasl.password\" = \"xyzzy\"\n".into()),
            status: 2,
            says: says(&["the property \"sasl.password\" is a secret", "env = "]),
            checked: true,
        },
        Case {
            name: "address",
            text: right.replace("127.0.0.1:0", setup.brokers),
            status: 1,
            says: says(&["cannot listen at ", setup.brokers, "set another address"]),
            checked: false,
        },
    ]
}

#[test]
fn whoever_gets_it_wrong_is_told_what_to_do() {
    let setup = Setup::new("wrong", 1);
    let cases = cases(&setup);
    let begun = Instant::now();
    let mut started = Vec::new();
    for case in &cases {
        let config = setup.folder.path().join(format!("{}.toml", case.name));
        std::fs::write(&config, &case.text).unwrap();
        for command in ["run", "check"].into_iter().filter(|command| *command == "run" || case.checked) {
            started.push((case, command, Process::start(&[command, "--config", text(&config)], &[])));
        }
    }
    for (case, command, process) in &mut started {
        let (name, status) = (case.name, process.wait());
        assert!(begun.elapsed() < Duration::from_secs(25), "{command} with a wrong {name} ends soon");
        let said = process.stderr();
        assert_eq!(status, case.status, "{command} with a wrong {name}: {said}");
        // The message is the last that is said, and begins with the program's name.
        let at = said.rfind("surprisal: ").unwrap_or_else(|| panic!("{command} with a wrong {name}: {said}"));
        let message = &said[at..];
        assert!(message.lines().count() <= 6 && message.len() < 600, "{name}: more than a glance takes in: {message}");
        for part in &case.says {
            assert!(message.contains(part), "{command} with a wrong {name}: {part:?} in {message}");
        }
        assert!(!said.contains("xyzzy"), "{name}: {said}");
        assert!(said.lines().count() < 30, "{command} with a wrong {name} says too much:\n{said}");
    }
    let of_nobody = setup.folder.path().join("broker.toml");
    let unexplained = output(&["explain", "--config", text(&of_nobody), "--partition", "0", "--offset", "0"]);
    assert_eq!(unexplained.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unexplained.stderr).contains("surprisal: no Kafka broker answers at "), "{unexplained:?}");
    let missing = output(&["run", "--config", "no-such-file.toml"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).starts_with("surprisal: no-such-file.toml: cannot read the configuration"));
}

#[test]
fn a_right_configuration_is_checked_and_nothing_is_made() {
    let setup = Setup::new("right", 3);
    let wishes = setup.wishes("right");
    let config = setup.config("right", &wishes);
    for missing in [true, false] {
        let said = output(&["check", "--config", text(&config)]);
        assert!(said.status.success(), "{said:?}");
        let words = String::from_utf8(said.stdout).unwrap();
        assert!(
            words.contains("the configuration is right") && words.contains("events topic `right` has 3 partitions"),
            "{words}"
        );
        for topic in [wishes.scores(), wishes.posterior(), wishes.dead_letters()] {
            assert_eq!(words.contains(&format!("topic `{topic}` does not exist yet")), missing, "{words}");
        }
        // There is nothing to inspect yet, which is no fault of the topics.
        let refused = output(&["inspect", "--config", text(&config)]);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.starts_with("surprisal: `right.posterior` holds no snapshot of model `model`"), "{said}");
        if missing {
            let mut service = Process::run(&config);
            service.await_ready();
            service.stop();
            // The build for tests says that it is one.
            assert_eq!(service.stderr().contains("not for production"), cfg!(feature = "failpoints"));
        }
    }
}

#[test]
fn no_output_shows_a_secret() {
    const SECRET: &str = "correct-horse-battery";
    let setup = Setup::new("secret", 1);
    produce(setup.brokers, &setup.events, &batch(0..50, 1));
    let properties = "[kafka.properties]\n\"debug\" = \"all\"\n\"sasl.username\" = \"engine\"\n\
                      \"sasl.password\" = { env = \"SURPRISAL_TEST_SECRET\" }\n";
    let start = |command: &str, name: &str, properties: &str| {
        let mut wishes = setup.wishes("secret");
        wishes.kafka = properties.into();
        let config = setup.config(name, &wishes);
        let arguments = [command, "--log-format", "json", "--log", "trace", "--config", text(&config)];
        Process::start(&arguments, &[("SURPRISAL_TEST_SECRET", SECRET)])
    };
    let mut service = start("run", "works", properties);
    // The broker speaks no SASL: this one is refused.
    let sasl = format!("{properties}\"security.protocol\" = \"SASL_PLAINTEXT\"\n\"sasl.mechanism\" = \"PLAIN\"\n");
    let mut refused = start("check", "refused", &sasl);
    service.await_ready();
    Follower::open(setup.brokers, "secret.scores").until(50);
    service.stop();
    assert_eq!(refused.wait(), 1);
    assert!(service.stderr().contains("sasl.password = [redacted]"), "the client tells its settings");
    for process in [&service, &refused] {
        let said = process.stdout() + &process.stderr();
        assert!(said.contains("\"level\":\"DEBUG\""), "debug logs are on");
        assert!(!said.contains(SECRET), "a secret is shown");
    }
}
