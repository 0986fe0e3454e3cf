//! What a job starts from: a picture brought to size, what of it may change, and how the result goes
//! back into it.

use std::io::Read;
use std::path::{Path, PathBuf};

use hearth_protocol::job::{Fit, Margins, Mask as MaskSpec, MaskArea, MaskFill, Start};
use hearth_protocol::limits;
use thiserror::Error;

use crate::picture::{self, DecodeError, Filter, Mask, Picture, Rect};

/// Pixels of a picture beside an added margin that are painted anew, so that no seam shows.
const OVERLAP: u32 = 8;

/// What is wrong with a file a job starts from.
#[derive(Debug, Error)]
pub enum InputError {
    /// It cannot be read.
    #[error("the {role} cannot be read")]
    Io {
        /// `start picture`, `mask` or `saved step`.
        role: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It is missing among the assets.
    #[error("the {role} was not handed over")]
    Missing {
        /// Which file.
        role: &'static str,
    },
    /// It is no picture, or too large.
    #[error("the {role} cannot be used")]
    Picture {
        /// Which file.
        role: &'static str,
        /// What is wrong.
        #[source]
        source: DecodeError,
    },
    /// A mask of another size.
    #[error(
        "the mask is {mask:?} pixels, the picture {picture:?}: draw the mask over a copy of the picture"
    )]
    MaskSize {
        /// Sides of the mask.
        mask: (u32, u32),
        /// Sides of the picture.
        picture: (u32, u32),
    },
    /// A mask that lets nothing change.
    #[error("the mask is empty: paint white what is to change, or invert it")]
    EmptyMask,
}

/// A prepared picture.
#[derive(Debug)]
pub(super) struct Canvas {
    /// At the job's size.
    pub(super) picture: Picture,
    /// What may change, at the job's size: 255 all, 0 nothing. Everything if absent.
    pub(super) mask: Option<Mask>,
    /// What is under the mask at the start.
    pub(super) fill: MaskFill,
    /// Where the result goes.
    paste: Paste,
}

/// How a result becomes the picture handed over.
#[derive(Debug)]
enum Paste {
    /// It is the picture.
    Nothing,
    /// It replaces what the mask shows of the prepared picture.
    Over,
    /// It replaces a part of a larger picture.
    Into {
        whole: Picture,
        mask: Mask,
        rect: Rect,
    },
}

impl Canvas {
    /// Prepares the picture of a start; nothing for a start without one.
    pub(super) fn of(
        start: &Start,
        inputs: &[String],
        size: (u32, u32),
    ) -> Result<Option<Self>, InputError> {
        let Start::Picture {
            fit,
            mask: spec,
            margins,
            ..
        } = start
        else {
            return Ok(None);
        };
        let picture = read_picture(inputs.first(), "start picture")?.picture;
        let mask = match spec {
            Some(spec) => Some(read_mask(inputs.get(1), spec, &picture)?),
            None => None,
        };
        let (picture, mask) = extended(picture, mask, *margins)?;
        let Some(mask) = mask else {
            let picture = picture::fit(&picture, size.0, size.1, *fit, Filter::Lanczos3);
            return Ok(Some(Self {
                picture: picture.map_err(start_picture)?,
                mask: None,
                fill: MaskFill::Original,
                paste: Paste::Nothing,
            }));
        };
        let (blur, content, area) = match spec {
            Some(spec) => (spec.blur, spec.fill, spec.area),
            None => (0, MaskFill::Fill, MaskArea::Whole),
        };
        let mask = mask.blurred(blur as f32);
        let bounds = mask.bounds().ok_or(InputError::EmptyMask)?;
        let canvas = match area {
            MaskArea::Whole => Self::whole(&picture, &mask, *fit, size),
            MaskArea::OnlyMasked { padding } => Self::part(picture, mask, bounds, padding, size),
        };
        canvas.and_then(|canvas| canvas.filled(content)).map(Some)
    }

    fn whole(
        picture: &Picture,
        mask: &Mask,
        fit: Fit,
        (width, height): (u32, u32),
    ) -> Result<Self, InputError> {
        let fitted = |picture: &Picture| {
            picture::fit(picture, width, height, fit, Filter::Lanczos3).map_err(start_picture)
        };
        let grey = grey(mask)?;
        Ok(Self {
            picture: fitted(picture)?,
            mask: Some(Mask::from_luminance(&fitted(&grey)?)),
            fill: MaskFill::Original,
            paste: Paste::Over,
        })
    }

