//! Values with limits: each reads one value and says what is expected where it finds something else.

use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Unexpected, Visitor};

use super::model::HalfLife;
use crate::device::Device;

/// A number of the file: TOML tells `1` from `1.0`, people don't.
struct Number<F, T, const N: usize> {
    expected: String,
    accept: F,
    /// What may stand there as well.
    texts: [(&'static str, T); N],
}

impl<F: Fn(f64) -> Option<T>, T, const N: usize> Visitor<'_> for Number<F, T, N> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.expected)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<T, E> {
        (self.accept)(value as f64).ok_or_else(|| E::invalid_value(Unexpected::Signed(value), &self))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<T, E> {
        (self.accept)(value).ok_or_else(|| E::invalid_value(Unexpected::Float(value), &self))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<T, E> {
        match self.texts.into_iter().find(|(text, _)| *text == value) {
            Some((_, meaning)) => Ok(meaning),
            None => Err(E::invalid_value(Unexpected::Str(value), &self.expected.as_str())),
        }
    }
}

fn above_zero(value: f64) -> Option<f64> {
    (value > 0.0 && value.is_finite()).then_some(value)
}

/// A finite number above zero.
pub(super) fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    deserializer.deserialize_any(Number { expected: "a number above 0".into(), accept: above_zero, texts: [] })
}

/// As [`positive`], where nothing need be said.
pub(super) fn some_positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    positive(deserializer).map(Some)
}

/// A share above 0, below 1, where nothing need be said.
pub(super) fn some_share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let accept = |value: f64| (value > 0.0 && value < 1.0).then_some(value);
    deserializer.deserialize_any(Number { expected: "a number above 0, below 1".into(), accept, texts: [] }).map(Some)
}

/// A share: 0 or more, below 1.
pub(super) fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let accept = |value: f64| (0.0..1.0).contains(&value).then_some(value);
    deserializer.deserialize_any(Number { expected: "a number from 0 to below 1".into(), accept, texts: [] })
}

/// A number of events above zero, `"never"` for infinity, or `"inferred"`.
pub(super) fn half_life<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HalfLife, D::Error> {
    deserializer.deserialize_any(Number {
        expected: "a number of events above 0, \"never\" or \"inferred\"".into(),
        accept: |value| above_zero(value).map(HalfLife::Events),
        texts: [("never", HalfLife::NEVER), ("inferred", HalfLife::Inferred)],
    })
}

/// Above one half, at most one: exponents with which Robbins–Monro steps converge.
pub(super) fn exponent<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let accept = |value: f64| (value > 0.5 && value <= 1.0).then_some(value);
    deserializer.deserialize_any(Number { expected: "a number above 0.5, at most 1".into(), accept, texts: [] })
}

/// A time with its unit, or `"never"`, in milliseconds.
pub(super) fn half_life_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    text(deserializer, "a time above 0 with its unit, like \"30s\", \"15m\", \"6h\" or \"7d\", or \"never\"", |value| {
        if value == "never" {
            return Some(f64::INFINITY);
        }
        let units = [("s", 1e3), ("m", 60e3), ("h", 3600e3), ("d", 86400e3)];
        let (number, unit) = units.iter().find_map(|(name, ms)| Some((value.strip_suffix(name)?, ms)))?;
        above_zero(number.parse().ok()?).map(|number: f64| number * unit)
    })
}

struct Whole<T> {
    low: T,
    high: T,
    unit: &'static str,
}

impl<T: Display + PartialOrd + TryFrom<i64>> Visitor<'_> for Whole<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number{} from {} to {}", self.unit, self.low, self.high)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<T, E> {
        let number = T::try_from(value).ok().filter(|number| (&self.low..=&self.high).contains(&number));
        number.ok_or_else(|| E::invalid_value(Unexpected::Signed(value), &self))
    }
}

/// A whole number from `LOW` to `HIGH`.
pub(super) fn whole<'de, D: Deserializer<'de>, const LOW: usize, const HIGH: usize>(deserializer: D) -> Result<usize, D::Error> {
    deserializer.deserialize_i64(Whole { low: LOW, high: HIGH, unit: "" })
}

/// As [`whole`], where nothing need be said.
pub(super) fn some_whole<'de, D: Deserializer<'de>, const LOW: usize, const HIGH: usize>(
    deserializer: D,
) -> Result<Option<usize>, D::Error> {
    whole::<_, LOW, HIGH>(deserializer).map(Some)
}

/// Widths of a network's layers.
pub(super) fn widths<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<usize>, D::Error> {
    let expected = "whole numbers from 1 to 4096, 8 of them at most";
    let widths = Vec::<i64>::deserialize(deserializer)?;
    match widths.iter().find(|width| !(1..=4096).contains(*width)) {
        Some(wrong) => Err(D::Error::invalid_value(Unexpected::Signed(*wrong), &expected)),
        None if widths.len() > 8 => Err(D::Error::invalid_length(widths.len(), &expected)),
        None => Ok(widths.into_iter().map(|width| width as usize).collect()),
    }
}

