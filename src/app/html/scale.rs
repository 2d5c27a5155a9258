//! From values to places along an axis, and the ticks that tell them.

use super::text;
use crate::codec::timestamp;

/// A range of values counts as outlying if it is so many times as wide as the central 98 % of the values.
const OUTLYING: f64 = 8.0;

/// The largest number that an axis reaches.
const LARGEST: f64 = 1e300;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Linear,
    Log,
    /// `asinh(value / unit)`: linear about zero, logarithmic far from it.
    Asinh(f64),
}

/// An axis: a monotone map from values to 0..=1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    shape: Shape,
    low: f64,
    high: f64,
}

impl Scale {
    /// An axis on which equal differences are equally long.
    pub fn linear(low: f64, high: f64) -> Self {
        Self::new(Shape::Linear, low, high)
    }

    /// An axis on which equal ratios are equally long; both ends are positive.
    pub fn log(low: f64, high: f64) -> Self {
        Self::new(Shape::Log, low, high)
    }

    /// An axis for `values`, with a little room; far outliers don't press the rest flat. Values that are not finite have no say.
    pub fn fit(values: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (Some(&low), Some(&high)) = (sorted.first(), sorted.last()) else { return Self::linear(0.0, 1.0) };
        // Far enough from the end of numbers that the range has a length.
        let (low, high) = (low.max(-LARGEST), high.min(LARGEST));
        let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
        let (below, middle, above) = (at(0.01), at(0.5), at(0.99));
        let centre = above - below;
        let unit = if centre > 0.0 { centre.max(middle.abs()) } else { 0.0 };
        let shape = if unit > 0.0 && high - low > OUTLYING * unit { Shape::Asinh(unit) } else { Shape::Linear };
        let scale = Self::new(shape, low, high);
        let room = 0.05 * (scale.high - scale.low);
        Self { low: scale.low - room, high: scale.high + room, ..scale }
    }

    fn new(shape: Shape, low: f64, high: f64) -> Self {
        let axis = Self { shape, low: 0.0, high: 1.0 };
        let (low, high) = (axis.forward(low), axis.forward(high));
        // A single value stands in the middle.
        let room = if high > low { 0.0 } else { 0.5 * low.abs().max(1.0) };
        Self { shape, low: low - room, high: high + room }
    }

    fn forward(self, value: f64) -> f64 {
        match self.shape {
            Shape::Linear => value,
            Shape::Log => value.max(f64::MIN_POSITIVE).ln(),
            Shape::Asinh(unit) => (value / unit).asinh(),
        }
    }

    fn backward(self, place: f64) -> f64 {
        match self.shape {
            Shape::Linear => place,
            Shape::Log => place.exp(),
            Shape::Asinh(unit) => place.sinh() * unit,
        }
    }

    /// The place of `value`: 0 at the low end, 1 at the high end, never beyond.
    pub fn at(self, value: f64) -> f64 {
        ((self.forward(value) - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// Round values, about `wanted` of them, with their names.
    pub fn ticks(self, wanted: usize) -> Vec<(f64, String)> {
        let values = match self.shape {
            Shape::Linear => linear_ticks(self.low, self.high, wanted),
            _ => self.decades(wanted),
        };
        values.into_iter().map(|value| (self.at(value), text::number(value))).collect()
    }

    /// Zero, then powers of ten, then their halves and fifths, as far as there is room between them.
    fn decades(self, wanted: usize) -> Vec<f64> {
        let (low, high) = (self.backward(self.low), self.backward(self.high));
        let slack = 1e-9 * (self.high - self.low);
        let within = |value| (self.low - slack..=self.high + slack).contains(&self.forward(value));
        let top = low.abs().max(high.abs()).log10().ceil() as i32;
        let mut kept: Vec<f64> = Vec::new();
        for digit in [0.0, 1.0, 5.0, 2.0] {
            for power in (top - 20..=top).rev() {
                for value in [digit, -digit].map(|digit| digit * 10_f64.powi(power)) {
                    let near = |other: &f64| (self.at(*other) - self.at(value)).abs() < 0.8 / wanted as f64;
                    if within(value) && !kept.iter().any(near) {
                        kept.push(value);
                    }
                }
            }
        }
        kept.sort_by(f64::total_cmp);
        kept
    }
}

/// Multiples of 1, 2 or 5 times a power of ten.
fn linear_ticks(low: f64, high: f64, wanted: usize) -> Vec<f64> {
    let rough = (high / wanted as f64) - (low / wanted as f64);
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power).into_iter().find(|step| *step >= rough).unwrap_or(rough);
    let (first, last) = ((low / step).ceil(), (high / step).floor());
    if !(first.is_finite() && last - first < 100.0) {
        return vec![];
    }
    // Adding zero turns a negative zero round.
    (0..=(last - first) as i64).map(|tick| (first + tick as f64) * step + 0.0).collect()
}

/// What runs along the bottom: time where the events have it, otherwise rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Along {
    from: f64,
    to: f64,
    /// Whether places are times in milliseconds.
    pub is_time: bool,
}

impl Along {
    /// From one time or row to another.
    pub fn new(from: i64, to: i64, is_time: bool) -> Self {
        Self { from: from as f64, to: to.max(from + 1) as f64, is_time }
    }

