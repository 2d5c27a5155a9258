//! From the configuration to the model that it describes.

use candle_core::Device;

use super::AppError;
use crate::config::{self, HalfLife, ModelConfig, ModelKind, OptimiserKind};
use crate::features::{Schema, Task};
use crate::inference::newton::{Newton, Stepping};
use crate::inference::optimiser::{Method, Optimiser};
use crate::models::forecast::{ForecastConfig, Forecasts};
use crate::models::mixture::{self, Mixture};
use crate::models::neural_network::{self, Network};
use crate::models::regression::{
    LinearRegression, LogisticRegression, PoissonRegression, RegressionConfig, RegressionError, SoftmaxRegression,
};
use crate::models::vae::{self, Vae};
use crate::models::{AnyModel, Inferred, Model};

/// The configured model.
pub fn model(schema: &Schema, config: &ModelConfig) -> Result<AnyModel, AppError> {
    match config.kind {
        ModelKind::Mixture => remembering(mixture(schema, config)?, schema, config),
        ModelKind::Forecast => forecast(schema, config).map(AnyModel::new),
        ModelKind::LinearRegression => regression(schema, config, LinearRegression::new, LinearRegression::on),
        ModelKind::LogisticRegression => regression(schema, config, LogisticRegression::new, LogisticRegression::on),
        ModelKind::PoissonRegression => regression(schema, config, PoissonRegression::new, PoissonRegression::on),
        ModelKind::SoftmaxRegression => regression(schema, config, SoftmaxRegression::new, SoftmaxRegression::on),
        ModelKind::Vae => vae(schema, config).map(AnyModel::new),
        ModelKind::NeuralNetwork => network(schema, config).map(AnyModel::new),
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

fn forecast(schema: &Schema, config: &ModelConfig) -> Result<Forecasts, AppError> {
    let config::ForecastConfig { key, max_keys } = config.forecast.clone();
    Forecasts::new(schema, task(schema, config)?.target, &ForecastConfig { key, max_keys }).map_err(AppError::model)
}

fn network(schema: &Schema, config: &ModelConfig) -> Result<Network, AppError> {
    let config::NetworkConfig { hidden, samples, noise, prior_scale, optimiser, learning_rate } = config.neural_network.clone();
    let noise = match noise {
        config::NoiseKind::Constant => neural_network::NoiseKind::Constant,
        config::NoiseKind::Varying => neural_network::NoiseKind::Varying,
    };
    let defaults = neural_network::NetworkConfig::default();
    let rule = Newton { stepping: stepping(optimiser, learning_rate), ..defaults.rule };
    let settings = neural_network::NetworkConfig { hidden, samples, noise, prior_scale, rule, ..defaults };
    let network = Network::new(schema, &task(schema, config)?, settings).map_err(AppError::model)?;
    Ok(match config.device.open()? {
        Some(device) => network.on(device),
        None => network,
    })
}

/// The learning rate where none is set: small, since a step is taken a block, whatever its size.
const LEARNING_RATE: f64 = 0.003;

/// How weights are moved. 0.9 is what papers and libraries use; only a gradient gone wild is longer than 100.
fn stepping(optimiser: OptimiserKind, learning_rate: Option<f64>) -> Stepping {
    let rate = learning_rate.unwrap_or(LEARNING_RATE);
    let descent = |method| Stepping::Descent(Optimiser { method, rate, greatest_norm: 100.0 });
    match optimiser {
        OptimiserKind::Newton => Stepping::default(),
        OptimiserKind::Ivon => Stepping::Ivon { decay: 0.9, rate },
        OptimiserKind::Adam => descent(Method::ADAM),
        OptimiserKind::Sgd => descent(Method::Sgd { momentum: 0.9 }),
    }
}

fn vae(schema: &Schema, config: &ModelConfig) -> Result<Vae, AppError> {
    let config::VaeConfig { latent, hidden, samples, inner_steps, learning_rate } = config.vae.clone();
    let defaults = vae::VaeConfig::default();
    let encoder = Optimiser { rate: learning_rate, ..defaults.encoder };
    let settings = vae::VaeConfig { latent, hidden, samples, inner_steps, encoder, ..defaults };
    let vae = Vae::new(schema, settings).map_err(AppError::model)?;
    Ok(match config.device.open()? {
        Some(device) => vae.on(device),
        None => vae,
    })
}

/// A regression, made by `make` and put on a device by `on`.
fn regression<M: Model>(
    schema: &Schema,
    config: &ModelConfig,
    make: impl Fn(&Schema, &Task, RegressionConfig) -> Result<M, RegressionError>,
    on: impl Fn(M, Device) -> M,
) -> Result<AnyModel, AppError> {
    let config::RegressionConfig { prior_scale, inner_steps } = config.regression;
    let settings = RegressionConfig { prior_scale, inner_steps, ..RegressionConfig::default() };
    let regression = make(schema, &task(schema, config)?, settings).map_err(AppError::model)?;
    let regression = match config.device.open()? {
        Some(device) => on(regression, device),
        None => regression,
    };
    remembering(regression, schema, config)
}

/// `model`, its half-life inferred if that was asked for.
fn remembering<M: Model>(model: M, schema: &Schema, config: &ModelConfig) -> Result<AnyModel, AppError> {
    match config.half_life_events {
        HalfLife::Events(_) => Ok(AnyModel::new(model)),
        HalfLife::Inferred => Inferred::new(model, schema).map(AnyModel::new).map_err(AppError::model),
    }
}

/// What is predicted from what.
fn task(schema: &Schema, config: &ModelConfig) -> Result<Task, AppError> {
    config.task(schema).ok_or_else(|| AppError::Unusable(format!("a {} needs a target", config.kind.name())))
}
