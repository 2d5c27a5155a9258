//! Every number with a limit is taken at it and refused one past it, with the line, the value and what would be right.

use super::*;

/// Table, key, the least and the greatest value.
const RANGES: [(&str, &str, i64, i64); 22] = [
    ("model", "max_block", 1, 65_536),
    ("model.forecast", "max_keys", 1, 50_000),
    ("model.mixture", "components", 1, 1024),
    ("model.neural_network", "samples", 1, 1024),
    ("model.vae", "latent", 1, 1024),
    ("model.vae", "samples", 1, 1024),
    ("model.vae", "inner_steps", 1, 1024),
    ("kafka", "commit_interval_ms", 1, 60_000),
    ("kafka", "commit_max_events", 1, 1_000_000),
    ("kafka", "snapshot_interval_ms", 1, 3_600_000),
    ("kafka", "transaction_timeout_ms", 1000, 900_000),
    ("kafka", "session_timeout_ms", 1000, 300_000),
    ("kafka", "max_event_bytes", 1, 104_857_600),
    ("kafka", "max_depth", 1, 127),
    ("kafka", "replication_factor", 1, 32_767),
    ("columns", "capacity", 1, 1_000_000),
    ("features", "terms", 1, 64),
    ("features", "events", 1, 2048),
    ("features", "max_keys", 1, 1_000_000),
    ("model.neural_network", "hidden", 1, 4096),
    ("model.vae", "hidden", 1, 4096),
    ("model.regression", "prior_scale", 1, 1000),
];

fn with(table: &str, key: &str, value: i64) -> String {
    let value = if key == "hidden" { format!("[{value}]") } else { value.to_string() };
    match (table, key) {
        ("columns", _) => format!("{}{key} = {value}\n", COLUMN.replace("number", "category")),
        ("features", "terms") => format!("{COLUMN}[[features]]\nkind = \"fourier\"\nseason = \"day\"\n{key} = {value}\n"),
        ("features", _) => format!("{COLUMN}[[features]]\nkind = \"lag\"\nof = \"a\"\n{key} = {value}\n"),
        // The interval must end before the time-out.
        (_, "commit_interval_ms") => format!("{COLUMN}[kafka]\ntransaction_timeout_ms = 900000\n{key} = {value}\n"),
        _ => format!("{COLUMN}[{table}]\n{key} = {value}\n"),
    }
}

#[test]
fn numbers_are_taken_at_their_limits_and_refused_past_them() {
    for (table, key, least, greatest) in RANGES {
        for value in [least, greatest] {
            parsed(&with(table, key, value));
        }
        for value in [least - 1, greatest + 1, i64::MAX, i64::MIN] {
            let message = error(&with(table, key, value));
            assert!(message.starts_with("s.toml:") && message.contains(&format!("{key} = ")), "{message}");
            assert!(message.contains(&value.to_string()) && message.contains("expected "), "{message}");
        }
    }
}

#[test]
fn columns_and_layers_are_counted() {
    let columns =
        |count: usize| -> String { (0..count).map(|at| format!("[[columns]]\nname = \"c{at}\"\nkind = \"number\"\n")).collect() };
    assert_eq!(parsed(&columns(4096)).schema.width(), 4096);
    let message = error(&columns(4097));
    assert!(message.starts_with("s.toml:12290:8: 4097 columns, expected at most 4096\n"), "{message}");
    assert!(message.contains("name = \"c4096\"") && message.contains("help: leave out fields"), "{message}");
    let layers = |count: usize| format!("{COLUMN}[model.vae]\nhidden = {:?}\n", vec![1; count]);
    assert_eq!(parsed(&layers(8)).model.vae.hidden.len(), 8);
    assert!(error(&layers(9)).contains("8 of them at most"));
}

#[test]
fn names_have_a_length() {
    let id = |length: usize| format!("{COLUMN}[model]\nid = \"{}\"\n", "x".repeat(length));
    assert_eq!(parsed(&id(100)).model.id.len(), 100);
    assert!(error(&id(101)).contains("a name of 1 to 100 characters"));
    let topic = |length: usize| format!("{COLUMN}[kafka]\nevents = \"{}\"\n", "x".repeat(length));
    assert_eq!(parsed(&topic(249)).kafka.events.len(), 249);
    assert!(error(&topic(250)).contains("a topic name of 1 to 249 characters"));
}
