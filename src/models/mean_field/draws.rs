//! Draws of θ as tensors, each parameter by its name and on its own scale.

use std::ops::Index;

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::ops::sigmoid;

use super::{Parameter, Support};

/// Draws of θ. `theta["slopes"]` is the tensor `[draws, length]` of that parameter.
#[derive(Clone, Debug)]
pub struct Draws {
    parameters: Vec<(String, Tensor)>,
}

impl Index<&str> for Draws {
    type Output = Tensor;

    fn index(&self, name: &str) -> &Tensor {
        let found = self.parameters.iter().find(|(known, _)| known == name);
        &found.unwrap_or_else(|| panic!("no parameter is named {name:?} in `LogJoint::parameters`")).1
    }
}

impl Draws {
    /// Draws made of `unconstrained` `[draws, parameters]`, of which no gradient is wanted.
    pub(super) fn new(parameters: &[Parameter], unconstrained: &[f64], device: &Device, dtype: DType) -> Result<Self> {
        let leaves = leaves(parameters, unconstrained, device, dtype)?;
        let tensors = parameters.iter().zip(leaves).map(|(parameter, leaf)| transform(parameter, &leaf));
        Ok(Self { parameters: tensors.collect::<Result<_>>()? })
    }

    /// The same with leaves `[draws, length]` that gradients are taken by.
    pub(super) fn tracked(
        parameters: &[Parameter],
        unconstrained: &[f64],
        device: &Device,
        dtype: DType,
    ) -> Result<(Self, Vec<Var>)> {
        let leaves = leaves(parameters, unconstrained, device, dtype)?;
        let leaves = leaves.iter().map(Var::from_tensor).collect::<Result<Vec<_>>>()?;
        let tensors = parameters.iter().zip(&leaves).map(|(parameter, leaf)| transform(parameter, leaf.as_tensor()));
        Ok((Self { parameters: tensors.collect::<Result<_>>()? }, leaves))
    }
}

fn leaves(parameters: &[Parameter], unconstrained: &[f64], device: &Device, dtype: DType) -> Result<Vec<Tensor>> {
    let dim: usize = parameters.iter().map(|parameter| parameter.length).sum();
    let draws = unconstrained.len() / dim;
    let mut start = 0;
    let leaf = |parameter: &Parameter| {
        let own = start..start + parameter.length;
        start = own.end;
        let values: Vec<f64> = unconstrained.chunks_exact(dim).flat_map(|draw| &draw[own.clone()]).copied().collect();
        Tensor::from_vec(values, (draws, parameter.length), &Device::Cpu)?.to_dtype(dtype)?.to_device(device)
    };
    parameters.iter().map(leaf).collect()
}

fn transform(parameter: &Parameter, leaf: &Tensor) -> Result<(String, Tensor)> {
    let tensor = match parameter.support {
        Support::Real => leaf.clone(),
        Support::Positive => leaf.exp()?,
        Support::Unit => sigmoid(leaf)?,
    };
    Ok((parameter.name.clone(), tensor))
}
