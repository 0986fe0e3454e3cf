//! A diffusers folder: complete, of the right architecture, with every weight where it should be.

use std::fs;
use std::io;
use std::path::Path;

use hearth_protocol::card::CardKind;
use hearth_protocol::engine::AssetFile;
use hearth_protocol::job::Family;
use hearth_protocol::limits;

use super::{InspectError, ModelFacts, ModelFile, bounded, dtype, magic};
use crate::checkpoint;
use crate::folder::{Folder, TEXT_ENCODER, UNET, VAE};
use crate::load::LoadError;
use crate::tensor_file::TensorFile;

/// Files of a folder besides weights: what each of them is called.
const SMALL_FILES: [&str; 11] = [
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "tokenizer/merges.txt",
    "tokenizer/special_tokens_map.json",
    "tokenizer/tokenizer.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors.index.json",
    "vae/config.json",
];

pub(super) fn inspect(path: &Path) -> Result<ModelFacts, InspectError> {
    let refuse = |source| InspectError::Folder {
        path: path.to_path_buf(),
        source,
    };
    let all = list(path)?;
    let assets = assets(&all);
    let folder = Folder(&assets);
    let mut files = Vec::new();
    let mut main_dtype = "none";
    for part in [&UNET, &TEXT_ENCODER, &VAE] {
        let weights = match folder.weights(part) {
            Ok(weights) => weights,
            Err(missing) => {
                return Err(pickle_instead(path, part.name).unwrap_or_else(|| refuse(missing)));
            }
        };
        for weights in weights {
            let header = TensorFile::open(weights)?;
            if part.name == UNET.name {
                main_dtype = dtype(header.header());
            }
            files.extend(all.iter().find(|file| file.path == weights).cloned());
        }
    }
    checkpoint::check(folder).map_err(refuse)?;
    files.extend(
        all.iter()
            .filter(|file| SMALL_FILES.contains(&file.name.as_str()))
            .cloned(),
    );
    if files.len() > limits::CARD_FILES_MAX {
        let what = format!(
            "{} files; at most {} are shared",
            files.len(),
            limits::CARD_FILES_MAX
        );
        return Err(refuse(LoadError::Unsupported {
            part: "folder",
            what,
        }));
    }
    let name = path
        .canonicalize()
        .ok()
        .and_then(|p| Some(p.file_name()?.to_string_lossy().into_owned()));
    Ok(ModelFacts {
        kind: CardKind::Checkpoint,
        family: Family::Sd15,
        title: bounded(
            &name.unwrap_or_else(|| "checkpoint".to_owned()),
            limits::NAME_LEN_MAX,
        ),
        triggers: Vec::new(),
        description: String::new(),
        licence: String::new(),
        files,
        dtype: main_dtype,
    })
}

/// Lists the files one level deep, which is all a diffusers folder has.
fn list(root: &Path) -> Result<Vec<ModelFile>, InspectError> {
    let mut files = Vec::new();
    for part in ["", "scheduler", "text_encoder", "tokenizer", "unet", "vae"] {
        let dir = root.join(part);
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !part.is_empty() => continue,
            Err(source) => return Err(InspectError::Io { path: dir, source }),
        };
        for entry in entries {
            let entry = entry.map_err(|source| InspectError::Io {
                path: dir.clone(),
                source,
            })?;
            // Not `file_type`: caches of Hugging Face are full of links.
            let path = entry.path();
            let name = entry.file_name().into_string();
            if let (true, Ok(name)) = (path.is_file(), name) {
                let name = if part.is_empty() {
                    name
                } else {
                    format!("{part}/{name}")
                };
                files.push(ModelFile { name, path });
            }
        }
    }
    files.sort();
    Ok(files)
}

fn assets(files: &[ModelFile]) -> Vec<AssetFile> {
    let asset = |file: &ModelFile| {
        Some(AssetFile {
            name: file.name.clone(),
            path: file.path.to_str()?.to_owned(),
        })
    };
    files.iter().filter_map(asset).collect()
}

/// Says that a part is there, but as a pickle.
fn pickle_instead(root: &Path, part: &str) -> Option<InspectError> {
    let names = [
        "diffusion_pytorch_model.bin",
        "pytorch_model.bin",
        "model.ckpt",
    ];
    let path = names
        .iter()
        .map(|name| root.join(part).join(name))
        .find(|path| path.is_file())?;
    let pickle = magic::foreign(&path).ok()? == Some(magic::Foreign::Pickle);
    pickle.then_some(InspectError::Pickle { path })
}
