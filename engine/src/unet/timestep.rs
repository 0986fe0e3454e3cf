//! What the whole UNet is told beside the text: the timestep, and with it SDXL's pooled text and sizes,
//! and a distilled model's guidance.

use candle_core::{DType, Device, Result, Tensor, bail};

use super::{Conditioning, UnetConfig};
use crate::layers::Linear;
use crate::load::LoadError;
use crate::modules::Scope;
use hearth_kernels::activation::Activation;

/// Factor between a guidance scale and the number its sinusoids are of (diffusers'
/// `get_guidance_scale_embedding`).
const GUIDANCE_FACTOR: f64 = 1000.0;

/// `ln 10000`, the period of the slowest wave.
const LN_PERIOD: f32 = 9.210_34;

/// Sinusoids of a number.
///
/// Frequencies and angles are rounded to `f32` where diffusers rounds them: at 999 and more that shows.
#[derive(Clone, Debug)]
struct Waves {
    frequencies: Vec<f32>,
    cosines_first: bool,
}

impl Waves {
    /// diffusers' `get_timestep_embedding`: `count` sines and as many cosines.
    fn of_timestep(config: &UnetConfig, count: usize) -> Self {
        let divisor = single(count as f64 - config.freq_shift);
        let frequency = |i| libm::expf(-LN_PERIOD * i as f32 / divisor);
        Self {
            frequencies: (0..count).map(frequency).collect(),
            cosines_first: config.flip_sin_to_cos,
        }
    }

    /// diffusers' `get_guidance_scale_embedding`, `dim` long.
    fn of_guidance(dim: usize) -> Self {
        let step = LN_PERIOD / (dim / 2 - 1).max(1) as f32;
        let frequency = |i| libm::expf(i as f32 * -step);
        Self {
            frequencies: (0..dim / 2).map(frequency).collect(),
            cosines_first: false,
        }
    }

    fn of(&self, number: f64) -> Vec<f32> {
        let angles = self.frequencies.iter().map(|f| single(number) * f);
        let cosines = angles.clone().map(libm::cosf);
        let sines = angles.map(libm::sinf);
        if self.cosines_first {
            cosines.chain(sines).collect()
        } else {
            sines.chain(cosines).collect()
        }
    }

    /// Returns the sinusoids of all `numbers` in a row, `[1, length]`.
    fn row(&self, numbers: &[f64], dtype: DType, device: &Device) -> Result<Tensor> {
        let values: Vec<f32> = numbers.iter().flat_map(|n| self.of(*n)).collect();
        let length = values.len();
        Tensor::from_vec(values, (1, length), device)?.to_dtype(dtype)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "rounding to f32 is the point"
)]
fn single(x: f64) -> f32 {
    x as f32
}

/// Two linear layers with a SiLU between.
#[derive(Debug)]
struct Perceptron {
    linear_1: Linear,
    linear_2: Linear,
}

impl Perceptron {
    fn new(
        scope: &mut Scope<'_>,
        (inner, outer): (usize, usize),
    ) -> std::result::Result<Self, LoadError> {
        Ok(Self {
            linear_1: Linear::new(scope.at("linear_1"), (inner, outer))?,
            linear_2: Linear::new(scope.at("linear_2"), (outer, outer))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = Activation::Silu.apply(&self.linear_1.forward(x)?)?;
        self.linear_2.forward(&x)
    }
}

/// SDXL's `text_time`: a pooled text and the sinusoids of a few numbers.
#[derive(Debug)]
struct Added {
    waves: Waves,
    width: usize,
    perceptron: Perceptron,
}

/// Embeds a timestep and what comes with it.
#[derive(Debug)]
pub(super) struct TimestepEmbedding {
    waves: Waves,
    guidance: Option<(Waves, Linear)>,
    perceptron: Perceptron,
    added: Option<Added>,
}

impl TimestepEmbedding {
    /// Takes the UNet's own scope.
    pub(super) fn new(
        config: &UnetConfig,
        scope: &mut Scope<'_>,
    ) -> std::result::Result<Self, LoadError> {
        let width = config.block_out_channels[0];
        let mut time = scope.at("time_embedding");
        let perceptron = Perceptron::new(&mut time, (width, 4 * width))?;
        let guidance = match config.time_cond_proj_dim {
            Some(dim) => {
                let project = Linear::without_bias(time.at("cond_proj"), (dim, width))?;
                Some((Waves::of_guidance(dim), project))
            }
            None => None,
        };
        let added = match config.added()? {
            Some((count, dim)) => Some(Added {
                waves: Waves::of_timestep(config, count),
                width: dim,
                perceptron: Perceptron::new(&mut scope.at("add_embedding"), (dim, 4 * width))?,
            }),
            None => None,
        };
        Ok(Self {
            waves: Waves::of_timestep(config, width / 2),
            guidance,
            perceptron,
            added,
        })
    }

    /// Returns `[1 or batch, 1, 4 * channels]` behind the SiLU that every user applies first, in the
    /// type and on the device of `latents`.
    pub(super) fn forward(
        &self,
        latents: &Tensor,
        timestep: f64,
        conditioning: &Conditioning<'_>,
    ) -> Result<Tensor> {
        let (dtype, device) = (latents.dtype(), latents.device());
        let mut x = self.waves.row(&[timestep], dtype, device)?.unsqueeze(0)?;
        if let (Some((waves, project)), Some(scale)) = (&self.guidance, conditioning.guidance) {
            let scale = waves.row(&[(scale - 1.0) * GUIDANCE_FACTOR], dtype, device)?;
            x = (x + project.forward(&scale.unsqueeze(0)?)?)?;
        }
        let mut x = self.perceptron.forward(&x)?;
        match (&self.added, conditioning.added) {
            (Some(added), Some(vector)) => {
                let (batch, width) = vector.dims2()?;
                let vector = vector.reshape((batch, 1, width))?;
                x = x.broadcast_add(&added.perceptron.forward(&vector)?)?;
            }
            (None, None) => {}
            (Some(_), None) => bail!("this UNet needs a pooled text and sizes"),
            (None, Some(_)) => bail!("this UNet takes no pooled text"),
        }
        Activation::Silu.apply(&x)
    }

    /// Returns `[batch, width]` of pooled texts `[batch, channels]` and the numbers that go with all
    /// of them, or nothing if this UNet takes no such vector.
    pub(super) fn added(&self, pooled: &Tensor, numbers: &[f64]) -> Result<Option<Tensor>> {
        let Some(added) = &self.added else {
            return Ok(None);
        };
        let (batch, channels) = pooled.dims2()?;
        let row = added.waves.row(numbers, pooled.dtype(), pooled.device())?;
        let length = row.dim(1)?;
        if channels + length != added.width {
            bail!(
                "a pooled text of {channels} and {} numbers do not make the {} this UNet takes",
                numbers.len(),
                added.width
            );
        }
        let rows = row.broadcast_as((batch, length))?;
        Tensor::cat(&[pooled, &rows], 1).map(Some)
    }
}
