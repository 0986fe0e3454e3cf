//! Where on the way from noise to picture: a timestep as a vector.

use candle_core::{Device, Result, Tensor};

use super::UnetConfig;
use crate::layers::Linear;
use crate::load::LoadError;
use crate::modules::Scope;
use hearth_kernels::activation::Activation;

/// Sinusoids of a timestep through two linear layers.
#[derive(Debug)]
pub(super) struct TimestepEmbedding {
    waves: usize,
    cosines_first: bool,
    shift: f64,
    linear_1: Linear,
    linear_2: Linear,
}

impl TimestepEmbedding {
    pub(super) fn new(
        config: &UnetConfig,
        mut scope: Scope<'_>,
    ) -> std::result::Result<Self, LoadError> {
        let width = config.block_out_channels[0];
        Ok(Self {
            waves: width / 2,
            cosines_first: config.flip_sin_to_cos,
            shift: config.freq_shift,
            linear_1: Linear::new(scope.at("linear_1"), (width, 4 * width))?,
            linear_2: Linear::new(scope.at("linear_2"), (4 * width, 4 * width))?,
        })
    }

    /// Returns `[1, 1, 4 * channels]` behind the SiLU that every user applies first.
    pub(super) fn forward(&self, timestep: f64) -> Result<Tensor> {
        let waves = self.waves(timestep);
        let x = Tensor::from_vec(waves, (1, 1, 2 * self.waves), &Device::Cpu)?;
        let x = Activation::Silu.apply(&self.linear_1.forward(&x)?)?;
        Activation::Silu.apply(&self.linear_2.forward(&x)?)
    }

    /// The angles are rounded to `f32` where diffusers rounds them: at a timestep of 999 that shows.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounding to f32 is the point"
    )]
    fn waves(&self, timestep: f64) -> Vec<f32> {
        const LN_PERIOD: f32 = 9.210_34; // ln 10000
        let divisor = (self.waves as f64 - self.shift) as f32;
        let angles: Vec<f32> = (0..self.waves)
            .map(|i| timestep as f32 * libm::expf(-LN_PERIOD * i as f32 / divisor))
            .collect();
        let cosines = angles.iter().map(|a| libm::cosf(*a));
        let sines = angles.iter().map(|a| libm::sinf(*a));
        if self.cosines_first {
            cosines.chain(sines).collect()
        } else {
            sines.chain(cosines).collect()
        }
    }
}
