//! Every kind of model as a service: killed and started again it gives the very scores and snapshot of a run that was not.

use serde_json::Value;
use surprisal::codec::wire::Format;

use crate::events::batch;
use crate::log::{Follower, assert_same, produce, scores, snapshots};
use crate::process::{Process, text};
use crate::setup::Setup;

const EVENTS: u64 = 900;
/// Of them, those that are there before the kill.
const BEFORE: u64 = 600;

/// Columns of the last kind, beside those of the events.
const FEATURES: &str = "
[[features]]
kind = \"lag\"
of = \"amount\"
per = \"user\"
max_keys = 4

[[features]]
kind = \"rolling_mean\"
of = \"latency\"
events = 20

[[features]]
kind = \"log_gap\"
per = \"record_key\"

[[features]]
kind = \"fourier\"
season = \"hour\"

[regimes]
watch = [\"amount\", \"surprisal\", \"latency_mean_20\"]
";

const KINDS: [(&str, &str); 9] = [
    ("forecast", "kind = \"forecast\"\ntarget = \"amount\"\nforecast = { key = \"user\" }\n"),
    ("linear", "kind = \"linear_regression\"\ntarget = \"amount\"\n"),
    ("logistic", "kind = \"logistic_regression\"\ntarget = \"paid\"\n"),
    ("poisson", "kind = \"poisson_regression\"\ntarget = \"retries\"\nhalf_life_events = 500\n"),
    ("softmax", "kind = \"softmax_regression\"\ntarget = \"user\"\n"),
    ("network", "kind = \"neural_network\"\ntarget = \"amount\"\n"),
    ("vae", "kind = \"vae\"\n"),
    ("inferred", "kind = \"linear_regression\"\ntarget = \"amount\"\nhalf_life_events = \"inferred\"\n"),
    ("derived", "kind = \"linear_regression\"\ntarget = \"amount\"\n"),
];

#[test]
fn killed_models_of_every_kind_end_where_uninterrupted_ones_do() {
    for (name, model_keys) in KINDS {
        let setup = Setup::new(&format!("kinds-{name}"), 1);
        produce(setup.brokers, &setup.events, &batch(0..BEFORE, 1));
        let wishes = |run: &str| {
            let mut wishes = setup.wishes(&format!("{name}.{run}"));
            (wishes.model, wishes.model_keys) = (name.into(), format!("{model_keys}explain = \"always\"\n"));
            if name == "derived" {
                wishes.columns.push_str(FEATURES);
            }
            wishes
        };
        let (calm, mut wild) = (wishes("calm"), wishes("wild"));
        wild.kafka =
            "commit_interval_ms = 5\ncommit_max_events = 16\nsnapshot_interval_ms = 20\nsession_timeout_ms = 1500\n".into();
        let mut reference = Process::run(&setup.config(&format!("{name}.calm"), &calm));
        let config = setup.config(&format!("{name}.wild"), &wild);
        let mut service = Process::run(&config);
        let mut follower = Follower::open(setup.brokers, &wild.scores());
        follower.until(250);
        service.kill();
        // Whatever the killed one came to, there is something left for the next.
        produce(setup.brokers, &setup.events, &batch(BEFORE..EVENTS, 1));
        let mut service = Process::run(&config);
        follower.until(EVENTS as usize);
        service.stop();
        Follower::open(setup.brokers, &calm.scores()).until(EVENTS as usize);
        reference.stop();
        let [expected, found] = [&calm, &wild].map(|wishes| scores(setup.brokers, &wishes.scores(), Format::Json));
        assert_eq!(expected.len() as u64, EVENTS);
        assert!(found == expected, "{name}: the scores are others");
        for scored in found.values() {
            let contributions = &scored.score.explanation.as_ref().expect("always explained").contributions;
            let sum: f64 = contributions.iter().map(|one| one.nats).sum();
            let surprisal = scored.score.surprisal;
            assert!((sum - surprisal).abs() <= 1e-9 * surprisal.abs().max(1.0), "{name}: {sum}, {scored:?}");
        }
        let [expected, found] = [&calm, &wild].map(|wishes| snapshots(setup.brokers, &wishes.posterior()));
        assert_same(&found[&0], &expected[&0]);
        sampled(name, text(&config));
        explained(text(&config));
    }
}

/// Any event of the log is accounted for, by the posterior of now.
fn explained(config: &str) {
    let explain_of = |partition: &str, offset: &str, form: &[&str]| {
        let arguments = ["explain", "--config", config, "--partition", partition, "--offset", offset];
        let mut process = Process::start(&[&arguments, form].concat(), &[]);
        (process.wait(), process.stdout(), process.stderr())
    };
    let explain = |offset: &str, form: &[&str]| explain_of("0", offset, form);
    let (status, _, error) = explain_of("9", "100", &[]);
    assert!(status == 1 && error.contains("has no partition 9"), "{error}");
    let (status, said, error) = explain("100", &["--json"]);
    assert_eq!(status, 0, "{error}");
    let account: Value = serde_json::from_str(&said).unwrap();
    let nats = account["contributions"].as_array().unwrap().iter().map(|one| one["nats"].as_f64().unwrap());
    assert!((nats.sum::<f64>() - account["surprisal"].as_f64().unwrap()).abs() < 1e-9, "{account}");
    assert_eq!(account["learnt"], true, "{account}");
    let (status, said, error) = explain("101", &[]);
    assert!(status == 0 && said.contains("surprisal") && said.contains("had not seen it"), "{said}{error}");
    let (status, _, error) = explain("100000", &[]);
    assert!(status == 1 && error.contains("there is no event"), "{error}");
}

/// An autoencoder draws events that it could have read; of a regression no event can be drawn.
fn sampled(name: &str, config: &str) {
    let draw = |seed: &str| {
        let mut process = Process::start(&["sample", "--config", config, "--count", "40", "--seed", seed], &[]);
        (process.wait(), process.stdout(), process.stderr())
    };
    let (status, events, said) = draw("1");
    if name != "vae" {
        assert!(status == 1 && said.contains("has no events to draw from"), "{said}");
        return;
    }
    assert_eq!(status, 0, "{said}");
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), 40);
    for event in &events {
        assert!(event["request"]["latency_ms"].is_f64() && event["request"]["retries"].is_u64(), "{event}");
        assert!(event["paid"].is_boolean() && event["request"]["user.id"].is_string(), "{event}");
    }
    assert_eq!(draw("1").1, draw("1").1);
    assert_ne!(draw("1").1, draw("2").1);
}
