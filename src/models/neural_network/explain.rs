//! What was to be expected of the target of an event.

use super::learn::Workspace;
use super::likelihood::{Likelihood, WIDEST};
use super::posterior::NetworkPosterior;
use super::{Network, Target};
use crate::dist::student::Student;
use crate::features::RowsView;
use crate::inference::layers::{PANEL, panels, place};
use crate::models::Expected;

impl Network {
    /// The predictive of the target of `row`, which has one: the mean over the draws that scores are made of.
    pub(super) fn expected(&self, posterior: &NetworkPosterior, row: RowsView<'_>) -> Option<Expected> {
        let Some(target) = posterior.target else {
            return posterior.constant.map(|(value, _)| Expected::always(value));
        };
        let samples = self.config.samples;
        let mut workspace = self.workspace(&posterior.shape);
        let Workspace { pass, buffer, outputs, .. } = &mut *workspace;
        self.layout.inputs.fill(&posterior.units, row, std::iter::once(0), buffer, pass.open(1));
        posterior.sampled(self).predict(pass.inputs(), 1, outputs);
        let outputs: &[f32] = outputs;
        let whole = outputs.len() / samples;
        let units = whole / (panels(1) * PANEL);
        let output = |sample: usize, unit: usize| f64::from(outputs[sample * whole + place(units, unit, 0)]);
        let probability = |y: f64| {
            let mut scores = Vec::with_capacity(1);
            self.layout.likelihood.score(outputs, samples, &[y], posterior.noise, &mut scores);
            scores.first().map_or(0.0, |score| (-score.nats).exp())
        };
        match (self.layout.target, self.layout.likelihood) {
            (Target::Number { .. }, Likelihood::Scaled) => {
                let mean_of = |of: &dyn Fn(usize) -> f64| (0..samples).map(of).sum::<f64>() / samples as f64;
                let mean = mean_of(&|s| output(s, 0));
                let noise = |s: usize| (2.0 * output(s, 1).clamp(-WIDEST, WIDEST)).exp();
                // A mixture of normals, by its first two moments.
                let variance = mean_of(&|s| noise(s) + (output(s, 0) - mean).powi(2));
                Some(Expected::normal(target.location + target.scale * mean, target.scale * variance.sqrt()))
            }
            (Target::Number { .. }, _) => {
                let scale = posterior.noise.square_scale.sqrt();
                let part = |s: usize| (1.0 / samples as f64, Student::new(posterior.noise.dof, output(s, 0), scale));
                Expected::students(&(0..samples).map(part).collect::<Vec<_>>(), target)
            }
            (Target::Boolean, _) => {
                Expected::likeliest([false, true].into_iter().map(|y| (y.to_string(), probability(f64::from(u8::from(y))))))
            }
            (Target::Category { .. }, _) => {
                let texts = posterior.vocabulary.texts().enumerate();
                Expected::likeliest(texts.map(|(slot, text)| (text.to_owned(), probability((slot + 1) as f64))))
            }
        }
    }
}
