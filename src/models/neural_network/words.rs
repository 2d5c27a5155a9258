//! What a network believes, in words.

use super::Layout;
use super::evidence::NetworkEvidence;
use super::posterior::NetworkPosterior;
use crate::features::{Design, Kind};
use crate::models::words::{percent, short};
use crate::models::{ColumnSummary, Part};

/// A summary of target and inputs, in the schema's order.
pub fn columns(layout: &Layout, evidence: &NetworkEvidence) -> Vec<ColumnSummary> {
    let events = evidence.events;
    let mut summaries = Vec::new();
    let (mut input, mut category) = (0, 1);
    for &cell in layout.task.inputs.iter().chain([&layout.task.target]) {
        let column = &layout.schema.columns()[cell];
        let mut summary = ColumnSummary {
            name: column.name.clone(),
            kind: column.kind.name(),
            observed: events,
            missing: 0.0,
            mean: None,
            standard_deviation: None,
            distinct: None,
        };
        let moments = if cell == layout.task.target {
            summary.missing = evidence.missing[0];
            summary.distinct = layout.is_category().then_some(evidence.vocabulary.len());
            (!layout.is_category()).then_some(evidence.target)
        } else {
            let width = Design::new(&layout.schema, [cell]).width();
            let moments = evidence.inputs.get(input).copied();
            input += width;
            match column.kind {
                Kind::Timestamp => continue,
                Kind::Category { .. } => {
                    summary.missing = evidence.missing[category];
                    summary.observed = (events - summary.missing).max(0.0);
                    category += 1;
                    None
                }
                Kind::Number | Kind::Boolean | Kind::Count => {
                    summary.observed = moments.map_or(0.0, |moments| moments.count);
                    summary.missing = (events - summary.observed).max(0.0);
                    // Of a count only the logarithm is kept.
                    moments.filter(|_| column.kind != Kind::Count)
                }
            }
        };
        if let Some(moments) = moments.filter(|moments| moments.count > 0.0) {
            summary.mean = Some(moments.mean);
            summary.standard_deviation = Some((moments.scatter / moments.count).sqrt());
        }
        summaries.push((cell, summary));
    }
    summaries.sort_by_key(|(cell, _)| *cell);
    summaries.into_iter().map(|(_, summary)| summary).collect()
}

/// The network, and how much of what moves its first layer comes from each input.
pub fn parts(layout: &Layout, posterior: &NetworkPosterior) -> Vec<Part> {
    let (rows, columns) = posterior.shape.layer(0);
    let mean = &posterior.normal.mean;
    let variance = &posterior.normal.variance;
    let known: f64 = variance.iter().zip(&posterior.prior.precision).map(|(v, p)| (1.0 - v * p).max(0.0)).sum();
    let mut expects = vec![("weights".into(), format!("{}, of which {} are known", mean.len(), short(known)))];
    if layout.has_noise() {
        let noise = posterior.target.map(|target| target.scale * posterior.noise.square_scale.sqrt());
        expects.push(("noise".into(), noise.map_or("not known yet".into(), short)));
    }
    let mut shares: Vec<(usize, f64)> = (0..rows - 1)
        .map(|row| {
            let moved = (row * columns..(row + 1) * columns).map(|i| mean[i].powi(2));
            (row, moved.sum())
        })
        .collect();
    let total: f64 = shares.iter().map(|(_, share)| share).sum();
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    for (row, share) in shares.into_iter().filter(|(_, share)| *share > 0.01 * total) {
        expects.push((layout.inputs.name(row), format!("{} of what the first layer has learnt", percent(share / total))));
    }
    vec![Part { name: layout.schema.columns()[layout.task.target].name.clone(), weight: 1.0, expects }]
}
