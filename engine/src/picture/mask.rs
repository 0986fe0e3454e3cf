//! Masks: which pixels are painted anew, and how much.

use super::blur;
use super::compose::Rect;
use super::format::{DecodeError, check_size};
use super::raster::{Picture, index, side};
use super::resize::{Filter, resize_plane};

/// One byte a pixel: 255 is painted anew, 0 stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    width: u32,
    height: u32,
    values: Vec<u8>,
}

impl Mask {
    /// Wraps rows of bytes.
    ///
    /// # Errors
    /// [`DecodeError::Size`] when a side is out of range or the bytes are not `width * height`.
    pub fn new(width: u32, height: u32, values: Vec<u8>) -> Result<Self, DecodeError> {
        check_size(width, height)?;
        if values.len() == index(width) * index(height) {
            Ok(Self {
                width,
                height,
                values,
            })
        } else {
            Err(DecodeError::Size { width, height })
        }
    }

    /// Makes a mask of one value.
    ///
    /// # Errors
    /// [`DecodeError::Size`] when a side is out of range.
    pub fn filled(width: u32, height: u32, value: u8) -> Result<Self, DecodeError> {
        check_size(width, height)?;
        Self::new(width, height, vec![value; index(width) * index(height)])
    }

    pub(super) fn from_values(width: u32, height: u32, values: Vec<u8>) -> Self {
        assert_eq!(
            values.len(),
            index(width) * index(height),
            "values fill the mask"
        );
        Self {
            width,
            height,
            values,
        }
    }

    /// Reads a mask from how bright a picture is: white is painted anew. ITU-R 601 luma in Pillow's
    /// fixed-point form.
    pub fn from_luminance(picture: &Picture) -> Self {
        let luma = |rgb: &[u8]| {
            let sum = u32::from(rgb[0]) * 19_595
                + u32::from(rgb[1]) * 38_470
                + u32::from(rgb[2]) * 7_471
                + 0x8000;
            (sum >> 16).to_le_bytes()[0]
        };
        let values = picture.rgb().chunks_exact(3).map(luma).collect();
        Self::from_values(picture.width(), picture.height(), values)
    }

    /// Reads a mask from an alpha channel: what is transparent is painted anew.
    pub fn from_alpha(alpha: &Self) -> Self {
        alpha.inverted()
    }

    /// Returns the width in pixels.
    pub const fn width(&self) -> u32 {
        self.width
    }

    /// Returns the height in pixels.
    pub const fn height(&self) -> u32 {
        self.height
    }

    /// Returns the rows.
    pub fn values(&self) -> &[u8] {
        &self.values
    }

    /// Returns the mask of everything else.
    #[must_use]
    pub fn inverted(&self) -> Self {
        self.map(|value| 255 - value)
    }

    /// Returns the mask with values of at least `threshold` at 255 and the others at 0.
    #[must_use]
    pub fn hardened(&self, threshold: u8) -> Self {
        self.map(|value| if value >= threshold { 255 } else { 0 })
    }

    fn map(&self, each: impl Fn(u8) -> u8) -> Self {
        let values = self.values.iter().map(|value| each(*value)).collect();
        Self::from_values(self.width, self.height, values)
    }

    /// Returns the mask grown by `radius` pixels to all sides, corners included.
    #[must_use]
    pub fn grown(&self, radius: u32) -> Self {
        let (width, height) = (index(self.width), index(self.height));
        let radius = index(radius).min(width.max(height));
        let row = |values: &[u8]| window_max(values, radius);
        let across: Vec<u8> = self.values.chunks_exact(width).flat_map(row).collect();
        let turned = blur::transposed(&across, width, height);
        let down: Vec<u8> = turned.chunks_exact(height).flat_map(row).collect();
        let values = blur::transposed(&down, height, width);
        Self::from_values(self.width, self.height, values)
    }

    /// Returns the mask with soft edges: a Gaussian of standard deviation `sigma` pixels, cut at
    /// `floor(2.5 sigma + 0.5)` pixels as A1111's mask blur, mirrored at the borders.
    #[must_use]
    pub fn blurred(&self, sigma: f32) -> Self {
        let plane: Vec<f32> = self.values.iter().map(|value| f32::from(*value)).collect();
        let plane = blur::gaussian(&plane, index(self.width), index(self.height), sigma);
        let values = plane.into_iter().map(blur::byte).collect();
        Self::from_values(self.width, self.height, values)
    }

    /// Returns the mask at another size.
    ///
    /// # Errors
    /// [`DecodeError::Size`] when a side is out of range.
    pub fn resized(&self, width: u32, height: u32, filter: Filter) -> Result<Self, DecodeError> {
        check_size(width, height)?;
        let size = (index(self.width), index(self.height));
        let values = resize_plane(&self.values, size, (index(width), index(height)), filter);
        Ok(Self::from_values(width, height, values))
    }

    /// Returns the smallest rectangle that holds everything to be painted anew.
    pub fn bounds(&self) -> Option<Rect> {
        let width = index(self.width);
        let rows = || self.values.chunks_exact(width).enumerate();
        let mut filled = rows().filter(|(_, row)| row.iter().any(|value| *value > 0));
        let (top, _) = filled.next()?;
        let bottom = filled.next_back().map_or(top, |(y, _)| y);
        let first = |row: &[u8]| row.iter().position(|value| *value > 0);
        let last = |row: &[u8]| row.iter().rposition(|value| *value > 0);
        let left = rows().filter_map(|(_, row)| first(row)).min()?;
        let right = rows().filter_map(|(_, row)| last(row)).max()?;
        Some(Rect {
            x: side(left),
            y: side(top),
            width: side(right - left + 1),
            height: side(bottom - top + 1),
        })
    }

    /// Cuts a rectangle out; what lies outside the mask is left away.
    #[must_use]
    pub fn cropped(&self, rect: Rect) -> Self {
        let rect = rect.within(self.width, self.height);
        let width = index(self.width);
        let rows = index(rect.y)..index(rect.y + rect.height);
        let columns = index(rect.x)..index(rect.x + rect.width);
        let values = rows
            .flat_map(|y| &self.values[y * width + columns.start..y * width + columns.end])
            .copied()
            .collect();
        Self::from_values(rect.width, rect.height, values)
    }
}

/// Returns the largest value within `radius` of each place. Windows double until they cover
/// `2 radius + 1` places, so the cost grows with the logarithm of the radius.
fn window_max(values: &[u8], radius: usize) -> Vec<u8> {
    let window = 2 * radius + 1;
    let mut most = vec![0; radius];
    most.extend(values);
    most.resize(values.len() + 2 * radius, 0);
    let join = |most: &mut Vec<u8>, step: usize| {
        for i in 0..most.len() {
            let other = most.get(i + step).copied().unwrap_or(0);
            most[i] = most[i].max(other);
        }
    };
    let mut len = 1;
    while 2 * len <= window {
        join(&mut most, len);
        len *= 2;
    }
    join(&mut most, window - len);
    most.truncate(values.len());
    most
}
