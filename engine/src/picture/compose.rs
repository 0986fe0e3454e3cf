//! Cutting, fitting and pasting: what img2img, inpainting and outpainting start and end with.

use hearth_protocol::job::{Fit, Margins};

use super::format::{DecodeError, check_size};
use super::mask::Mask;
use super::raster::{Picture, index};
use super::resize::{Filter, resize};

/// A rectangle in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rect {
    /// Its left edge.
    pub x: u32,
    /// Its upper edge.
    pub y: u32,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

impl Rect {
    /// Returns the part that lies within a picture; at least one pixel.
    #[must_use]
    pub fn within(self, width: u32, height: u32) -> Self {
        let (x, y) = (self.x.min(width - 1), self.y.min(height - 1));
        Self {
            x,
            y,
            width: self.width.clamp(1, width - x),
            height: self.height.clamp(1, height - y),
        }
    }

    /// Returns the rectangle with `padding` pixels around it, as far as the picture goes.
    #[must_use]
    pub fn padded(self, padding: u32, width: u32, height: u32) -> Self {
        let rect = self.within(width, height);
        let (x, y) = (
            rect.x.saturating_sub(padding),
            rect.y.saturating_sub(padding),
        );
        let right = (rect.x + rect.width).saturating_add(padding).min(width);
        let bottom = (rect.y + rect.height).saturating_add(padding).min(height);
        Self {
            x,
            y,
            width: right - x,
            height: bottom - y,
        }
    }

    /// Returns the rectangle widened or heightened around its middle to the proportions of
    /// `target`, moved or cut to stay within the picture: what "only masked" paints at the
    /// target's size.
    #[must_use]
    pub fn proportioned(self, target: (u32, u32), width: u32, height: u32) -> Self {
        let rect = self.within(width, height);
        let (wide, high) = (u64::from(target.0.max(1)), u64::from(target.1.max(1)));
        let grown = |side: u32, by: u64, over: u64| {
            let side = (u64::from(side) * by).div_ceil(over);
            u32::try_from(side).unwrap_or(u32::MAX)
        };
        let is_narrow = u64::from(rect.width) * high < u64::from(rect.height) * wide;
        if is_narrow {
            let side = grown(rect.height, wide, high).min(width);
            let x = widened(rect.x, rect.width, side, width);
            Self {
                x,
                width: side,
                ..rect
            }
        } else {
            let side = grown(rect.width, high, wide).min(height);
            let y = widened(rect.y, rect.height, side, height);
            Self {
                y,
                height: side,
                ..rect
            }
        }
    }
}

/// Returns where a side of `wanted` pixels begins that grows evenly around an old one.
fn widened(start: u32, side: u32, wanted: u32, whole: u32) -> u32 {
    let start = start.saturating_sub(wanted.saturating_sub(side) / 2);
    start.min(whole - wanted)
}

impl Picture {
    /// Cuts a rectangle out; what lies outside the picture is left away.
    #[must_use]
    pub fn cropped(&self, rect: Rect) -> Self {
        let rect = rect.within(self.width(), self.height());
        let width = index(self.width());
        let (left, right) = (index(rect.x), index(rect.x + rect.width));
        let rows = index(rect.y)..index(rect.y + rect.height);
        let row = |y: usize| &self.rgb()[3 * (y * width + left)..3 * (y * width + right)];
        let rgb = rows.flat_map(row).copied().collect();
        Self::new(rect.width, rect.height, rgb).expect("a part is no larger than the whole")
    }

    /// Pastes a patch of any size into a rectangle, resized to it with Lanczos, as far as the mask
    /// says: 255 is the patch, 0 the picture. Without a mask it is the patch.
    ///
    /// # Errors
    /// [`DecodeError::Size`] when the mask is not of the picture's size.
    pub fn paste(
        &mut self,
        patch: &Self,
        rect: Rect,
        mask: Option<&Mask>,
    ) -> Result<(), DecodeError> {
        let (width, height) = (self.width(), self.height());
        if let Some(mask) = mask
            && (mask.width(), mask.height()) != (width, height)
        {
            return Err(DecodeError::Size {
                width: mask.width(),
                height: mask.height(),
            });
        }
        let rect = rect.within(width, height);
        let patch = resize(patch, rect.width, rect.height, Filter::Lanczos3)?;
        let (stride, left) = (index(width), index(rect.x));
        let rows = patch.rgb().chunks_exact(3 * index(rect.width));
        for (y, row) in (index(rect.y)..).zip(rows) {
            let start = y * stride + left;
            for (i, pixel) in (start..).zip(row.chunks_exact(3)) {
                let share = mask.map_or(255, |mask| mask.values()[i]);
                let under = &mut self.rgb_mut()[3 * i..3 * i + 3];
                for (under, over) in under.iter_mut().zip(pixel) {
                    *under = mix(*under, *over, share);
                }
            }
        }
        Ok(())
    }
}

