//! Bounties: somebody wants a thing, others promise kudos for it, somebody does it.
//!
//! Four kinds of signed note, passed on among members like cards. None of them moves kudos: a pledge
//! is a promise, and its backer pays with a transfer of its own that names the bounty. What notes come
//! to together is the ledger crate's word (`specs/bounties.md`).

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::id::{BlobHash, BountyId, CommonsId, NodeId, NoteId};
use crate::limits;
use crate::sign::{Domain, Signable, Signed};
use crate::unit::{Millikudos, Timestamp};
use crate::wire::{Message, MessageError, bound};

/// One thing said of a bounty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BountyNote {
    /// I want this.
    Open(BountyOpen),
    /// I promise so much for it.
    Pledge(BountyPledge),
    /// I did it.
    Claim(BountyClaim),
    /// It is done, by this member. The opener's word.
    Award(BountyAward),
}

/// A thing that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BountyOpen {
    /// Where.
    pub commons: CommonsId,
    /// Who wants it, and judges what is claimed.
    pub author: NodeId,
    /// What, in a few words.
    pub title: String,
    /// What exactly.
    pub text: String,
    /// Pledges and claims dated later do not count.
    pub until: Timestamp,
    /// The author's date.
    pub created: Timestamp,
}

/// A promise of kudos.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BountyPledge {
    /// For what.
    pub bounty: BountyId,
    /// Who promises.
    pub author: NodeId,
    /// How much in all; the author's greatest counts.
    pub amount: Millikudos,
    /// The author's date.
    pub created: Timestamp,
}

/// A word that it was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BountyClaim {
    /// What.
    pub bounty: BountyId,
    /// Who did it.
    pub author: NodeId,
    /// How, or where it lies.
    pub text: String,
    /// The blob that fulfils it, such as a model file.
    pub blob: Option<BlobHash>,
    /// The author's date.
    pub created: Timestamp,
}

/// The opener's judgement that somebody did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BountyAward {
    /// What.
    pub bounty: BountyId,
    /// The opener.
    pub author: NodeId,
    /// Who did it.
    pub claimant: NodeId,
    /// The opener's date.
    pub created: Timestamp,
}

impl BountyNote {
    /// Returns the note's name: BLAKE3 of its canonical form.
    pub fn id(&self) -> NoteId {
        NoteId::from_bytes(*blake3::hash(&codec::encode(self)).as_bytes())
    }

    /// Returns the bounty it speaks of; one that opens a bounty names it.
    pub fn bounty(&self) -> BountyId {
        match self {
            Self::Open(_) => BountyId::from_bytes(*self.id().as_bytes()),
            Self::Pledge(pledge) => pledge.bounty,
            Self::Claim(claim) => claim.bounty,
            Self::Award(award) => award.bounty,
        }
    }

    /// Returns its date.
    pub const fn created(&self) -> Timestamp {
        match self {
            Self::Open(open) => open.created,
            Self::Pledge(pledge) => pledge.created,
            Self::Claim(claim) => claim.created,
            Self::Award(award) => award.created,
        }
    }
}

impl Signable for BountyNote {
    const DOMAIN: Domain = Domain::Bounty;

    fn signer(&self) -> NodeId {
        match self {
            Self::Open(open) => open.author,
            Self::Pledge(pledge) => pledge.author,
            Self::Claim(claim) => claim.author,
            Self::Award(award) => award.author,
        }
    }
}

impl Message for Signed<BountyNote> {
    const LEN_MAX: usize = limits::BOUNTY_NOTE_LEN_MAX;

    fn check(&self) -> Result<(), MessageError> {
        match self.trusted() {
            BountyNote::Open(open) => {
                bound("title", open.title.len(), limits::NAME_LEN_MAX)?;
                bound("text", open.text.len(), limits::BOUNTY_TEXT_LEN_MAX)
            }
            BountyNote::Claim(claim) => {
                bound("text", claim.text.len(), limits::BOUNTY_TEXT_LEN_MAX)
            }
            BountyNote::Pledge(_) | BountyNote::Award(_) => Ok(()),
        }
    }
}
