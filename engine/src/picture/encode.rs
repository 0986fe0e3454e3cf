//! Pixels to files that tell their story.
//!
//! Where the story lies: PNG has a text for each key (`parameters`, `hearth`); JPEG and WebP carry
//! `parameters` as the EXIF user comment and `hearth` as a property of the XMP packet. All three
//! have the packet, which says that a model made the picture.

use jpeg_encoder::ColorType;
use thiserror::Error;

use super::format::Format;
use super::infotext::VERSION;
use super::jpeg_file::{SEGMENT_LEN_MAX, XMP_MARK};
use super::raster::{Picture, index};
use super::webp_file::{self, Metadata, WEBP_SIDE_MAX};
use super::{exif, png_file, xmp};

/// How pixels are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// PNG.
    Png,
    /// WebP without loss.
    WebpLossless,
    /// WebP at a quality of 0 to 100.
    Webp {
        /// The quality.
        quality: u8,
    },
    /// JPEG at a quality of 1 to 100; from 90 on with full colour resolution.
    Jpeg {
        /// The quality.
        quality: u8,
    },
}

impl Encoding {
    /// Returns the format of the file.
    pub const fn format(self) -> Format {
        match self {
            Self::Png => Format::Png,
            Self::WebpLossless | Self::Webp { .. } => Format::Webp,
            Self::Jpeg { .. } => Format::Jpeg,
        }
    }
}

/// What a picture's file says of its making.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Story {
    /// A1111's text, from [`Settings::infotext`](super::Settings::infotext).
    pub parameters: String,
    /// Hearth's own JSON, for exact repetition; empty for none.
    pub hearth: String,
}

