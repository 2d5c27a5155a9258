//! JSON objects to rows, in one walk and without building a tree of values.
//!
//! Owns the rules of what a field may hold. It never guesses: a field that is absent or null is missing, and a value that is not of
//! its column's kind makes the whole event a dead letter, with the field named.
//!
//! | column    | takes                                                                             |
//! |-----------|-----------------------------------------------------------------------------------|
//! | number    | a number, rounded to the nearest `f64`; text that looks like one is refused       |
//! | count     | a number from zero up that is whole (`3`, `3.0`)                                  |
//! | boolean   | `true` or `false`; 0 and 1 are refused                                            |
//! | category  | text of up to 1,024 bytes; a number or boolean as JSON writes it, `1.50` as `1.5` |
//! | timestamp | seconds, milliseconds, µs or ns since 1970 by magnitude, or RFC 3339 text         |
//!
//! Fields outside the schema are checked to be JSON and skipped, whatever numbers they hold. Where a key occurs twice in an object
//! the last one counts, but each of them must fit its column. If several things are wrong, depth is reported first and then
//! whatever comes first in the text.

mod depth;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::cell::{Cell, Misfit, Scalar, cell, cut};
use super::{Decode, Decoded, Fault};
use crate::features::{Kind, Rows, Schema, Texts};
use crate::record::Reason;

/// serde_json stops at 128 levels with an error that can't be told from bad JSON; we stop before it.
const DEEPEST: usize = 127;

/// How much an event may ask of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in a record's value at most.
    pub max_bytes: usize,
    /// Objects and arrays inside one another at most, the event itself included; more than 127 means 127.
    pub max_depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: 1024 * 1024, max_depth: 64 }
    }
}

impl Limits {
    /// The text in `payload`, if it is not empty, not too long and not too deep.
    fn check<'a>(&self, payload: &'a [u8]) -> Result<&'a str, Fault> {
        let fault = |reason, detail| Err(Fault { reason, detail });
        if payload.is_empty() {
            return fault(Reason::Empty, "no value, expected a JSON object".into());
        }
        if payload.len() > self.max_bytes {
            return fault(Reason::TooLarge, format!("{} bytes, expected at most {}", payload.len(), self.max_bytes));
        }
        let text = match std::str::from_utf8(payload) {
            Ok(text) => text,
            Err(error) => {
                let at = error.valid_up_to();
                let detail = format!("byte {at} is 0x{:02x}, which is not UTF-8 there; expected JSON in UTF-8", payload[at]);
                return fault(Reason::InvalidUtf8, detail);
            }
        };
        if depth::exceeds(payload, self.max_depth) {
            let detail = format!("nested deeper than the {} levels that are allowed: {}", self.max_depth, cut(text));
            return fault(Reason::TooDeep, detail);
        }
        Ok(text)
    }
}

/// Decodes JSON objects.
#[derive(Clone, Debug)]
pub struct JsonDecoder {
    limits: Limits,
    root: Node,
    /// The column whose time is the event's: the first timestamp.
    timestamp: Option<usize>,
}

impl JsonDecoder {
    /// A decoder of events with the columns of `schema`.
    pub fn new(schema: &Schema, limits: Limits) -> Self {
        let mut root = Node::default();
        for (index, column) in schema.columns().iter().enumerate() {
            root.insert(&column.path, index, column.kind);
        }
        root.sort();
        let limits = Limits { max_depth: limits.max_depth.min(DEEPEST), ..limits };
        Self { limits, root, timestamp: schema.timestamp() }
    }
}

impl Decode for JsonDecoder {
    fn decode(&self, payload: &[u8], rows: &mut Rows) -> Result<Decoded, Fault> {
        let text = self.limits.check(payload)?;
        let (cells, texts) = rows.push_missing();
        let mut fill = Fill { cells, texts, timestamp: self.timestamp, timestamp_ms: None, field: None, misplaced: None };
        let mut reader = serde_json::Deserializer::from_str(text);
        let walked = Object { node: &self.root, fill: &mut fill }.deserialize(&mut reader).and_then(|()| reader.end());
        let Err(error) = walked else { return Ok(Decoded { timestamp_ms: fill.timestamp_ms }) };
        let fault = diagnose(text, &error, fill.field, fill.misplaced);
        rows.pop();
        Err(fault)
    }
}

