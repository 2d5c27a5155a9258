//! What a network's outputs say about the target: log likelihood, its slope, and its curvature, in the outputs.

use crate::dist::lanes::{self, LANES, Lanes};
use crate::dist::special::{LN_TAU, ln_gamma_half_step};
use crate::inference::layers::{PANEL, Real, panels, place};
use crate::models::Surprisal;
use crate::noise::Noise;

/// The likelihood of one event's target, given the outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Likelihood {
    /// `y ~ N(f, s²)` with s² outside of the network: slopes and curvatures are those for s² = 1.
    Normal,
    /// `y ~ N(f, e^(2g))`: outputs f and g.
    Scaled,
    /// `P(y = 1) = 1 / (1 + e^-f)`.
    Bernoulli,
    /// `P(y = k) = e^(f_k) / Σ e^(f_j)`.
    Softmax,
}

/// Noise of the Student-t predictive that a normal likelihood has once s² is integrated out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StudentNoise {
    /// Degrees of freedom.
    pub dof: f64,
    /// Squared scale.
    pub square_scale: f64,
}

/// How far a target may lie from what was expected and still pull with its whole weight, in standard deviations: of the target for
/// [`Likelihood::Normal`], of the noise for [`Likelihood::Scaled`].
pub const FARTHEST: f64 = 8.0;

/// ln σ of [`Likelihood::Scaled`] stays within ± this.
pub const WIDEST: f64 = 8.0;

/// A block's likelihoods at one set of outputs.
#[derive(Clone, Debug, Default)]
pub struct Slopes<T> {
    /// What products with the curvature need, `[panel][output][PANEL]`: p of a softmax, p(1 − p), or 1/σ².
    state: Vec<T>,
    /// `Σ ln p(y | f)`; of [`Likelihood::Normal`] with s² = 1.
    pub log_likelihood: f64,
    /// `Σ (y − f)²` of [`Likelihood::Normal`], weighed by belief, with far targets drawn in.
    pub squares: f64,
    /// Targets that were drawn in.
    pub far: usize,
}

impl Likelihood {
    /// Outputs that it needs; a softmax one a class.
    pub fn outputs(self, classes: usize) -> usize {
        match self {
            Self::Normal | Self::Bernoulli => 1,
            Self::Scaled => 2,
            Self::Softmax => classes,
        }
    }

