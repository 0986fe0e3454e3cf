//! Jobs: the spec, its price class, quotes and what a worker reports.
//!
//! A [`JobSpec`] holds no floats: weights and scales are `i32` millionths, so equal specs have
//! equal bytes. It travels to one worker over an encrypted stream and is never gossiped.

mod micro;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::id::{BlobHash, CardId, Commitment, JobId, Salt};
use crate::limits;
use crate::unit::{ByteCount, Millikudos, Millis, Timestamp};

pub use micro::{Micro, ParseMicroError};

/// One request for one picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobSpec {
    /// Format of the spec: 1.
    pub version: u8,
    /// The checkpoint's card.
    pub checkpoint: CardId,
    /// Adapters, in the order they are applied.
    pub loras: Vec<LoraUse>,
    /// What to draw.
    pub prompt: String,
    /// What to stay away from.
    pub negative: String,
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
    /// Noise seed.
    pub seed: u64,
    /// Which generator turns the seed into noise.
    pub rng: Rng,
    /// Whose conventions to follow.
    pub compat: Compat,
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

/// Which latents a job gives back beside its picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Latents {
    /// None.
    Dropped,
    /// One file for each step.
    EveryStep,
}

/// What a spec breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum SpecError {
    /// Another format.
    #[error("job spec format {0}; this build reads 1")]
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
}

impl JobSpec {
    /// Checks the bounds that hold for every worker.
    ///
    /// # Errors
    /// [`SpecError`] names the first bound that is broken.
    pub fn check(&self) -> Result<(), SpecError> {
        let side = |side: u32| {
            (limits::SIDE_MIN..=limits::SIDE_MAX).contains(&side)
                && side.is_multiple_of(limits::SIDE_STEP)
        };
        if self.version != 1 {
            return Err(SpecError::Version(self.version));
        }
        if !side(self.width) || !side(self.height) {
            return Err(SpecError::Size {
                width: self.width,
                height: self.height,
            });
        }
        if !(1..=limits::STEPS_MAX).contains(&self.steps) {
            return Err(SpecError::Steps(self.steps));
        }
        let prompt = self.prompt.len().max(self.negative.len());
        if prompt > limits::PROMPT_LEN_MAX {
            return Err(SpecError::Prompt(prompt));
        }
        if self.loras.len() > limits::LORAS_MAX {
            return Err(SpecError::Loras(self.loras.len()));
        }
        Ok(())
    }

    /// Returns how many guided evaluations the job takes.
    pub fn evaluations(&self) -> u32 {
        match self.sampler {
            Sampler::Euler => self.steps,
        }
    }

    /// Returns every card the job needs: the checkpoint first.
    pub fn cards(&self) -> Vec<CardId> {
        std::iter::once(self.checkpoint)
            .chain(self.loras.iter().map(|lora| lora.card))
            .collect()
    }

    /// Names the job: the salted commitment to the canonical spec.
    pub fn job_id(&self, salt: &Salt) -> JobId {
        Commitment::to(salt, blake3::hash(&codec::encode(self)).as_bytes()).into()
    }
}

/// A text that names no variant of an enum.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} '{text}'; known: {known}")]
pub struct UnknownName {
    what: &'static str,
    text: String,
    known: String,
}

