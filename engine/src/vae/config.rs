//! `vae/config.json`: parsed, bounded, and refused where it asks for more than is computed.

use serde::Deserialize;

use crate::load::LoadError;
use crate::unet::ResnetStyle;

/// What `vae/config.json` says.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(crate) struct VaeConfig {
    pub(crate) in_channels: usize,
    pub(crate) latent_channels: usize,
    pub(crate) out_channels: usize,
    pub(crate) block_out_channels: Vec<usize>,
    pub(crate) layers_per_block: usize,
    pub(crate) norm_num_groups: usize,
    pub(crate) scaling_factor: f64,
    pub(crate) shift_factor: Option<f64>,
    pub(crate) act_fn: String,
    pub(crate) down_block_types: Vec<String>,
    pub(crate) up_block_types: Vec<String>,
    pub(crate) use_quant_conv: bool,
    pub(crate) use_post_quant_conv: bool,
    pub(crate) mid_block_add_attention: bool,
}

/// diffusers' defaults.
impl Default for VaeConfig {
    fn default() -> Self {
        Self {
            in_channels: 3,
            latent_channels: 4,
            out_channels: 3,
            block_out_channels: vec![64],
            layers_per_block: 1,
            norm_num_groups: 32,
            scaling_factor: 0.18215,
            shift_factor: None,
            act_fn: "silu".to_owned(),
            down_block_types: Vec::new(),
            up_block_types: Vec::new(),
            use_quant_conv: true,
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

    pub(super) fn check(&self) -> Result<(), LoadError> {
        let unsupported = |what: String| Err(LoadError::Unsupported { part: "vae", what });
        let (channels, groups) = (&self.block_out_channels, self.norm_num_groups);
        let fits = |c: &usize| (1..=8192).contains(c) && groups > 0 && c.is_multiple_of(groups);
        if !(1..=6).contains(&channels.len()) || !channels.iter().all(fits) {
            return unsupported(format!("channels {channels:?} in {groups} groups"));
        }
        if !(1..=16).contains(&self.layers_per_block) {
            return unsupported(format!("{} layers per block", self.layers_per_block));
        }
        if self.latent_channels != 4 || (self.in_channels, self.out_channels) != (3, 3) {
            return unsupported(format!(
                "{} latent channels of {} to {}",
                self.latent_channels, self.in_channels, self.out_channels
            ));
        }
        if !["silu", "swish"].contains(&self.act_fn.as_str()) {
            return unsupported(format!("act_fn {}", self.act_fn));
        }
        let foreign =
            |kinds: &[String], ours: &str| kinds.iter().find(|kind| *kind != ours).cloned();
        let other = foreign(&self.down_block_types, "DownEncoderBlock2D")
            .or_else(|| foreign(&self.up_block_types, "UpDecoderBlock2D"));
        if let Some(other) = other {
            return unsupported(format!("block type {other}"));
        }
        if !self.scaling_factor.is_normal() {
            return unsupported(format!("scaling_factor {}", self.scaling_factor));
        }
        Ok(())
    }

    /// Returns the channels of the lowest resolution.
    pub(super) fn deepest(&self) -> usize {
        self.block_out_channels.last().copied().unwrap_or(1)
    }

    pub(super) fn style(&self) -> ResnetStyle {
        ResnetStyle {
            groups: self.norm_num_groups,
            eps: 1e-6,
            time: None,
        }
    }

    /// Stable Diffusion's own.
    pub(crate) fn stable_diffusion() -> Self {
        Self {
            block_out_channels: vec![128, 256, 512, 512],
            layers_per_block: 2,
            ..Self::default()
        }
    }
}
