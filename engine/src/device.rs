//! What a worker computes on, opened and tried before it is trusted.
//!
//! candle's CUDA build is linked against the driver's library: on a machine without one the program does
//! not even start, which is why the build for cards is a program of its own and is asked by
//! [`probe`] before it gets work.

use std::str::FromStr;

use candle_core::{DType, Device, Tensor};
use hearth_protocol::engine::DeviceFacts;
use hearth_protocol::unit::ByteCount;
use thiserror::Error;

use crate::weights::{Placement, Precision};

/// What to compute on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The processor.
    #[default]
    Processor,
    /// The first NVIDIA card.
    Cuda,
    /// The first of Apple's cards.
    Metal,
}

/// How weights are kept, and on cards what is computed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PrecisionChoice {
    /// 32-bit floats.
    #[default]
    Full,
    /// 16 bits: on the processor the large weights lie so in memory and are computed with as `f32`; a card
    /// computes in `bf16`, the autoencoder in `f32`.
    Half,
}

impl FromStr for PrecisionChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "full" => Ok(Self::Full),
            "half" => Ok(Self::Half),
            other => Err(format!("no precision '{other}': full or half")),
        }
    }
}

/// What a worker computes on, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServeOptions {
    /// The device.
    pub device: DeviceChoice,
    /// How exactly.
    pub precision: PrecisionChoice,
}

/// Why a device cannot be computed on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DeviceError {
    /// This program was built without what drives it.
    #[error("this program was built without support for {0}: use one built with the feature")]
    NotBuilt(&'static str),
    /// There is no driver, no device, or the two do not go together.
    #[error("no device can be used: {0}")]
    Missing(String),
    /// It is there and does not compute.
    #[error("the device is there and cannot compute: {0}")]
    Faulty(String),
}

impl ServeOptions {
    /// A card as it is fastest: `bf16`.
    pub const CUDA: Self = Self {
        device: DeviceChoice::Cuda,
        precision: PrecisionChoice::Half,
    };

    /// Opens the device and says where tensors go.
    pub(crate) fn placement(self) -> Result<Placement, DeviceError> {
        let device = self.device.open()?;
        let precision = match (self.device, self.precision) {
            (DeviceChoice::Processor, PrecisionChoice::Full) => Precision::Full,
            (DeviceChoice::Processor, PrecisionChoice::Half) => Precision::Half,
            (DeviceChoice::Cuda | DeviceChoice::Metal, PrecisionChoice::Full) => {
                Precision::All(DType::F32)
            }
            (DeviceChoice::Cuda | DeviceChoice::Metal, PrecisionChoice::Half) => {
                Precision::All(DType::BF16)
            }
        };
        Ok(Placement { device, precision })
    }
}

impl DeviceChoice {
    fn open(self) -> Result<Device, DeviceError> {
        let missing = |error: candle_core::Error| DeviceError::Missing(words(&error.to_string()));
        match self {
            Self::Processor => Ok(Device::Cpu),
            Self::Cuda if cfg!(feature = "cuda") => Device::new_cuda(0).map_err(missing),
            Self::Metal if cfg!(feature = "metal") => Device::new_metal(0).map_err(missing),
            Self::Cuda => Err(DeviceError::NotBuilt("CUDA")),
            Self::Metal => Err(DeviceError::NotBuilt("Metal")),
        }
    }
}

/// Opens a device, has it compute something in the types it will be used with, and says what it is.
///
/// # Errors
/// [`DeviceError`] in words: without a driver, with a driver that is too old, without a device, or on one
/// that the kernels of this program are not for.
pub fn probe(choice: DeviceChoice) -> Result<DeviceFacts, DeviceError> {
    let device = choice.open()?;
    let faulty = |error: candle_core::Error| DeviceError::Faulty(words(&error.to_string()));
    for dtype in [DType::F32, DType::BF16] {
        let sum = computed(&device, dtype).map_err(faulty)?;
        if sum != EXPECTED {
            return Err(DeviceError::Faulty(format!(
                "its {} arithmetic gave {sum} instead of {EXPECTED}",
                dtype.as_str()
            )));
        }
    }
    facts(&device)
}

/// Sum of the product that [`computed`] makes: 16 x 16 values of 32.
const EXPECTED: f32 = 8192.0;

