//! `[[columns]]`: the fields of an event that the model looks at.

use serde::Deserialize;

use super::error::{Fault, Source};
use super::values::{self, OneOrMore};
use crate::features::{Column, DEFAULT_CAPACITY, Kind, MAX_COLUMNS, Schema};

/// One `[[columns]]` table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct ColumnTable {
    /// Unique name, by which people know the column.
    #[serde(deserialize_with = "values::filled")]
    name: String,
    /// Where the field stands in the event; dots nest, an array gives the keys one by one. Default: the name.
    path: Option<OneOrMore>,
    /// What the values are.
    kind: KindName,
    /// Values of a category told apart; those seen later share one place. Default: 1024.
    #[serde(default, deserialize_with = "capacity")]
    capacity: Option<usize>,
}

fn capacity<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    values::whole::<_, 1, 1_000_000>(deserializer).map(Some)
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KindName {
    Number,
    Category,
    Count,
    Boolean,
    Timestamp,
}

impl ColumnTable {
    fn kind(&self) -> Kind {
        match self.kind {
            KindName::Number => Kind::Number,
            KindName::Category => Kind::Category { capacity: self.capacity.unwrap_or(DEFAULT_CAPACITY) },
            KindName::Count => Kind::Count,
            KindName::Boolean => Kind::Boolean,
            KindName::Timestamp => Kind::Timestamp,
        }
    }

    /// Keys from the outermost object inwards.
    fn path(&self) -> Vec<String> {
        let nested = |text: &str| text.split('.').map(str::to_owned).collect();
        match &self.path {
            None => nested(&self.name),
            Some(OneOrMore::One(text)) => nested(text),
            Some(OneOrMore::More(keys)) => keys.clone(),
        }
    }
}

/// The schema of `tables`, if they make one.
pub(super) fn schema(tables: Vec<ColumnTable>, source: &Source<'_>) -> Result<Schema, Fault> {
    if tables.len() > MAX_COLUMNS {
        let message = format!("{} columns, expected at most {MAX_COLUMNS}", tables.len());
        let span = source.span(&["columns", &MAX_COLUMNS.to_string(), "name"]);
        return Err(Fault::new(span, message, "leave out fields that say little, or model parts of the event apart"));
    }
    let mut columns: Vec<Column> = Vec::with_capacity(tables.len());
    for (index, table) in tables.iter().enumerate() {
        let fault = |key, message, help: &str| {
            let index = index.to_string();
            let span = source.span(&["columns", &index, key]).or_else(|| source.span(&["columns", &index, "name"]));
            Err(Fault::new(span, message, help))
        };
        let column = Column { name: table.name.clone(), path: table.path(), kind: table.kind() };
        let dotted = column.path.join(".");
        if table.capacity.is_some() && table.kind != KindName::Category {
            let message = format!("`capacity` of a column of kind \"{}\"", column.kind.name());
            return fault("capacity", message, "only a category has a capacity: remove the key, or set kind = \"category\"");
        }
        if columns.iter().any(|other| other.name == column.name) {
            return fault("name", format!("a second column named {:?}", column.name), "give each column a name of its own");
        }
        if column.path.is_empty() || column.path.iter().any(String::is_empty) {
            let help = "write keys separated by single dots, like \"request.latency_ms\", or an array of keys";
            return fault("path", format!("the path {dotted:?} has an empty key"), help);
        }
        if let Some(other) = columns.iter().find(|other| overlap(&other.path, &column.path)) {
            let message = format!("the path {dotted:?} overlaps {:?} of column {:?}", other.path.join("."), other.name);
            return fault("path", message, "a field belongs to one column, and can't be both a value and an object of others");
        }
        if column.kind == Kind::Timestamp && columns.iter().any(|other| other.kind == Kind::Timestamp) {
            return fault("kind", "a second column of kind \"timestamp\"".into(), "an event has one time: choose another kind");
        }
        columns.push(column);
    }
    if columns.iter().all(|column| column.kind == Kind::Timestamp) {
        let help = "add a table: [[columns]], below it name = \"latency_ms\" and kind = \"number\"";
        return Err(Fault::new(None, "no column to model", help));
    }
    Ok(Schema::new(columns))
}

/// Whether one path is the other's beginning.
fn overlap(left: &[String], right: &[String]) -> bool {
    left.starts_with(right) || right.starts_with(left)
}
