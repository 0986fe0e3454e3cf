//! Frames of a comparison: ranges of authors by the bits their keys begin with, packed.
//!
//! A part is its kind (1 byte), its prefix (bits as 1 byte, then as many bytes as they need, the
//! unused low bits zero) and its content: for prints the number of bits that divide the prefix
//! (1 byte) and a print for each child; for names their number (2 bytes, little-endian) and the
//! names.

use hearth_protocol::id::NodeId;
use hearth_protocol::limits;

use super::{Name, PARTS_MAX, PRINT_LEN};

/// Most names of one part: a range that cannot be divided any more, made on purpose.
pub(super) const NAMES_MAX: usize = 2_048;
/// Most bits that divide a prefix at once.
const BITS_MAX: u8 = 8;
/// Longest prefix in bits: honest keys differ long before.
const PREFIX_MAX: u8 = 128;

/// Why bytes are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// It ends within a part.
    #[error("the frame ends within a part")]
    Short,
    /// A part of a kind nobody knows.
    #[error("a part is of no known kind")]
    Kind,
    /// A prefix that is too long or has bits beyond its end.
    #[error("a prefix is too long or not in its one form")]
    Prefix,
    /// More than a frame may hold.
    #[error("the frame holds more than it may")]
    TooMany,
}

/// The first bits of an author's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prefix {
    bits: u8,
    key: [u8; 16],
}

/// What one side says of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// Fingerprints of its children, by so many further bits.
    Prints(Prefix, u8, Vec<Name>),
    /// Every author in it.
    Names(Prefix, Vec<Name>),
    /// Authors of it to be shown in full.
    Wanted(Prefix, Vec<Name>),
}

fn mask(bits: u8) -> u128 {
    if bits == 0 {
        0
    } else {
        u128::MAX << (128 - u32::from(bits.min(128)))
    }
}

impl Prefix {
    pub(super) const ALL: Self = Self {
        bits: 0,
        key: [0; 16],
    };

    fn value(&self) -> u128 {
        u128::from_be_bytes(self.key)
    }

    fn start_of(author: &NodeId) -> u128 {
        let mut start = [0; 16];
        start.copy_from_slice(&author.as_bytes()[..16]);
        u128::from_be_bytes(start)
    }

    /// Returns whether the prefix lies after a key.
    pub(super) fn is_after(&self, author: &NodeId) -> bool {
        Self::start_of(author) & mask(self.bits) < self.value()
    }

    pub(super) fn covers(&self, author: &NodeId) -> bool {
        Self::start_of(author) & mask(self.bits) == self.value()
    }

    pub(super) const fn has_children(&self, bits: u8) -> bool {
        self.bits + bits <= PREFIX_MAX
    }

    /// Returns the prefixes longer by so many bits, in order.
    pub(super) fn children(self, bits: u8) -> impl Iterator<Item = Self> {
        let longer = self.bits + bits;
        (0..1_u128 << bits).map(move |child| Self {
            bits: longer,
            key: (self.value() | child << (128 - u32::from(longer))).to_be_bytes(),
        })
    }

    fn len(bits: u8) -> usize {
        usize::from(bits).div_ceil(8)
    }
}

/// Packs parts, as many as a frame may carry: the rest waits for the next session.
pub(super) fn encode(parts: &[Part]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        let whole = bytes.len();
        pack(part, &mut bytes);
        if bytes.len() > limits::COMPARE_LEN_MAX {
            bytes.truncate(whole);
            break;
        }
    }
    bytes
}

fn pack(part: &Part, bytes: &mut Vec<u8>) {
    let (kind, prefix) = match part {
        Part::Prints(prefix, ..) => (0, prefix),
        Part::Names(prefix, _) => (1, prefix),
        Part::Wanted(prefix, _) => (2, prefix),
    };
    bytes.extend([kind, prefix.bits]);
    bytes.extend(&prefix.key[..Prefix::len(prefix.bits)]);
    let names = match part {
        Part::Prints(_, bits, prints) => {
            bytes.push(*bits);
            prints
        }
        Part::Names(_, names) | Part::Wanted(_, names) => {
            let count = u16::try_from(names.len()).unwrap_or(u16::MAX);
            bytes.extend(count.to_le_bytes());
            names
        }
    };
    bytes.extend(names.iter().flatten());
}

/// Takes bytes off the front.
fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Result<&'a [u8], FrameError> {
    let (head, tail) = bytes.split_at_checked(len).ok_or(FrameError::Short)?;
    *bytes = tail;
    Ok(head)
}

fn take_names(bytes: &mut &[u8], count: usize) -> Result<Vec<Name>, FrameError> {
    let names = take(bytes, count * PRINT_LEN)?.chunks_exact(PRINT_LEN);
    Ok(names
        .map(|name| name.try_into().expect("exact chunks"))
        .collect())
}

fn take_prefix(bytes: &mut &[u8]) -> Result<Prefix, FrameError> {
    let bits = take(bytes, 1)?[0];
    if bits > PREFIX_MAX {
        return Err(FrameError::Prefix);
    }
    let mut key = [0; 16];
    let len = Prefix::len(bits);
    key[..len].copy_from_slice(take(bytes, len)?);
    let prefix = Prefix { bits, key };
    if prefix.value() & !mask(bits) == 0 {
        Ok(prefix)
    } else {
        Err(FrameError::Prefix)
    }
}

/// Reads a frame of at most `PARTS_MAX` parts.
pub(super) fn decode(mut bytes: &[u8]) -> Result<Vec<Part>, FrameError> {
    let mut parts = Vec::new();
    while !bytes.is_empty() {
        if parts.len() >= PARTS_MAX {
            return Err(FrameError::TooMany);
        }
        let kind = take(&mut bytes, 1)?[0];
        let prefix = take_prefix(&mut bytes)?;
        parts.push(match kind {
            0 => {
                let bits = take(&mut bytes, 1)?[0];
                if bits == 0 || bits > BITS_MAX || !prefix.has_children(bits) {
                    return Err(FrameError::Prefix);
                }
                Part::Prints(prefix, bits, take_names(&mut bytes, 1 << bits)?)
            }
            1 | 2 => {
                let count = take(&mut bytes, 2)?;
                let count = usize::from(u16::from_le_bytes([count[0], count[1]]));
                if count > NAMES_MAX {
                    return Err(FrameError::TooMany);
                }
                let names = take_names(&mut bytes, count)?;
                if kind == 1 {
                    Part::Names(prefix, names)
                } else {
                    Part::Wanted(prefix, names)
                }
            }
            _ => return Err(FrameError::Kind),
        });
    }
    Ok(parts)
}
