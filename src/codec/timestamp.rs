//! Times of events: from numbers and texts to milliseconds since 1970 (UTC). Nothing here asks a clock.
//!
//! A number tells its unit by its magnitude: below 1e11 it is seconds (until the year 5138), below 1e14 milliseconds, below 1e17
//! microseconds, otherwise nanoseconds. So milliseconds before March 1973 would be taken for seconds; events that old come as text.
//!
//! A text is RFC 3339 or its everyday relatives: `2024-02-29T12:00:00.5Z`, `2024-02-29 12:00:00+01:00`, `2024-02-29`. Without an
//! offset it is UTC. Digits behind the millisecond are cut off.

/// What is accepted, for messages.
pub(crate) const EXPECTED: &str = "a time: seconds, ms, µs or ns since 1970, or text such as \"2024-02-29T12:00:00Z\"";

/// Milliseconds since 1970 of a whole number of seconds, milliseconds, microseconds or nanoseconds.
pub(crate) fn from_integer(value: i128) -> Option<i64> {
    let milliseconds = match value.unsigned_abs() {
        0..100_000_000_000 => value * 1_000,
        100_000_000_000..100_000_000_000_000 => value,
        100_000_000_000_000..100_000_000_000_000_000 => value.div_euclid(1_000),
        _ => value.div_euclid(1_000_000),
    };
    i64::try_from(milliseconds).ok()
}

/// As [`from_integer`], of a number that may have a fraction.
pub(crate) fn from_float(value: f64) -> Option<i64> {
    let milliseconds = match value.abs() {
        size if size < 1e11 => value * 1e3,
        size if size < 1e14 => value,
        size if size < 1e17 => value / 1e3,
        _ => value / 1e6,
    };
    // Beyond 2^63 a cast would saturate; NaN and infinities fail the comparison.
    (milliseconds.abs() < 9.2e18).then(|| milliseconds.round() as i64)
}

/// Milliseconds since 1970 of a date or a date with time.
pub(crate) fn from_text(text: &str) -> Option<i64> {
    let mut scan = Scan(text.as_bytes());
    let year = scan.number(4)?;
    scan.one_of(b"-")?;
    let month = scan.number(2)?;
    scan.one_of(b"-")?;
    let day = scan.number(2)?;
    if !(1..=12).contains(&month) || !(1..=days_in_month(year, month)).contains(&day) {
        return None;
    }
    let midnight = days_since_1970(year, month, day) * 86_400_000;
    if scan.0.is_empty() {
        return Some(midnight);
    }
    scan.one_of(b"Tt ")?;
    let hour = scan.number(2)?;
    scan.one_of(b":")?;
    let minute = scan.number(2)?;
    scan.one_of(b":")?;
    // RFC 3339 knows second 60: a leap second, here the first instant of the next minute.
    let second = scan.number(2)?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let fraction_ms = scan.fraction()?;
    let offset_minutes = scan.offset()?;
    Some(midnight + ((hour * 60 + minute - offset_minutes) * 60 + second) * 1_000 + fraction_ms)
}

/// The text of a time, to the second: `2024-02-29T12:00:00Z`.
pub(crate) fn to_text(ms: i64) -> String {
    let (seconds, days) = (ms.div_euclid(1_000).rem_euclid(86_400), ms.div_euclid(86_400_000));
    // Hinnant's algorithm the other way round.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let (month, day) = ((shifted + 2) % 12 + 1, day_of_year - (153 * shifted + 2) / 5 + 1);
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
///
/// Years begin in March, so that the leap day is the last one; 400 years have 146,097 days.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// What is left of a text.
struct Scan<'a>(&'a [u8]);

