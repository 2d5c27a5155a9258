//! Columns as the decoder describes them: which outputs are about which column, and what they say of its value.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::dist::special::{LN_TAU, ln_gamma};
use crate::features::{Design, Kind, RowsView, Schema};
use crate::models::inputs::{FARTHEST, Units};

/// Buckets of texts at most.
const MOST_BUCKETS: usize = 32;

/// A log rate or logit stays within ± this.
const STEEPEST: f64 = 20.0;

/// A column and its outputs.
#[derive(Clone, Debug)]
pub struct Column {
    /// Where its values are.
    pub cell: usize,
    /// The first of its outputs.
    pub first: usize,
    /// How it depends on them.
    pub likelihood: Likelihood,
    /// Which of its kind it is.
    pub rank: usize,
}

/// How a column's value depends on its outputs f.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Likelihood {
    /// `z ~ N(f, s²)` in the units of this number of the design.
    Normal {
        /// The number's place in the design.
        design: usize,
    },
    /// `x ~ Poisson(c e^f)`, c being the mean of all.
    Poisson,
    /// `P(true) = 1 / (1 + e^-f)`.
    Bernoulli,
    /// `P(bucket) = softmax(f)`, and within its bucket a text has the share that it has had.
    Softmax {
        /// Buckets.
        buckets: usize,
    },
}

/// What a cell is to its column's likelihood.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// Nothing: missing, or of a column that has never varied.
    None,
    /// A number in standard units, or a count.
    Number(f64),
    /// True or false.
    Truth(bool),
    /// A bucket, and the log share of the text in it.
    Bucket(usize, f64),
}

/// Counts of texts of a category column, and of their buckets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Texts {
    /// How often each has come.
    pub counts: BTreeMap<String, f64>,
    /// The same of all texts of a bucket.
    pub buckets: Vec<f64>,
}

impl Texts {
    /// Of counts.
    pub fn of(counts: &BTreeMap<String, f64>, buckets: usize) -> Self {
        let mut sums = vec![0.0; buckets];
        counts.iter().for_each(|(text, count)| sums[bucket(text, buckets)] += count);
        Self { counts: counts.clone(), buckets: sums }
    }

    /// The log share of a text in its bucket, `n / (N + 1)`; of any that has not come yet, or has been forgotten, `1 / (N + 1)`.
    pub(super) fn ln_share(&self, text: &str, bucket: usize) -> f64 {
        (self.counts.get(text).map_or(1.0, |count| count.max(1.0)) / (self.buckets[bucket] + 1.0)).ln()
    }
}

/// The bucket of a text.
pub fn bucket(text: &str, buckets: usize) -> usize {
    (xxh3_64_with_seed(text.as_bytes(), 2) % buckets as u64) as usize
}

/// The log rate of a count for an output, where the log mean of all is `parameter`.
pub fn ln_rate(output: f64, parameter: f64) -> f64 {
    output.clamp(-STEEPEST, STEEPEST) + parameter
}

impl Column {
    /// The columns of a schema.
    pub fn of(schema: &Schema) -> Vec<Self> {
        let (mut columns, mut design, mut first, mut ranks) = (Vec::new(), 0, 0, [0; 4]);
        for (cell, column) in schema.columns().iter().enumerate() {
            let (likelihood, kind) = match column.kind {
                Kind::Number => (Likelihood::Normal { design }, 0),
                Kind::Count => (Likelihood::Poisson, 1),
                Kind::Boolean => (Likelihood::Bernoulli, 2),
                Kind::Category { capacity } => (Likelihood::Softmax { buckets: (4 * capacity).min(MOST_BUCKETS) }, 3),
                Kind::Timestamp => continue,
            };
            let column = Self { cell, first, likelihood, rank: ranks[kind] };
            design += Design::new(schema, [cell]).width();
            first += column.outputs();
            ranks[kind] += 1;
            columns.push(column);
        }
        columns
    }

    /// How many outputs are about it.
    pub fn outputs(&self) -> usize {
        if let Likelihood::Softmax { buckets } = self.likelihood { buckets } else { 1 }
    }

    /// A number's centre and the inverse of its unit; `None` of what is no number, or has never varied.
    pub fn measure(&self, units: &Units) -> Option<(f64, f64)> {
        match self.likelihood {
            Likelihood::Normal { design } if units.inverse[design] != 0.0 => Some((units.centre[design], units.inverse[design])),
            _ => None,
        }
    }

