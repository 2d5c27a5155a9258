//! Optimisers for what has no closed form: small steps down a gradient, of the negative evidence lower bound as a rule.
//!
//! An [`Optimiser`] is settings; what moves is [`State`], plain numbers that a snapshot keeps to the last bit. Arithmetic is in
//! the parameters' precision, element by element and in order, so the same gradients give the same bits everywhere.

use pulp::Arch;

use super::NotFinite;
use super::layers::Real;
use crate::dist::lanes;

/// How a gradient becomes a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// `v ← momentum · v + g`, `θ ← θ − rate · v` (Sutskever et al. 2013, in the form that libraries use).
    Sgd {
        /// In [0, 1); 0 is plain gradient descent.
        momentum: f64,
    },
    /// `m ← β₁ m + (1 − β₁) g`, `v ← β₂ v + (1 − β₂) g²`, `θ ← θ − rate · m̂ / (√v̂ + ε)` with `m̂ = m / (1 − β₁ᵗ)` and
    /// `v̂ = v / (1 − β₂ᵗ)` (Kingma & Ba 2015, algorithm 1).
    Adam {
        /// β₁, in [0, 1).
        first_decay: f64,
        /// β₂, in [0, 1).
        second_decay: f64,
        /// ε, above 0.
        epsilon: f64,
    },
}

impl Method {
    /// Adam with the paper's settings.
    pub const ADAM: Self = Self::Adam { first_decay: 0.9, second_decay: 0.999, epsilon: 1e-8 };
}

/// A method and the size of its steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Optimiser {
    /// The method.
    pub method: Method,
    /// The learning rate.
    pub rate: f64,
    /// The greatest Euclidean length of a gradient over all parameters: a longer one is scaled down to it (Pascanu, Mikolov &
    /// Bengio 2013). Infinite never clips.
    pub greatest_norm: f64,
}

/// What an optimiser remembers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State<T> {
    /// Steps taken.
    pub steps: u64,
    /// How many of them had their gradient clipped.
    pub clipped: u64,
    /// v of SGD, m of Adam and of IVON: a number a parameter, and none where nothing is remembered.
    pub first: Vec<T>,
    /// v of Adam; of SGD nothing.
    pub second: Vec<T>,
}

impl<T: Real> State<T> {
    /// Whether all numbers are finite.
    pub fn is_finite(&self) -> bool {
        [&self.first, &self.second].into_iter().all(|numbers| lanes::sum(numbers, |x| 0.0 * x.wide()) == 0.0)
    }

    /// The same in another precision.
    pub fn converted<U: Real>(&self) -> State<U> {
        let convert = |numbers: &[T]| numbers.iter().map(|number| U::of(number.wide())).collect();
        State { steps: self.steps, clipped: self.clipped, first: convert(&self.first), second: convert(&self.second) }
    }
}

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The gradient's length before it was clipped.
    pub gradient_norm: f64,
    /// Whether it was clipped.
    pub clipped: bool,
}

impl Optimiser {
    /// The state before the first step of this many parameters.
    pub fn start<T: Real>(&self, parameters: usize) -> State<T> {
        let second = match self.method {
            Method::Sgd { .. } => 0,
            Method::Adam { .. } => parameters,
        };
        State { steps: 0, clipped: 0, first: vec![T::default(); parameters], second: vec![T::default(); second] }
    }

