//! The safetensors header: read with bounds, then held against the size of the file.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::io::{self, Read};

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use thiserror::Error;

/// Longest header read. The format allows 100 MB; real ones stay below 2 MB, and parsing costs
/// several times the length in memory.
const HEADER_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Most dimensions of a tensor.
const DIMENSIONS_MAX: usize = 8;

/// What is wrong with a header.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum HeaderError {
    /// Fewer than the eight bytes that state the header's length.
    #[error(
        "it is {size} bytes long, too short for a header; it was probably cut off: get it again"
    )]
    TooShort {
        /// Length of the file in bytes.
        size: u64,
    },
    /// The stated header length is over the bound.
    #[error(
        "its header claims {length} bytes, over the {HEADER_BYTES_MAX} allowed; it is not a safetensors file or was tampered with"
    )]
    HeaderTooLong {
        /// The stated length in bytes.
        length: u64,
    },
    /// The header ends after the file does.
    #[error(
        "its header claims {length} bytes but the file has {size}; it was cut off: get it again"
    )]
    HeaderCut {
        /// The stated length in bytes.
        length: u64,
        /// Length of the file in bytes.
        size: u64,
    },
    /// The header is not the JSON object the format asks for.
    #[error("its header is not the JSON of the format ({reason}); it is damaged or another format")]
    NotJson {
        /// The JSON parser's finding.
        reason: String,
    },
    /// A tensor's element type is not one of the format's.
    #[error("tensor {tensor} has the unknown element type {dtype}; a newer Hearth may know it")]
    UnknownDtype {
        /// The tensor's name.
        tensor: String,
        /// The type as written.
        dtype: String,
    },
    /// A tensor's shape needs other bytes than its offsets give.
    #[error(
        "tensor {tensor} of shape {shape:?} has {got} bytes; the file is damaged: get it again"
    )]
    WrongSize {
        /// The tensor's name.
        tensor: String,
        /// Its dimensions.
        shape: Vec<u64>,
        /// Bytes between its offsets, or 0 if they run backwards.
        got: u64,
    },
    /// Two tensors share bytes.
    #[error("tensor {tensor} overlaps another one; the file was tampered with: refuse it")]
    Overlap {
        /// The later tensor's name.
        tensor: String,
    },
    /// Bytes belong to no tensor.
    #[error(
        "bytes {from}..{to} of its data belong to no tensor; the file was tampered with: refuse it"
    )]
    Hole {
        /// Start of the hole within the data.
        from: u64,
        /// Its end.
        to: u64,
    },
    /// The tensors need more data than the file has.
    #[error(
        "its tensors need {expected} bytes but the file has {size}; it was cut off: get it again"
    )]
    DataCut {
        /// Length the file should have, in bytes.
        expected: u64,
        /// Length it has.
        size: u64,
    },
}

pub(super) enum ReadError {
    Io(io::Error),
    Header(HeaderError),
}

/// Element types of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dtype {
    /// One byte, 0 or 1.
    Bool,
    /// Unsigned byte.
    U8,
    /// Signed byte.
    I8,
    /// 8-bit float, 4 bits exponent.
    F8E4m3,
    /// 8-bit float, 5 bits exponent.
    F8E5m2,
    /// 16-bit signed.
    I16,
    /// 16-bit unsigned.
    U16,
    /// IEEE half.
    F16,
    /// Brain float.
    Bf16,
    /// 32-bit signed.
    I32,
    /// 32-bit unsigned.
    U32,
    /// IEEE single.
    F32,
    /// IEEE double.
    F64,
    /// 64-bit signed.
    I64,
    /// 64-bit unsigned.
    U64,
}

