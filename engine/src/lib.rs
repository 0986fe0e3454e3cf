//! Computes: prompts to pictures, model files to facts.
//!
//! One blocking door, [`run`]; [`serve`] is the same door as a child process; [`inspect`] and
//! [`hash_file`] say what a file is before it is shared.
mod adapter;
mod checkpoint;
mod clip;
mod folder;
mod hashes;
mod inspect;
mod layers;
mod load;
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
mod tensor_file;
pub mod tiny;
mod tokenizer;
mod unet;
mod vae;
mod warning;
mod weights;

pub use adapter::AdapterError;
pub use hashes::{FileHashes, HashError, hash_file};
pub use inspect::{InspectError, ModelFacts, ModelFile, inspect};
pub use load::LoadError;
pub use run::{Cancel, Engine, Output, Progress, RunError, Silent, run};
pub use serve::{ServeError, serve};
pub use tensor_file::{Dtype, HeaderError, TensorFileError};
pub use tokenizer::{Frame, PromptTokenizer};
pub use warning::Warning;
