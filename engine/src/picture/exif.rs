//! EXIF: the few tags that carry a picture's text and its orientation, read and written.
//!
//! EXIF is a TIFF file without pixels (EXIF 2.32, section 4). Tags are 12-byte entries in
//! directories; a user comment begins with eight bytes that name its encoding.

/// Most entries of one directory that are looked at.
const ENTRIES_MAX: u16 = 512;

const ORIENTATION: u16 = 0x0112;
const EXIF_DIRECTORY: u16 = 0x8769;
const SOFTWARE: u16 = 0x0131;
const EXIF_VERSION: u16 = 0x9000;
const USER_COMMENT: u16 = 0x9286;

/// Tags whose text is kept, under the names of the standard.
const TEXTS: [(u16, &str); 8] = [
    (0x010e, "ImageDescription"),
    (0x010f, "Make"),
    (0x0110, "Model"),
    (SOFTWARE, "Software"),
    (0x013b, "Artist"),
    (0x8298, "Copyright"),
    (0x927c, "MakerNote"),
    (USER_COMMENT, "UserComment"),
];

/// What EXIF tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Exif {
    /// 1 to 8, as the standard counts; 1 is upright.
    pub(super) orientation: Option<u8>,
    /// Texts by the standard's names.
    pub(super) texts: Vec<(&'static str, String)>,
}

/// Reads EXIF, with or without its `Exif\0\0` mark. Nonsense reads as far as it makes sense.
pub(super) fn read(bytes: &[u8]) -> Exif {
    let bytes = bytes.strip_prefix(b"Exif\0\0").unwrap_or(bytes);
    let big = match bytes.get(..4) {
        Some(b"MM\0*") => true,
        Some(b"II*\0") => false,
        Some(_) | None => return Exif::default(),
    };
    let tiff = Tiff { bytes, big };
    let mut exif = Exif::default();
    let Some(root) = tiff.u32(4) else {
        return exif;
    };
    if let Some(inner) = tiff.directory(root, &mut exif) {
        // A directory that names itself again would not be followed twice.
        tiff.directory(inner, &mut exif);
    }
    exif
}

struct Tiff<'a> {
    bytes: &'a [u8],
    big: bool,
}

impl Tiff<'_> {
    fn at<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let end = offset.checked_add(N)?;
        self.bytes.get(offset..end)?.try_into().ok()
    }

    fn u16(&self, offset: usize) -> Option<u16> {
        let bytes = self.at(offset)?;
        Some(if self.big {
            u16::from_be_bytes(bytes)
        } else {
            u16::from_le_bytes(bytes)
        })
    }

    fn u32(&self, offset: usize) -> Option<usize> {
        let bytes = self.at(offset)?;
        let value = if self.big {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        };
        usize::try_from(value).ok()
    }

    /// Reads one directory and returns where the EXIF directory inside it lies.
    fn directory(&self, offset: usize, exif: &mut Exif) -> Option<usize> {
        let count = self.u16(offset)?.min(ENTRIES_MAX);
        let mut inner = None;
        for i in 0..usize::from(count) {
            let entry = offset.checked_add(2 + 12 * i)?;
            let tag = self.u16(entry)?;
            let name = TEXTS.iter().find(|(known, _)| *known == tag);
            if tag == ORIENTATION {
                let value = self.u16(entry + 8)?;
                exif.orientation = u8::try_from(value).ok().filter(|n| (1..=8).contains(n));
            } else if tag == EXIF_DIRECTORY {
                inner = self.u32(entry + 8);
            } else if let Some((_, name)) = name
                && exif.texts.iter().all(|(known, _)| known != name)
                && let Some(value) = self.value(entry)
            {
                let text = if tag == USER_COMMENT {
                    comment(value, self.big)
                } else {
                    ascii(value)
                };
                exif.texts.push((name, text));
            }
        }
        inner
    }

    /// Returns the bytes of a value of single bytes (types BYTE, ASCII, UNDEFINED).
    fn value(&self, entry: usize) -> Option<&[u8]> {
        if !matches!(self.u16(entry + 2)?, 1 | 2 | 7) {
            return None;
        }
        let len = self.u32(entry + 4)?;
        let start = if len <= 4 {
            entry + 8
        } else {
            self.u32(entry + 8)?
        };
        self.bytes.get(start..start.checked_add(len)?)
    }
}

fn ascii(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    text.trim_end_matches('\0').to_owned()
}

