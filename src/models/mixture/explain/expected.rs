//! What was to be expected of a field: its predictive given those of the others that are not to blame.

use std::ops::Range;

use super::super::batch::Batch;
use super::super::diagonal::Students;
use super::super::discrete::posteriors;
use super::super::posterior::MixturePosterior;
use super::super::units::Layout;
use super::fields::{Field, Rest, log_sum};
use crate::dist::gamma::Gamma;
use crate::dist::student::Student;
use crate::models::{Expected, Standard};

/// A part with a smaller share in an expectation is none.
const LEAST_SHARE: f64 = 1e-9;

/// Standard deviations above its mean that a count is looked for.
const FARTHEST_COUNT: f64 = 12.0;

/// What was to be expected of `field`, where the fields in `trusted` but for itself are to be trusted.
pub fn expected(layout: &Layout, posterior: &MixturePosterior, trusted: &Rest<'_>, field: usize) -> Option<Expected> {
    let logs = trusted.parts_without(field);
    let total = log_sum(&logs);
    let shares = logs.iter().map(|log| (log - total).exp()).enumerate().filter(|(_, share)| *share > LEAST_SHARE);
    let shares: Vec<(usize, f64)> = shares.collect();
    match trusted.field(field) {
        Field::Number(column) => {
            let (normals, students) = posterior.predictive.numbers();
            let part = |part: usize| match trusted.joints().get(part) {
                Some(joint) => joint.conditional(column),
                None => student(students, part - normals.len(), column),
            };
            let parts: Vec<_> = shares.iter().map(|(at, share)| (*share, part(*at))).collect();
            let (location, scale) = (posterior.units.location[column], posterior.units.scale[column]);
            Expected::students(&parts, Standard { location, scale })
        }
        Field::Count(column) => {
            let known = posterior.predictive.known();
            let components: Vec<_> = known.iter().map(|k| &posterior.components[*k]).collect();
            let (mut rates, _) = posteriors(&posterior.prior, &components);
            rates[column].push(posterior.prior.rates[column]);
            let parts: Vec<_> = shares.iter().map(|(at, share)| (*share, rates[column][*at])).collect();
            Some(count(&parts))
        }
        Field::Boolean(column) => {
            let at = layout.numbers.len() + layout.counts.len() + column;
            let each = probabilities(layout, posterior, at, 0..2, &shares);
            Expected::likeliest(each.map(|(value, probability)| ((value == 1).to_string(), probability)))
        }
        Field::Category(column) => {
            let at = layout.numbers.len() + layout.counts.len() + layout.booleans.len() + column;
            let vocabulary = &posterior.vocabularies[column];
            let each = probabilities(layout, posterior, at, 1..vocabulary.len() + 1, &shares);
            Expected::likeliest(each.map(|(slot, probability)| (vocabulary.text(slot - 1).to_owned(), probability)))
        }
    }
}

fn student(table: &Students, row: usize, column: usize) -> Student {
    let at = row * table.dim + column;
    let dof = 2.0 * table.exponent[at] - 1.0;
    Student::new(dof, table.centre[at], (1.0 / (table.inverse[at] * dof)).sqrt())
}

/// Of a mixture of negative binomials, each a Poisson of unknown rate.
fn count(parts: &[(f64, Gamma)]) -> Expected {
    let mean = parts.iter().map(|(share, rate)| share * rate.mean()).sum();
    let most = parts.iter().map(|(_, rate)| rate.mean() + FARTHEST_COUNT * (rate.mean() * (1.0 + 1.0 / rate.rate)).sqrt());
    let mass = |x: f64| parts.iter().map(|(share, rate)| share * rate.predictive_log_mass(x).exp()).sum();
    Expected::count(mean, most.fold(1.0, f64::max), mass)
}

/// The `values` of the column at place `at` of the model's own order, and their probabilities.
fn probabilities(
    layout: &Layout,
    posterior: &MixturePosterior,
    at: usize,
    values: Range<usize>,
    shares: &[(usize, f64)],
) -> impl Iterator<Item = (usize, f64)> {
    let (width, rows) = (layout.width(), (0..values.len()).collect::<Vec<_>>());
    let mut cells = vec![f64::NAN; values.len() * width];
    values.clone().zip(&rows).for_each(|(value, row)| cells[row * width + at] = value as f64);
    let ln_weights = posterior.predictive.ln_weights();
    let mut probabilities = vec![0.0; values.len()];
    if !rows.is_empty() {
        let log = posterior.predictive.log_joints(&Batch::from_cells(layout, &posterior.units, &cells, &rows));
        for (part, share) in shares {
            let mass = |row: usize| (log.get(*part, row) - ln_weights[*part]).exp();
            probabilities.iter_mut().enumerate().for_each(|(row, sum)| *sum += share * mass(row));
        }
    }
    values.zip(probabilities)
}
