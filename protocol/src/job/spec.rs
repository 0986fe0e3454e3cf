//! The job spec: everything that decides a picture, without floats, so that equal specs have equal bytes.

use serde::{Deserialize, Serialize};

use super::{
    Compat, ImageFormat, InputRef, Micro, NoiseSchedule, Penultimate, Rng, Sampler, Start, Tiling,
    Upscaler,
};
use crate::codec;
use crate::id::{CardId, Commitment, JobId, Salt};
use crate::limits;

/// One request for one picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobSpec {
    /// Format of the spec: 2.
    pub version: u8,
    /// The checkpoint's card.
    pub checkpoint: CardId,
    /// An autoencoder used instead of the checkpoint's own.
    pub vae: Option<CardId>,
    /// Adapters, in the order they are applied.
    pub loras: Vec<LoraUse>,
    /// Textual inversions, by the names the prompts call them.
    pub embeddings: Vec<EmbeddingUse>,
    /// What to draw.
    pub prompt: String,
    /// What to stay away from.
    pub negative: String,
    /// Another prompt and seed to go towards.
    pub blend: Option<Blend>,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Sampling steps.
    pub steps: u32,
    /// Guidance scale (CFG).
    pub guidance: Micro,
    /// How each step is taken.
    pub sampler: Sampler,
    /// Where the steps are.
    pub schedule: NoiseSchedule,
    /// Whether the schedule's last but one sigma is left out.
    pub penultimate: Penultimate,
    /// Text encoder layers to go back from the last: 1 is none.
    pub clip_skip: u32,
    /// Noise seed.
    pub seed: u64,
    /// A second seed whose noise is mixed in.
    pub variation: Option<Variation>,
    /// Added to the seed for the noise of the steps (ENSD), under A1111's conventions.
    pub eta_seed_delta: u32,
    /// Which generator turns the seed into noise.
    pub rng: Rng,
    /// Whose conventions to follow.
    pub compat: Compat,
    /// What sampling starts from.
    pub start: Start,
    /// A second pass at a larger size.
    pub hires: Option<Hires>,
    /// Whether the edges meet.
    pub tiling: Tiling,
    /// What the picture is written as.
    pub format: ImageFormat,
    /// Which latents to give back.
    pub latents: Latents,
}

/// An adapter with its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraUse {
    /// Its card.
    pub card: CardId,
    /// Weight in the UNet.
    pub unet: Micro,
    /// Weight in the text encoder.
    pub text: Micro,
}

/// A textual inversion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingUse {
    /// Its card.
    pub card: CardId,
    /// What the prompts call it.
    pub name: String,
}

/// A way between two requests: prompts as vectors, noise on the sphere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blend {
    /// The other prompt.
    pub prompt: String,
    /// The other negative.
    pub negative: String,
    /// The other seed.
    pub seed: u64,
    /// How far: 0 is here, 1 is there.
    pub amount: Micro,
}

/// A second seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variation {
    /// The seed.
    pub seed: u64,
    /// How much of its noise: 0 none, 1 all.
    pub strength: Micro,
}

/// A second pass at a larger size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hires {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Steps of a full schedule, of which `strength` are done; 0 takes the first pass's.
    pub steps: u32,
    /// How much is redone: 0 nothing, 1 everything.
    pub strength: Micro,
    /// How the first picture is enlarged.
    pub upscaler: Upscaler,
}

/// Which latents a job gives back beside its picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Latents {
    /// None.
    Dropped,
    /// For each step a file that a later job can go on from, and a small picture of it.
    EveryStep,
}

/// What a spec breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum SpecError {
    /// Another format.
    #[error("job spec format {0}; this build reads 2")]
    Version(u8),
    /// A side out of range or off the grid.
    #[error("{width}x{height}: sides must be multiples of {step} between {min} and {max}", step = limits::SIDE_STEP, min = limits::SIDE_MIN, max = limits::SIDE_MAX)]
    Size {
        /// Width asked.
        width: u32,
        /// Height asked.
        height: u32,
    },
    /// No steps or too many.
    #[error("{0} steps: must be between 1 and {max}", max = limits::STEPS_MAX)]
    Steps(u32),
    /// A prompt that is too long.
    #[error("a prompt of {0} bytes: at most {max} are allowed", max = limits::PROMPT_LEN_MAX)]
    Prompt(usize),
    /// Too many adapters.
    #[error("{0} LoRAs: at most {max} are allowed", max = limits::LORAS_MAX)]
    Loras(usize),
    /// Too many textual inversions, or a name that is too long.
    #[error("{0} embeddings: at most {max} with names of at most {name} bytes are allowed", max = limits::EMBEDDINGS_MAX, name = limits::NAME_LEN_MAX)]
    Embeddings(usize),
    /// A share that is none.
    #[error("{field} is {value}: must be between 0 and 1")]
    Share {
        /// Which field.
        field: ShareField,
        /// What it is.
        value: Micro,
    },
    /// A layer no text encoder has.
    #[error("clip_skip {0}: must be between 1 and {max}", max = limits::CLIP_SKIP_MAX)]
    ClipSkip(u32),
    /// An input that is empty or too large.
    #[error("an input of {0} bytes: must be between 1 and {max}", max = limits::INPUT_LEN_MAX)]
    Input(u64),
    /// A step to go on from that is not before the last.
    #[error("{done} of {steps} steps are done already: nothing is left to do")]
    Done {
        /// Steps done.
        done: u32,
        /// Steps in all.
        steps: u32,
    },
    /// A mask's blur or surroundings, or a margin, out of range.
    #[error("{0} pixels of blur, padding or margin: at most {max} are allowed", max = limits::SIDE_MAX)]
    Pixels(u32),
}

