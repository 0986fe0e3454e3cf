//! Signatures: one key signs many kinds of thing, so every kind has a domain of its own.
//!
//! What is signed is `domain || canonical bytes`. Checking is always `verify_strict` and refuses
//! weak keys: the lax check accepts forgeries under small-order keys, and two nodes that disagree
//! on validity would hold two ledgers (`specs/identity.md`, I2).

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec;
use crate::id::{InviteKey, NodeId, deserialize_bytes, serialize_bytes};

/// What a signature is for; keeps one kind from passing as another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// A ledger entry's header.
    Entry,
    /// A charter.
    Charter,
    /// An invite by a member.
    Invite,
    /// Proof, by an invite's one-time key, of who may use it.
    InviteProof,
    /// A capacity advert.
    Capacity,
    /// A card.
    Card,
    /// A note about a bounty.
    Bounty,
}

impl Domain {
    const fn prefix(self) -> &'static [u8] {
        match self {
            Self::Entry => b"hearth/1/entry:",
            Self::Charter => b"hearth/1/charter:",
            Self::Invite => b"hearth/1/invite:",
            Self::InviteProof => b"hearth/1/invite-proof:",
            Self::Capacity => b"hearth/1/capacity:",
            Self::Card => b"hearth/1/card:",
            Self::Bounty => b"hearth/1/bounty:",
        }
    }

    fn message(self, bytes: &[u8]) -> Vec<u8> {
        [self.prefix(), bytes].concat()
    }
}

/// An ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

impl Signature {
    /// Wraps 64 bytes as they are.
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// Returns the 64 bytes.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl std::fmt::Debug for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signature({:02x}{:02x}..)", self.0[0], self.0[1])
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_bytes(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_bytes(deserializer).map(Self)
    }
}

/// Why a signature was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The key is no point of the curve.
    #[error("the key is not an ed25519 public key")]
    BadKey,
    /// The key is of small order: anybody could sign for it.
    #[error("the key is weak")]
    WeakKey,
    /// The signature is not this key's over these bytes.
    #[error("the signature does not match")]
    Mismatch,
}

/// A node's signing key. Debug output never shows it; memory is wiped on drop.
#[derive(Clone)]
pub struct NodeKey(SigningKey);

impl NodeKey {
    /// Derives the key pair of a 32-byte seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Returns the seed: for the two networks that share this identity, and for backups.
    pub fn seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// Returns the public name.
    pub fn id(&self) -> NodeId {
        NodeId::from_bytes(self.0.verifying_key().to_bytes())
    }

    /// Returns the public key as an invite's name, when this is a one-time invite key.
    pub fn invite_key(&self) -> InviteKey {
        InviteKey::from_bytes(self.0.verifying_key().to_bytes())
    }

    /// Signs bytes for one purpose.
    pub fn sign(&self, domain: Domain, bytes: &[u8]) -> Signature {
        Signature(self.0.sign(&domain.message(bytes)).to_bytes())
    }
}

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NodeKey({})", self.id().short())
    }
}

/// Checks a signature strictly.
///
/// # Errors
/// [`SignatureError`] says whether key or signature is at fault.
pub fn verify(
    key: &[u8; 32],
    domain: Domain,
    bytes: &[u8],
    signature: &Signature,
) -> Result<(), SignatureError> {
    let key = VerifyingKey::from_bytes(key).map_err(|_| SignatureError::BadKey)?;
    if key.is_weak() {
        return Err(SignatureError::WeakKey);
    }
    key.verify_strict(
        &domain.message(bytes),
        &ed25519_dalek::Signature::from_bytes(&signature.0),
    )
    .map_err(|_| SignatureError::Mismatch)
}

/// Something that names its signer and its domain, so that it can travel in a [`Signed`].
pub trait Signable: Serialize {
    /// The purpose of its signature.
    const DOMAIN: Domain;

    /// The node whose signature it needs.
    fn signer(&self) -> NodeId;
}

/// A value with the signature its signer made over its canonical bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed<T> {
    value: T,
    signature: Signature,
}

impl<T: Signable> Signed<T> {
    /// Signs a value; `key` must be its signer's.
    pub fn sign(value: T, key: &NodeKey) -> Self {
        assert_eq!(value.signer(), key.id(), "a node signs only for itself");
        let signature = key.sign(T::DOMAIN, &codec::encode(&value));
        Self { value, signature }
    }

    /// Puts together a value and the signature that came with it; [`verify`](Self::verify) decides.
    pub const fn from_parts(value: T, signature: Signature) -> Self {
        Self { value, signature }
    }

    /// Returns the value once its signature is checked.
    ///
    /// # Errors
    /// [`SignatureError`] says what is wrong.
    pub fn verify(&self) -> Result<&T, SignatureError> {
        let signer = self.value.signer();
        verify(
            signer.as_bytes(),
            T::DOMAIN,
            &codec::encode(&self.value),
            &self.signature,
        )?;
        Ok(&self.value)
    }

    /// Returns the value without checking: for values this process signed or checked before.
    pub const fn trusted(&self) -> &T {
        &self.value
    }

    /// Returns the signature.
    pub const fn signature(&self) -> &Signature {
        &self.signature
    }
}
