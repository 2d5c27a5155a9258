//! `[model]`: what is believed, and how fast it is forgotten.

use serde::Deserialize;

use super::values;
use crate::device::Device;
use crate::engine::Learning;
use crate::models::mixture;

/// `[model]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct ModelConfig {
    /// Names the posterior: instances with the same id and group share one. Default: `default`.
    #[serde(deserialize_with = "values::id")]
    pub id: String,
    /// The model. Default: `mixture`.
    pub kind: ModelKind,
    /// Events of a partition after which evidence weighs half; infinite (`"never"`) keeps all. Default: `never`.
    #[serde(deserialize_with = "values::half_life")]
    pub half_life_events: f64,
    /// Events learnt in one step at most, 1 to 65536. Default: 256.
    #[serde(deserialize_with = "values::whole::<_, 1, 65536>")]
    pub max_block: usize,
    /// Where the arithmetic is done: `cpu`, `cuda:N`, or `auto` for a GPU if there is one. Default: `cpu`.
    #[serde(deserialize_with = "values::device")]
    pub device: Device,
    /// `[model.mixture]`.
    pub mixture: MixtureConfig,
}

impl Default for ModelConfig {
    fn default() -> Self {
        let Learning { half_life_events, max_block } = Learning::default();
        Self {
            id: "default".into(),
            kind: ModelKind::default(),
            half_life_events,
            max_block,
            device: Device::default(),
            mixture: MixtureConfig::default(),
        }
    }
}

impl ModelConfig {
    /// How the engine learns.
    pub fn learning(&self) -> Learning {
        Learning { half_life_events: self.half_life_events, max_block: self.max_block }
    }
}

/// Which model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelKind {
    /// A Dirichlet-process mixture over columns of all kinds.
    #[default]
    Mixture,
}

/// `[model.mixture]`: the Dirichlet-process mixture.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct MixtureConfig {
    /// Components at most (the truncation), 1 to 1024. Default: 16.
    #[serde(deserialize_with = "values::whole::<_, 1, 1024>")]
    pub components: usize,
    /// How numbers vary together within a component. Default: `diagonal`.
    pub covariance: Covariance,
    /// Concentration α of the Dirichlet process: the larger, the sooner a component is split. Above 0. Default: 1.0.
    #[serde(deserialize_with = "values::positive")]
    pub concentration: f64,
    /// A component with a smaller share of all events is learnt, but not yet taken for normal life: 0 or more, below 1. Default: 0.07.
    #[serde(deserialize_with = "values::share")]
    pub rare: f64,
    /// How many events the expected variance of a number within a component is worth. Above 0. Default: 200.
    #[serde(deserialize_with = "values::positive")]
    pub scale_prior_events: f64,
}

impl Default for MixtureConfig {
    fn default() -> Self {
        let mixture::MixtureConfig { components, concentration, rare, scale_prior_events, .. } =
            mixture::MixtureConfig::default();
        Self { components, covariance: Covariance::default(), concentration, rare, scale_prior_events }
    }
}

/// How the numbers of an event vary together within a component.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Covariance {
    /// Each number on its own.
    #[default]
    Diagonal,
    /// All numbers jointly.
    Full,
}
