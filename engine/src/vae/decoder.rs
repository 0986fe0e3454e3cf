//! Latents to pixels.

use candle_core::{Result, Tensor};

use super::VaeConfig;
use super::middle::Middle;
use crate::layers::{Conv, GroupNorm, Pass};
use crate::load::LoadError;
use crate::modules::Scope;
use crate::unet::{Resnet, ResnetStyle};
use hearth_kernels::conv::Geometry;

#[derive(Debug)]
pub(super) struct Decoder {
    conv_in: Conv,
    middle: Middle,
    up: Vec<UpBlock>,
    norm_out: GroupNorm,
    conv_out: Conv,
}

impl Decoder {
    pub(super) fn new(
        config: &VaeConfig,
        mut scope: Scope<'_>,
    ) -> std::result::Result<Self, LoadError> {
        let (deepest, style) = (config.deepest(), config.style());
        let shape = (config.latent_channels, deepest);
        let conv_in = Conv::new(scope.at("conv_in"), shape, 3, Geometry::SAME)?;
        let middle = Middle::new(config, scope.at("mid_block"))?;
        let mut up = Vec::new();
        let mut inner = deepest;
        for (i, outer) in config.block_out_channels.iter().rev().enumerate() {
            let last = i + 1 == config.block_out_channels.len();
            let scope = scope.at(format!("up_blocks.{i}"));
            up.push(UpBlock::new(scope, config, (inner, *outer), last, style)?);
            inner = *outer;
        }
        let norm = scope.at("conv_norm_out");
        let norm_out = GroupNorm::new(norm, inner, style.groups, style.eps)?;
        let shape = (inner, config.out_channels);
        Ok(Self {
            conv_in,
            middle,
            up,
            norm_out,
            conv_out: Conv::new(scope.at("conv_out"), shape, 3, Geometry::SAME)?,
        })
    }

    pub(super) fn forward(&self, latents: &Tensor, pass: Pass) -> Result<Tensor> {
        let mut x = self.conv_in.forward(latents, pass)?;
        x = self.middle.forward(&x, pass)?;
        for block in &self.up {
            x = block.forward(x, pass)?;
        }
        let x = self.norm_out.forward_silu(&x)?;
        // Small, and read by code that does not know about channels innermost.
        self.conv_out.forward(&x, pass)?.contiguous()
    }
}

#[derive(Debug)]
struct UpBlock {
    resnets: Vec<Resnet>,
    upsample: Option<Conv>,
}

impl UpBlock {
    fn new(
        mut scope: Scope<'_>,
        config: &VaeConfig,
        (inner, outer): (usize, usize),
        last: bool,
        style: ResnetStyle,
    ) -> std::result::Result<Self, LoadError> {
        let resnets = (0..=config.layers_per_block)
            .map(|i| {
                let inner = if i == 0 { inner } else { outer };
                Resnet::new(scope.at(format!("resnets.{i}")), (inner, outer), style)
            })
            .collect::<std::result::Result<_, _>>()?;
        let upsample = if last {
            None
        } else {
            let scope = scope.at("upsamplers.0.conv");
            Some(Conv::new(scope, (outer, outer), 3, Geometry::SAME)?)
        };
        Ok(Self { resnets, upsample })
    }

    fn forward(&self, mut x: Tensor, pass: Pass) -> Result<Tensor> {
        for resnet in &self.resnets {
            x = resnet.forward(&x, None, pass)?;
        }
        match &self.upsample {
            Some(upsample) => {
                let (_, _, height, width) = x.dims4()?;
                upsample.forward_stretched(&x, (2 * height, 2 * width), pass)
            }
            None => Ok(x),
        }
    }
}
