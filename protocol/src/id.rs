//! Names of things: 32-byte keys and hashes as distinct types, shown as lowercase hex.
//!
//! In CBOR an id is a byte string of 32; in JSON it is its 64 hex digits. People see
//! [`short`](NodeId::short) forms. An id that parses says nothing about existence or strength:
//! weak keys are refused where signatures are checked ([`crate::sign`]).

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdError {
    /// The text has another length than 64 hex digits.
    #[error("expected 64 hex digits, got {got} characters")]
    Length {
        /// Characters found.
        got: usize,
    },
    /// The text has a character that is no hex digit.
    #[error("not hex: only 0-9 and a-f may appear")]
    NotHex,
}

struct BytesVisitor<const N: usize>;

impl<'de, const N: usize> Visitor<'de> for BytesVisitor<N> {
    type Value = [u8; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{N} bytes, as a byte string or as {} hex digits", 2 * N)
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        <[u8; N]>::try_from(bytes).map_err(|_| E::invalid_length(bytes.len(), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let bytes = HEXLOWER_PERMISSIVE
            .decode(text.as_bytes())
            .map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))?;
        self.visit_bytes(&bytes)
    }
}

pub(crate) fn serialize_bytes<S: Serializer>(
    bytes: &[u8],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        serializer.serialize_str(&HEXLOWER_PERMISSIVE.encode(bytes))
    } else {
        serializer.serialize_bytes(bytes)
    }
}

pub(crate) fn deserialize_bytes<'de, D: Deserializer<'de>, const N: usize>(
    deserializer: D,
) -> Result<[u8; N], D::Error> {
    if deserializer.is_human_readable() {
        deserializer.deserialize_str(BytesVisitor::<N>)
    } else {
        deserializer.deserialize_bytes(BytesVisitor::<N>)
    }
}

/// Byte strings of any length, hex digits in human-readable formats.
pub(crate) mod bytes_or_hex {
    use data_encoding::HEXLOWER_PERMISSIVE;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        super::serialize_bytes(bytes, serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        if !deserializer.is_human_readable() {
            return serde_bytes::deserialize(deserializer);
        }
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        HEXLOWER_PERMISSIVE
            .decode(text.as_bytes())
            .map_err(D::Error::custom)
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Wraps 32 bytes as they are.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// Returns the 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// Returns the first 10 hex digits, for people.
            pub fn short(&self) -> String {
                HEXLOWER_PERMISSIVE.encode(&self.0[..5])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER_PERMISSIVE.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.short())
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                if text.len() != 64 {
                    return Err(ParseIdError::Length { got: text.chars().count() });
                }
                let bytes = HEXLOWER_PERMISSIVE
                    .decode(text.as_bytes())
                    .map_err(|_| ParseIdError::NotHex)?;
                <[u8; 32]>::try_from(bytes).map(Self).map_err(|_| ParseIdError::NotHex)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serialize_bytes(&self.0, serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserialize_bytes(deserializer).map(Self)
            }
        }
    };
}

id!(
    /// A node's ed25519 public key: its ledger account and its name on both networks.
    NodeId
);
id!(
    /// BLAKE3 of the canonical unsigned charter.
    CommonsId
);
id!(
    /// BLAKE3 of an entry's canonical header.
    EntryHash
);
id!(
    /// BLAKE3 of an entry's canonical body.
    BodyHash
);
id!(
    /// BLAKE3 of the canonical unsigned card.
    CardId
);
id!(
    /// BLAKE3 of the canonical unsigned note that opens a bounty.
    BountyId
);
id!(
    /// BLAKE3 of a canonical unsigned note about a bounty.
    NoteId
);
id!(
    /// BLAKE3 of a blob's bytes: the iroh-blobs hash and the hash Civitai calls BLAKE3.
    BlobHash
);
id!(
    /// The salted commitment to a job spec: names the job, tells nothing about it.
    JobId
);
id!(
    /// `BLAKE3(salt || hash)`: binds to a hash without publishing it.
    Commitment
);
id!(
    /// 32 random bytes that make a commitment unguessable.
    Salt
);
id!(
    /// SHA-256 of a whole file.
    Sha256
);
id!(
    /// The public half of an invite's one-time key.
    InviteKey
);

impl BlobHash {
    /// Hashes bytes with BLAKE3.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl Commitment {
    /// Commits to a 32-byte hash: `BLAKE3(salt || hash)`.
    pub fn to(salt: &Salt, hash: &[u8; 32]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&salt.0).update(hash);
        Self(*hasher.finalize().as_bytes())
    }
}

impl From<Commitment> for JobId {
    fn from(commitment: Commitment) -> Self {
        Self(commitment.0)
    }
}

impl From<JobId> for Commitment {
    fn from(job: JobId) -> Self {
        Self(job.0)
    }
}
