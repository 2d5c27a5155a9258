//! State as named tensors: what a snapshot holds, readable without knowing the model.
//!
//! A model turns its evidence into tensors and back. Reading checks name, type and shape and refuses by name.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// Bytes of a model's evidence at most, texts aside: a snapshot of it must fit the memory of whoever reads it.
pub const MAX_EVIDENCE_BYTES: usize = 512 << 20;

/// A model whose evidence can grow larger than a snapshot may be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its evidence can take {bytes} bytes a partition, expected at most {MAX_EVIDENCE_BYTES}; choose {cure}")]
pub struct TooLarge {
    /// Bytes that it can take.
    pub bytes: usize,
    /// What makes it smaller.
    pub cure: &'static str,
}

impl TooLarge {
    /// Refuses evidence of more than [`MAX_EVIDENCE_BYTES`].
    pub(crate) fn check(numbers: usize, cure: &'static str) -> Result<(), Self> {
        let bytes = numbers.saturating_mul(size_of::<f64>());
        if bytes > MAX_EVIDENCE_BYTES { Err(Self { bytes, cure }) } else { Ok(()) }
    }
}

/// A dense array in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Dotted lower-case name, unique in its checkpoint.
    pub name: String,
    /// Length of each dimension.
    pub shape: Vec<usize>,
    /// The elements.
    pub data: Data,
}

/// The elements of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// 64-bit floats.
    F64(Vec<f64>),
    /// 64-bit signed integers.
    I64(Vec<i64>),
    /// Texts.
    Text(Vec<String>),
}

impl Data {
    /// The type's name.
    pub fn dtype(&self) -> &'static str {
        match self {
            Self::F64(_) => "f64",
            Self::I64(_) => "i64",
            Self::Text(_) => "text",
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::F64(data) => data.len(),
            Self::I64(data) => data.len(),
            Self::Text(data) => data.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Why a checkpoint doesn't fit.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CheckpointError {
    /// A tensor that the model needs is not there.
    #[error("tensor `{name}` is missing")]
    Missing {
        /// Its name.
        name: String,
    },
    /// A tensor of another type.
    #[error("tensor `{name}` holds {found}, expected {expected}")]
    WrongType {
        /// Its name.
        name: String,
        /// The type it has.
        found: &'static str,
        /// The type it should have.
        expected: &'static str,
    },
    /// A tensor of another shape.
    #[error("tensor `{name}` has shape {found:?}, expected {expected:?}")]
    WrongShape {
        /// Its name.
        name: String,
        /// The shape it has.
        found: Vec<usize>,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// Elements that cannot be.
    #[error("tensor `{name}`: {detail}")]
    BadValue {
        /// Its name.
        name: String,
        /// What is wrong with which element.
        detail: String,
    },
}

impl CheckpointError {
    /// The same of a tensor whose name begins with `prefix` besides.
    pub(crate) fn within(mut self, prefix: &str) -> Self {
        let (Self::Missing { name } | Self::WrongType { name, .. } | Self::WrongShape { name, .. } | Self::BadValue { name, .. }) =
            &mut self;
        name.insert_str(0, prefix);
        self
    }
}

impl Tensor {
    /// A tensor of floats. `data` must fill `shape`.
    pub fn f64(name: impl Into<String>, shape: &[usize], data: Vec<f64>) -> Self {
        Self::new(name, shape, Data::F64(data))
    }

    /// A tensor of integers. `data` must fill `shape`.
    pub fn i64(name: impl Into<String>, shape: &[usize], data: Vec<i64>) -> Self {
        Self::new(name, shape, Data::I64(data))
    }

    /// A list of texts.
    pub fn text(name: impl Into<String>, data: Vec<String>) -> Self {
        let shape = [data.len()];
        Self::new(name, &shape, Data::Text(data))
    }

    fn new(name: impl Into<String>, shape: &[usize], data: Data) -> Self {
        let name = name.into();
        assert_eq!(shape.iter().product::<usize>(), data.len(), "tensor `{name}`: data must fill {shape:?}");
        Self { name, shape: shape.to_vec(), data }
    }
}

/// Finds a checkpoint's tensors by name.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(pub &'a [Tensor]);

impl<'a> Reader<'a> {
    fn find(&self, name: &str) -> Result<&'a Tensor, CheckpointError> {
        self.0.iter().find(|tensor| tensor.name == name).ok_or_else(|| CheckpointError::Missing { name: name.into() })
    }

    fn wrong_type(tensor: &Tensor, expected: &'static str) -> CheckpointError {
        CheckpointError::WrongType { name: tensor.name.clone(), found: tensor.data.dtype(), expected }
    }

    fn check(tensor: &Tensor, expected: &[usize]) -> Result<(), CheckpointError> {
        if tensor.shape == expected {
            return Ok(());
        }
        Err(CheckpointError::WrongShape { name: tensor.name.clone(), found: tensor.shape.clone(), expected: expected.to_vec() })
    }

    /// The finite floats of the tensor `name`, whose shape must be `shape`.
    pub fn f64(&self, name: &str, shape: &[usize]) -> Result<&'a [f64], CheckpointError> {
        let tensor = self.find(name)?;
        let Data::F64(data) = &tensor.data else { return Err(Self::wrong_type(tensor, "f64")) };
        Self::check(tensor, shape)?;
        if let Some(at) = data.iter().position(|value| !value.is_finite()) {
            let detail = format!("element {at} is {}, expected a finite number", data[at]);
            return Err(CheckpointError::BadValue { name: name.into(), detail });
        }
        Ok(data)
    }

