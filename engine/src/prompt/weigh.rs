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

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use serde_json::Value;

    use super::*;

    fn tensor(case: &Value, name: &str) -> Tensor {
        let values: Vec<f32> = serde_json::from_value(case[name].clone()).unwrap();
        Tensor::from_vec(values, (1, 5, 4), &Device::Cpu).unwrap()
    }

    fn difference(a: &Tensor, b: &Tensor) -> f32 {
        let off = (a - b).unwrap().abs().unwrap().max_all().unwrap();
        off.to_scalar().unwrap()
    }

    #[test]
    fn e26_weights_do_what_torch_does_with_them() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../specs/vectors/engine/prompts.json"
        );
        let vectors: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let cases = vectors["weighings"].as_array().unwrap();
        assert_eq!(cases.len(), 3);
        for case in cases {
            let (hidden, empty) = (tensor(case, "hidden"), tensor(case, "empty"));
            let weights: Vec<f32> = serde_json::from_value(case["weights"].clone()).unwrap();
            for (name, compat) in [("a1111", Compat::A1111), ("comfy", Compat::Comfy)] {
                let got = weigh(&hidden, &weights, compat, Some(&empty)).unwrap();
                let off = difference(&got, &tensor(case, name));
                assert!(off < 1e-4, "{name} {weights:?} differs by {off}");
            }
            let plain = weigh(&hidden, &weights, Compat::Diffusers, None).unwrap();
            assert_eq!(difference(&plain, &hidden), 0.0);
        }
    }

    #[test]
    fn e26_mean_that_cannot_be_kept_is_left() {
        let hidden = Tensor::new(&[[[1.0_f32], [1.0]]], &Device::Cpu).unwrap();
        let got = weigh(&hidden, &[1.0, -1.0], Compat::A1111, None).unwrap();
        assert_eq!(
            got.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
            [1.0, -1.0]
        );
    }
}
