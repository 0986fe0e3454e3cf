//! How much memory a run takes, told before it is taken.

use std::fs;

use hearth_protocol::engine::Assets;
use hearth_protocol::job::{Hires, JobSpec};
use hearth_protocol::unit::ByteCount;
use thiserror::Error;

use crate::checkpoint::Checkpoint;

/// What a run would take is more than there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "the job needs about {need} MiB of memory, {have} MiB are free: ask for a smaller picture or a smaller model"
)]
pub struct TooLittleMemory {
    /// Estimated need in MiB.
    pub need: u64,
    /// What may be taken, in MiB.
    pub have: u64,
}

/// Feature maps of the network's first resolution alive at once, both rows of guidance together: skips,
/// a block's own, and what attention and the feed-forward layer hold between.
const MAPS: u64 = 40;
/// Feature maps of the full picture alive at once in the decoder.
const DECODER_MAPS: u64 = 4;
/// Pixels of one tile of a picture that is decoded in parts.
const TILE: u64 = 1024 * 1024;

/// Checks that a model's weights would fit before they are read.
///
/// # Errors
/// [`TooLittleMemory`] with both numbers.
pub(super) fn check_weights(
    assets: &Assets,
    memory_max: Option<ByteCount>,
) -> Result<(), TooLittleMemory> {
    let models = std::iter::once(&assets.checkpoint).chain(&assets.vae);
    let weights = models
        .flat_map(|model| &model.files)
        .filter(|file| file.name.ends_with(".safetensors"))
        .filter_map(|file| fs::metadata(&file.path).ok());
    compare(weights.map(|found| found.len()).sum(), memory_max)
}

/// Checks that a run over a loaded model would fit.
///
/// # Errors
/// [`TooLittleMemory`] with both numbers.
pub(super) fn check(
    model: &Checkpoint,
    spec: &JobSpec,
    memory_max: Option<ByteCount>,
) -> Result<(), TooLittleMemory> {
    let widths = model.widths;
    let (network, decoder) = (widths.network as u64, widths.decoder as u64);
    compare(
        activations(spec, model.factor as u64, network, decoder),
        memory_max,
    )
}

/// Estimates the bytes a run takes beside the weights: the larger of denoising and decoding.
fn activations(spec: &JobSpec, factor: u64, channels: u64, decoder_channels: u64) -> u64 {
    let size = |width: u32, height: u32| u64::from(width) * u64::from(height);
    let second = |hires: Hires| size(hires.width, hires.height);
    let pixels = size(spec.width, spec.height).max(spec.hires.map_or(0, second));
    let latents = pixels / (factor * factor).max(1);
    let network = 4 * MAPS * channels * latents;
    let decoder = 4 * DECODER_MAPS * decoder_channels * pixels.min(TILE);
    network.max(decoder) + 12 * pixels
}

fn compare(need: u64, memory_max: Option<ByteCount>) -> Result<(), TooLittleMemory> {
    match memory_max {
        Some(max) if need > max.get() => Err(TooLittleMemory {
            need: need >> 20,
            have: max.get() >> 20,
        }),
        Some(_) | None => Ok(()),
    }
}