impl Dtype {
    /// Returns the name the format has for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::U8 => "U8",
            Self::I8 => "I8",
            Self::F8E4m3 => "F8_E4M3",
            Self::F8E5m2 => "F8_E5M2",
            Self::I16 => "I16",
            Self::U16 => "U16",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::I32 => "I32",
            Self::U32 => "U32",
            Self::F32 => "F32",
            Self::F64 => "F64",
            Self::I64 => "I64",
            Self::U64 => "U64",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "BOOL" => Self::Bool,
            "U8" => Self::U8,
            "I8" => Self::I8,
            "F8_E4M3" => Self::F8E4m3,
            "F8_E5M2" => Self::F8E5m2,
            "I16" => Self::I16,
            "U16" => Self::U16,
            "F16" => Self::F16,
            "BF16" => Self::Bf16,
            "I32" => Self::I32,
            "U32" => Self::U32,
            "F32" => Self::F32,
            "F64" => Self::F64,
            "I64" => Self::I64,
            "U64" => Self::U64,
            _ => return None,
        })
    }

    /// Returns how many bytes an element takes.
    pub(crate) fn width(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 | Self::F8E4m3 | Self::F8E5m2 => 1,
            Self::I16 | Self::U16 | Self::F16 | Self::Bf16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }

    /// Returns the name people know: `f16`, `bf16` and so on.
    pub fn label(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::F8E4m3 => "f8_e4m3",
            Self::F8E5m2 => "f8_e5m2",
            Self::I16 => "i16",
            Self::U16 => "u16",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::I32 => "i32",
            Self::U32 => "u32",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::I64 => "i64",
            Self::U64 => "u64",
        }
    }
}

/// Where a tensor lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TensorEntry {
    /// Type of its elements.
    pub(crate) dtype: Dtype,
    /// Its dimensions, outermost first.
    pub(crate) shape: Vec<usize>,
    pub(super) start: u64,
    pub(super) end: u64,
}

impl TensorEntry {
    /// Returns how many elements it has.
    pub(crate) fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A header that describes its file exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TensorHeader {
    /// The `__metadata__` map.
    pub(crate) metadata: BTreeMap<String, String>,
    /// The tensors by name.
    pub(crate) tensors: BTreeMap<String, TensorEntry>,
    /// Offset of the data in the file.
    pub(crate) data_start: u64,
}

impl TensorHeader {
    /// Reads the header at the start of a file of `size` bytes and checks it against that size.
    pub(super) fn read(file: &mut impl Read, size: u64) -> Result<Self, ReadError> {
        let refuse = |error| Err(ReadError::Header(error));
        if size < 8 {
            return refuse(HeaderError::TooShort { size });
        }
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(ReadError::Io)?;
        let length = u64::from_le_bytes(length);
        if length > HEADER_BYTES_MAX {
            return refuse(HeaderError::HeaderTooLong { length });
        }
        if length > size - 8 {
            return refuse(HeaderError::HeaderCut { length, size });
        }
        let mut json = Vec::new();
        file.take(length)
            .read_to_end(&mut json)
            .map_err(ReadError::Io)?;
        Self::parse(&json, size).map_err(ReadError::Header)
    }

    fn parse(json: &[u8], size: u64) -> Result<Self, HeaderError> {
        let raw: RawHeader =
            serde_json::from_slice(json).map_err(|error| HeaderError::NotJson {
                reason: error.to_string(),
            })?;
        let data_start = 8 + json.len() as u64;
        let mut tensors = BTreeMap::new();
        for (name, raw) in raw.tensors {
            let entry = raw.check(&name)?;
            tensors.insert(name, entry);
        }
        check_coverage(&tensors, size - data_start, data_start)?;
        Ok(Self {
            metadata: raw.metadata,
            tensors,
            data_start,
        })
    }
}

/// Checks that the tensors cover `len` bytes of data exactly once.
fn check_coverage(
    tensors: &BTreeMap<String, TensorEntry>,
    len: u64,
    data_start: u64,
) -> Result<(), HeaderError> {
    let mut by_start: Vec<_> = tensors.iter().collect();
    by_start.sort_by_key(|(_, entry)| (entry.start, entry.end));
    let mut at = 0;
    for (name, entry) in by_start {
        if entry.start < at {
            return Err(HeaderError::Overlap {
                tensor: name.clone(),
            });
        }
        if entry.start > at {
            return Err(HeaderError::Hole {
                from: at,
                to: entry.start,
            });
        }
        at = entry.end;
    }
    if at > len {
        let expected = data_start.saturating_add(at);
        return Err(HeaderError::DataCut {
            expected,
            size: data_start + len,
        });
    }
    if at < len {
        return Err(HeaderError::Hole { from: at, to: len });
    }
    Ok(())
}

struct RawHeader {
    metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, RawTensor>,
}

#[derive(Deserialize)]
struct RawTensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl RawTensor {
    fn check(self, name: &str) -> Result<TensorEntry, HeaderError> {
        let Some(dtype) = Dtype::parse(&self.dtype) else {
            return Err(HeaderError::UnknownDtype {
                tensor: name.to_owned(),
                dtype: self.dtype,
            });
        };
        let (start, end) = self.data_offsets;
        let bytes = self
            .shape
            .iter()
            .try_fold(dtype.width() as u64, |n, d| n.checked_mul(*d));
        // A zero must not hide dimensions whose product overflows.
        let others = self.shape.iter().map(|d| (*d).max(1));
        let bytes = others
            .into_iter()
            .try_fold(8_u64, u64::checked_mul)
            .and(bytes);
        let shape: Option<Vec<usize>> = self
            .shape
            .iter()
            .map(|d| usize::try_from(*d).ok())
            .collect();
        match (shape, end.checked_sub(start)) {
            (Some(shape), got)
                if got == bytes && got.is_some() && shape.len() <= DIMENSIONS_MAX =>
            {
                Ok(TensorEntry {
                    dtype,
                    shape,
                    start,
                    end,
                })
            }
            (Some(_) | None, got) => Err(HeaderError::WrongSize {
                tensor: name.to_owned(),
                shape: self.shape,
                got: got.unwrap_or(0),
            }),
        }
    }
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RawHeaderVisitor)
    }
}

