//! Taking events out of a site again, where their evidence can be told from that of all others.

use super::{Setup, Site};
use crate::features::{Rows, RowsView};
use crate::inference::rule::Rule;
use crate::models::{Evidence, Model};

/// Whether the evidence of some events, of `width` cells each, can be told from that of all others of `site`; why not, if it can't.
pub fn separable<M: Model>(model: &M, setup: &Setup, site: &Site<M::Evidence>, width: usize) -> Result<(), &'static str> {
    let nothing = Rows::new(width);
    let reasons = [
        (model.contribution(&site.evidence, nothing.view()).is_none(), "what an event teaches depends on what was known"),
        (setup.learning.rule != Rule::default(), "the model forgets, or learns for a population"),
        (site.refused > 0, "blocks were refused, and it isn't known whose"),
        (setup.robust || !site.is_whole(), "events were weighed when they were learnt, by `model.robust` or a half-life"),
        (!setup.derivation.is_empty(), "columns are derived from the events before"),
    ];
    reasons.into_iter().find(|(found, _)| *found).map_or(Ok(()), |(_, why)| Err(why))
}

/// `site` without the events `rows`, which are a part of it and whose surprisals, of those that were judged, were `surprisals`; why that
/// can't be told, if so. The calibrator is a sketch, which is left as it would nearly be.
pub fn subtract<M: Model>(
    model: &M,
    setup: &Setup,
    site: &Site<M::Evidence>,
    rows: RowsView<'_>,
    surprisals: &[f64],
) -> Result<Site<M::Evidence>, &'static str> {
    separable(model, setup, site, rows.width())?;
    let digits = "too little would be left beside them for the digits to bear it";
    let contribution = model.contribution(&site.evidence, rows).ok_or(digits)?;
    let mut rest = site.clone();
    if !rest.evidence.subtract(&contribution) || model.posterior(&rest.evidence).is_err() {
        return Err(digits);
    }
    rest.events = site.events.checked_sub(rows.len() as u64).ok_or("more events are to go than there are")?;
    rest.calibrator.unlearn(surprisals);
    Ok(rest)
}
