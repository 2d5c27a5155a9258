//! The scores of the Numenta Anomaly Benchmark (Lavin & Ahmad 2015, version 1.1), from detections in labelled series.
//!
//! Owns the definition and nothing else: no files, no detector. With `S(y) = 2 / (1 + exp(5y)) − 1`, and `S = −1` for y > 3, a
//! detection in row i is worth
//!
//! - `tp · S(−(r − i + 1) / (r − l + 1)) / S(−1)` in a window of the rows l..=r, which earns the best of its detections and costs
//!   `fn` if it has none;
//! - `fp · S((i − r) / (r − l))` outside all windows, with l..=r the window before it, and `−fp` where there is none.
//!
//! The first 15 % of a series, 750 rows at most, are probation and count for nothing. Rows that score at least a threshold are
//! detections; one threshold, the best for the profile, serves all series. The sum is put on a scale from 0, no detection at all, to
//! 100, `tp` for every window.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use serde::Deserialize;

/// Share of a series, and rows at most, that are probation.
const PROBATION: (f64, f64) = (0.15, 750.0);

/// What detections and omissions are worth to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Profile {
    /// For a window that is detected at its beginning.
    #[serde(rename = "tpWeight")]
    pub true_positive: f64,
    /// What a window costs that is not detected.
    #[serde(rename = "fnWeight")]
    pub false_negative: f64,
    /// What a detection far from any window costs.
    #[serde(rename = "fpWeight")]
    pub false_positive: f64,
}

/// A series as a detector has seen it.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// When each row was, in its order; times may repeat.
    pub times: Vec<i64>,
    /// How anomalous each row was found to be: one a row, finite.
    pub scores: Vec<f64>,
    /// First and last time of each window, in order; windows share no rows.
    pub windows: Vec<(i64, i64)>,
}

/// Why series have no score.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum NabError {
    /// A window that ends where the series has no row.
    #[error("a window begins or ends at {time} ms since 1970, a time that no row has")]
    NoRow {
        /// The window's end.
        time: i64,
    },
    /// Series in which there is nothing to be detected.
    #[error("no series has a window, so there is no scale from 0 to 100")]
    NoWindows,
}

/// A row after probation: what a detection in it would be worth before weights, and to which window.
struct Row {
    score: f64,
    /// The window among all windows of all series.
    window: Option<usize>,
    worth: f64,
}

/// How many of `rows` are probation.
pub fn probation(rows: usize) -> usize {
    (PROBATION.0 * rows as f64).floor().min(PROBATION.1) as usize
}

/// What a detector scores under a profile, by the threshold from which rows are detections: 100 is perfect, 0 as good as no detection.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve(Vec<(f64, f64)>);

impl Curve {
    /// The threshold at which the score is highest, and that score; an infinite one if no detection is better.
    pub fn best(&self) -> (f64, f64) {
        let none = (f64::INFINITY, 0.0);
        self.0.iter().fold(none, |best, step| if step.1 > best.1 { *step } else { best })
    }

    /// The score with that threshold.
    pub fn at(&self, threshold: f64) -> f64 {
        let detected = self.0.partition_point(|(score, _)| *score >= threshold);
        if detected == 0 { 0.0 } else { self.0[detected - 1].1 }
    }
}

/// The score of a detector under `profile` with the best threshold.
pub fn score(series: &[Series], profile: &Profile) -> Result<f64, NabError> {
    Ok(curve(series, profile)?.best().1)
}

/// The score by the threshold.
pub fn curve<'a>(series: impl IntoIterator<Item = &'a Series>, profile: &Profile) -> Result<Curve, NabError> {
    let (mut rows, mut windows) = (Vec::new(), 0);
    for series in series {
        rows.extend(worths(series, windows)?);
        windows += series.windows.len();
    }
    if windows == 0 {
        return Err(NabError::NoWindows);
    }
    rows.sort_by(|left, right| right.score.total_cmp(&left.score));
    // A window that lies in probation can't be missed, but perfection has it.
    let mut earned = vec![0.0; windows];
    rows.iter().filter_map(|row| row.window).for_each(|window| earned[window] = -profile.false_negative);
    let null: f64 = earned.iter().sum();
    let perfect = windows as f64 * profile.true_positive;
    let mut total = null;
    let steps = rows.chunk_by(|left, right| left.score == right.score).map(|tied| {
        for row in tied {
            total += match row.window {
                Some(window) => {
                    let before = earned[window];
                    earned[window] = before.max(profile.true_positive * row.worth);
                    earned[window] - before
                }
                None => profile.false_positive * row.worth,
            };
        }
        (tied[0].score, 100.0 * (total - null) / (perfect - null))
    });
    Ok(Curve(steps.collect()))
}

/// The rows of a series after probation. Its windows are counted from `first_window`.
fn worths(series: &Series, first_window: usize) -> Result<impl Iterator<Item = Row> + '_, NabError> {
    let mut places = HashMap::new();
    for (row, time) in series.times.iter().enumerate() {
        places.entry(*time).or_insert(row);
    }
    let place = |time| places.get(&time).copied().ok_or(NabError::NoRow { time });
    let spans = series.windows.iter().map(|(from, to)| Ok((place(*from)?, place(*to)?)));
    let spans = spans.collect::<Result<Vec<(usize, usize)>, NabError>>()?;
    let probation = probation(series.times.len());
    let mut before = None;
    let rows = series.scores.iter().enumerate().map(move |(row, score)| {
        let inside = spans.iter().position(|(left, right)| (*left..=*right).contains(&row));
        let worth = match (inside.map(|window| spans[window]), before) {
            (Some((left, right)), _) => {
                before = Some((left, right));
                sigmoid(-((right - row + 1) as f64) / (right - left + 1) as f64) / sigmoid(-1.0)
            }
            // Behind a window of a single row the distance is infinite, in units of its length.
            (None, Some((left, right))) => sigmoid((row - right) as f64 / (right - left) as f64),
            (None, None) => -1.0,
        };
        Row { score: *score, window: inside.map(|window| first_window + window), worth }
    });
    Ok(rows.skip(probation))
}

/// `S(y)`.
fn sigmoid(y: f64) -> f64 {
    if y > 3.0 { -1.0 } else { 2.0 / (1.0 + (5.0 * y).exp()) - 1.0 }
}
