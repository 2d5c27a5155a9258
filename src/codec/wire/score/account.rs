//! What goes with a surprisal: the prediction, and the account of which fields made it.

use serde::{Deserialize, Serialize};

use super::proto;
use crate::models::{Contribution, Expected, Explanation, Prediction};

/// A prediction in JSON.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct PredictionForm {
    expected: f64,
    lower: f64,
    upper: f64,
    probability: f64,
}

/// A contribution in JSON: of `mean`, `lower` and `upper` there are all or none, and so of `likeliest` and `probability`.
#[derive(Serialize, Deserialize)]
pub struct ContributionForm {
    column: String,
    nats: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    mean: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lower: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upper: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    likeliest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probability: Option<f64>,
}

/// A prediction with its numbers finite, or none: what has no number is not written.
pub fn finite_prediction(prediction: Option<Prediction>) -> Option<Prediction> {
    let finite = |of: &Prediction| [of.expected, of.lower, of.upper, of.probability].iter().all(|number| number.is_finite());
    prediction.filter(finite)
}

/// Bytes that an account takes at most: a message holds a million, of which a key may take half.
const MAX_ACCOUNT_BYTES: usize = 256 << 10;

/// What a contribution takes in JSON beside its texts.
const CONTRIBUTION_BYTES: usize = 200;

/// In JSON a control character takes six.
const BYTES_OF_A_BYTE: usize = 6;

/// What the fields are called that an account has no room for.
const OTHERS: &str = "(others)";

/// An explanation as it is written: a contribution beyond all numbers is the greatest one, an expectation beyond them is none, and those
/// that there is no room for are one.
pub fn written_explanation(explanation: &Explanation) -> Explanation {
    let finite = |expected: &Expected| match expected {
        Expected::Number { mean, lower, upper } => [mean, lower, upper].iter().all(|number| number.is_finite()),
        Expected::Value { probability, .. } => probability.is_finite(),
    };
    let contribution = |of: &Contribution| Contribution {
        column: of.column.clone(),
        nats: if of.nats.is_nan() { f64::MAX } else { of.nats.clamp(f64::MIN, f64::MAX) },
        expected: of.expected.clone().filter(finite),
    };
    let mut taken = 0;
    let fits = |of: &&Contribution| {
        let likeliest = if let Some(Expected::Value { likeliest, .. }) = &of.expected { likeliest.len() } else { 0 };
        taken += CONTRIBUTION_BYTES + BYTES_OF_A_BYTE * (of.column.len() + likeliest);
        taken <= MAX_ACCOUNT_BYTES
    };
    let mut contributions: Vec<_> = explanation.contributions.iter().take_while(fits).map(contribution).collect();
    let others = &explanation.contributions[contributions.len()..];
    if !others.is_empty() {
        let nats = others.iter().map(|of| of.nats).sum();
        contributions.push(contribution(&Contribution { column: OTHERS.into(), nats, expected: None }));
    }
    Explanation { contributions, nearest: explanation.nearest.clone() }
}

impl From<Prediction> for PredictionForm {
    fn from(Prediction { expected, lower, upper, probability }: Prediction) -> Self {
        Self { expected, lower, upper, probability }
    }
}

impl From<PredictionForm> for Prediction {
    fn from(PredictionForm { expected, lower, upper, probability }: PredictionForm) -> Self {
        Self { expected, lower, upper, probability }
    }
}

impl From<Prediction> for proto::Prediction {
    fn from(Prediction { expected, lower, upper, probability }: Prediction) -> Self {
        Self { expected, lower, upper, probability }
    }
}

impl From<proto::Prediction> for Prediction {
    fn from(proto::Prediction { expected, lower, upper, probability }: proto::Prediction) -> Self {
        Self { expected, lower, upper, probability }
    }
}

impl From<&Contribution> for ContributionForm {
    fn from(Contribution { column, nats, expected }: &Contribution) -> Self {
        let empty = Self {
            column: column.clone(),
            nats: *nats,
            mean: None,
            lower: None,
            upper: None,
            likeliest: None,
            probability: None,
        };
        match expected.clone() {
            Some(Expected::Number { mean, lower, upper }) => {
                Self { mean: Some(mean), lower: Some(lower), upper: Some(upper), ..empty }
            }
            Some(Expected::Value { likeliest, probability }) => {
                Self { likeliest: Some(likeliest), probability: Some(probability), ..empty }
            }
            None => empty,
        }
    }
}

impl From<ContributionForm> for Contribution {
    fn from(form: ContributionForm) -> Self {
        let ContributionForm { column, nats, mean, lower, upper, likeliest, probability } = form;
        let expected = match (mean, lower, upper, likeliest, probability) {
            (Some(mean), Some(lower), Some(upper), None, None) => Some(Expected::Number { mean, lower, upper }),
            (None, None, None, Some(likeliest), Some(probability)) => Some(Expected::Value { likeliest, probability }),
            _ => None,
        };
        Self { column, nats, expected }
    }
}

impl From<&Explanation> for proto::Explanation {
    fn from(Explanation { contributions, nearest }: &Explanation) -> Self {
        let contribution = |of: &Contribution| proto::Contribution {
            column: of.column.clone(),
            nats: of.nats,
            expected: of.expected.clone().map(|expected| match expected {
                Expected::Number { mean, lower, upper } => {
                    proto::contribution::Expected::Number(proto::ExpectedNumber { mean, lower, upper })
                }
                Expected::Value { likeliest, probability } => {
                    proto::contribution::Expected::Value(proto::ExpectedValue { likeliest, probability })
                }
            }),
        };
        Self { contributions: contributions.iter().map(contribution).collect(), nearest: nearest.clone() }
    }
}

impl From<proto::Explanation> for Explanation {
    fn from(proto::Explanation { contributions, nearest }: proto::Explanation) -> Self {
        let contribution = |proto::Contribution { column, nats, expected }| Contribution {
            column,
            nats,
            expected: expected.map(|expected| match expected {
                proto::contribution::Expected::Number(proto::ExpectedNumber { mean, lower, upper }) => {
                    Expected::Number { mean, lower, upper }
                }
                proto::contribution::Expected::Value(proto::ExpectedValue { likeliest, probability }) => {
                    Expected::Value { likeliest, probability }
                }
            }),
        };
        Self { contributions: contributions.into_iter().map(contribution).collect(), nearest }
    }
}
