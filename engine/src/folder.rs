//! A model's folder as names and places: blobs live under their hashes, and a model in one file has the
//! folder's small texts made up for it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use hearth_protocol::engine::AssetFile;
use serde::de::DeserializeOwned;

use crate::load::LoadError;
use crate::names::Part;

/// Longest configuration, vocabulary or merges file; the largest real one is a 4 MB tokenizer.
const TEXT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Texts by their names inside the folder.
pub(crate) type Texts = BTreeMap<&'static str, String>;

/// Where the noise table is described.
pub(crate) const SCHEDULER: &str = "scheduler/scheduler_config.json";

/// A diffusers folder, wherever its files are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Folder<'a> {
    files: &'a [AssetFile],
    texts: Option<&'a Texts>,
}

impl<'a> Folder<'a> {
    pub(crate) fn new(files: &'a [AssetFile]) -> Self {
        Self { files, texts: None }
    }

    /// Has some texts stand for the files of their names, whether there are any or not.
    pub(crate) fn with(self, texts: &'a Texts) -> Self {
        let texts = Some(texts);
        Self { texts, ..self }
    }

    /// Returns whether this is a folder of parts and not a list of weights files.
    pub(crate) fn has_parts(&self) -> bool {
        self.files.iter().any(|file| file.name.contains('/'))
    }

    /// Returns where a file is.
    pub(crate) fn find(&self, name: &str) -> Option<&'a Path> {
        self.files
            .iter()
            .find(|file| file.name == name)
            .map(|file| Path::new(&file.path))
    }

    /// Returns a text file's content, or nothing if the folder has no such file.
    pub(crate) fn text(&self, name: &'static str) -> Result<Option<String>, LoadError> {
        if let Some(text) = self.texts.and_then(|texts| texts.get(name)) {
            return Ok(Some(text.clone()));
        }
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

    /// Returns a part's weights, all shards of them: full precision before half, a running average (which
    /// is what the plain name holds) before what was averaged.
    pub(crate) fn weights(&self, part: Part) -> Result<Vec<&'a Path>, LoadError> {
        let whole = whole(part);
        let stem = whole.trim_end_matches(".safetensors");
        for variant in ["", ".fp16", ".bf16", ".non_ema"] {
            if let Some(path) = self.find(&format!("{stem}{variant}.safetensors")) {
                return Ok(vec![path]);
            }
            let shards = self.shards(stem, variant, part)?;
            if !shards.is_empty() {
                return Ok(shards);
            }
        }
        Err(LoadError::MissingFile { name: whole })
    }

    /// Returns the shards of one variant: `stem.fp16-00001-of-00002` or `stem-00001-of-00002.fp16`.
    fn shards(&self, stem: &str, variant: &str, part: Part) -> Result<Vec<&'a Path>, LoadError> {
        let mut paths = Vec::new();
        let mut expected = 0;
        for file in self.files {
            let Some(rest) = file.name.strip_prefix(stem) else {
                continue;
            };
            let Some(rest) = rest.strip_suffix(".safetensors") else {
                continue;
            };
            let numbers = rest.strip_prefix(variant).and_then(shard_count);
            let count = numbers.or_else(|| rest.strip_suffix(variant).and_then(shard_count));
            if let Some(count) = count {
                expected = expected.max(count);
                paths.push(Path::new(&file.path));
            }
        }
        if paths.len() != expected {
            return Err(LoadError::MissingShards {
                part: part.name(),
                expected,
                got: paths.len(),
            });
        }
        Ok(paths)
    }
}

/// Returns the second number of `-00001-of-00002`.
fn shard_count(numbers: &str) -> Option<usize> {
    let (at, count) = numbers.strip_prefix('-')?.split_once("-of-")?;
    at.parse::<usize>().ok()?;
    count.parse().ok()
}

/// Returns where a part is configured.
pub(crate) fn config(part: Part) -> &'static str {
    match part {
        Part::Unet => "unet/config.json",
        Part::Vae => "vae/config.json",
        Part::Text => "text_encoder/config.json",
        Part::Text2 => "text_encoder_2/config.json",
    }
}

/// Returns where a part's weights are if they are in one file.
fn whole(part: Part) -> &'static str {
    match part {
        Part::Unet => "unet/diffusion_pytorch_model.safetensors",
        Part::Vae => "vae/diffusion_pytorch_model.safetensors",
        Part::Text => "text_encoder/model.safetensors",
        Part::Text2 => "text_encoder_2/model.safetensors",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> Vec<AssetFile> {
        let file = |name: &&str| AssetFile {
            name: (*name).to_owned(),
            path: format!("/{name}"),
        };
        names.iter().map(file).collect()
    }

    #[test]
    fn e11_weights_are_found_under_every_name_they_have() {
        for (names, count) in [
            (vec!["unet/diffusion_pytorch_model.safetensors"], 1),
            (vec!["unet/diffusion_pytorch_model.fp16.safetensors"], 1),
            (
                vec![
                    "unet/diffusion_pytorch_model-00001-of-00002.safetensors",
                    "unet/diffusion_pytorch_model-00002-of-00002.safetensors",
                    "unet/diffusion_pytorch_model.safetensors.index.json",
                ],
                2,
            ),
            (
                vec![
                    "unet/diffusion_pytorch_model.fp16-00001-of-00002.safetensors",
                    "unet/diffusion_pytorch_model.fp16-00002-of-00002.safetensors",
                ],
                2,
            ),
        ] {
            let files = files(&names);
            let found = Folder::new(&files).weights(Part::Unet).unwrap();
            assert_eq!(found.len(), count, "{names:?}");
        }
        let both = files(&[
            "vae/diffusion_pytorch_model.fp16.safetensors",
            "vae/diffusion_pytorch_model.safetensors",
        ]);
        let found = Folder::new(&both).weights(Part::Vae).unwrap();
        assert_eq!(
            found,
            [Path::new("/vae/diffusion_pytorch_model.safetensors")]
        );
    }

    #[test]
    fn e11_missing_shard_is_counted() {
        let files = files(&["unet/diffusion_pytorch_model-00002-of-00003.safetensors"]);
        let error = Folder::new(&files).weights(Part::Unet).unwrap_err();
        assert!(matches!(
            error,
            LoadError::MissingShards {
                expected: 3,
                got: 1,
                ..
            }
        ));
    }
}
