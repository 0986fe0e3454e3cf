//! What a picture was made with, as far as its text tells: the common ground of all formats.

use serde::Serialize;

use hearth_protocol::job::{MaskFill, NoiseSchedule, Rng, Sampler, Upscaler};

/// The settings of one picture. What is not known is absent.
///
/// Numbers are `f64`, as people write them: their shortest decimal form survives writing and
/// reading unchanged.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Settings {
    /// What to draw, without adapter tags.
    pub prompt: String,
    /// What to stay away from.
    pub negative: String,
    /// Sampling steps.
    pub steps: Option<u32>,
    /// How each step is taken.
    pub sampler: Option<Sampler>,
    /// Where the steps are.
    pub schedule: Option<NoiseSchedule>,
    /// Whether the schedule's last but one sigma is left out.
    pub discard_penultimate: bool,
    /// Guidance scale (CFG).
    pub guidance: Option<f64>,
    /// Noise seed.
    pub seed: Option<u64>,
    /// Width and height in pixels, of the first pass if there are two.
    pub size: Option<(u32, u32)>,
    /// The checkpoint.
    pub model: Option<Mention>,
    /// A VAE other than the checkpoint's.
    pub vae: Option<Mention>,
    /// Adapters, in the order they are applied.
    pub loras: Vec<LoraMention>,
    /// Textual inversions.
    pub embeddings: Vec<Mention>,
    /// A second seed that the noise leans to.
    pub variation: Option<Variation>,
    /// Strength of img2img, inpainting or the second pass, 0 to 1.
    pub denoise: Option<f64>,
    /// Counts the text encoder's layers from the end; 1 is the last.
    pub clip_skip: Option<u32>,
    /// Added to the seed for the noise of later steps (ENSD).
    pub noise_seed_delta: Option<i64>,
    /// Which generator turns seeds into noise.
    pub rng: Option<Rng>,
    /// Whether the picture's edges meet.
    pub tiling: bool,
    /// A second pass at a larger size.
    pub hires: Option<Hires>,
    /// How a part was painted anew.
    pub inpaint: Option<Inpaint>,
}

/// A model file as texts name it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Mention {
    /// Its name without folders; the ending may be there.
    pub name: Option<String>,
    /// Whatever hash the text quotes: `AutoV2` for checkpoints, `AutoV3` for adapters, as a rule.
    pub hash: Option<String>,
}

impl Mention {
    /// Mentions a file by name alone.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: Some(name.into()),
            hash: None,
        }
    }
}

/// An adapter with its weights.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoraMention {
    /// Its name without folders.
    pub name: String,
    /// Its hash, if the text quotes one.
    pub hash: Option<String>,
    /// Weight in the UNet.
    pub unet: f64,
    /// Weight in the text encoder.
    pub text: f64,
}

/// A second seed that the noise leans to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Variation {
    /// The second seed.
    pub seed: u64,
    /// How far, 0 to 1.
    pub strength: f64,
}

/// A second pass at a larger size (A1111's hires fix).
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Hires {
    /// Factor for both sides.
    pub scale: Option<f64>,
    /// Sides of the result, where the text tells them instead of a factor.
    pub size: Option<(u32, u32)>,
    /// Steps of the second pass; as many as the first if absent.
    pub steps: Option<u32>,
    /// What enlarges.
    pub upscaler: Option<Upscaler>,
}

/// How a part was painted anew.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Inpaint {
    /// Blur of the mask's edge, in pixels.
    pub mask_blur: Option<f64>,
    /// Pixels around the mask that were cut out with it, where only the masked part was painted.
    pub only_masked_padding: Option<u32>,
    /// What lay under the mask at the start.
    pub masked_content: Option<MaskFill>,
}
