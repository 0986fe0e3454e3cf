//! What a person asks of `hearth generate`, before names become cards and files become inputs.

use serde::{Deserialize, Serialize};

use super::{ModelRef, Place};
use crate::job::{
    Blend, Compat, Fit, Hires, ImageFormat, Margins, MaskArea, MaskFill, Micro, NoiseSchedule,
    Penultimate, Rng, Sampler, Tiling, Variation,
};
use crate::unit::{Millikudos, Millis};

/// What `hearth generate` asks. What is absent is as the model likes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerateRequest {
    /// What to draw; may hold `<lora:name:weight>`.
    pub prompt: String,
    /// What to stay away from.
    pub negative: String,
    /// The checkpoint; Kindling if absent.
    pub model: Option<ModelRef>,
    /// An autoencoder used instead of the checkpoint's own.
    pub vae: Option<ModelRef>,
    /// Adapters with their weights, before those the prompt names.
    pub loras: Vec<LoraAsk>,
    /// Textual inversions, beside those the prompts name by title.
    pub embeddings: Vec<ModelRef>,
    /// Width and height in pixels.
    pub size: Option<(u32, u32)>,
    /// Steps.
    pub steps: Option<u32>,
    /// Guidance scale.
    pub guidance: Option<Micro>,
    /// Sampler.
    pub sampler: Option<Sampler>,
    /// Noise schedule.
    pub schedule: Option<NoiseSchedule>,
    /// Whether the last but one sigma is left out.
    pub penultimate: Penultimate,
    /// Text encoder layers to go back: 1 is none.
    pub clip_skip: Option<u32>,
    /// Noise seed; drawn if absent. Picture `i` of a batch uses seed + i.
    pub seed: Option<u64>,
    /// A second seed mixed in.
    pub variation: Option<Variation>,
    /// Added to the seed for the noise of the steps.
    pub eta_seed_delta: u32,
    /// Noise generator.
    pub rng: Rng,
    /// Conventions.
    pub compat: Compat,
    /// Where to go: with several pictures they are spread evenly from here to there and share a seed.
    pub blend: Option<Blend>,
    /// What to start from.
    pub start: StartAsk,
    /// A second pass at a larger size.
    pub hires: Option<Hires>,
    /// Whether the edges meet.
    pub tiling: Tiling,
    /// What the picture is written as; by the name of `out` if absent.
    pub format: Option<ImageFormat>,
    /// How many pictures.
    pub count: u32,
    /// Most kudos for each picture.
    pub max: Option<Millikudos>,
    /// Give up after this long.
    pub timeout: Option<Millis>,
    /// Where it may run.
    pub place: Place,
    /// Absolute path of the file, or of the folder when several pictures are asked.
    pub out: Option<String>,
    /// Absolute folder for every step's latents and picture.
    pub save_steps: Option<String>,
    /// Only say what it would cost.
    pub dry_run: bool,
}

impl GenerateRequest {
    /// Returns a request for one picture of a prompt, everything else as the model likes it.
    pub fn of(prompt: &str) -> Self {
        Self {
            prompt: prompt.to_owned(),
            negative: String::new(),
            model: None,
            vae: None,
            loras: Vec::new(),
            embeddings: Vec::new(),
            size: None,
            steps: None,
            guidance: None,
            sampler: None,
            schedule: None,
            penultimate: Penultimate::Kept,
            clip_skip: None,
            seed: None,
            variation: None,
            eta_seed_delta: 0,
            rng: Rng::TorchCpu,
            compat: Compat::A1111,
            blend: None,
            start: StartAsk::Noise,
            hires: None,
            tiling: Tiling::None,
            format: None,
            count: 1,
            max: None,
            timeout: None,
            place: Place::Any,
            out: None,
            save_steps: None,
            dry_run: false,
        }
    }
}

/// An adapter a person asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraAsk {
    /// Which.
    pub model: ModelRef,
    /// How strongly in the UNet.
    pub unet: Micro,
    /// How strongly in the text encoders.
    pub text: Micro,
}

/// What a person wants to start from; files by absolute path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum StartAsk {
    /// Noise.
    Noise,
    /// A picture.
    Picture {
        /// Its file.
        image: String,
        /// How much is redone.
        strength: Micro,
        /// How it is brought to size.
        fit: Fit,
        /// What may change.
        mask: Option<MaskAsk>,
        /// Pixels added around it.
        margins: Margins,
    },
    /// A step saved before.
    Step {
        /// Its file.
        state: String,
        /// Steps it has behind it.
        done: u32,
    },
}

/// A mask a person gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskAsk {
    /// Its file.
    pub image: String,
    /// Whether black is repainted instead of white.
    pub invert: bool,
    /// Blur of its edge, in pixels.
    pub blur: u32,
    /// What is under it at the start.
    pub fill: MaskFill,
    /// How much is computed.
    pub area: MaskArea,
}