    /// Takes a step against `gradient`, all of it or, where any number would not be finite, none.
    ///
    /// # Panics
    ///
    /// If parameters, gradient and state are not of one length.
    pub fn step<T: Real>(&self, state: &mut State<T>, parameters: &mut [T], gradient: &[T]) -> Result<Step, NotFinite> {
        assert_eq!(parameters.len(), gradient.len(), "a gradient has a number for each parameter");
        assert_eq!(parameters.len(), state.first.len(), "a state belongs to its parameters");
        let gradient_norm = lanes::sum(gradient, |g| g.wide() * g.wide()).sqrt();
        let clipped = gradient_norm > self.greatest_norm;
        let shrink = T::of(if clipped { self.greatest_norm / gradient_norm } else { 1.0 });
        if !gradient_norm.is_finite() {
            return Err(NotFinite { quantity: "the gradient's length".into() });
        }
        let time = (state.steps + 1) as f64;
        let (mut at, mut first, mut second) = (parameters.to_vec(), state.first.clone(), state.second.clone());
        let count = at.len();
        match self.method {
            Method::Sgd { momentum } => Arch::new().dispatch(
                #[inline(always)]
                || {
                    let (momentum, rate) = (T::of(momentum), T::of(self.rate));
                    let (at, first, gradient) = (&mut at[..count], &mut first[..count], &gradient[..count]);
                    for i in 0..count {
                        first[i] = momentum * first[i] + shrink * gradient[i];
                        at[i] = at[i] - rate * first[i];
                    }
                },
            ),
            Method::Adam { first_decay, second_decay, epsilon } => Arch::new().dispatch(
                #[inline(always)]
                || {
                    let (of_mean, of_square) =
                        (self.rate / (1.0 - first_decay.powf(time)), 1.0 / (1.0 - second_decay.powf(time)));
                    let [kept, new, kept_square, new_square, of_mean, of_square, epsilon] =
                        [first_decay, 1.0 - first_decay, second_decay, 1.0 - second_decay, of_mean, of_square, epsilon]
                            .map(T::of);
                    let (at, gradient) = (&mut at[..count], &gradient[..count]);
                    let (first, second) = (&mut first[..count], &mut second[..count]);
                    for i in 0..count {
                        let gradient = shrink * gradient[i];
                        first[i] = kept * first[i] + new * gradient;
                        second[i] = kept_square * second[i] + new_square * gradient * gradient;
                        at[i] = at[i] - of_mean * first[i] / ((second[i] * of_square).sqrt() + epsilon);
                    }
                },
            ),
        }
        if [&at, &first, &second].into_iter().any(|numbers| lanes::sum(numbers, |x| 0.0 * x.wide()) != 0.0) {
            return Err(NotFinite { quantity: "a parameter after its step".into() });
        }
        parameters.copy_from_slice(&at);
        (state.first, state.second) = (first, second);
        state.steps += 1;
        state.clipped += u64::from(clipped);
        Ok(Step { gradient_norm, clipped })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::special::LN_TAU;
    use crate::dist::testing::{assert_close, normal};

    const SGD: Optimiser = Optimiser { method: Method::Sgd { momentum: 0.9 }, rate: 0.1, greatest_norm: f64::INFINITY };
    const ADAM: Optimiser = Optimiser { method: Method::ADAM, rate: 0.1, greatest_norm: f64::INFINITY };

    /// Three steps as optax 0.2.8 takes them in double precision.
    #[test]
    fn traces_of_optax() {
        let gradients = [[1.0, -2.0], [0.5, 0.1], [-3.0, 4.0]];
        for (optimiser, trace) in [
            (SGD, [[0.9, 2.2], [0.76, 2.37], [0.934, 2.123]]),
            (
                ADAM,
                [
                    [0.900_000_001, 2.099_999_999_5],
                    [0.806_782_038_298_161_5, 2.163_204_243_636_156],
                    [0.841_504_388_806_656_1, 2.127_923_765_820_515],
                ],
            ),
        ] {
            let (mut state, mut parameters) = (optimiser.start(2), [1.0, 2.0]);
            let (mut single, mut singles) = (state.converted::<f32>(), [1_f32, 2.0]);
            for (gradient, expected) in gradients.iter().zip(trace) {
                optimiser.step(&mut state, &mut parameters, gradient).unwrap();
                optimiser.step(&mut single, &mut singles, &gradient.map(|g| g as f32)).unwrap();
                for i in 0..2 {
                    assert_close(parameters[i], expected[i], 1e-15);
                    assert_close(f64::from(singles[i]), expected[i], 1e-6);
                }
            }
            assert_eq!((state.steps, state.clipped), (3, 0));
        }
    }

    /// ½ θᵀ diag(1, 30) θ − bᵀθ: with exact gradients SGD must arrive to the last digits, Adam within its rate.
    #[test]
    fn the_bottom_of_a_quadratic_is_found() {
        let (curvature, bottom) = ([1.0, 30.0], [3.0, -0.5]);
        for (optimiser, steps, tolerance) in
            [(Optimiser { rate: 0.02, ..SGD }, 1000, 1e-12), (Optimiser { rate: 0.01, ..ADAM }, 4000, 1e-3)]
        {
            let (mut state, mut parameters) = (optimiser.start(2), [0.0, 0.0]);
            for _ in 0..steps {
                let gradient = [0, 1].map(|i| curvature[i] * (parameters[i] - bottom[i]));
                optimiser.step(&mut state, &mut parameters, &gradient).unwrap();
            }
            assert_close(parameters[0], bottom[0], tolerance);
            assert_close(parameters[1], bottom[1], tolerance);
        }
    }

    /// x_i ~ N(θ, 1), θ ~ N(0, 4): pathwise gradients of the negative bound in q's mean and log scale lead to the posterior.
    #[test]
    fn adam_on_the_negative_bound_finds_the_posterior() {
        let data = [0.7, 1.9, -0.4, 1.1, 2.2, 0.3];
        let precision = 0.25 + data.len() as f64;
        let posterior = [data.iter().sum::<f64>() / precision, -0.5 * f64::ln(precision)];
        let mut optimiser = Optimiser { rate: 0.05, ..ADAM };
        let (mut state, mut parameters) = (optimiser.start(2), [0f64, 0.0]);
        for step in 0..20_000u32 {
            optimiser.rate = 0.05 / (1.0 + f64::from(step) / 100.0);
            let [mean, log_scale] = parameters;
            let noise = normal(step.into());
            let theta = mean + log_scale.exp() * noise;
            // ∂/∂θ of ln p(D, θ); the entropy's gradient in the log scale is 1.
            let slope = data.iter().map(|x| x - theta).sum::<f64>() - 0.25 * theta;
            let gradient = [-slope, -slope * log_scale.exp() * noise - 1.0];
            optimiser.step(&mut state, &mut parameters, &gradient).unwrap();
        }
        // Four standard deviations, which over 4000 sequences of noise are 0.007 and 0.010.
        assert_close(parameters[0], posterior[0], 0.03);
        assert_close(parameters[1], posterior[1], 0.04);
        let bound = |[mean, log_scale]: [f64; 2]| {
            let second = mean * mean + (2.0 * log_scale).exp();
            let likelihood: f64 = data.iter().map(|x| x * x - 2.0 * x * mean + second + LN_TAU).sum();
            -0.5 * likelihood - 0.125 * second + log_scale
        };
        assert!(bound(posterior) - bound(parameters) < 0.01 && bound(parameters) < bound(posterior));
    }

    #[test]
    fn long_gradients_are_clipped_and_counted() {
        let optimiser = Optimiser { method: Method::Sgd { momentum: 0.0 }, rate: 1.0, greatest_norm: 5.0 };
        let (mut state, mut parameters) = (optimiser.start(2), [0f32, 0.0]);
        let step = optimiser.step(&mut state, &mut parameters, &[-3.0, -4.0]).unwrap();
        assert_eq!((step, parameters), (Step { gradient_norm: 5.0, clipped: false }, [3.0, 4.0]));
        let step = optimiser.step(&mut state, &mut parameters, &[-30.0, 40.0]).unwrap();
        assert_eq!((step, parameters), (Step { gradient_norm: 50.0, clipped: true }, [6.0, 0.0]));
        assert_eq!((state.steps, state.clipped), (2, 1));
    }

    #[test]
    fn a_step_that_is_not_finite_changes_nothing() {
        for optimiser in [Optimiser { rate: 1.5, ..SGD }, ADAM] {
            let (mut state, mut parameters) = (optimiser.start(3), [1f32, 2.0, 3.0]);
            optimiser.step(&mut state, &mut parameters, &[0.1, 0.2, 0.3]).unwrap();
            let before = (state.clone(), parameters);
            // The last is a number, but what comes of it is none in single precision.
            for bad in [f32::NAN, f32::INFINITY, 3e38] {
                let refused = optimiser.step(&mut state, &mut parameters, &[0.1, 0.2, bad]);
                assert!(refused.unwrap_err().to_string().ends_with("is not finite"));
                assert_eq!((&state, parameters), (&before.0, before.1));
            }
        }
    }
}
