//! The decoder of the KL autoencoder: latents to pixels. (Encoding comes with image to image.)

use candle_core::{Result, Tensor};
use serde::Deserialize;

use crate::layers::{Conv, GroupNorm, Linear};
use crate::load::LoadError;
use crate::modules::Scope;
use crate::unet::{Resnet, ResnetStyle};
use hearth_kernels::attention::{Mask, attention};
use hearth_kernels::conv::Geometry;

/// What `vae/config.json` says.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(crate) struct VaeConfig {
    pub(crate) latent_channels: usize,
    pub(crate) out_channels: usize,
    pub(crate) block_out_channels: Vec<usize>,
    pub(crate) layers_per_block: usize,
    pub(crate) norm_num_groups: usize,
    pub(crate) scaling_factor: f64,
    pub(crate) shift_factor: Option<f64>,
    pub(crate) act_fn: String,
    pub(crate) up_block_types: Vec<String>,
    pub(crate) use_post_quant_conv: bool,
    pub(crate) mid_block_add_attention: bool,
}

/// diffusers' defaults.
impl Default for VaeConfig {
    fn default() -> Self {
        Self {
            latent_channels: 4,
            out_channels: 3,
            block_out_channels: vec![64],
            layers_per_block: 1,
            norm_num_groups: 32,
            scaling_factor: 0.18215,
            shift_factor: None,
            act_fn: "silu".to_owned(),
            up_block_types: Vec::new(),
            use_post_quant_conv: true,
            mid_block_add_attention: true,
        }
    }
}

impl VaeConfig {
    /// Returns how many pixels a latent covers in each direction.
    pub(crate) fn factor(&self) -> usize {
        1 << self.block_out_channels.len().saturating_sub(1)
    }

    fn check(&self) -> std::result::Result<(), LoadError> {
        let unsupported = |what: String| Err(LoadError::Unsupported { part: "vae", what });
        let (channels, groups) = (&self.block_out_channels, self.norm_num_groups);
        let fits = |c: &usize| (1..=8192).contains(c) && groups > 0 && c.is_multiple_of(groups);
        if !(1..=6).contains(&channels.len()) || !channels.iter().all(fits) {
            return unsupported(format!("channels {channels:?} in {groups} groups"));
        }
        if !(1..=16).contains(&self.layers_per_block) {
            return unsupported(format!("{} layers per block", self.layers_per_block));
        }
        if self.latent_channels != 4 || self.out_channels != 3 {
            return unsupported(format!("{} latent channels", self.latent_channels));
        }
        if !["silu", "swish"].contains(&self.act_fn.as_str()) {
            return unsupported(format!("act_fn {}", self.act_fn));
        }
        if let Some(other) = self
            .up_block_types
            .iter()
            .find(|kind| *kind != "UpDecoderBlock2D")
        {
            return unsupported(format!("block type {other}"));
        }
        if !self.scaling_factor.is_normal() {
            return unsupported(format!("scaling_factor {}", self.scaling_factor));
        }
        Ok(())
    }
}

/// Latents to pixels.
#[derive(Debug)]
pub(crate) struct VaeDecoder {
    scale: f64,
    shift: f64,
    post_quant: Option<Conv>,
    conv_in: Conv,
    mid: (Resnet, Option<MidAttention>, Resnet),
    up: Vec<UpBlock>,
    norm_out: GroupNorm,
    conv_out: Conv,
}

