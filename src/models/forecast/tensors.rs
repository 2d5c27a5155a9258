//! Series as tensors, one row a series.

use super::context::{ALL_BINS, Bin, LEVELS};
use super::dynamics::{MEMBERS, RECENT, Recent};
use super::recalibration::BINS;
use super::regression::{GRAM, Gram, MOST, Regression};
use super::series::Series;
use crate::checkpoint::{CheckpointError, Reader, Tensor};

/// Numbers of a series.
pub const NUMBERS: usize = 3 * ALL_BINS + LEVELS + MEMBERS * (GRAM + MOST + 3) + RECENT + 2 + BINS + 2;

/// The greatest number that is read: sums of a few are finite.
const LARGEST: f64 = 1e300;

/// The greatest effective number of events that is read.
const MOST_EVENTS: f64 = 1e15;

/// The tensors of `all`.
pub fn of(all: &[&Series]) -> Vec<Tensor> {
    let table = |name: &str, width: usize, numbers: &dyn Fn(&Series) -> Vec<f64>| {
        Tensor::f64(name, &[all.len(), width], all.iter().flat_map(|series| numbers(series)).collect())
    };
    let bins =
        |name: &str, number: fn(&Bin) -> f64| table(name, ALL_BINS, &|series| series.context.bins.iter().map(number).collect());
    let bank = |name: &str, width: usize, numbers: fn(&Regression) -> Vec<f64>| {
        table(name, MEMBERS * width, &|series| series.dynamics.bank.iter().flat_map(numbers).collect())
    };
    vec![
        Tensor::i64("order", &[all.len(), 2], all.iter().flat_map(|series| [series.rows as i64, series.seen as i64]).collect()),
        bins("context.weight", |bin| bin.weight),
        bins("context.mean", |bin| bin.mean),
        bins("context.variance", |bin| bin.variance),
        table("context.ln_weights", LEVELS, &|series| series.context.average.ln_weights.to_vec()),
        bank("bank.gram", GRAM, |regression| regression.gram.0.to_vec()),
        bank("bank.product", MOST, |regression| regression.product.to_vec()),
        bank("bank.square", 1, |regression| vec![regression.square]),
        bank("bank.count", 1, |regression| vec![regression.count]),
        table("bank.ln_weights", MEMBERS, &|series| series.dynamics.average.ln_weights.to_vec()),
        table("recent", RECENT, &|series| series.dynamics.recent.numbers().to_vec()),
        table("experts.ln_weights", 2, &|series| series.experts.ln_weights.to_vec()),
        table("recalibration", BINS, &|series| series.recalibration.counts.to_vec()),
    ]
}

/// `count` series from what [`of`] gave.
pub fn read(reader: Reader<'_>, count: usize) -> Result<Vec<Series>, CheckpointError> {
    let numbers = |name: &'static str, width: usize, range: (f64, f64)| Table::read(reader, name, [count, width], range);
    let (any, square) = ((-LARGEST, LARGEST), (0.0, LARGEST));
    let (events, ln_weights) = ((0.0, MOST_EVENTS), (-LARGEST, 0.0));
    let order = reader.within(0..=i64::MAX, "order", &[count, 2])?;
    let weight = numbers("context.weight", ALL_BINS, events)?;
    let mean = numbers("context.mean", ALL_BINS, any)?;
    let variance = numbers("context.variance", ALL_BINS, square)?;
    let levels = numbers("context.ln_weights", LEVELS, ln_weights)?;
    let gram = numbers("bank.gram", MEMBERS * GRAM, any)?;
    let product = numbers("bank.product", MEMBERS * MOST, any)?;
    let squares = numbers("bank.square", MEMBERS, square)?;
    let counts = numbers("bank.count", MEMBERS, events)?;
    let bank = numbers("bank.ln_weights", MEMBERS, ln_weights)?;
    let recent = numbers("recent", RECENT, any)?;
    let experts = numbers("experts.ln_weights", 2, ln_weights)?;
    let past = numbers("recalibration", BINS, events)?;
    let series = |at: usize| {
        let mut series = Series { rows: order[2 * at] as u64, seen: order[2 * at + 1] as u64, ..Series::default() };
        for (bin, found) in series.context.bins.iter_mut().enumerate() {
            *found = Bin { weight: weight.row(at)[bin], mean: mean.row(at)[bin], variance: variance.row(at)[bin] };
        }
        for (member, found) in series.dynamics.bank.iter_mut().enumerate() {
            let part = |table: &Table<'_>, width: usize| table.row(at)[member * width..(member + 1) * width].to_vec();
            *found = Regression {
                gram: Gram(part(&gram, GRAM).try_into().expect("a triangle")),
                product: part(&product, MOST).try_into().expect("a feature each"),
                square: squares.row(at)[member],
                count: counts.row(at)[member],
            };
        }
        series.context.average.ln_weights.copy_from_slice(levels.row(at));
        series.dynamics.average.ln_weights.copy_from_slice(bank.row(at));
        series.dynamics.recent = Recent::from_numbers(recent.row(at).try_into().expect("as many"));
        series.experts.ln_weights.copy_from_slice(experts.row(at));
        series.recalibration.counts.copy_from_slice(past.row(at));
        series
    };
    Ok((0..count).map(series).collect())
}

/// A tensor `[series, width]`.
struct Table<'a> {
    width: usize,
    data: &'a [f64],
}

impl<'a> Table<'a> {
    /// That of `name`, whose elements must be within `range`.
    fn read(reader: Reader<'a>, name: &str, shape: [usize; 2], (least, most): (f64, f64)) -> Result<Self, CheckpointError> {
        let data = reader.at_least(least, name, &shape)?;
        match data.iter().position(|value| *value > most) {
            Some(at) => {
                let detail = format!("element {at} is {}, expected at most {most}", data[at]);
                Err(CheckpointError::BadValue { name: name.into(), detail })
            }
            None => Ok(Self { width: shape[1], data }),
        }
    }

    fn row(&self, at: usize) -> &'a [f64] {
        &self.data[at * self.width..(at + 1) * self.width]
    }
}
