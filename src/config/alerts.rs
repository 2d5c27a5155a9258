//! `[alerts]`: how many alerts people are willing to look at.

use serde::Deserialize;

use super::error::{Fault, Source};
use super::values;
use crate::calibration::{Alerts, Budget};

/// The table as it is written.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct AlertsTable {
    #[serde(deserialize_with = "values::some_positive")]
    per_day: Option<f64>,
    #[serde(deserialize_with = "values::some_share")]
    rate: Option<f64>,
    #[serde(deserialize_with = "values::some_whole::<_, 1, 10000>")]
    window: Option<usize>,
}

impl AlertsTable {
    /// Checks that there is one budget; what is not said is as in `default`.
    pub(super) fn complete(self, default: Alerts, source: &Source<'_>) -> Result<Alerts, Fault> {
        let budget = match (self.per_day, self.rate) {
            (None, None) => default.budget,
            (Some(alerts), None) => Budget::PerDay(alerts),
            (None, Some(rate)) => Budget::Rate(rate),
            (Some(_), Some(_)) => {
                let help = "a budget is either so many alerts a day or a share of the events: remove one of the keys";
                return Err(Fault::new(source.span(&["alerts", "rate"]), "both `per_day` and `rate`", help));
            }
        };
        let window = self.window.map_or(default.window, |events| events as f64);
        Ok(Alerts { budget, ..default }.over(window))
    }
}