/// Multiplies two matrices through the same kinds of kernels that the networks use.
fn computed(device: &Device, dtype: DType) -> candle_core::Result<f32> {
    let ones = |shape| Tensor::ones(shape, DType::F32, device)?.to_dtype(dtype);
    // candle's processor does not multiply bf16: there weights are widened first.
    let work = if device.is_cpu() { DType::F32 } else { dtype };
    let (a, b) = (
        ones((16, 32))?.to_dtype(work)?,
        ones((32, 16))?.to_dtype(work)?,
    );
    a.matmul(&b)?.to_dtype(DType::F32)?.sum_all()?.to_scalar()
}

/// Returns what a device is.
pub(crate) fn facts(device: &Device) -> Result<DeviceFacts, DeviceError> {
    Ok(match device {
        Device::Cpu => DeviceFacts {
            kind: "cpu".to_owned(),
            name: "the processor".to_owned(),
            memory: None,
        },
        Device::Cuda(_) => cuda_facts(device)?,
        Device::Metal(_) => DeviceFacts {
            kind: "metal".to_owned(),
            name: "Apple's card".to_owned(),
            memory: None,
        },
    })
}

#[cfg(feature = "cuda")]
fn cuda_facts(device: &Device) -> Result<DeviceFacts, DeviceError> {
    let faulty = |error: String| DeviceError::Faulty(words(&error));
    let device = device.as_cuda_device().map_err(|e| faulty(e.to_string()))?;
    let stream = device.cuda_stream();
    let context = stream.context();
    let name = context.name().map_err(|e| faulty(e.to_string()))?;
    let memory = context.total_mem().map_err(|e| faulty(e.to_string()))?;
    Ok(DeviceFacts {
        kind: "cuda".to_owned(),
        name,
        memory: u64::try_from(memory).ok().map(ByteCount::new),
    })
}

#[cfg(not(feature = "cuda"))]
fn cuda_facts(_: &Device) -> Result<DeviceFacts, DeviceError> {
    Err(DeviceError::NotBuilt("CUDA"))
}

/// Returns the bytes a device has of its own; nothing where it shares the machine's.
pub(crate) fn memory(device: &Device) -> Option<ByteCount> {
    facts(device).ok()?.memory
}

/// What the driver's codes mean to a person, with the next step.
const MEANINGS: [(&str, &str); 6] = [
    (
        "CUDA_ERROR_NO_DEVICE",
        "the driver finds no NVIDIA card (is it hidden by CUDA_VISIBLE_DEVICES?)",
    ),
    (
        "CUDA_ERROR_STUB_LIBRARY",
        "libcuda is a stub, not a driver: install the NVIDIA driver",
    ),
    (
        "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
        "the driver's library and its kernel module differ: restart the machine after the driver's update",
    ),
    (
        "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
        "the NVIDIA driver is older than this program's kernels: update it",
    ),
    (
        "CUDA_ERROR_NO_BINARY_FOR_GPU",
        "this card is older than those this program was built for",
    ),
    (
        "CUDA_ERROR_OUT_OF_MEMORY",
        "the card's memory is taken by other programs",
    ),
];

/// Returns one line that says what a driver's error means.
fn words(error: &str) -> String {
    let known = MEANINGS.iter().find(|(code, _)| error.contains(code));
    let line = error.lines().next().unwrap_or_default();
    known.map_or_else(|| line.to_owned(), |(_, meaning)| (*meaning).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e81_the_processor_passes_its_probe() {
        let facts = probe(DeviceChoice::Processor).unwrap();
        assert_eq!((facts.kind.as_str(), facts.memory), ("cpu", None));
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn e81_a_program_without_cuda_says_so() {
        let error = probe(DeviceChoice::Cuda).unwrap_err();
        assert_eq!(error, DeviceError::NotBuilt("CUDA"));
        let error = ServeOptions::CUDA.placement().unwrap_err();
        assert!(error.to_string().contains("built without"), "{error}");
    }

    #[test]
    fn e81_a_drivers_code_becomes_words() {
        let told =
            words("DriverError(CUDA_ERROR_NO_DEVICE, \"no CUDA-capable device is detected\")");
        assert!(told.contains("no NVIDIA card"), "{told}");
        assert_eq!(words("something else\nat frame 1"), "something else");
    }

    #[test]
    fn e80_half_on_the_processor_computes_in_full() {
        let half = ServeOptions {
            precision: PrecisionChoice::Half,
            ..ServeOptions::default()
        };
        let placement = half.placement().unwrap();
        assert_eq!(placement.precision, Precision::Half);
        assert_eq!(placement.compute(), DType::F32);
    }
}