    /// Evaluates a block at `outputs` and writes `slope = ∂ ln p / ∂f` and `root`, with `E root rootᵀ` the curvature that
    /// [`curve`](Self::curve) multiplies by: the Fisher matrix, of a boolean or class at the middle between p and y, so that an event
    /// that was not expected is not taken for one that says nothing; and of ln σ the middle between what is expected of its curvature
    /// and what is seen, so that one event asks for no more than a step of 1. Exact for one output, by a drawn class or signs for several. All
    /// are `[panel][output][PANEL]`, and 0 beyond the last event. A target is a number, 0 or 1, or a class. What a number says counts as
    /// much as it is believed.
    pub fn evaluate<T: Real>(
        self,
        outputs: &[T],
        (targets, believed): (&[f64], &[f64]),
        draws: (&Noise, u64, u32),
        slopes: &mut Slopes<T>,
        slope: &mut [T],
        root: &mut [T],
    ) {
        let (noise, step, stream) = draws;
        let units = slope.len() / (panels(targets.len()).max(1) * PANEL);
        (slopes.log_likelihood, slopes.squares, slopes.far) = (0.0, 0.0, 0);
        slopes.state.clear();
        slopes.state.resize(slope.len(), T::ZERO);
        slope.fill(T::ZERO);
        root.fill(T::ZERO);
        for (event, (&y, &weight)) in targets.iter().zip(believed).enumerate() {
            let at = |unit: usize| place(units, unit, event);
            let uniform = |position: u32| noise.uniform(step, stream, 2 * event as u32 + position);
            let f = outputs[at(0)].wide();
            match self {
                Self::Normal => {
                    let gap = y - f;
                    let near = gap.clamp(-FARTHEST, FARTHEST);
                    slopes.far += usize::from(near != gap);
                    slopes.squares += weight * near * near;
                    slopes.log_likelihood -= weight * 0.5 * (near * near + LN_TAU);
                    slope[at(0)] = T::of(weight * near);
                    root[at(0)] = T::of(weight.sqrt());
                    slopes.state[at(0)] = T::of(weight);
                }
                Self::Scaled => {
                    let log_scale = outputs[at(1)].wide().clamp(-WIDEST, WIDEST);
                    let inverse = (-log_scale).exp();
                    let gap = (y - f) * inverse;
                    let near = gap.clamp(-FARTHEST, FARTHEST);
                    slopes.far += usize::from(near != gap);
                    slopes.log_likelihood -= weight * (log_scale + 0.5 * (near * near + LN_TAU));
                    let sign = if uniform(0) < 0.5 { -1.0 } else { 1.0 };
                    let middle = 1.0 + near * near;
                    slope[at(0)] = T::of(weight * near * inverse);
                    slope[at(1)] = T::of(weight * (near * near - 1.0));
                    root[at(0)] = T::of(weight.sqrt() * inverse);
                    root[at(1)] = T::of(sign * (weight * middle).sqrt());
                    slopes.state[at(0)] = T::of(weight * inverse * inverse);
                    slopes.state[at(1)] = T::of(weight * middle);
                }
                Self::Bernoulli => {
                    let decay = (-f.abs()).exp();
                    let likely = 1.0 / (1.0 + decay);
                    let p = if f > 0.0 { likely } else { 1.0 - likely };
                    let signed = if y > 0.5 { f } else { -f };
                    slopes.log_likelihood += signed.min(0.0) - decay.ln_1p();
                    let middle = 0.5 * (p + y);
                    let variance = middle * (1.0 - middle);
                    slope[at(0)] = T::of(y - p);
                    root[at(0)] = T::of(variance.sqrt());
                    slopes.state[at(0)] = T::of(variance);
                }
                Self::Softmax => {
                    let most = (0..units).fold(f64::NEG_INFINITY, |most, k| most.max(outputs[at(k)].wide()));
                    let total: f64 = (0..units).map(|k| (outputs[at(k)].wide() - most).exp()).sum();
                    slopes.log_likelihood += outputs[at(y as usize)].wide() - most - total.ln();
                    let mut left = uniform(0);
                    let mut drawn = units - 1;
                    for k in 0..units {
                        let own = if y == k as f64 { 1.0 } else { 0.0 };
                        let p = (outputs[at(k)].wide() - most).exp() / total;
                        let middle = 0.5 * (p + own);
                        slope[at(k)] = T::of(own - p);
                        root[at(k)] = T::of(-middle);
                        slopes.state[at(k)] = T::of(middle);
                        if left >= 0.0 && left < middle {
                            drawn = k;
                        }
                        left -= middle;
                    }
                    root[at(drawn)] += T::ONE;
                }
            }
        }
    }

    /// Multiplies each event's `vector` `[panel][output][PANEL]` by the curvature at the outputs evaluated last.
    pub fn curve<T: Real>(self, slopes: &Slopes<T>, events: usize, vector: &mut [T]) {
        let state = &slopes.state;
        match self {
            Self::Normal | Self::Scaled | Self::Bernoulli => {
                vector.iter_mut().zip(state).for_each(|(v, curvature)| *v *= *curvature);
            }
            Self::Softmax => {
                let units = vector.len() / (panels(events).max(1) * PANEL);
                let panels = vector.chunks_exact_mut(units * PANEL).zip(state.chunks_exact(units * PANEL));
                for (vector, p) in panels {
                    let mut mean = [T::ZERO; PANEL];
                    for (v, p) in vector.chunks_exact(PANEL).zip(p.chunks_exact(PANEL)) {
                        for i in 0..PANEL {
                            mean[i] += v[i] * p[i];
                        }
                    }
                    for (v, p) in vector.chunks_exact_mut(PANEL).zip(p.chunks_exact(PANEL)) {
                        for i in 0..PANEL {
                            v[i] = p[i] * (v[i] - mean[i]);
                        }
                    }
                }
            }
        }
    }

