//! `[model.neural_network]` and `[model.vae]`: models made of layers.

use serde::Deserialize;

use super::error::{Fault, Source};
use super::values;
use crate::models::{neural_network, vae};

/// `[model.neural_network]`: the Bayesian network.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct NetworkConfig {
    /// Units of each hidden layer, 1 to 4096; with none the network is linear. Default: `[64, 64]`.
    #[serde(deserialize_with = "values::widths")]
    pub hidden: Vec<usize>,
    /// Draws of the weights that a score is the mean of, 1 to 1024. Default: 16.
    #[serde(deserialize_with = "values::whole::<_, 1, 1024>")]
    pub samples: usize,
    /// Noise about a number that is predicted. Default: `constant`.
    pub noise: NoiseKind,
    /// Standard deviation of the weights before any event, in units of the one at which a layer keeps its inputs' size. Above 0, at most
    /// 1000. Default: 3.
    #[serde(deserialize_with = "values::up_to_a_thousand")]
    pub prior_scale: f64,
    /// How the weights are moved. Default: `newton`.
    pub optimiser: OptimiserKind,
    /// Learning rate, of an optimiser that has one. Above 0. Default: none, which is 0.003.
    #[serde(deserialize_with = "values::some_positive")]
    pub learning_rate: Option<f64>,
}

impl NetworkConfig {
    /// Checks that a learning rate is not given to what has none.
    pub(super) fn complete(&self, source: &Source<'_>) -> Result<(), Fault> {
        if self.learning_rate.is_none() || self.optimiser != OptimiserKind::Newton {
            return Ok(());
        }
        let message = "a learning rate with optimiser = \"newton\"";
        let help = "remove the key: the curvature says how far a step goes; or choose another optimiser";
        Err(Fault::new(source.span(&["model", "neural_network", "learning_rate"]), message, help))
    }
}

impl Default for NetworkConfig {
    fn default() -> Self {
        let neural_network::NetworkConfig { hidden, samples, prior_scale, .. } = neural_network::NetworkConfig::default();
        let (noise, optimiser) = (NoiseKind::default(), OptimiserKind::default());
        Self { hidden, samples, noise, prior_scale, optimiser, learning_rate: None }
    }
}

/// How a network's weights are moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimiserKind {
    /// To the minimum of a block's quadratic model.
    #[default]
    Newton,
    /// By the improved variational online Newton method.
    Ivon,
    /// By Adam on the negative evidence lower bound.
    Adam,
    /// By gradient descent with momentum on the same.
    Sgd,
}

/// Noise about a number that a network predicts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoiseKind {
    /// The same for all events, and learnt.
    #[default]
    Constant,
    /// A second output of the network.
    Varying,
}

/// `[model.vae]`: the variational autoencoder.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct VaeConfig {
    /// Dimensions of the space that events are placed in, 1 to 1024. Default: 8.
    #[serde(deserialize_with = "values::whole::<_, 1, 1024>")]
    pub latent: usize,
    /// Units of each hidden layer of the encoder, 1 to 4096; the decoder has the same in reverse; with none it is linear. Default: `[64]`.
    #[serde(deserialize_with = "values::widths")]
    pub hidden: Vec<usize>,
    /// Draws that a score is the mean of, 1 to 1024. Default: 16.
    #[serde(deserialize_with = "values::whole::<_, 1, 1024>")]
    pub samples: usize,
    /// Sweeps over a block in which the encoder learns, 1 to 1024. Default: 3.
    #[serde(deserialize_with = "values::whole::<_, 1, 1024>")]
    pub inner_steps: usize,
    /// Learning rate of the encoder (Adam). Above 0. Default: 0.003.
    #[serde(deserialize_with = "values::positive")]
    pub learning_rate: f64,
}

impl Default for VaeConfig {
    fn default() -> Self {
        let vae::VaeConfig { latent, hidden, samples, inner_steps, encoder, .. } = vae::VaeConfig::default();
        Self { latent, hidden, samples, inner_steps, learning_rate: encoder.rate }
    }
}