    /// The value of a row.
    pub fn value(&self, units: &Units, texts: &[Texts], rows: RowsView<'_>, row: usize) -> Value {
        let cell = rows.row(row)[self.cell];
        match self.likelihood {
            _ if cell.is_nan() => Value::None,
            Likelihood::Normal { .. } => {
                self.measure(units).map_or(Value::None, |(centre, inverse)| Value::Number((cell - centre) * inverse))
            }
            Likelihood::Poisson => Value::Number(cell),
            Likelihood::Bernoulli => Value::Truth(cell != 0.0),
            Likelihood::Softmax { buckets } => rows.text(cell).map_or(Value::None, |text| {
                let bucket = bucket(text, buckets);
                Value::Bucket(bucket, texts[self.rank].ln_share(text, bucket))
            }),
        }
    }

    /// `ln p(value | f)`. `parameter` is the noise variance of a number, the log mean of a count.
    pub fn ln_likelihood(&self, value: Value, parameter: f64, f: impl Fn(usize) -> f64) -> f64 {
        match (self.likelihood, value) {
            (Likelihood::Normal { .. }, Value::Number(x)) => {
                let gap = x - f(0);
                -0.5 * (gap * gap / parameter + parameter.ln() + LN_TAU)
            }
            (Likelihood::Poisson, Value::Number(x)) => {
                let ln_rate = ln_rate(f(0), parameter);
                x * ln_rate - ln_rate.exp() - ln_gamma(x + 1.0)
            }
            (Likelihood::Bernoulli, Value::Truth(truth)) => {
                let signed = if truth { f(0) } else { -f(0) };
                signed.min(0.0) - (-signed.abs()).exp().ln_1p()
            }
            (Likelihood::Softmax { buckets }, Value::Bucket(bucket, ln_share)) => {
                let top = (0..buckets).map(&f).fold(f64::NEG_INFINITY, f64::max);
                f(bucket) - top - (0..buckets).map(|k| (f(k) - top).exp()).sum::<f64>().ln() + ln_share
            }
            _ => 0.0,
        }
    }

    /// Slope `∂ ln p / ∂f`, Fisher curvature and a root of it, `E root rootᵀ = E_y[slope slopeᵀ]`, one an output; `uniform` draws a bucket.
    /// Far values pull like those [`FARTHEST`] standard deviations away. A softmax puts its probabilities into `curvature`.
    pub fn slopes(
        &self,
        value: Value,
        parameter: f64,
        f: impl Fn(usize) -> f64,
        uniform: f64,
        mut write: impl FnMut(usize, [f64; 3]),
    ) {
        match (self.likelihood, value) {
            (Likelihood::Normal { .. }, Value::Number(x)) => {
                let precision = 1.0 / parameter;
                write(0, [(x.clamp(-FARTHEST, FARTHEST) - f(0)) * precision, precision, precision.sqrt()]);
            }
            (Likelihood::Poisson, Value::Number(x)) => {
                let rate = ln_rate(f(0), parameter).exp();
                let farthest = FARTHEST * rate.sqrt().max(1.0);
                write(0, [(x - rate).clamp(-farthest, farthest), rate, rate.sqrt()]);
            }
            (Likelihood::Bernoulli, Value::Truth(truth)) => {
                let p = 1.0 / (1.0 + (-f(0)).exp());
                let variance = p * (1.0 - p);
                write(0, [if truth { 1.0 - p } else { -p }, variance, variance.sqrt()]);
            }
            (Likelihood::Softmax { buckets }, Value::Bucket(bucket, _)) => {
                let top = (0..buckets).map(&f).fold(f64::NEG_INFINITY, f64::max);
                let total: f64 = (0..buckets).map(|k| (f(k) - top).exp()).sum();
                let share = |k: usize| (f(k) - top).exp() / total;
                let (mut drawn, mut below) = (buckets - 1, 0.0);
                for k in 0..buckets {
                    below += share(k);
                    if uniform < below {
                        drawn = k;
                        break;
                    }
                }
                for k in 0..buckets {
                    let hit = |at: usize| if k == at { 1.0 } else { 0.0 };
                    write(k, [hit(bucket) - share(k), share(k), hit(drawn) - share(k)]);
                }
            }
            _ => {}
        }
    }

    /// `−∂² ln p / ∂f²` in expectation, times a vector: `state` is what [`Column::slopes`] gave as curvature.
    pub fn curve(&self, state: impl Fn(usize) -> f64, mut vector: impl FnMut(usize) -> f64, mut write: impl FnMut(usize, f64)) {
        let Likelihood::Softmax { buckets } = self.likelihood else {
            return write(0, state(0) * vector(0));
        };
        let inner: f64 = (0..buckets).map(|k| state(k) * vector(k)).sum();
        for k in 0..buckets {
            let image = state(k) * (vector(k) - inner);
            write(k, image);
        }
    }
}
