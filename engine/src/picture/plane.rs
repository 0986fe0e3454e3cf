//! Pictures as the planes that networks take and give: one plane a channel, -1 to 1.

use super::format::{DecodeError, check_size};
use super::mask::Mask;
use super::raster::{Picture, index};
use crate::preview::byte;

/// Returns `[3, height, width]` values in -1..=1.
pub fn planes(picture: &Picture) -> Vec<f32> {
    let value = |byte: u8| f32::from(byte) / 127.5 - 1.0;
    let channel = |c: usize| picture.rgb().iter().skip(c).step_by(3);
    (0..3).flat_map(channel).map(|byte| value(*byte)).collect()
}

/// Returns `[height, width]` values in 0..=1; 1 is painted anew.
pub fn mask_plane(mask: &Mask) -> Vec<f32> {
    let value = |value: &u8| f32::from(*value) / 255.0;
    mask.values().iter().map(value).collect()
}

/// Reads `[3, height, width]` values in -1..=1, rounded and clamped; NaN is black.
///
/// # Errors
/// [`DecodeError::Size`] when a side is out of range or there are not as many values.
pub fn picture_from_planes(
    values: &[f32],
    width: u32,
    height: u32,
) -> Result<Picture, DecodeError> {
    check_size(width, height)?;
    let plane = index(width) * index(height);
    if values.len() != 3 * plane {
        return Err(DecodeError::Size { width, height });
    }
    let pixel = |i: usize| [0, 1, 2].map(|c| byte(values[c * plane + i]));
    Picture::new(width, height, (0..plane).flat_map(pixel).collect())
}
