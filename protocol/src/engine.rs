//! What a node and its engine process say to each other, framed over stdin and stdout.
//!
//! Frames are a `u32` length (little endian) and canonical CBOR of at most
//! [`limits::ENGINE_FRAME_LEN_MAX`](crate::limits::ENGINE_FRAME_LEN_MAX). The engine gets paths of
//! files to read and nothing else: no key, no network, no clock but for its own timings.

use serde::{Deserialize, Serialize};

use crate::job::{JobSpec, Phase, Preview, Timings};
use crate::unit::ByteCount;

/// Node to engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum EngineCall {
    /// Run a job; one at a time.
    Run {
        /// Names this run in events.
        run: u64,
        /// What to draw.
        spec: Box<JobSpec>,
        /// Where the files are.
        assets: Box<Assets>,
        /// Memory the run may take; what cannot fit is refused before it begins.
        memory_max: Option<ByteCount>,
    },
    /// Stop a run at the next evaluation.
    Cancel {
        /// The run.
        run: u64,
    },
}

/// Engine to node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum EngineEvent {
    /// The process is up.
    Ready {
        /// What it computes on.
        device: DeviceFacts,
    },
    /// A run went on.
    Progress {
        /// The run.
        run: u64,
        /// Where it is.
        phase: Phase,
        /// What it looks like.
        preview: Option<Preview>,
    },
    /// A run ended well.
    Done {
        /// The run.
        run: u64,
        /// What it made.
        outputs: Vec<OutputFile>,
        /// How long its parts took.
        timings: Timings,
        /// Evaluations done.
        evaluations: u32,
        /// Things a person should know, such as adapter keys that matched nothing.
        warnings: Vec<String>,
    },
    /// A run ended badly.
    Failed {
        /// The run.
        run: u64,
        /// Cancelled, or at fault.
        end: FailedEnd,
        /// Evaluations done before.
        evaluations: u32,
    },
}

/// What an engine computes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceFacts {
    /// `cpu`, `cuda` or `metal`.
    pub kind: String,
    /// Its name, in its maker's words.
    pub name: String,
    /// Its own memory; nothing where it shares the machine's.
    pub memory: Option<ByteCount>,
}

/// How a run ended badly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FailedEnd {
    /// It was told to stop.
    Cancelled,
    /// Something is wrong; the cause in words, bounded.
    Refused(String),
}

/// One file a run made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputFile {
    /// `image.png` (or `.webp`, `.jpeg`), `step_000.safetensors`, `step_000.png`.
    pub name: String,
    /// Its bytes.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

/// Where a job's files are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assets {
    /// The checkpoint.
    pub checkpoint: ModelAsset,
    /// The adapters, in the spec's order.
    pub loras: Vec<ModelAsset>,
    /// The textual inversions, in the spec's order.
    pub embeddings: Vec<ModelAsset>,
    /// The autoencoder used instead of the checkpoint's own.
    pub vae: Option<ModelAsset>,
    /// Absolute paths of the requester's files, in the order of [`Start::inputs`](crate::job::Start::inputs).
    pub inputs: Vec<String>,
}

/// A model's files with the names and hashes a picture's metadata mentions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelAsset {
    /// Title, for `Model:` and LoRA names.
    pub title: String,
    /// `AutoV2` of the main file (10 hex digits) for a checkpoint or an autoencoder, `AutoV3` (12) for a LoRA, the
    /// first 12 digits of the SHA-256 for an embedding.
    pub hash: String,
    /// The files.
    pub files: Vec<AssetFile>,
}

/// One file by its name inside the model's folder and its place on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssetFile {
    /// Name inside the model's folder, such as `unet/config.json`.
    pub name: String,
    /// Absolute path.
    pub path: String,
}
