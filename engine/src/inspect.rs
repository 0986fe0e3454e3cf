//! Says what a model on disk is, before it is shared: a checkpoint in a folder or in one file, a LoRA, an
//! embedding or an autoencoder.
//!
//! Everything is decided from key names and tensor shapes; metadata gives titles and trigger words,
//! bounded, and with file names hints at how a model likes to be asked. What cannot be used is refused
//! with the reason and the next step. Weights are not read.

mod embedding;
mod file;
mod folder;
mod hints;
mod magic;
mod stated;

pub use hints::Variant;

use std::io;
use std::path::{Path, PathBuf};

use hearth_protocol::card::{CardKind, Settings};
use hearth_protocol::job::Family;
use thiserror::Error;

use crate::detect::Prediction;
use crate::load::LoadError;
use crate::tensor_file::TensorFileError;

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
    /// What a checkpoint's network takes in and gives out.
    pub network: Option<Network>,
    /// What its names hint it was distilled to.
    pub variant: Option<Variant>,
    /// How a checkpoint likes to be asked, as far as shapes and hints tell.
    pub settings: Option<Settings>,
}

/// What a checkpoint's denoising network takes in and gives out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// What it takes besides noisy latents and text.
    pub input: Input,
    /// What its output means.
    pub prediction: Prediction,
}

/// What a network takes besides noisy latents and text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Nothing: 4 channels.
    Plain,
    /// A mask and what is left of the picture: 9 channels.
    Inpaint,
    /// A picture to be changed by instructions: 8 channels.
    Instruct,
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
    #[error("{path} is {format}: this version takes safetensors files and diffusers folders")]
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
    #[error("{path} belongs to {base}; this version runs Stable Diffusion 1, 2 and XL")]
    OtherArchitecture {
        /// The file.
        path: PathBuf,
        /// What it is for.
        base: &'static str,
    },
    /// Tensors that are nothing known.
    #[error(
        "{path} is no model this version knows, neither checkpoint nor LoRA, embedding or autoencoder: its first key is {first_key}"
    )]
    Unknown {
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
    /// Part of a checkpoint, or one that does not fit itself.
    #[error("{path} cannot be used as a checkpoint")]
    Checkpoint {
        /// The folder or file.
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
    file::inspect(path)
}
