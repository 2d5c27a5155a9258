//! A block's number columns, which are normal given the decoder's outputs: what most streams are made of, so they go by panels.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::Vae;
use super::columns::Likelihood;
use super::posterior::{Succession, VaePosterior};
use crate::dist::lanes::{LANES, ln};
use crate::dist::special::LN_TAU;
use crate::features::RowsView;
use crate::inference::layers::{PANEL, Real, panels, place};

/// Numbers stay within ± this many standard deviations, so that their squares are numbers in single precision.
pub const LIMIT: f64 = 1e15;

/// Number columns of a block.
#[derive(Debug, Default)]
pub struct Numbers<T> {
    /// Rows of the block.
    events: usize,
    /// Each number's output.
    outputs: Vec<usize>,
    /// `1/s²`.
    precision: Vec<T>,
    /// `−½ ln 2π s²`, and with [`Numbers::judged`] as much less as a stray has.
    constant: Vec<T>,
    /// `[panel][number][PANEL]`: values in standard units, and 1 where there is one.
    values: Vec<T>,
    there: Vec<T>,
    /// What each value has at least, `[panel][number][PANEL]`: −∞ without [`Numbers::judged`].
    least: Vec<T>,
}

impl<T: Real> Numbers<T> {
    /// Those of `rows`.
    pub fn of(vae: &Vae, posterior: &VaePosterior, rows: RowsView<'_>) -> Self {
        let columns: Vec<_> =
            vae.columns.iter().filter(|column| matches!(column.likelihood, Likelihood::Normal { .. })).collect();
        let count = columns.len();
        let values = vec![T::ZERO; panels(rows.len()) * count * PANEL];
        let mut numbers = Self {
            events: rows.len(),
            outputs: columns.iter().map(|column| column.first).collect(),
            precision: posterior.noise.iter().map(|variance| T::of(1.0 / variance)).collect(),
            constant: posterior.noise.iter().map(|variance| T::of(-0.5 * (variance.ln() + LN_TAU))).collect(),
            there: values.clone(),
            least: vec![T::of(f64::NEG_INFINITY); values.len()],
            values,
        };
        for (rank, column) in columns.iter().enumerate() {
            let Some((centre, inverse)) = column.measure(&posterior.units) else { continue };
            for event in 0..rows.len() {
                let x = (rows.row(event)[column.cell] - centre) * inverse;
                if !x.is_nan() {
                    let at = place(count, rank, event);
                    (numbers.values[at], numbers.there[at]) = (T::of(x.clamp(-LIMIT, LIMIT)), T::ONE);
                }
            }
        }
        numbers
    }

    /// Makes room for stray numbers, to judge events: what [`VaePosterior::ln_judged`] says of each.
    pub fn judged(mut self, posterior: &VaePosterior) -> Self {
        let successions = &posterior.successions;
        self.constant.iter_mut().zip(successions).for_each(|(constant, of)| *constant += T::of(of.ln_again));
        let rows = self.least.chunks_exact_mut(PANEL).zip(self.values.chunks_exact(PANEL)).zip(successions.iter().cycle());
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for ((least, values), Succession { ln_stray, .. }) in rows {
                    for (least, values) in least.as_chunks_mut::<LANES>().0.iter_mut().zip(values.as_chunks::<LANES>().0) {
                        let tails = ln(values.map(|x| 1.0 + x.wide() * x.wide()));
                        (0..LANES).for_each(|i| least[i] = T::of(ln_stray - tails[i]));
                    }
                }
            },
        );
        self
    }

    /// Those of all rows.
    pub fn all(&self) -> Part<'_, T> {
        self.part(0..self.events)
    }

    /// Those of the rows `rows`, which begin with a panel.
    pub fn part(&self, rows: Range<usize>) -> Part<'_, T> {
        let (cells, first) = (PANEL * self.outputs.len(), rows.start / PANEL);
        let within = first * cells..(first + panels(rows.len())) * cells;
        let [values, there, least] = [&self.values, &self.there, &self.least].map(|array| &array[within.clone()]);
        Part { events: rows.len(), numbers: self, values, there, least }
    }
}

/// Numbers of some panels of a block.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a, T> {
    events: usize,
    numbers: &'a Numbers<T>,
    /// As of [`Numbers`].
    values: &'a [T],
    there: &'a [T],
    least: &'a [T],
}

