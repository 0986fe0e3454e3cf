//! The flags that say what sampling starts from.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use hearth_protocol::control::{MaskAsk, StartAsk};
use hearth_protocol::job::{Fit, Margins, MaskArea, MaskFill, Micro};

use super::ask;

/// What to start from.
#[derive(Debug, Args)]
#[command(next_help_heading = "Start")]
pub(super) struct StartArgs {
    /// Start from a picture: PNG, JPEG or WebP
    #[arg(long, value_name = "FILE", conflicts_with = "from_step")]
    image: Option<PathBuf>,
    /// How much of it is redone: 0 nothing, 1 everything [default: 0.75; 1 with --outpaint]
    #[arg(long, value_name = "F", requires = "image")]
    strength: Option<Micro>,
    /// How it is brought to the picture's size
    #[arg(long, value_enum, default_value = "crop", requires = "image")]
    fit: FitWhen,
    /// Repaint only what is white in this picture, or opaque where it has transparency
    #[arg(long, value_name = "FILE", requires = "image")]
    mask: Option<PathBuf>,
    /// Repaint what is black instead
    #[arg(long, requires = "mask")]
    mask_invert: bool,
    /// Blur the mask's edge by so many pixels
    #[arg(long, value_name = "N", default_value_t = 4, requires = "mask")]
    mask_blur: u32,
    /// What is under the mask at the start
    #[arg(long, value_enum, default_value = "original", requires = "mask")]
    mask_fill: FillWhen,
    /// Compute the mask's surroundings alone, at the picture's full size, with so many pixels around it
    #[arg(long, value_name = "PADDING", num_args = 0..=1, default_missing_value = "32", requires = "mask")]
    only_masked: Option<u32>,
    /// Add pixels around the picture and paint them: LEFT,TOP,RIGHT,BOTTOM, or one number for all
    #[arg(long, value_name = "L,T,R,B", requires = "image", value_parser = ask::margins)]
    outpaint: Option<Margins>,
    /// Go on from a step saved by --save-steps; flags and a prompt branch off from there
    #[arg(long, value_name = "FILE", id = "from_step")]
    pub(super) from_step: Option<PathBuf>,
    /// Take prompt and settings from a picture's metadata; flags go before
    #[arg(long, value_name = "FILE", conflicts_with = "from_step")]
    pub(super) like: Option<PathBuf>,
}

/// How a picture is brought to size.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum FitWhen {
    /// Each side on its own
    Stretch,
    /// Filled; what stands over is cut off
    Crop,
    /// Shown whole; the rest filled from its edges
    Pad,
}

/// What is under a mask.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum FillWhen {
    /// Colours from around it
    Fill,
    /// What was there
    Original,
    /// Noise
    LatentNoise,
    /// Zeros
    LatentNothing,
}

impl StartArgs {
    /// Returns what to start from, if it is a picture.
    pub(super) fn picture(&self) -> anyhow::Result<Option<StartAsk>> {
        let Some(image) = &self.image else {
            return Ok(None);
        };
        let usual = if self.outpaint.is_some() {
            Micro::ONE
        } else {
            Micro::from_millionths(750_000)
        };
        Ok(Some(StartAsk::Picture {
            image: ask::file(image)?,
            strength: self.strength.unwrap_or(usual),
            fit: match self.fit {
                FitWhen::Stretch => Fit::Stretch,
                FitWhen::Crop => Fit::Crop,
                FitWhen::Pad => Fit::Pad,
            },
            mask: self.mask.as_ref().map(|mask| self.mask(mask)).transpose()?,
            margins: self.outpaint.unwrap_or_default(),
        }))
    }

    fn mask(&self, mask: &std::path::Path) -> anyhow::Result<MaskAsk> {
        Ok(MaskAsk {
            image: ask::file(mask)?,
            invert: self.mask_invert,
            blur: self.mask_blur,
            fill: match self.mask_fill {
                FillWhen::Fill => MaskFill::Fill,
                FillWhen::Original => MaskFill::Original,
                FillWhen::LatentNoise => MaskFill::LatentNoise,
                FillWhen::LatentNothing => MaskFill::LatentNothing,
            },
            area: match self.only_masked {
                Some(padding) => MaskArea::OnlyMasked { padding },
                None => MaskArea::Whole,
            },
        })
    }
}