/// Which share is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShareField {
    /// `start.strength`.
    Strength,
    /// `hires.strength`.
    HiresStrength,
    /// `variation.strength`.
    VariationStrength,
    /// `blend.amount`.
    BlendAmount,
}

impl std::fmt::Display for ShareField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Strength => "start.strength",
            Self::HiresStrength => "hires.strength",
            Self::VariationStrength => "variation.strength",
            Self::BlendAmount => "blend.amount",
        })
    }
}

impl JobSpec {
    /// Returns a spec that draws a prompt from noise, with everything else plain.
    pub fn plain(checkpoint: CardId, prompt: &str) -> Self {
        Self {
            version: 2,
            checkpoint,
            vae: None,
            loras: Vec::new(),
            embeddings: Vec::new(),
            prompt: prompt.to_owned(),
            negative: String::new(),
            blend: None,
            width: 512,
            height: 512,
            steps: 20,
            guidance: Micro::from_millionths(7_000_000),
            sampler: Sampler::Euler,
            schedule: NoiseSchedule::Normal,
            penultimate: Penultimate::Kept,
            clip_skip: 1,
            seed: 0,
            variation: None,
            eta_seed_delta: 0,
            rng: Rng::TorchCpu,
            compat: Compat::A1111,
            start: Start::Noise,
            hires: None,
            tiling: Tiling::None,
            format: ImageFormat::Png,
            latents: Latents::Dropped,
        }
    }

    /// Checks the bounds that hold for every worker.
    ///
    /// # Errors
    /// [`SpecError`] names the first bound that is broken.
    pub fn check(&self) -> Result<(), SpecError> {
        if self.version != 2 {
            return Err(SpecError::Version(self.version));
        }
        check_size(self.width, self.height)?;
        if !(1..=limits::STEPS_MAX).contains(&self.steps) {
            return Err(SpecError::Steps(self.steps));
        }
        self.check_texts()?;
        if self.loras.len() > limits::LORAS_MAX {
            return Err(SpecError::Loras(self.loras.len()));
        }
        let named = |it: &EmbeddingUse| (1..=limits::NAME_LEN_MAX).contains(&it.name.len());
        if self.embeddings.len() > limits::EMBEDDINGS_MAX || !self.embeddings.iter().all(named) {
            return Err(SpecError::Embeddings(self.embeddings.len()));
        }
        if !(1..=limits::CLIP_SKIP_MAX).contains(&self.clip_skip) {
            return Err(SpecError::ClipSkip(self.clip_skip));
        }
        if let Some(variation) = &self.variation {
            check_share(ShareField::VariationStrength, variation.strength)?;
        }
        self.check_hires()?;
        self.check_start()
    }

    fn check_texts(&self) -> Result<(), SpecError> {
        let blend = self
            .blend
            .iter()
            .flat_map(|blend| [&blend.prompt, &blend.negative]);
        let texts = [&self.prompt, &self.negative].into_iter().chain(blend);
        let longest = texts.map(String::len).max().unwrap_or(0);
        if longest > limits::PROMPT_LEN_MAX {
            return Err(SpecError::Prompt(longest));
        }
        match &self.blend {
            Some(blend) => check_share(ShareField::BlendAmount, blend.amount),
            None => Ok(()),
        }
    }

    fn check_hires(&self) -> Result<(), SpecError> {
        let Some(hires) = &self.hires else {
            return Ok(());
        };
        check_size(hires.width, hires.height)?;
        if hires.steps > limits::STEPS_MAX {
            return Err(SpecError::Steps(hires.steps));
        }
        check_share(ShareField::HiresStrength, hires.strength)
    }

    fn check_start(&self) -> Result<(), SpecError> {
        let fits = |input: &InputRef| (1..=limits::INPUT_LEN_MAX).contains(&input.size.get());
        if let Some(input) = self.start.inputs().iter().find(|input| !fits(input)) {
            return Err(SpecError::Input(input.size.get()));
        }
        if let Start::Step { done, .. } = self.start
            && done >= self.steps
        {
            let steps = self.steps;
            return Err(SpecError::Done { done, steps });
        }
        let Start::Picture {
            strength,
            mask,
            margins,
            ..
        } = &self.start
        else {
            return Ok(());
        };
        check_share(ShareField::Strength, *strength)?;
        let pixels = mask
            .as_ref()
            .map_or(0, super::Mask::widest)
            .max(margins.widest());
        if pixels > limits::SIDE_MAX {
            return Err(SpecError::Pixels(pixels));
        }
        Ok(())
    }

    /// Returns every card the job needs: the checkpoint first, then adapters, embeddings, and the
    /// autoencoder.
    pub fn cards(&self) -> Vec<CardId> {
        std::iter::once(self.checkpoint)
            .chain(self.loras.iter().map(|lora| lora.card))
            .chain(self.embeddings.iter().map(|embedding| embedding.card))
            .chain(self.vae)
            .collect()
    }

    /// Names the job: the salted commitment to the canonical spec.
    pub fn job_id(&self, salt: &Salt) -> JobId {
        Commitment::to(salt, blake3::hash(&codec::encode(self)).as_bytes()).into()
    }
}

fn check_size(width: u32, height: u32) -> Result<(), SpecError> {
    let fits = |side: u32| {
        (limits::SIDE_MIN..=limits::SIDE_MAX).contains(&side)
            && side.is_multiple_of(limits::SIDE_STEP)
    };
    if fits(width) && fits(height) {
        Ok(())
    } else {
        Err(SpecError::Size { width, height })
    }
}

fn check_share(field: ShareField, value: Micro) -> Result<(), SpecError> {
    if (0..=1_000_000).contains(&value.millionths()) {
        Ok(())
    } else {
        Err(SpecError::Share { field, value })
    }
}
