//! The data that the tests learn, and the steps that they share: numbers about a centre and five clusters, made of noise that
//! depends on nothing but its index; learning a stream in blocks and scoring it, as the engine does but without it; and what it
//! means for two numbers, or two pieces of evidence, to be the same.

use std::collections::BTreeMap;

use surprisal::engine::block_len;
use surprisal::features::{Column, Kind, Rows, RowsView, Schema};
use surprisal::models::mixture::evidence::MixtureEvidence;
use surprisal::models::mixture::{Mixture, MixtureConfig, Standard};
use surprisal::models::{Evidence, Model, Surprisal};
use surprisal::record::{Offset, Partition};

use crate::noise::{normal, uniform};

pub fn schema(kinds: &[Kind]) -> Schema {
    let column = |(at, kind): (usize, &Kind)| Column { name: format!("c{at}"), path: vec![format!("c{at}")], kind: *kind };
    Schema::new(kinds.iter().enumerate().map(column).collect())
}

pub fn numbers(dim: usize, config: MixtureConfig) -> Mixture {
    Mixture::new(&schema(&vec![Kind::Number; dim]), config).expect("a right configuration")
}

/// Units that are fixed for every one of `dim` columns.
pub fn standards(dim: usize, standard: Standard) -> BTreeMap<String, Standard> {
    (0..dim).map(|d| (format!("c{d}"), standard)).collect()
}

/// Learns rows in blocks that end where `cuts` says, as events of a partition.
pub fn learn(model: &Mixture, rows: RowsView<'_>, partition: i32, cuts: impl Fn(usize) -> usize) -> MixtureEvidence {
    let mut evidence = model.nothing();
    let mut at = 0;
    while at < rows.len() {
        let len = cuts(at).min(rows.len() - at);
        let posterior = model.posterior(&evidence).expect("finite");
        let news = model.news(&posterior, rows.slice(at..at + len), (Partition(partition), Offset(at as i64))).expect("finite");
        evidence.add(&news);
        model.reorganise(&model.nothing(), &mut evidence);
        at += len;
    }
    evidence
}

/// The engine's blocks.
pub fn blocks(learnt: usize) -> usize {
    block_len(learnt as u64, 256)
}

pub fn score(model: &Mixture, evidence: &MixtureEvidence, rows: RowsView<'_>) -> Vec<f64> {
    let mut surprisals = Vec::new();
    model.score(&model.posterior(evidence).expect("finite"), rows, &mut surprisals);
    surprisals.into_iter().map(|surprisal| surprisal.nats).collect()
}

/// What the engine would publish: every row scored by what came before it.
pub fn prequential(model: &Mixture, rows: RowsView<'_>) -> (Vec<f64>, MixtureEvidence) {
    let (mut evidence, mut surprisals, mut at) = (model.nothing(), Vec::new(), 0);
    while at < rows.len() {
        let len = blocks(at).min(rows.len() - at);
        let posterior = model.posterior(&evidence).expect("finite");
        let block = rows.slice(at..at + len);
        model.score(&posterior, block, &mut surprisals);
        evidence.add(&model.news(&posterior, block, (Partition(0), Offset(at as i64))).expect("finite"));
        model.reorganise(&model.nothing(), &mut evidence);
        at += len;
    }
    (surprisals.into_iter().map(|surprisal: Surprisal| surprisal.nats).collect(), evidence)
}

/// Rows with the given columns' cells missing by chance.
pub fn some_numbers(count: usize, dim: usize, missing: f64) -> Rows {
    let cell = |at: usize| {
        if uniform((1 << 50) + at as u64) < missing { f64::NAN } else { 40.0 + (at % dim) as f64 + 3.0 * normal(at as u64) }
    };
    Rows::from_cells(dim, (0..count * dim).map(cell).collect())
}

/// Five clusters in four dimensions, as in tests/golden/mixture.py but `apart` times as far from each other.
pub fn clusters(count: usize, full: bool, apart: f64) -> Rows {
    let mut cells = Vec::with_capacity(count * 4);
    for event in 0..count as u64 {
        let share = uniform((1 << 40) + event);
        let cluster = [0.35, 0.6, 0.8, 0.92].iter().filter(|edge| **edge <= share).count() as u64;
        let noise: Vec<f64> = (0..4).map(|d| normal(event * 4 + d)).collect();
        for d in 0..4 {
            let noise = if full && d > 0 { 0.6 * noise[d - 1] + 0.8 * noise[d] } else { noise[d] };
            let at = cluster * 8 + d as u64;
            cells.push(100.0 + apart * 4.0 * normal((1 << 41) + at) + (0.5 + uniform((1 << 42) + at)) * noise);
        }
    }
    Rows::from_cells(4, cells)
}

/// The evidence's tensors of floats, by name, but for those that only the search for structure uses.
pub fn sums(evidence: &MixtureEvidence) -> Vec<(String, Vec<f64>)> {
    let tensors = evidence.tensors().into_iter().filter(|tensor| !tensor.name.starts_with("recent"));
    tensors
        .filter_map(|tensor| match tensor.data {
            surprisal::checkpoint::Data::F64(data) => Some((tensor.name, data)),
            _ => None,
        })
        .collect()
}

#[track_caller]
pub fn assert_close(found: f64, expected: f64, tolerance: f64) {
    let error = (found - expected).abs() / expected.abs().max(1.0);
    assert!(error <= tolerance, "{found} is not {expected}: off by {error:e}");
}

#[track_caller]
pub fn assert_same(left: &MixtureEvidence, right: &MixtureEvidence) {
    for ((name, found), (_, expected)) in sums(left).into_iter().zip(sums(right)) {
        assert_eq!(found.len(), expected.len(), "{name}");
        let size = expected.iter().fold(1e-300, |size: f64, x| size.max(x.abs()));
        for (found, expected) in found.into_iter().zip(expected) {
            assert!((found - expected).abs() <= 1e-9 * size, "{name}: {found} is not {expected}");
        }
    }
}
