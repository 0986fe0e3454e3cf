//! Pictures as files and as pixels: written with the settings that made them, read back from what
//! other programs wrote, resized, masked, pasted and laid out.
//!
//! Start at [`encode`] for writing, [`info`] for what a file tells, [`decode`] for its pixels.
//! Strangers' files are read within bounds: sides, pixels, file and text lengths are checked
//! before anything of that size is allocated. Nothing here knows of models or jobs, but for the
//! three functions at the end that turn a job into text.

mod a1111;
mod animation;
mod blur;
mod comfy;
mod compose;
mod decode;
mod draw_things;
mod encode;
mod exif;
mod fill;
mod fooocus;
mod format;
mod from_job;
mod info;
mod infotext;
mod invoke;
mod jpeg_file;
mod labels;
mod loose_json;
mod lora_tag;
mod mask;
mod novelai;
mod plane;
mod png_file;
mod raster;
mod recovered;
mod resize;
mod settings;
mod sheet;
mod source;
#[cfg(test)]
mod tests;
mod webp_file;
mod xmp;

use candle_core::Tensor;
use hearth_protocol::engine::Assets;
use hearth_protocol::job::JobSpec;
use serde_json::json;

use crate::preview::byte;

pub use animation::{Animation, Frames, animate};
pub use compose::{Rect, extend, fit};
pub use decode::{Decoded, decode};
pub use encode::{EncodeError, Encoding, Story, encode};
pub use fill::fill;
pub use format::{DecodeError, FILE_LEN_MAX, Format, PIXELS_MAX, SIDE_MAX, TEXT_LEN_MAX};
pub use info::{Info, Text, info, info_of};
pub use labels::{Label, sampler, sampler_label, schedule, schedule_label};
pub use mask::Mask;
pub use plane::{mask_plane, picture_from_planes, planes};
pub use raster::Picture;
pub use recovered::{Oddity, Recovered};
pub use resize::{Filter, resize};
pub use settings::{Hires, Inpaint, LoraMention, Mention, Settings, Variation};
pub use sheet::{Captions, contact_sheet};
pub use source::Source;

/// Returns `[1, 3, height, width]` pixels in -1..=1 as rows of RGB bytes.
pub(crate) fn rgb(pixels: &Tensor) -> candle_core::Result<Vec<u8>> {
    let (_, channels, height, width) = pixels.dims4()?;
    let values = pixels.flatten_all()?.to_vec1::<f32>()?;
    let plane = height * width;
    let pixel = |i: usize| (0..channels).map(move |c| (c, i));
    Ok((0..plane)
        .flat_map(pixel)
        .map(|(c, i)| byte(values[c * plane + i]))
        .collect())
}

/// Encodes RGB rows as a PNG that tells its story.
pub(crate) fn png(
    rgb: &[u8],
    (width, height): (u32, u32),
    texts: &[(&str, String)],
) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let packet = xmp::packet(infotext::VERSION, None);
    encoder.add_itxt_chunk(png_file::XMP_KEYWORD.to_owned(), packet)?;
    for (keyword, text) in texts {
        png_file::add_text(&mut encoder, keyword, text)?;
    }
    let mut writer = encoder.write_header()?;
    writer.write_image_data(rgb)?;
    writer.finish()?;
    Ok(bytes)
}

/// Returns A1111's `parameters` text for a job.
pub(crate) fn parameters(spec: &JobSpec, assets: &Assets) -> String {
    from_job::settings(spec, assets).infotext()
}

/// Returns the `hearth` text: the job as asked, for exact repetition.
pub(crate) fn story(spec: &JobSpec) -> String {
    json!({"version": 1, "spec": spec}).to_string()
}
