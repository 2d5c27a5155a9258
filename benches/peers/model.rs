//! A configured model alone over a file of numbers, for comparison with its peers: every block is scored, then learnt.
//!
//! `peers CONFIG FILE BATCH PASSES [SCORES]`: CONFIG is a configuration file whose columns are those of FILE, little-endian f64
//! `[rows, columns]`, which is gone through PASSES times, from nothing each time, in the engine's blocks of BATCH rows at most. Who
//! runs this measures its time. SCORES gets one more pass: for each row the log density in the columns' own units, and the standard
//! deviation of the surprisal, as two f64.
#![allow(missing_docs)]

use std::error::Error;
use std::path::Path;

use surprisal::app::model;
use surprisal::config::Config;
use surprisal::engine::block_len;
use surprisal::features::{Kind, Rows, RowsView};
use surprisal::inference::rule::Pace;
use surprisal::models::{AnyModel, Block, Learnt, Model, NotFinite, Surprisal};
use surprisal::record::{Offset, Partition};

fn main() -> Result<(), Box<dyn Error>> {
    surprisal::app::keep_freed_memory();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [config, file, batch, passes, scores @ ..] = arguments.as_slice() else {
        return Err("usage: peers CONFIG FILE BATCH PASSES [SCORES]".into());
    };
    let Config { model: model_config, schema, .. } = Config::load_offline(Path::new(config))?;
    let (batch, passes): (usize, usize) = (batch.parse()?, passes.parse()?);
    let bytes = std::fs::read(file)?;
    let (cells, rest) = bytes.as_chunks();
    let mut cells: Vec<f64> = cells.iter().map(|cell| f64::from_le_bytes(*cell)).collect();
    if !rest.is_empty() || cells.is_empty() || !cells.len().is_multiple_of(schema.width()) {
        return Err(format!("{file}: {} bytes are not rows of {} numbers", bytes.len(), schema.width()).into());
    }
    let mut rows = Rows::new(schema.width());
    for row in cells.chunks_exact_mut(schema.width()) {
        let (into, texts) = rows.push_missing();
        for cell in schema.categories() {
            row[cell] = texts.push(&row[cell].to_string()) as f64;
        }
        into.copy_from_slice(row);
    }

    let model = model(&schema, &model_config)?;
    for _ in 0..passes {
        pass(&model, rows.view(), batch, |_, _| ())?;
    }
    if let [scores] = scores {
        // Densities are of numbers in units of their columns' spread, as it is known when they are scored; of a regression's target only.
        let task = model_config.task(&schema);
        let measured = |cell: usize| schema.columns()[cell].kind == Kind::Number;
        let measured: Vec<usize> =
            (0..schema.width()).filter(|cell| measured(*cell) && task.as_ref().is_none_or(|task| task.target == *cell)).collect();
        let names: Vec<&str> = measured.iter().map(|cell| schema.columns()[*cell].name.as_str()).collect();
        let mut found = Vec::new();
        pass(&model, rows.view(), batch, |evidence, surprisals| {
            let columns = model.columns(evidence);
            let columns = columns.iter().filter(|column| names.contains(&column.name.as_str()));
            let ln_units: f64 = columns.filter_map(|column| column.standard_deviation).map(f64::ln).sum();
            for Surprisal { nats, sd } in surprisals {
                found.extend((-nats - ln_units).to_le_bytes());
                found.extend(sd.to_le_bytes());
            }
        })?;
        std::fs::write(scores, found)?;
    }
    Ok(())
}

/// Goes through `rows`. `scored` sees each block's surprisals, and the evidence that they were scored by.
fn pass(
    model: &AnyModel,
    rows: RowsView<'_>,
    batch: usize,
    mut scored: impl FnMut(&<AnyModel as Model>::Evidence, &[Surprisal]),
) -> Result<(), NotFinite> {
    let (nothing, mut evidence) = (model.nothing(), model.nothing());
    let mut posterior = model.posterior(&evidence)?;
    let mut surprisals = Vec::new();
    let (mut at, mut step) = (0, 0);
    while at < rows.len() {
        let len = block_len(at as u64, batch).min(rows.len() - at);
        let block = rows.slice(at..at + len);
        surprisals.clear();
        model.score(&posterior, block, &mut surprisals);
        scored(&evidence, &surprisals);
        let block =
            Block { rows: block, partition: Partition(0), offset: Offset(at as i64), step, pace: Pace::BAYES, weights: &[] };
        let Learnt { evidence: mut next, .. } = model.learn(&posterior, &evidence, block)?;
        model.reorganise(&nothing, &mut next);
        posterior = model.posterior(&next)?;
        evidence = next;
        at += len;
        step += 1;
    }
    Ok(())
}
