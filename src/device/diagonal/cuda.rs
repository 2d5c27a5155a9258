//! Launches the kernels of `diagonal.cu`. The only unsafe code there is: no compiler sees both sides of a launch.
#![allow(unsafe_code)]

use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{LaunchConfig, PushKernelArg};
use candle_core::{CudaStorage, Error, Layout, Result};

use super::Plan;

const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/diagonal.ptx"));

/// The result of the kernel `name`.
pub fn run(name: &'static str, plan: &Plan, inputs: [(&CudaStorage, &Layout); 3]) -> Result<CudaStorage> {
    let device = inputs[0].0.device.clone();
    let function = device.get_or_load_custom_func(name, "surprisal_diagonal", PTX)?;
    let mut slices = Vec::new();
    for (storage, layout) in inputs {
        let (start, end) = layout.contiguous_offsets().ok_or(Error::RequiresContiguous { op: name })?;
        slices.push(storage.as_cuda_slice::<f64>()?.slice(start..end));
    }
    // SAFETY: the kernel writes every element before any is read.
    let mut out = unsafe { device.alloc::<f64>(plan.shape.elem_count()) }?;
    let dim = |count: usize| u32::try_from(count).map(|count| (count, 1, 1)).map_err(Error::wrap);
    let (grid_dim, block_dim) = (dim(plan.blocks)?, dim(plan.threads)?);
    let mut arguments = function.builder();
    for slice in &slices {
        arguments.arg(slice);
    }
    arguments.arg(&mut out);
    for size in &plan.sizes {
        arguments.arg(size);
    }
    // SAFETY: the kernels take three inputs, the output and four sizes, in this order. By the plan the slices and the output are as long
    // as the sizes say, and the kernels stay within these.
    unsafe { arguments.launch(LaunchConfig { grid_dim, block_dim, shared_mem_bytes: 0 }) }.w()?;
    Ok(CudaStorage::wrap_cuda_slice(out, device))
}
