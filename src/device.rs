//! Where a model's arithmetic is done.
//!
//! The processor has code of its own, which is faster for the usual sizes: a block of 256 events is too little work for a device
//! whose every operation costs a launch. Tensors on a device are for large blocks of many columns or wide layers.

#[cfg(feature = "cuda")]
mod cuda;
pub mod diagonal;
pub mod joint;
pub mod launch;
pub mod layers;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

/// A device by its name in the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// The first GPU if this build can use one and there is one that opens, else the processor.
    Auto,
    /// The processor.
    #[default]
    Cpu,
    /// The GPU of this number.
    Cuda(usize),
}

/// Why a device can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// No such name.
    #[error("{name:?} is no device; expected \"auto\", \"cpu\" or \"cuda:0\", with the GPU's number")]
    Unknown {
        /// What was written.
        name: String,
    },
    /// The GPU can't be opened.
    #[error("the device cuda:{number} can't be used: {detail}{}", if cfg!(feature = "cuda") { "" } else { "; build with `--features cuda`" })]
    Cuda {
        /// Its number.
        number: usize,
        /// What candle says.
        detail: String,
    },
}

impl FromStr for Device {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Self, DeviceError> {
        match (name, name.strip_prefix("cuda:").map(str::parse)) {
            ("auto", _) => Ok(Self::Auto),
            ("cpu", _) => Ok(Self::Cpu),
            (_, Some(Ok(number))) => Ok(Self::Cuda(number)),
            _ => Err(DeviceError::Unknown { name: name.into() }),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl Device {
    /// The device for tensors; `None` is the processor with code of its own.
    pub fn open(self) -> Result<Option<candle_core::Device>, DeviceError> {
        let number = match self {
            Self::Cpu => return Ok(None),
            // What candle calls available is only a matter of the build.
            Self::Auto => return Ok(candle_core::Device::new_cuda(0).ok()),
            Self::Cuda(number) => number,
        };
        let opened = candle_core::Device::new_cuda(number);
        opened.map(Some).map_err(|error| DeviceError::Cuda { number, detail: cause(&error) })
    }
}

/// What candle says, without its backtrace.
pub(crate) fn cause(error: &candle_core::Error) -> String {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => cause(inner),
        error => error.to_string(),
    }
}

/// Says that the processor goes on where a device has failed, once for each cause.
pub(crate) fn given_up(error: &candle_core::Error) {
    static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let cause = cause(error);
    if TOLD.lock().unwrap_or_else(PoisonError::into_inner).insert(cause.clone()) {
        tracing::warn!("the device failed, and the processor goes on: {cause}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for device in [Device::Auto, Device::Cpu, Device::Cuda(0), Device::Cuda(3)] {
            assert_eq!(device.to_string().parse(), Ok(device));
        }
        for name in ["gpu", "cuda", "cuda:", "cuda:-1", "CPU"] {
            assert_eq!(name.parse::<Device>(), Err(DeviceError::Unknown { name: name.into() }));
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn without_cuda_auto_is_the_processor_and_a_gpu_is_an_error_that_says_what_to_do() {
        assert!(Device::Auto.open().is_ok_and(|device| device.is_none()));
        let error = Device::Cuda(1).open().err().map(|error| error.to_string()).unwrap_or_default();
        assert!(
            error.starts_with("the device cuda:1 can't be used") && error.ends_with("build with `--features cuda`"),
            "{error}"
        );
    }
}
