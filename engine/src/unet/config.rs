//! `unet/config.json`: parsed, bounded, and refused where it asks for more than is computed.

use serde::Deserialize;
use serde_json::Value;

use crate::load::LoadError;

/// What a UNet's `config.json` says.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(crate) struct UnetConfig {
    pub(crate) in_channels: usize,
    pub(crate) out_channels: usize,
    pub(crate) block_out_channels: Vec<usize>,
    pub(crate) down_block_types: Vec<String>,
    pub(crate) mid_block_type: Option<String>,
    pub(crate) up_block_types: Vec<String>,
    pub(crate) layers_per_block: usize,
    pub(crate) cross_attention_dim: usize,
    /// The number of heads, in spite of its name.
    pub(crate) attention_head_dim: PerLevel,
    pub(crate) num_attention_heads: Option<PerLevel>,
    pub(crate) transformer_layers_per_block: PerLevel,
    pub(crate) norm_num_groups: usize,
    pub(crate) norm_eps: f64,
    pub(crate) use_linear_projection: bool,
    pub(crate) flip_sin_to_cos: bool,
    pub(crate) freq_shift: f64,
    pub(crate) act_fn: String,
    addition_embed_type: Value,
    class_embed_type: Value,
    num_class_embeds: Value,
    encoder_hid_dim: Value,
    time_cond_proj_dim: Value,
    dual_cross_attention: bool,
    center_input_sample: bool,
    only_cross_attention: OnlyCross,
    resnet_time_scale_shift: String,
    time_embedding_type: String,
    mid_block_scale_factor: f64,
}

/// One number for all levels, or one for each.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum PerLevel {
    All(usize),
    Each(Vec<usize>),
}

impl PerLevel {
    fn at(&self, level: usize) -> Option<usize> {
        match self {
            Self::All(n) => Some(*n),
            Self::Each(each) => each.get(level).copied(),
        }
    }
}

/// A flag diffusers also writes as a list.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum OnlyCross {
    All(bool),
    Each(Vec<bool>),
}

/// diffusers' defaults.
impl Default for UnetConfig {
    fn default() -> Self {
        let names = |kinds: [&str; 4]| kinds.map(str::to_owned).to_vec();
        let cross = "CrossAttnDownBlock2D";
        let cross_up = "CrossAttnUpBlock2D";
        Self {
            in_channels: 4,
            out_channels: 4,
            block_out_channels: vec![320, 640, 1280, 1280],
            down_block_types: names([cross, cross, cross, "DownBlock2D"]),
            mid_block_type: Some("UNetMidBlock2DCrossAttn".to_owned()),
            up_block_types: names(["UpBlock2D", cross_up, cross_up, cross_up]),
            layers_per_block: 2,
            cross_attention_dim: 1280,
            attention_head_dim: PerLevel::All(8),
            num_attention_heads: None,
            transformer_layers_per_block: PerLevel::All(1),
            norm_num_groups: 32,
            norm_eps: 1e-5,
            use_linear_projection: false,
            flip_sin_to_cos: true,
            freq_shift: 0.0,
            act_fn: "silu".to_owned(),
            addition_embed_type: Value::Null,
            class_embed_type: Value::Null,
            num_class_embeds: Value::Null,
            encoder_hid_dim: Value::Null,
            time_cond_proj_dim: Value::Null,
            dual_cross_attention: false,
            center_input_sample: false,
            only_cross_attention: OnlyCross::All(false),
            resnet_time_scale_shift: "default".to_owned(),
            time_embedding_type: "positional".to_owned(),
            mid_block_scale_factor: 1.0,
        }
    }
}

/// One resolution of the UNet.
#[derive(Clone, Debug)]
pub(super) struct Level {
    pub(super) channels: usize,
    pub(super) heads: usize,
    pub(super) depth: usize,
    pub(super) attends_down: bool,
    pub(super) attends_up: bool,
}

fn unsupported<T>(what: String) -> Result<T, LoadError> {
    Err(LoadError::Unsupported { part: "unet", what })
}

impl UnetConfig {
    /// Checks everything and returns the levels, highest resolution first.
    pub(super) fn levels(&self) -> Result<Vec<Level>, LoadError> {
        self.check_extras()?;
        self.check_bounds()?;
        let count = self.block_out_channels.len();
        (0..count).map(|i| self.level(i, count)).collect()
    }

