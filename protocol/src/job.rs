//! Jobs: the spec, its price class, quotes and what a worker reports.
//!
//! A [`JobSpec`] holds no floats: weights and scales are `i32` millionths, so equal specs have
//! equal bytes. It travels to one worker over an encrypted stream and is never gossiped.

mod micro;
mod names;
mod spec;
mod start;
mod work;

use serde::{Deserialize, Serialize};

use crate::credit::Decision;
use crate::id::{BlobHash, CardId, Commitment, JobId, Salt};
use crate::unit::{ByteCount, Millikudos, Millis, Timestamp};

pub use micro::{Micro, ParseMicroError};
pub use names::{
    Compat, Family, ImageFormat, NoiseSchedule, Penultimate, Rng, Sampler, Tiling, UnknownName,
    Upscaler,
};
pub use spec::{
    Blend, EmbeddingUse, Hires, JobSpec, Latents, LoraUse, ShareField, SpecError, Variation,
};
pub use start::{Fit, InputRef, Margins, Mask, MaskArea, MaskFill, Start};

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
    /// The requester's exposure would pass what it is lent; from a worker that keeps its figures to itself.
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
    /// The requester's exposure would pass what it is lent, with the whole arithmetic.
    #[error("not enough credit: {0}")]
    NoCredit(Box<Decision>),
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
    /// `image.png` (or `.webp`, `.jpeg`), `step_000.safetensors`, `step_000.png`.
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
