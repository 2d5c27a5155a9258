//! The columns that a likelihood reads, as tensors with events along the last dimension.

use std::ops::{Index, Range};

use candle_core::{Result, Tensor};

use super::joint::Joint;
use super::observations::{Observations, Widths};
use super::{LogJoint, MeanFieldError};
use crate::features::{Design, Kind, RowsView, Schema};

/// Some events, column by column. `events["load"]` is the tensor `[1, events]` of that column's numbers: a number or count for
/// itself, a boolean as 0 or 1, 0 where missing. A category is `[buckets, events]` ([`crate::features::Design`]).
#[derive(Clone, Debug)]
pub struct Events {
    len: usize,
    columns: Vec<(String, Tensor, Tensor)>,
}

impl Index<&str> for Events {
    type Output = Tensor;

    fn index(&self, name: &str) -> &Tensor {
        &self.column(name).1
    }
}

impl Events {
    fn column(&self, name: &str) -> &(String, Tensor, Tensor) {
        let found = self.columns.iter().find(|(known, ..)| known == name);
        found.unwrap_or_else(|| panic!("no column is named {name:?} in `LogJoint::columns`"))
    }

    /// Columns over one another: `[columns, events]`.
    pub fn stack(&self, names: &[&str]) -> Result<Tensor> {
        Tensor::cat(&names.iter().map(|name| &self[*name]).collect::<Vec<_>>(), 0)
    }

    /// 1 where the column has a value and 0 where it is missing: `[1, events]`.
    pub fn present(&self, name: &str) -> &Tensor {
        &self.column(name).2
    }

    /// How many events.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Where the columns stand in a row.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Source>,
    takes_missing: bool,
}

#[derive(Clone, Debug)]
struct Source {
    name: String,
    cell: usize,
    /// Of a category.
    design: Option<Design>,
}

impl Source {
    /// Numbers that an event has in this column.
    fn width(&self) -> usize {
        self.design.as_ref().map_or(1, Design::width)
    }
}

impl Table {
    /// The columns of `schema` that `joint` reads.
    pub fn new(schema: &Schema, joint: &impl LogJoint) -> std::result::Result<Self, MeanFieldError> {
        let source = |name: &str| {
            let fault = |found: String| MeanFieldError::Column { model: joint.name(), column: name.into(), found };
            let known = || schema.columns().iter().map(|column| format!("{:?}", column.name)).collect::<Vec<_>>().join(", ");
            let cell = schema.columns().iter().position(|column| column.name == name);
            let cell = cell.ok_or_else(|| fault(format!("the columns are {}", known())))?;
            let design = match schema.columns()[cell].kind {
                Kind::Timestamp => return Err(fault("that is a timestamp".into())),
                Kind::Category { .. } => Some(Design::new(schema, [cell])),
                Kind::Number | Kind::Count | Kind::Boolean => None,
            };
            Ok(Source { name: name.into(), cell, design })
        };
        let columns = joint.columns().into_iter().map(source).collect::<std::result::Result<_, _>>()?;
        Ok(Self { columns, takes_missing: joint.takes_missing() })
    }

    /// Cells of the columns.
    pub fn cells(&self) -> impl Iterator<Item = usize> {
        self.columns.iter().map(|column| column.cell)
    }

    /// Columns, and numbers in them.
    pub fn widths(&self) -> Widths {
        Widths { numbers: self.columns.iter().map(Source::width).sum(), columns: self.columns.len() }
    }

    /// Whether the likelihood has a word on a row.
    pub fn is_usable(&self, row: &[f64]) -> bool {
        self.takes_missing || self.cells().all(|cell| !row[cell].is_nan())
    }

    /// Indices of the rows that the likelihood has a word on, and these rows, each to count `weight` times.
    pub fn observations(&self, rows: RowsView<'_>, weight: impl Fn(usize) -> f64) -> (Vec<usize>, Observations) {
        let events: Vec<usize> = (0..rows.len()).filter(|event| self.is_usable(rows.row(*event))).collect();
        let mut observations = Observations::new(self.widths());
        for &event in &events {
            for source in &self.columns {
                let cell = rows.row(event)[source.cell];
                match &source.design {
                    Some(design) => design.extend(rows.slice(event..event + 1), &mut observations.numbers),
                    None => observations.numbers.push(if cell.is_nan() { 0.0 } else { cell }),
                }
                observations.present.push(if cell.is_nan() { 0.0 } else { 1.0 });
            }
            observations.weights.push(weight(event));
        }
        (events, observations)
    }

    /// The observations at `range` as tensors, with the last one repeated until there are `padded`.
    pub fn events<L: LogJoint>(
        &self,
        observations: &Observations,
        range: Range<usize>,
        padded: usize,
        joint: &Joint<L>,
    ) -> Result<Events> {
        let Widths { numbers, columns } = self.widths();
        let rows = || (range.start..range.start + padded).map(|row| row.min(range.end - 1));
        let mut start = 0;
        let column = |(index, source): (usize, &Source)| {
            let own = start..start + source.width();
            start = own.end;
            let values = own.flat_map(|number| rows().map(move |row| observations.numbers[row * numbers + number]));
            let present = rows().map(|row| observations.present[row * columns + index]);
            let tensors = (joint.tensor(values.collect(), padded)?, joint.tensor(present.collect(), padded)?);
            Ok((source.name.clone(), tensors.0, tensors.1))
        };
        Ok(Events { len: padded, columns: self.columns.iter().enumerate().map(column).collect::<Result<_>>()? })
    }
}
