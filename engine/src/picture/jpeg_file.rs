//! JPEG files as a row of segments: their texts and their size.

use super::format::{DecodeError, Format, TEXTS_MAX};

/// What an XMP segment begins with.
pub(super) const XMP_MARK: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
/// Most bytes of one segment, without its length field.
pub(super) const SEGMENT_LEN_MAX: usize = 0xffff - 2;

/// What the segments tell.
#[derive(Debug, Default)]
pub(super) struct JpegFacts<'a> {
    pub(super) size: (u32, u32),
    pub(super) exif: Option<&'a [u8]>,
    pub(super) xmp: Option<&'a [u8]>,
    pub(super) comments: Vec<&'a [u8]>,
}

/// Walks the segments up to the pixels.
pub(super) fn read(bytes: &[u8]) -> Result<JpegFacts<'_>, DecodeError> {
    let mut facts = JpegFacts::default();
    let mut offset = 2;
    loop {
        let truncated = || DecodeError::Truncated {
            format: Format::Jpeg,
            offset,
        };
        let (marker, data, end) = segment(bytes, offset).ok_or_else(truncated)?;
        match marker {
            0xe1 if data.starts_with(b"Exif\0\0") => {
                facts.exif.get_or_insert(data);
            }
            0xe1 => {
                if let Some(xmp) = data.strip_prefix(XMP_MARK) {
                    facts.xmp.get_or_insert(xmp);
                }
            }
            0xfe if facts.comments.len() < TEXTS_MAX => facts.comments.push(data),
            // Start of frame, but not the tables that share the range.
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                facts.size = size(data).ok_or_else(truncated)?;
            }
            // Pixels, or the end.
            0xda | 0xd9 => break,
            _ => {}
        }
        offset = end;
    }
    if facts.size == (0, 0) {
        return Err(DecodeError::Part {
            format: Format::Jpeg,
            part: "the frame's header",
        });
    }
    Ok(facts)
}

/// Returns a segment's marker, its data and where the next one begins.
fn segment(bytes: &[u8], offset: usize) -> Option<(u8, &[u8], usize)> {
    let rest = bytes.get(offset..)?;
    // Any number of 0xff may stand before a marker.
    let fill = rest.iter().take_while(|byte| **byte == 0xff).count();
    let marker = *rest.get(fill).filter(|_| fill > 0)?;
    let at = offset + fill + 1;
    // Markers without data.
    if matches!(marker, 0x01 | 0xd0..=0xd9) {
        return Some((marker, &[], at));
    }
    let len = usize::from(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
    let data = bytes.get(at + 2..at.checked_add(len)?)?;
    Some((marker, data, at + len))
}

fn size(data: &[u8]) -> Option<(u32, u32)> {
    let [_, h1, h0, w1, w0] = *data.first_chunk::<5>()?;
    let side = |high, low| u32::from(u16::from_be_bytes([high, low]));
    Some((side(w1, w0), side(h1, h0)))
}
