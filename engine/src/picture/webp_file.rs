//! WebP files as RIFF chunks: their texts and sizes, and how chunks are put together.

use super::format::{DecodeError, Format, TEXT_LEN_MAX};

/// Flags of a `VP8X` chunk (WebP container specification).
const ANIMATION: u8 = 0x02;
const XMP: u8 = 0x04;
const EXIF: u8 = 0x08;
/// Longest side that WebP can hold.
pub(super) const WEBP_SIDE_MAX: u32 = 16_383;
/// Most chunks that are looked at.
const CHUNKS_MAX: usize = 1 << 16;

/// What the chunks tell.
#[derive(Debug, Default)]
pub(super) struct WebpFacts<'a> {
    /// The canvas.
    pub(super) size: (u32, u32),
    /// The largest size any part claims, which is what a decoder would allocate.
    pub(super) largest: (u32, u32),
    pub(super) exif: Option<&'a [u8]>,
    pub(super) xmp: Option<&'a [u8]>,
}

/// Walks the chunks.
pub(super) fn read(bytes: &[u8]) -> Result<WebpFacts<'_>, DecodeError> {
    let mut facts = WebpFacts::default();
    for found in chunks(bytes, 12) {
        let (kind, data) = found?;
        match kind {
            b"EXIF" => {
                facts.exif.get_or_insert(data);
            }
            b"XMP " => {
                facts.xmp.get_or_insert(data);
            }
            b"ANMF" => {
                grow(&mut facts, size(kind, data)?);
                for inner in chunks(data, 16) {
                    let (kind, data) = inner?;
                    if matches!(kind, b"VP8 " | b"VP8L") {
                        grow(&mut facts, size(kind, data)?);
                    }
                }
            }
            b"VP8X" | b"VP8 " | b"VP8L" => grow(&mut facts, size(kind, data)?),
            _ => {}
        }
    }
    if facts.size == (0, 0) {
        return Err(part("the picture's header"));
    }
    facts.exif = facts.exif.filter(|exif| exif.len() <= TEXT_LEN_MAX);
    facts.xmp = facts.xmp.filter(|xmp| xmp.len() <= TEXT_LEN_MAX);
    Ok(facts)
}

fn grow(facts: &mut WebpFacts<'_>, (width, height): (u32, u32)) {
    if facts.size == (0, 0) {
        facts.size = (width, height);
    }
    let (w, h) = facts.largest;
    facts.largest = (w.max(width), h.max(height));
}

fn part(part: &'static str) -> DecodeError {
    DecodeError::Part {
        format: Format::Webp,
        part,
    }
}

type Chunk<'a> = (&'a [u8; 4], &'a [u8]);

/// Returns chunk after chunk, and an error instead of one that is cut off.
fn chunks(bytes: &[u8], start: usize) -> impl Iterator<Item = Result<Chunk<'_>, DecodeError>> {
    let mut offset = start;
    let next = move || {
        // A last padding byte may be missing.
        if offset + 1 >= bytes.len() {
            return None;
        }
        let truncated = DecodeError::Truncated {
            format: Format::Webp,
            offset,
        };
        match chunk(bytes, offset) {
            Some((kind, data, end)) => {
                offset = end;
                Some(Ok((kind, data)))
            }
            None => {
                offset = bytes.len();
                Some(Err(truncated))
            }
        }
    };
    std::iter::from_fn(next).take(CHUNKS_MAX)
}

fn chunk(bytes: &[u8], offset: usize) -> Option<(&[u8; 4], &[u8], usize)> {
    let (kind, rest) = bytes.get(offset..)?.split_first_chunk::<4>()?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
    let data = rest.get(..len)?;
    Some((kind, data, offset.checked_add(8 + len.next_multiple_of(2))?))
}