/// Returns a byte between two, rounded.
fn mix(under: u8, over: u8, share: u8) -> u8 {
    let (under, over, share) = (u32::from(under), u32::from(over), u32::from(share));
    ((under * (255 - share) + over * share + 127) / 255).to_le_bytes()[0]
}

/// Returns the picture at another size: stretched, cut to the proportions, or kept whole with its
/// edges continued.
///
/// # Errors
/// [`DecodeError::Size`] when a side is out of range.
pub fn fit(
    picture: &Picture,
    width: u32,
    height: u32,
    how: Fit,
    filter: Filter,
) -> Result<Picture, DecodeError> {
    check_size(width, height)?;
    let (w, h) = (picture.width(), picture.height());
    match how {
        Fit::Stretch => resize(picture, width, height, filter),
        Fit::Crop => {
            let (part_width, part_height) = inscribed((w, h), (width, height));
            let rect = Rect {
                x: (w - part_width) / 2,
                y: (h - part_height) / 2,
                width: part_width,
                height: part_height,
            };
            resize(&picture.cropped(rect), width, height, filter)
        }
        Fit::Pad => {
            let (inner_width, inner_height) = inscribed((width, height), (w, h));
            let inner = resize(picture, inner_width, inner_height, filter)?;
            let (across, down) = (width - inner_width, height - inner_height);
            let margins = Margins {
                left: across / 2,
                right: across - across / 2,
                top: down / 2,
                bottom: down - down / 2,
            };
            extend(&inner, margins, 0).map(|(picture, _)| picture)
        }
    }
}

/// Returns the largest size of `shape`'s proportions that fits into `bounds`, rounded.
fn inscribed(bounds: (u32, u32), shape: (u32, u32)) -> (u32, u32) {
    let (bw, bh) = (u64::from(bounds.0), u64::from(bounds.1));
    let (sw, sh) = (u64::from(shape.0), u64::from(shape.1));
    let rounded = |a: u64, b: u64| u32::try_from((a + b / 2) / b).unwrap_or(u32::MAX);
    if bw * sh <= bh * sw {
        (bounds.0, rounded(bw * sh, sw).clamp(1, bounds.1))
    } else {
        (rounded(bh * sw, sh).clamp(1, bounds.0), bounds.1)
    }
}

/// Extends the canvas for outpainting: the outermost pixels are continued into the margins, and
/// the mask is 255 there and in the `overlap` pixels next to them, so that the seam is painted
/// anew as well. Sides without a margin have no overlap.
///
/// # Errors
/// [`DecodeError::Size`] when the result would be too large.
pub fn extend(
    picture: &Picture,
    margins: Margins,
    overlap: u32,
) -> Result<(Picture, Mask), DecodeError> {
    let (w, h) = (picture.width(), picture.height());
    let width = w.saturating_add(margins.left).saturating_add(margins.right);
    let height = h.saturating_add(margins.top).saturating_add(margins.bottom);
    check_size(width, height)?;
    let stride = index(w);
    let mut rgb = Vec::with_capacity(3 * index(width) * index(height));
    let mut values = Vec::with_capacity(index(width) * index(height));
    let kept = |place: u32, before: u32, side: u32, after: u32| {
        let start = if before > 0 { before + overlap } else { 0 };
        let end = if after > 0 {
            (before + side).saturating_sub(overlap)
        } else {
            before + side
        };
        (start..end).contains(&place)
    };
    for y in 0..height {
        let row = index(y.saturating_sub(margins.top).min(h - 1)) * stride;
        let keeps_row = kept(y, margins.top, h, margins.bottom);
        for x in 0..width {
            let at = 3 * (row + index(x.saturating_sub(margins.left).min(w - 1)));
            rgb.extend(&picture.rgb()[at..at + 3]);
            let keeps = keeps_row && kept(x, margins.left, w, margins.right);
            values.push(if keeps { 0 } else { 255 });
        }
    }
    let mask = Mask::from_values(width, height, values);
    Ok((Picture::new(width, height, rgb)?, mask))
}
