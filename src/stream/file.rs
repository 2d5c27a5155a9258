//! Events from a file, for a backtest: `.csv`, `.jsonl`, `.ndjson` or `.json` with an object a line, each also with `.gz`.
//!
//! Owns what a table needs beyond the codec: the header, cells that stand for a missing value, and labels. A label says whether an
//! event was an anomaly; it is kept beside the events and never becomes one of their columns.
//!
//! Rows count from 0, the first one behind the header; empty lines are not rows. A row that can't be decoded is a dead letter, like
//! a record of a topic. A file whose structure is broken is an error, with the line.
//!
//! In a CSV an empty cell, `NA`, `NaN` and `null` (in any case) are missing; a boolean may also be 0 or 1, since a table has no types.

mod infer;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use csv::ByteRecord;
use flate2::read::MultiGzDecoder;

use crate::codec::cell::{Cell, Scalar, cell};
use crate::codec::json::{JsonDecoder, Limits};
use crate::codec::{Decode, Decoded, Fault};
use crate::features::{Column, Kind, Rows, Schema};
use crate::record::{Dead, Head, Offset, Partition, Reason, Run};

pub use infer::infer_schema;

/// The partition that a file's events are in.
const PARTITION: Partition = Partition(0);

/// Why a file can't be read. None of these goes away by trying again.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system, or a broken `.gz`.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was said.
        source: io::Error,
    },
    /// A name that tells no known format.
    #[error("{path}: unknown format, expected a name ending in .csv, .jsonl, .ndjson or .json, each also with .gz")]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// A first line that names no columns.
    #[error("{path}, line 1: {detail}; the first line must name the columns")]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// A line with more or fewer cells than the header.
    #[error("{path}, line {line}: {found} cells, but the header names {expected}")]
    Ragged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// Cells in it.
        found: u64,
        /// Columns of the header.
        expected: u64,
    },
    /// A column that was asked for and is not in the header.
    #[error("{path}: no column `{column}`; the header has {header}")]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// The name asked for.
        column: String,
        /// The names there are.
        header: String,
    },
    /// A label that would be taught to the model.
    #[error("column `{label}` is the label and can't be one of the model's columns too; take it out of the columns")]
    LabelIsColumn {
        /// The label's name.
        label: String,
    },
    /// A label that is neither yes nor no.
    #[error("{path}, row {row}: label `{label}` is {found:?}, expected 0, 1, true, false or nothing")]
    Label {
        /// The file.
        path: PathBuf,
        /// The row, from 0.
        row: i64,
        /// The label's name.
        label: String,
        /// What stands there.
        found: String,
    },
    /// A file without anything to learn from.
    #[error("{path}: no columns beside the label; expected at least one field in the first rows")]
    NoColumns {
        /// The file.
        path: PathBuf,
    },
}

/// Events of a file with their labels.
#[derive(Clone, Debug)]
pub struct Labelled {
    /// The events; offsets are row numbers.
    pub run: Run,
    /// One an event: whether it is an anomaly, where that is known.
    pub labels: Vec<Option<bool>>,
}

/// A file of events, read in runs.
pub struct FileEvents {
    path: PathBuf,
    width: usize,
    categories: Vec<usize>,
    label: Option<String>,
    source: Source,
    row: i64,
}

impl fmt::Debug for FileEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileEvents").field("path", &self.path).field("row", &self.row).finish_non_exhaustive()
    }
}

impl FileEvents {
    /// Opens a file whose events have the columns of `schema`. `label` is the column, or the dotted path, that holds labels.
    pub fn open(path: &Path, schema: &Schema, label: Option<&str>) -> Result<Self, FileError> {
        if let Some(label) = label.filter(|label| schema.columns().iter().any(|column| dotted(&column.path) == *label)) {
            return Err(FileError::LabelIsColumn { label: label.into() });
        }
        let (format, reader) = open(path)?;
        let source = match format {
            Format::Csv => Source::Csv(Table::new(path, reader, schema, label)?),
            Format::JsonLines => Source::JsonLines(Lines::new(reader, schema, label)),
        };
        Ok(Self {
            path: path.into(),
            width: schema.width(),
            categories: schema.categories(),
            label: label.map(Into::into),
            source,
            row: 0,
        })
    }

