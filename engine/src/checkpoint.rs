//! A checkpoint in memory: tokenizer, text encoders, UNet, autoencoder and noise table, adapters applied.

mod adapters;
mod words;

use candle_core::{DType, Device, Tensor};
use hearth_protocol::engine::Assets;
use hearth_protocol::job::{Compat, Family, JobSpec};

use crate::clip::{ClipConfig, ClipText, Finish, Layer};
use crate::folder::{SCHEDULER, config};
use crate::layers::Pass;
use crate::load::LoadError;
use crate::model_files::{Choice, ModelFiles};
use crate::modules::{Part, Scope};
use crate::prompt::{
    self, ClipEncoder, Conditioner, Conventions, EmbeddingNames, EmptyNegative, Encoder, Piece,
    PromptError, Script, Stage, runs, windows,
};
use crate::schedule::{NoiseTable, ScheduleConfig};
use crate::tokenizer::{Frame, PromptTokenizer};
use crate::unet::Unet;
use crate::vae::{Tiles, Vae, VaeConfig};
use crate::warning::Warning;
use crate::weights::{Placement, Precision};
use adapters::Adaptable;
use words::Words;

/// A model ready to run.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    tokenizer: PromptTokenizer,
    /// One, or SDXL's two.
    texts: Vec<ClipText>,
    pub(crate) unet: Unet,
    vae: Vae,
    /// Pixels a latent covers in each direction.
    pub(crate) factor: usize,
    pub(crate) noise: NoiseTable,
    /// By what its autoencoder's latents are multiplied; tells how they look without the decoder.
    pub(crate) scale: f64,
    pub(crate) device: Device,
    /// What the network computes in.
    pub(crate) dtype: DType,
    /// What a person should know about the adapters and embeddings.
    pub(crate) warnings: Vec<Warning>,
    pub(crate) family: Family,
    words: Words,
    pub(crate) widths: Widths,
    adaptable: Adaptable,
}

/// Channels at the widest resolutions, which decide how much memory a run takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Widths {
    pub(crate) network: usize,
    pub(crate) decoder: usize,
}

/// Prompts to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Texts<'a> {
    pub(crate) positive: &'a str,
    pub(crate) negative: &'a str,
    pub(crate) compat: Compat,
    /// Layers to go back from the last: 1 is none.
    pub(crate) clip_skip: u32,
}

impl Checkpoint {
    /// Loads a model with its adapters applied.
    pub(crate) fn load(
        assets: &Assets,
        spec: &JobSpec,
        placement: &Placement,
    ) -> Result<Self, LoadError> {
        let choice = Choice {
            vae: assets.vae.as_ref().map(|vae| vae.files.as_slice()),
            ..Choice::default()
        };
        let files = ModelFiles::open(&assets.checkpoint.files, &choice)?;
        files.check()?;
        let folder = files.folder();
        let schedule: ScheduleConfig = folder.config(SCHEDULER)?.unwrap_or_default();
        let noise = NoiseTable::new(&schedule)?;
        let (mut adaptable, mut networks) = Adaptable::read(&files, placement)?;
        let tokenizer = PromptTokenizer::load(folder, adaptable.positions())?;
        let mut warnings = Vec::new();
        if let Some(found) = adaptable.change(&assets.loras, &spec.loras)? {
            warnings = found;
            networks = adaptable.build()?;
        }
        let (texts, unet) = networks;
        let vae: VaeConfig = folder.required(config(Part::Vae))?;
        let scale = vae.scaling_factor;
        let widths = Widths {
            network: adaptable.channels(),
            decoder: vae.block_out_channels.first().copied().unwrap_or(0),
        };
        // Half a type's range is too small for the decoder's activations.
        let wide = Placement {
            precision: Precision::Full,
            ..placement.clone()
        };
        let mut weights = files.weights(Part::Vae, &wide)?;
        let vae = Vae::new(&vae, Scope::root(&mut weights))?;
        let words = Words::read(assets, &spec.embeddings, &tokenizer, &texts)?;
        Ok(Self {
            tokenizer,
            texts,
            factor: vae.factor(),
            unet,
            vae,
            noise,
            scale,
            device: placement.device.clone(),
            dtype: placement.compute(),
            warnings,
            family: files.family,
            words,
            widths,
            adaptable,
        })
    }

