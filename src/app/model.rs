//! From the configuration to the model that it describes.

use super::AppError;
use crate::config::{self, ModelConfig, ModelKind};
use crate::features::Schema;
use crate::models::AnyModel;
use crate::models::mixture::{self, Mixture};

/// The configured model.
pub fn model(schema: &Schema, config: &ModelConfig) -> Result<AnyModel, AppError> {
    match config.kind {
        ModelKind::Mixture => mixture(schema, config).map(AnyModel::new),
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
    let mixture = Mixture::new(schema, config)?;
    Ok(match device.open()? {
        Some(device) => mixture.on(device),
        None => mixture,
    })
}
