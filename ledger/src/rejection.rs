//! Why an entry is no part of any chain.
//!
//! These are the rules of the first layer: they need the entry, its predecessor and the charter,
//! so every node decides alike. What an entry of a chain *does* is the second layer's business
//! ([`crate::standing`]).

use hearth_protocol::sign::SignatureError;

/// Why an entry is refused. Codes are stable (`specs/ledger.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// It belongs to another commons.
    #[error("the entry belongs to another commons")]
    OtherCommons,
    /// The author's key or signature is wrong.
    #[error("the entry's signature: {0}")]
    Signature(SignatureError),
    /// The body is longer than any body may be.
    #[error("the body has {got} bytes")]
    BodyTooLong {
        /// Bytes found.
        got: usize,
    },
    /// The header names another body.
    #[error("the header does not name this body")]
    BodyHash,
    /// A body of a known version that does not decode.
    #[error("the body is not the canonical encoding of a known one")]
    BodyMalformed,
    /// The first entry of a chain that is no `Join`.
    #[error("a chain starts with a join")]
    NotJoin,
    /// A `Join` later than at seq 0.
    #[error("a join stands at the start of a chain only")]
    JoinMisplaced,
    /// An entry at seq 0 that names a predecessor, or a later one that names none.
    #[error("the place of the entry and its predecessor contradict each other")]
    Seq,
    /// The predecessor is of another author or not at the place before.
    #[error("the predecessor is not the entry before")]
    Prev,
    /// The entry is dated before its predecessor.
    #[error("the entry is dated before its predecessor")]
    DateBack,
    /// Past a fork, and this node keeps no more of that author's branches.
    #[error("the author forked and its branches are full here")]
    BranchesFull,
    /// The author is not a member, and this node keeps no more entries of such.
    #[error("entries of nodes that are not members are full here")]
    StrangersFull,
    /// Dated ahead of the clock, and this node keeps no more of those.
    #[error("entries dated ahead of the clock are full here")]
    DeferredFull,
}

impl Rejection {
    /// Returns the stable number of the reason.
    pub const fn code(&self) -> u16 {
        match self {
            Self::OtherCommons => 1,
            Self::Signature(SignatureError::BadKey) => 2,
            Self::Signature(SignatureError::WeakKey) => 3,
            Self::Signature(SignatureError::Mismatch) => 4,
            Self::BodyTooLong { .. } => 5,
            Self::BodyHash => 6,
            Self::BodyMalformed => 7,
            Self::NotJoin => 8,
            Self::JoinMisplaced => 9,
            Self::Seq => 10,
            Self::Prev => 11,
            Self::DateBack => 12,
            Self::BranchesFull => 13,
            Self::StrangersFull => 14,
            Self::DeferredFull => 15,
        }
    }

    /// Returns whether the entry may be taken later: it is valid, this node has no room for it.
    pub const fn is_temporary(&self) -> bool {
        self.code() >= 13
    }
}