/// Reads the size a chunk claims.
fn size(kind: &[u8; 4], data: &[u8]) -> Result<(u32, u32), DecodeError> {
    let three = |at: usize| {
        let bytes = data.get(at..at + 3)?;
        Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]) + 1)
    };
    let two = |at: usize| {
        let bytes = data.get(at..at + 2)?;
        Some(u32::from(u16::from_le_bytes([bytes[0], bytes[1]]) & 0x3fff))
    };
    let lossless = || {
        let bytes: [u8; 4] = data.get(1..5)?.try_into().ok()?;
        let bits = u32::from_le_bytes(bytes);
        Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
    };
    match kind {
        b"VP8X" => three(4).zip(three(7)),
        b"ANMF" => three(6).zip(three(9)),
        b"VP8 " => two(6).zip(two(8)),
        _ => lossless(),
    }
    .ok_or_else(|| part("the picture's header"))
}

/// What goes into a file beside the pixels.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    pub(super) exif: Option<Vec<u8>>,
    pub(super) xmp: Option<String>,
}

/// Returns the chunk with the pixels of a file that an encoder wrote.
pub(super) fn pixels(file: &[u8]) -> Option<Chunk<'_>> {
    chunks(file, 12)
        .filter_map(Result::ok)
        .find(|(kind, _)| matches!(*kind, b"VP8 " | b"VP8L"))
}

/// Puts one still picture and its metadata into a file.
pub(super) fn still(size: (u32, u32), pixels: Chunk<'_>, metadata: &Metadata) -> Vec<u8> {
    let mut body = Vec::new();
    push(&mut body, pixels.0, pixels.1);
    file(size, 0, &body, metadata)
}

/// One picture of an animation.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) pixels: Chunk<'a>,
    pub(super) duration_ms: u32,
}

/// Puts full-size frames into an animation; `loops` of 0 plays for ever.
pub(super) fn animation(
    size: (u32, u32),
    frames: &[Frame<'_>],
    loops: u16,
    metadata: &Metadata,
) -> Vec<u8> {
    let mut body = Vec::new();
    // Background: transparent; frames cover all of it.
    let mut head = vec![0; 4];
    head.extend(loops.to_le_bytes());
    push(&mut body, b"ANIM", &head);
    for frame in frames {
        let mut data = Vec::with_capacity(frame.pixels.1.len() + 24);
        for value in [0, 0, size.0 - 1, size.1 - 1, frame.duration_ms] {
            data.extend(&value.to_le_bytes()[..3]);
        }
        // No blending with the frame before: each is whole.
        data.push(0x02);
        push(&mut data, frame.pixels.0, frame.pixels.1);
        push(&mut body, b"ANMF", &data);
    }
    file(size, ANIMATION, &body, metadata)
}

fn file(size: (u32, u32), flags: u8, body: &[u8], metadata: &Metadata) -> Vec<u8> {
    let has = |flag, part: bool| if part { flag } else { 0 };
    let flags = flags | has(EXIF, metadata.exif.is_some()) | has(XMP, metadata.xmp.is_some());
    let mut bytes = b"RIFF\0\0\0\0WEBP".to_vec();
    let mut head = vec![flags, 0, 0, 0];
    head.extend(&(size.0 - 1).to_le_bytes()[..3]);
    head.extend(&(size.1 - 1).to_le_bytes()[..3]);
    push(&mut bytes, b"VP8X", &head);
    bytes.extend(body);
    if let Some(exif) = &metadata.exif {
        push(&mut bytes, b"EXIF", exif);
    }
    if let Some(xmp) = &metadata.xmp {
        push(&mut bytes, b"XMP ", xmp.as_bytes());
    }
    let len = length(bytes.len() - 8);
    bytes[4..8].copy_from_slice(&len);
    bytes
}

fn push(bytes: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    bytes.extend(kind);
    bytes.extend(length(data.len()));
    bytes.extend(data);
    if data.len() % 2 == 1 {
        bytes.push(0);
    }
}

/// A length field. Files stay far below 4 GiB: a picture's sides and an animation's frames are
/// bounded.
fn length(len: usize) -> [u8; 4] {
    u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes()
}