    /// As [`f64`](Self::f64), with no element below `least`.
    pub fn at_least(&self, least: f64, name: &str, shape: &[usize]) -> Result<&'a [f64], CheckpointError> {
        let data = self.f64(name, shape)?;
        match data.iter().position(|value| *value < least) {
            Some(at) => {
                let detail = format!("element {at} is {}, expected at least {least}", data[at]);
                Err(CheckpointError::BadValue { name: name.into(), detail })
            }
            None => Ok(data),
        }
    }

    /// The integers of the tensor `name`, whose shape must be `shape`, each within `range`.
    pub fn within(&self, range: RangeInclusive<i64>, name: &str, shape: &[usize]) -> Result<&'a [i64], CheckpointError> {
        let data = self.i64(name, shape)?;
        match data.iter().position(|value| !range.contains(value)) {
            Some(at) => {
                let detail = format!("element {at} is {}, expected {} to {}", data[at], range.start(), range.end());
                Err(CheckpointError::BadValue { name: name.into(), detail })
            }
            None => Ok(data),
        }
    }

    /// The integers of the tensor `name`, whose shape must be `shape`.
    pub fn i64(&self, name: &str, shape: &[usize]) -> Result<&'a [i64], CheckpointError> {
        let tensor = self.find(name)?;
        let Data::I64(data) = &tensor.data else { return Err(Self::wrong_type(tensor, "i64")) };
        Self::check(tensor, shape)?;
        Ok(data)
    }

    /// The texts of the list `name`, however many, each of them once.
    pub fn text(&self, name: &str) -> Result<&'a [String], CheckpointError> {
        let tensor = self.find(name)?;
        let Data::Text(data) = &tensor.data else { return Err(Self::wrong_type(tensor, "text")) };
        Self::check(tensor, &[data.len()])?;
        let mut known = BTreeSet::new();
        match data.iter().find(|text| !known.insert(*text)) {
            Some(twice) => {
                let detail = format!("{twice:?} occurs twice, expected each text once");
                Err(CheckpointError::BadValue { name: name.into(), detail })
            }
            None => Ok(data),
        }
    }

    /// The first dimension of the tensor `name`: how many things the checkpoint holds.
    pub fn length(&self, name: &str) -> Result<usize, CheckpointError> {
        let tensor = self.find(name)?;
        tensor.shape.first().copied().ok_or_else(|| CheckpointError::WrongShape {
            name: name.into(),
            found: Vec::new(),
            expected: vec![0],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_limited() {
        let most = MAX_EVIDENCE_BYTES / 8;
        assert_eq!(TooLarge::check(most, "less"), Ok(()));
        let error = TooLarge::check(most + 1, "less").unwrap_err().to_string();
        assert_eq!(error, "its evidence can take 536870920 bytes a partition, expected at most 536870912; choose less");
        assert!(TooLarge::check(usize::MAX, "less").is_err());
    }
}
