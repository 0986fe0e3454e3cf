//! Computes: prompts to pictures, model files to facts.
//!
//! One blocking door, [`run`]; [`serve`] is the same door as a child process; [`inspect`] and
//! [`hash_file`] say what a file is before it is shared.
mod adapter;
pub mod bench;
mod checkpoint;
mod clip;
mod clip_vocabulary;
mod detect;
mod device;
mod embedding;
mod export;
mod folder;
mod hashes;
mod inspect;
pub mod kindling;
mod layers;
mod load;
mod model_files;
mod modules;
mod names;
mod noise;
pub mod picture;
mod preview;
pub mod probe;
pub mod prompt;
mod run;
mod sampler;
mod schedule;
mod serve;
mod single_file;
mod tensor_file;
pub mod tiny;
mod tokenizer;
mod unet;
mod vae;
mod warning;
mod weights;

pub use adapter::AdapterError;
pub use detect::Prediction;
pub use device::{DeviceChoice, DeviceError, PrecisionChoice, ServeOptions, probe as probe_device};
pub use embedding::EmbeddingError;
pub use export::{Export, Metadata, export};
pub use hashes::{FileHashes, HashError, hash_file};
pub use inspect::{Input, InspectError, ModelFacts, ModelFile, Network, Variant, inspect};
pub use load::LoadError;
pub use prompt::{NetworkKind, NetworkTag, TagError, network_tags};
pub use run::{
    Cancel, Engine, InputError, Output, Progress, RunError, SavedStep, Silent, StepFileError,
    TooLittleMemory, run, saved_step,
};
pub use serve::{ServeError, serve, serve_on};
pub use tensor_file::{Dtype, HeaderError, TensorFileError};
pub use tokenizer::{Frame, PromptTokenizer};
pub use warning::Warning;
