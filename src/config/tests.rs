mod limits;

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::calibration::Budget;
use crate::device::Device;
use crate::drift::Series;
use crate::features::derive::{DEFAULT_KEYS, Derived, Formula, Per, Phase, Season, Statistic};
use crate::features::{Column, Kind, Task};

const EXAMPLE: &str = include_str!("../../deploy/surprisal.toml");
const TABLE: &str = include_str!("../../docs/configuration.md");
const COLUMN: &str = "[[columns]]\nname = \"a\"\nkind = \"number\"\n";

/// What `text` says on a machine named `my-host`, where the variable `SET` holds `hunter2`.
fn parse(text: &str) -> Result<Config, ConfigError> {
    let variable = |name: &str| (name == "SET").then(|| "hunter2".to_owned());
    Config::parse(text, "s.toml", &Environment { host: "my-host".into(), variable: Some(&variable) })
}

fn parsed(text: &str) -> Config {
    parse(text).unwrap_or_else(|error| panic!("{error}"))
}

/// The whole error message for `text`.
fn error(text: &str) -> String {
    parse(text).expect_err("the text is wrong").to_string()
}

fn lines(lines: &[&str]) -> String {
    lines.join("\n")
}

#[test]
fn what_the_stream_would_refuse_is_refused_with_its_line() {
    for name in crate::stream::kafka::RESERVED {
        let message = error(&format!("{COLUMN}[kafka.properties]\n{name:?} = \"1\"\n"));
        assert!(message.contains(&format!("the property {name:?} can't be set here")), "{message}");
    }
}

#[test]
fn the_smallest_configuration_has_every_default() {
    let config = parsed(COLUMN);
    let column = Column { name: "a".into(), path: vec!["a".into()], kind: Kind::Number };
    assert_eq!(config.schema.columns(), [column]);
    assert_eq!(config.model.learning(), crate::engine::Learning::default());
    assert_eq!(config.kafka.group, "surprisal-default");
    assert_eq!(config.kafka.instance, "my-host");
    assert!(config.http.listen.ip().is_loopback());
}

#[test]
fn the_example_loads_and_its_commented_keys_are_the_defaults() {
    let written = parsed(EXAMPLE);
    let names: Vec<_> = written.schema.columns().iter().map(|column| column.path.join("/")).collect();
    assert_eq!(names, ["request/latency_ms", "request/http.route", "retries", "cached", "time"]);
    let uncommented: Vec<_> = EXAMPLE
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| rest.starts_with(|first: char| first.is_alphabetic())).unwrap_or(line))
        .collect();
    let shown = uncommented.iter().zip(EXAMPLE.lines()).filter(|(after, before)| **after != *before).count();
    assert_eq!(shown, 56, "commented keys in the example");
    assert_eq!(parsed(&lines(&uncommented)), written);
}

#[test]
fn the_configuration_of_the_compose_file_loads() {
    let config = parsed(include_str!("../../deploy/compose.toml"));
    assert!(!config.http.listen.ip().is_loopback(), "Prometheus runs in another container");
}

/// Keys in the documentation's table, with their defaults.
fn documented() -> Vec<(&'static str, &'static str)> {
    let rows = TABLE.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let (key, rest) = row.split_once("` | ").expect("a row has cells");
        (key, rest.split(" | ").next().expect("there is a first"))
    })
    .collect()
}

