//! Tickets: one line that lets a person in.
//!
//! `hearth1` followed by base32 (RFC 4648, lower case, no padding) of canonical CBOR and a 4-byte
//! BLAKE3 checksum. It carries the commons' id, addresses of a few members and, for an
//! invite-only commons, a signed invite with its one-time secret. See `specs/identity.md`.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, BASE32_NOPAD_NOCASE};
use serde::{Deserialize, Serialize};

use crate::capacity::NodeAddrs;
use crate::charter::Invite;
use crate::codec::{self, DecodeError};
use crate::id::{CommonsId, InviteKey, NodeId, deserialize_bytes, serialize_bytes};
use crate::limits;
use crate::sign::{Domain, NodeKey, Signature, SignatureError, Signed};
use crate::unit::Timestamp;

const PREFIX: &str = "hearth1";

/// What a ticket carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// The commons it leads to.
    pub commons: CommonsId,
    /// The commons' name, for people; the charter's counts.
    pub name: String,
    /// Members to knock at.
    pub members: Vec<MemberAddrs>,
    /// Leave to enter, where that is needed.
    pub invite: Option<TicketInvite>,
}

/// A member and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberAddrs {
    /// The member.
    pub node: NodeId,
    /// Its addresses.
    pub addrs: NodeAddrs,
}

/// A signed invite with the secret that proves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TicketInvite {
    /// The invite.
    pub invite: Signed<Invite>,
    /// Seed of the invite's one-time key.
    pub secret: InviteSecret,
}

/// The secret half of an invite. Debug output never shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct InviteSecret([u8; 32]);

impl InviteSecret {
    /// Wraps a seed.
    pub const fn from_seed(seed: [u8; 32]) -> Self {
        Self(seed)
    }

    /// Returns the public half.
    pub fn public(&self) -> InviteKey {
        NodeKey::from_seed(&self.0).invite_key()
    }

    /// Proves the invite for one joiner.
    pub fn prove(&self, joiner: &NodeId) -> Signature {
        NodeKey::from_seed(&self.0).sign(Domain::InviteProof, joiner.as_bytes())
    }
}

impl fmt::Debug for InviteSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteSecret(..)")
    }
}

impl Serialize for InviteSecret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_bytes(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for InviteSecret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_bytes(deserializer).map(Self)
    }
}

/// Why a text is no usable ticket.
#[derive(Debug, thiserror::Error)]
pub enum TicketError {
    /// It does not start with `hearth1`.
    #[error("not a Hearth ticket: it should start with 'hearth1'")]
    Prefix,
    /// Far too long.
    #[error("a ticket of {got} characters; at most {max} are allowed", max = limits::TICKET_LEN_MAX)]
    TooLong {
        /// Characters found.
        got: usize,
    },
    /// Characters that base32 does not have.
    #[error("the ticket is damaged: it holds characters a ticket never has")]
    Alphabet,
    /// The checksum differs: a character was lost or changed.
    #[error("the ticket is damaged: its checksum does not match; copy the whole line again")]
    Checksum,
    /// The content is malformed.
    #[error("the ticket cannot be read")]
    Content(#[from] DecodeError),
    /// The invite's signature is bad.
    #[error("the ticket's invite has a bad signature")]
    Signature(#[from] SignatureError),
    /// The invite is for another commons than the ticket.
    #[error("the ticket's invite is for another commons")]
    OtherCommons,
    /// The secret does not belong to the invite.
    #[error("the ticket's secret does not belong to its invite")]
    Secret,
    /// Its time is over.
    #[error("the ticket expired; ask for a new one")]
    Expired {
        /// When it did.
        at: Timestamp,
    },
    /// It names nobody.
    #[error("the ticket names no member to knock at")]
    NoMembers,
}

impl Ticket {
    /// Checks everything that can be checked before anybody is asked.
    ///
    /// # Errors
    /// [`TicketError`] says which part is wrong.
    pub fn check(&self, now: Timestamp) -> Result<(), TicketError> {
        if self.members.is_empty() || self.members.len() > limits::TICKET_MEMBERS_MAX {
            return Err(TicketError::NoMembers);
        }
        let Some(ticket_invite) = &self.invite else {
            return Ok(());
        };
        let invite = ticket_invite.invite.verify()?;
        if invite.commons != self.commons {
            return Err(TicketError::OtherCommons);
        }
        if ticket_invite.secret.public() != invite.key {
            return Err(TicketError::Secret);
        }
        if invite.expires < now {
            return Err(TicketError::Expired { at: invite.expires });
        }
        Ok(())
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = codec::encode(self);
        let checksum = blake3::hash(&bytes);
        bytes.extend_from_slice(&checksum.as_bytes()[..4]);
        write!(f, "{PREFIX}{}", BASE32_NOPAD.encode(&bytes).to_lowercase())
    }
}

impl FromStr for Ticket {
    type Err = TicketError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.len() > limits::TICKET_LEN_MAX {
            return Err(TicketError::TooLong { got: text.len() });
        }
        let prefix = text.get(..PREFIX.len()).ok_or(TicketError::Prefix)?;
        if !prefix.eq_ignore_ascii_case(PREFIX) {
            return Err(TicketError::Prefix);
        }
        let bytes = BASE32_NOPAD_NOCASE
            .decode(&text.as_bytes()[PREFIX.len()..])
            .map_err(|error| match error.kind {
                data_encoding::DecodeKind::Symbol => TicketError::Alphabet,
                data_encoding::DecodeKind::Length
                | data_encoding::DecodeKind::Trailing
                | data_encoding::DecodeKind::Padding => TicketError::Checksum,
            })?;
        let (content, checksum) = bytes
            .split_at_checked(bytes.len().saturating_sub(4))
            .ok_or(TicketError::Checksum)?;
        if checksum != &blake3::hash(content).as_bytes()[..4] {
            return Err(TicketError::Checksum);
        }
        Ok(codec::decode(content, limits::TICKET_LEN_MAX)?)
    }
}
