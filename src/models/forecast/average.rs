//! Bayesian model averaging with forgetting: members are weighted by how well each has predicted of late.

/// What is kept of a member's evidence with each event: the last 1/(1 − 0.99) = 100 events decide.
const KEPT: f64 = 0.99;

/// A member that predicts an event by more nats worse than the best of them is taken to be this much worse: one event is not to decide
/// for long.
const WORST: f64 = 20.0;

/// Log weights of N members, the greatest 0: `ln w_k ← 0.99 ln w_k + ln p_k(x)` (Raftery, Kárný & Ettler 2010).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Average<const N: usize> {
    pub(super) ln_weights: [f64; N],
}

impl<const N: usize> Default for Average<N> {
    fn default() -> Self {
        Self { ln_weights: [0.0; N] }
    }
}

impl<const N: usize> Average<N> {
    /// The weights of the first `members`, which add up to 1.
    pub fn weights(&self, members: usize) -> [f64; N] {
        let most = self.ln_weights[..members].iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut weights = [0.0; N];
        for (weight, ln) in weights.iter_mut().zip(&self.ln_weights[..members]) {
            *weight = (ln - most).exp();
        }
        let total: f64 = weights.iter().sum();
        weights.map(|weight| weight / total)
    }

    /// Takes in how each member has predicted an event: log densities in one unit.
    pub fn learn(&mut self, ln_densities: &[f64; N]) {
        let best = ln_densities.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        for (weight, density) in self.ln_weights.iter_mut().zip(ln_densities) {
            *weight = KEPT * *weight + density.max(best - WORST);
        }
        let most = self.ln_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        self.ln_weights.iter_mut().for_each(|weight| *weight -= most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_those_of_the_whole_history() {
        let densities = [[-1.0, -1.2, -7.0], [-2.0, -1.9, -1.0], [-0.5, -3.0, -60.0], [-1.0, -1.0, -1.5]];
        let mut average = Average::default();
        densities.iter().for_each(|densities| average.learn(densities));
        let weight = |member: usize| {
            let clipped = |of: &[f64; 3]| of[member].max(of.iter().copied().fold(f64::MIN, f64::max) - 20.0);
            let kept = densities.iter().enumerate().map(|(at, of)| 0.99_f64.powi(3 - at as i32) * clipped(of));
            kept.sum::<f64>().exp()
        };
        for members in [2, 3] {
            let total: f64 = (0..members).map(weight).sum();
            let found = average.weights(members);
            for member in 0..3 {
                let expected = if member < members { weight(member) / total } else { 0.0 };
                assert!((found[member] - expected).abs() < 1e-12, "{member} of {members}: {found:?}");
            }
        }
    }
}