#[test]
fn the_documentation_lists_every_key_that_is_known_and_no_other() {
    let mut known = BTreeSet::new();
    let tables = [
        ("[model]", "model"),
        ("[model.forecast]", "model.forecast"),
        ("[model.mixture]", "model.mixture"),
        ("[model.regression]", "model.regression"),
        ("[model.neural_network]", "model.neural_network"),
        ("[model.vae]", "model.vae"),
        ("[alerts]", "alerts"),
        ("[regimes]", "regimes"),
        ("[kafka]", "kafka"),
        ("[http]", "http"),
        ("[[columns]]", "columns"),
        ("[[features]]", "features"),
    ];
    for (header, prefix) in tables {
        // The parser itself says what it would have known.
        let message = error(&format!("{header}\nzzzzzzzzzz = 1\n"));
        let (_, keys) = message.split_once("known here: ").expect("an unknown key is told what is known");
        known.extend(keys.split(", ").map(|key| format!("{prefix}.{key}")));
    }
    known.retain(|key| !tables.iter().any(|(_, table)| table == key));
    let listed: BTreeSet<_> = documented().into_iter().map(|(key, _)| key.to_owned()).collect();
    assert_eq!(listed, known);
    for key in known {
        assert!(EXAMPLE.contains(&format!("{} = ", key.rsplit('.').next().unwrap())) || key == "kafka.properties", "{key}");
    }
}

#[test]
fn documented_defaults_are_the_real_ones() {
    let mut checked = 0;
    for (key, default) in documented() {
        let Some(value) = default.strip_prefix('`').and_then(|default| default.strip_suffix('`')) else { continue };
        let (table, key) = key.rsplit_once('.').unwrap();
        let (text, expected) = match table {
            "columns" => {
                (COLUMN.replace("number", "category") + &format!("{key} = {value}\n"), COLUMN.replace("number", "category"))
            }
            "features" => {
                let lag = format!("{COLUMN}[[features]]\nname = \"f\"\n");
                let lag =
                    lag + if key == "terms" { "kind = \"fourier\"\nseason = \"day\"\n" } else { "kind = \"lag\"\nof = \"a\"\n" };
                (format!("{lag}{key} = {value}\n"), lag)
            }
            _ => (format!("{COLUMN}[{table}]\n{key} = {}\n", value.replace("<model.id>", "default")), COLUMN.to_owned()),
        };
        assert_eq!(parsed(&text), parsed(&expected), "{table}.{key} = {value}");
        checked += 1;
    }
    assert_eq!(
        checked,
        documented().len() - 15,
        "all but name, path, kind, instance, robust, target, inputs, learning_rate, rate, key, of, season and events have a default that can be written"
    );
}

