//! The conditional UNet of Stable Diffusion 1, at any size its `config.json` describes.
//!
//! Follows diffusers' `UNet2DConditionModel` to rounding, its quirks included: `attention_head_dim`
//! is the number of heads, GEGLU gates with the exact GELU, timestep embeddings start with cosines.
//! Extra inputs (SDXL's sizes, classes, control residuals) are refused, never ignored.

mod block;
mod config;
mod resnet;
mod timestep;
mod transformer;

pub(crate) use config::UnetConfig;

use candle_core::{Result, Tensor};

use crate::layers::{Conv, GroupNorm};
use crate::load::LoadError;
use crate::modules::Scope;
use block::{DownBlock, MidBlock, UpBlock};
use hearth_kernels::conv::Geometry;
use timestep::TimestepEmbedding;

pub(crate) use resnet::{Resnet, ResnetStyle};

/// A denoising network: latents, a timestep and text vectors to predicted noise.
#[derive(Debug)]
pub(crate) struct Unet {
    time: TimestepEmbedding,
    conv_in: Conv,
    down: Vec<DownBlock>,
    mid: Option<MidBlock>,
    up: Vec<UpBlock>,
    norm_out: GroupNorm,
    conv_out: Conv,
}

impl Unet {
    pub(crate) fn new(
        config: &UnetConfig,
        mut scope: Scope<'_>,
    ) -> std::result::Result<Self, LoadError> {
        let levels = config.levels()?;
        let first = config.block_out_channels[0];
        let last_level = levels.len() - 1;
        let time = TimestepEmbedding::new(config, scope.at("time_embedding"))?;
        let conv_in = Conv::new(
            scope.at("conv_in"),
            (config.in_channels, first),
            3,
            Geometry::SAME,
        )?;
        let mut skips = vec![first];
        let mut channels = first;
        let mut down = Vec::new();
        for (i, level) in levels.iter().enumerate() {
            let scope = scope.at(format!("down_blocks.{i}"));
            down.push(DownBlock::new(
                config,
                level,
                i == last_level,
                channels,
                &mut skips,
                scope,
            )?);
            channels = level.channels;
        }
        let mid = match &config.mid_block_type {
            Some(_) => Some(MidBlock::new(
                config,
                &levels[last_level],
                scope.at("mid_block"),
            )?),
            None => None,
        };
        let mut up = Vec::new();
        for (i, level) in levels.iter().rev().enumerate() {
            let scope = scope.at(format!("up_blocks.{i}"));
            up.push(UpBlock::new(
                config,
                level,
                i == last_level,
                channels,
                &mut skips,
                scope,
            )?);
            channels = level.channels;
        }
        let norm = scope.at("conv_norm_out");
        let norm_out = GroupNorm::new(norm, channels, config.norm_num_groups, config.norm_eps)?;
        let conv_out = Conv::new(
            scope.at("conv_out"),
            (channels, config.out_channels),
            3,
            Geometry::SAME,
        )?;
        Ok(Self {
            time,
            conv_in,
            down,
            mid,
            up,
            norm_out,
            conv_out,
        })
    }

    /// Returns the prediction for latents `[batch, in, height, width]` at a (possibly fractional)
    /// timestep, listening to `[batch, tokens, channels]`.
    pub(crate) fn forward(&self, latents: &Tensor, timestep: f64, text: &Tensor) -> Result<Tensor> {
        let time = self.time.forward(timestep)?;
        let mut x = self.conv_in.forward(latents)?;
        let mut skips = vec![x.clone()];
        for block in &self.down {
            x = block.forward(x, &time, text, &mut skips)?;
        }
        if let Some(mid) = &self.mid {
            x = mid.forward(&x, &time, text)?;
        }
        for block in &self.up {
            x = block.forward(x, &time, text, &mut skips)?;
        }
        self.conv_out.forward(&self.norm_out.forward_silu(&x)?)
    }
}
