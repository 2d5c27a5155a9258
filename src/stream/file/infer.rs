//! Columns guessed from a file's first rows, where no configuration names them.

use std::io::BufReader;
use std::path::Path;

use serde_json::Value;

use super::{FileError, Format, csv_error, csv_reader, dotted, header, is_missing, open, read_line};
use crate::codec::timestamp;
use crate::features::{Column, DEFAULT_CAPACITY, Kind, Schema};

/// Columns of a file, by its first `sample_rows` rows; `label` is left out.
///
/// A column is a number if all values that are present are numbers, a boolean if all are true or false, a timestamp if all are dates
/// or times as text, and a category otherwise. Whole numbers stay numbers, however few and small: they may be codes, grades
/// or measurements that were rounded, for which the model of counts is wrong, so a count is only ever configured. A
/// column without any value yet is a category, which takes whatever comes. Nested objects give a column a field; arrays none.
pub fn infer_schema(path: &Path, label: Option<&str>, sample_rows: usize) -> Result<Schema, FileError> {
    let (format, reader) = open(path)?;
    let mut sample = Sample::default();
    match format {
        Format::Csv => {
            let mut reader = csv_reader(reader);
            let names = header(path, &mut reader)?;
            sample.columns = names.into_iter().map(|name| (vec![name], Seen::default())).collect();
            for record in reader.byte_records().take(sample_rows) {
                let record = record.map_err(|error| csv_error(path, error))?;
                for ((_, seen), cell) in sample.columns.iter_mut().zip(&record) {
                    seen.text(&String::from_utf8_lossy(cell));
                }
            }
        }
        Format::JsonLines => {
            let (mut reader, mut line) = (BufReader::new(reader), Vec::new());
            for _ in 0..sample_rows {
                if !read_line(&mut reader, &mut line).map_err(|source| FileError::Io { path: path.into(), source })? {
                    break;
                }
                // What is no JSON will be a dead letter; it says nothing about columns.
                if let Ok(Value::Object(fields)) = serde_json::from_slice(&line) {
                    fields.iter().for_each(|(key, value)| sample.walk(&mut vec![key.clone()], value));
                }
            }
        }
    }
    let mut columns: Vec<Column> = Vec::new();
    for (path, seen) in sample.columns {
        let name = dotted(&path);
        // `{"a.b": …}` and `{"a": {"b": …}}` in one file would share a name: the first keeps it.
        if Some(&*name) != label && columns.iter().all(|column| column.name != name) {
            columns.push(Column { name, path, kind: seen.kind() });
        }
    }
    if columns.iter().all(|column| column.kind == Kind::Timestamp) {
        return Err(FileError::NoColumns { path: path.into() });
    }
    Ok(Schema::new(columns))
}

/// Columns in the order in which they were first seen.
#[derive(Default)]
struct Sample {
    columns: Vec<(Vec<String>, Seen)>,
}

impl Sample {
    fn walk(&mut self, path: &mut Vec<String>, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    path.push(key.clone());
                    self.walk(path, value);
                    path.pop();
                }
            }
            Value::Array(_) => {}
            _ => {
                let known = self.columns.iter().position(|(known, _)| known == path);
                let index = known.unwrap_or_else(|| {
                    self.columns.push((path.clone(), Seen::default()));
                    self.columns.len() - 1
                });
                self.columns[index].1.value(value);
            }
        }
    }
}

/// How many of a column's values can be read as what.
#[derive(Default)]
struct Seen {
    present: usize,
    numbers: usize,
    booleans: usize,
    times: usize,
}

impl Seen {
    /// A cell of a table, where everything is text.
    fn text(&mut self, text: &str) {
        if !is_missing(text) {
            self.present += 1;
            self.numbers += usize::from(text.parse::<f64>().is_ok());
            self.booleans += usize::from(["true", "false"].iter().any(|name| text.eq_ignore_ascii_case(name)));
            self.times += usize::from(timestamp::from_text(text).is_some());
        }
    }

    /// A scalar of a JSON object.
    fn value(&mut self, value: &Value) {
        self.present += usize::from(!value.is_null());
        self.numbers += usize::from(value.is_number());
        self.booleans += usize::from(value.is_boolean());
        self.times += usize::from(value.as_str().is_some_and(|text| timestamp::from_text(text).is_some()));
    }

    fn kind(&self) -> Kind {
        match self.present {
            0 => Kind::Category { capacity: DEFAULT_CAPACITY },
            all if all == self.numbers => Kind::Number,
            all if all == self.booleans => Kind::Boolean,
            all if all == self.times => Kind::Timestamp,
            _ => Kind::Category { capacity: DEFAULT_CAPACITY },
        }
    }
}