#[test]
fn every_key_changes_what_it_names() {
    let text = "[model]\nid = \"pay\"\nhalf_life_events = 5e4\nhalf_life_time = \"1.5h\"\nlearning = \"population\"\n\
                population_events = 1e6\npopulation_exponent = 0.75\nmax_block = 8\nrobust = false\ndevice = \"cuda:1\"\nexplain = \"always\"\n\
                kind = \"neural_network\"\ntarget = \"x.y\"\ninputs = [\"z\"]\n\
                [model.regression]\nprior_scale = 1.5\ninner_steps = 7\n[model.neural_network]\nhidden = [7]\nsamples = 5\nnoise = \"varying\"\nprior_scale = 0.5\noptimiser = \"adam\"\nlearning_rate = 0.02\n[model.forecast]\nkey = \"x.y\"\nmax_keys = 11\n[model.vae]\nlatent = 3\nhidden = [9, 8]\nsamples = 4\ninner_steps = 2\nlearning_rate = 0.01\n[model.mixture]\ncomponents = 3\ncovariance = \"full\"\nconcentration = 2\n\
                [[columns]]\nname = \"x.y\"\npath = [\"x.y\"]\nkind = \"category\"\ncapacity = 5\n\
                [[columns]]\nname = \"z\"\nkind = \"number\"\n\
                [[features]]\nkind = \"fourier\"\nname = \"w\"\nseason = \"week\"\nterms = 1\n\
                [[features]]\nkind = \"rolling_sd\"\nof = \"z\"\nevents = 9\nper = \"x.y\"\nmax_keys = 8\n\
                [alerts]\nrate = 1e-3\nwindow = 20\n\
                [regimes]\nwatch = [\"z\", \"surprisal\", \"z_sd_9_per_x.y\"]\nlasting_events = 500\n\
                [kafka]\nbrokers = [\"a:1\", \"SSL://[::1]:2\"]\ninstance = \"i\"\nevents = \"e\"\nscores = \"s\"\nposterior = \"p\"\n\
                dead_letters = \"d\"\nstart = \"latest\"\ndeleted_events = \"skip\"\nstatic_membership = true\ncommit_interval_ms = 1\ncommit_max_events = 2\nsnapshot_interval_ms = 3\narchived_snapshots = 4\narchive_interval_ms = 5\n\
                transaction_timeout_ms = 4000\nsession_timeout_ms = 8000\nscores_format = \"protobuf\"\ncreate_topics = false\nreplication_factor = 3\n\
                max_event_bytes = 6\nmax_depth = 7\n\
                [kafka.properties]\n\"linger.ms\" = 5\n\"sasl.password\" = { env = \"SET\" }\n\"socket.keepalive.enable\" = true\n\
                [http]\nlisten = \"[::1]:0\"\n";
    let Config { model, schema, derivation, alerts, watch, kafka, http } = parsed(text);
    let mixture = MixtureConfig { components: 3, covariance: Covariance::Full, concentration: 2.0, ..MixtureConfig::default() };
    let expected = ModelConfig {
        id: "pay".into(),
        kind: ModelKind::NeuralNetwork,
        half_life_events: HalfLife::Events(5e4),
        half_life_ms: 5_400_000.0,
        learning: LearningKind::Population,
        population_events: 1e6,
        population_exponent: 0.75,
        target: Some("x.y".into()),
        inputs: Some(vec!["z".into()]),
        forecast: ForecastConfig { key: Some("x.y".into()), max_keys: 11 },
        regression: RegressionConfig { prior_scale: 1.5, inner_steps: 7 },
        neural_network: NetworkConfig {
            hidden: vec![7],
            samples: 5,
            noise: NoiseKind::Varying,
            prior_scale: 0.5,
            optimiser: OptimiserKind::Adam,
            learning_rate: Some(0.02),
        },
        vae: VaeConfig { latent: 3, hidden: vec![9, 8], samples: 4, inner_steps: 2, learning_rate: 0.01 },
        max_block: 8,
        robust: Some(false),
        explain: ExplainKind::Always,
        device: Device::Cuda(1),
        mixture,
    };
    assert_eq!(model, expected);
    assert_eq!(model.task(&schema), Some(Task { target: 0, inputs: vec![1] }));
    let column = |name: &str, kind| Column { name: name.into(), path: vec![name.into()], kind };
    assert_eq!(schema.columns(), [column("x.y", Kind::Category { capacity: 5 }), column("z", Kind::Number)]);
    let derived = |name: &str, formula, per, max_keys| Derived { name: name.into(), formula, per, max_keys };
    let wave = |phase| Formula::Wave { season: Season::Week, harmonic: 1, phase };
    let rolling = Formula::Rolling { of: 1, statistic: Statistic::Deviation, events: 9 };
    let expected = Derivation::new(
        &schema,
        vec![
            derived("w_sin_1", wave(Phase::Sine), Per::Partition, DEFAULT_KEYS),
            derived("w_cos_1", wave(Phase::Cosine), Per::Partition, DEFAULT_KEYS),
            derived("z_sd_9_per_x.y", rolling, Per::Cell(0), 8),
        ],
    );
    assert_eq!(derivation, expected);
    let properties: Vec<_> = kafka.client_properties().collect();
    assert_eq!(properties, [("linger.ms", "5"), ("sasl.password", "hunter2"), ("socket.keepalive.enable", "true")]);
    let milliseconds = std::time::Duration::from_millis;
    let expected = KafkaConfig {
        brokers: "a:1,SSL://[::1]:2".into(),
        group: "surprisal-pay".into(),
        instance: "i".into(),
        events: "e".into(),
        scores: "s".into(),
        posterior: "p".into(),
        dead_letters: "d".into(),
        start: Start::Latest,
        deleted_events: DeletedEvents::Skip,
        static_membership: true,
        commit_interval: milliseconds(1),
        commit_max_events: 2,
        snapshot_interval: milliseconds(3),
        archived_snapshots: 4,
        archive_interval: milliseconds(5),
        transaction_timeout: milliseconds(4000),
        session_timeout: milliseconds(8000),
        scores_format: ScoresFormat::Protobuf,
        create_topics: false,
        replication_factor: 3,
        max_event_bytes: 6,
        max_depth: 7,
        properties: kafka.properties.clone(),
    };
    assert_eq!(kafka, expected);
    assert_eq!(alerts, Alerts { budget: Budget::Rate(1e-3), window: 20.0, ..Alerts::default() });
    assert_eq!(parsed(&format!("{COLUMN}[alerts]\nper_day = 24\n")).alerts.budget, Budget::PerDay(24.0));
    let series = |name: &str, cell| Series { name: name.into(), cell };
    let expected = vec![series("z", Some(1)), series("surprisal", None), series("z_sd_9_per_x.y", Some(4))];
    assert_eq!(watch, Watch { series: expected, hazard: 0.002 });
    assert_eq!(http.listen.to_string(), "[::1]:0");
}