macro_rules! named {
    ($(#[$doc:meta])* $name:ident, $what:literal, { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant),+
        }

        impl $name {
            /// Every value, in wire order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the name people type.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl FromStr for $name {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|value| value.name() == text).ok_or_else(|| UnknownName {
                    what: $what,
                    text: text.chars().take(64).collect(),
                    known: Self::ALL.iter().map(|value| value.name()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}

named!(
    /// A family of models: decides factor and layout.
    Family, "family", {
        /// Stable Diffusion 1.x, of any size.
        Sd15 = "sd15",
    }
);

impl Family {
    /// Returns the price factor of one evaluation.
    pub const fn factor(self) -> u32 {
        match self {
            Self::Sd15 => 1,
        }
    }
}

named!(
    /// How each step is taken (`ComfyUI` names).
    Sampler, "sampler", {
        /// Explicit Euler in sigma space.
        Euler = "euler",
    }
);

named!(
    /// Where the steps are (`ComfyUI` and A1111 short names).
    NoiseSchedule, "noise schedule", {
        /// Evenly over timesteps.
        Normal = "normal",
        /// Karras et al., rho 7.
        Karras = "karras",
        /// Evenly over log sigma.
        Exponential = "exponential",
        /// Evenly over timesteps, without the last.
        SgmUniform = "sgm_uniform",
        /// Every so many table entries.
        Simple = "simple",
        /// What the checkpoint's own `scheduler_config.json` says.
        Model = "model",
    }
);

named!(
    /// Which generator turns the seed into noise.
    Rng, "rng", {
        /// torch on a CPU: MT19937.
        TorchCpu = "torch-cpu",
        /// torch on an NVIDIA GPU: Philox.
        Nv = "nv",
    }
);

named!(
    /// Whose conventions to follow where they differ.
    Compat, "compat", {
        /// AUTOMATIC1111.
        A1111 = "a1111",
        /// `ComfyUI`.
        Comfy = "comfy",
        /// diffusers.
        Diffusers = "diffusers",
    }
);

/// What a requester tells before anybody is chosen: no prompt, no picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuoteRequest {
    /// The job asked about.
    pub job: JobId,
    /// Its price class.
    pub family: Family,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Guided evaluations.
    pub evaluations: u32,
    /// Cards it needs, the checkpoint first.
    pub cards: Vec<CardId>,
}

/// A price asked and a time promised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quote {
    /// The job.
    pub job: JobId,
    /// What the work will cost.
    pub work: Millikudos,
    /// What fetching missing files will cost at most.
    pub fetch: Millikudos,
    /// When it would be done, from now.
    pub ready: Millis,
    /// The quote holds until then.
    pub valid_until: Timestamp,
}

impl Quote {
    /// Returns what the order must allow.
    pub fn total(&self) -> Millikudos {
        Millikudos::saturating(self.work.get().saturating_add(self.fetch.get()))
    }
}

/// Why a worker says no. Codes are stable (`specs/jobs.md`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Refusal {
    /// Its owner paused it.
    #[error("the worker is paused")]
    Paused,
    /// It computes for nobody else.
    #[error("the node does not take jobs")]
    NotAWorker,
    /// Its queue is full.
    #[error("the worker's queue is full")]
    QueueFull,
    /// It has no such card and knows nobody who could give it.
    #[error("no member has card {}", .0.short())]
    CardUnknown(CardId),
    /// The requester's exposure would pass its line.
    #[error("not enough credit: {short} kudos short")]
    Credit {
        /// Missing millikudos.
        short: Millikudos,
    },
    /// The requester is blocked.
    #[error("the worker has blocked this requester")]
    Blocked,
    /// The order's max is below the quote.
    #[error("the order allows less than the price of {price} kudos")]
    Price {
        /// What it would cost.
        price: Millikudos,
    },
    /// The spec is out of bounds or not the one the order commits to.
    #[error("the job spec is not acceptable")]
    BadSpec,
    /// The order is not held here: unknown, voided, expired, or for somebody else.
    #[error("the order does not hold")]
    OrderNotHeld,
    /// Order and worker disagree about the time.
    #[error("the deadline cannot be kept")]
    Deadline,
    /// Too big for this device.
    #[error("the job is too big for this worker")]
    TooBig,
    /// The order was seen before and its job is over.
    #[error("the order was already worked on")]
    Replayed,
}

/// Why a job failed at a worker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Failure {
    /// A blob could not be fetched.
    #[error("a file of card {} could not be fetched: {}", .card.short(), .cause)]
    Fetch {
        /// The card.
        card: CardId,
        /// The cause, bounded.
        cause: String,
    },
    /// The engine refused or failed.
    #[error("the engine failed: {cause}")]
    Engine {
        /// The cause, bounded.
        cause: String,
    },
    /// The engine process died.
    #[error("the engine process died")]
    EngineDied,
    /// The worker's disk is full.
    #[error("the worker's disk is full")]
    DiskFull,
    /// The worker restarted in between.
    #[error("the worker restarted")]
    Restarted,
    /// The requester cancelled.
    #[error("cancelled")]
    Cancelled,
    /// The deadline passed.
    #[error("the deadline passed")]
    Late,
}

/// Where a job is, as its worker tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Phase {
    /// Waiting for others.
    Queued {
        /// Jobs before it.
        ahead: u32,
    },
    /// Getting files.
    Fetching {
        /// The card being fetched.
        card: CardId,
        /// Bytes that are here.
        have: ByteCount,
        /// Bytes in all.
        total: ByteCount,
    },
    /// Loading weights.
    Loading,
    /// Reading the prompt.
    Encoding,
    /// Sampling.
    Denoising {
        /// Steps done.
        step: u32,
        /// Steps in all.
        steps: u32,
    },
    /// Turning latents into pixels.
    Decoding,
    /// Handing over.
    Delivering,
}

/// A small picture of the latents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preview {
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
    /// RGB bytes, row by row; hex digits in JSON.
    #[serde(with = "crate::id::bytes_or_hex")]
    pub rgb: Vec<u8>,
}

/// One file a job made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputRef {
    /// `image.png` or `step_000.safetensors`.
    pub name: String,
    /// Its bytes' hash.
    pub blob: BlobHash,
    /// Its size.
    pub size: ByteCount,
}

/// Commits to all outputs of a job in order: BLAKE3 over their hashes, salted.
pub fn result_commitment(salt: &Salt, outputs: &[OutputRef]) -> Commitment {
    let mut hasher = blake3::Hasher::new();
    for output in outputs {
        hasher.update(output.blob.as_bytes());
    }
    Commitment::to(salt, hasher.finalize().as_bytes())
}

/// How long each part of a job took at its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timings {
    /// Waiting in the queue.
    pub queued: Millis,
    /// Fetching files.
    pub fetch: Millis,
    /// Loading weights.
    pub load: Millis,
    /// Reading the prompt.
    pub encode: Millis,
    /// Sampling.
    pub denoise: Millis,
    /// Decoding and writing the picture.
    pub decode: Millis,
}

impl Timings {
    /// Returns the time the engine computed.
    pub fn compute(&self) -> Millis {
        Millis::new(self.load.get() + self.encode.get() + self.denoise.get() + self.decode.get())
    }
}
