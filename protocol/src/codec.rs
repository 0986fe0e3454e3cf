//! The one place that names CBOR: canonical packed encoding, checked on the way in.
//!
//! Canonical means: decoding and encoding again gives the same bytes. That refuses non-shortest
//! integers, indefinite lengths, tags, duplicate keys and every other second spelling in one
//! comparison. Field and variant order are the format. See `specs/wire.md`, W1 to W3.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why bytes were refused.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Longer than its kind may be; nothing was decoded.
    #[error("{got} bytes where at most {max} are allowed")]
    TooLong {
        /// Bytes found.
        got: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Not CBOR, cut off, or not of this type.
    #[error("malformed: {0}")]
    Malformed(#[source] serde_cbor::Error),
    /// Decodes, but is not the canonical spelling of what it says.
    #[error("not the canonical encoding")]
    NotCanonical,
    /// A list in it has a length or an order that it may not have.
    #[error("a list in it is too short, too long or not in order")]
    Bounds,
}

/// Encodes a value canonically.
///
/// Our types hold no maps with text keys, floats or 128-bit integers, so encoding cannot fail.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_cbor::ser::to_vec_packed(value).expect("protocol types always encode")
}

/// Decodes canonical bytes of at most `len_max`.
///
/// # Errors
/// [`DecodeError`] names the reason; nothing is allocated beyond the input's own size.
pub fn decode<T: Serialize + DeserializeOwned>(
    bytes: &[u8],
    len_max: usize,
) -> Result<T, DecodeError> {
    if bytes.len() > len_max {
        return Err(DecodeError::TooLong {
            got: bytes.len(),
            max: len_max,
        });
    }
    let value: T = serde_cbor::from_slice(bytes).map_err(DecodeError::Malformed)?;
    if encode(&value) == bytes {
        Ok(value)
    } else {
        Err(DecodeError::NotCanonical)
    }
}
