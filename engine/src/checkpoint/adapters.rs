//! What it takes to change the adapters of a model in memory.

use std::path::{Path, PathBuf};

use hearth_protocol::engine::ModelAsset;
use hearth_protocol::job::{Family, LoraUse};

use crate::adapter::{AdapterNames, AdapterSet, AdapterUse, Base, SetKey, Strength, WarmPart};
use crate::clip::{ClipConfig, ClipText};
use crate::folder::config;
use crate::load::LoadError;
use crate::model_files::ModelFiles;
use crate::modules::{Part, Scope};
use crate::unet::{Unet, UnetConfig};
use crate::warning::Warning;
use crate::weights::Placement;

/// Text encoders and UNet.
pub(super) type Networks = (Vec<ClipText>, Unet);

/// The parts adapters change, with their clean weights.
#[derive(Debug)]
pub(super) struct Adaptable {
    texts: Vec<(ClipConfig, WarmPart)>,
    unet: (UnetConfig, WarmPart),
    names: AdapterNames,
    set: AdapterSet,
}

impl Adaptable {
    /// Reads text encoders and UNet, as they are without adapters.
    pub(super) fn read(
        files: &ModelFiles,
        placement: &Placement,
    ) -> Result<(Self, Networks), LoadError> {
        let folder = files.folder();
        let unet_config: UnetConfig = folder.required(config(Part::Unet))?;
        let encoders = if files.family == Family::Sdxl {
            vec![Part::Text, Part::Text2]
        } else {
            vec![Part::Text]
        };
        let base = Base::of_model(unet_config.cross_attention_dim, encoders.len());
        let mut names = AdapterNames::new(base);
        let (mut texts, mut clips) = (Vec::new(), Vec::new());
        for part in encoders {
            names.add(part, files.modules(part)?);
            let config: ClipConfig = folder.required(config(part))?;
            let (mut warm, mut weights) = (WarmPart::new(part), files.weights(part, placement)?);
            let scope = &mut warm.reading(&mut weights);
            clips.push(ClipText::new(&config, Scope::root(scope))?);
            texts.push((config, warm));
        }
        names.add(Part::Unet, files.modules(Part::Unet)?);
        let mut weights = files.weights(Part::Unet, placement)?;
        let mut warm = WarmPart::new(Part::Unet);
        let unet = Unet::new(&unet_config, Scope::root(&mut warm.reading(&mut weights)))?;
        let adaptable = Self {
            texts,
            unet: (unet_config, warm),
            names,
            set: AdapterSet::default(),
        };
        Ok((adaptable, (clips, unet)))
    }

    /// Returns how many positions the first text encoder takes.
    pub(super) fn positions(&self) -> usize {
        let first = self.texts.first();
        first.map_or(77, |(config, _)| config.max_position_embeddings)
    }

    /// Returns the channels of the network's first resolution.
    pub(super) fn channels(&self) -> usize {
        self.unet.0.block_out_channels.first().copied().unwrap_or(0)
    }

    /// Applies a set of adapters instead of the one before, if it is another; returns what a person should
    /// know then.
    pub(super) fn change(
        &mut self,
        assets: &[ModelAsset],
        uses: &[LoraUse],
    ) -> Result<Option<Vec<Warning>>, LoadError> {
        let key = SetKey::of(&adapter_uses(assets, uses))?;
        if key == *self.set.key() {
            return Ok(None);
        }
        let set = AdapterSet::open(key, &self.names, &self.set)?;
        let texts = self.texts.iter_mut().map(|(_, part)| part);
        for part in texts.chain([&mut self.unet.1]) {
            part.apply(&set, part.mode())?;
        }
        // Last: a change that failed half way is done again, not taken for done.
        self.set = set;
        let unmatched = self.set.unmatched().filter(|(_, keys)| !keys.is_empty());
        let warn = |(path, keys): (&PathBuf, &[String])| Warning::UnmatchedKeys {
            lora: title(assets, path),
            keys: keys.to_vec(),
        };
        Ok(Some(unmatched.map(warn).collect()))
    }

    /// Builds the networks over the weights as the set has them; what is packed as a layer wants it is shared.
    pub(super) fn build(&mut self) -> Result<Networks, LoadError> {
        let texts = self.texts.iter_mut();
        let texts = texts.map(|(config, part)| ClipText::new(config, Scope::root(part)));
        let texts = texts.collect::<Result<_, _>>()?;
        let (config, part) = &mut self.unet;
        Ok((texts, Unet::new(config, Scope::root(part))?))
    }
}

/// Returns the adapters' files with their weights.
fn adapter_uses(assets: &[ModelAsset], uses: &[LoraUse]) -> Vec<AdapterUse> {
    let files = |asset: &ModelAsset, ending: &str| -> Vec<PathBuf> {
        let files = asset.files.iter();
        let files = files.filter(|file| file.name.ends_with(ending));
        files.map(|file| PathBuf::from(&file.path)).collect()
    };
    assets
        .iter()
        .zip(uses)
        .flat_map(|(asset, lora)| {
            let config = files(asset, "adapter_config.json").pop();
            let weights = files(asset, ".safetensors").into_iter();
            weights.map(move |path| AdapterUse {
                path,
                config: config.clone(),
                strength: Strength::new(lora.unet, lora.text),
            })
        })
        .collect()
}

fn title(assets: &[ModelAsset], path: &Path) -> String {
    let named = |asset: &&ModelAsset| asset.files.iter().any(|file| path == Path::new(&file.path));
    assets
        .iter()
        .find(named)
        .map_or_else(String::new, |asset| asset.title.clone())
}
