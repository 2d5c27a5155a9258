//! What was made to break it: the corpora of the fuzz targets (`fuzz/`), each tried against what must hold of it; snapshots that are wrong in
//! one way, for each kind of model; models too large to be kept.

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use prost::Message;
use surprisal::app;
use surprisal::codec::wire::{Assembler, MAX_CHUNK_BYTES, decode_snapshot, proto};
use surprisal::config::{Config, Environment};
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

/// The tensors of a snapshot of each kind of model, one of them changed.
fn changed(change: impl Fn(&mut proto::Tensor), mut refused: impl FnMut(&proto::Tensor, String)) {
    for (name, chunks) in fuzz::snapshots(90, MAX_CHUNK_BYTES) {
        let whole = Assembler::default().push(&chunks[0]).unwrap().unwrap();
        let (_, model) = fuzz::kinds().iter().find(|(of, _)| *of == name).unwrap();
        let right = proto::Snapshot::decode(&whole[..]).unwrap();
        assert!(decode_snapshot(&whole).unwrap().site(model).is_ok() && !right.evidence.is_empty(), "{name}");
        for at in 0..right.evidence.len() {
            let mut wrong = right.clone();
            change(&mut wrong.evidence[at]);
            let read = decode_snapshot(&wrong.encode_to_vec()).and_then(|snapshot| snapshot.site(model));
            let error = read.expect_err(name).to_string();
            let tensor = &right.evidence[at];
            assert!(error.contains(&format!("tensor `{}`", tensor.name)), "{name}: {error}");
            refused(tensor, error);
        }
    }
}

fn dtype(tensor: &proto::Tensor) -> &'static str {
    ["?", "f64", "i64", "text"][tensor.dtype as usize]
}

#[test]
fn a_tensor_of_another_dtype_is_refused_by_name() {
    let other = |dtype: i32| if dtype == 1 { 2 } else { 1 };
    // Texts become as many zeros.
    let change = |tensor: &mut proto::Tensor| {
        if tensor.dtype == 3 {
            tensor.data = vec![0; 8 * tensor.shape[0] as usize];
        }
        tensor.dtype = other(tensor.dtype);
    };
    changed(change, |tensor, error| {
        let expected = format!("holds {}, expected {}", if tensor.dtype == 1 { "i64" } else { "f64" }, dtype(tensor));
        assert!(error.contains(&expected), "{error}");
    });
    changed(|tensor| tensor.dtype = 9, |_, error| assert!(error.contains("dtype 9 is unknown, expected 1 (F64)"), "{error}"));
}

#[test]
fn a_tensor_of_another_shape_is_refused_by_name() {
    changed(
        |tensor| tensor.shape.push(1),
        |tensor, error| {
            let (mut found, expected) = (tensor.shape.clone(), &tensor.shape);
            found.push(1);
            assert!(error.contains(&format!("has shape {found:?}, expected {expected:?}")), "{error}");
        },
    );
    changed(
        |tensor| tensor.shape[0] += 1,
        |tensor, error| assert!(error.contains("do not fill shape") || tensor.shape.contains(&0), "{error}"),
    );
    changed(|tensor| tensor.name.push('?'), |_, error| assert!(error.contains("is missing"), "{error}"));
}

#[test]
fn a_snapshot_of_another_version_or_checksum_is_refused() {
    for (name, chunks) in fuzz::snapshots(90, 500) {
        let right = proto::SnapshotChunk::decode(&chunks[0][..]).unwrap();
        let mut assembler = Assembler::default();
        let version = proto::SnapshotChunk { schema_version: 2, ..right.clone() }.encode_to_vec();
        let error = assembler.push(&version).unwrap_err().to_string();
        assert_eq!(error, "SnapshotChunk has schema version 2, but this program reads version 1 only; run one that knows it");
        let mut data = right.data.clone();
        data[9] ^= 1;
        let spoilt = proto::SnapshotChunk { data, ..right }.encode_to_vec();
        let pushed = [&spoilt].into_iter().chain(&chunks[1..]).map(|chunk| assembler.push(chunk)).last().unwrap();
        let error = pushed.expect_err(name).to_string();
        assert!(error.starts_with("snapshot of `m`, partition 0: checksum is ") && error.contains("its chunks say"), "{error}");
    }
}

/// A model whose snapshots nobody could read is refused before it has learnt anything, and says what would do.
#[test]
fn a_model_larger_than_a_snapshot_is_refused() {
    let refused = |model: &str, columns: &str| {
        let text = format!("[model]\n{model}\n{columns}[[columns]]\nname = \"y\"\nkind = \"number\"\n");
        let config = Config::parse(&text, "s.toml", &Environment { host: "h".into(), variable: None }).expect("it can be read");
        app::model(&config.schema, &config.model).map(|_| ()).map_err(|error| error.to_string())
    };
    let categories = |count: usize, capacity: usize| -> String {
        let column = |at| format!("[[columns]]\nname = \"c{at}\"\nkind = \"category\"\ncapacity = {capacity}\n");
        (0..count).map(column).collect()
    };
    let limit = "expected at most 536870912; choose fewer";
    let mixture = |components: usize| format!("[model.mixture]\ncomponents = {components}\n");
    assert_eq!(refused(&mixture(66), &categories(1, 1_000_000)), Ok(()));
    let error = refused(&mixture(67), &categories(1, 1_000_000)).unwrap_err();
    assert!(error.starts_with("the mixture is too large: its evidence can take 544") && error.contains(limit), "{error}");
    let regression = |columns: &str| refused("kind = \"linear_regression\"\ntarget = \"y\"", columns);
    assert_eq!(regression(&categories(180, 8)), Ok(()));
    let error = regression(&categories(181, 8)).unwrap_err();
    assert!(error.starts_with("the regression is too large") && error.contains(limit), "{error}");
    let network = |width: usize| {
        format!("kind = \"neural_network\"\ntarget = \"y\"\n[model.neural_network]\nhidden = [4096, 4096, {width}]")
    };
    assert_eq!(refused(&network(4000), &categories(1, 8)), Ok(()));
    let error = refused(&network(4096), &categories(1, 8)).unwrap_err();
    assert!(error.starts_with("the network is too large") && error.contains(limit), "{error}");
    let error = refused("kind = \"vae\"\n[model.vae]\nhidden = [4096, 4096]", "").unwrap_err();
    assert!(error.starts_with("the autoencoder is too large") && error.contains(limit), "{error}");
}

#[test]
#[ignore = "writes what the program writes today into the corpora"]
fn write_seeds() {
    for (target, name, bytes) in fuzz::seeds() {
        fs::create_dir_all(folder(target)).unwrap();
        fs::write(folder(target).join(name), bytes).unwrap();
    }
}
