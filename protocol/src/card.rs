//! Cards: what a model is, signed by its publisher. A card may be superseded, never edited.
//!
//! Names follow ModelSpec and Civitai where they have one. A card's id is the BLAKE3 of its
//! canonical unsigned form.

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::id::{BlobHash, CardId, NodeId, Sha256};
use crate::job::{Family, Micro, NoiseSchedule, Sampler};
use crate::sign::{Domain, Signable};
use crate::unit::{ByteCount, Timestamp};

/// A description of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Format of the card: 1.
    pub version: u8,
    /// Who publishes it.
    pub publisher: NodeId,
    /// When.
    pub published: Timestamp,
    /// What it is.
    pub kind: CardKind,
    /// What people call it.
    pub title: String,
    /// Base architecture, decided from tensor shapes.
    pub family: Family,
    /// Its files.
    pub files: Vec<CardFile>,
    /// How it likes to be asked; nothing for what is no checkpoint.
    pub settings: Option<Settings>,
    /// Words that call it up.
    pub triggers: Vec<String>,
    /// What it is, in words.
    pub description: String,
    /// Licence, an SPDX name where there is one.
    pub licence: String,
    /// Where it came from: AIR urns and addresses.
    pub sources: Vec<String>,
    /// The card this one replaces.
    pub supersedes: Option<CardId>,
}

impl Card {
    /// Returns the card's name: BLAKE3 of its canonical form.
    pub fn id(&self) -> CardId {
        CardId::from_bytes(*blake3::hash(&codec::encode(self)).as_bytes())
    }

    /// Returns the size of all files together.
    pub fn size(&self) -> ByteCount {
        self.files
            .iter()
            .fold(ByteCount::default(), |sum, file| sum.plus(file.size))
    }
}

impl Signable for Card {
    const DOMAIN: Domain = Domain::Card;

    fn signer(&self) -> NodeId {
        self.publisher
    }
}

/// What a card describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CardKind {
    /// Weights of a whole model.
    Checkpoint,
    /// An adapter.
    Lora,
    /// A textual inversion: a word's vectors.
    Embedding,
    /// An autoencoder.
    Vae,
}

/// How a model likes to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Sampling steps.
    pub steps: u32,
    /// Guidance scale.
    pub guidance: Micro,
    /// Sampler.
    pub sampler: Sampler,
    /// Noise schedule.
    pub schedule: NoiseSchedule,
    /// Text encoder layers to go back: 1 is none.
    pub clip_skip: u32,
}

impl Settings {
    /// Returns what models of a family like when they say nothing themselves.
    pub const fn of(family: Family) -> Self {
        let (side, steps, guidance) = match family {
            Family::Sd15 => (512, 20, 7_000_000),
            Family::Sd2 => (768, 20, 7_000_000),
            Family::Sdxl => (1024, 20, 7_000_000),
            Family::Kindling => (128, 20, 5_000_000),
        };
        Self {
            width: side,
            height: side,
            steps,
            guidance: Micro::from_millionths(guidance),
            sampler: Sampler::Euler,
            schedule: NoiseSchedule::Normal,
            clip_skip: 1,
        }
    }
}

/// One file of a card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardFile {
    /// Its blob.
    pub blob: BlobHash,
    /// Its size.
    pub size: ByteCount,
    /// Path inside the model's folder, `/` between parts; the file name when it is one file.
    pub name: String,
    /// SHA-256 of the whole file; its first 10 hex digits are `AutoV2`.
    pub sha256: Sha256,
    /// SHA-256 of a safetensors file behind its header; its first 12 digits are `AutoV3`.
    pub autov3: Option<Sha256>,
    /// First 8 hex digits of SHA-256 over the 64 KiB at 1 MiB, for files long enough.
    pub autov1: Option<String>,
    /// CRC-32 of the whole file.
    pub crc32: u32,
}