    fn level(&self, i: usize, count: usize) -> Result<Level, LoadError> {
        let attends = |kind: &str, cross: &str, plain: &str| match kind {
            kind if kind == cross => Ok(true),
            kind if kind == plain => Ok(false),
            other => unsupported(format!("block type {other}")),
        };
        let channels = self.block_out_channels[i];
        let heads = self
            .num_attention_heads
            .as_ref()
            .unwrap_or(&self.attention_head_dim)
            .at(i);
        let depth = self.transformer_layers_per_block.at(i);
        let (Some(heads), Some(depth)) = (heads, depth) else {
            return unsupported(format!("no heads or depth for level {i}"));
        };
        if heads == 0 || !channels.is_multiple_of(heads) || depth > 32 {
            return unsupported(format!(
                "{channels} channels in {heads} heads, depth {depth}"
            ));
        }
        let down = &self.down_block_types[i];
        let up = &self.up_block_types[count - 1 - i];
        Ok(Level {
            channels,
            heads,
            depth,
            attends_down: attends(down, "CrossAttnDownBlock2D", "DownBlock2D")?,
            attends_up: attends(up, "CrossAttnUpBlock2D", "UpBlock2D")?,
        })
    }

    fn check_bounds(&self) -> Result<(), LoadError> {
        let count = self.block_out_channels.len();
        if !(1..=8).contains(&count)
            || self.down_block_types.len() != count
            || self.up_block_types.len() != count
        {
            return unsupported(format!("{count} levels with other numbers of blocks"));
        }
        let groups = self.norm_num_groups;
        let fits = |c: &usize| (1..=16_384).contains(c) && groups > 0 && c.is_multiple_of(groups);
        if !self.block_out_channels.iter().all(fits)
            || !self.block_out_channels[0].is_multiple_of(2)
        {
            return unsupported(format!(
                "channels {:?} in {groups} groups",
                self.block_out_channels
            ));
        }
        if !(1..=16).contains(&self.layers_per_block) || self.cross_attention_dim > 16_384 {
            return unsupported(format!("{} layers per block", self.layers_per_block));
        }
        if self.in_channels != 4 || self.out_channels != 4 {
            return unsupported(format!(
                "{} channels in and {} out; text to image has 4 and 4",
                self.in_channels, self.out_channels
            ));
        }
        Ok(())
    }

    fn check_extras(&self) -> Result<(), LoadError> {
        let extras = [
            ("addition_embed_type", &self.addition_embed_type),
            ("class_embed_type", &self.class_embed_type),
            ("num_class_embeds", &self.num_class_embeds),
            ("encoder_hid_dim", &self.encoder_hid_dim),
            ("time_cond_proj_dim", &self.time_cond_proj_dim),
        ];
        if let Some((name, value)) = extras.into_iter().find(|(_, value)| !value.is_null()) {
            return unsupported(format!(
                "{name} {value} (SDXL and others; not Stable Diffusion 1)"
            ));
        }
        let only_cross = match &self.only_cross_attention {
            OnlyCross::All(flag) => *flag,
            OnlyCross::Each(flags) => flags.contains(&true),
        };
        if self.dual_cross_attention || only_cross || self.center_input_sample {
            return unsupported("dual or only cross-attention, or centred input".to_owned());
        }
        if !["silu", "swish"].contains(&self.act_fn.as_str())
            || self.resnet_time_scale_shift != "default"
            || self.time_embedding_type != "positional"
            || self.mid_block_scale_factor != 1.0
        {
            return unsupported(format!(
                "act_fn {}, resnet_time_scale_shift {}, time_embedding_type {}",
                self.act_fn, self.resnet_time_scale_shift, self.time_embedding_type
            ));
        }
        match self.mid_block_type.as_deref() {
            None | Some("UNetMidBlock2DCrossAttn") => Ok(()),
            Some(other) => unsupported(format!("mid block {other}")),
        }
    }

    #[cfg(test)]
    pub(crate) fn stable_diffusion_1() -> Self {
        Self {
            cross_attention_dim: 768,
            ..Self::default()
        }
    }
}