    /// The next rows, `max_rows` at most; `None` at the end of the file.
    pub fn next_run(&mut self, max_rows: usize) -> Result<Option<Labelled>, FileError> {
        let mut labelled = Labelled { run: Run::new(PARTITION, Offset(self.row), self.width), labels: Vec::new() };
        while labelled.run.len() < max_rows && self.source.advance(&self.path)? {
            self.take(&mut labelled)?;
        }
        Ok((!labelled.run.is_empty()).then_some(labelled))
    }

    /// Decodes the row at which the source stands.
    fn take(&mut self, labelled: &mut Labelled) -> Result<(), FileError> {
        let run = &mut labelled.run;
        let (row, mut head) = (self.row, Head { offset: Offset(self.row), timestamp_ms: None, key: None });
        self.row += 1;
        run.next = Offset(self.row);
        run.bytes += self.source.row_bytes();
        let mut found = String::new();
        match self.source.decode(&mut run.rows, &self.categories, &mut found) {
            Ok(decoded) => {
                head.timestamp_ms = decoded.timestamp_ms;
                run.heads.push(head);
                labelled.labels.push(self.label(row, &found)?);
            }
            Err(Fault { reason, detail }) => {
                let payload = self.source.payload();
                let (payload_bytes, detail) = (payload.len(), format!("row {row}: {detail}"));
                run.dead.push(Dead { head, payload, payload_bytes, reason, detail });
            }
        }
        Ok(())
    }

    fn label(&self, row: i64, found: &str) -> Result<Option<bool>, FileError> {
        let Some(label) = self.label.as_ref().filter(|_| !is_missing(found)) else { return Ok(None) };
        boolean(found).map(Some).ok_or_else(|| FileError::Label {
            path: self.path.clone(),
            row,
            label: label.clone(),
            found: found.into(),
        })
    }
}

/// A file's row after row.
enum Source {
    Csv(Table),
    JsonLines(Lines),
}

impl Source {
    /// Goes to the next row; `false` at the end.
    fn advance(&mut self, path: &Path) -> Result<bool, FileError> {
        match self {
            Self::Csv(table) => table.reader.read_byte_record(&mut table.record).map_err(|error| csv_error(path, error)),
            Self::JsonLines(lines) => lines.advance().map_err(|source| FileError::Io { path: path.into(), source }),
        }
    }

    /// Bytes of the row.
    fn row_bytes(&self) -> usize {
        match self {
            Self::Csv(table) => table.record.as_slice().len() + table.record.len().saturating_sub(1),
            Self::JsonLines(lines) => lines.line.len(),
        }
    }

    /// Appends the row to `rows`, and to `label` the text of its label.
    fn decode(&mut self, rows: &mut Rows, categories: &[usize], label: &mut String) -> Result<Decoded, Fault> {
        match self {
            Self::Csv(table) => table.decode(rows, label),
            Self::JsonLines(lines) => lines.decode(rows, categories, label),
        }
    }

    /// The row's bytes, for a dead letter; the cells of a table are joined by commas.
    fn payload(&self) -> Vec<u8> {
        match self {
            Self::Csv(table) => table.record.iter().collect::<Vec<_>>().join(&b','),
            Self::JsonLines(lines) => lines.line.clone(),
        }
    }
}

/// A CSV.
struct Table {
    reader: csv::Reader<Box<dyn Read + Send>>,
    record: ByteRecord,
    /// The schema's columns and their places in a line.
    columns: Vec<(Column, usize)>,
    label: Option<usize>,
    timestamp: Option<usize>,
}

