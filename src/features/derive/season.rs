//! Where a time stands in the hour, the day, the week or the year.

/// A period of the calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Season {
    /// An hour.
    Hour,
    /// A day, from midnight.
    Day,
    /// A week, from Monday's midnight.
    Week,
    /// A year of 365.2425 days, the calendar's mean; one began at the beginning of 1970.
    Year,
}

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// 1970 began with a Thursday.
const THURSDAY_MS: i64 = 3 * DAY_MS;

impl Season {
    /// The name in configuration and columns.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Year => "year",
        }
    }

    /// Which share of the season has passed at `time_ms`, milliseconds since 1970: 0 up to 1.
    pub fn share(self, time_ms: i64) -> f64 {
        let (length, begun) = match self {
            Self::Hour => (HOUR_MS, 0),
            Self::Day => (DAY_MS, 0),
            Self::Week => (7 * DAY_MS, THURSDAY_MS),
            Self::Year => (31_556_952_000, 0),
        };
        // Before the sum, which a time at the end of all numbers has no room for.
        let passed = (time_ms.rem_euclid(length) + begun).rem_euclid(length);
        passed as f64 / length as f64
    }
}