/// Why a picture cannot be written.
#[derive(Debug, Error)]
pub enum EncodeError {
    /// The PNG encoder refused.
    #[error("the PNG cannot be written")]
    Png(#[from] png::EncodingError),
    /// The JPEG encoder refused.
    #[error("the JPEG cannot be written")]
    Jpeg(#[from] jpeg_encoder::EncodingError),
    /// libwebp refused.
    #[error("the WebP cannot be written: {reason}")]
    Webp {
        /// libwebp's word for it.
        reason: String,
    },
    /// A side too long for the format.
    #[error("{width}x{height}: {format} holds sides up to {max}; write a PNG")]
    Size {
        /// The format.
        format: Format,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Its longest side.
        max: u32,
    },
    /// A text too long for a JPEG segment.
    #[error("{what} takes {len} bytes, a JPEG holds {max}; write a PNG or a WebP")]
    Text {
        /// Which text.
        what: &'static str,
        /// Its length.
        len: usize,
        /// What fits.
        max: usize,
    },
    /// An animation of nothing, of frames of several sizes, or of too many pixels.
    #[error("{frames} frames: an animation has between 1 and {max}, all of one size")]
    Frames {
        /// How many there are.
        frames: usize,
        /// Most there may be.
        max: usize,
    },
}

/// Writes a picture; without a story it is pixels alone.
///
/// # Errors
/// [`EncodeError`] when the format cannot hold the size or, in a JPEG, the story.
pub fn encode(
    picture: &Picture,
    encoding: Encoding,
    story: Option<&Story>,
) -> Result<Vec<u8>, EncodeError> {
    match encoding {
        Encoding::Png => png(picture, story),
        Encoding::WebpLossless | Encoding::Webp { .. } => {
            let file = webp_pixels(picture, encoding)?;
            let size = (picture.width(), picture.height());
            let pixels = webp_file::pixels(&file).ok_or_else(|| EncodeError::Webp {
                reason: "no pixels came of it".to_owned(),
            })?;
            Ok(webp_file::still(size, pixels, &metadata(story)))
        }
        Encoding::Jpeg { quality } => jpeg(picture, quality, story),
    }
}

fn png(picture: &Picture, story: Option<&Story>) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, picture.width(), picture.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    add_story(&mut encoder, story)?;
    let mut writer = encoder.write_header()?;
    writer.write_image_data(picture.rgb())?;
    writer.finish()?;
    Ok(bytes)
}

/// Adds a story's texts to a PNG.
pub(super) fn add_story<W: std::io::Write>(
    encoder: &mut png::Encoder<'_, W>,
    story: Option<&Story>,
) -> Result<(), png::EncodingError> {
    let Some(story) = story else {
        return Ok(());
    };
    let packet = xmp::packet(VERSION, None);
    encoder.add_itxt_chunk(png_file::XMP_KEYWORD.to_owned(), packet)?;
    for (keyword, text) in [("parameters", &story.parameters), ("hearth", &story.hearth)] {
        if !text.is_empty() {
            png_file::add_text(encoder, keyword, text)?;
        }
    }
    Ok(())
}

/// Returns a story as EXIF and XMP.
pub(super) fn metadata(story: Option<&Story>) -> Metadata {
    let Some(story) = story else {
        return Metadata::default();
    };
    let has = |text: &str| !text.is_empty();
    let hearth = Some(story.hearth.as_str()).filter(|text| has(text));
    let parameters = Some(story.parameters.as_str()).filter(|text| has(text));
    Metadata {
        exif: parameters.map(|text| exif::write(VERSION, text)),
        xmp: Some(xmp::packet(VERSION, hearth)),
    }
}

fn jpeg(picture: &Picture, quality: u8, story: Option<&Story>) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, quality.clamp(1, 100));
    encoder.set_optimized_huffman_tables(true);
    let metadata = metadata(story);
    let exif = metadata
        .exif
        .map(|exif| ("EXIF", b"Exif\0\0".as_slice(), exif));
    let xmp = metadata.xmp.map(|xmp| ("XMP", XMP_MARK, xmp.into_bytes()));
    for (what, mark, data) in [exif, xmp].into_iter().flatten() {
        let len = mark.len() + data.len();
        if len > SEGMENT_LEN_MAX {
            let max = SEGMENT_LEN_MAX;
            return Err(EncodeError::Text { what, len, max });
        }
        encoder.add_app_segment(1, [mark, &data].concat())?;
    }
    let (width, height) = (picture.width(), picture.height());
    let (Ok(w), Ok(h)) = (u16::try_from(width), u16::try_from(height)) else {
        return Err(too_large(picture, Format::Jpeg, u32::from(u16::MAX)));
    };
    encoder.encode(picture.rgb(), w, h, ColorType::Rgb)?;
    Ok(bytes)
}

fn too_large(picture: &Picture, format: Format, max: u32) -> EncodeError {
    EncodeError::Size {
        format,
        width: picture.width(),
        height: picture.height(),
        max,
    }
}

/// Encodes pixels with libwebp into a file of their own.
pub(super) fn webp_pixels(picture: &Picture, encoding: Encoding) -> Result<Vec<u8>, EncodeError> {
    let refused = |reason: String| EncodeError::Webp { reason };
    let (width, height) = (picture.width(), picture.height());
    if width.max(height) > WEBP_SIDE_MAX {
        return Err(too_large(picture, Format::Webp, WEBP_SIDE_MAX));
    }
    assert_eq!(
        picture.rgb().len(),
        3 * index(width) * index(height),
        "rows are whole"
    );
    let mut config =
        webp::WebPConfig::new().map_err(|()| refused("another version of libwebp".to_owned()))?;
    if let Encoding::Webp { quality } = encoding {
        config.quality = f32::from(quality.min(100));
    } else {
        config.lossless = 1;
        // Effort, not loss; libwebp's own default for lossless files.
        config.quality = 75.0;
    }
    let encoder = webp::Encoder::from_rgb(picture.rgb(), width, height);
    let file = encoder
        .encode_advanced(&config)
        .map_err(|error| refused(format!("{error:?}")))?;
    Ok(file.to_vec())
}
