//! Launches kernels. The only unsafe code there is: no compiler sees both sides of a launch.
#![allow(unsafe_code)]

use std::ops::Range;

use candle_core::cuda_backend::cudarc::driver::{DeviceRepr, LaunchConfig, PushKernelArg};
use candle_core::cuda_backend::{CudaDType, WrapErr};
use candle_core::{CudaStorage, Error, Result};

use super::launch::{Module, Plan, SIZES};

/// Numbers that a device has, too.
pub trait Number: CudaDType + DeviceRepr {}

impl Number for f32 {}
impl Number for f64 {}

/// By value, as `Sizes` in `kernel.h`.
#[repr(C)]
struct Sizes([usize; SIZES]);

// SAFETY: as many numbers of 64 bits on both sides.
unsafe impl DeviceRepr for Sizes {}

/// The result of the kernel `name`.
pub fn run<N: Number>(
    module: Module,
    name: &'static str,
    plan: &Plan,
    inputs: [(&CudaStorage, Range<usize>); 3],
) -> Result<CudaStorage> {
    let device = inputs[0].0.device.clone();
    let function = device.get_or_load_custom_func(name, module.name, module.ptx)?;
    let mut slices = Vec::new();
    for (storage, span) in inputs {
        slices.push(storage.as_cuda_slice::<N>()?.slice(span));
    }
    // SAFETY: the kernel writes every element before any is read.
    let mut out = unsafe { device.alloc::<N>(plan.shape.elem_count()) }?;
    let dim = |count: usize| u32::try_from(count).map(|count| (count, 1, 1)).map_err(Error::wrap);
    let (grid_dim, block_dim) = (dim(plan.blocks)?, dim(plan.threads)?);
    let sizes = Sizes(plan.sizes);
    let mut arguments = function.builder();
    for slice in &slices {
        arguments.arg(slice);
    }
    arguments.arg(&mut out).arg(&sizes);
    // SAFETY: kernels take three inputs, the output and the sizes, in this order (`KERNEL` in `kernel.h`). By the plan the slices and the
    // output are as long as the sizes say, and the kernels stay within these.
    unsafe { arguments.launch(LaunchConfig { grid_dim, block_dim, shared_mem_bytes: 0 }) }.w()?;
    Ok(CudaStorage::wrap_cuda_slice(out, device))
}
