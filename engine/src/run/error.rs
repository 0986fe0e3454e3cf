//! Why a run made nothing.

use hearth_protocol::job::SpecError;
use thiserror::Error;

use super::canvas::InputError;
use super::memory::TooLittleMemory;
use super::step_file::StepFileError;
use crate::load::LoadError;
use crate::picture::EncodeError;
use crate::prompt::PromptError;

/// Why a run made nothing.
#[derive(Debug, Error)]
pub enum RunError {
    /// It was told to stop.
    #[error("cancelled after {evaluations} evaluations")]
    Cancelled {
        /// Guided evaluations done before.
        evaluations: u32,
    },
    /// The spec is out of bounds.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// Spec and assets are not about the same models.
    #[error("the spec has {spec} {what}, {assets} were given")]
    Count {
        /// Which models.
        what: &'static str,
        /// How many the spec has.
        spec: usize,
        /// How many there are among the assets.
        assets: usize,
    },
    /// A prompt cannot be read.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// A file the job starts from cannot be used.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A saved step cannot be gone on from.
    #[error(transparent)]
    Step(#[from] StepFileError),
    /// It would not fit into memory.
    #[error(transparent)]
    Memory(#[from] TooLittleMemory),
    /// A second pass over a picture of which a part must not change.
    #[error("a second pass (hires) cannot keep what a mask hides: leave one of them out")]
    HiresOverMask,
    /// A network that wants inputs no job gives.
    #[error(
        "this model's network takes {channels} channels: only ordinary (4) and inpainting (9) ones can be run"
    )]
    Channels {
        /// Channels it takes.
        channels: usize,
    },
    /// The model cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The size does not divide into this model's latents.
    #[error("{width}x{height}: this model's sides are multiples of {factor}")]
    Size {
        /// Width asked.
        width: u32,
        /// Height asked.
        height: u32,
        /// Pixels of a latent.
        factor: usize,
    },
    /// Saving every step would make more than may be handed over.
    #[error(
        "latents and pictures of every step are up to {bytes} bytes, more than the {max} a job may give back: ask for fewer steps or a smaller picture"
    )]
    TooManyLatents {
        /// What they would take.
        bytes: u64,
        /// What they may take.
        max: u64,
    },
    /// The network gave values that are no numbers.
    #[error(
        "the model gave no picture: its latents are not finite at step {step}; its weights are damaged or overflow"
    )]
    NotFinite {
        /// The step, from 0.
        step: usize,
    },
    /// A tensor operation failed.
    #[error("computing failed")]
    Compute(#[from] candle_core::Error),
    /// The picture cannot be encoded.
    #[error("the picture cannot be encoded")]
    Encode(#[from] EncodeError),
    /// A latent cannot be encoded.
    #[error("a latent cannot be encoded")]
    Latent(#[source] std::io::Error),
}