/// Why the walk has stopped.
#[cold]
fn diagnose(text: &str, error: &serde_json::Error, field: Option<&Node>, misplaced: Option<Misplaced>) -> Fault {
    let at = byte_position(text, error);
    match (misplaced, field) {
        (Some(Misplaced::Scalar(fault)), _) => return fault,
        (Some(Misplaced::Container(misfit)), Some(field)) => return misfit.fault(&field.path, cut(container_before(text, at))),
        (_, Some(field)) if error.to_string().starts_with("number out of range") => {
            let misfit = Misfit { reason: Reason::OutOfRange, expected: "a number within the range of a 64-bit float" };
            return misfit.fault(&field.path, cut(number_around(text, at)));
        }
        _ => {}
    }
    if !text.trim_ascii_start().starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok() {
        let detail = format!("found {}, expected a JSON object", cut(text.trim_ascii()));
        return Fault { reason: Reason::NotAnObject, detail };
    }
    // The reader's own words may quote the whole text.
    let said = cut(&error.to_string());
    Fault { reason: Reason::InvalidJson, detail: format!("{said}, expected a JSON object: {}", cut(text)) }
}

/// The byte at which `error` says that the reader stopped.
fn byte_position(text: &str, error: &serde_json::Error) -> usize {
    let lines = error.line().saturating_sub(1);
    let line: usize = text.split_inclusive('\n').take(lines).map(str::len).sum();
    char_boundary(text, line + error.column())
}

/// The first character's start from byte `at` on.
fn char_boundary(text: &str, at: usize) -> usize {
    (at..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
}

/// The number at or right before byte `at`.
fn number_around(text: &str, at: usize) -> &str {
    let is_part = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E');
    let start = text[..at].trim_end_matches(is_part).len();
    let end = text[start..].find(|c| !is_part(c)).map_or(text.len(), |length| start + length);
    &text[start..end]
}

/// The text from the last opening bracket at or before byte `at`.
fn container_before(text: &str, at: usize) -> &str {
    let end = char_boundary(text, at + 1);
    &text[text[..end].rfind(['{', '[']).unwrap_or(0)..]
}

/// A place in the event that the schema knows: a column, an object with columns inside, or (rarely) both by turns.
#[derive(Clone, Debug, Default)]
struct Node {
    /// Keys from the outermost object inwards, joined by dots.
    path: String,
    column: Option<(usize, Kind)>,
    /// In the order of the columns, which is most often that of the event's keys.
    children: Vec<(Box<str>, Node)>,
    /// Indexes of `children` in the order of their keys.
    by_key: Vec<usize>,
    /// All columns here and below.
    below: Vec<usize>,
}

impl Node {
    fn insert(&mut self, path: &[String], column: usize, kind: Kind) {
        self.below.push(column);
        let Some((key, rest)) = path.split_first() else {
            self.column = Some((column, kind));
            return;
        };
        let known = self.children.iter().position(|(name, _)| **name == **key);
        let index = known.unwrap_or_else(|| {
            let path = if self.path.is_empty() { key.clone() } else { format!("{}.{key}", self.path) };
            self.children.push((key.as_str().into(), Node { path, ..Node::default() }));
            self.children.len() - 1
        });
        self.children[index].1.insert(rest, column, kind);
    }

    fn sort(&mut self) {
        self.by_key = (0..self.children.len()).collect();
        self.by_key.sort_unstable_by(|left, right| self.children[*left].0.cmp(&self.children[*right].0));
        self.children.iter_mut().for_each(|(_, child)| child.sort());
    }

    /// The child `key`; `likely` is tried first.
    #[inline]
    fn child(&self, key: &str, likely: usize) -> Option<usize> {
        if self.children.get(likely).is_some_and(|(name, _)| **name == *key) {
            return Some(likely);
        }
        let found = self.by_key.binary_search_by(|index| (*self.children[*index].0).cmp(key));
        found.ok().map(|position| self.by_key[position])
    }

    /// What is wrong with a value of another shape than this place has.
    fn misfit(&self) -> Misfit {
        let object = Misfit { reason: Reason::WrongType, expected: "an object" };
        self.column.map_or(object, |(_, kind)| Misfit::wrong_type(kind))
    }
}

/// Something that is not what its column takes.
enum Misplaced {
    Scalar(Fault),
    /// An object or an array, whose text is found by its position.
    Container(Misfit),
}

/// A row that is being filled.
struct Fill<'a> {
    cells: &'a mut [f64],
    texts: &'a mut Texts,
    timestamp: Option<usize>,
    timestamp_ms: Option<i64>,
    /// Which field is being read, to name it if the reader stops.
    field: Option<&'a Node>,
    misplaced: Option<Misplaced>,
}

