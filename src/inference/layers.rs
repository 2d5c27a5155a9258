//! Dense layers: what a network computes forwards, and what it learns from backwards.
//!
//! `z = Wᵀ a + b`, `a' = f(z)`, layer after layer, for all events of a block; signals `δ = ∂L/∂z` back through the same weights; sums
//! over events `Σ a δᵀ` (the gradient) and `Σ a² (δ²)ᵀ` (the diagonal of the Gauss-Newton or Fisher matrix, if δ are signals of that
//! kind); and directional derivatives forwards. Weights may be uncertain: with variances, pre-activations are drawn from
//! `N(Wᵀ a, Vᵀ a²)`, the local reparameterisation (Kingma, Salimans & Welling 2015).
//!
//! Events lie along vector lanes in panels of [`PANEL`]: an array of values is `[panel][unit][PANEL]`, and the last unit of a layer's
//! input is a constant 1, so that biases are weights. Events beyond the last are computed along and have no signal.

mod accelerated;
mod parameters;
mod pass;
mod product;
mod real;
mod sampled;

pub use parameters::Parameters;
pub use pass::{Pass, Path};
pub use real::Real;
pub use sampled::Sampled;

/// Events in a panel.
pub const PANEL: usize = crate::device::layers::PANEL;

/// Rows of weights are padded to a multiple of this.
const PITCH: usize = 16;

/// f, between layers. The last layer is linear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// `max(z, 0)`.
    #[default]
    Relu,
    /// `z`: all layers together are one linear map.
    Identity,
}

/// A network's layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Inputs, units of each hidden layer, outputs.
    pub widths: Vec<usize>,
    /// Between layers.
    pub activation: Activation,
}

impl Shape {
    /// A network of these widths.
    ///
    /// # Panics
    /// If there are fewer than two widths, or one is 0.
    pub fn new(widths: Vec<usize>, activation: Activation) -> Self {
        assert!(widths.len() >= 2 && !widths.contains(&0), "a network has inputs and outputs, not {widths:?}");
        Self { widths, activation }
    }

    /// Layers of weights.
    pub fn layers(&self) -> usize {
        self.widths.len() - 1
    }

    /// Rows (inputs and the bias) and columns (outputs) of a layer's weights.
    pub fn layer(&self, index: usize) -> (usize, usize) {
        (self.widths[index] + 1, self.widths[index + 1])
    }

    /// Weights and biases.
    pub fn parameters(&self) -> usize {
        (0..self.layers()).map(|index| self.layer(index)).map(|(rows, columns)| rows * columns).sum()
    }

    /// Inputs of the network.
    pub fn inputs(&self) -> usize {
        self.widths[0]
    }

    /// Outputs of the network.
    pub fn outputs(&self) -> usize {
        self.widths[self.layers()]
    }
}

/// Panels that hold `events`.
pub fn panels(events: usize) -> usize {
    events.div_ceil(PANEL)
}

/// Where unit `unit` of event `event` stands in an array of `units` units.
pub fn place(units: usize, unit: usize, event: usize) -> usize {
    (event / PANEL * units + unit) * PANEL + event % PANEL
}

#[cfg(test)]
mod tests;
