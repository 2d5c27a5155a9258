//! What a mixture believes, in words.

use super::evidence::MixtureEvidence;
use super::frame::Layout;
use super::posterior::MixturePosterior;
use super::statistics::{Moments, Numbers};
use crate::features::{Kind, Schema};
use crate::models::words::{percent, short};
use crate::models::{ColumnSummary, Part};

/// Values of a category named for a component.
const NAMED_VALUES: usize = 3;

/// A summary of every modelled column, in the schema's order.
pub fn columns(schema: &Schema, layout: &Layout, evidence: &MixtureEvidence) -> Vec<ColumnSummary> {
    let total = &evidence.total;
    let Numbers::Diagonal(numbers) = &total.numbers else { unreachable!("columns' totals are diagonal") };
    let sums: Vec<usize> = layout.counts.iter().chain(&layout.booleans).copied().collect();
    let mut summaries = Vec::new();
    for (cell, column) in schema.columns().iter().enumerate() {
        let mut summary = ColumnSummary {
            name: column.name.clone(),
            kind: column.kind.name(),
            observed: 0.0,
            missing: 0.0,
            mean: None,
            standard_deviation: None,
            distinct: None,
        };
        match column.kind {
            Kind::Timestamp => continue,
            Kind::Number => {
                let Moments { count, mean, scatter } = numbers[place(&layout.numbers, cell)];
                summary.observed = count;
                if count > 0.0 {
                    (summary.mean, summary.standard_deviation) = (Some(mean), Some((scatter / count).sqrt()));
                }
            }
            Kind::Count | Kind::Boolean => {
                let column = total.sums[place(&sums, cell)];
                summary.observed = column.count;
                summary.mean = (column.count > 0.0).then(|| column.sum / column.count);
                let spread = |mean: f64| (mean * (1.0 - mean)).max(0.0).sqrt();
                if matches!(schema.columns()[cell].kind, Kind::Boolean) {
                    summary.standard_deviation = summary.mean.map(spread);
                }
            }
            Kind::Category { .. } => {
                let at = layout.categories.iter().position(|(at, _)| *at == cell).expect("the layout is the schema's");
                summary.observed = total.categories[at].iter().sum();
                summary.distinct = Some(evidence.vocabularies[at].len());
            }
        }
        summary.missing = (total.events - summary.observed).max(0.0);
        summaries.push(summary);
    }
    summaries
}

fn place(cells: &[usize], cell: usize) -> usize {
    cells.iter().position(|at| *at == cell).expect("the layout is the schema's")
}

/// Every component, the largest first, and last what is left for anything else.
pub fn parts(schema: &Schema, layout: &Layout, posterior: &MixturePosterior) -> Vec<Part> {
    let mut order: Vec<usize> = (0..posterior.ids.len()).collect();
    order.sort_by(|a, b| posterior.weights.mean[*b].total_cmp(&posterior.weights.mean[*a]));
    let mut parts: Vec<Part> = order
        .into_iter()
        .map(|k| {
            let name = if posterior.known[k] {
                posterior.ids[k].to_string()
            } else {
                format!("{} (too rare to be known)", posterior.ids[k])
            };
            Part { name, weight: posterior.weights.mean[k], expects: expects(schema, layout, posterior, k) }
        })
        .collect();
    if posterior.weights.rest > 0.0 {
        parts.push(Part { name: "anything else".into(), weight: posterior.weights.rest, expects: Vec::new() });
    }
    parts
}

fn expects(schema: &Schema, layout: &Layout, posterior: &MixturePosterior, k: usize) -> Vec<(String, String)> {
    let component = &posterior.components[k];
    let frame = &posterior.frame;
    let name = |cell: usize| schema.columns()[cell].name.clone();
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (d, &cell) in layout.numbers.iter().enumerate() {
        let (mean, variance) = match &component.numbers {
            Numbers::Diagonal(columns) => {
                let belief = posterior.prior.observe_number(d, &columns[d]);
                (belief.mean, belief.scatter / belief.dof)
            }
            Numbers::Full(cloud) => {
                let belief = posterior.prior.observe_numbers(cloud);
                (belief.mean[d], belief.scatter[(d, d)] / belief.predictive_dof())
            }
        };
        let (centre, spread) = (frame.centre[d], frame.spread[d]);
        lines.push((
            cell,
            match (frame.live[d], frame.count[d] > 0.0) {
                (true, _) => format!("{} ± {}", short(centre + spread * mean), short(spread * variance.sqrt())),
                (false, true) => format!("always {}", short(centre)),
                (false, false) => "not seen yet".into(),
            },
        ));
    }
    for (c, &cell) in layout.counts.iter().enumerate() {
        let belief = posterior.prior.rates[c].observe(component.sums[c].count, component.sums[c].sum);
        lines.push((cell, format!("{} on average", short(belief.mean()))));
    }
    for (b, &cell) in layout.booleans.iter().enumerate() {
        let seen = component.sums[layout.counts.len() + b];
        let belief = posterior.prior.chances[b].observe(seen.count, seen.sum);
        lines.push((cell, format!("true in {}", percent(belief.mean()))));
    }
    for (c, (cell, _)) in layout.categories.iter().enumerate() {
        let concentrations = posterior.prior.observe_values(c, component);
        let total: f64 = concentrations.iter().sum();
        let mut slots: Vec<usize> = (1..concentrations.len()).collect();
        slots.sort_by(|a, b| concentrations[*b].total_cmp(&concentrations[*a]));
        let value =
            |slot: &usize| format!("{} {}", posterior.vocabularies[c].text(slot - 1), percent(concentrations[*slot] / total));
        let named: Vec<String> = slots.iter().take(NAMED_VALUES).map(value).collect();
        lines.push((*cell, if named.is_empty() { "not seen yet".into() } else { named.join(", ") }));
    }
    lines.sort_by_key(|(cell, _)| *cell);
    lines.into_iter().map(|(cell, line)| (name(cell), line)).collect()
}