    /// Appends each event's surprisal under the mean over samples, for outputs `[sample][panel][output][PANEL]`.
    pub fn score(self, outputs: &[f32], samples: usize, targets: &[f64], noise: StudentNoise, surprisals: &mut Vec<Surprisal>) {
        let events = targets.len();
        let whole = outputs.len() / samples;
        let units = whole / (panels(events).max(1) * PANEL);
        let StudentNoise { dof, square_scale } = noise;
        let peak = ln_gamma_half_step(0.5 * dof) - 0.5 * (dof * square_scale * std::f64::consts::PI).ln();
        let mut logs = vec![[0.0; LANES]; samples];
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for start in (0..events).step_by(LANES) {
                    let mut y = [0.0; LANES];
                    let within = LANES.min(events - start);
                    y[..within].copy_from_slice(&targets[start..start + within]);
                    for (sample, log) in outputs.chunks_exact(whole).zip(logs.iter_mut()) {
                        let unit = |k: usize| -> Lanes {
                            let at = place(units, k, start);
                            std::array::from_fn(|i| f64::from(sample[at + i]))
                        };
                        *log = match self {
                            Self::Normal => {
                                let f = unit(0);
                                let inverse = 1.0 / (dof * square_scale);
                                let factor = lanes::ln(std::array::from_fn(|i| {
                                    let gap = (y[i] - f[i]).clamp(-1e150, 1e150);
                                    1.0 + gap * gap * inverse
                                }));
                                factor.map(|ln| peak - 0.5 * (dof + 1.0) * ln)
                            }
                            Self::Scaled => {
                                let (f, g) = (unit(0), unit(1).map(|g| g.clamp(-WIDEST, WIDEST)));
                                let inverse = lanes::exp(g.map(|g| -g));
                                std::array::from_fn(|i| {
                                    let gap = ((y[i] - f[i]) * inverse[i]).clamp(-1e150, 1e150);
                                    -0.5 * (gap * gap + LN_TAU) - g[i]
                                })
                            }
                            Self::Bernoulli => {
                                let f = unit(0);
                                let signed: Lanes = std::array::from_fn(|i| if y[i] > 0.5 { f[i] } else { -f[i] });
                                let soft = lanes::ln(lanes::exp(signed.map(|f| -f.abs())).map(|decay| 1.0 + decay));
                                std::array::from_fn(|i| signed[i].min(0.0) - soft[i])
                            }
                            Self::Softmax => {
                                let (mut most, mut own) = ([f64::NEG_INFINITY; LANES], [0.0; LANES]);
                                for k in 0..units {
                                    let f = unit(k);
                                    for i in 0..LANES {
                                        most[i] = if f[i] > most[i] { f[i] } else { most[i] };
                                        own[i] = if y[i] == k as f64 { f[i] } else { own[i] };
                                    }
                                }
                                let mut total = [0.0; LANES];
                                for k in 0..units {
                                    let f = unit(k);
                                    let part = lanes::exp(std::array::from_fn(|i| f[i] - most[i]));
                                    for i in 0..LANES {
                                        total[i] += part[i];
                                    }
                                }
                                let total = lanes::ln(total);
                                std::array::from_fn(|i| own[i] - most[i] - total[i])
                            }
                        };
                    }
                    let scores = mean_and_deviation(&logs);
                    surprisals.extend_from_slice(&scores[..within]);
                }
            },
        );
    }
}

