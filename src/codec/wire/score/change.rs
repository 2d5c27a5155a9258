//! Changes of regime.

use serde::{Deserialize, Serialize};

use super::proto;
use crate::drift::{Change, Level};

/// A change in JSON.
#[derive(Serialize, Deserialize)]
pub struct ChangeForm {
    series: String,
    offset: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp_ms: Option<i64>,
    probability: f64,
    before: LevelForm,
    after: LevelForm,
}

#[derive(Serialize, Deserialize)]
struct LevelForm {
    mean: f64,
    standard_deviation: f64,
}

impl From<Level> for LevelForm {
    fn from(Level { mean, sd }: Level) -> Self {
        Self { mean, standard_deviation: sd }
    }
}

impl From<LevelForm> for Level {
    fn from(LevelForm { mean, standard_deviation }: LevelForm) -> Self {
        Self { mean, sd: standard_deviation }
    }
}

impl From<&Change> for ChangeForm {
    fn from(Change { series, offset, time_ms, probability, before, after }: &Change) -> Self {
        let (series, offset, timestamp_ms, probability) = (series.clone(), *offset, *time_ms, *probability);
        Self { series, offset, timestamp_ms, probability, before: (*before).into(), after: (*after).into() }
    }
}

impl From<ChangeForm> for Change {
    fn from(form: ChangeForm) -> Self {
        let ChangeForm { series, offset, timestamp_ms, probability, before, after } = form;
        Self { series, offset, time_ms: timestamp_ms, probability, before: before.into(), after: after.into() }
    }
}

impl From<Level> for proto::Level {
    fn from(Level { mean, sd }: Level) -> Self {
        Self { mean, standard_deviation: sd }
    }
}

impl From<proto::Level> for Level {
    fn from(proto::Level { mean, standard_deviation }: proto::Level) -> Self {
        Self { mean, sd: standard_deviation }
    }
}

impl From<&Change> for proto::RegimeChange {
    fn from(Change { series, offset, time_ms, probability, before, after }: &Change) -> Self {
        let (series, offset, timestamp_ms, probability) = (series.clone(), *offset, *time_ms, *probability);
        Self { series, offset, timestamp_ms, probability, before: Some((*before).into()), after: Some((*after).into()) }
    }
}

impl From<proto::RegimeChange> for Change {
    fn from(change: proto::RegimeChange) -> Self {
        let proto::RegimeChange { series, offset, timestamp_ms, probability, before, after } = change;
        let [before, after] = [before, after].map(|level| level.unwrap_or_default().into());
        Self { series, offset, time_ms: timestamp_ms, probability, before, after }
    }
}
