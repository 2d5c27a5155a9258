//! What a regression believes, in words.

use super::Layout;
use super::labels::Labels;
use super::linear::LinearPosterior;
use super::missing::{self, Missing};
use super::predictor::Predicted;
use super::units::{Axis, Source};
use crate::features::{Design, Kind};
use crate::inference::elbo::log_sum_exp;
use crate::models::words::short;
use crate::models::{ColumnSummary, Part};

/// A summary of target and inputs, in the schema's order: of `events` with a target, in which input i was there with the `(count,
/// mean, scatter)` that `observed(i)` gives, the target being the input behind the last; of a target that is a category so many classes
/// are known.
pub fn columns(
    layout: &Layout,
    events: f64,
    observed: impl Fn(usize) -> (f64, f64, f64),
    missing: &Missing,
    classes: Option<usize>,
) -> Vec<ColumnSummary> {
    let mut summaries = Vec::new();
    let mut input = 0;
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
        let numbers = Design::new(&layout.schema, [cell]).width();
        match column.kind {
            Kind::Timestamp => continue,
            Kind::Category { .. } => {
                let counts = missing::categories(layout).zip(&missing.0[1..]);
                summary.missing = counts.filter(|(category, _)| *category == cell).map(|(_, count)| *count).sum();
                summary.observed = (events - summary.missing).max(0.0);
            }
            Kind::Number | Kind::Boolean | Kind::Count => {
                let (count, mean, scatter) = observed(input);
                (summary.observed, summary.missing) = (count, (events - count).max(0.0));
                // Of a count among the inputs only the logarithm is kept.
                if count > 0.0 && (column.kind != Kind::Count || cell == layout.task.target) {
                    (summary.mean, summary.standard_deviation) = (Some(mean), Some((scatter / count).sqrt()));
                }
            }
        }
        input += numbers;
        if cell == layout.task.target {
            (summary.observed, summary.missing, summary.distinct) = (events, missing.0[0], classes);
        }
        summaries.push((cell, summary));
    }
    summaries.sort_by_key(|(cell, _)| *cell);
    summaries.into_iter().map(|(_, summary)| summary).collect()
}

/// The coefficients of a linear regression in the columns' own units, and the noise.
pub fn linear(layout: &Layout, posterior: &LinearPosterior) -> Vec<Part> {
    let mut expects = Vec::new();
    match posterior.target.filter(|_| posterior.precision.shape > 1.0) {
        None => expects.push(("noise".into(), "not known yet".into())),
        Some(target) => {
            let precision = posterior.precision;
            let variance = precision.rate / (precision.shape - 1.0);
            let scaled = |predicted: Predicted| Predicted { variance: variance * predicted.variance, ..predicted };
            expects.push(("at the means".into(), said(scaled(posterior.predictor.intercept()), target.location, target.scale)));
            for (axis, coefficient) in posterior.predictor.axes.iter().zip(posterior.predictor.coefficients()) {
                expects.push((name(layout, axis), said(scaled(coefficient), 0.0, target.scale / axis.standard.scale)));
            }
            let noise = (precision.rate / precision.shape).sqrt();
            let spread = Predicted { mean: noise, variance: 0.25 * variance / precision.shape };
            expects.push(("noise".into(), said(spread, 0.0, target.scale)));
        }
    }
    vec![Part { name: layout.schema.columns()[layout.task.target].name.clone(), weight: 1.0, expects }]
}

/// The coefficients of predictors by the columns' own units: of the only one, or of each class that is known, with its probability where
/// every input is at its mean.
pub fn coefficients(layout: &Layout, axes: &[Axis], coefficients: &[Vec<Predicted>], labels: &Labels) -> Vec<Part> {
    let log_odds: Vec<f64> = coefficients.iter().map(|of| of[0].mean).collect();
    let total = log_sum_exp(&log_odds);
    let target = &layout.schema.columns()[layout.task.target].name;
    let part = |(class, of): (usize, &Vec<Predicted>)| {
        let mut expects = vec![("at the means".into(), said(of[0], 0.0, 1.0))];
        for (axis, coefficient) in axes.iter().zip(&of[1..]) {
            expects.push((name(layout, axis), said(*coefficient, 0.0, 1.0 / axis.standard.scale)));
        }
        match labels.text(class) {
            Some(text) => Some(Part { name: format!("{target} = {text}"), weight: (of[0].mean - total).exp(), expects }),
            None if coefficients.len() == 1 => Some(Part { name: target.clone(), weight: 1.0, expects }),
            None => None,
        }
    };
    let mut parts: Vec<Part> = coefficients.iter().enumerate().filter_map(part).collect();
    parts.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    parts
}

/// What an axis is called.
fn name(layout: &Layout, Axis { source, .. }: &Axis) -> String {
    match *source {
        Source::Input(input) => layout.design.names()[input].clone(),
        Source::Gap(input) => format!("{} missing", layout.design.names()[input]),
    }
}

/// Mean and standard deviation, `location + scale · x`.
fn said(x: Predicted, location: f64, scale: f64) -> String {
    format!("{} ± {}", short(location + scale * x.mean), short(scale * x.variance.sqrt()))
}
