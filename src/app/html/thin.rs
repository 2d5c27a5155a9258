//! Long series as no more marks than a screen has places for.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Places along a chart; what lies in one of them can't be told apart.
pub const PLACES: usize = 1000;

/// The place, in `0..PLACES`, of something at `x` in 0..=1.
pub fn place(x: f64) -> usize {
    place_of(x, PLACES)
}

/// The place, in `0..places`, of something at `x` in 0..=1.
pub fn place_of(x: f64, places: usize) -> usize {
    ((x * places as f64) as usize).min(places - 1)
}

/// The lowest and the highest point of a place, each with its turn among all points.
struct Extremes {
    place: usize,
    low: (usize, f64, f64),
    high: (usize, f64, f64),
}

/// Of points (x, y) in order of x, the lowest and the highest of each place, in order. A series that is short stays whole.
pub fn extremes(points: impl ExactSizeIterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    if points.len() <= 2 * PLACES {
        return points.collect();
    }
    let mut places: Vec<Extremes> = Vec::with_capacity(PLACES);
    for (turn, (x, y)) in points.enumerate() {
        match places.last_mut() {
            Some(Extremes { place: current, low, high }) if *current == place(x) => {
                // A gap stays one only where nothing else is.
                if low.2.is_nan() || y < low.2 {
                    *low = (turn, x, y);
                }
                if high.2.is_nan() || y > high.2 {
                    *high = (turn, x, y);
                }
            }
            _ => places.push(Extremes { place: place(x), low: (turn, x, y), high: (turn, x, y) }),
        }
    }
    let in_turn = |Extremes { low, high, .. }: Extremes| if low.0 <= high.0 { [low, high] } else { [high, low] };
    places.into_iter().flat_map(in_turn).map(|(_, x, y)| (x, y)).collect()
}

/// Means of `N` numbers over what lies in each place, in order; the place's middle first.
pub fn means<const N: usize>(points: impl Iterator<Item = (f64, [f64; N])>) -> Vec<(f64, [f64; N])> {
    let mut sums: BTreeMap<usize, (f64, [f64; N])> = BTreeMap::new();
    for (x, values) in points {
        let (count, sum) = sums.entry(place(x)).or_insert((0.0, [0.0; N]));
        *count += 1.0;
        sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
    let middle = |place| (place as f64 + 0.5) / PLACES as f64;
    sums.into_iter().map(|(place, (count, sum))| (middle(place), sum.map(|sum| sum / count))).collect()
}

/// Dots that may be dense: those on one spot are one dot, which says how many it is.
#[derive(Debug, Default)]
pub struct Dots(BTreeMap<(usize, usize), usize>);

impl Dots {
    /// Dots drawn at most, so that a page of a million rows stays small.
    const MOST: usize = 10_000;

    /// Puts a dot at `x` and `y` in 0..=1 on a chart `height` high.
    pub fn put(&mut self, x: f64, y: f64, height: usize) {
        let spot = (place(x), ((1.0 - y) * height as f64) as usize);
        *self.0.entry(spot).or_default() += 1;
    }

    /// The dots as SVG: one path each, of no length, whose round end is the dot. Spots are as large as it takes to draw them all.
    pub fn svg(self) -> String {
        let mut spots = self.0;
        let mut size = 1;
        while spots.len() > Self::MOST {
            size *= 2;
            let mut larger = BTreeMap::new();
            for ((x, y), count) in spots {
                *larger.entry((x / size * size, y / size * size)).or_default() += count;
            }
            spots = larger;
        }
        let mut svg = String::new();
        for ((x, y), count) in spots {
            let many = if count > 1 { format!(" data-n=\"{count}\"") } else { String::new() };
            write!(svg, "<path d=\"M{x} {y}h0\"{many}/>").expect("a string takes what is written");
        }
        svg
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_are_kept_where_they_are() {
        let count = 1_000_000;
        let y = |row: usize| {
            if row == 654_321 {
                9.0
            } else if row == 654_400 {
                -9.0
            } else {
                (row % 7) as f64
            }
        };
        let kept = extremes((0..count).map(|row| (row as f64 / count as f64, y(row))));
        assert_eq!(kept.len(), 2 * PLACES);
        assert!(kept.is_sorted_by(|left, right| left.0 <= right.0));
        for (row, value) in [(654_321, 9.0), (654_400, -9.0)] {
            assert!(kept.contains(&(row as f64 / count as f64, value)));
        }
        let short = [(0.0, 1.0), (0.5, 2.0), (1.0, f64::NAN)];
        assert_eq!(extremes(short.into_iter())[..2], short[..2]);
    }

    #[test]
    fn means_are_of_a_place() {
        let points = (0..4 * PLACES).map(|row| (row as f64 / (4 * PLACES) as f64, [(row % 4) as f64, 2.0]));
        let means = means(points);
        assert_eq!(means.len(), PLACES);
        assert!(means.iter().all(|(_, values)| *values == [1.5, 2.0]));
    }

    #[test]
    fn no_dot_is_lost() {
        let mut dots = Dots::default();
        (0..5000).for_each(|row| dots.put(row as f64 / 5000.0, 0.5, 100));
        let svg = dots.svg();
        assert_eq!(svg.matches("<path").count(), PLACES);
        assert_eq!(svg.matches("data-n=\"5\"").count(), PLACES);
        // Where there would be too many, spots are larger.
        let mut dots = Dots::default();
        (0..100_000).for_each(|row| dots.put(row as f64 / 100_000.0, (row % 100) as f64 / 100.0, 100));
        let svg = dots.svg();
        let counts =
            svg.split("data-n=\"").skip(1).map(|rest| rest.split('"').next().and_then(|count| count.parse::<usize>().ok()));
        let single = svg.matches("h0\"/>").count();
        assert_eq!(counts.flatten().sum::<usize>() + single, 100_000);
        assert!(svg.matches("<path").count() <= Dots::MOST);
    }
}
