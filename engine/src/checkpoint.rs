//! A checkpoint in memory: tokenizer, text encoder, UNet, decoder and noise table, adapters merged.

use std::path::PathBuf;

use hearth_protocol::engine::{Assets, ModelAsset};
use hearth_protocol::job::{Compat, LoraUse};

use crate::adapter::{AdapterNames, AdapterSet, AdapterUse, Base, SetKey, Strength, WarmPart};
use crate::clip::{ClipConfig, ClipText, Layer};
use crate::folder::{SCHEDULER, config};
use crate::load::LoadError;
use crate::model_files::{Choice, ModelFiles};
use crate::modules::{Part, Scope};
use crate::prompt::{
    self, ClipEncoder, Conditioner, Conventions, EmbeddingNames, EmptyNegative, Encoder, Piece,
    PromptError, Script, Stage, runs, windows,
};
use crate::schedule::{NoiseTable, ScheduleConfig};
use crate::tokenizer::PromptTokenizer;
use crate::unet::{Unet, UnetConfig};
use crate::vae::{Vae, VaeConfig};
use crate::warning::Warning;
use crate::weights::Placement;

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
    adaptable: Adaptable,
}

/// What it takes to change the adapters of a model in memory.
#[derive(Debug)]
struct Adaptable {
    clip_config: ClipConfig,
    unet_config: UnetConfig,
    names: AdapterNames,
    text: WarmPart,
    unet: WarmPart,
    set: AdapterSet,
}

impl Checkpoint {
    /// Loads a folder or single file with its adapters merged in.
    pub(crate) fn load(assets: &Assets, uses: &[LoraUse]) -> Result<Self, LoadError> {
        let choice = Choice {
            vae: assets.vae.as_ref().map(|vae| vae.files.as_slice()),
            ..Choice::default()
        };
        let files = ModelFiles::open(&assets.checkpoint.files, &choice)?;
        files.check()?;
        let folder = files.folder();
        let vae_config: VaeConfig = folder.required(config(Part::Vae))?;
        let schedule: ScheduleConfig = folder.config(SCHEDULER)?.unwrap_or_default();
        let noise = NoiseTable::new(&schedule)?;
        let placement = Placement::default();
        let mut adaptable = Adaptable::load(&files, &placement)?;
        let positions = adaptable.clip_config.max_position_embeddings;
        let tokenizer = PromptTokenizer::load(folder, positions)?;
        let warnings = adaptable.apply(&assets.loras, uses)?;
        let (text, unet) = adaptable.build()?;
        let mut weights = files.weights(Part::Vae, &placement)?;
        let vae = Vae::new(&vae_config, Scope::root(&mut weights))?;
        Ok(Self {
            tokenizer,
            text,
            unet,
            factor: vae.factor(),
            vae,
            noise,
            warnings,
            adaptable,
        })
    }

    /// Changes the adapters of the model in memory; cheap where they are the same.
    pub(crate) fn adapt(
        &mut self,
        assets: &[ModelAsset],
        uses: &[LoraUse],
    ) -> Result<(), LoadError> {
        let key = SetKey::of(&adapter_uses(assets, uses))?;
        if key != *self.adaptable.set.key() {
            self.warnings = self.adaptable.apply(assets, uses)?;
            (self.text, self.unet) = self.adaptable.build()?;
        }
        Ok(())
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

    /// Returns what the network hears of a prompt and its negative over a stage.
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

fn check_supported(unet: &UnetConfig) -> Result<(), LoadError> {
    if unet.in_channels != 4 || unet.addition_embed_type.is_some() {
        let what = "an inpainting or XL model, which no job can use yet".to_owned();
        return Err(LoadError::Unsupported { part: "unet", what });
    }
    Ok(())
}

impl Adaptable {
    fn load(files: &ModelFiles, placement: &Placement) -> Result<Self, LoadError> {
        let folder = files.folder();
        let clip_config: ClipConfig = folder.required(config(Part::Text))?;
        let unet_config: UnetConfig = folder.required(config(Part::Unet))?;
        check_supported(&unet_config)?;
        let base = Base::of_model(unet_config.cross_attention_dim, 1);
        let mut names = AdapterNames::new(base);
        let mut warm = |part| {
            let modules = files.modules(part)?;
            names.add(part, modules.clone());
            WarmPart::read(part, modules, &mut files.weights(part, placement)?)
        };
        let (text, unet) = (warm(Part::Text)?, warm(Part::Unet)?);
        Ok(Self {
            clip_config,
            unet_config,
            names,
            text,
            unet,
            set: AdapterSet::default(),
        })
    }

    fn apply(
        &mut self,
        assets: &[ModelAsset],
        uses: &[LoraUse],
    ) -> Result<Vec<Warning>, LoadError> {
        let key = SetKey::of(&adapter_uses(assets, uses))?;
        self.set = AdapterSet::open(key, &self.names, &self.set)?;
        self.text.apply(&self.set, self.text.mode())?;
        self.unet.apply(&self.set, self.unet.mode())?;
        let unmatched = self.set.unmatched().filter(|(_, keys)| !keys.is_empty());
        let warn = |(path, keys): (&PathBuf, &[String])| Warning::UnmatchedKeys {
            lora: title(assets, path),
            keys: keys.to_vec(),
        };
        Ok(unmatched.map(warn).collect())
    }

    fn build(&mut self) -> Result<(ClipText, Unet), LoadError> {
        let text = ClipText::new(&self.clip_config, Scope::root(&mut self.text))?;
        let unet = Unet::new(&self.unet_config, Scope::root(&mut self.unet))?;
        Ok((text, unet))
    }
}

/// Returns the adapters' files with their weights.
fn adapter_uses(assets: &[ModelAsset], uses: &[LoraUse]) -> Vec<AdapterUse> {
    let file = |asset: &ModelAsset, ending: &str| {
        let files = asset
            .files
            .iter()
            .filter(|file| file.name.ends_with(ending));
        files
            .map(|file| PathBuf::from(&file.path))
            .collect::<Vec<_>>()
    };
    assets
        .iter()
        .zip(uses)
        .flat_map(|(asset, lora)| {
            let config = file(asset, "adapter_config.json").pop();
            file(asset, ".safetensors")
                .into_iter()
                .map(move |path| AdapterUse {
                    path,
                    config: config.clone(),
                    strength: Strength::new(lora.unet, lora.text),
                })
        })
        .collect()
}

fn title(assets: &[ModelAsset], path: &PathBuf) -> String {
    let named = |asset: &&ModelAsset| asset.files.iter().any(|file| *path == *file.path);
    assets
        .iter()
        .find(named)
        .map_or_else(String::new, |asset| asset.title.clone())
}
