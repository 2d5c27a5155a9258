//! Which fields made a surprisal: the chain rule, the least trusted field first.
//!
//! The predictive has every marginal in closed form, so any order of the fields splits a surprisal into conditional ones that add
//! up to it, `−ln p(x) = Σ −ln p(x_j | fields behind j)`. Order is what an account stands or falls by. A field is *doubted* as
//! much as it is likelier out of order than by what the known components make of all other fields, `ln b(x_j) − ln p(x_j |
//! others)`, a Bayes factor: b is the background's law, but flat for numbers. The most doubted is accounted for first, by what it is given all others;
//! then it is left out, and the rest are judged without it: a field that is out of order is charged with all that it does, and
//! those that go with it are not.
//!
//! Fields whose Bayes factor is above [`BLAME`] are to blame. What was to be expected of a field is its predictive given the
//! others that are not to blame, lest one wrong field make others look wrong; the nearest component is the likeliest given these.

mod expected;
mod fields;
mod joint;

use super::Mixture;
use super::batch::Batch;
use super::posterior::MixturePosterior;
use super::predictive::Predictive;
use crate::dist::beta::Beta;
use crate::features::RowsView;
use crate::models::{Contribution, Expected, Explanation, Model, Standard};
use fields::{Fields, Rest};

/// A field is to blame where the background explains it this much better, in nats: a hundred times.
const BLAME: f64 = 4.605;

impl Mixture {
    /// The account of the surprisal of `row`; none of one that is no number.
    pub(super) fn account(&self, posterior: &MixturePosterior, row: RowsView<'_>) -> Option<Explanation> {
        let mut surprisals = Vec::new();
        self.score(posterior, row, &mut surprisals);
        let surprisal = surprisals.first().map(|surprisal| surprisal.nats).filter(|nats| nats.is_finite())?;
        let mut contributions = self.still(posterior, row);
        let before = surprisal - contributions.iter().map(|(_, contribution)| contribution.nats).sum::<f64>();

        let batch = Batch::from_rows(&self.layout, &posterior.units, &posterior.vocabularies, row);
        let fields = Fields::new(&self.layout, posterior, &batch, &self.cells(&batch, row));
        let background = Predictive::background(&posterior.prior, &posterior.units.live);
        let doubts = fields.out_of_order(&background, &self.layout, &batch.units);
        let mut rest = Rest::of(&fields)?;
        let (mut left, mut trusted) = (before, None);
        let mut nats = vec![0.0; fields.len()];
        while !rest.fields().is_empty() {
            let (field, doubt) = rest.most_doubted(&doubts);
            if trusted.is_none() && doubt <= BLAME {
                trusted = Some(rest.clone());
            }
            rest.remove(field);
            // Taken from the surprisal as it was published, so that together they are it.
            let after = -rest.log_density();
            nats[field] = left - after;
            left = after;
        }
        let trusted = trusted.unwrap_or(rest);
        contributions.extend(nats.into_iter().enumerate().map(|(field, nats)| {
            let expected = expected::expected(&self.layout, posterior, &trusted, field);
            (fields.cell(field), Contribution { column: self.name(fields.cell(field)), nats, expected })
        }));
        contributions.sort_by(|(a, one), (b, other)| other.nats.total_cmp(&one.nats).then(a.cmp(b)));
        Some(Explanation {
            contributions: contributions.into_iter().map(|(_, contribution)| contribution).collect(),
            nearest: trusted.nearest().map(|known| posterior.ids[posterior.predictive.known()[known]].to_string()),
        })
    }

    fn name(&self, cell: usize) -> String {
        self.schema.columns()[cell].name.clone()
    }

    /// Numbers of columns that have never varied, and of what each tells whether it still does not: by Laplace's rule of
    /// succession.
    fn still(&self, posterior: &MixturePosterior, row: RowsView<'_>) -> Vec<(usize, Contribution)> {
        let units = &posterior.units;
        let still = (0..self.layout.numbers.len()).filter(|d| !units.live[*d]);
        let contribution = |d: usize| {
            let cell = self.layout.numbers[d];
            let (x, location, seen) = (row.row(0)[cell], units.location[d], units.count[d] > 0.0);
            let [mass, _] = Beta { yes: 1.0, no: units.count[d] + 1.0 }.predictive_log_mass();
            let nats = if seen && Standard::differs(x, location) { -mass } else { 0.0 };
            let expected = seen.then(|| Expected::always(location));
            (!x.is_nan()).then(|| (cell, Contribution { column: self.name(cell), nats, expected }))
        };
        still.filter_map(contribution).collect()
    }
}
