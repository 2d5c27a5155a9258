//! Where the fuzzer begins: what the program itself writes, and what people write for it.

use surprisal::codec::wire::{Assembler, Format, MAX_CHUNK_BYTES, encode_dead_letter, encode_score};
use surprisal::engine::Score;
use surprisal::record::{Dead, Head, Offset, Partition, Reason};

use super::restore::snapshots;

/// A target, an input's name, and the input.
pub fn seeds() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let mut add = |target, name: &str, bytes: &[u8]| seeds.push((target, name.to_owned(), bytes.to_vec()));
    for count in [0, 90] {
        for (name, chunks) in snapshots(count, MAX_CHUNK_BYTES) {
            let whole = Assembler::default().push(&chunks[0]).expect("a chunk").expect("the only one");
            add("restore", &format!("{name}-{count}"), &whole);
        }
    }
    let (_, chunks) = snapshots(0, 400).next().expect("a first kind");
    let framed = |chunk: &Vec<u8>| [&(chunk.len() as u16).to_le_bytes()[..], chunk].concat();
    add("chunks", "in-order", &chunks.iter().flat_map(framed).collect::<Vec<u8>>());
    add("chunks", "last-first", &chunks.iter().rev().flat_map(framed).collect::<Vec<u8>>());

    let head = Head { offset: Offset(7), timestamp_ms: Some(-1), key: Some((*b"k\xff").into()) };
    let score = Score { surprisal: 2.5, surprisal_sd: 0.5, tail_probability: 0.25, step: 3, ..Score::default() };
    let mut out = Vec::new();
    for (name, format) in [("json", Format::Json), ("protobuf", Format::Protobuf)] {
        encode_score("m", "t", Partition(1), &head, &score, format, &mut out);
        add("score", name, &out);
    }
    let dead = Dead { head, payload: b"{\xff".to_vec(), payload_bytes: 3, reason: Reason::InvalidUtf8, detail: "byte 1".into() };
    encode_dead_letter("m", "t", Partition(1), &dead, &mut out);
    add("letter", "letter", &out);

    for (name, event) in [
        (
            "whole",
            r#"{"x":-1.5e3,"in":{"y":2,"text":"a\u00e9","more":[{}]},"count":3.0,"flag":true,"time":"2024-02-29T12:00:00.5Z"}"#,
        ),
        ("numbers", r#"{"time":1709210096789,"x":1e999,"other":1e999}"#),
        ("twice", r#"{"in":{"y":1},"in":null,"x":null,"count":-1}"#),
        ("deep", r#"{"a":[[[[[[[[1]]]]]]]]}"#),
    ] {
        add("json", name, event.as_bytes());
    }
    add("config", "example", include_bytes!("../../deploy/surprisal.toml"));
    add("config", "compose", include_bytes!("../../deploy/compose.toml"));
    let network = "[model]\nkind = \"neural_network\"\ntarget = \"a\"\n[model.neural_network]\nhidden = [2, 3]\n\
                   [[columns]]\nname = \"a\"\nkind = \"category\"\n[[columns]]\nname = \"b.c\"\nkind = \"count\"\n\
                   [kafka]\nbrokers = [\"a:1\", \"SSL://[::1]:2\"]\n[kafka.properties]\n\"sasl.password\" = { env = \"SET\" }\n";
    add("config", "network", network.as_bytes());
    seeds
}