impl VaeDecoder {
    pub(crate) fn new(
        config: &VaeConfig,
        mut scope: Scope<'_>,
    ) -> std::result::Result<Self, LoadError> {
        config.check()?;
        let latent = config.latent_channels;
        let style = ResnetStyle {
            groups: config.norm_num_groups,
            eps: 1e-6,
            time: None,
        };
        let deepest = *config
            .block_out_channels
            .last()
            .expect("checked not to be empty");
        let post_quant = if config.use_post_quant_conv {
            let scope = scope.at("post_quant_conv");
            Some(Conv::new(scope, (latent, latent), 1, Geometry::POINT)?)
        } else {
            None
        };
        let mut scope = scope.at("decoder");
        let conv_in = Conv::new(scope.at("conv_in"), (latent, deepest), 3, Geometry::SAME)?;
        let attention = if config.mid_block_add_attention {
            Some(MidAttention::new(
                scope.at("mid_block.attentions.0"),
                deepest,
                style.groups,
            )?)
        } else {
            None
        };
        let mid = (
            Resnet::new(scope.at("mid_block.resnets.0"), (deepest, deepest), style)?,
            attention,
            Resnet::new(scope.at("mid_block.resnets.1"), (deepest, deepest), style)?,
        );
        let mut up = Vec::new();
        let mut inner = deepest;
        for (i, outer) in config.block_out_channels.iter().rev().enumerate() {
            let last = i + 1 == config.block_out_channels.len();
            let scope = scope.at(format!("up_blocks.{i}"));
            up.push(UpBlock::new(scope, config, (inner, *outer), last, style)?);
            inner = *outer;
        }
        let norm = scope.at("conv_norm_out");
        Ok(Self {
            scale: 1.0 / config.scaling_factor,
            shift: config.shift_factor.unwrap_or(0.0),
            post_quant,
            conv_in,
            mid,
            up,
            norm_out: GroupNorm::new(norm, inner, config.norm_num_groups, 1e-6)?,
            conv_out: Conv::new(
                scope.at("conv_out"),
                (inner, config.out_channels),
                3,
                Geometry::SAME,
            )?,
        })
    }

    /// Returns pixels `[batch, 3, height, width]`, nominally in -1..=1, of the UNet's latents.
    pub(crate) fn decode(&self, latents: &Tensor) -> Result<Tensor> {
        let mut x = latents.affine(self.scale, self.shift)?;
        if let Some(post_quant) = &self.post_quant {
            x = post_quant.forward(&x)?;
        }
        x = self.conv_in.forward(&x)?;
        x = self.mid.0.forward(&x, None)?;
        if let Some(attention) = &self.mid.1 {
            x = attention.forward(&x)?;
        }
        x = self.mid.2.forward(&x, None)?;
        for block in &self.up {
            x = block.forward(x)?;
        }
        self.conv_out.forward(&self.norm_out.forward_silu(&x)?)
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

    fn forward(&self, mut x: Tensor) -> Result<Tensor> {
        for resnet in &self.resnets {
            x = resnet.forward(&x, None)?;
        }
        match &self.upsample {
            Some(upsample) => {
                let (_, _, height, width) = x.dims4()?;
                upsample.forward_stretched(&x, (2 * height, 2 * width))
            }
            None => Ok(x),
        }
    }
}

/// One head over all pixels, in the middle.
#[derive(Debug)]
struct MidAttention {
    norm: GroupNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
}

impl MidAttention {
    fn new(
        mut scope: Scope<'_>,
        width: usize,
        groups: usize,
    ) -> std::result::Result<Self, LoadError> {
        Ok(Self {
            norm: GroupNorm::new(scope.at("group_norm"), width, groups, 1e-6)?,
            q: Linear::new(scope.at("to_q"), (width, width))?,
            k: Linear::new(scope.at("to_k"), (width, width))?,
            v: Linear::new(scope.at("to_v"), (width, width))?,
            out: Linear::new(scope.at("to_out.0"), (width, width))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, channels, height, width) = x.dims4()?;
        let tokens = self
            .norm
            .forward(x)?
            .reshape((batch, channels, height * width))?;
        let tokens = tokens.transpose(1, 2)?;
        let (q, k, v) = (
            self.q.forward(&tokens)?,
            self.k.forward(&tokens)?,
            self.v.forward(&tokens)?,
        );
        let h = self
            .out
            .forward_to_channels(&attention(&q, &k, &v, 1, Mask::Nothing)?)?;
        x + h.reshape((batch, channels, height, width))?
    }
}