impl Table {
    fn new(path: &Path, reader: Box<dyn Read + Send>, schema: &Schema, label: Option<&str>) -> Result<Self, FileError> {
        let mut reader = csv_reader(reader);
        let header = header(path, &mut reader)?;
        let place = |column: &str| {
            header.iter().position(|name| name == column).ok_or_else(|| FileError::NoColumn {
                path: path.into(),
                column: column.into(),
                header: header.join(", "),
            })
        };
        let columns = schema.columns().iter().map(|column| Ok((column.clone(), place(&dotted(&column.path))?)));
        let columns = columns.collect::<Result<_, FileError>>()?;
        let label = label.map(place).transpose()?;
        Ok(Self { reader, record: ByteRecord::new(), columns, label, timestamp: schema.timestamp() })
    }

    fn decode(&self, rows: &mut Rows, label: &mut String) -> Result<Decoded, Fault> {
        let (cells, texts) = rows.push_missing();
        let mut decoded = Decoded::default();
        let mut fill = || -> Result<(), Fault> {
            for (index, (column, place)) in self.columns.iter().enumerate() {
                let text = utf8(&self.record[*place], &column.name)?;
                if is_missing(text) {
                    continue;
                }
                let scalar = scalar(column.kind, text);
                match cell(column.kind, scalar, texts).map_err(|misfit| misfit.fault(&column.name, Scalar::Text(text)))? {
                    Cell::Value(value) => cells[index] = value,
                    Cell::Time(milliseconds) => {
                        cells[index] = milliseconds as f64;
                        if self.timestamp == Some(index) {
                            decoded.timestamp_ms = Some(milliseconds);
                        }
                    }
                }
            }
            label.push_str(self.label.map_or(Ok(""), |place| utf8(&self.record[place], "label"))?);
            Ok(())
        };
        match fill() {
            Ok(()) => Ok(decoded),
            Err(fault) => {
                rows.pop();
                Err(fault)
            }
        }
    }
}

/// What a cell's text is to a column of `kind`.
fn scalar(kind: Kind, text: &str) -> Scalar<'_> {
    let float = || text.parse().map_or(Scalar::Text(text), Scalar::Float);
    match kind {
        Kind::Number | Kind::Count => float(),
        Kind::Boolean => boolean(text).map_or(Scalar::Text(text), Scalar::Boolean),
        Kind::Timestamp => text.parse().map_or_else(|_| float(), Scalar::Signed),
        Kind::Category { .. } => Scalar::Text(text),
    }
}

fn utf8<'a>(bytes: &'a [u8], name: &str) -> Result<&'a str, Fault> {
    std::str::from_utf8(bytes).map_err(|_| Fault {
        reason: Reason::InvalidUtf8,
        detail: format!("field `{name}`: found \"{}\", expected UTF-8", bytes.escape_ascii()),
    })
}

/// JSON objects, one a line.
struct Lines {
    reader: BufReader<Box<dyn Read + Send>>,
    line: Vec<u8>,
    /// Decodes the schema's columns and, behind them, the label as a text.
    decoder: JsonDecoder,
    wide: Option<Rows>,
}

impl Lines {
    fn new(reader: Box<dyn Read + Send>, schema: &Schema, label: Option<&str>) -> Self {
        let mut columns = schema.columns().to_vec();
        columns.extend(label.map(|label| Column {
            name: label.into(),
            path: label.split('.').map(Into::into).collect(),
            kind: Kind::Category { capacity: 2 },
        }));
        let wide = label.map(|_| Rows::new(columns.len()));
        let decoder = JsonDecoder::new(&Schema::new(columns), Limits::default());
        Self { reader: BufReader::new(reader), line: Vec::new(), decoder, wide }
    }

    fn advance(&mut self) -> io::Result<bool> {
        read_line(&mut self.reader, &mut self.line)
    }