impl<T: Real> Part<'_, T> {
    /// Hands `Σ ln p(x | f)` over the numbers of each event to `add`, for outputs f `[panel][width][PANEL]`.
    pub fn add_ln_likelihoods(&self, outputs: &[T], width: usize, mut add: impl FnMut(usize, f64)) {
        for (panel, sums) in Arch::new().dispatch(LnLikelihoods { part: self, outputs, width }).iter().enumerate() {
            (0..PANEL.min(self.events - panel * PANEL)).for_each(|i| add(panel * PANEL + i, sums[i].wide()));
        }
    }

    /// Writes `∂ ln p / ∂f` at outputs f, both `[panel][width][PANEL]`, where values pull like those `farthest` standard
    /// deviations away at most.
    pub fn slopes(&self, outputs: &[T], width: usize, farthest: f64, slopes: &mut [T]) {
        Arch::new().dispatch(WriteSlopes { part: self, outputs, width, farthest: T::of(farthest), slopes });
    }

    /// Writes `−∂² ln p / ∂f²`, and a root of it with the sign of `signs`; all `[panel][width][PANEL]`.
    pub fn curvatures(&self, width: usize, signs: &[f32], curvatures: &mut [T], roots: &mut [T]) {
        let Numbers { outputs, precision, .. } = self.numbers;
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for panel in 0..panels(self.events) {
                    for (number, column) in outputs.iter().enumerate() {
                        let (there, at) = (row(self.there, panel * outputs.len() + number), panel * width + column);
                        let (precision, root) = (precision[number], precision[number].sqrt());
                        let (curvatures, roots) = (row_mut(curvatures, at), row_mut(roots, at));
                        for (i, sign) in row(signs, at).iter().enumerate() {
                            curvatures[i] = precision * there[i];
                            roots[i] = T::of(f64::from(*sign)) * root * there[i];
                        }
                    }
                }
            },
        );
    }

    /// How often each number was there, and the sum of its `(x − f)²`, from its slopes; an event counts as `believed` says.
    pub fn residuals(&self, width: usize, slopes: &[T], believed: &[f64]) -> Vec<[f64; 2]> {
        let Numbers { outputs, precision, .. } = self.numbers;
        let one = |(number, column): (usize, &usize)| {
            let panels = 0..panels(self.events);
            let there = panels.clone().flat_map(|panel| row(self.there, panel * outputs.len() + number));
            let slopes = panels.flat_map(|panel| row(slopes, panel * width + column));
            let count = there.zip(believed).map(|(there, weight)| weight * there.wide()).sum();
            let square: f64 = slopes.zip(believed).map(|(slope, weight)| weight * slope.wide() * slope.wide()).sum();
            [count, square / precision[number].wide().powi(2)]
        };
        outputs.iter().enumerate().map(one).collect()
    }
}

/// A panel's row.
#[inline(always)]
fn row<T>(array: &[T], index: usize) -> &[T; PANEL] {
    array[index * PANEL..(index + 1) * PANEL].try_into().expect("a panel")
}

/// A panel's row.
#[inline(always)]
fn row_mut<T>(array: &mut [T], index: usize) -> &mut [T; PANEL] {
    (&mut array[index * PANEL..(index + 1) * PANEL]).try_into().expect("a panel")
}

struct LnLikelihoods<'a, T> {
    part: &'a Part<'a, T>,
    outputs: &'a [T],
    width: usize,
}

impl<T: Real> WithSimd for LnLikelihoods<'_, T> {
    type Output = Vec<[T; PANEL]>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<[T; PANEL]> {
        let Self { part: Part { events, numbers, values, there, least }, outputs, width } = self;
        let Numbers { outputs: columns, precision, constant, .. } = numbers;
        let (count, half) = (columns.len(), T::of(0.5));
        let mut sums = vec![[T::ZERO; PANEL]; panels(*events)];
        for (panel, sums) in sums.iter_mut().enumerate() {
            for (number, column) in columns.iter().enumerate() {
                let at = panel * count + number;
                let (values, there, least, f) =
                    (row(values, at), row(there, at), row(least, at), row(outputs, panel * width + column));
                let (half_precision, constant) = (half * precision[number], constant[number]);
                for i in 0..PANEL {
                    let gap = values[i] - f[i];
                    let ln = constant - half_precision * gap * gap;
                    sums[i] += there[i] * if ln < least[i] { least[i] } else { ln };
                }
            }
        }
        sums
    }
}

struct WriteSlopes<'a, T> {
    part: &'a Part<'a, T>,
    outputs: &'a [T],
    width: usize,
    farthest: T,
    slopes: &'a mut [T],
}

impl<T: Real> WithSimd for WriteSlopes<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { part: Part { events, numbers, values, there, least }, outputs, width, farthest, slopes } = self;
        let Numbers { outputs: columns, precision, constant, .. } = numbers;
        for panel in 0..panels(*events) {
            for (number, column) in columns.iter().enumerate() {
                let at = panel * columns.len() + number;
                let (values, there, least) = (row(values, at), row(there, at), row(least, at));
                let (precision, constant, half) = (precision[number], constant[number], T::of(0.5));
                let (f, slopes) = (row(outputs, panel * width + column), row_mut(slopes, panel * width + column));
                for i in 0..PANEL {
                    let gap = values[i] - f[i];
                    // Of a stray number the outputs say nothing.
                    let there = if constant - half * precision * gap * gap < least[i] { T::ZERO } else { there[i] };
                    let value = if values[i] > farthest { farthest } else { values[i] };
                    let value = if value < -farthest { -farthest } else { value };
                    slopes[i] = precision * there * (value - f[i]);
                }
            }
        }
    }
}
