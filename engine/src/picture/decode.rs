//! Files to pixels, upright and within bounds.

use std::io::Cursor;

use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::format::{DecodeError, FILE_LEN_MAX, Format, SIDE_MAX, check_size};
use super::mask::Mask;
use super::raster::{Picture, index, side};
use super::{exif, jpeg_file, png_file, webp_file};

/// A picture read from a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// What the file is.
    pub format: Format,
    /// Its pixels, turned as EXIF says. Colours of transparent pixels are as they lie in the file.
    pub picture: Picture,
    /// How opaque each pixel is, if the file says: 255 is opaque.
    pub alpha: Option<Mask>,
}

/// Pixels as a decoder gives them.
struct Raw {
    size: (u32, u32),
    /// Bytes of a pixel: grey, grey and alpha, RGB, RGBA.
    channels: usize,
    bytes: Vec<u8>,
}

/// Reads a PNG, JPEG or WebP file; of an animation the first frame. 16-bit samples lose their low
/// byte, palettes and CMYK become RGB.
///
/// # Errors
/// [`DecodeError`] for other formats, damaged files, and sizes beyond the bounds, which are
/// checked before pixels are allocated.
pub fn decode(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if len > FILE_LEN_MAX {
        return Err(DecodeError::FileLength { len });
    }
    let format = Format::of(bytes).ok_or(DecodeError::Format)?;
    let (raw, exif) = match format {
        Format::Png => {
            let facts = png_file::read(bytes)?;
            check_size(facts.size.0, facts.size.1)?;
            (png(bytes)?, facts.exif)
        }
        Format::Jpeg => {
            let facts = jpeg_file::read(bytes)?;
            check_size(facts.size.0, facts.size.1)?;
            (jpeg(bytes)?, facts.exif)
        }
        Format::Webp => {
            let facts = webp_file::read(bytes)?;
            check_size(facts.size.0, facts.size.1)?;
            check_size(facts.largest.0, facts.largest.1)?;
            (webp(bytes)?, facts.exif)
        }
    };
    let orientation = exif.and_then(|exif| exif::read(exif).orientation);
    split(format, raw, orientation.unwrap_or(1))
}

fn png(bytes: &[u8]) -> Result<Raw, DecodeError> {
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    // Texts were read already, within our own bounds.
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let mut reader = decoder.read_info()?;
    let (width, height) = (reader.info().width, reader.info().height);
    check_size(width, height)?;
    let len = reader.output_buffer_size();
    let mut bytes = vec![0; len.ok_or(DecodeError::Size { width, height })?];
    let frame = reader.next_frame(&mut bytes)?;
    let channels = frame.color_type.samples();
    bytes.truncate(frame.buffer_size());
    Ok(Raw {
        size: (frame.width, frame.height),
        channels,
        bytes,
    })
}

fn jpeg(bytes: &[u8]) -> Result<Raw, DecodeError> {
    let options = DecoderOptions::default()
        .set_max_width(index(SIDE_MAX))
        .set_max_height(index(SIDE_MAX))
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder =
        JpegDecoder::new_with_options(zune_core::bytestream::ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(DecodeError::Jpeg)?;
    let info = decoder.info().ok_or(DecodeError::Part {
        format: Format::Jpeg,
        part: "the frame's header",
    })?;
    let size = (u32::from(info.width), u32::from(info.height));
    check_size(size.0, size.1)?;
    let bytes = decoder.decode().map_err(DecodeError::Jpeg)?;
    Ok(Raw {
        size,
        channels: 3,
        bytes,
    })
}

fn webp(bytes: &[u8]) -> Result<Raw, DecodeError> {
    let mut decoder = image_webp::WebPDecoder::new(Cursor::new(bytes))?;
    let size = decoder.dimensions();
    check_size(size.0, size.1)?;
    let channels = if decoder.has_alpha() { 4 } else { 3 };
    let mut bytes = vec![0; channels * index(size.0) * index(size.1)];
    decoder.read_image(&mut bytes)?;
    Ok(Raw {
        size,
        channels,
        bytes,
    })
}

/// Takes channels apart and turns them upright.
fn split(format: Format, raw: Raw, orientation: u8) -> Result<Decoded, DecodeError> {
    let (width, height) = raw.size;
    check_size(width, height)?;
    let count = index(width) * index(height);
    if raw.bytes.len() != count * raw.channels {
        return Err(DecodeError::Part {
            format,
            part: "a row of pixels",
        });
    }
    if raw.channels == 3 && orientation == 1 {
        let picture = Picture::new(width, height, raw.bytes)?;
        return Ok(Decoded {
            format,
            picture,
            alpha: None,
        });
    }
    let turn = Turn::new(index(width), index(height), orientation);
    let channel = |channel: usize| -> Vec<u8> {
        let source = |i: usize| raw.bytes[raw.channels * turn.source(i) + channel];
        (0..count).map(source).collect()
    };
    let (width, height) = (side(turn.width), side(turn.height));
    let colours = if raw.channels < 3 { [0; 3] } else { [0, 1, 2] };
    let [r, g, b] = colours.map(channel);
    let alpha = matches!(raw.channels, 2 | 4).then(|| channel(raw.channels - 1));
    Ok(Decoded {
        format,
        picture: Picture::from_channels(width, height, [&r, &g, &b]),
        alpha: alpha.map(|values| Mask::from_values(width, height, values)),
    })
}

/// How a stored picture is turned to stand upright (EXIF 2.32, tag 0x0112).
struct Turn {
    width: usize,
    height: usize,
    stored_width: usize,
    stored_height: usize,
    orientation: u8,
}

impl Turn {
    fn new(stored_width: usize, stored_height: usize, orientation: u8) -> Self {
        let (width, height) = if orientation >= 5 {
            (stored_height, stored_width)
        } else {
            (stored_width, stored_height)
        };
        Self {
            width,
            height,
            stored_width,
            stored_height,
            orientation,
        }
    }

    /// Returns which stored pixel stands at a place of the upright picture.
    fn source(&self, i: usize) -> usize {
        let (x, y) = (i % self.width, i / self.width);
        let (right, bottom) = (self.stored_width - 1, self.stored_height - 1);
        let (x, y) = match self.orientation {
            2 => (right - x, y),
            3 => (right - x, bottom - y),
            4 => (x, bottom - y),
            5 => (y, x),
            6 => (y, bottom - x),
            7 => (right - y, bottom - x),
            8 => (right - y, x),
            _ => (x, y),
        };
        y * self.stored_width + x
    }
}
