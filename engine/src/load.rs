//! What can go wrong between a model's files and a model in memory.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::adapter::AdapterError;
use crate::embedding::EmbeddingError;
use crate::tensor_file::TensorFileError;

/// Why a model could not be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The checkpoint lacks a file it needs.
    #[error(
        "the checkpoint has no {name}; it should be a diffusers folder with unet, vae, text_encoder, tokenizer and scheduler"
    )]
    MissingFile {
        /// The name inside the folder.
        name: &'static str,
    },
    /// Weights were split over several files and not all of them are there.
    #[error("the {part} is split over {expected} files and {got} are there: get the others too")]
    MissingShards {
        /// The part of the model.
        part: &'static str,
        /// How many files their names speak of.
        expected: usize,
        /// How many there are.
        got: usize,
    },
    /// The files hold parts of a model, but not enough of them.
    #[error(
        "there is no {part} in it, {found}: a checkpoint needs unet, vae and text encoder (a lone vae can be used instead of a checkpoint's own)"
    )]
    MissingPart {
        /// What is missing.
        part: &'static str,
        /// What is there, in words.
        found: String,
    },
    /// A model of an architecture that is not run.
    #[error("this is {name}; this version runs Stable Diffusion 1, 2 and XL")]
    Foreign {
        /// The architecture's name.
        name: &'static str,
    },
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A configuration file is larger than any real one.
    #[error("{path} is over {max} bytes, too long for what it should be")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The bound in bytes.
        max: u64,
    },
    /// A configuration file does not parse.
    #[error("cannot understand {path}")]
    Config {
        /// The file.
        path: PathBuf,
        /// The JSON parser's finding.
        #[source]
        source: serde_json::Error,
    },
    /// A configuration asks for something this version does not compute, or for nonsense.
    #[error("the {part} is not one this version can run: {what}")]
    Unsupported {
        /// `unet`, `vae`, `text_encoder`, `scheduler` or `tokenizer`.
        part: &'static str,
        /// The setting and its value.
        what: String,
    },
    /// A weights file is damaged.
    #[error(transparent)]
    TensorFile(#[from] TensorFileError),
    /// A weight the configuration asks for is not in the files.
    #[error(
        "the {part} has no tensor {tensor}, which its architecture needs: the file was cut down, or its config.json belongs to another model"
    )]
    MissingTensor {
        /// The part of the model.
        part: &'static str,
        /// The tensor's name.
        tensor: String,
    },
    /// The files have layers that the configuration does not speak of.
    #[error(
        "the {part} has layers its architecture has no place for, {tensor} and {more} more tensors: it is another model than it seems"
    )]
    UnknownTensors {
        /// The part of the model.
        part: &'static str,
        /// The first such tensor.
        tensor: String,
        /// How many more there are.
        more: usize,
    },
    /// A weight has another shape than the configuration says.
    #[error("tensor {tensor} of the {part} is {got:?}, the configuration wants {expected:?}")]
    WrongShape {
        /// The part of the model.
        part: &'static str,
        /// The tensor's name.
        tensor: String,
        /// The shape wanted.
        expected: Vec<usize>,
        /// The shape found.
        got: Vec<usize>,
    },
    /// The tokenizer's files do not make a tokenizer.
    #[error("the tokenizer cannot be built: {reason}")]
    Tokenizer {
        /// The library's finding.
        reason: String,
    },
    /// An adapter cannot be applied.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// A textual inversion cannot be used.
    #[error(transparent)]
    Embedding(#[from] EmbeddingError),
    /// A tensor operation failed.
    #[error("computing failed while loading")]
    Compute(#[from] candle_core::Error),
}
