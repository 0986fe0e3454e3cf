//! Networks of the published sizes with random weights made in memory, to measure time and memory with.

use candle_core::{DType, Device, Tensor};

use super::Values;
use crate::RunError;
use crate::layers::Pass;
use crate::load::LoadError;
use crate::modules::{Kind, Module, Scope, Source};
use crate::unet::{Conditioning, Unet, UnetConfig};
use crate::vae::{Vae, VaeConfig};

/// An architecture at its published size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Stable Diffusion 1.5: 860 million parameters in the UNet.
    Sd1,
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
}

impl FullSize {
    /// Makes both networks. Takes 4 bytes for each parameter, or 2.
    pub fn new(family: Family, storage: Storage) -> Result<Self, LoadError> {
        let config = match family {
            Family::Sd1 => UnetConfig::stable_diffusion_1(),
            Family::Sdxl => UnetConfig::stable_diffusion_xl(),
        };
        let mut random = Random { state: 1, storage };
        let unet = Unet::new(&config, Scope::root(&mut random))?;
        let vae = Vae::new(&VaeConfig::stable_diffusion(), Scope::root(&mut random))?;
        Ok(Self {
            unet,
            vae,
            text: config.cross_attention_dim,
            family,
        })
    }

    /// Evaluates the UNet on latents of `side` by `side`, listening to 77 tokens.
    pub fn evaluate(&self, batch: usize, side: usize) -> Result<Values, RunError> {
        let latents = wave(&[batch, 4, side, side])?;
        let text = wave(&[batch, 77, self.text])?;
        let added = match self.family {
            Family::Sd1 => None,
            Family::Sdxl => {
                let numbers = [1024.0, 1024.0, 0.0, 0.0, 1024.0, 1024.0];
                self.unet.added(&wave(&[batch, 1280])?, &numbers)?
            }
        };
        let listen = Conditioning {
            added: added.as_ref(),
            ..Conditioning::text(&text)
        };
        Values::of(&self.unet.forward(&latents, 501.0, &listen, Pass::PLAIN)?)
    }

    /// Decodes a picture's latents of `side` by `side`.
    pub fn decode(&self, side: usize) -> Result<Values, RunError> {
        Values::of(&self.vae.decode(&wave(&[1, 4, side, side])?, Pass::PLAIN)?)
    }
}

fn wave(dims: &[usize]) -> Result<Tensor, RunError> {
    let values = (0..dims.iter().product()).map(|i: usize| (i as f32 * 0.7).sin());
    let values = values.collect::<Vec<f32>>();
    Ok(Tensor::from_vec(values, dims, &Device::Cpu)?)
}

/// Uniform weights of the width torch starts linear layers with, neutral norms.
struct Random {
    state: u32,
    storage: Storage,
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
        let device = &Device::Cpu;
        let outer = module.shape[0];
        let bias = Tensor::zeros(outer, DType::F32, device)?;
        if module.kind == Kind::Norm {
            return Ok((Tensor::ones(outer, DType::F32, device)?, bias));
        }
        let count: usize = module.shape.iter().product();
        let bound = ((count / outer) as f32).sqrt().recip();
        let weight = self.uniform(count, bound);
        let weight = Tensor::from_vec(weight, module.shape.as_slice(), device)?;
        let weight = match self.storage {
            Storage::Full => weight,
            Storage::Half => weight.to_dtype(DType::F16)?,
        };
        Ok((weight, bias))
    }
}