impl Scan<'_> {
    /// The number that exactly `digits` digits write.
    fn number(&mut self, digits: usize) -> Option<i64> {
        let (head, tail) = self.0.split_at_checked(digits)?;
        self.0 = tail;
        head.iter().try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
    }

    fn one_of(&mut self, bytes: &[u8]) -> Option<u8> {
        let (first, tail) = self.0.split_first()?;
        self.0 = tail;
        bytes.contains(first).then_some(*first)
    }

    /// Milliseconds of an optional `.ddd…`.
    fn fraction(&mut self) -> Option<i64> {
        if self.0.first() != Some(&b'.') {
            return Some(0);
        }
        let digits = self.0[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (fraction, tail) = self.0[1..].split_at(digits);
        self.0 = tail;
        let milliseconds = (0..3).fold(0, |sum, place| sum * 10 + i64::from(fraction.get(place).map_or(0, |digit| digit - b'0')));
        (digits > 0).then_some(milliseconds)
    }

    /// Minutes of an optional `Z` or `±hh:mm`, which ends the text.
    fn offset(&mut self) -> Option<i64> {
        if self.0.is_empty() || matches!(self.0, b"Z" | b"z") {
            return Some(0);
        }
        let sign = if self.one_of(b"+-")? == b'-' { -1 } else { 1 };
        let hours = self.number(2)?;
        self.one_of(b":")?;
        let minutes = self.number(2)?;
        (hours <= 23 && minutes <= 59 && self.0.is_empty()).then_some(sign * (hours * 60 + minutes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_eight_centuries_follows_the_one_before() {
        let (mut days, mut seen) = (days_since_1970(1600, 1, 1), 0);
        // 370 years before 1970, of which 90 were leap years: 1600, 1604 … 1968 without 1700, 1800 and 1900.
        assert_eq!(days, -(370 * 365 + 90));
        for year in 1600..2400 {
            for month in 1..=12 {
                for day in 1..=days_in_month(year, month) {
                    assert_eq!(days_since_1970(year, month, day), days, "{year}-{month}-{day}");
                    assert_eq!(from_text(&format!("{year:04}-{month:02}-{day:02}")), Some(days * 86_400_000));
                    assert_eq!(to_text(days * 86_400_000 + 45_296_789), format!("{year:04}-{month:02}-{day:02}T12:34:56Z"));
                    (days, seen) = (days + 1, seen + 1);
                }
            }
        }
        assert_eq!(seen, 2 * 146_097);
    }

    #[test]
    fn texts_with_known_epochs() {
        // From `date -u -d TEXT +%s`.
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2024-02-29T12:34:56Z", 1_709_210_096_000),
            ("2024-02-29 12:34:56", 1_709_210_096_000),
            ("2024-02-29t12:34:56.789z", 1_709_210_096_789),
            ("2024-02-29T12:34:56.7", 1_709_210_096_700),
            ("2024-02-29T12:34:56.789999999Z", 1_709_210_096_789),
            ("2024-02-29T14:04:56+01:30", 1_709_210_096_000),
            ("2024-02-29T07:34:56-05:00", 1_709_210_096_000),
            ("2000-01-01", 946_684_800_000),
            ("1969-12-31T23:59:59.500Z", -500),
            ("2016-12-31T23:59:60Z", 1_483_228_800_000),
        ] {
            assert_eq!(from_text(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2023-02-29",
            "1900-02-29",
            "2024-00-10",
            "2024-13-10",
            "2024-04-31",
            "2024-1-1",
            "2024-02-29T",
            "2024-02-29T24:00:00Z",
            "2024-02-29T12:60:00Z",
            "2024-02-29T12:00:61Z",
            "2024-02-29T12:00",
            "2024-02-29T12:00:00.Z",
            "2024-02-29T12:00:00Zulu",
            "2024-02-29T12:00:00+0100",
            "2024-02-29T12:00:00+24:00",
            "29.02.2024",
            "２０２４-02-29",
            "1709210096",
        ] {
            assert_eq!(from_text(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_tell_their_unit_by_magnitude() {
        let milliseconds = 1_709_210_096_789;
        for value in [milliseconds, milliseconds * 1_000 + 999, milliseconds * 1_000_000 + 999_999] {
            assert_eq!(from_integer(value), Some(milliseconds as i64));
        }
        assert_eq!(from_integer(1_709_210_096), Some(1_709_210_096_000));
        assert_eq!(from_integer(-1), Some(-1_000));
        assert_eq!(from_integer(99_999_999_999), Some(99_999_999_999_000));
        assert_eq!(from_integer(100_000_000_000), Some(100_000_000_000));
        assert_eq!(from_float(1_709_210_096.789), Some(1_709_210_096_789));
        assert_eq!(from_float(1.709_210_096_789e12), Some(1_709_210_096_789));
        for value in [1e300, f64::INFINITY, f64::NAN] {
            assert_eq!(from_float(value), None);
        }
    }
}
