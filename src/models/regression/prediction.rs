//! What a linear regression expected of its target.

use super::linear::LinearPosterior;
use super::predictor::Predicted;
use super::tensors::Placed;
use crate::dist::gamma::Gamma;
use crate::dist::student::Student;
use crate::models::{INTERVAL, Prediction};

/// The exact predictive of each of the `rows` whose target is there, Student's t with 2a degrees of freedom about the predictor's mean;
/// `None` for all others, and before the target has varied.
pub fn predictions(posterior: &LinearPosterior, placed: &Placed<'_>, rows: usize) -> Vec<Option<Prediction>> {
    let mut predictions = vec![None; rows];
    let Some(target) = posterior.target else { return predictions };
    let Gamma { shape, rate } = posterior.precision;
    let noise = (rate / shape).sqrt();
    // The interval is as wide for all rows, in scales.
    let standard = Student::new(2.0 * shape, 0.0, 1.0);
    let Some(reach) = standard.upper_quantile(0.5 * (1.0 - INTERVAL)) else { return predictions };
    let found = posterior.predictor.predict(placed);
    for ((place, y), Predicted { mean, variance }) in placed.table.places.iter().zip(&placed.table.targets).zip(found) {
        let student = standard.placed(target.location + target.scale * mean, target.scale * noise * (1.0 + variance).sqrt());
        let (expected, half) = (student.location, reach * student.scale);
        let prediction =
            Prediction { expected, lower: expected - half, upper: expected + half, probability: student.tails(*y).0 };
        predictions[*place] = Some(prediction).filter(|_| expected.is_finite() && half.is_finite());
    }
    predictions
}