    fn decode(&mut self, rows: &mut Rows, categories: &[usize], label: &mut String) -> Result<Decoded, Fault> {
        let Some(wide) = &mut self.wide else { return self.decoder.decode(&self.line, rows) };
        wide.clear();
        let decoded = self.decoder.decode(&self.line, wide)?;
        let row = wide.view();
        let (last, cells) = row.row(0).split_last().expect("the label is a column of the wide row");
        label.push_str(row.text(*last).unwrap_or_default());
        let (narrow, texts) = rows.push_missing();
        narrow.copy_from_slice(cells);
        for &column in categories {
            if let Some(text) = row.text(cells[column]) {
                narrow[column] = texts.push(text) as f64;
            }
        }
        Ok(decoded)
    }
}

/// Reads the next line that is not blank into `line`, without its end; `false` at the end of the file.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        line.clear();
        if reader.read_until(b'\n', line)? == 0 {
            return Ok(false);
        }
        line.truncate(line.trim_ascii_end().len());
        if !line.is_empty() {
            return Ok(true);
        }
    }
}

#[derive(Clone, Copy)]
enum Format {
    Csv,
    JsonLines,
}

/// Opens a file and tells its format by its name.
fn open(path: &Path) -> Result<(Format, Box<dyn Read + Send>), FileError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let (stem, zipped) = name.strip_suffix(".gz").map_or((&*name, false), |stem| (stem, true));
    let format = match stem.rsplit_once('.').map(|(_, extension)| extension) {
        Some("csv") => Format::Csv,
        Some("jsonl" | "ndjson" | "json") => Format::JsonLines,
        _ => return Err(FileError::Format { path: path.into() }),
    };
    let file = BufReader::new(File::open(path).map_err(|source| FileError::Io { path: path.into(), source })?);
    Ok((format, if zipped { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) }))
}

fn csv_reader(reader: Box<dyn Read + Send>) -> csv::Reader<Box<dyn Read + Send>> {
    csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(reader)
}

fn csv_error(path: &Path, error: csv::Error) -> FileError {
    match error.into_kind() {
        csv::ErrorKind::Io(source) => FileError::Io { path: path.into(), source },
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let line = skip_blank(path, pos.map_or(1, |position| position.line()));
            FileError::Ragged { path: path.into(), line, found: len, expected: expected_len }
        }
        other => {
            let source = io::Error::new(io::ErrorKind::InvalidData, format!("{other:?}"));
            FileError::Io { path: path.into(), source }
        }
    }
}

/// The first line from `line` on that is not empty: the reader gives a record's position before it has skipped empty lines.
fn skip_blank(path: &Path, line: u64) -> u64 {
    let Ok((_, reader)) = open(path) else { return line };
    let lines = BufReader::new(reader).split(b'\n').skip(line.saturating_sub(1) as usize);
    line + lines.take_while(|text| text.as_ref().is_ok_and(|text| text.is_empty() || text == b"\r")).count() as u64
}

/// The names in the first line.
fn header(path: &Path, reader: &mut csv::Reader<Box<dyn Read + Send>>) -> Result<Vec<String>, FileError> {
    let refuse = |detail: String| Err(FileError::Header { path: path.into(), detail });
    let record = reader.byte_headers().map_err(|error| csv_error(path, error))?;
    let names: Vec<String> = record.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    if names.is_empty() {
        return refuse("the file is empty".into());
    }
    if names.iter().all(|name| name.parse::<f64>().is_ok()) {
        return refuse(format!("`{}` looks like data", names.join(",")));
    }
    if let Some(place) = names.iter().position(String::is_empty) {
        return refuse(format!("column {} has no name", place + 1));
    }
    if let Some(twice) = (1..names.len()).find(|place| names[..*place].contains(&names[*place])) {
        return refuse(format!("two columns are named `{}`", names[twice]));
    }
    Ok(names)
}

/// A path as people write it.
fn dotted(path: &[String]) -> String {
    path.join(".")
}

fn is_missing(text: &str) -> bool {
    text.is_empty() || ["na", "nan", "null"].iter().any(|name| text.eq_ignore_ascii_case(name))
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "1.0" => Some(true),
        "0" | "0.0" => Some(false),
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}