    /// Changes the adapters and embeddings of the model in memory; cheap where they are the same.
    pub(crate) fn adapt(&mut self, assets: &Assets, spec: &JobSpec) -> Result<(), LoadError> {
        if let Some(warnings) = self.adaptable.change(&assets.loras, &spec.loras)? {
            self.warnings = warnings;
            (self.texts, self.unet) = self.adaptable.build()?;
        }
        self.words = Words::read(assets, &spec.embeddings, &self.tokenizer, &self.texts)?;
        Ok(())
    }

    /// Returns whether it is of SDXL's family.
    pub(crate) fn is_xl(&self) -> bool {
        self.family == Family::Sdxl
    }

    /// The frame an encoder wants: `OpenCLIP` is padded with zeros, CLIP-L with ends.
    fn frame(&self, encoder: usize) -> Frame {
        let frame = self.tokenizer.frame();
        if encoder > 0 || self.family == Family::Sd2 {
            Frame { pad: 0, ..frame }
        } else {
            frame
        }
    }

    /// Returns the windows of token ids a prompt becomes.
    pub(crate) fn tokens(&self, text: &str, compat: Compat) -> Result<Vec<Vec<u32>>, PromptError> {
        let none = EmbeddingNames::default();
        let reading = windows(&runs(text, compat), &self.tokenizer, &none, compat)?;
        let ids = reading.windows.iter().map(|window| {
            let ids: Vec<_> = window.pieces.iter().filter_map(Piece::token).collect();
            self.frame(0).around(&ids, |id| id)
        });
        Ok(ids.collect())
    }

    /// Returns what the network hears of a prompt and its negative over a pass.
    pub(crate) fn script(&self, texts: &Texts<'_>, stage: Stage) -> Result<Script, PromptError> {
        let layer = self.layer(texts.clip_skip);
        let encoders = self.texts.iter().enumerate().map(|(i, clip)| {
            let encoder = ClipEncoder {
                clip,
                layer,
                embeddings: self.words.vectors(i),
            };
            Encoder::new(encoder, self.frame(i))
        });
        let conventions = Conventions {
            compat: texts.compat,
            empty_negative: if self.is_xl() {
                EmptyNegative::Zeros
            } else {
                EmptyNegative::Encoded
            },
        };
        let strip = |text: &str| {
            // Weights were read when the job was made; what is no tag stays text.
            prompt::network_tags(text).map_or_else(|_| text.to_owned(), |(rest, _)| rest)
        };
        let positive = prompt::parse(&strip(texts.positive), texts.compat)?;
        let negative = prompt::parse_negative(&strip(texts.negative), texts.compat)?;
        Conditioner::new(
            &self.tokenizer,
            &self.words.names,
            encoders.collect(),
            conventions,
        )
        .condition(&positive, &negative, stage)
    }

    /// The layer a clip skip means: SDXL always listens to the last but one, unnormalised.
    fn layer(&self, clip_skip: u32) -> Layer {
        let back = usize::try_from(clip_skip.saturating_sub(1)).unwrap_or(usize::MAX);
        let deepest = self.texts.iter().map(ClipText::layers).min().unwrap_or(1);
        let skip = back.min(deepest.saturating_sub(1));
        if self.is_xl() {
            Layer {
                skip: skip.max(1),
                finish: Finish::Raw,
            }
        } else {
            Layer {
                skip,
                finish: Finish::Normalised,
            }
        }
    }

    /// Returns pixels `[1, 3, height, width]`, nominally in -1..=1; a large picture in tiles, so that memory stays
    /// bounded.
    pub(crate) fn decode(&self, latents: &Tensor, pass: Pass) -> candle_core::Result<Tensor> {
        self.vae.decode_tiled(latents, Tiles::DEFAULT, pass)
    }

    /// Returns latents of pixels in -1..=1; without noise the most likely ones.
    pub(crate) fn encode(
        &self,
        pixels: &Tensor,
        noise: Option<&Tensor>,
        pass: Pass,
    ) -> candle_core::Result<Tensor> {
        self.vae.encode_tiled(pixels, noise, Tiles::DEFAULT, pass)
    }
}

/// Checks that a checkpoint would load: every configuration understood, every weight there and in shape.
/// Reads headers and configurations, no weights.
pub(crate) fn check(files: &ModelFiles) -> Result<(), LoadError> {
    files.check()?;
    let folder = files.folder();
    let clip: ClipConfig = folder.required(config(Part::Text))?;
    let schedule: ScheduleConfig = folder.config(SCHEDULER)?.unwrap_or_default();
    NoiseTable::new(&schedule)?;
    PromptTokenizer::load(folder, clip.max_position_embeddings)?;
    Ok(())
}
