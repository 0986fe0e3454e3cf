//! A model's folder as a list of names and paths: blobs live under their hashes, not their names.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use hearth_protocol::engine::AssetFile;
use serde::de::DeserializeOwned;

use crate::load::LoadError;

/// Longest configuration, vocabulary or merges file; the largest real one is a 4 MB tokenizer.
const TEXT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A diffusers folder, wherever its files are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Folder<'a>(pub(crate) &'a [AssetFile]);

impl<'a> Folder<'a> {
    /// Returns where a file is.
    pub(crate) fn find(&self, name: &str) -> Option<&'a Path> {
        self.0
            .iter()
            .find(|file| file.name == name)
            .map(|file| Path::new(&file.path))
    }

    /// Returns a text file's content, or nothing if the folder has no such file.
    pub(crate) fn text(&self, name: &'static str) -> Result<Option<String>, LoadError> {
        let Some(path) = self.find(name) else {
            return Ok(None);
        };
        let io = |source| LoadError::Io {
            path: path.to_path_buf(),
            source,
        };
        let mut text = String::new();
        let file = File::open(path).map_err(io)?;
        file.take(TEXT_BYTES_MAX + 1)
            .read_to_string(&mut text)
            .map_err(io)?;
        if text.len() as u64 > TEXT_BYTES_MAX {
            return Err(LoadError::TooLong {
                path: path.to_path_buf(),
                max: TEXT_BYTES_MAX,
            });
        }
        Ok(Some(text))
    }

    /// Parses a configuration file, or returns nothing if the folder has no such file.
    pub(crate) fn config<T: DeserializeOwned>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, LoadError> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        serde_json::from_str(&text).map(Some).map_err(|source| {
            let path = self
                .find(name)
                .unwrap_or_else(|| Path::new(name))
                .to_path_buf();
            LoadError::Config { path, source }
        })
    }

    /// As [`Self::config`], for a file that must be there.
    pub(crate) fn required<T: DeserializeOwned>(&self, name: &'static str) -> Result<T, LoadError> {
        self.config(name)?.ok_or(LoadError::MissingFile { name })
    }

    /// Returns a part's weights: one whole file before shards, full precision before half.
    pub(crate) fn weights(&self, part: &'static Part) -> Result<Vec<&'a Path>, LoadError> {
        for whole in [part.weights, part.half_weights] {
            if let Some(path) = self.find(whole) {
                return Ok(vec![path]);
            }
        }
        let shard = |file: &&AssetFile| {
            let rest = file
                .name
                .strip_prefix(part.weights.trim_end_matches(".safetensors"));
            rest.is_some_and(|r| r.starts_with("-0") && r.ends_with(".safetensors"))
        };
        let shards: Vec<_> = self
            .0
            .iter()
            .filter(shard)
            .map(|f| Path::new(&f.path))
            .collect();
        if shards.is_empty() {
            return Err(LoadError::MissingFile { name: part.weights });
        }
        Ok(shards)
    }
}

/// One of the networks of a folder.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) name: &'static str,
    pub(crate) config: &'static str,
    weights: &'static str,
    half_weights: &'static str,
}

pub(crate) const UNET: Part = Part {
    name: "unet",
    config: "unet/config.json",
    weights: "unet/diffusion_pytorch_model.safetensors",
    half_weights: "unet/diffusion_pytorch_model.fp16.safetensors",
};

pub(crate) const VAE: Part = Part {
    name: "vae",
    config: "vae/config.json",
    weights: "vae/diffusion_pytorch_model.safetensors",
    half_weights: "vae/diffusion_pytorch_model.fp16.safetensors",
};

pub(crate) const TEXT_ENCODER: Part = Part {
    name: "text_encoder",
    config: "text_encoder/config.json",
    weights: "text_encoder/model.safetensors",
    half_weights: "text_encoder/model.fp16.safetensors",
};

/// SDXL's second.
pub(crate) const TEXT_ENCODER_2: Part = Part {
    name: "text_encoder_2",
    config: "text_encoder_2/config.json",
    weights: "text_encoder_2/model.safetensors",
    half_weights: "text_encoder_2/model.fp16.safetensors",
};
