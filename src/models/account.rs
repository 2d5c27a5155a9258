//! What a model says of a score beside the surprisal: what it expected, and which fields made it.

mod expected;

/// The mass of the interval that goes with an expected value.
pub const INTERVAL: f64 = 0.9;

/// What a model expected of the number that it predicts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// The predictive's mean, or its median where it has no mean.
    pub expected: f64,
    /// The predictive's central interval of mass [`INTERVAL`]: from here.
    pub lower: f64,
    /// To here.
    pub upper: f64,
    /// P(Y ≤ y) under the predictive: the probability integral transform, uniform where the model is right.
    pub probability: f64,
}

/// An account of one surprisal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Explanation {
    /// What each field adds; together the surprisal.
    pub contributions: Vec<Contribution>,
    /// The regular part of the model that the event is nearest to, by name.
    pub nearest: Option<String>,
}

/// What one field adds to a surprisal.
#[derive(Clone, Debug, PartialEq)]
pub struct Contribution {
    /// The column's name.
    pub column: String,
    /// Its share of the surprisal, in nats.
    pub nats: f64,
    /// What the model would have expected of it, given the other fields.
    pub expected: Option<Expected>,
}

/// What was to be expected of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// A number or count: its conditional mean and its central interval of mass [`INTERVAL`].
    Number {
        /// The mean.
        mean: f64,
        /// The interval: from here.
        lower: f64,
        /// To here.
        upper: f64,
    },
    /// A boolean or category: the likeliest value and its conditional probability.
    Value {
        /// The value, as text.
        likeliest: String,
        /// Its probability.
        probability: f64,
    },
}
