//! Numbers, times and texts as people read them, safe to stand in HTML.

use crate::codec::timestamp;

/// A text that came from data, as HTML: it can end neither an element nor an attribute.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(' '),
            _ if letter.is_control() => safe.push(char::REPLACEMENT_CHARACTER),
            _ => safe.push(letter),
        }
    }
    safe
}

/// At most `letters` letters of a text.
pub fn clip(text: &str, letters: usize) -> String {
    match text.char_indices().nth(letters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}

/// A whole number with its thousands apart: `49,097`.
pub fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number and its noun: `1 alert`, `2,000 alerts`.
pub fn counted(number: usize, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A number to three digits that matter, whole from a thousand up: `0.0213`, `27.3`, `1,204`, `3.1e-7`.
pub fn number(value: f64) -> String {
    let size = value.abs();
    let sign = if value < 0.0 { "−" } else { "" };
    if value.is_nan() {
        return "none".into();
    }
    if size == f64::INFINITY {
        return format!("{sign}∞");
    }
    if size == 0.0 {
        return "0".into();
    }
    if !(1e-5..9_999_999.5).contains(&size) {
        return format!("{sign}{}", format!("{size:.1e}").replace(".0e", "e"));
    }
    if size >= 999.5 {
        return format!("{sign}{}", count(size.round() as usize));
    }
    let decimals = (2 - size.log10().floor() as i32).clamp(0, 7) as usize;
    let text = format!("{size:.decimals$}");
    let text = if decimals > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{sign}{text}")
}

/// A share as a percentage.
pub fn percent(share: f64) -> String {
    format!("{} %", number(100.0 * share))
}

/// A time to the minute, or to the second where it has any: `2014-04-01 06:05`.
pub fn time(ms: i64) -> String {
    let text = timestamp::to_text(ms).replace('T', " ");
    text.strip_suffix(":00Z").or_else(|| text.strip_suffix('Z')).unwrap_or(&text).into()
}

/// A time of the day: `06:05:01`.
pub fn clock(ms: i64) -> String {
    timestamp::to_text(ms)[11..19].into()
}

/// A day: `1 Apr`.
pub fn day(ms: i64) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = timestamp::to_text(ms);
    let part = |range| text.get(range).and_then(|digits: &str| digits.parse().ok()).unwrap_or(1);
    format!("{} {}", part(8..10), MONTHS[(part(5..7) - 1) % 12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_people_write_them() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (-0.0213, "−0.0213"),
            (27.31, "27.3"),
            (999.4, "999"),
            (999.6, "1,000"),
            (1_204_004.0, "1,204,004"),
            (100.0, "100"),
            (0.001, "0.001"),
            (0.000_68, "0.00068"),
            (3.1e-7, "3.1e-7"),
            (-1e12, "−1e12"),
            (f64::INFINITY, "∞"),
            (f64::NAN, "none"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!((count(0), count(999), count(1_000_000)), ("0".into(), "999".into(), "1,000,000".into()));
        assert_eq!((counted(1, "alert"), counted(0, "alert")), ("1 alert".into(), "0 alerts".into()));
    }

    #[test]
    fn times_are_short() {
        assert_eq!(time(1_396_332_300_000), "2014-04-01 06:05");
        assert_eq!(time(1_396_332_301_000), "2014-04-01 06:05:01");
        assert_eq!(day(1_396_332_300_000), "1 Apr");
    }

    #[test]
    fn nothing_of_a_text_is_markup() {
        assert_eq!(
            escape("</script><b a=\"x\" b='y'>&\u{0}\n"),
            "&lt;/script&gt;&lt;b a=&quot;x&quot; b=&#39;y&#39;&gt;&amp;\u{fffd} "
        );
        assert_eq!((clip("äöü", 2), clip("äö", 2)), ("äö…".into(), "äö".into()));
    }
}
