//! Typed columns: what a field of an event means, and events as rows of cells.
//!
//! A cell is an `f64`, whatever the column's kind, so that a batch is one dense array `[rows, columns]`:
//! numbers, counts and booleans stand for themselves, a category is an index into the rows' own table of texts, and NaN
//! says that the field was missing. What is known of a column (its spread, its vocabulary) is evidence and belongs to the model.

pub mod derive;
mod design;

use std::ops::Range;

pub use derive::Derivation;
pub use design::Design;

/// Values of a category told apart where nobody says how many.
pub const DEFAULT_CAPACITY: usize = 1024;

/// Columns of an event at most.
pub const MAX_COLUMNS: usize = 4096;

/// What a column's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A real number.
    Number,
    /// One of an open set of texts, of which at most `capacity` are told apart.
    Category {
        /// Values told apart; those seen later share one place.
        capacity: usize,
    },
    /// A whole number from zero up.
    Count,
    /// True or false.
    Boolean,
    /// When the event happened, in milliseconds since 1970 (UTC): evidence to models of time only.
    Timestamp,
}

impl Kind {
    /// The kind's name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Category { .. } => "category",
            Self::Count => "count",
            Self::Boolean => "boolean",
            Self::Timestamp => "timestamp",
        }
    }
}

/// A column: a field of the event and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Unique name, by which people know the column.
    pub name: String,
    /// The field's place in the event: keys from the outermost object inwards.
    pub path: Vec<String>,
    /// What its values are.
    pub kind: Kind,
}

/// The columns of an event, in the order of a row's cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    columns: Vec<Column>,
}

impl Schema {
    /// A schema of `columns`, which the configuration has checked: at least one is modelled, names and paths are unique.
    pub fn new(columns: Vec<Column>) -> Self {
        Self { columns }
    }

    /// The columns in cell order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Cells in a row.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// The category columns, whose cells point to texts.
    pub fn categories(&self) -> Vec<usize> {
        let columns = self.columns.iter().enumerate();
        columns.filter(|(_, column)| matches!(column.kind, Kind::Category { .. })).map(|(index, _)| index).collect()
    }

    /// The column that tells an event's time.
    pub fn timestamp(&self) -> Option<usize> {
        self.columns.iter().position(|column| column.kind == Kind::Timestamp)
    }
}

/// What is predicted from what: cells of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The cell to predict.
    pub target: usize,
    /// The cells to predict it from.
    pub inputs: Vec<usize>,
}

/// Texts one after another in one buffer, each known by its index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    bytes: String,
    ends: Vec<usize>,
}

impl Texts {
    /// Appends `text` and returns its index.
    pub fn push(&mut self, text: &str) -> usize {
        self.bytes.push_str(text);
        self.ends.push(self.bytes.len());
        self.ends.len() - 1
    }

    /// The text at `index`.
    pub fn get(&self, index: usize) -> &str {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

/// Events as cells `[rows, columns]`, row-major, with the texts that category cells point to. NaN is missing.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    width: usize,
    cells: Vec<f64>,
    texts: Texts,
}

impl Rows {
    /// No rows yet, each to be `width` cells wide.
    pub fn new(width: usize) -> Self {
        Self { width, cells: Vec::new(), texts: Texts::default() }
    }

    /// Rows of numbers, counts and booleans: `cells` is `[rows, width]`, row-major.
    ///
    /// # Panics
    /// If `cells` is not a whole number of rows.
    pub fn from_cells(width: usize, cells: Vec<f64>) -> Self {
        assert_eq!(cells.len() % width.max(1), 0, "cells must fill whole rows of {width}");
        Self { width, cells, texts: Texts::default() }
    }

    /// Appends a row of missing values and hands it out to be filled, with the texts that its category cells will point to.
    pub fn push_missing(&mut self) -> (&mut [f64], &mut Texts) {
        let start = self.cells.len();
        self.cells.resize(start + self.width, f64::NAN);
        (&mut self.cells[start..], &mut self.texts)
    }

    /// Takes the last row back. Its texts stay in the buffer, unused.
    pub fn pop(&mut self) {
        self.cells.truncate(self.cells.len().saturating_sub(self.width));
    }

    /// Appends copies of `rows`, whose category columns are `categories`.
    pub fn extend(&mut self, rows: RowsView<'_>, categories: &[usize]) {
        let start = self.cells.len();
        self.cells.extend_from_slice(rows.cells);
        for row in self.cells[start..].chunks_exact_mut(self.width) {
            for &column in categories {
                if !row[column].is_nan() {
                    row[column] = self.texts.push(rows.texts.get(row[column] as usize)) as f64;
                }
            }
        }
    }

    /// Removes all rows and keeps the memory.
    pub fn clear(&mut self) {
        self.cells.clear();
        self.texts.clear();
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.cells.len() / self.width.max(1)
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// All rows.
    pub fn view(&self) -> RowsView<'_> {
        RowsView { width: self.width, cells: &self.cells, texts: &self.texts }
    }
}

/// Some consecutive rows.
#[derive(Clone, Copy, Debug)]
pub struct RowsView<'a> {
    width: usize,
    cells: &'a [f64],
    texts: &'a Texts,
}

impl<'a> RowsView<'a> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.cells.len() / self.width.max(1)
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Cells in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The cells `[rows, columns]`, row-major.
    pub fn cells(&self) -> &'a [f64] {
        self.cells
    }

    /// The cells of row `index`.
    pub fn row(&self, index: usize) -> &'a [f64] {
        &self.cells[index * self.width..(index + 1) * self.width]
    }

    /// The same rows with other cells, `[rows, width]`, that point to the same texts.
    pub fn with_cells(&self, width: usize, cells: &'a [f64]) -> Self {
        Self { width, cells, texts: self.texts }
    }

    /// The text that a category cell points to; `None` where it is missing.
    pub fn text(&self, cell: f64) -> Option<&'a str> {
        (!cell.is_nan()).then(|| self.texts.get(cell as usize))
    }

    /// The rows in `range`.
    pub fn slice(&self, range: Range<usize>) -> RowsView<'a> {
        RowsView { width: self.width, cells: &self.cells[range.start * self.width..range.end * self.width], texts: self.texts }
    }
}
