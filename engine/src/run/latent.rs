//! Latents between sizes: what a second pass begins with.

use candle_core::{Result, Tensor};
use hearth_protocol::job::Upscaler;

/// Returns latents `[1, channels, h, w]` at another height and width.
///
/// Sample positions are those of torch's `interpolate` with `align_corners=False` and no antialiasing,
/// which A1111's latent upscalers use: bilinear, bicubic with a = -0.75, or nearest.
pub(super) fn resized(
    latents: &Tensor,
    (height, width): (usize, usize),
    how: Upscaler,
) -> Result<Tensor> {
    let (batch, channels, from_height, from_width) = latents.dims4()?;
    let rows = taps(from_height, height, how);
    let columns = taps(from_width, width, how);
    let values = latents.flatten_all()?.to_vec1::<f32>()?;
    let mut out = Vec::with_capacity(batch * channels * height * width);
    for plane in values.chunks_exact(from_height * from_width) {
        // One direction after the other: the filters are separable.
        let lines: Vec<Vec<f32>> = plane
            .chunks_exact(from_width)
            .map(|row| columns.iter().map(|taps| weigh(taps, |i| row[i])).collect())
            .collect();
        for taps in &rows {
            out.extend((0..width).map(|x| weigh(taps, |y| lines[y][x])));
        }
    }
    Tensor::from_vec(out, (batch, channels, height, width), latents.device())
}

/// Source places with their weights.
type Taps = Vec<(usize, f32)>;

fn weigh(taps: &Taps, value: impl Fn(usize) -> f32) -> f32 {
    taps.iter().map(|(i, weight)| weight * value(*i)).sum()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "places are clamped to the line, weights are rounded on purpose"
)]
fn taps(from: usize, to: usize, how: Upscaler) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    let place = |i: f64| i.clamp(0.0, from as f64 - 1.0) as usize;
    (0..to)
        .map(|i| match how {
            Upscaler::LatentNearest => vec![(place((i as f64 * scale).floor()), 1.0)],
            Upscaler::Latent | Upscaler::Lanczos => {
                let at = ((i as f64 + 0.5) * scale - 0.5).max(0.0);
                let share = at - at.floor();
                vec![
                    (place(at.floor()), (1.0 - share) as f32),
                    (place(at.floor() + 1.0), share as f32),
                ]
            }
            Upscaler::LatentBicubic => {
                let at = (i as f64 + 0.5) * scale - 0.5;
                let share = at - at.floor();
                let taps = [-1.0, 0.0, 1.0, 2.0];
                taps.map(|d| (place(at.floor() + d), cubic((d - share).abs()) as f32))
                    .to_vec()
            }
        })
        .collect()
}

/// Keys' cubic with a = -0.75.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.75;
    if x <= 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn latents_are_enlarged_as_torch_does() {
        // torch.nn.functional.interpolate(torch.arange(4.).reshape(1,1,2,2), size=(3, 4), mode=...)
        let x = Tensor::new(&[0.0_f32, 1.0, 2.0, 3.0], &Device::Cpu)
            .unwrap()
            .reshape((1, 1, 2, 2))
            .unwrap();
        let check = |how, want: &[f32]| {
            let got = resized(&x, (3, 4), how).unwrap();
            let got = got.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for (got, want) in got.iter().zip(want) {
                assert!((got - want).abs() < 1e-4, "{how}: {got} {want}");
            }
        };
        check(
            Upscaler::Latent,
            &[
                0.0, 0.25, 0.75, 1.0, 1.0, 1.25, 1.75, 2.0, 2.0, 2.25, 2.75, 3.0,
            ],
        );
        check(
            Upscaler::LatentNearest,
            &[0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0],
        );
        // Constant stays constant, whatever the filter's lobes.
        let ones = Tensor::ones((1, 2, 3, 5), candle_core::DType::F32, &Device::Cpu).unwrap();
        let grown = resized(&ones, (7, 9), Upscaler::LatentBicubic).unwrap();
        let least = grown.flatten_all().unwrap().min(0).unwrap();
        assert!((least.to_scalar::<f32>().unwrap() - 1.0).abs() < 1e-6);
    }
}