/// Collects the entries and refuses a name that comes twice, which a map would hide.
struct RawHeaderVisitor;

impl<'de> Visitor<'de> for RawHeaderVisitor {
    type Value = RawHeader;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
        let mut header = RawHeader {
            metadata: BTreeMap::new(),
            tensors: BTreeMap::new(),
        };
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                header.metadata = map.next_value()?;
                continue;
            }
            match header.tensors.entry(name) {
                Entry::Vacant(place) => place.insert(map.next_value()?),
                Entry::Occupied(place) => {
                    let twice = format_args!("tensor {} comes twice", place.key()).to_string();
                    return Err(de::Error::custom(twice));
                }
            };
        }
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str, data: u64) -> Result<TensorHeader, HeaderError> {
        TensorHeader::parse(json.as_bytes(), 8 + json.len() as u64 + data)
    }

    #[test]
    fn sound_header_gives_its_tensors_and_metadata() {
        let json = r#"{"__metadata__":{"a":"b"},
            "x":{"dtype":"F16","shape":[2,3],"data_offsets":[0,12]},
            "y":{"dtype":"F32","shape":[],"data_offsets":[12,16]}}"#;
        let header = parse(json, 16).unwrap();
        assert_eq!(header.metadata["a"], "b");
        assert_eq!(header.tensors["x"].elements(), 6);
        assert_eq!(header.tensors["y"].elements(), 1);
    }

    #[test]
    fn every_lie_about_the_data_is_named() {
        let one = |dtype: &str, shape: &str, offsets: &str| {
            format!(r#"{{"x":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
        };
        let two = |second: &str| {
            format!(
                r#"{{"x":{{"dtype":"U8","shape":[4],"data_offsets":[0,4]}},
                    "y":{{"dtype":"U8","shape":[4],"data_offsets":{second}}}}}"#
            )
        };
        let huge = one("F32", "[4294967296,4294967296,2]", "[0,8]");
        let error = |json: &str, data| parse(json, data).unwrap_err();
        assert!(matches!(
            error(&one("F32", "[2]", "[0,8]"), 4),
            HeaderError::DataCut { .. }
        ));
        assert!(matches!(
            error(&one("F32", "[2]", "[0,8]"), 9),
            HeaderError::Hole { .. }
        ));
        assert!(matches!(
            error(&one("F99", "[2]", "[0,8]"), 8),
            HeaderError::UnknownDtype { .. }
        ));
        assert!(matches!(
            error(&one("F32", "[3]", "[0,8]"), 8),
            HeaderError::WrongSize { .. }
        ));
        assert!(matches!(
            error(&one("F32", "[2]", "[8,0]"), 8),
            HeaderError::WrongSize { .. }
        ));
        assert!(matches!(error(&huge, 8), HeaderError::WrongSize { .. }));
        assert!(matches!(
            error(&two("[2,6]"), 8),
            HeaderError::Overlap { .. }
        ));
        assert!(matches!(
            error(&two("[6,10]"), 10),
            HeaderError::Hole { .. }
        ));
        assert!(matches!(error("[]", 0), HeaderError::NotJson { .. }));
    }

    #[test]
    fn name_that_comes_twice_is_refused() {
        let json = r#"{"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},
                       "x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#;
        assert!(matches!(parse(json, 0), Err(HeaderError::NotJson { .. })));
    }
}
