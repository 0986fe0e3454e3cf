//! Pixels in memory: rows of RGB bytes.

use super::format::{DecodeError, check_size};

/// An RGB picture: rows from the top, three bytes a pixel, no gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl Picture {
    /// Wraps rows of RGB bytes.
    ///
    /// # Errors
    /// [`DecodeError::Size`] when a side is out of range or the bytes are not `3 * width * height`.
    pub fn new(width: u32, height: u32, rgb: Vec<u8>) -> Result<Self, DecodeError> {
        check_size(width, height)?;
        let picture = Self { width, height, rgb };
        if picture.rgb.len() == 3 * picture.pixels() {
            Ok(picture)
        } else {
            Err(DecodeError::Size { width, height })
        }
    }

    /// Makes a picture of one colour.
    ///
    /// # Errors
    /// [`DecodeError::Size`] when a side is out of range.
    pub fn filled(width: u32, height: u32, colour: [u8; 3]) -> Result<Self, DecodeError> {
        check_size(width, height)?;
        let count = index(width) * index(height);
        Self::new(width, height, colour.repeat(count))
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
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// Returns the rows, consuming the picture.
    pub fn into_rgb(self) -> Vec<u8> {
        self.rgb
    }

    pub(super) fn rgb_mut(&mut self) -> &mut [u8] {
        &mut self.rgb
    }

    pub(super) fn pixels(&self) -> usize {
        index(self.width) * index(self.height)
    }

    /// Returns one channel, 0 for red, as a plane of its own.
    pub(super) fn channel(&self, channel: usize) -> Vec<u8> {
        self.rgb.iter().skip(channel).step_by(3).copied().collect()
    }

    /// Joins three channels of `width * height` bytes.
    pub(super) fn from_channels(width: u32, height: u32, [r, g, b]: [&[u8]; 3]) -> Self {
        let pixels = r.iter().zip(g).zip(b);
        let rgb: Vec<u8> = pixels.flat_map(|((r, g), b)| [*r, *g, *b]).collect();
        assert_eq!(
            rgb.len(),
            3 * index(width) * index(height),
            "channels fill the picture"
        );
        Self { width, height, rgb }
    }
}

/// A side as an index. Sides are within `SIDE_MAX`.
pub(super) fn index(side: u32) -> usize {
    usize::try_from(side).unwrap_or(usize::MAX)
}

/// An index as a side. What it counts was within `SIDE_MAX`.
pub(super) fn side(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