    /// The place of a time or row, in 0..=1.
    pub fn at(self, value: i64) -> f64 {
        ((value as f64 - self.from) / (self.to - self.from)).clamp(0.0, 1.0)
    }

    /// What it is, in a word.
    pub fn unit(self) -> &'static str {
        if self.is_time { "time" } else { "rows" }
    }

    /// Length, in rows or milliseconds.
    pub fn span(self) -> f64 {
        self.to - self.from
    }

    /// Round rows or times with their names.
    pub fn ticks(self) -> Vec<(f64, String)> {
        const WANTED: usize = 8;
        if !self.is_time {
            let ticks = linear_ticks(self.from, self.to, WANTED).into_iter().filter(|row| row.fract() == 0.0);
            return ticks.map(|row| (self.at(row as i64), text::number(row))).collect();
        }
        const SECOND: i64 = 1_000;
        const HOUR: i64 = 3_600 * SECOND;
        const DAY: i64 = 24 * HOUR;
        let steps = [1, 5, 15, 60, 300, 900].map(|step| step * SECOND).into_iter();
        let mut steps = steps.chain([1, 3, 6, 12].map(|step| step * HOUR)).chain([1, 2, 7, 14, 30, 91].map(|step| step * DAY));
        let Some(step) = steps.find(|step| self.span() / *step as f64 <= WANTED as f64) else { return self.years(WANTED) };
        let first = (self.from / step as f64).ceil() as i64;
        let ticks = (first..).map(|tick| tick * step).take_while(|ms| *ms as f64 <= self.to);
        let name = |ms: i64| match step {
            _ if ms % DAY == 0 => text::day(ms),
            _ if step >= 60 * SECOND => text::time(ms)[11..16].to_owned(),
            _ => text::clock(ms),
        };
        ticks.map(|ms| (self.at(ms), name(ms))).collect()
    }

    /// New Year's days.
    fn years(self, wanted: usize) -> Vec<(f64, String)> {
        let year = |ms: f64| text::time(ms as i64)[..4].parse().unwrap_or(0);
        let (first, last) = (year(self.from), year(self.to));
        let every =
            [1, 2, 5, 10, 20, 50, 100, 200, 500].into_iter().find(|every| (last - first) / every <= wanted).unwrap_or(1000);
        let years = (first..=last).filter(|year| year % every == 0).map(|year| format!("{year:04}"));
        let place = |year: &String| timestamp::from_text(&format!("{year}-01-01")).filter(|ms| *ms as f64 >= self.from);
        years.filter_map(|year| Some((self.at(place(&year)?), year))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(ticks: Vec<(f64, String)>) -> Vec<String> {
        ticks.into_iter().map(|(_, name)| name).collect()
    }

    #[test]
    fn ticks_are_round_and_in_place() {
        assert_eq!(names(Scale::linear(-1.0, 11.0).ticks(4)), ["0", "5", "10"]);
        assert_eq!(names(Scale::log(1e-4, 1.0).ticks(5)), ["0.0001", "0.001", "0.01", "0.1", "1"]);
        let scale = Scale::log(0.01, 1.0);
        assert!((scale.at(0.1) - 0.5).abs() < 1e-12 && scale.at(0.0) == 0.0 && scale.at(5.0) == 1.0);
        assert_eq!(names(Along::new(0, 9, false).ticks()), ["0", "2", "4", "6", "8"]);
        let day = 86_400_000;
        assert_eq!(names(Along::new(0, day, true).ticks())[..3], ["1 Jan", "03:00", "06:00"]);
        assert_eq!(names(Along::new(0, 7 * day, true).ticks())[..2], ["1 Jan", "2 Jan"]);
        assert_eq!(names(Along::new(0, 1461 * day, true).ticks()), ["1970", "1971", "1972", "1973", "1974"]);
    }

    #[test]
    fn outliers_leave_room_for_the_rest() {
        let values = (0..1000).map(|value| f64::from(value % 10)).chain([1e9]);
        let scale = Scale::fit(values);
        assert!(scale.at(9.0) - scale.at(0.0) > 0.03 && scale.at(1e9) > 0.9);
        assert!(names(scale.ticks(5)).contains(&"0".into()));
        // Without outliers it is linear.
        let scale = Scale::fit((0..=100).map(f64::from));
        assert!((scale.at(50.0) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn odd_values_have_places() {
        for values in [vec![], vec![f64::NAN], vec![3.0], vec![0.0, 0.0], vec![-1e308, 1e308], vec![f64::INFINITY, 1.0]] {
            let scale = Scale::fit(values.iter().copied());
            assert!(scale.ticks(5).iter().all(|(place, _)| (0.0..=1.0).contains(place)), "{values:?}: {scale:?}");
            let seen = values.iter().filter(|value| value.is_finite());
            assert!(seen.map(|value| scale.at(*value)).all(|place| (0.0..=1.0).contains(&place)), "{values:?}: {scale:?}");
        }
    }
}
