//! Events as the numbers that a likelihood sees: what is scored and learnt, and what a site keeps of its first events.

use crate::checkpoint::{CheckpointError, Reader, Tensor};

/// How wide an observation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Widths {
    /// Numbers of all columns.
    pub numbers: usize,
    /// Columns.
    pub columns: usize,
}

/// Observations, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Observations {
    widths: Widths,
    /// `[observations, numbers]`; 0 where missing.
    pub numbers: Vec<f64>,
    /// `[observations, columns]`: 1 where there, 0 where missing.
    pub present: Vec<f64>,
    /// How many times each counts, `[observations]`.
    pub weights: Vec<f64>,
}

impl Observations {
    /// None.
    pub fn new(widths: Widths) -> Self {
        Self { widths, numbers: Vec::new(), present: Vec::new(), weights: Vec::new() }
    }

    /// One that never was, of ones.
    pub fn made_up(widths: Widths) -> Self {
        Self { widths, numbers: vec![1.0; widths.numbers], present: vec![1.0; widths.columns], weights: vec![1.0] }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.weights.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.weights.is_empty()
    }

    /// Appends others.
    pub fn extend(&mut self, others: &Self) {
        self.numbers.extend_from_slice(&others.numbers);
        self.present.extend_from_slice(&others.present);
        self.weights.extend_from_slice(&others.weights);
    }

    /// Observations from their tensors.
    pub fn restore(widths: Widths, reader: Reader<'_>) -> Result<Self, CheckpointError> {
        let count = reader.length("first.weights")?;
        Ok(Self {
            widths,
            numbers: reader.f64("first.numbers", &[count, widths.numbers])?.to_vec(),
            present: reader.at_least(0.0, "first.present", &[count, widths.columns])?.to_vec(),
            weights: reader.at_least(0.0, "first.weights", &[count])?.to_vec(),
        })
    }

    /// The observations as tensors.
    pub fn tensors(&self) -> [Tensor; 3] {
        let Widths { numbers, columns } = self.widths;
        [
            Tensor::f64("first.numbers", &[self.len(), numbers], self.numbers.clone()),
            Tensor::f64("first.present", &[self.len(), columns], self.present.clone()),
            Tensor::f64("first.weights", &[self.len()], self.weights.clone()),
        ]
    }
}
