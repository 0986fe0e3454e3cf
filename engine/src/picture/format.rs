//! The formats there are, the bounds they are read within, and how reading fails.

use std::path::PathBuf;

use serde::Serialize;
use thiserror::Error;

/// Longest side that is read, in pixels: what WebP can hold.
pub const SIDE_MAX: u32 = 16_384;
/// Most pixels of one picture: 200 MB of RGB and as much again while it is decoded.
pub const PIXELS_MAX: u64 = 1 << 26;
/// Longest picture file that is read, in bytes.
pub const FILE_LEN_MAX: u64 = 256 << 20;
/// Longest text inside a picture, in bytes once unpacked: the largest `ComfyUI` graphs are a tenth
/// of it.
pub const TEXT_LEN_MAX: usize = 4 << 20;
/// Most texts that are kept of one picture.
pub(super) const TEXTS_MAX: usize = 64;

/// A file format for pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Portable Network Graphics.
    Png,
    /// JPEG in a JFIF or EXIF file.
    Jpeg,
    /// WebP, lossy or lossless.
    Webp,
}

impl Format {
    /// Returns the format whose first bytes these are.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            Some(Self::Png)
        } else if bytes.starts_with(&[0xff, 0xd8, 0xff]) {
            Some(Self::Jpeg)
        } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
            Some(Self::Webp)
        } else {
            None
        }
    }

    /// Returns the usual ending of file names.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::Webp => "webp",
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::Webp => "WebP",
        })
    }
}

/// Why a picture file cannot be read.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// The file cannot be opened or read.
    #[error("{path}: the file cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// More bytes than any picture needs.
    #[error("a file of {len} bytes: at most {max} are read", max = FILE_LEN_MAX)]
    FileLength {
        /// Its length.
        len: u64,
    },
    /// Another format, or none.
    #[error("not a PNG, JPEG or WebP file; convert it to one of them")]
    Format,
    /// A part of the file claims more bytes than there are.
    #[error("{format}: the file ends inside the part that begins at byte {offset}")]
    Truncated {
        /// What the file is.
        format: Format,
        /// Where the part begins.
        offset: usize,
    },
    /// A part that must be there is not, or says nonsense.
    #[error("{format}: {part} is missing or malformed")]
    Part {
        /// What the file is.
        format: Format,
        /// The part.
        part: &'static str,
    },
    /// A picture too large, or of no size at all.
    #[error("{width}x{height}: sides must be between 1 and {side}, and at most {pixels} pixels", side = SIDE_MAX, pixels = PIXELS_MAX)]
    Size {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// The PNG decoder refused.
    #[error("the PNG data is damaged")]
    Png(#[from] png::DecodingError),
    /// The JPEG decoder refused.
    #[error("the JPEG data is damaged")]
    Jpeg(#[source] zune_jpeg::errors::DecodeErrors),
    /// The WebP decoder refused.
    #[error("the WebP data is damaged")]
    Webp(#[from] image_webp::DecodingError),
}

/// Checks a size before anything of that size is allocated.
pub(super) fn check_size(width: u32, height: u32) -> Result<(), DecodeError> {
    let sides = 1..=SIDE_MAX;
    if sides.contains(&width)
        && sides.contains(&height)
        && u64::from(width) * u64::from(height) <= PIXELS_MAX
    {
        Ok(())
    } else {
        Err(DecodeError::Size { width, height })
    }
}
