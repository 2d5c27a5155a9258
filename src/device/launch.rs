//! Operations that are one launch each on a GPU, where candle's would be a dozen.
//!
//! Each is written twice: [`Launch::reference`], which candle's CPU device runs, and a kernel in CUDA. `tests/kernels/` holds the two
//! together without a GPU.

use candle_core::{CpuStorage, CustomOp3, Error, Layout, Result, Shape, Tensor, WithDType};

/// Sizes that a kernel is given at most.
pub const SIZES: usize = 16;

/// A kernel's numbers.
#[cfg(not(feature = "cuda"))]
pub trait Number: WithDType {}

/// A kernel's numbers.
#[cfg(feature = "cuda")]
pub trait Number: WithDType + super::cuda::Number {}

impl Number for f32 {}
impl Number for f64 {}

/// A launch on tensors of known shapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Blocks of threads.
    pub blocks: usize,
    /// Threads in a block.
    pub threads: usize,
    /// What else the kernel is told, 0 beyond what it asks for.
    pub sizes: [usize; SIZES],
    /// The shape of the result.
    pub shape: Shape,
}

impl Plan {
    /// `sizes` in their place.
    ///
    /// # Errors
    /// If there are more than [`SIZES`].
    pub fn sizes(of: impl IntoIterator<Item = usize>) -> Result<[usize; SIZES]> {
        let mut sizes = [0; SIZES];
        for (at, size) in of.into_iter().enumerate() {
            *sizes.get_mut(at).ok_or_else(|| Error::Msg(format!("a kernel is given {SIZES} sizes at most")))? = size;
        }
        Ok(sizes)
    }
}

/// A file of kernels.
#[derive(Clone, Copy, Debug)]
pub struct Module {
    /// Its name on the device.
    pub name: &'static str,
    /// What nvcc made of it.
    #[cfg(feature = "cuda")]
    pub ptx: &'static str,
}

/// The kernels of `src/device/NAME.cu`.
macro_rules! module {
    ($name:literal) => {
        $crate::device::launch::Module {
            name: concat!("surprisal_", $name),
            #[cfg(feature = "cuda")]
            ptx: include_str!(concat!(env!("OUT_DIR"), "/", $name, ".ptx")),
        }
    };
}
pub(super) use module;

/// An operation of three tensors of contiguous numbers.
pub trait Launch {
    /// Of what kind they are.
    type Number: Number;
    /// Where its kernel is.
    const MODULE: Module;

    /// The kernel.
    fn name(&self) -> &'static str;

    /// How it is launched on tensors of these shapes.
    ///
    /// # Errors
    /// If they don't go together.
    fn plan(&self, shapes: [&Shape; 3]) -> Result<Plan>;

    /// What it computes.
    fn reference(&self, plan: &Plan, inputs: [&[Self::Number]; 3]) -> Vec<Self::Number>;

    /// Does it where the tensors are.
    ///
    /// # Errors
    /// If their shapes don't go together or hold nothing, their numbers are of another kind or not contiguous, or the device fails.
    fn launch(&self, inputs: [&Tensor; 3]) -> Result<Tensor>
    where
        Self: Sized,
    {
        if inputs.iter().any(|tensor| tensor.elem_count() == 0) {
            return Err(Error::Msg(format!("{} of nothing", self.name())));
        }
        let [first, second, third] = inputs;
        first.apply_op3_no_bwd(second, third, &Operation(self))
    }
}

/// For candle.
struct Operation<'a, L>(&'a L);

impl<L: Launch> Operation<'_, L> {
    fn span(&self, layout: &Layout) -> Result<std::ops::Range<usize>> {
        let (start, end) = layout.contiguous_offsets().ok_or(Error::RequiresContiguous { op: self.0.name() })?;
        Ok(start..end)
    }
}

impl<L: Launch> CustomOp3 for Operation<'_, L> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn cpu_fwd(
        &self,
        first: &CpuStorage,
        first_layout: &Layout,
        second: &CpuStorage,
        second_layout: &Layout,
        third: &CpuStorage,
        third_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let plan = self.0.plan([first_layout.shape(), second_layout.shape(), third_layout.shape()])?;
        let inputs = [
            &first.as_slice()?[self.span(first_layout)?],
            &second.as_slice()?[self.span(second_layout)?],
            &third.as_slice()?[self.span(third_layout)?],
        ];
        Ok((L::Number::to_cpu_storage_owned(self.0.reference(&plan, inputs)), plan.shape))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        first: &candle_core::CudaStorage,
        first_layout: &Layout,
        second: &candle_core::CudaStorage,
        second_layout: &Layout,
        third: &candle_core::CudaStorage,
        third_layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        let plan = self.0.plan([first_layout.shape(), second_layout.shape(), third_layout.shape()])?;
        let inputs = [(first, self.span(first_layout)?), (second, self.span(second_layout)?), (third, self.span(third_layout)?)];
        Ok((super::cuda::run::<L::Number>(L::MODULE, self.0.name(), &plan, inputs)?, plan.shape))
    }
}
