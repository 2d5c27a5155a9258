//! What a derived column is.

use std::f64::consts::TAU;

use super::past::Past;
use super::season::Season;
use crate::features::Schema;

/// A function of an event and of its past. Of events, those before this one are counted, those whose value is missing included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Formula {
    /// A Fourier term: `sin` or `cos` of `2π · harmonic · share`, with the [share](Season::share) of the season at the event's time.
    Wave {
        /// The season.
        season: Season,
        /// How often it swings in a season, from 1 up.
        harmonic: u32,
        /// Sine or cosine.
        phase: Phase,
    },
    /// Seconds since the last event that had a time; 0 where that was later.
    Gap,
    /// `ln(1 + gap)`.
    LogGap,
    /// The value so many events ago.
    Lag {
        /// The cell.
        of: usize,
        /// How many, from 1 up.
        events: usize,
    },
    /// The value less that of so many events ago.
    Difference {
        /// The cell.
        of: usize,
        /// How many, from 1 up.
        events: usize,
    },
    /// A statistic of the values of the last events, without this one's.
    Rolling {
        /// The cell.
        of: usize,
        /// Which.
        statistic: Statistic,
        /// How many events, from 1 up.
        events: usize,
    },
}

/// Sine or cosine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Sine.
    Sine,
    /// Cosine.
    Cosine,
}

/// A statistic of the values that are not missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    /// The mean.
    Mean,
    /// The sample's standard deviation, `√(Σ(x − x̄)² / (n − 1))`, of two values or more.
    Deviation,
    /// The least.
    Min,
    /// The greatest.
    Max,
}

impl Formula {
    /// Whether it is about the event alone.
    pub(super) fn is_timeless(&self) -> bool {
        matches!(self, Self::Wave { .. })
    }

    /// Of which cell it needs how many of the last values.
    pub(super) fn reach(&self) -> Option<(usize, usize)> {
        match *self {
            Self::Wave { .. } | Self::Gap | Self::LogGap => None,
            Self::Lag { of, events } | Self::Difference { of, events } | Self::Rolling { of, events, .. } => Some((of, events)),
        }
    }

    /// The value for an event with the cells `row`; NaN where it can't be known.
    pub(super) fn value(&self, row: &[f64], time_ms: Option<i64>, past: Option<&Past>) -> f64 {
        let gap = || {
            let (time, before) = time_ms.zip(past?.time_ms)?;
            Some(time.saturating_sub(before).max(0) as f64 / 1000.0)
        };
        let lag = |of, events| past.and_then(|past| past.ago(of, events));
        let value = match *self {
            Self::Wave { season, harmonic, phase } => time_ms.map(|time| {
                let angle = TAU * (f64::from(harmonic) * season.share(time)).fract();
                match phase {
                    Phase::Sine => angle.sin(),
                    Phase::Cosine => angle.cos(),
                }
            }),
            Self::Gap => gap(),
            Self::LogGap => gap().map(f64::ln_1p),
            Self::Lag { of, events } => lag(of, events),
            Self::Difference { of, events } => lag(of, events).map(|before| row[of] - before),
            Self::Rolling { of, statistic, events } => past.and_then(|past| statistic.of(past.last(of, events))),
        };
        value.unwrap_or(f64::NAN)
    }

    /// In words.
    pub(super) fn words(&self, schema: &Schema) -> String {
        let name = |cell: usize| &schema.columns()[cell].name;
        match *self {
            Self::Wave { season, harmonic, phase } => {
                format!("{} of {harmonic} turns a {}", if phase == Phase::Sine { "sine" } else { "cosine" }, season.name())
            }
            Self::Gap => "seconds since the last event".into(),
            Self::LogGap => "ln(1 + seconds since the last event)".into(),
            Self::Lag { of, events } => format!("{} {events} events ago", name(of)),
            Self::Difference { of, events } => format!("{} less that of {events} events ago", name(of)),
            Self::Rolling { of, statistic, events } => {
                format!("{} of {} over the last {events} events", statistic.name(), name(of))
            }
        }
    }
}

impl Statistic {
    /// The name in columns.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Deviation => "sd",
            Self::Min => "min",
            Self::Max => "max",
        }
    }

    /// Of `values`, of which those that are NaN are missing. `None` if there are too few.
    fn of(self, values: impl Iterator<Item = f64> + Clone) -> Option<f64> {
        let values = values.filter(|value| !value.is_nan());
        let count = values.clone().count();
        let mean = || values.clone().sum::<f64>() / count as f64;
        match self {
            Self::Mean => (count > 0).then(mean),
            Self::Deviation => (count > 1).then(|| {
                let mean = mean();
                let scatter: f64 = values.clone().map(|value| (value - mean) * (value - mean)).sum();
                (scatter / (count - 1) as f64).sqrt()
            }),
            Self::Min => values.reduce(f64::min),
            Self::Max => values.reduce(f64::max),
        }
    }
}
