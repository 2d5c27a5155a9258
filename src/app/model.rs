//! From the configuration to the model that it describes.

use super::AppError;
use crate::config::{self, ModelConfig, ModelKind};
use crate::features::{Schema, Task};
use crate::models::mixture::{self, Mixture};
use crate::models::regression::{LinearRegression, RegressionConfig, RegressionError};
use crate::models::{AnyModel, Model};

/// The configured model.
pub fn model(schema: &Schema, config: &ModelConfig) -> Result<AnyModel, AppError> {
    match config.kind {
        ModelKind::Mixture => mixture(schema, config).map(AnyModel::new),
        ModelKind::LinearRegression => regression(schema, config, LinearRegression::new),
        other => Err(AppError::Unusable(format!("a {} is not there", other.name()))),
    }
}

fn mixture(schema: &Schema, config: &ModelConfig) -> Result<Mixture, AppError> {
    let (device, config) = (config.device, &config.mixture);
    let covariance = match config.covariance {
        config::Covariance::Diagonal => mixture::Covariance::Diagonal,
        config::Covariance::Full => mixture::Covariance::Full,
    };
    let config = mixture::MixtureConfig {
        components: config.components,
        covariance,
        concentration: config.concentration,
        rare: config.rare,
        scale_prior_events: config.scale_prior_events,
        ..mixture::MixtureConfig::default()
    };
    let mixture = Mixture::new(schema, config).map_err(AppError::model)?;
    Ok(match device.open()? {
        Some(device) => mixture.on(device),
        None => mixture,
    })
}

/// A regression, made by `make`.
fn regression<M: Model>(
    schema: &Schema,
    config: &ModelConfig,
    make: impl Fn(&Schema, &Task, RegressionConfig) -> Result<M, RegressionError>,
) -> Result<AnyModel, AppError> {
    let settings = RegressionConfig { prior_scale: config.regression.prior_scale, ..RegressionConfig::default() };
    make(schema, &task(schema, config)?, settings).map(AnyModel::new).map_err(AppError::model)
}

/// What is predicted from what.
fn task(schema: &Schema, config: &ModelConfig) -> Result<Task, AppError> {
    config.task(schema).ok_or_else(|| AppError::Unusable(format!("a {} needs a target", config.kind.name())))
}
