//! A diffusers folder: complete, of the right architecture, with every weight where it should be.

use std::fs;
use std::io;
use std::path::Path;

use hearth_protocol::card::CardKind;
use hearth_protocol::engine::AssetFile;
use hearth_protocol::limits;

use super::stated::facts;
use super::{InspectError, ModelFacts, ModelFile, file, magic};
use crate::checkpoint;
use crate::folder::{self, Folder};
use crate::load::LoadError;
use crate::model_files::{Choice, ModelFiles};
use crate::names::Part;
use crate::weights::PartFiles;

/// Files of a folder besides weights: what each of them is called.
const SMALL_FILES: [&str; 19] = [
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model.safetensors.index.json",
    "text_encoder_2/config.json",
    "text_encoder_2/model.safetensors.index.json",
    "tokenizer/merges.txt",
    "tokenizer/special_tokens_map.json",
    "tokenizer/tokenizer.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    "tokenizer_2/merges.txt",
    "tokenizer_2/special_tokens_map.json",
    "tokenizer_2/tokenizer.json",
    "tokenizer_2/tokenizer_config.json",
    "tokenizer_2/vocab.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors.index.json",
    "vae/config.json",
];

/// Folders a checkpoint's files lie in, and its root.
const PLACES: [&str; 8] = [
    "",
    "scheduler",
    "text_encoder",
    "text_encoder_2",
    "tokenizer",
    "tokenizer_2",
    "unet",
    "vae",
];

pub(super) fn inspect(path: &Path) -> Result<ModelFacts, InspectError> {
    if let Some(vae) = file::inspect_vae_folder(path) {
        return vae;
    }
    let refuse = |source| InspectError::Checkpoint {
        path: path.to_path_buf(),
        source,
    };
    let all = list(path)?;
    let assets = assets(&all);
    let model = match open(&assets) {
        Ok(model) => model,
        Err(missing) => return Err(pickle_instead(path).unwrap_or_else(|| refuse(missing))),
    };
    checkpoint::check(&model).map_err(refuse)?;
    let mut files = Vec::new();
    for part in [Part::Unet, Part::Text, Part::Text2, Part::Vae] {
        for weights in model.part(part).map_or(&[][..], PartFiles::files) {
            files.extend(all.iter().find(|file| file.path == weights.path()).cloned());
        }
    }
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
        let part = "folder";
        return Err(refuse(LoadError::Unsupported { part, what }));
    }
    let unet = model.part(Part::Unet).and_then(|unet| unet.files().first());
    let unet = unet.expect("an opened model has a UNet in at least one file");
    let root = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let facts = ModelFacts {
        files,
        ..facts(&root, unet.header(), CardKind::Checkpoint, model.family)
    };
    file::with_network(facts, &model, &root, unet.header()).map_err(refuse)
}

/// Opens what must be a folder, so that a lone weights file in it is not taken for the whole.
fn open(assets: &[AssetFile]) -> Result<ModelFiles, LoadError> {
    if Folder::new(assets).has_parts() {
        return ModelFiles::open(assets, &Choice::default());
    }
    let name = folder::config(Part::Unet);
    Err(LoadError::MissingFile { name })
}

/// Lists the files one level deep, which is all a diffusers folder has.
fn list(root: &Path) -> Result<Vec<ModelFile>, InspectError> {
    let mut files = Vec::new();
    for part in PLACES {
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
fn pickle_instead(root: &Path) -> Option<InspectError> {
    let names = [
        "diffusion_pytorch_model.bin",
        "pytorch_model.bin",
        "model.ckpt",
    ];
    let places = PLACES
        .iter()
        .flat_map(|part| names.map(|name| root.join(part).join(name)));
    let path = places.into_iter().find(|path| path.is_file())?;
    let pickle = magic::foreign(&path).ok()? == Some(magic::Foreign::Pickle);
    pickle.then_some(InspectError::Pickle { path })
}
