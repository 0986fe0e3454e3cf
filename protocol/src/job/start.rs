//! What sampling starts from: noise, a picture, or a step saved before.

use serde::{Deserialize, Serialize};

use super::Micro;
use crate::id::BlobHash;
use crate::unit::ByteCount;

/// A file of the requester that travels with a job, by its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputRef {
    /// Its bytes' hash.
    pub blob: BlobHash,
    /// Its size.
    pub size: ByteCount,
}

/// What sampling starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Start {
    /// Noise alone: text to image.
    Noise,
    /// A picture: image to image, and with a mask or margins inpainting and outpainting.
    Picture {
        /// The picture: PNG, JPEG or WebP.
        image: InputRef,
        /// How much of it is redone: 0 nothing, 1 everything.
        strength: Micro,
        /// How it is brought to the job's size.
        fit: Fit,
        /// What may change; everything if absent.
        mask: Option<Mask>,
        /// Pixels added around it, which may change, too.
        margins: Margins,
    },
    /// A step saved by [`Latents::EveryStep`](super::Latents::EveryStep): goes on behind it.
    Step {
        /// The step's file.
        state: InputRef,
        /// Steps it has behind it.
        done: u32,
    },
}

impl Start {
    /// Returns the files the job needs of its requester, in a fixed order.
    pub fn inputs(&self) -> Vec<InputRef> {
        match self {
            Self::Noise => Vec::new(),
            Self::Picture { image, mask, .. } => std::iter::once(*image)
                .chain(mask.as_ref().map(|mask| mask.image))
                .collect(),
            Self::Step { state, .. } => vec![*state],
        }
    }
}

/// How a picture of another size is brought to the job's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// Each side on its own.
    Stretch,
    /// Filled, what stands over is cut off.
    Crop,
    /// Shown whole, the rest filled from the edges.
    Pad,
}

/// What of a picture may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mask {
    /// A picture of the same size; white is repainted. Transparency, where there is any, counts instead.
    pub image: InputRef,
    /// Whether black is repainted instead.
    pub invert: bool,
    /// Standard deviation of the blur of its edge, in pixels.
    pub blur: u32,
    /// What is under it at the start.
    pub fill: MaskFill,
    /// How much is computed.
    pub area: MaskArea,
}

/// What is under a mask at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskFill {
    /// Colours from around it.
    Fill,
    /// What was there.
    Original,
    /// Noise.
    LatentNoise,
    /// Zeros.
    LatentNothing,
}

/// How much of a masked picture is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskArea {
    /// All of it, at the job's size.
    Whole,
    /// The mask's surroundings, enlarged to the job's size and put back.
    OnlyMasked {
        /// Pixels of surroundings on each side.
        padding: u32,
    },
}

/// Pixels added on each side of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Margins {
    /// On the left.
    pub left: u32,
    /// At the top.
    pub top: u32,
    /// On the right.
    pub right: u32,
    /// At the bottom.
    pub bottom: u32,
}

impl Margins {
    /// Returns whether there are none.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the widest one.
    pub fn widest(&self) -> u32 {
        self.left.max(self.top).max(self.right).max(self.bottom)
    }
}

impl Mask {
    /// Returns the larger of blur and padding, in pixels.
    pub fn widest(&self) -> u32 {
        match self.area {
            MaskArea::Whole => self.blur,
            MaskArea::OnlyMasked { padding } => self.blur.max(padding),
        }
    }
}
