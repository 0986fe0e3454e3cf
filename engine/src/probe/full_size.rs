//! Networks of the published sizes with random weights made in memory, to measure time and memory with.

use candle_core::{DType, Tensor};
use hearth_protocol::engine::DeviceFacts;

use super::Values;
use crate::bench::BenchError;
use crate::device::{DeviceError, ServeOptions};
use crate::layers::Pass;
use crate::load::LoadError;
use crate::modules::{Kind, Module, Scope, Source};
use crate::unet::{Conditioning, Unet, UnetConfig};
use crate::vae::{Vae, VaeConfig};
use crate::weights::{Placement, Precision};
use crate::{RunError, device};

/// An architecture at its published size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Stable Diffusion 1.5: 860 million parameters in the UNet.
    Sd1,
    /// Stable Diffusion 2.1: 866 million.
    Sd2,
    /// Stable Diffusion XL: 2.6 billion.
    Sdxl,
}

/// How linear and convolution weights are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// As `f32`.
    Full,
    /// As `f16`.
    Half,
}

/// A UNet and an autoencoder without meaning.
#[derive(Debug)]
pub struct FullSize {
    unet: Unet,
    vae: Vae,
    text: usize,
    family: Family,
    placement: Placement,
}

impl FullSize {
    /// Makes both networks on the processor. Takes 4 bytes for each parameter, or 2.
    pub fn new(family: Family, storage: Storage) -> Result<Self, LoadError> {
        let precision = match storage {
            Storage::Full => Precision::Full,
            Storage::Half => Precision::Half,
        };
        Self::placed(
            family,
            Placement {
                precision,
                ..Placement::default()
            },
        )
    }

    /// Makes both networks on a device.
    pub fn on(family: Family, options: ServeOptions) -> Result<Self, BenchError> {
        Ok(Self::placed(family, options.placement()?)?)
    }

    fn placed(family: Family, placement: Placement) -> Result<Self, LoadError> {
        let config = match family {
            Family::Sd1 => UnetConfig::stable_diffusion_1(),
            Family::Sd2 => UnetConfig::stable_diffusion_2(),
            Family::Sdxl => UnetConfig::stable_diffusion_xl(),
        };
        let mut random = Random {
            state: 1,
            placement: placement.clone(),
        };
        let unet = Unet::new(&config, Scope::root(&mut random))?;
        // As checkpoints are loaded: half a type's range is too small for the decoder.
        random.placement.precision = match placement.precision {
            Precision::All(_) => Precision::All(DType::F32),
            kept @ (Precision::Full | Precision::Half) => kept,
        };
        let vae = Vae::new(&VaeConfig::stable_diffusion(), Scope::root(&mut random))?;
        Ok(Self {
            unet,
            vae,
            text: config.cross_attention_dim,
            family,
            placement,
        })
    }

    /// Returns what they are on.
    pub fn device(&self) -> Result<DeviceFacts, DeviceError> {
        device::facts(&self.placement.device)
    }

    /// Evaluates the UNet on latents of `side` by `side`, listening to 77 tokens.
    pub fn evaluate(&self, batch: usize, side: usize) -> Result<Values, RunError> {
        self.evaluate_sized(batch, (side, side))
    }

    /// Evaluates the UNet on latents of a height and width, listening to 77 tokens.
    pub fn evaluate_sized(
        &self,
        batch: usize,
        (height, width): (usize, usize),
    ) -> Result<Values, RunError> {
        let wave = |dims: &[usize]| self.wave(dims)?.to_dtype(self.placement.compute());
        let latents = wave(&[batch, 4, height, width])?;
        let text = wave(&[batch, 77, self.text])?;
        let added = match self.family {
            Family::Sd1 | Family::Sd2 => None,
            Family::Sdxl => {
                let numbers = [1024.0, 1024.0, 0.0, 0.0, 1024.0, 1024.0];
                self.unet.added(&wave(&[batch, 1280])?, &numbers)?
            }
        };
        let listen = Conditioning {
            added: added.as_ref(),
            ..Conditioning::text(&text)
        };
        let output = self.unet.forward(&latents, 501.0, &listen, Pass::PLAIN)?;
        Values::of(&output.to_dtype(DType::F32)?)
    }

    /// Decodes a picture's latents of `side` by `side`.
    pub fn decode(&self, side: usize) -> Result<Values, RunError> {
        self.decode_sized((side, side))
    }

    /// Decodes a picture's latents of a height and width.
    pub fn decode_sized(&self, (height, width): (usize, usize)) -> Result<Values, RunError> {
        let latents = self.wave(&[1, 4, height, width])?;
        Values::of(&self.vae.decode(&latents, Pass::PLAIN)?)
    }

    fn wave(&self, dims: &[usize]) -> candle_core::Result<Tensor> {
        let values = (0..dims.iter().product()).map(|i: usize| (i as f32 * 0.7).sin());
        let values = values.collect::<Vec<f32>>();
        Tensor::from_vec(values, dims, &self.placement.device)
    }
}

/// Uniform weights of the width torch starts linear layers with, neutral norms.
struct Random {
    state: u32,
    placement: Placement,
}

impl Random {
    fn uniform(&mut self, count: usize, bound: f32) -> Vec<f32> {
        let next = |_| {
            // A linear congruential generator is random enough to multiply with.
            self.state = self
                .state
                .wrapping_mul(1_664_525)
                .wrapping_add(1_013_904_223);
            ((self.state >> 8) as f32 / 8_388_608.0 - 1.0) * bound
        };
        (0..count).map(next).collect()
    }
}

impl Source for Random {
    fn module(&mut self, module: Module) -> Result<(Tensor, Tensor), LoadError> {
        let device = &self.placement.device;
        let outer = module.shape[0];
        let small = self.placement.compute();
        let bias = Tensor::zeros(outer, small, device)?;
        if module.kind == Kind::Norm {
            return Ok((Tensor::ones(outer, small, device)?, bias));
        }
        let count: usize = module.shape.iter().product();
        let bound = ((count / outer) as f32).sqrt().recip();
        let values = self.uniform(count, bound);
        let device = &self.placement.device;
        let weight = Tensor::from_vec(values, module.shape.as_slice(), device)?;
        let weight = match self.placement.precision {
            Precision::Full => weight,
            Precision::Half => weight.to_dtype(DType::F16)?,
            Precision::All(dtype) => weight.to_dtype(dtype)?,
        };
        Ok((weight, bias))
    }
}
