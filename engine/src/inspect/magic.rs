//! Recognises what is not safetensors by its first bytes, whatever its name says.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A file of another format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Foreign {
    /// A Python pickle, plain or in torch's archive.
    Pickle,
    /// Something else, in words.
    Format(&'static str),
}

/// Returns what a file is if it cannot be safetensors.
pub(super) fn foreign(path: &Path) -> io::Result<Option<Foreign>> {
    let mut start = [0; 16];
    let mut file = File::open(path)?;
    let mut len = 0;
    while len < start.len() {
        match file.read(&mut start[len..])? {
            0 => break,
            n => len += n,
        }
    }
    let by_magic = by_magic(&start[..len]);
    // Names are believed only where they warn.
    let extension = path
        .extension()
        .map(|e| e.to_string_lossy().to_ascii_lowercase());
    let by_name = match extension.as_deref() {
        Some("ckpt" | "pt" | "pth" | "bin" | "pkl" | "pickle") => Some(Foreign::Pickle),
        Some(_) | None => None,
    };
    Ok(by_magic.or(by_name))
}

fn by_magic(start: &[u8]) -> Option<Foreign> {
    // Protocols 2 to 5 begin with 0x80 and their number. A safetensors header of such a length has
    // its '{' at the ninth byte, a pickle does not.
    let json_follows = start.get(8) == Some(&b'{');
    match start {
        [0x80, 2..=5, ..] if !json_follows => Some(Foreign::Pickle),
        [b'P', b'K', 3 | 5, 4 | 6, ..] => Some(Foreign::Pickle),
        [b'G', b'G', b'U', b'F', ..] => Some(Foreign::Format("GGUF")),
        [b'S', b'Q', b'L', b'i', b't', b'e', ..] => Some(Foreign::Format("a Draw Things database")),
        [0x89, b'H', b'D', b'F', ..] => Some(Foreign::Format("HDF5")),
        [0x89, b'P', b'N', b'G', ..] => Some(Foreign::Format("a PNG picture")),
        [b'v', b'e', b'r', b's', b'i', b'o', b'n', b' ', ..] => Some(Foreign::Format(
            "a Git LFS pointer, not the file itself: fetch it with git lfs pull",
        )),
        [b'<', ..] => Some(Foreign::Format("a web page, probably a failed download")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pickles_are_known_by_their_first_bytes() {
        assert_eq!(by_magic(b"\x80\x02}q\x00(X\x05"), Some(Foreign::Pickle));
        assert_eq!(by_magic(b"PK\x03\x04......"), Some(Foreign::Pickle));
        assert_eq!(by_magic(b"\x80\x02\x00\x00\x00\x00\x00\x00{\"x\""), None);
        assert_eq!(by_magic(b""), None);
    }
}
