//! A checkpoint in memory: tokenizer, text encoder, UNet, decoder and noise table, adapters merged.

use std::collections::BTreeMap;
use std::path::Path;

use hearth_protocol::engine::{Assets, ModelAsset};
use hearth_protocol::job::{Compat, LoraUse};

use crate::clip::{ClipConfig, ClipText, Layer};
use crate::folder::{Folder, TEXT_ENCODER, UNET, VAE};
use crate::load::LoadError;
use crate::lora::{Deltas, Strength};
use crate::modules::{Scope, record};
use crate::names::{AdapterNames, Part};
use crate::prompt::{
    self, ClipEncoder, Conditioner, Conventions, EmbeddingNames, EmptyNegative, Encoder, Piece,
    PromptError, Script, Stage, runs, windows,
};
use crate::schedule::{NoiseTable, ScheduleConfig};
use crate::tokenizer::PromptTokenizer;
use crate::unet::{Unet, UnetConfig};
use crate::vae::{Vae, VaeConfig};
use crate::warning::Warning;
use crate::weights::Weights;

/// A model ready to run.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    tokenizer: PromptTokenizer,
    text: ClipText,
    pub(crate) unet: Unet,
    pub(crate) vae: Vae,
    /// Pixels a latent covers in each direction.
    pub(crate) factor: usize,
    pub(crate) noise: NoiseTable,
    /// What a person should know about the adapters.
    pub(crate) warnings: Vec<Warning>,
}

impl Checkpoint {
    /// Loads a diffusers folder with its adapters merged in.
    pub(crate) fn load(assets: &Assets, uses: &[LoraUse]) -> Result<Self, LoadError> {
        let folder = Folder(&assets.checkpoint.files);
        let clip_config: ClipConfig = folder.required(TEXT_ENCODER.config)?;
        let unet_config: UnetConfig = folder.required(UNET.config)?;
        let vae_config: VaeConfig = folder.required(VAE.config)?;
        check_agreement(&clip_config, &unet_config)?;
        let schedule: ScheduleConfig = folder
            .config("scheduler/scheduler_config.json")?
            .unwrap_or_default();
        let noise = NoiseTable::new(&schedule)?;
        let tokenizer = PromptTokenizer::load(folder, clip_config.max_position_embeddings)?;
        let (mut deltas, warnings) = adapters(&assets.loras, uses, &clip_config, &unet_config)?;

        let mut weights = Weights::open(
            TEXT_ENCODER.name,
            &folder.weights(&TEXT_ENCODER)?,
            deltas.take(Part::Text),
        )?;
        let text = ClipText::new(&clip_config, Scope::root(&mut weights))?;
        let mut weights =
            Weights::open(UNET.name, &folder.weights(&UNET)?, deltas.take(Part::Unet))?;
        let unet = Unet::new(&unet_config, Scope::root(&mut weights))?;
        let mut weights = Weights::open(VAE.name, &folder.weights(&VAE)?, BTreeMap::new())?;
        let vae = Vae::new(&vae_config, Scope::root(&mut weights))?;
        let factor = vae.factor();
        Ok(Self {
            tokenizer,
            text,
            unet,
            vae,
            factor,
            noise,
            warnings,
        })
    }

    /// Returns the windows of token ids a prompt becomes.
    pub(crate) fn tokens(&self, text: &str, compat: Compat) -> Result<Vec<Vec<u32>>, PromptError> {
        let none = EmbeddingNames::default();
        let reading = windows(&runs(text, compat), &self.tokenizer, &none, compat)?;
        let ids = reading.windows.iter().map(|window| {
            let ids: Vec<_> = window.pieces.iter().filter_map(Piece::token).collect();
            self.tokenizer.frame().around(&ids, |id| id)
        });
        Ok(ids.collect())
    }

    /// Returns what the network hears of a prompt and its negative over a pass.
    pub(crate) fn condition(
        &self,
        [positive, negative]: [&str; 2],
        compat: Compat,
        stage: Stage,
    ) -> Result<Script, PromptError> {
        let encoder = ClipEncoder {
            clip: &self.text,
            layer: Layer::LAST,
            embeddings: &[],
        };
        let encoder = Encoder::new(encoder, self.tokenizer.frame());
        let conventions = Conventions {
            compat,
            empty_negative: EmptyNegative::Encoded,
        };
        let positive = prompt::parse(positive, compat)?;
        let negative = prompt::parse_negative(negative, compat)?;
        let none = EmbeddingNames::default();
        Conditioner::new(&self.tokenizer, &none, vec![encoder], conventions)
            .condition(&positive, &negative, stage)
    }
}

/// Checks that a folder would load: every configuration understood, every weight there and in shape.
/// Reads headers and configurations, no weights.
pub(crate) fn check(folder: Folder<'_>) -> Result<(), LoadError> {
    let clip: ClipConfig = folder.required(TEXT_ENCODER.config)?;
    let unet: UnetConfig = folder.required(UNET.config)?;
    let vae: VaeConfig = folder.required(VAE.config)?;
    check_agreement(&clip, &unet)?;
    let schedule: ScheduleConfig = folder
        .config("scheduler/scheduler_config.json")?
        .unwrap_or_default();
    NoiseTable::new(&schedule)?;
    PromptTokenizer::load(folder, clip.max_position_embeddings)?;
    let parts = [
        (&TEXT_ENCODER, record(|scope| ClipText::new(&clip, scope))?),
        (&UNET, record(|scope| Unet::new(&unet, scope))?),
        (&VAE, record(|scope| Vae::new(&vae, scope))?),
    ];
    for (part, modules) in parts {
        Weights::open(part.name, &folder.weights(part)?, BTreeMap::new())?.check(&modules)?;
    }
    Ok(())
}

fn check_agreement(clip: &ClipConfig, unet: &UnetConfig) -> Result<(), LoadError> {
    if unet.in_channels != 4 || unet.addition_embed_type.is_some() {
        let what = "an inpainting or XL model, which no job can use yet".to_owned();
        return Err(LoadError::Unsupported { part: "unet", what });
    }
    if clip.hidden_size == unet.cross_attention_dim {
        return Ok(());
    }
    let what = format!(
        "it listens to vectors of {}, the text encoder gives {}",
        unet.cross_attention_dim, clip.hidden_size
    );
    Err(LoadError::Unsupported { part: "unet", what })
}

fn adapters(
    assets: &[ModelAsset],
    uses: &[LoraUse],
    clip: &ClipConfig,
    unet: &UnetConfig,
) -> Result<(Deltas, Vec<Warning>), LoadError> {
    let mut deltas = Deltas::default();
    let mut warnings = Vec::new();
    if uses.is_empty() {
        return Ok((deltas, warnings));
    }
    let mut names = AdapterNames::default();
    names.add(Part::Unet, record(|scope| Unet::new(unet, scope))?);
    names.add(Part::Text, record(|scope| ClipText::new(clip, scope))?);
    for (asset, lora) in assets.iter().zip(uses) {
        let strength = Strength {
            unet: lora.unet.value(),
            text: lora.text.value(),
        };
        for file in asset
            .files
            .iter()
            .filter(|file| file.name.ends_with(".safetensors"))
        {
            let keys = deltas.add_file(Path::new(&file.path), &names, strength)?;
            if !keys.is_empty() {
                warnings.push(Warning::UnmatchedKeys {
                    lora: asset.title.clone(),
                    keys,
                });
            }
        }
    }
    Ok((deltas, warnings))
}
