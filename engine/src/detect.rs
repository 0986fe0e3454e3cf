//! What tensor shapes say about a model: its configurations in diffusers' words, its family, and the name
//! of what it is if it is none of ours.
//!
//! Nothing here believes metadata or file names. Two numbers cannot be read off shapes, the heads of
//! attention and the groups of normalisation; they follow the families' own rules.

mod config;
mod foreign;

pub(crate) use config::{Encoder, schedule, text, unet, vae};
pub(crate) use foreign::foreign;

use hearth_protocol::job::Family;

use crate::load::LoadError;
use crate::names::Notation;
use crate::unet::UnetConfig;
use crate::weights::PartFiles;

/// What a UNet's output means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prediction {
    /// The noise.
    Epsilon,
    /// Velocity: noise and picture mixed by their shares.
    Velocity,
}

impl Prediction {
    /// Returns diffusers' word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Epsilon => "epsilon",
            Self::Velocity => "v_prediction",
        }
    }

    /// Returns what diffusers, `ModelSpec` or A1111 mean by a word.
    pub(crate) fn of(name: &str) -> Option<Self> {
        match name {
            "epsilon" | "eps" => Some(Self::Epsilon),
            "v_prediction" | "v" => Some(Self::Velocity),
            _ => None,
        }
    }
}

/// Returns a model's family by what its UNet takes in and whose names its first text encoder has: only
/// Stable Diffusion 2 comes with `OpenCLIP`'s there.
pub(crate) fn family(unet: &UnetConfig, text: &PartFiles) -> Family {
    let open = text.naming().notation == Notation::OpenClip;
    match (&unet.addition_embed_type, unet.cross_attention_dim) {
        (Some(_), _) => Family::Sdxl,
        (None, 1024) => Family::Sd2,
        (None, _) if open => Family::Sd2,
        (None, _) => Family::Sd15,
    }
}

/// Decides from weights whether a UNet of Stable Diffusion 2 predicts velocity, which its shapes do not
/// show: the last normalisation's biases spread further then (the rule `ComfyUI` uses; 0.09 lies between).
pub(crate) fn predicts_velocity(unet: &PartFiles) -> Result<bool, LoadError> {
    let telling = "up_blocks.3.attentions.2.transformer_blocks.0.norm1.bias";
    if unet.find(telling).is_none() {
        return Ok(false);
    }
    let values: Vec<f64> = unet.read(telling)?.into_iter().map(f64::from).collect();
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Ok((squares / (count - 1.0)).sqrt() > 0.09)
}
