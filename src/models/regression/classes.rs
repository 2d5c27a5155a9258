//! A target that is one of several classes: a softmax of as many linear predictors, `p(c) = e^(η_c) / Σ_k e^(η_k)`.
//!
//! The curvature `E[diag(p) − p pᵀ]` is the Laplacian of a graph of the classes, `Σ_{c<k} w_ck (e_c − e_k)(e_c − e_k)ᵀ` with
//! `w_ck = E[p_c p_k] ≥ 0`, and the gradient `e_y − E p = Σ_k E[p_k] (e_y − e_k)` is a flow on its edges. So an event is a
//! pseudo-observation of each difference of two predictors, and evidence is the same as with one predictor, once for any two classes.

use super::logits::{LogitCoefficients, Logits};
use super::predictor::Predicted;
use super::target::{Site, Target};
use crate::features::Kind;
use crate::inference::likelihood::{Predictive, Softmax};

/// Classes that can be told apart.
pub const MOST_CLASSES: usize = 32;

/// One of several classes.
#[derive(Clone, Debug)]
pub struct Classes {
    softmax: Softmax,
}

/// Pairs `(c, k)` of so many classes, `c < k`, in the order of their contrasts.
pub fn pairs(classes: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..classes).flat_map(move |c| (c + 1..classes).map(move |k| (c, k)))
}

/// Where the contrast of two classes stands, and whether it is that of `(other, one)`.
pub fn contrast(classes: usize, one: usize, other: usize) -> (usize, bool) {
    let (c, k) = (one.min(other), one.max(other));
    (c * (2 * classes - c - 1) / 2 + k - c - 1, other < one)
}

impl Target for Classes {
    const KIND: &'static str = "softmax_regression";
    const COLUMN: &'static str = "category";
    type Coefficients = LogitCoefficients;

    fn new(kind: Kind) -> Self {
        let classes = if let Kind::Category { capacity } = kind { capacity } else { 0 };
        Self { softmax: Softmax::new(classes.clamp(2, MOST_CLASSES)) }
    }

    fn classes(&self) -> usize {
        self.softmax.classes()
    }

    fn contrasts(&self) -> usize {
        let classes = self.classes();
        classes * (classes - 1) / 2
    }

    fn contrasts_of<'a>(&'a self, predicted: &'a Logits) -> impl Iterator<Item = Predicted> + 'a {
        pairs(self.classes()).map(|(c, k)| predicted.difference(c, k))
    }

    fn expected(&self, targets: &[f64], predicted: &[Logits]) -> (Vec<f64>, Vec<Site>) {
        let classes = self.classes();
        let mut room = self.softmax.room();
        let (mut values, mut sites) = (Vec::with_capacity(targets.len()), Vec::with_capacity(targets.len() * self.contrasts()));
        for (y, logits) in targets.iter().zip(predicted) {
            let y = *y as usize;
            self.softmax.expected(y, &logits.mean, &logits.covariance, &mut room);
            values.push(room.value);
            for (c, k) in pairs(classes) {
                let weight = (-room.precision[c * classes + k]).max(0.0);
                // What flows from y to every other class.
                let flow = if y == c { -room.gradient[k] } else { 0.0 } - if y == k { -room.gradient[c] } else { 0.0 };
                sites.push(Site { weight, shift: weight * (logits.mean[c] - logits.mean[k]) + flow });
            }
        }
        (values, sites)
    }

    fn alone(&self, targets: &[f64], predicted: &[Logits]) -> Vec<Site> {
        self.expected(targets, predicted).1
    }

    fn predictive(&self, targets: &[f64], predicted: &[Logits]) -> Vec<Predictive> {
        let mut room = self.softmax.room();
        let mut one =
            |(y, logits): (&f64, &Logits)| self.softmax.predictive(*y as usize, &logits.mean, &logits.covariance, &mut room);
        targets.iter().zip(predicted).map(&mut one).collect()
    }
}