impl Fill<'_> {
    /// Makes everything at `node` missing.
    fn clear(&mut self, node: &Node) {
        for &column in &node.below {
            self.cells[column] = f64::NAN;
            if self.timestamp == Some(column) {
                self.timestamp_ms = None;
            }
        }
    }

    #[inline]
    fn scalar<E: Error>(&mut self, node: &Node, scalar: Scalar<'_>) -> Result<(), E> {
        let misfit = match node.column.map(|(column, kind)| (column, cell(kind, scalar, self.texts))) {
            Some((column, Ok(Cell::Value(value)))) => {
                self.cells[column] = value;
                return Ok(());
            }
            Some((column, Ok(Cell::Time(milliseconds)))) => {
                self.cells[column] = milliseconds as f64;
                if self.timestamp == Some(column) {
                    self.timestamp_ms = Some(milliseconds);
                }
                return Ok(());
            }
            Some((_, Err(misfit))) => misfit,
            None => node.misfit(),
        };
        self.misplaced = Some(Misplaced::Scalar(misfit.fault(&node.path, scalar)));
        Err(E::custom("misplaced scalar"))
    }

    #[cold]
    fn container<E: Error>(&mut self, node: &Node) -> E {
        self.misplaced = Some(Misplaced::Container(node.misfit()));
        E::custom("misplaced container")
    }
}

/// Reads an object whose fields are the children of `node`.
struct Object<'a, 'row> {
    node: &'a Node,
    fill: &'row mut Fill<'a>,
}

impl<'de> DeserializeSeed<'de> for Object<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut likely = 0;
        while let Some(found) = map.next_key_seed(Key { node: self.node, likely })? {
            let Some(index) = found else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            likely = index + 1;
            let node = &self.node.children[index].1;
            self.fill.field = Some(node);
            map.next_value_seed(Field { node, fill: self.fill })?;
            self.fill.field = None;
        }
        Ok(())
    }
}

/// Reads a key and finds its child.
struct Key<'a> {
    node: &'a Node,
    likely: usize,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    #[inline]
    fn visit_str<E: Error>(self, key: &str) -> Result<Option<usize>, E> {
        Ok(self.node.child(key, self.likely))
    }
}

/// Reads the value of a field.
struct Field<'a, 'row> {
    node: &'a Node,
    fill: &'row mut Fill<'a>,
}

impl<'de> DeserializeSeed<'de> for Field<'_, '_> {
    type Value = ();

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Field<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.fill.clear(self.node);
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.fill.scalar(self.node, Scalar::Boolean(value))
    }

    #[inline]
    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.fill.scalar(self.node, Scalar::Unsigned(value))
    }

    #[inline]
    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.fill.scalar(self.node, Scalar::Signed(value))
    }

    #[inline]
    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.fill.scalar(self.node, Scalar::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.fill.scalar(self.node, Scalar::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(self.fill.container(self.node))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        if self.node.children.is_empty() {
            return Err(self.fill.container(self.node));
        }
        self.fill.clear(self.node);
        Object { node: self.node, fill: self.fill }.visit_map(map)
    }
}
