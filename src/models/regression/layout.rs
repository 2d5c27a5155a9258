//! Where a regression finds its target and inputs, how they are measured, and where its arithmetic is done.

use candle_core::Device;
use xxhash_rust::xxh3::xxh3_64;

use super::units::Measure;
use super::{RegressionConfig, RegressionError};
use crate::features::{Column, Design, Kind, Schema, Task};
use crate::models::Standard;

/// The greatest `prior_scale`: above it, rounding is more than the prior.
const GREATEST_SCALE: f64 = 1000.0;

/// The greatest `inner_steps`.
const GREATEST_STEPS: usize = 100;

/// Where a regression finds its target and inputs, how they are measured, and where its arithmetic is done.
#[derive(Clone, Debug)]
pub struct Layout {
    pub(super) schema: Schema,
    pub(super) task: Task,
    pub(super) design: Design,
    /// Of each of the design's numbers.
    pub(super) measures: Vec<Measure>,
    /// Units of the target, if they are fixed.
    pub(super) target: Option<Standard>,
    /// Where products are taken, if not by the processor's own code.
    pub(super) device: Option<Device>,
}

impl Layout {
    /// The layout of a regression of `task` whose target is of the kind named `expected`.
    pub(super) fn new(
        schema: &Schema,
        task: &Task,
        expected: &'static str,
        config: &RegressionConfig,
    ) -> Result<Self, RegressionError> {
        let value = config.prior_scale;
        if !(value > 0.0 && value <= GREATEST_SCALE) {
            return Err(RegressionError::OutOfRange { field: "prior_scale", value, expected: "above 0, at most 1000" });
        }
        if !(1..=GREATEST_STEPS).contains(&config.inner_steps) {
            let value = config.inner_steps as f64;
            return Err(RegressionError::OutOfRange { field: "inner_steps", value, expected: "from 1 to 100" });
        }
        let column = |cell: usize| &schema.columns()[cell];
        let target = column(task.target);
        if target.kind.name() != expected {
            return Err(RegressionError::WrongTarget { column: target.name.clone(), found: target.kind.name(), expected });
        }
        let design = Design::new(schema, task.inputs.iter().copied());
        if design.width() == 0 || task.inputs.contains(&task.target) {
            return Err(RegressionError::NoInput { target: target.name.clone() });
        }
        for (name, standard) in &config.standards {
            let numbers = task.inputs.iter().chain([&task.target]).map(|cell| column(*cell));
            let is_named = |column: &Column| column.name == *name && column.kind == Kind::Number;
            if !numbers.into_iter().any(is_named) {
                return Err(RegressionError::NoNumber { column: name.clone() });
            }
            if !standard.is_right() {
                let Standard { location, scale } = *standard;
                return Err(RegressionError::BadStandard { column: name.clone(), location, scale });
            }
        }
        let mut measures = Vec::with_capacity(design.width());
        for &cell in &task.inputs {
            let measure = match (column(cell).kind, config.standards.get(&column(cell).name)) {
                (_, Some(standard)) => Measure::Fixed(*standard),
                (Kind::Number | Kind::Count, None) => Measure::Learnt,
                (Kind::Boolean | Kind::Category { .. } | Kind::Timestamp, None) => Measure::Unit,
            };
            measures.resize(measures.len() + Design::new(schema, [cell]).width(), measure);
        }
        let target = config.standards.get(&target.name).copied();
        Ok(Self { schema: schema.clone(), task: task.clone(), design, measures, target, device: None })
    }

    /// Numbers in a row of inputs.
    pub(super) fn inputs(&self) -> usize {
        self.measures.len()
    }

    /// What evidence depends on.
    pub(super) fn fingerprint(&self, kind: &str) -> u64 {
        let mut text = format!("{kind} 1\n");
        for cell in [&self.task.target].into_iter().chain(&self.task.inputs) {
            let Column { name, path, kind } = &self.schema.columns()[*cell];
            let capacity = if let Kind::Category { capacity } = kind { *capacity } else { 0 };
            text += &format!("{name:?} {path:?} {} {capacity}\n", kind.name());
        }
        xxh3_64(text.as_bytes())
    }
}
