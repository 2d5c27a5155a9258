//! What a forecast believes, in words.

use super::Forecasts;
use super::context::LEVELS;
use super::dynamics::{self, MEMBERS};
use super::evidence::ForecastEvidence;
use crate::models::words::short;
use crate::models::{ColumnSummary, Part};

/// What the levels of the context are called.
const CONTEXT: [&str; LEVELS] = ["all times", "hour of the day", "hour of the week"];

/// A summary of the target, and of the key if there is one.
pub fn columns(model: &Forecasts, evidence: &ForecastEvidence) -> Vec<ColumnSummary> {
    let all = evidence.all();
    let wholes: Vec<_> = all.iter().map(|(_, series)| series.context.whole()).collect();
    let weight: f64 = wholes.iter().map(|bin| bin.weight).sum();
    let mean = wholes.iter().map(|bin| bin.weight * bin.mean).sum::<f64>() / weight;
    let square = wholes.iter().map(|bin| bin.weight * (bin.variance + (bin.mean - mean).powi(2))).sum::<f64>() / weight;
    let summary = |cell: usize| {
        let column = &model.schema.columns()[cell];
        let own = cell == model.target;
        ColumnSummary {
            name: column.name.clone(),
            kind: column.kind.name(),
            observed: evidence.learnt(),
            missing: if own { evidence.missing() } else { 0.0 },
            mean: (own && weight > 0.0).then_some(mean),
            standard_deviation: (own && weight > 0.0).then(|| square.sqrt()),
            distinct: (!own).then_some(all.len()),
        }
    };
    let mut cells: Vec<usize> = model.key.into_iter().chain([model.target]).collect();
    cells.sort_unstable();
    cells.into_iter().map(summary).collect()
}

/// The members of both experts with their shares, on average over all series, and what each expects next where there is one series.
pub fn parts(model: &Forecasts, evidence: &ForecastEvidence) -> Vec<Part> {
    let all = evidence.all();
    let mut parts: Vec<Part> =
        CONTEXT.iter().map(|name| (*name).to_owned()).chain((0..MEMBERS).map(dynamics::name)).map(part).collect();
    for (_, series) in &all {
        let experts = series.experts.weights(2);
        let levels = series.context.average.weights(LEVELS).map(|weight| experts[0] * weight);
        let members = series.dynamics.average.weights(MEMBERS).map(|weight| experts[1] * weight);
        for (part, weight) in parts.iter_mut().zip(levels.into_iter().chain(members)) {
            part.weight += weight / all.len() as f64;
        }
    }
    if let [(_, series)] = all.as_slice()
        && let Some(predictive) = series.predict(None)
    {
        let target = &model.schema.columns()[model.target].name;
        for (part, member) in parts[LEVELS..].iter_mut().zip(&predictive.experts[1].members) {
            let said = format!("{} ± {}", short(member.student.location), short(member.student.scale));
            part.expects.push((target.clone(), said));
        }
    }
    parts.sort_by(|one, other| other.weight.total_cmp(&one.weight));
    parts
}

fn part(name: String) -> Part {
    Part { name, weight: 0.0, expects: Vec::new() }
}