#[test]
fn an_inferred_half_life_leaves_forgetting_to_the_model() {
    let learning = |keys: &str| parsed(&format!("[model]\nhalf_life_events = \"inferred\"\n{keys}\n{COLUMN}")).model.learning();
    let expected = crate::engine::Learning { max_block: 8, ..Default::default() };
    assert_eq!(learning(""), expected);
    assert_eq!(learning("max_block = 32").max_block, 32);
    assert_eq!(learning("half_life_time = \"1s\"").rule.half_life_ms, 1000.0);
}

/// Wrong configurations and all that is said about each: `text`, a line `---`, the message, a line `===`.
const ERRORS: &str = include_str!("errors.txt");

/// A forecast has no inputs that could tell its target, so that a difference of it can be watched.
#[test]
fn a_forecast_may_have_a_difference_of_its_target() {
    let difference = "[[features]]\nkind = \"difference\"\nof = \"a\"\nevents = 2016\n";
    let watched = "[regimes]\nwatch = [\"a_difference_2016\"]\n";
    let with = |kind: &str| format!("[model]\nkind = \"{kind}\"\ntarget = \"a\"\n{COLUMN}{difference}{watched}");
    assert_eq!(parsed(&with("forecast")).watch.series[0].cell, Some(1));
    assert!(error(&with("linear_regression")).contains("tells the target"));
}

#[test]
fn errors_show_place_value_and_what_would_be_right() {
    let cases: Vec<_> = ERRORS.split("\n===\n").filter(|case| !case.trim().is_empty()).collect();
    for case in &cases {
        let (text, message) = case.split_once("\n---\n").expect("a case has two parts");
        assert_eq!(error(text), message, "for the configuration\n{text}");
    }
    assert_eq!(cases.len(), 86);
}

#[test]
fn errors_quote_the_offending_line_at_its_column() {
    let message = error("[model]\r\n\r\n[kafka]\r\nmax_dept = 3\r\n");
    assert!(message.starts_with("s.toml:4:1: unknown key `max_dept`\n  |\n4 | max_dept = 3\n  | ^^^^^^^^\n"), "{message}");
    assert!(message.contains("did you mean `max_depth`?"), "{message}");
    // What is missing at the end of a line is missed there, behind its blanks.
    assert!(error("[model]\nkind \n").ends_with("2 | kind \n  |      ^"));
    // Columns count characters, whatever their bytes.
    let message = error("[kafka]\nproperties = { \"größe\" = [] }\n");
    assert!(message.starts_with("s.toml:2:26: invalid type: sequence"), "{message}");
    assert!(message.contains(&format!("\n  | {}^^", " ".repeat(25))), "{message}");
}

#[test]
fn an_unreadable_file_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("absent.toml");
    let message = Config::load(&path).expect_err("there is no such file").to_string();
    assert!(message.starts_with(&format!("{}: cannot read the configuration: ", path.display())), "{message}");
    std::fs::write(&path, EXAMPLE).expect("a file");
    assert_eq!(Config::load(&path).expect("the example loads").schema.width(), 5);
}

