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
    pub(crate) layers_per_block: PerLevel,
    pub(crate) cross_attention_dim: usize,
    /// The number of heads, in spite of its name.
    pub(crate) attention_head_dim: PerLevel,
    pub(crate) num_attention_heads: Option<PerLevel>,
    pub(crate) transformer_layers_per_block: Depths,
    /// Depths on the way up, where they differ.
    pub(crate) reverse_transformer_layers_per_block: Option<Depths>,
    pub(crate) norm_num_groups: usize,
    pub(crate) norm_eps: f64,
    pub(crate) use_linear_projection: bool,
    pub(crate) flip_sin_to_cos: bool,
    pub(crate) freq_shift: f64,
    pub(crate) act_fn: String,
    pub(crate) addition_embed_type: Option<String>,
    /// Sinusoids of each number beside the pooled text.
    pub(crate) addition_time_embed_dim: Option<usize>,
    /// Pooled text and sinusoids together: 2816 in SDXL, 2560 in its refiner.
    pub(crate) projection_class_embeddings_input_dim: Option<usize>,
    /// Sinusoids of the guidance scale, in models distilled from it.
    pub(crate) time_cond_proj_dim: Option<usize>,
    pub(crate) class_embed_type: Value,
    pub(crate) num_class_embeds: Value,
    pub(crate) encoder_hid_dim: Value,
    pub(crate) attention_type: String,
    pub(crate) dual_cross_attention: bool,
    pub(crate) center_input_sample: bool,
    pub(crate) only_cross_attention: OnlyCross,
    pub(crate) resnet_time_scale_shift: String,
    pub(crate) time_embedding_type: String,
    pub(crate) mid_block_scale_factor: f64,
}

/// One number for all levels, or one for each.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum PerLevel {
    All(usize),
    Each(Vec<usize>),
}

impl PerLevel {
    pub(super) fn at(&self, level: usize) -> Option<usize> {
        match self {
            Self::All(n) => Some(*n),
            Self::Each(each) => each.get(level).copied(),
        }
    }
}

/// Transformer blocks: one number for all levels, or for each level one number or one for each layer.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Depths {
    All(usize),
    Each(Vec<PerLevel>),
}

impl Depths {
    pub(super) fn at(&self, level: usize, layer: usize) -> Option<usize> {
        match self {
            Self::All(n) => Some(*n),
            Self::Each(each) => each.get(level)?.at(layer),
        }
    }
}

/// A flag diffusers also writes as a list.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum OnlyCross {
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
            layers_per_block: PerLevel::All(2),
            cross_attention_dim: 1280,
            attention_head_dim: PerLevel::All(8),
            num_attention_heads: None,
            transformer_layers_per_block: Depths::All(1),
            reverse_transformer_layers_per_block: None,
            norm_num_groups: 32,
            norm_eps: 1e-5,
            use_linear_projection: false,
            flip_sin_to_cos: true,
            freq_shift: 0.0,
            act_fn: "silu".to_owned(),
            addition_embed_type: None,
            addition_time_embed_dim: None,
            projection_class_embeddings_input_dim: None,
            time_cond_proj_dim: None,
            class_embed_type: Value::Null,
            num_class_embeds: Value::Null,
            encoder_hid_dim: Value::Null,
            attention_type: "default".to_owned(),
            dual_cross_attention: false,
            center_input_sample: false,
            only_cross_attention: OnlyCross::All(false),
            resnet_time_scale_shift: "default".to_owned(),
            time_embedding_type: "positional".to_owned(),
            mid_block_scale_factor: 1.0,
        }
    }
}

impl UnetConfig {
    pub(super) fn check_bounds(&self) -> Result<(), LoadError> {
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
        if !(1..=16_384).contains(&self.cross_attention_dim) {
            return unsupported(format!("text vectors of {}", self.cross_attention_dim));
        }
        if ![4, 8, 9].contains(&self.in_channels) || self.out_channels != 4 {
            return unsupported(format!(
                "{} channels in and {} out; known are 4, 8 (instructions) and 9 (inpainting) in, 4 out",
                self.in_channels, self.out_channels
            ));
        }
        match self.time_cond_proj_dim {
            Some(dim) if !(2..=4096).contains(&dim) || !dim.is_multiple_of(2) => {
                return unsupported(format!("time_cond_proj_dim {dim}"));
            }
            Some(_) | None => {}
        }
        Ok(())
    }

