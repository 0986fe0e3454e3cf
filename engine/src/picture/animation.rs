//! Several pictures as one that moves: animated WebP and animated PNG.

use std::time::Duration;

use super::encode::{EncodeError, Encoding, Story, add_story, metadata, webp_pixels};
use super::format::{Format, PIXELS_MAX};
use super::raster::Picture;
use super::webp_file::{self, Frame};

/// Most frames of an animation.
const FRAMES_MAX: usize = 4096;
/// A WebP frame's duration has 24 bits.
const DURATION_MS_MAX: u32 = (1 << 24) - 1;

/// How an animation is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Animation {
    /// Animated PNG.
    Png,
    /// Animated WebP without loss.
    WebpLossless,
    /// Animated WebP at a quality of 0 to 100.
    Webp {
        /// The quality.
        quality: u8,
    },
}

impl Animation {
    /// Returns the format of the file.
    pub const fn format(self) -> Format {
        match self {
            Self::Png => Format::Png,
            Self::WebpLossless | Self::Webp { .. } => Format::Webp,
        }
    }
}

/// Pictures of one size with their pace.
#[derive(Debug, Clone, Copy)]
pub struct Frames<'a> {
    /// The pictures, in order.
    pub pictures: &'a [Picture],
    /// How long each is shown, to the millisecond.
    pub each: Duration,
    /// How often the whole is played; 0 is for ever.
    pub loops: u16,
}

impl Frames<'_> {
    fn check(&self) -> Result<&Picture, EncodeError> {
        let frames = self.pictures.len();
        let refused = EncodeError::Frames {
            frames,
            max: FRAMES_MAX,
        };
        let size = |picture: &Picture| (picture.width(), picture.height());
        let Some(first) = self.pictures.first() else {
            return Err(refused);
        };
        let is_even = self
            .pictures
            .iter()
            .all(|picture| size(picture) == size(first));
        let pixels = u64::try_from(first.pixels() * frames).unwrap_or(u64::MAX);
        if is_even && frames <= FRAMES_MAX && pixels <= 16 * PIXELS_MAX {
            Ok(first)
        } else {
            Err(refused)
        }
    }

    fn duration_ms(&self) -> u32 {
        u32::try_from(self.each.as_millis())
            .unwrap_or(DURATION_MS_MAX)
            .clamp(1, DURATION_MS_MAX)
    }
}

/// Writes an animation.
///
/// # Errors
/// [`EncodeError::Frames`] for none, too many, or frames of several sizes; else what
/// [`encode`](super::encode) says.
pub fn animate(
    frames: Frames<'_>,
    how: Animation,
    story: Option<&Story>,
) -> Result<Vec<u8>, EncodeError> {
    let first = frames.check()?;
    match how {
        Animation::Png => png(first, frames, story),
        Animation::WebpLossless => webp(first, frames, Encoding::WebpLossless, story),
        Animation::Webp { quality } => webp(first, frames, Encoding::Webp { quality }, story),
    }
}

fn png(first: &Picture, frames: Frames<'_>, story: Option<&Story>) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, first.width(), first.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let count = u32::try_from(frames.pictures.len()).unwrap_or(u32::MAX);
    encoder.set_animated(count, u32::from(frames.loops))?;
    // A delay is a fraction of 16-bit numbers: milliseconds up to a minute, then seconds.
    let ms = frames.duration_ms();
    let (numerator, denominator) = match u16::try_from(ms) {
        Ok(ms) => (ms, 1000),
        Err(_) => (u16::try_from(ms / 1000).unwrap_or(u16::MAX), 1),
    };
    encoder.set_frame_delay(numerator, denominator)?;
    encoder.set_blend_op(png::BlendOp::Source)?;
    add_story(&mut encoder, story)?;
    let mut writer = encoder.write_header()?;
    for picture in frames.pictures {
        writer.write_image_data(picture.rgb())?;
    }
    writer.finish()?;
    Ok(bytes)
}

fn webp(
    first: &Picture,
    frames: Frames<'_>,
    encoding: Encoding,
    story: Option<&Story>,
) -> Result<Vec<u8>, EncodeError> {
    let files = frames
        .pictures
        .iter()
        .map(|picture| webp_pixels(picture, encoding))
        .collect::<Result<Vec<_>, _>>()?;
    let duration_ms = frames.duration_ms();
    let stills: Vec<_> = files
        .iter()
        .filter_map(|file| webp_file::pixels(file))
        .map(|pixels| Frame {
            pixels,
            duration_ms,
        })
        .collect();
    let size = (first.width(), first.height());
    Ok(webp_file::animation(
        size,
        &stills,
        frames.loops,
        &metadata(story),
    ))
}
