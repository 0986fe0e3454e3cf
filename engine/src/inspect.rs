//! Says what a model on disk is, before it is shared: a LoRA file or a diffusers folder.
//!
//! Everything is decided from key names and tensor shapes, never from file names; metadata gives
//! titles and trigger words, bounded. What cannot be used is refused with the reason and the next step.

mod folder;
mod magic;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use hearth_protocol::card::CardKind;
use hearth_protocol::job::Family;
use hearth_protocol::limits;
use serde_json::Value;
use thiserror::Error;

use crate::adapter::{self, AdapterKind, Base};
use crate::load::LoadError;
use crate::tensor_file::{TensorFile, TensorFileError, TensorHeader};

/// Most trigger words taken from a file.
const TRIGGERS_MAX: usize = 8;

/// What a model says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFacts {
    /// What it is.
    pub kind: CardKind,
    /// What it is made for, decided from tensor shapes.
    pub family: Family,
    /// Title by its metadata, or the file's or folder's name.
    pub title: String,
    /// Words that call it up.
    pub triggers: Vec<String>,
    /// What it says it is, if it does.
    pub description: String,
    /// Its licence, if it says so.
    pub licence: String,
    /// Its files by the name inside the model's folder, the main one first.
    pub files: Vec<ModelFile>,
    /// Element type of most of its tensors: `f16`, `bf16`, `f32`.
    pub dtype: &'static str,
}

/// One file of a model.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModelFile {
    /// Name inside the model's folder, `/` between parts.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
}

/// Why a model is refused.
#[derive(Debug, Error)]
pub enum InspectError {
    /// There is nothing, or it may not be read.
    #[error("cannot read {path}: check the path and its permissions")]
    Io {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A pickle can run code when it is loaded.
    #[error(
        "{path} is a pickle, which can run code when loaded: convert it to safetensors and add that"
    )]
    Pickle {
        /// The file.
        path: PathBuf,
    },
    /// Another format.
    #[error("{path} is {format}: this version takes a safetensors LoRA or a diffusers folder")]
    Format {
        /// The file.
        path: PathBuf,
        /// What it is, in words.
        format: &'static str,
    },
    /// A damaged or dishonest safetensors file.
    #[error(transparent)]
    TensorFile(#[from] TensorFileError),
    /// A model of another architecture.
    #[error("{path} is for {base}; this version runs Stable Diffusion 1")]
    OtherArchitecture {
        /// The file.
        path: PathBuf,
        /// What it is for.
        base: &'static str,
    },
    /// A whole checkpoint in one file.
    #[error(
        "{path} is a whole checkpoint in one file; this version takes the diffusers folder of the same model"
    )]
    SingleFileCheckpoint {
        /// The file.
        path: PathBuf,
    },
    /// Tensors that are no adapter.
    #[error("{path} holds no LoRA: its first key is {first_key}")]
    NotALora {
        /// The file.
        path: PathBuf,
        /// A key, to recognise it by.
        first_key: String,
    },
    /// An adapter of a kind that is not merged yet.
    #[error(
        "{path} is a {kind} adapter, a kind this version cannot apply: look for a LoRA of the same subject"
    )]
    OtherAdapter {
        /// The file.
        path: PathBuf,
        /// The kind's name.
        kind: &'static str,
    },
    /// A folder that is not a complete, runnable checkpoint.
    #[error("{path} cannot be used as a checkpoint")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: LoadError,
    },
}

/// Finds out what is at a path.
pub fn inspect(path: &Path) -> Result<ModelFacts, InspectError> {
    let io = |source| InspectError::Io {
        path: path.to_path_buf(),
        source,
    };
    if std::fs::metadata(path).map_err(io)?.is_dir() {
        return folder::inspect(path);
    }
    if let Some(found) = magic::foreign(path).map_err(io)? {
        let path = path.to_path_buf();
        return Err(match found {
            magic::Foreign::Pickle => InspectError::Pickle { path },
            magic::Foreign::Format(format) => InspectError::Format { path, format },
        });
    }
    inspect_lora(path)
}

