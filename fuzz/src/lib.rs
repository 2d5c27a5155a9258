//! What must hold of any bytes whatever: one function a decoder, which panics where it doesn't.
//!
//! libFuzzer calls them with bytes of its own making (`targets/`), and `tests/hostile.rs` with the corpora that are committed, so that
//! what was found once is tried with every `make test`.

mod restore;
mod seeds;

use surprisal::app;
use surprisal::codec::Decode;
use surprisal::codec::json::{JsonDecoder, Limits};
use surprisal::codec::wire::{self, Assembler, Format};
use surprisal::config::{Config, ConfigError, Environment};
use surprisal::features::{Column, Kind, Rows, Schema};

pub use restore::{kinds, restore, snapshots};
pub use seeds::seeds;

/// A target's name, and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 6] =
    [("json", json), ("score", score), ("letter", letter), ("chunks", chunks), ("restore", restore), ("config", config)];

/// Columns of every kind, flat and nested.
pub fn schema() -> Schema {
    let columns = [
        ("x", "x", Kind::Number),
        ("y", "in.y", Kind::Number),
        ("text", "in.text", Kind::Category { capacity: 4 }),
        ("count", "count", Kind::Count),
        ("flag", "flag", Kind::Boolean),
        ("time", "time", Kind::Timestamp),
    ];
    let column = |(name, path, kind): (&str, &str, Kind)| Column {
        name: name.into(),
        path: path.split('.').map(String::from).collect(),
        kind,
    };
    Schema::new(columns.map(column).to_vec())
}

/// An event is a row whose cells are of their columns' kinds, or a dead letter with a short reason, which leaves the rows as they were.
pub fn json(bytes: &[u8]) {
    let (schema, limits) = (schema(), Limits { max_bytes: 4096, max_depth: 8 });
    let decoder = JsonDecoder::new(&schema, limits);
    let mut rows = Rows::new(schema.width());
    decoder.decode(br#"{"x":1,"in":{"text":"before"}}"#, &mut rows).expect("an event");
    let Err(fault) = decoder.decode(bytes, &mut rows) else {
        assert_eq!(rows.len(), 2);
        assert!(bytes.len() <= limits.max_bytes && std::str::from_utf8(bytes).is_ok());
        let view = rows.view();
        for (column, &cell) in schema.columns().iter().zip(view.row(1)).filter(|(_, cell)| !cell.is_nan()) {
            let right = match column.kind {
                Kind::Number => cell.is_finite(),
                Kind::Count => cell.is_finite() && cell >= 0.0 && cell.fract() == 0.0,
                Kind::Boolean => cell == 0.0 || cell == 1.0,
                Kind::Category { .. } => view.text(cell).is_some_and(|text| text.len() <= bytes.len()),
                Kind::Timestamp => cell.fract() == 0.0,
            };
            assert!(right, "column {}: {cell}", column.name);
        }
        return;
    };
    assert_eq!((rows.len(), rows.view().text(rows.view().row(0)[2])), (1, Some("before")));
    assert!(!fault.detail.is_empty() && fault.detail.chars().count() < 400, "{}", fault.detail);
}

/// A score that is read is finite, and is written as it was read.
pub fn score(bytes: &[u8]) {
    for format in [Format::Json, Format::Protobuf] {
        let Ok(scored) = wire::decode_score(bytes, format) else { continue };
        assert!(scored.score.surprisal.is_finite() && scored.score.surprisal_sd >= 0.0);
        assert!((0.0..=1.0).contains(&scored.score.tail_probability));
        let mut out = Vec::new();
        wire::encode_score(&scored.model_id, &scored.topic, scored.partition, &scored.head, &scored.score, format, &mut out);
        assert_eq!(wire::decode_score(&out, format), Ok(scored));
    }
}

/// A dead letter is written as it was read.
pub fn letter(bytes: &[u8]) {
    let Ok(letter) = wire::decode_dead_letter(bytes) else { return };
    let mut out = Vec::new();
    wire::encode_dead_letter(&letter.model_id, &letter.topic, letter.partition, &letter.dead, &mut out);
    assert_eq!(wire::decode_dead_letter(&out), Ok(letter));
}

/// Chunks in any order make snapshots or errors. Each stands behind its length, in two bytes.
pub fn chunks(mut bytes: &[u8]) {
    let mut assembler = Assembler::default();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (chunk, rest) = rest.split_at(rest.len().min(usize::from(u16::from_le_bytes(*length))));
        if let Ok(Some(whole)) = assembler.push(chunk) {
            let _ = wire::decode_snapshot(&whole);
        }
        bytes = rest;
    }
    let _ = assembler.finish();
}

/// A configuration is right, and makes a model or is told why not; or its error names the file, and the line if there is one.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let variable = |name: &str| (name == "SET").then(|| "secret".to_owned());
    match Config::parse(text, "s.toml", &Environment { host: "host".into(), variable: Some(&variable) }) {
        Ok(config) => {
            if let Err(error) = app::model(&config.schema, &config.model) {
                assert!(!error.to_string().is_empty());
            }
        }
        Err(ConfigError::Invalid(invalid)) => {
            let lines = text.split('\n').count();
            assert!(invalid.place.as_ref().is_none_or(|place| (1..=lines).contains(&place.line)), "{invalid}");
            assert!(invalid.to_string().starts_with("s.toml"), "{invalid}");
        }
        Err(error) => panic!("nothing is read from a file: {error}"),
    }
}