#[test]
fn secrets_are_never_shown() {
    let config = parsed(&format!("{COLUMN}[kafka.properties]\n\"sasl.password\" = {{ env = \"SET\" }}\n"));
    assert!(config.kafka.client_properties().any(|property| property == ("sasl.password", "hunter2")));
    let secret = Secret::new("hunter2".into());
    for shown in [format!("{config:?}"), format!("{config:#?}"), format!("{secret:?} {secret}")] {
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("***"), "{shown}");
    }
    // A secret under a misspelt name is taken for a plain value, and not shown either.
    let misspelt = parsed(&format!("{COLUMN}[kafka.properties]\n\"sasl.pasword\" = \"hunter2\"\n"));
    assert!(!format!("{misspelt:?}").contains("hunter2"));
    // Secrets written where they don't belong, right or wrong TOML.
    for text in [
        "[kafka.properties]\n\"sasl.password\" = \"hunter2\"\n",
        "[kafka.properties]\n\"sasl.password\" = hunter2\n",
        "[kafka.properties]\nsasl.password = \"hunter2\"\n",
        "[kafka.properties]\n\"sasl.password\" = [\"hunter2\"]\n",
        "[kafka.properties]\n\"SSL.Key.Password\" = \"hunter2\"\n",
        "[kafka.properties]\n\"sasl.oauthbearer.client.secret\" = \"hunter2\"\n",
        "[kafka.properties]\n\"ssl.key.pem\" = \"\"\"\nhunter2\n",
        "[kafka.properties]\n\"ssl.key.pem\" = \"\"\"\nhunter2\"\"\"\n",
        "[kafka.properties]\n\"ssl.key.pem\" = \"\"\"\nhunter2\n\"\"\" oops\n",
        "[kafka.properties]\n\"sasl.password\" = [\n\"hunter2\" oops\n]\n",
        "[kafka.properties]\n# \"sasl.password\" = \"hunter2\u{1}\"\n",
        "[kafka]\nsasl.password = \"hunter2\"\n",
        "[kafka]\npassword = \"hunter2\n",
        "[kafka]\nproperties = { \"sasl.password\" = \"hunter2\" }\n",
        "kafka = { properties = { \"sasl.password\" = \"hunter2\", x = { env = \"UNSET\" } } }\n",
    ] {
        let error = parse(&format!("{COLUMN}{text}")).expect_err("a secret in a file is refused");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}

#[test]
fn work_without_kafka_needs_no_secrets() {
    let text = format!("{COLUMN}[kafka.properties]\n\"sasl.password\" = {{ env = \"UNSET\" }}\n\"linger.ms\" = 5\n");
    let config =
        Config::parse(&text, "s.toml", &Environment { host: "my-host".into(), variable: None }).expect("no secret is needed");
    assert_eq!(config.kafka.client_properties().collect::<Vec<_>>(), [("linger.ms", "5")]);
    assert!(error(&text).contains("\"UNSET\" is not set"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever slips into a file, the error points into it: at a line that is there, at text that is in the line.
    #[test]
    fn any_slip_of_the_finger_is_located(at in 0..EXAMPLE.len(), cut in 0..20_usize, slip in "[\\PC\n\"'=#\\[{]{0,3}") {
        let end = (at + cut).min(EXAMPLE.len());
        let text = [&EXAMPLE[..at], &slip, &EXAMPLE[end..]].concat();
        if let Err(ConfigError::Invalid(invalid)) = parse(&text) {
            if let Some(place) = &invalid.place {
                let line = text.split('\n').nth(place.line - 1).expect("the line is there");
                prop_assert!(place.text == line.trim_end_matches('\r') || place.text.ends_with("***"), "{invalid}");
                prop_assert!(place.column >= 1 && place.column + place.width <= place.text.chars().count() + 2, "{invalid}");
            }
            prop_assert!(invalid.to_string().starts_with("s.toml"));
        }
    }
}
