//! A glimpse of latents without the decoder: a linear map to RGB at latent size.

use candle_core::{Result, Tensor};
use hearth_protocol::job::Preview;
use hearth_protocol::limits;

/// What each latent channel of Stable Diffusion 1 adds to red, green and blue.
const FACTORS: [[f32; 3]; 4] = [
    [0.3512, 0.2297, 0.3227],
    [0.3250, 0.4974, 0.2350],
    [-0.2829, 0.1762, 0.2721],
    [-0.2120, -0.2616, -0.7177],
];

/// Returns a preview of latents `[1, 4, height, width]`, thinned out until it fits the wire's bound.
pub(crate) fn preview(latents: &Tensor) -> Result<Option<Preview>> {
    let (_, channels, height, width) = latents.dims4()?;
    let values = latents.flatten_all()?.to_vec1::<f32>()?;
    if channels != FACTORS.len() {
        return Ok(None);
    }
    let thin = (1..)
        .find(|n| 3 * height.div_ceil(*n) * width.div_ceil(*n) <= limits::PREVIEW_LEN_MAX)
        .unwrap_or(1);
    let mut rgb = Vec::new();
    for y in (0..height).step_by(thin) {
        for x in (0..width).step_by(thin) {
            let at = |channel: usize| values[(channel * height + y) * width + x];
            let mut colour = [0.0_f32; 3];
            for (channel, factors) in FACTORS.iter().enumerate() {
                for (sum, factor) in colour.iter_mut().zip(factors) {
                    *sum += at(channel) * factor;
                }
            }
            rgb.extend(colour.map(byte));
        }
    }
    let side = |n: usize| u16::try_from(n.div_ceil(thin)).ok();
    Ok(side(width)
        .zip(side(height))
        .map(|(width, height)| Preview { width, height, rgb }))
}

/// Returns -1..=1 as 0..=255, rounded.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to a byte; NaN becomes 0"
)]
pub(crate) fn byte(value: f32) -> u8 {
    (value * 127.5 + 127.5).round_ties_even().clamp(0.0, 255.0) as u8
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    #[test]
    fn preview_of_nothing_is_grey_and_bounded() {
        let latents = Tensor::zeros((1, 4, 300, 100), DType::F32, &Device::Cpu).unwrap();
        let preview = preview(&latents).unwrap().unwrap();
        assert_eq!((preview.width, preview.height), (50, 150));
        assert!(preview.rgb.iter().all(|b| *b == 128));
        assert_eq!(preview.rgb.len(), 3 * 50 * 150);
    }

    #[test]
    fn bytes_saturate() {
        assert_eq!(
            [byte(-9.0), byte(-1.0), byte(1.0), byte(9.0)],
            [0, 0, 255, 255]
        );
        assert_eq!(byte(f32::NAN), 0);
    }
}