    fn part(
        whole: Picture,
        mask: Mask,
        bounds: Rect,
        padding: u32,
        (width, height): (u32, u32),
    ) -> Result<Self, InputError> {
        let sides = (whole.width(), whole.height());
        let rect = bounds.padded(padding, sides.0, sides.1).proportioned(
            (width, height),
            sides.0,
            sides.1,
        );
        let picture = picture::resize(&whole.cropped(rect), width, height, Filter::Lanczos3);
        let part = mask
            .cropped(rect)
            .resized(width, height, Filter::Lanczos3)
            .map_err(start_picture)?;
        Ok(Self {
            picture: picture.map_err(start_picture)?,
            mask: Some(part),
            fill: MaskFill::Original,
            paste: Paste::Into { whole, mask, rect },
        })
    }

    fn filled(mut self, fill: MaskFill) -> Result<Self, InputError> {
        self.fill = fill;
        if let (MaskFill::Fill, Some(mask)) = (fill, &self.mask) {
            self.picture = picture::fill(&self.picture, mask).map_err(start_picture)?;
        }
        Ok(self)
    }

    /// Puts a result where it belongs. What the mask does not show stays as it was, to the byte.
    pub(super) fn put_back(self, result: Picture) -> Result<Picture, InputError> {
        match self.paste {
            Paste::Nothing => Ok(result),
            Paste::Over => {
                let (width, height) = (result.width(), result.height());
                let mut under = picture::resize(&self.picture, width, height, Filter::Lanczos3)
                    .map_err(start_picture)?;
                let mask = self
                    .mask
                    .map(|mask| mask.resized(width, height, Filter::Lanczos3))
                    .transpose()
                    .map_err(start_picture)?;
                let rect = Rect {
                    x: 0,
                    y: 0,
                    width,
                    height,
                };
                under
                    .paste(&result, rect, mask.as_ref())
                    .map_err(start_picture)?;
                Ok(under)
            }
            Paste::Into {
                mut whole,
                mask,
                rect,
            } => {
                whole
                    .paste(&result, rect, Some(&mask))
                    .map_err(start_picture)?;
                Ok(whole)
            }
        }
    }
}

fn start_picture(source: DecodeError) -> InputError {
    InputError::Picture {
        role: "start picture",
        source,
    }
}

/// Adds margins, which may change, and the mask they make with the one there was.
fn extended(
    picture: Picture,
    mask: Option<Mask>,
    margins: Margins,
) -> Result<(Picture, Option<Mask>), InputError> {
    if margins.is_none() {
        return Ok((picture, mask));
    }
    let (extended, added) = picture::extend(&picture, margins, OVERLAP).map_err(start_picture)?;
    let Some(mask) = mask else {
        return Ok((extended, Some(added)));
    };
    let (moved, _) = picture::extend(&grey(&mask)?, margins, 0).map_err(start_picture)?;
    let moved = Mask::from_luminance(&moved);
    let either = moved.values().iter().zip(added.values());
    let values = either.map(|(a, b)| *a.max(b)).collect();
    let mask = Mask::new(extended.width(), extended.height(), values).map_err(start_picture)?;
    Ok((extended, Some(mask)))
}

fn grey(mask: &Mask) -> Result<Picture, InputError> {
    let rgb = mask.values().iter().flat_map(|v| [*v; 3]).collect();
    Picture::new(mask.width(), mask.height(), rgb).map_err(start_picture)
}

fn read_mask(
    path: Option<&String>,
    spec: &MaskSpec,
    picture: &Picture,
) -> Result<Mask, InputError> {
    let decoded = read_picture(path, "mask")?;
    let sides = (decoded.picture.width(), decoded.picture.height());
    let expected = (picture.width(), picture.height());
    if sides != expected {
        return Err(InputError::MaskSize {
            mask: sides,
            picture: expected,
        });
    }
    let mask = match &decoded.alpha {
        Some(alpha) if alpha.values().iter().any(|value| *value != 255) => Mask::from_alpha(alpha),
        Some(_) | None => Mask::from_luminance(&decoded.picture),
    };
    Ok(if spec.invert { mask.inverted() } else { mask })
}

fn read_picture(path: Option<&String>, role: &'static str) -> Result<picture::Decoded, InputError> {
    let bytes = read_input(path, role)?;
    picture::decode(&bytes).map_err(|source| InputError::Picture { role, source })
}

/// Returns the file of an input.
pub(super) fn input_path(path: Option<&String>, role: &'static str) -> Result<PathBuf, InputError> {
    path.map(PathBuf::from).ok_or(InputError::Missing { role })
}

fn read_input(path: Option<&String>, role: &'static str) -> Result<Vec<u8>, InputError> {
    let io = |source| InputError::Io { role, source };
    let path = input_path(path, role)?;
    let file = std::fs::File::open(Path::new(&path)).map_err(io)?;
    let mut bytes = Vec::new();
    file.take(limits::INPUT_LEN_MAX)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    Ok(bytes)
}
