//! Pixels to the moments of latents.

use candle_core::{Result, Tensor};

use super::VaeConfig;
use super::middle::Middle;
use crate::layers::{Conv, GroupNorm, Pass};
use crate::load::LoadError;
use crate::modules::Scope;
use crate::unet::{Resnet, ResnetStyle};
use hearth_kernels::conv::Geometry;

#[derive(Debug)]
pub(super) struct Encoder {
    conv_in: Conv,
    down: Vec<DownBlock>,
    middle: Middle,
    norm_out: GroupNorm,
    conv_out: Conv,
}

impl Encoder {
    pub(super) fn new(
        config: &VaeConfig,
        mut scope: Scope<'_>,
    ) -> std::result::Result<Self, LoadError> {
        let (deepest, style) = (config.deepest(), config.style());
        let mut inner = config.block_out_channels[0];
        let shape = (config.in_channels, inner);
        let conv_in = Conv::new(scope.at("conv_in"), shape, 3, Geometry::SAME)?;
        let mut down = Vec::new();
        for (i, outer) in config.block_out_channels.iter().enumerate() {
            let last = i + 1 == config.block_out_channels.len();
            let scope = scope.at(format!("down_blocks.{i}"));
            down.push(DownBlock::new(scope, config, (inner, *outer), last, style)?);
            inner = *outer;
        }
        let middle = Middle::new(config, scope.at("mid_block"))?;
        let norm = scope.at("conv_norm_out");
        let norm_out = GroupNorm::new(norm, deepest, style.groups, style.eps)?;
        // Means, and logarithms of variances.
        let shape = (deepest, 2 * config.latent_channels);
        Ok(Self {
            conv_in,
            down,
            middle,
            norm_out,
            conv_out: Conv::new(scope.at("conv_out"), shape, 3, Geometry::SAME)?,
        })
    }

    pub(super) fn forward(&self, pixels: &Tensor, pass: Pass) -> Result<Tensor> {
        let mut x = self.conv_in.forward(pixels, pass)?;
        for block in &self.down {
            x = block.forward(x, pass)?;
        }
        x = self.middle.forward(&x, pass)?;
        let x = self.norm_out.forward_silu(&x)?;
        self.conv_out.forward(&x, pass)?.contiguous()
    }
}

#[derive(Debug)]
struct DownBlock {
    resnets: Vec<Resnet>,
    downsample: Option<Conv>,
}

impl DownBlock {
    fn new(
        mut scope: Scope<'_>,
        config: &VaeConfig,
        (inner, outer): (usize, usize),
        last: bool,
        style: ResnetStyle,
    ) -> std::result::Result<Self, LoadError> {
        let resnets = (0..config.layers_per_block)
            .map(|i| {
                let inner = if i == 0 { inner } else { outer };
                Resnet::new(scope.at(format!("resnets.{i}")), (inner, outer), style)
            })
            .collect::<std::result::Result<_, _>>()?;
        let downsample = if last {
            None
        } else {
            let scope = scope.at("downsamplers.0.conv");
            Some(Conv::new(scope, (outer, outer), 3, Geometry::HALF_AFTER)?)
        };
        Ok(Self {
            resnets,
            downsample,
        })
    }

    fn forward(&self, mut x: Tensor, pass: Pass) -> Result<Tensor> {
        for resnet in &self.resnets {
            x = resnet.forward(&x, None, pass)?;
        }
        match &self.downsample {
            Some(downsample) => downsample.forward(&x, pass),
            None => Ok(x),
        }
    }
}
