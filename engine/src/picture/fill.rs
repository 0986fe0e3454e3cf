//! Filling a masked part from its surroundings, as inpainting's masked content `fill`.

use super::blur;
use super::format::DecodeError;
use super::mask::Mask;
use super::raster::{Picture, index};

/// Blur widths from coarse to fine, and how often each is laid over the last.
const LAYERS: [(f32, u32); 6] = [
    (256.0, 1),
    (64.0, 1),
    (16.0, 2),
    (4.0, 4),
    (2.0, 2),
    (0.0, 1),
];

/// Fills what the mask marks with colours that flow in from around it: the kept pixels are blurred
/// ever less, and each blur is laid over the one before, so that near colours win. Where the mask
/// is grey, picture and fill mix. With nothing to keep the result is black.
///
/// The widths are A1111's; the blurs are premultiplied, so no black bleeds in.
///
/// # Errors
/// [`DecodeError::Size`] when the mask is not of the picture's size.
pub fn fill(picture: &Picture, mask: &Mask) -> Result<Picture, DecodeError> {
    let (width, height) = (picture.width(), picture.height());
    if (mask.width(), mask.height()) != (width, height) {
        return Err(DecodeError::Size {
            width: mask.width(),
            height: mask.height(),
        });
    }
    let kept: Vec<f32> = mask
        .values()
        .iter()
        .map(|value| f32::from(255 - *value) / 255.0)
        .collect();
    let channels = [0, 1, 2].map(|channel| {
        let colours = picture.channel(channel);
        premultiplied(&colours, &kept)
    });
    let size = (index(width), index(height));
    let layers = LAYERS.map(|(sigma, times)| (soften(&kept, size, sigma), sigma, times));
    let filled = channels.map(|channel| {
        let mut under = vec![0.0; channel.len()];
        for (cover, sigma, times) in &layers {
            let colour = soften(&channel, size, *sigma);
            for _ in 0..*times {
                lay(&mut under, &colour, cover);
            }
        }
        under.into_iter().map(blur::byte).collect::<Vec<u8>>()
    });
    let [r, g, b] = &filled;
    Ok(Picture::from_channels(width, height, [r, g, b]))
}

fn premultiplied(colours: &[u8], kept: &[f32]) -> Vec<f32> {
    let pairs = colours.iter().zip(kept);
    pairs
        .map(|(value, kept)| f32::from(*value) * kept)
        .collect()
}

fn soften(plane: &[f32], (width, height): (usize, usize), sigma: f32) -> Vec<f32> {
    if sigma == 0.0 {
        plane.to_vec()
    } else {
        blur::boxes(plane, width, height, sigma)
    }
}

/// Lays a premultiplied layer over what is there.
fn lay(under: &mut [f32], colour: &[f32], cover: &[f32]) {
    for ((under, colour), cover) in under.iter_mut().zip(colour).zip(cover) {
        *under = colour + *under * (1.0 - cover);
    }
}