fn inspect_lora(path: &Path) -> Result<ModelFacts, InspectError> {
    let file = TensorFile::open(path)?;
    let header = file.header();
    check_lora(path, header)?;
    let text = |part: Option<&OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let stem = text(path.file_stem());
    let says = |key: &str, otherwise: &str, max| {
        let stated = header.metadata.get(key).map(|text| text.trim());
        bounded(
            stated.filter(|text| !text.is_empty()).unwrap_or(otherwise),
            max,
        )
    };
    Ok(ModelFacts {
        kind: CardKind::Lora,
        family: Family::Sd15,
        title: says("modelspec.title", &stem, limits::NAME_LEN_MAX),
        triggers: triggers(header),
        description: says("modelspec.description", "", limits::TEXT_LEN_MAX),
        licence: says("modelspec.license", "", limits::NAME_LEN_MAX),
        dtype: dtype(header),
        files: vec![ModelFile {
            name: text(path.file_name()),
            path: path.to_path_buf(),
        }],
    })
}

/// Checks by names and shapes that a file is a LoRA for Stable Diffusion 1.
fn check_lora(path: &Path, header: &TensorHeader) -> Result<(), InspectError> {
    const WHOLE_MODEL: [&str; 2] = ["model.diffusion_model.", "first_stage_model."];
    let path = path.to_path_buf();
    if let Some(base) = adapter::base(header).filter(|base| *base != Base::Sd1) {
        let base = base.name();
        return Err(InspectError::OtherArchitecture { path, base });
    }
    let find = |test: &dyn Fn(&str) -> bool| header.tensors.keys().find(|key| test(key));
    if find(&|key| WHOLE_MODEL.iter().any(|prefix| key.starts_with(prefix))).is_some() {
        return Err(InspectError::SingleFileCheckpoint { path });
    }
    let first_key = find(&|_| true).map_or("(none)", String::as_str);
    let first_key = bounded(first_key, limits::NAME_LEN_MAX);
    match adapter::recognise(header) {
        Some(kind @ AdapterKind::Unsupported(_)) => {
            let kind = kind.label();
            Err(InspectError::OtherAdapter { path, kind })
        }
        Some(_) => Ok(()),
        None => Err(InspectError::NotALora { path, first_key }),
    }
}

/// Returns the stated trigger phrase, or else the most frequent tags of the training set.
fn triggers(header: &TensorHeader) -> Vec<String> {
    if let Some(phrase) = header.metadata.get("modelspec.trigger_phrase") {
        let words = phrase
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty());
        return words
            .take(TRIGGERS_MAX)
            .map(|w| bounded(w, limits::NAME_LEN_MAX))
            .collect();
    }
    let Some(Ok(Value::Object(folders))) = header
        .metadata
        .get("ss_tag_frequency")
        .map(|json| serde_json::from_str(json))
    else {
        return Vec::new();
    };
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for tags in folders.values().filter_map(Value::as_object) {
        for (tag, count) in tags {
            let total = counts
                .entry(bounded(tag.trim(), limits::NAME_LEN_MAX))
                .or_default();
            *total = total.saturating_add(count.as_u64().unwrap_or(0));
        }
    }
    let mut by_count: Vec<_> = counts.into_iter().collect();
    by_count.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    by_count
        .into_iter()
        .map(|(tag, _)| tag)
        .take(TRIGGERS_MAX)
        .collect()
}

/// Returns the element type of most tensors.
fn dtype(header: &TensorHeader) -> &'static str {
    let mut counts = BTreeMap::new();
    for entry in header.tensors.values() {
        *counts.entry(entry.dtype).or_insert(0_usize) += 1;
    }
    counts
        .into_iter()
        .max_by_key(|(_, count)| *count)
        .map_or("none", |(dtype, _)| dtype.label())
}

/// Returns at most `max` bytes of a text, cut between characters, without control characters.
fn bounded(text: &str, max: usize) -> String {
    let mut out = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        if out.len() + c.len_utf8() > max {
            break;
        }
        out.push(c);
    }
    out
}
