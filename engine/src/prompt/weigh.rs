//! Weights applied to what a text encoder said.

use candle_core::{DType, Result, Tensor};
use hearth_protocol::job::Compat;

/// Applies a window's weights to its vectors `[1, positions, channels]`.
///
/// - A1111 ("Original"): multiplies, then scales the whole window so that its mean is what it was.
/// - `ComfyUI`: moves from what the encoder says to nothing (`empty`, of the same shape), as far as
///   the weight says: `(z - empty) w + empty`.
/// - diffusers: nothing.
///
/// Computes in f32 and returns the dtype it got.
pub(super) fn weigh(
    hidden: &Tensor,
    weights: &[f32],
    compat: Compat,
    empty: Option<&Tensor>,
) -> Result<Tensor> {
    if weights.iter().all(|weight| *weight == 1.0) {
        return Ok(hidden.clone());
    }
    let z = hidden.to_dtype(DType::F32)?;
    let weights = Tensor::new(weights, z.device())?.reshape((1, (), 1))?;
    let weighed = match (compat, empty) {
        (Compat::A1111, _) => {
            let weighed = z.broadcast_mul(&weights)?;
            (&weighed * mean_ratio(&z, &weighed)?)?
        }
        (Compat::Comfy, Some(empty)) => {
            let empty = empty.to_dtype(DType::F32)?;
            ((z - &empty)?.broadcast_mul(&weights)? + empty)?
        }
        (Compat::Comfy, None) | (Compat::Diffusers, _) => z,
    };
    weighed.to_dtype(hidden.dtype())
}

/// Returns what brings the new mean to the old one, or 1 where no number does.
fn mean_ratio(old: &Tensor, new: &Tensor) -> Result<f64> {
    let mean =
        |z: &Tensor| Ok::<_, candle_core::Error>(f64::from(z.mean_all()?.to_scalar::<f32>()?));
    let ratio = mean(old)? / mean(new)?;
    Ok(if ratio.is_finite() { ratio } else { 1.0 })
}
