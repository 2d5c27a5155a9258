//! Taking events out of a site again, where their evidence can be told from that of all others.

use super::{Setup, Site};
use crate::features::RowsView;
use crate::inference::rule::Rule;
use crate::models::{Evidence, Model};

/// `site` without the events `rows`, which are a part of it and whose surprisals were `surprisals`, as far as they are known.
///
/// `None` if that can't be told: where the model's evidence of an event depends on what it knew, where evidence is forgotten in the
/// course of time or weighted by its plausibility, or once was, where blocks were refused and it isn't known whose, or where too many digits would
/// be lost. The calibrator is a sketch, which is left as it would nearly be.
pub fn subtract<M: Model>(
    model: &M,
    setup: &Setup,
    site: &Site<M::Evidence>,
    rows: RowsView<'_>,
    surprisals: &[f64],
) -> Option<Site<M::Evidence>> {
    if setup.learning.rule != Rule::default() || setup.robust || site.refused > 0 || !site.is_whole() {
        return None;
    }
    let contribution = model.contribution(&site.evidence, rows)?;
    let mut rest = site.clone();
    if !rest.evidence.subtract(&contribution) || model.posterior(&rest.evidence).is_err() {
        return None;
    }
    rest.events = site.events.checked_sub(rows.len() as u64)?;
    rest.calibrator.unlearn(surprisals);
    Some(rest)
}
