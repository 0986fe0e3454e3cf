//! PNG files as a row of chunks: their texts, their size, and how texts are put in.

use std::io::Read;

use flate2::read::ZlibDecoder;

use super::format::{DecodeError, Format, TEXT_LEN_MAX, TEXTS_MAX};

/// Keyword under which XMP lies.
pub(super) const XMP_KEYWORD: &str = "XML:com.adobe.xmp";

/// What the chunks tell.
#[derive(Debug, Default)]
pub(super) struct PngFacts<'a> {
    pub(super) size: (u32, u32),
    /// Keyword and text of `tEXt`, `zTXt` and `iTXt`, in the file's order.
    pub(super) texts: Vec<(String, String)>,
    pub(super) exif: Option<&'a [u8]>,
    /// Texts that could not be unpacked.
    pub(super) damaged: Vec<String>,
}

/// Walks the chunks. Texts that are damaged or too long are named, not read.
pub(super) fn read(bytes: &[u8]) -> Result<PngFacts<'_>, DecodeError> {
    let mut facts = PngFacts::default();
    let mut offset = 8;
    // Some writers leave out the end; what was there until then is good.
    while offset < bytes.len() {
        let chunk = Chunk::at(bytes, offset)?;
        if offset == 8 {
            facts.size = header(&chunk)?;
        }
        match chunk.kind {
            b"tEXt" | b"zTXt" | b"iTXt" if facts.texts.len() + facts.damaged.len() < TEXTS_MAX => {
                take(&mut facts, &chunk);
            }
            b"eXIf" if chunk.data.len() <= TEXT_LEN_MAX => facts.exif = Some(chunk.data),
            b"IEND" => break,
            _ => {}
        }
        offset = chunk.end;
    }
    if facts.size == (0, 0) {
        return Err(part("IHDR"));
    }
    Ok(facts)
}

struct Chunk<'a> {
    kind: &'a [u8; 4],
    data: &'a [u8],
    is_sound: bool,
    end: usize,
}

impl<'a> Chunk<'a> {
    fn at(bytes: &'a [u8], offset: usize) -> Result<Self, DecodeError> {
        Self::cut(bytes, offset).ok_or(DecodeError::Truncated {
            format: Format::Png,
            offset,
        })
    }

    fn cut(bytes: &'a [u8], offset: usize) -> Option<Self> {
        let (len, rest) = bytes.get(offset..)?.split_first_chunk::<4>()?;
        let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
        let (kind, rest) = rest.split_first_chunk::<4>()?;
        let (data, rest) = rest.split_at_checked(len)?;
        let sum = u32::from_be_bytes(*rest.first_chunk::<4>()?);
        let mut crc = crc32fast::Hasher::new();
        // Pixels are checked by whoever decodes them.
        let is_sound = kind == b"IDAT" || {
            crc.update(kind);
            crc.update(data);
            crc.finalize() == sum
        };
        Some(Self {
            kind,
            data,
            is_sound,
            end: offset + 12 + len,
        })
    }
}

fn header(chunk: &Chunk<'_>) -> Result<(u32, u32), DecodeError> {
    let side = |at: usize| {
        let bytes: [u8; 4] = chunk.data.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_be_bytes(bytes))
    };
    match (chunk.kind, side(0), side(4)) {
        (b"IHDR", Some(width), Some(height)) => Ok((width, height)),
        _ => Err(part("IHDR")),
    }
}

fn part(part: &'static str) -> DecodeError {
    DecodeError::Part {
        format: Format::Png,
        part,
    }
}

fn take(facts: &mut PngFacts<'_>, chunk: &Chunk<'_>) {
    let text = text(chunk).filter(|_| chunk.is_sound);
    match text {
        Some(text) => facts.texts.push(text),
        None => {
            let (keyword, _) = cut(chunk.data).unwrap_or((chunk.data, &[]));
            facts
                .damaged
                .push(latin1(&keyword[..keyword.len().min(79)]));
        }
    }
}

/// Reads a text chunk (PNG third edition, 11.3.3).
fn text(chunk: &Chunk<'_>) -> Option<(String, String)> {
    let (keyword, rest) = cut(chunk.data)?;
    let text = match chunk.kind {
        b"tEXt" => bounded(rest).map(latin1)?,
        // One byte says how it is packed; zlib is the one way.
        b"zTXt" => latin1(&unpack(rest.strip_prefix(&[0])?)?),
        _ => {
            let (flags, rest) = rest.split_first_chunk::<2>()?;
            let (_language, rest) = cut(rest)?;
            let (_translated, rest) = cut(rest)?;
            let bytes = match flags {
                [0, _] => bounded(rest)?.to_vec(),
                [1, 0] => unpack(rest)?,
                _ => return None,
            };
            String::from_utf8_lossy(&bytes).into_owned()
        }
    };
    Some((latin1(keyword), text))
}

/// Cuts at the first zero byte.
fn cut(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == 0)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

fn bounded(bytes: &[u8]) -> Option<&[u8]> {
    (bytes.len() <= TEXT_LEN_MAX).then_some(bytes)
}

fn unpack(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut unpacked = Vec::new();
    let max = u64::try_from(TEXT_LEN_MAX).ok()?;
    ZlibDecoder::new(bytes)
        .take(max + 1)
        .read_to_end(&mut unpacked)
        .ok()?;
    (unpacked.len() <= TEXT_LEN_MAX).then_some(unpacked)
}

/// `tEXt` is Latin-1 by the book, but some programs write UTF-8 into it.
fn latin1(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// Adds a text: Latin-1 where it suffices, as A1111 writes it; UTF-8 otherwise.
pub(super) fn add_text<W: std::io::Write>(
    encoder: &mut png::Encoder<'_, W>,
    keyword: &str,
    text: &str,
) -> Result<(), png::EncodingError> {
    // Two Latin-1 letters may look like UTF-8 to a reader that guesses, so only ASCII is safe.
    if text.is_ascii() && !text.contains('\0') {
        encoder.add_text_chunk(keyword.to_owned(), text.to_owned())
    } else {
        encoder.add_itxt_chunk(keyword.to_owned(), text.to_owned())
    }
}