/// Reads a user comment. `UNICODE` says UTF-16 but not in which order: the order is the one in
/// which more units are below 256, else the file's own.
fn comment(value: &[u8], big: bool) -> String {
    let Some((mark, text)) = value.split_at_checked(8) else {
        return ascii(value);
    };
    match mark {
        b"UNICODE\0" => utf16(text, big),
        b"ASCII\0\0\0" | b"\0\0\0\0\0\0\0\0" | b"JIS\0\0\0\0\0" => ascii(text),
        _ => ascii(value),
    }
}

fn utf16(text: &[u8], big: bool) -> String {
    let (text, big) = match text {
        [0xfe, 0xff, rest @ ..] => (rest, true),
        [0xff, 0xfe, rest @ ..] => (rest, false),
        _ => {
            let zeros = |offset| {
                let bytes = text.iter().skip(offset).step_by(2);
                bytes.filter(|byte| **byte == 0).count()
            };
            match zeros(0).cmp(&zeros(1)) {
                std::cmp::Ordering::Greater => (text, true),
                std::cmp::Ordering::Less => (text, false),
                std::cmp::Ordering::Equal => (text, big),
            }
        }
    };
    let unit = |pair: &[u8]| {
        let pair = [pair[0], pair[1]];
        if big {
            u16::from_be_bytes(pair)
        } else {
            u16::from_le_bytes(pair)
        }
    };
    let units: Vec<_> = text.chunks_exact(2).map(unit).collect();
    String::from_utf16_lossy(&units)
        .trim_end_matches('\0')
        .to_owned()
}

/// Writes EXIF with a user comment in big-endian UTF-16, as A1111 (piexif) does, and the program's
/// name. Without the `Exif\0\0` mark.
pub(super) fn write(software: &str, user_comment: &str) -> Vec<u8> {
    let mut software: Vec<u8> = software.bytes().collect();
    software.push(0);
    let mut text = b"UNICODE\0".to_vec();
    text.extend(user_comment.encode_utf16().flat_map(u16::to_be_bytes));
    // Header, root directory of two entries, its text, EXIF directory of two entries, its text.
    let software_at = 8 + 2 + 2 * 12 + 4;
    let inner_at = (software_at + software.len()).next_multiple_of(2);
    let text_at = inner_at + 2 + 2 * 12 + 4;
    let mut bytes = b"MM\0*\0\0\0\x08".to_vec();
    directory(
        &mut bytes,
        [
            (SOFTWARE, 2, software.len(), offset(software_at)),
            (EXIF_DIRECTORY, 4, 1, offset(inner_at)),
        ],
    );
    bytes.append(&mut software);
    bytes.resize(inner_at, 0);
    directory(
        &mut bytes,
        [
            (EXIF_VERSION, 7, 4, *b"0232"),
            (USER_COMMENT, 7, text.len(), offset(text_at)),
        ],
    );
    bytes.append(&mut text);
    bytes
}

fn directory(bytes: &mut Vec<u8>, entries: [(u16, u16, usize, [u8; 4]); 2]) {
    bytes.extend(2_u16.to_be_bytes());
    for (tag, kind, count, value) in entries {
        bytes.extend(tag.to_be_bytes());
        bytes.extend(kind.to_be_bytes());
        bytes.extend(offset(count));
        bytes.extend(value);
    }
    // No further directory.
    bytes.extend(0_u32.to_be_bytes());
}

/// A place or length. Texts are far shorter than 4 GiB.
fn offset(n: usize) -> [u8; 4] {
    u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_survives_in_any_script() {
        for text in [
            "a cat",
            "größe",
            "猫、犬",
            "\u{1f408} and \"quotes\"\nlines",
            "",
        ] {
            let exif = read(&write("Hearth", text));
            assert_eq!(
                exif.texts,
                [
                    ("Software", "Hearth".to_owned()),
                    ("UserComment", text.to_owned())
                ]
            );
        }
    }

    #[test]
    fn comments_in_the_other_byte_order_are_read() {
        let little: Vec<u8> = "a cat".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let value = [b"UNICODE\0".as_slice(), &little].concat();
        assert_eq!(comment(&value, true), "a cat");
        assert_eq!(comment(b"ASCII\0\0\0a cat\0", true), "a cat");
        assert_eq!(comment(b"odd", true), "odd");
    }

    #[test]
    fn every_cut_and_every_flipped_byte_is_survived() {
        let bytes = write("Hearth", "a cat");
        for end in 0..bytes.len() {
            read(&bytes[..end]);
        }
        for i in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = bytes.clone();
                bytes[i] = value;
                read(&bytes);
            }
        }
    }
}