/// A number above 0, at most 1000.
pub(super) fn up_to_a_thousand<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let accept = |value: f64| (value > 0.0 && value <= 1000.0).then_some(value);
    deserializer.deserialize_any(Number { expected: "a number above 0, at most 1000".into(), accept, texts: [] })
}

/// A time of `LOW` to `HIGH` milliseconds.
pub(super) fn milliseconds<'de, D: Deserializer<'de>, const LOW: u64, const HIGH: u64>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    deserializer.deserialize_i64(Whole { low: LOW, high: HIGH, unit: " of milliseconds" }).map(Duration::from_millis)
}

/// Copies of a topic's data: from 1 up, or -1 for what the broker does by default.
pub(super) fn replication<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    let expected = || "a whole number of copies from 1 to 32767, or -1 for the broker's default".to_owned();
    let accept = |value: f64| {
        let whole = value.fract() == 0.0 && (value == -1.0 || (1.0..=32767.0).contains(&value));
        whole.then_some(value as i32)
    };
    deserializer.deserialize_any(Number { expected: expected(), accept, texts: [] })
}

/// A text that passes a test.
struct Text<F> {
    expected: &'static str,
    accept: F,
}

impl<F: Fn(&str) -> Option<T>, T> Visitor<'_> for Text<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<T, E> {
        (self.accept)(value).ok_or_else(|| E::invalid_value(Unexpected::Str(value), &self.expected))
    }
}

fn text<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    expected: &'static str,
    accept: impl Fn(&str) -> Option<T>,
) -> Result<T, D::Error> {
    deserializer.deserialize_str(Text { expected, accept })
}

/// Whether `value` has 1 to `longest` characters of Kafka's alphabet for names.
fn plain(value: &str, longest: usize) -> bool {
    let alphabet = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=longest).contains(&value.len()) && value.bytes().all(alphabet) && value != "." && value != ".."
}

/// A name that fits into topic keys and group names.
pub(super) fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    text(deserializer, "a name of 1 to 100 characters among a-z, A-Z, 0-9, `.`, `_` and `-`", |value| {
        plain(value, 100).then(|| value.to_owned())
    })
}

/// A device's name.
pub(super) fn device<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Device, D::Error> {
    text(deserializer, "\"auto\", \"cpu\" or \"cuda:0\", with the GPU's number", |value| value.parse().ok())
}

/// A topic's name.
pub(super) fn topic<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    text(deserializer, "a topic name of 1 to 249 characters among a-z, A-Z, 0-9, `.`, `_` and `-`", |value| {
        plain(value, 249).then(|| value.to_owned())
    })
}

/// A text with something in it.
pub(super) fn filled<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    text(deserializer, "a text that is not empty", |value| (!value.trim().is_empty()).then(|| value.to_owned()))
}

/// An address to listen at.
pub(super) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    text(deserializer, "an IP address and a port, like \"127.0.0.1:9464\"", |value| value.parse().ok())
}

/// One text or an array of them.
#[derive(Debug)]
pub(super) enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;

        impl<'de> Visitor<'de> for Texts {
            type Value = OneOrMore;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or an array of texts")
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<OneOrMore, E> {
                Ok(OneOrMore::One(value.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<OneOrMore, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = values.next_element()? {
                    texts.push(text);
                }
                Ok(OneOrMore::More(texts))
            }
        }

        deserializer.deserialize_any(Texts)
    }
}

/// Brokers as the client wants them: `host:port`, separated by commas.
pub(super) fn brokers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let expected = "brokers as \"host:port\", separated by commas or in an array";
    let joined = match OneOrMore::deserialize(deserializer)? {
        OneOrMore::One(text) => text,
        OneOrMore::More(texts) => texts.join(","),
    };
    let brokers: Vec<_> = joined.split(',').map(str::trim).collect();
    match brokers.iter().find(|broker| !is_broker(broker)) {
        Some(wrong) => Err(D::Error::invalid_value(Unexpected::Str(wrong), &expected)),
        None => Ok(brokers.join(",")),
    }
}

/// `[protocol://]host:port`, where an IPv6 host stands in brackets.
fn is_broker(text: &str) -> bool {
    let address = text.split_once("://").map_or(text, |(_, address)| address);
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let whole = !host.is_empty() && (!host.contains(':') || host.starts_with('[') && host.ends_with(']'));
    whole && !host.contains(char::is_whitespace) && port.parse::<u16>().is_ok_and(|port| port > 0)
}
