//! The configuration file: what a person may ask for, with a default wherever one can exist.
//!
//! Owns the TOML format, its checks and the errors that point at the line to change. Connects to nothing and starts nothing; host
//! name and environment come in as arguments. `docs/configuration.md` lists every key.

mod alerts;
mod columns;
mod error;
mod features;
mod forecast;
mod kafka;
mod model;
mod network;
mod properties;
mod regimes;
mod values;

#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use serde::Deserialize;

use crate::calibration::Alerts;
use crate::drift::Watch;
use crate::engine::Setup;
use crate::features::{Derivation, Schema};

pub use error::ConfigError;
pub use forecast::ForecastConfig;
pub use kafka::{DeletedEvents, KafkaConfig, ScoresFormat, Start};
pub use model::{Covariance, ExplainKind, HalfLife, LearningKind, MixtureConfig, ModelConfig, ModelKind, RegressionConfig};
pub use network::{NetworkConfig, NoiseKind, OptimiserKind, VaeConfig};
pub use properties::{Property, Secret};

use alerts::AlertsTable;
use columns::ColumnTable;
use error::{Fault, Source};
use features::FeatureTable;
use regimes::RegimesTable;

/// Everything a configuration file says, checked and complete.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[model]`: what is believed and how fast it is forgotten.
    pub model: ModelConfig,
    /// `[[columns]]`: the fields of an event that the model looks at.
    pub schema: Schema,
    /// `[[features]]`: the columns that are worked out from these.
    pub derivation: Derivation,
    /// `[alerts]`: how many alerts people are willing to look at.
    pub alerts: Alerts,
    /// `[regimes]`: series of which people want to know when they change.
    pub watch: Watch,
    /// `[kafka]`: where events come from and results go.
    pub kafka: KafkaConfig,
    /// `[http]`: where the program can be watched.
    pub http: HttpConfig,
}

/// `[http]`: where the program can be watched.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct HttpConfig {
    /// Address of `/metrics`, `/healthz` and `/readyz`; port 0 takes a free one. Default: `127.0.0.1:9464`.
    #[serde(deserialize_with = "values::address")]
    pub listen: SocketAddr,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9464)) }
    }
}

/// Looks an environment variable up.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What the configuration takes from its surroundings.
pub struct Environment<'a> {
    /// The machine's name, which tells instances apart.
    pub host: String,
    /// Looks a variable up. `None` where secrets are of no use: they are then left unresolved, set or not.
    pub variable: Option<Lookup<'a>>,
}

/// The file as it is written.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
struct Document {
    model: ModelConfig,
    columns: Vec<ColumnTable>,
    features: Vec<FeatureTable>,
    alerts: AlertsTable,
    regimes: RegimesTable,
    kafka: KafkaConfig,
    http: HttpConfig,
}

impl Config {
    /// What the engine does.
    pub fn setup(&self) -> Setup {
        let (watch, derivation) = (self.watch.clone(), self.derivation.clone());
        Setup { alerts: self.alerts, watch, derivation, ..self.model.setup() }
    }

    /// Reads and checks the file at `path`, and looks its secrets up in the environment.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::read(path, Some(&|name| std::env::var(name).ok()))
    }

    /// Reads and checks the file at `path` for work without Kafka: secrets need not be set, and are not looked up.
    pub fn load_offline(path: &Path) -> Result<Self, ConfigError> {
        Self::read(path, None)
    }

    fn read(path: &Path, variable: Option<Lookup<'_>>) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        Self::parse(&text, &path.display().to_string(), &Environment { host, variable })
    }

    /// The columns that the model sees: those of an event, and those derived from them.
    pub fn modelled(&self) -> Schema {
        self.derivation.widen(&self.schema)
    }

    /// Checks `text`, the content of the file that errors call `file`.
    pub fn parse(text: &str, file: &str, environment: &Environment<'_>) -> Result<Self, ConfigError> {
        let source = Source { file, text };
        let document: Document = toml::from_str(text).map_err(|error| source.locate(Fault::from(error)))?;
        Self::complete(document, &source, environment).map_err(|fault| source.locate(fault))
    }

    /// Checks what takes more than one value to see, and fills in the defaults that depend on others.
    fn complete(document: Document, source: &Source<'_>, environment: &Environment<'_>) -> Result<Self, Fault> {
        let Document { model, columns, features, alerts, regimes, mut kafka, http } = document;
        let schema = columns::schema(columns, source)?;
        let derivation = features::derivation(&features, &schema, source)?;
        let wide = derivation.widen(&schema);
        model.complete(&wide, source)?;
        features::check_inputs(&derivation, &wide, &model, source)?;
        let alerts = alerts.complete(model.setup().alerts, source)?;
        let watch = regimes.complete(&wide, source)?;
        kafka.complete(&model.id, source, environment)?;
        Ok(Self { model, schema, derivation, alerts, watch, kafka, http })
    }
}
