//! The mixture alone over a file of numbers, for comparison with its peers: every block is scored, then learnt.
//!
//! `peers FILE COLUMNS BATCH diagonal|full COMPONENTS PASSES [SCORES]`: FILE holds little-endian f64 `[rows, COLUMNS]`, and is
//! gone through PASSES times, from nothing each time. Who runs this measures its time. SCORES gets the log densities of one more
//! pass, one f64 a row, in the columns' own units.
#![allow(missing_docs)]

use std::error::Error;

use surprisal::engine::block_len;
use surprisal::features::{Column, Kind, Rows, RowsView, Schema};
use surprisal::models::mixture::evidence::MixtureEvidence;
use surprisal::models::mixture::{Covariance, Mixture, MixtureConfig};
use surprisal::models::{Evidence, Model, NotFinite, Surprisal};
use surprisal::record::{Offset, Partition};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, columns, batch, covariance, components, passes, scores @ ..] = arguments.as_slice() else {
        return Err("usage: peers FILE COLUMNS BATCH diagonal|full COMPONENTS PASSES [SCORES]".into());
    };
    let covariance = match covariance.as_str() {
        "diagonal" => Covariance::Diagonal,
        "full" => Covariance::Full,
        other => return Err(format!("covariance is `{other}`; it must be diagonal or full").into()),
    };
    let (columns, batch, passes): (usize, usize, usize) = (columns.parse()?, batch.parse()?, passes.parse()?);
    let bytes = std::fs::read(file)?;
    let (cells, rest) = bytes.as_chunks();
    let rows = Rows::from_cells(columns, cells.iter().map(|cell| f64::from_le_bytes(*cell)).collect());
    if !rest.is_empty() || rows.is_empty() {
        return Err(format!("{file}: {} bytes are not rows of {columns} numbers", bytes.len()).into());
    }

    let column = |d| Column { name: format!("x{d}"), path: vec![format!("x{d}")], kind: Kind::Number };
    let schema = Schema::new((0..columns).map(column).collect());
    let model = Mixture::new(&schema, MixtureConfig { components: components.parse()?, covariance, ..MixtureConfig::default() })?;
    for _ in 0..passes {
        pass(&model, rows.view(), batch, |_, _| ())?;
    }
    if let [scores] = scores {
        let mut log_densities = Vec::new();
        pass(&model, rows.view(), batch, |evidence, surprisals| {
            let units = ln_units(&model, evidence);
            log_densities.extend(surprisals.iter().flat_map(|surprisal| (-surprisal.nats - units).to_le_bytes()));
        })?;
        std::fs::write(scores, log_densities)?;
    }
    Ok(())
}

/// Goes through `rows` in the engine's blocks, of `batch` rows at most. `scored` sees each block's surprisals, and the evidence
/// that they were scored by.
fn pass(
    model: &Mixture,
    rows: RowsView<'_>,
    batch: usize,
    mut scored: impl FnMut(&MixtureEvidence, &[Surprisal]),
) -> Result<(), NotFinite> {
    let (nothing, mut evidence) = (model.nothing(), model.nothing());
    let mut posterior = model.posterior(&evidence)?;
    let mut surprisals = Vec::new();
    let mut at = 0;
    while at < rows.len() {
        let len = block_len(at as u64, batch).min(rows.len() - at);
        let block = rows.slice(at..at + len);
        surprisals.clear();
        model.score(&posterior, block, &mut surprisals);
        scored(&evidence, &surprisals);
        let news = model.news(&posterior, block, (Partition(0), Offset(at as i64)))?;
        // As the engine does: the old evidence is kept until the new one has given a posterior.
        let mut next = evidence.clone();
        next.add(&news);
        model.reorganise(&nothing, &mut next);
        posterior = model.posterior(&next)?;
        evidence = next;
        at += len;
    }
    Ok(())
}

/// `Σ ln σ` over columns, σ being the spread that the mixture takes for a column's unit: `ln p(x) = ln p(z) − Σ ln σ`. It has no
/// meaning until every column has varied.
fn ln_units(model: &Mixture, evidence: &MixtureEvidence) -> f64 {
    model.columns(evidence).iter().filter_map(|column| column.standard_deviation).map(f64::ln).sum()
}
