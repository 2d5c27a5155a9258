//! `[model.forecast]`, and what of `[model]` doesn't go with a forecast.

use serde::Deserialize;

use super::error::{Fault, Source};
use super::model::{HalfLife, LearningKind, ModelConfig};
use super::values;
use crate::features::{Kind, Schema};
use crate::models::forecast;

/// `[model.forecast]`: the series that are forecast.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct ForecastConfig {
    /// The category column by which series are told apart. Default: none, all events are of one series.
    pub key: Option<String>,
    /// Series kept at most, 1 to 50000; the one that was learnt longest ago goes first. Default: 10000.
    #[serde(deserialize_with = "values::whole::<_, 1, 50_000>")]
    pub max_keys: usize,
}

impl Default for ForecastConfig {
    fn default() -> Self {
        let forecast::ForecastConfig { key, max_keys } = forecast::ForecastConfig::default();
        Self { key, max_keys }
    }
}

/// Checks that the key is a category, and that nothing is asked for that a forecast decides by itself.
pub(super) fn complete(model: &ModelConfig, schema: &Schema, source: &Source<'_>) -> Result<(), Fault> {
    let forgets = "remove the key: how fast a forecast forgets, it learns from the stream";
    let refused = [
        ("half_life_events", model.half_life_events != HalfLife::NEVER, "a forecast has no half-life", forgets),
        ("half_life_time", model.half_life_ms.is_finite(), "a forecast has no half-life", forgets),
        ("learning", model.learning == LearningKind::Population, "a forecast doesn't learn a population", "remove the key"),
        (
            "max_block",
            source.span(&["model", "max_block"]).is_some(),
            "a forecast learns each event before the next",
            "remove the key: its blocks hold one event",
        ),
        (
            "inputs",
            model.inputs.is_some(),
            "a forecast has no inputs",
            "remove the key: a number is predicted from its own past and the event's time",
        ),
    ];
    if let Some((key, _, message, help)) = refused.into_iter().find(|(_, given, ..)| *given) {
        return Err(Fault::new(source.span(&["model", key]), message, help));
    }
    let Some(key) = &model.forecast.key else { return Ok(()) };
    let column = schema.columns().iter().find(|column| column.name == *key);
    let (message, help) = match column.map(|column| column.kind) {
        Some(Kind::Category { .. }) => return Ok(()),
        Some(kind) => (format!("the key {key:?} is a column of kind {:?}", kind.name()), "choose a column of kind \"category\""),
        None => (format!("no column is named {key:?}"), "write a column's name as in [[columns]]"),
    };
    Err(Fault::new(source.span(&["model", "forecast", "key"]), message, help))
}
