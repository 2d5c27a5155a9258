//! From one scalar of an event to a cell: the rules of the column kinds, the same for JSON and for CSV.

use std::fmt;

use super::{Fault, timestamp};
use crate::features::{Kind, Texts};
use crate::record::Reason;

/// Characters of a value that a message shows.
const SHOWN_CHARS: usize = 80;

/// Bytes of a category's text at most. Texts are kept for good: with long ones a few thousand events could fill the memory.
const MAX_TEXT_BYTES: usize = 1024;

/// A value of an event that has no parts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scalar<'a> {
    Boolean(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(&'a str),
}

/// What a scalar means to its column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cell {
    /// The cell's value.
    Value(f64),
    /// A timestamp in milliseconds since 1970: what the cell holds, and when the event happened.
    Time(i64),
}

/// A scalar that its column can't take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Misfit {
    pub(crate) reason: Reason,
    pub(crate) expected: &'static str,
}

impl Misfit {
    /// The misfit of a value that is not of the column's kind at all.
    pub(crate) fn wrong_type(kind: Kind) -> Self {
        let expected = match kind {
            Kind::Number => "a number",
            Kind::Category { .. } => "text, a number or a boolean",
            Kind::Count => "a whole number from zero up",
            Kind::Boolean => "true or false",
            Kind::Timestamp => timestamp::EXPECTED,
        };
        Self { reason: Reason::WrongType, expected }
    }

    fn out_of_range(kind: Kind) -> Self {
        let expected = match kind {
            Kind::Number => "a finite number",
            Kind::Category { .. } => "a category's text of at most 1024 bytes",
            _ => Self::wrong_type(kind).expected,
        };
        Self { reason: Reason::OutOfRange, expected }
    }

    /// The fault to report: which field, what was found there, what would be right.
    pub(crate) fn fault(self, field: &str, found: impl fmt::Display) -> Fault {
        Fault { reason: self.reason, detail: format!("field `{field}`: found {found}, expected {}", self.expected) }
    }
}

/// Turns `scalar` into a cell of a column of `kind`. A category's text goes to `texts`.
#[inline]
pub(crate) fn cell(kind: Kind, scalar: Scalar<'_>, texts: &mut Texts) -> Result<Cell, Misfit> {
    match (kind, scalar) {
        (Kind::Number, Scalar::Float(value)) if value.is_finite() => Ok(Cell::Value(value)),
        (Kind::Number, Scalar::Unsigned(value)) => Ok(Cell::Value(value as f64)),
        (Kind::Number, Scalar::Signed(value)) => Ok(Cell::Value(value as f64)),
        (Kind::Count, Scalar::Unsigned(value)) => Ok(Cell::Value(value as f64)),
        // `abs` makes a negative zero zero.
        (Kind::Count, Scalar::Float(value)) if value >= 0.0 && value.is_finite() && value.fract() == 0.0 => {
            Ok(Cell::Value(value.abs()))
        }
        (Kind::Boolean, Scalar::Boolean(value)) => Ok(Cell::Value(f64::from(value))),
        (Kind::Category { .. }, Scalar::Text(text)) if text.len() > MAX_TEXT_BYTES => Err(Misfit::out_of_range(kind)),
        (Kind::Category { .. }, scalar) => Ok(Cell::Value(category(scalar, texts) as f64)),
        (Kind::Timestamp, scalar) => time(scalar),
        (Kind::Number | Kind::Count, Scalar::Signed(_) | Scalar::Float(_)) => Err(Misfit::out_of_range(kind)),
        (Kind::Number | Kind::Count | Kind::Boolean, _) => Err(Misfit::wrong_type(kind)),
    }
}

/// A category's text: a text as it is, anything else as JSON writes it.
fn category(scalar: Scalar<'_>, texts: &mut Texts) -> usize {
    match scalar {
        Scalar::Text(text) => texts.push(text),
        Scalar::Boolean(value) => texts.push(if value { "true" } else { "false" }),
        Scalar::Unsigned(value) => texts.push(&value.to_string()),
        Scalar::Signed(value) => texts.push(&value.to_string()),
        Scalar::Float(value) => texts.push(&json_number(value)),
    }
}

fn time(scalar: Scalar<'_>) -> Result<Cell, Misfit> {
    let milliseconds = match scalar {
        Scalar::Unsigned(value) => timestamp::from_integer(value.into()),
        Scalar::Signed(value) => timestamp::from_integer(value.into()),
        Scalar::Float(value) => timestamp::from_float(value),
        Scalar::Text(text) => return timestamp::from_text(text).map(Cell::Time).ok_or(Misfit::wrong_type(Kind::Timestamp)),
        Scalar::Boolean(_) => return Err(Misfit::wrong_type(Kind::Timestamp)),
    };
    milliseconds.map(Cell::Time).ok_or(Misfit::out_of_range(Kind::Timestamp))
}

/// The shortest number in JSON that reads back as `value`.
fn json_number(value: f64) -> String {
    serde_json::Number::from_f64(value).map_or_else(|| value.to_string(), |number| number.to_string())
}

/// `text` up to 80 characters as they stand in a quotation, where some take several, with an ellipsis where it was cut.
pub(crate) fn cut(text: &str) -> String {
    let mut shown = 0;
    let end = text.char_indices().find(|(_, letter)| {
        shown += letter.escape_debug().count();
        shown > SHOWN_CHARS
    });
    match end {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl fmt::Display for Scalar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Unsigned(value) => value.fmt(f),
            Self::Signed(value) => value.fmt(f),
            Self::Float(value) => f.write_str(&json_number(*value)),
            Self::Text(text) => write!(f, "{:?}", cut(text)),
        }
    }
}
