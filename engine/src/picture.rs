//! Pictures as files and as pixels: written with the settings that made them, read back from what
//! other programs wrote, resized, masked, pasted and laid out.
//!
//! Start at [`encode`] for writing, [`info`] for what a file tells, [`decode`] for its pixels.
//! Strangers' files are read within bounds: sides, pixels, file and text lengths are checked
//! before anything of that size is allocated. Only `from_job` knows of jobs.

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

pub(crate) use from_job::settings as settings_of;

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
