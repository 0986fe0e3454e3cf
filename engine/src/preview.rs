//! A glimpse of latents without the decoder: a linear map to RGB at latent size.

use candle_core::{Result, Tensor};
use hearth_protocol::job::Preview;
use hearth_protocol::limits;

/// What each latent channel adds to red, green and blue, and what they begin with.
struct Colours {
    factors: [[f32; 3]; 4],
    bias: [f32; 3],
}

/// Stable Diffusion 1 and 2; other models with four channels look alike as a rule.
const CLASSIC: Colours = Colours {
    factors: [
        [0.3512, 0.2297, 0.3227],
        [0.3250, 0.4974, 0.2350],
        [-0.2829, 0.1762, 0.2721],
        [-0.2120, -0.2616, -0.7177],
    ],
    bias: [0.0; 3],
};

/// Stable Diffusion XL.
const XL: Colours = Colours {
    factors: [
        [0.3651, 0.4232, 0.4341],
        [-0.2533, -0.0042, 0.1068],
        [0.1076, 0.1111, -0.0362],
        [-0.3165, -0.2492, -0.2188],
    ],
    bias: [0.1084, -0.0175, -0.0011],
};

/// Kindling: least squares over 200 of its training scenes (R² 0.91 to 0.94).
const KINDLING: Colours = Colours {
    factors: [
        [0.4861, 0.0294, 0.1462],
        [-0.4305, -0.4665, -0.0095],
        [0.3918, 0.6386, 0.4658],
        [0.3031, 0.2274, -0.1043],
    ],
    bias: [0.0689, 0.0078, 0.0224],
};

/// The scales by which autoencoders are known.
const XL_SCALE: f64 = 0.130_25;
const KINDLING_SCALE: f64 = 0.608_89;

impl Colours {
    /// Tells latent spaces apart by the scale of their autoencoder.
    fn of(scale: f64) -> Self {
        let is = |known: f64| (scale - known).abs() < 1e-5;
        if is(XL_SCALE) {
            XL
        } else if is(KINDLING_SCALE) {
            KINDLING
        } else {
            CLASSIC
        }
    }
}

/// Returns a preview of latents `[1, 4, height, width]` as the UNet sees them, thinned out until it
/// fits the wire's bound. `scale` is the autoencoder's `scaling_factor`.
pub(crate) fn preview(latents: &Tensor, scale: f64) -> Result<Option<Preview>> {
    let Colours { factors, bias } = Colours::of(scale);
    let (_, channels, height, width) = latents.dims4()?;
    let values = latents.flatten_all()?.to_vec1::<f32>()?;
    if channels != factors.len() {
        return Ok(None);
    }
    let thin = (1..)
        .find(|n| 3 * height.div_ceil(*n) * width.div_ceil(*n) <= limits::PREVIEW_LEN_MAX)
        .unwrap_or(1);
    let mut rgb = Vec::new();
    for y in (0..height).step_by(thin) {
        for x in (0..width).step_by(thin) {
            let at = |channel: usize| values[(channel * height + y) * width + x];
            let mut colour = bias;
            for (channel, factors) in factors.iter().enumerate() {
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
        let preview = preview(&latents, 0.18215).unwrap().unwrap();
        assert_eq!((preview.width, preview.height), (50, 150));
        assert!(preview.rgb.iter().all(|b| *b == 128));
        assert_eq!(preview.rgb.len(), 3 * 50 * 150);
    }

    #[test]
    fn each_latent_space_has_colours_of_its_own() {
        let latents = Tensor::ones((1, 4, 1, 1), DType::F32, &Device::Cpu).unwrap();
        let colour = |scale| preview(&latents, scale).unwrap().unwrap().rgb;
        let expected = |sums: [f32; 3]| sums.map(byte).to_vec();
        assert_eq!(colour(0.18215), expected([0.1813, 0.6406, 0.1122]));
        assert_eq!(colour(0.13025), expected([0.0111, 0.2633, 0.2848]));
        assert_eq!(colour(0.60889), expected([0.8194, 0.4367, 0.5206]));
        let other = Tensor::ones((1, 16, 1, 1), DType::F32, &Device::Cpu).unwrap();
        assert_eq!(preview(&other, 0.3611).unwrap(), None);
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