    pub(super) fn check_extras(&self) -> Result<(), LoadError> {
        let extras = [
            ("class_embed_type", &self.class_embed_type),
            ("num_class_embeds", &self.num_class_embeds),
            ("encoder_hid_dim", &self.encoder_hid_dim),
        ];
        if let Some((name, value)) = extras.into_iter().find(|(_, value)| !value.is_null()) {
            return unsupported(format!("{name} {value}"));
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
            || self.attention_type != "default"
            || self.mid_block_scale_factor != 1.0
        {
            return unsupported(format!(
                "act_fn {}, resnet_time_scale_shift {}, time_embedding_type {}, attention_type {}",
                self.act_fn,
                self.resnet_time_scale_shift,
                self.time_embedding_type,
                self.attention_type
            ));
        }
        self.added().map(|_| ())
    }

    /// Returns the sinusoids (pairs) of each number beside the pooled text, and the width of both together,
    /// if the UNet takes them.
    pub(super) fn added(&self) -> Result<Option<(usize, usize)>, LoadError> {
        let width = self.projection_class_embeddings_input_dim;
        match (
            self.addition_embed_type.as_deref(),
            self.addition_time_embed_dim,
            width,
        ) {
            (None, _, _) => Ok(None),
            (Some("text_time"), Some(dim), Some(width))
                if (2..=4096).contains(&dim)
                    && dim.is_multiple_of(2)
                    && (1..=65_536).contains(&width) =>
            {
                Ok(Some((dim / 2, width)))
            }
            (Some(kind), dim, width) => unsupported(format!(
                "addition_embed_type {kind} of {width:?} with numbers of {dim:?}"
            )),
        }
    }

    /// Stable Diffusion 1.5.
    pub(crate) fn stable_diffusion_1() -> Self {
        Self {
            cross_attention_dim: 768,
            ..Self::default()
        }
    }

    /// Stable Diffusion 2.1.
    pub(crate) fn stable_diffusion_2() -> Self {
        Self {
            cross_attention_dim: 1024,
            attention_head_dim: PerLevel::Each(vec![5, 10, 20, 20]),
            use_linear_projection: true,
            ..Self::default()
        }
    }

    /// Stable Diffusion XL, base.
    pub(crate) fn stable_diffusion_xl() -> Self {
        let names = |names: [&str; 3]| names.map(str::to_owned).to_vec();
        let (down, up) = ("CrossAttnDownBlock2D", "CrossAttnUpBlock2D");
        Self {
            block_out_channels: vec![320, 640, 1280],
            down_block_types: names(["DownBlock2D", down, down]),
            up_block_types: names([up, up, "UpBlock2D"]),
            cross_attention_dim: 2048,
            attention_head_dim: PerLevel::Each(vec![5, 10, 20]),
            transformer_layers_per_block: Depths::Each([1, 2, 10].map(PerLevel::All).to_vec()),
            use_linear_projection: true,
            addition_embed_type: Some("text_time".to_owned()),
            addition_time_embed_dim: Some(256),
            projection_class_embeddings_input_dim: Some(2816),
            ..Self::default()
        }
    }

    /// Stable Diffusion XL's refiner.
    #[cfg(test)]
    pub(crate) fn refiner() -> Self {
        let names = |names: [&str; 4]| names.map(str::to_owned).to_vec();
        let (down, up) = ("CrossAttnDownBlock2D", "CrossAttnUpBlock2D");
        Self {
            block_out_channels: vec![384, 768, 1536, 1536],
            down_block_types: names(["DownBlock2D", down, down, "DownBlock2D"]),
            up_block_types: names(["UpBlock2D", up, up, "UpBlock2D"]),
            cross_attention_dim: 1280,
            attention_head_dim: PerLevel::Each(vec![6, 12, 24, 24]),
            transformer_layers_per_block: Depths::All(4),
            projection_class_embeddings_input_dim: Some(2560),
            ..Self::stable_diffusion_xl()
        }
    }
}

pub(super) fn unsupported<T>(what: String) -> Result<T, LoadError> {
    Err(LoadError::Unsupported { part: "unet", what })
}
