//! What an adapter or embedding was made for, told from names and shapes; metadata only where both are silent.

use std::fmt;

use super::key::{Role, is_telling, split};
use crate::tensor_file::TensorHeader;

/// A family of checkpoints whose adapters fit each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Base {
    /// Stable Diffusion 1: text of 768 channels.
    Sd1,
    /// Stable Diffusion 2: text of 1024.
    Sd2,
    /// Stable Diffusion XL: text of 2048, two encoders.
    Sdxl,
    /// SDXL's refiner: text of 1280.
    SdxlRefiner,
    /// Kindling, the model in the binary: text of 128.
    Kindling,
    /// Another architecture, by name.
    Other(&'static str),
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Base {
    /// Returns the name people know.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sd1 => "Stable Diffusion 1",
            Self::Sd2 => "Stable Diffusion 2",
            Self::Sdxl => "Stable Diffusion XL",
            Self::SdxlRefiner => "Stable Diffusion XL's refiner",
            Self::Kindling => "Kindling",
            Self::Other(name) => name,
        }
    }

    /// Returns the base of a model by the width of the text it listens to and its text encoders' count.
    pub(crate) fn of_model(cross_attention_dim: usize, encoders: usize) -> Self {
        match (cross_attention_dim, encoders) {
            (2048, _) | (_, 2) => Self::Sdxl,
            (1024, _) => Self::Sd2,
            (1280, _) => Self::SdxlRefiner,
            (128, _) => Self::Kindling,
            (_, _) => Self::Sd1,
        }
    }
}

/// What only other architectures' adapters have in their keys.
const FOREIGN: [(&str, &str); 16] = [
    ("single_transformer_blocks", "Flux"),
    ("double_blocks", "Flux"),
    ("single_blocks", "Flux"),
    ("joint_blocks", "Stable Diffusion 3"),
    ("joint_transformer_blocks", "Stable Diffusion 3"),
    ("lora_te3_", "Stable Diffusion 3 or Flux"),
    ("text_encoder_3.", "Stable Diffusion 3 or Flux"),
    ("lora_prior_", "Stable Cascade"),
    ("cap_embedder", "Lumina or Z-Image"),
    ("adaLN_modulation", "a diffusion transformer"),
    ("img_mod", "Qwen-Image"),
    ("lora_transformer_", "a diffusion transformer"),
    ("diffusion_model.layers.", "a diffusion transformer"),
    ("motion_modules", "AnimateDiff"),
    ("temporal_transformer", "a video model"),
    ("diffusion_model.blocks.", "a video model"),
];

/// Returns what a file's tensors were made for, or nothing if names, shapes and metadata do not tell.
pub(crate) fn base(header: &TensorHeader) -> Option<Base> {
    foreign(header)
        .or_else(|| by_cross_attention(header))
        .or_else(|| by_names(header))
        .or_else(|| by_text_encoder(header))
        .or_else(|| by_metadata(header))
}

fn foreign(header: &TensorHeader) -> Option<Base> {
    let has = |mark: &str| header.tensors.keys().any(|key| key.contains(mark));
    let transformer = |key: &String| key.starts_with("transformer.");
    let marked = FOREIGN.iter().find(|(mark, _)| has(mark));
    match marked {
        Some((_, name)) => Some(Base::Other(name)),
        None if header.tensors.keys().any(transformer) => {
            Some(Base::Other("a diffusion transformer"))
        }
        None => None,
    }
}

/// The width of the text a UNet listens to is on its cross-attention's keys and values.
fn by_cross_attention(header: &TensorHeader) -> Option<Base> {
    const LISTENING: [&str; 4] = ["attn2_to_k", "attn2.to_k", "attn2_to_v", "attn2.to_v"];
    let listens = |name: &str| LISTENING.iter().any(|end| name.ends_with(end));
    inputs(header, listens).find_map(|width| match width {
        768 => Some(Base::Sd1),
        1024 => Some(Base::Sd2),
        2048 => Some(Base::Sdxl),
        1280 => Some(Base::SdxlRefiner),
        128 => Some(Base::Kindling),
        _ => None,
    })
}

fn by_names(header: &TensorHeader) -> Option<Base> {
    // Two encoders, sizes among the inputs, or ten transformer blocks in a row.
    const SDXL: [&str; 6] = [
        "lora_te2_",
        "text_encoder_2.",
        "text_encoders.clip_g.",
        "transformer_blocks_9_",
        "transformer_blocks.9.",
        "add_embedding",
    ];
    let xl = |key: &String| SDXL.iter().any(|mark| key.contains(mark));
    header.tensors.keys().any(xl).then_some(Base::Sdxl)
}

/// One encoder of 1024 is Stable Diffusion 2's; one of 768 may also be SDXL's first, trained alone.
fn by_text_encoder(header: &TensorHeader) -> Option<Base> {
    let text = |name: &str| name.contains("text_model") || name.starts_with("text_encoder");
    let layer = |name: &str| {
        ["q_proj", "k_proj", "v_proj", "fc1"]
            .iter()
            .any(|end| name.ends_with(end))
    };
    inputs(header, |name| text(name) && layer(name))
        .any(|width| width == 1024)
        .then_some(Base::Sd2)
}

fn by_metadata(header: &TensorHeader) -> Option<Base> {
    let stated = ["modelspec.architecture", "ss_base_model_version"]
        .iter()
        .find_map(|key| header.metadata.get(*key))?;
    let starts = |mark: &str| stated.starts_with(mark);
    if starts("stable-diffusion-xl") || starts("sdxl") {
        Some(Base::Sdxl)
    } else if starts("stable-diffusion-v2") || starts("sd_v2") {
        Some(Base::Sd2)
    } else if starts("stable-diffusion-v1") || starts("sd_v1") || starts("sd_1") {
        Some(Base::Sd1)
    } else if starts("flux") {
        Some(Base::Other("Flux"))
    } else {
        None
    }
}

/// Returns the input widths of the adapter's modules whose names pass, as far as their shapes tell.
fn inputs(header: &TensorHeader, passes: impl Fn(&str) -> bool) -> impl Iterator<Item = usize> {
    header.tensors.iter().filter_map(move |(key, entry)| {
        let (name, role) = split(key)?;
        let tells = matches!(role, Role::Down | Role::HadaW1B | Role::Diff);
        (tells && is_telling(role) && passes(&name))
            .then(|| entry.shape.get(1).copied())
            .flatten()
    })
}
