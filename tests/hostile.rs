//! Bytes that were made to break a decoder: the corpora of the fuzz targets (`fuzz/`), each tried against what must hold of it.

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use surprisal::codec::wire::decode_snapshot;
use surprisal::models::Model;

fn folder(target: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "fuzz", "corpus", target].iter().collect()
}

/// The inputs in a target's corpus, with their file's name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(folder(target)).unwrap_or_else(|error| panic!("the corpus of {target}: {error}"));
    let paths = files.map(|file| file.unwrap().path());
    paths.map(|path| (path.display().to_string(), fs::read(&path).unwrap())).collect()
}

#[test]
fn every_input_that_was_ever_found_is_survived() {
    for (target, holds) in fuzz::TARGETS {
        let inputs = corpus(target);
        assert!(!inputs.is_empty(), "{target} has no corpus");
        for (name, bytes) in inputs {
            if std::panic::catch_unwind(|| holds(&bytes)).is_err() {
                panic!("{target}: {name}");
            }
        }
    }
}

/// Otherwise snapshots would be refused at the door, and nothing behind it be tried.
#[test]
fn the_corpus_has_snapshots_that_each_kind_of_model_restores() {
    let mut restored = BTreeSet::new();
    for (_, bytes) in corpus("restore") {
        let Ok(mut snapshot) = decode_snapshot(&bytes) else { continue };
        for (name, model) in fuzz::kinds().iter().filter(|(_, model)| model.kind() == snapshot.header.model_kind) {
            snapshot.header.fingerprint = model.fingerprint();
            if snapshot.site(model).is_ok_and(|site| site.events > 0) {
                restored.insert(*name);
            }
        }
    }
    let kinds: BTreeSet<_> = fuzz::kinds().iter().map(|(name, _)| *name).collect();
    assert_eq!(restored, kinds, "write them anew: cargo test --release --test hostile -- --ignored");
}

#[test]
#[ignore = "writes what the program writes today into the corpora"]
fn write_seeds() {
    for (target, name, bytes) in fuzz::seeds() {
        fs::create_dir_all(folder(target)).unwrap();
        fs::write(folder(target).join(name), bytes).unwrap();
    }
}
