//! A model in one safetensors file: whole or part of a checkpoint, an adapter, an embedding.

use std::path::Path;
use std::sync::Arc;

use hearth_protocol::card::CardKind;
use hearth_protocol::engine::AssetFile;
use hearth_protocol::job::Family;
use hearth_protocol::limits;

use super::stated::{bounded, facts};
use super::{Input, InspectError, ModelFacts, Network, embedding, hints};
use crate::adapter::{self, AdapterKind, Base};
use crate::checkpoint;
use crate::detect;
use crate::folder;
use crate::load::LoadError;
use crate::model_files::{Choice, ModelFiles};
use crate::names::Part;
use crate::single_file::{self, Average};
use crate::tensor_file::{TensorFile, TensorHeader};
use crate::unet::UnetConfig;

/// The name of an autoencoder's file in a folder of its own, and its configuration's.
const VAE_FILES: [&str; 2] = ["diffusion_pytorch_model.safetensors", "config.json"];

pub(super) fn inspect(path: &Path) -> Result<ModelFacts, InspectError> {
    let file = Arc::new(TensorFile::open(path)?);
    let header = file.header();
    let parts = single_file::parts(&file, Average::Plain);
    if let Some(base) = detect::foreign(header) {
        let path = path.to_path_buf();
        return Err(InspectError::OtherArchitecture { path, base });
    }
    let parts: Vec<Part> = parts.into_keys().collect();
    match parts.as_slice() {
        [] => inspect_adapter(path, header),
        [Part::Vae] => inspect_vae(path, header, &[asset(path)]),
        _ => inspect_checkpoint(path, header),
    }
}

/// Inspects a folder that holds nothing but an autoencoder, if it is one.
pub(super) fn inspect_vae_folder(root: &Path) -> Option<Result<ModelFacts, InspectError>> {
    let [weights, config] = VAE_FILES.map(|name| root.join(name));
    if !weights.is_file() || !config.is_file() {
        return None;
    }
    let inspect = || {
        let file = TensorFile::open(&weights)?;
        let assets = [asset(&weights), asset(&config)];
        let facts = inspect_vae(&weights, file.header(), &assets)?;
        let title = root.canonicalize().unwrap_or_else(|_| root.to_path_buf());
        let title = title
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let mut files = facts.files.clone();
        files.push(super::ModelFile {
            name: VAE_FILES[1].to_owned(),
            path: config.clone(),
        });
        Ok(ModelFacts {
            title: bounded(&title, limits::NAME_LEN_MAX),
            files,
            ..facts
        })
    };
    Some(inspect())
}

fn asset(path: &Path) -> AssetFile {
    AssetFile {
        name: path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        path: path.to_string_lossy().into_owned(),
    }
}

fn refuse(path: &Path, source: LoadError) -> InspectError {
    let path = path.to_path_buf();
    if let LoadError::Foreign { name: base } = source {
        InspectError::OtherArchitecture { path, base }
    } else {
        InspectError::Checkpoint { path, source }
    }
}

fn inspect_checkpoint(path: &Path, header: &TensorHeader) -> Result<ModelFacts, InspectError> {
    let refuse = |source| refuse(path, source);
    let files = ModelFiles::open(&[asset(path)], &Choice::default()).map_err(refuse)?;
    checkpoint::check(&files).map_err(refuse)?;
    let facts = facts(path, header, CardKind::Checkpoint, files.family);
    with_network(facts, &files, path, header).map_err(refuse)
}

/// Adds what a checkpoint's network is and how it likes to be asked.
pub(super) fn with_network(
    facts: ModelFacts,
    files: &ModelFiles,
    path: &Path,
    header: &TensorHeader,
) -> Result<ModelFacts, LoadError> {
    let unet: UnetConfig = files.folder().required(folder::config(Part::Unet))?;
    let input = match unet.in_channels {
        9 => Input::Inpaint,
        8 => Input::Instruct,
        _ => Input::Plain,
    };
    let (family, prediction) = (files.family, files.prediction);
    let variant = hints::variant(path, header);
    Ok(ModelFacts {
        network: Some(Network { input, prediction }),
        variant,
        settings: Some(hints::settings(family, prediction, variant, header)),
        ..facts
    })
}

fn inspect_vae(
    path: &Path,
    header: &TensorHeader,
    files: &[AssetFile],
) -> Result<ModelFacts, InspectError> {
    // Nothing in its shapes tells whose it is; it can stand in for any family's that has four latents.
    crate::model_files::check_vae(files).map_err(|source| refuse(path, source))?;
    Ok(facts(path, header, CardKind::Vae, Family::Sd15))
}

/// An adapter by its keys, or an embedding.
fn inspect_adapter(path: &Path, header: &TensorHeader) -> Result<ModelFacts, InspectError> {
    if let Some(family) = embedding::family(header) {
        return Ok(facts(path, header, CardKind::Embedding, family));
    }
    let owned = path.to_path_buf();
    let family = match adapter::base(header) {
        Some(base @ (Base::Other(_) | Base::SdxlRefiner)) => {
            let base = base.name();
            return Err(InspectError::OtherArchitecture { path: owned, base });
        }
        Some(Base::Sdxl) => Family::Sdxl,
        Some(Base::Sd2) => Family::Sd2,
        Some(Base::Kindling) => Family::Kindling,
        Some(Base::Sd1) | None => Family::Sd15,
    };
    let first_key = header
        .tensors
        .keys()
        .next()
        .map_or("(none)", String::as_str);
    match adapter::recognise(header) {
        Some(kind @ AdapterKind::Unsupported(_)) => {
            let kind = kind.label();
            Err(InspectError::OtherAdapter { path: owned, kind })
        }
        Some(_) => Ok(facts(path, header, CardKind::Lora, family)),
        None => Err(InspectError::Unknown {
            path: owned,
            first_key: bounded(first_key, limits::NAME_LEN_MAX),
        }),
    }
}