/// `−ln (1/S Σ e^log)` and the standard deviation of the logs, over samples.
#[inline(always)]
fn mean_and_deviation(logs: &[Lanes]) -> [Surprisal; LANES] {
    let (mut most, mut sum, mut square) = ([f64::NEG_INFINITY; LANES], [0.0; LANES], [0.0; LANES]);
    for log in logs {
        for i in 0..LANES {
            most[i] = if log[i] > most[i] { log[i] } else { most[i] };
        }
    }
    let mut total = [0.0; LANES];
    for log in logs {
        let gap: Lanes = std::array::from_fn(|i| (log[i] - most[i]).max(-1e150));
        let part = lanes::exp(gap);
        for i in 0..LANES {
            total[i] += part[i];
            sum[i] += gap[i];
            square[i] += gap[i] * gap[i];
        }
    }
    let count = logs.len() as f64;
    let total = lanes::ln(total.map(|total| total / count));
    std::array::from_fn(|i| {
        let mean = sum[i] / count;
        let variance = (square[i] / count - mean * mean) * (count / (count - 1.0).max(1.0));
        Surprisal { nats: -(most[i] + total[i]), sd: variance.max(0.0).sqrt() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::testing::{assert_close, normal};

    const KINDS: [(Likelihood, usize); 4] =
        [(Likelihood::Normal, 1), (Likelihood::Scaled, 2), (Likelihood::Bernoulli, 1), (Likelihood::Softmax, 4)];
    const EVENTS: usize = 40;

    fn targets(kind: Likelihood) -> Vec<f64> {
        let target = |event: usize| match kind {
            Likelihood::Normal | Likelihood::Scaled => normal(event as u64),
            Likelihood::Bernoulli => (event % 2) as f64,
            Likelihood::Softmax => (event % 4) as f64,
        };
        (0..EVENTS).map(target).collect()
    }

    /// How much of each is believed: of numbers more or less.
    fn believed(kind: Likelihood) -> Vec<f64> {
        let number = matches!(kind, Likelihood::Normal | Likelihood::Scaled);
        (0..EVENTS).map(|event| if number { 1.0 / (1 + event % 5) as f64 } else { 1.0 }).collect()
    }

    /// Outputs of one panel more than there are events.
    fn outputs(units: usize) -> Vec<f64> {
        (0..panels(EVENTS) * units * PANEL).map(|at| 0.5 * normal(1_000 + at as u64)).collect()
    }

    #[test]
    fn slopes_are_what_differences_say() {
        for (kind, units) in KINDS {
            let (targets, believed, outputs) = (targets(kind), believed(kind), outputs(units));
            let (mut slopes, mut slope, mut root) = (Slopes::default(), vec![0.0; outputs.len()], vec![0.0; outputs.len()]);
            let mut evaluate = |outputs: &[f64]| {
                kind.evaluate(outputs, (&targets, &believed), (&Noise::new(1), 2, 3), &mut slopes, &mut slope, &mut root);
                (slopes.log_likelihood, slope.clone())
            };
            let (_, found) = evaluate(&outputs);
            const STEP: f64 = 1e-5;
            for event in 0..EVENTS {
                for unit in 0..units {
                    let at = place(units, unit, event);
                    let mut moved = |by: f64| {
                        let mut outputs = outputs.clone();
                        outputs[at] += by;
                        evaluate(&outputs).0
                    };
                    assert_close(found[at], (moved(STEP) - moved(-STEP)) / (2.0 * STEP), 1e-6);
                }
            }
            assert!(
                found.iter().filter(|slope| **slope != 0.0).count() <= EVENTS * units,
                "beyond the last event there is no signal"
            );
        }
    }

    /// `E root rootᵀ` over the draws is the curvature that products are taken with.
    #[test]
    fn roots_square_to_the_curvature() {
        const DRAWS: u64 = 20_000;
        for (kind, units) in KINDS {
            let (targets, believed, outputs) = (targets(kind), believed(kind), outputs(units));
            let (mut slopes, mut slope, mut root) = (Slopes::default(), vec![0.0; outputs.len()], vec![0.0; outputs.len()]);
            let mut sums = vec![0.0; 8 * units * units];
            for draw in 0..DRAWS {
                kind.evaluate(&outputs, (&targets, &believed), (&Noise::new(1), draw, 3), &mut slopes, &mut slope, &mut root);
                for (at, sum) in sums.iter_mut().enumerate() {
                    let (event, one, other) = (at / units / units, at / units % units, at % units);
                    *sum += root[place(units, one, event)] * root[place(units, other, event)] / DRAWS as f64;
                }
            }
            for event in 0..8 {
                let curved = |other: usize| {
                    let mut vector: Vec<f64> = vec![0.0; outputs.len()];
                    vector[place(units, other, event)] = 1.0;
                    kind.curve(&slopes, EVENTS, &mut vector);
                    (0..units).map(|one| vector[place(units, one, event)]).collect::<Vec<_>>()
                };
                let curvature: Vec<Vec<f64>> = (0..units).map(curved).collect();
                for one in 0..units {
                    for other in 0..units {
                        let (found, expected) = (sums[(event * units + one) * units + other], curvature[one][other]);
                        let scale = (curvature[one][one] * curvature[other][other]).sqrt();
                        assert!((found - expected).abs() < 0.05 * scale, "{kind:?} {one} {other}: {found} {expected}");
                    }
                }
            }
        }
    }
}
