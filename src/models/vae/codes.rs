//! q(z | x) of a block's events, as the encoder says it: independent normals.

use pulp::Arch;

use crate::dist::lanes::{LANES, exp};
use crate::inference::layers::{PANEL, Real};

/// The logarithms of scales stay within these: z is neither a point nor wider than a few of its prior's standard deviations.
const LN_SCALES: (f64, f64) = (-8.0, 2.0);

/// Means and scales `[panel][latent][PANEL]`.
#[derive(Clone, Debug, Default)]
pub struct Codes<T> {
    /// Dimensions of z.
    pub latent: usize,
    /// E z.
    pub mean: Vec<T>,
    /// s.
    pub scale: Vec<T>,
    /// ln s.
    pub ln_scale: Vec<T>,
    /// 1 where ln s is within its limits, so that the encoder can move it, and 0 elsewhere.
    pub free: Vec<T>,
}

impl<T: Real> Codes<T> {
    /// Takes over what the encoder has said: `[panel][mean, ln s][PANEL]`.
    pub fn set(&mut self, latent: usize, encoded: &[T]) {
        self.latent = latent;
        for array in [&mut self.mean, &mut self.scale, &mut self.ln_scale, &mut self.free] {
            array.clear();
        }
        for panel in encoded.chunks_exact(2 * latent * PANEL) {
            let (mean, ln_scale) = panel.split_at(latent * PANEL);
            self.mean.extend_from_slice(mean);
            self.free
                .extend(ln_scale.iter().map(|x| if (LN_SCALES.0..LN_SCALES.1).contains(&x.wide()) { T::ONE } else { T::ZERO }));
            self.ln_scale.extend(ln_scale.iter().map(|x| T::of(x.wide().clamp(LN_SCALES.0, LN_SCALES.1))));
        }
        self.scale.resize(self.ln_scale.len(), T::ZERO);
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for (scale, ln_scale) in
                    self.scale.as_chunks_mut::<LANES>().0.iter_mut().zip(self.ln_scale.as_chunks::<LANES>().0)
                {
                    let wide = exp(std::array::from_fn(|i| ln_scale[i].wide()));
                    *scale = wide.map(T::of);
                }
            },
        );
    }

    /// `Σ w KL(q(z | x) ‖ p(z))` over events with these weights.
    pub fn divergence(&self, weights: &[f64]) -> f64 {
        let mut sum = 0.0;
        for (row, start) in (0..self.mean.len()).step_by(PANEL).enumerate() {
            let weights = &weights[row / self.latent * PANEL..];
            for (at, weight) in (start..start + PANEL).zip(weights) {
                let (mean, scale) = (self.mean[at].wide(), self.scale[at].wide());
                sum += weight * (0.5 * (mean * mean + scale * scale - 1.0) - self.ln_scale[at].wide());
            }
        }
        sum
    }

    /// Writes `z = m + s ε` into a decoder's inputs `[panel][latent + 1][PANEL]`; `draw` says ε of a panel's dimension, each event's.
    pub fn draw(&self, inputs: &mut [T], draw: impl Fn(usize, usize) -> [T; PANEL]) {
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for (panel, inputs) in inputs.chunks_exact_mut((self.latent + 1) * PANEL).enumerate() {
                    for d in 0..self.latent {
                        let at = (panel * self.latent + d) * PANEL;
                        let draws = draw(panel, d);
                        for i in 0..PANEL {
                            inputs[d * PANEL + i] = self.mean[at + i] + self.scale[at + i] * draws[i];
                        }
                    }
                }
            },
        );
    }

    /// `ln p(z) − ln q(z | x)` of each event, with z in a decoder's inputs as [`draw`](Self::draw) has written them, of these ε.
    pub fn ln_ratios(&self, inputs: &[T], draws: &[T]) -> Vec<f64> {
        let half = T::of(0.5);
        Arch::new().dispatch(
            #[inline(always)]
            || {
                let panels = inputs.chunks_exact((self.latent + 1) * PANEL).enumerate();
                let each = panels.flat_map(|(panel, inputs)| {
                    let mut sum = [T::ZERO; PANEL];
                    for (d, draw) in draws.iter().enumerate() {
                        let z: &[T; PANEL] = inputs[d * PANEL..][..PANEL].try_into().expect("a panel");
                        let ln_scale: &[T; PANEL] =
                            self.ln_scale[(panel * self.latent + d) * PANEL..][..PANEL].try_into().expect("a panel");
                        for i in 0..PANEL {
                            sum[i] += half * (*draw * *draw - z[i] * z[i]) + ln_scale[i];
                        }
                    }
                    sum.map(T::wide)
                });
                each.collect()
            },
        )
    }
}
