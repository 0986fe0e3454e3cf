//! Messages on the sync stream: ledgers and cards kept alike.

use serde::{Deserialize, Serialize};

use super::{Message, MessageError, bound, bound_entries};
use crate::bounty::BountyNote;
use crate::capacity::Capacity;
use crate::card::Card;
use crate::entry::{Entry, Header};
use crate::id::{CardId, EntryHash, NodeId};
use crate::limits;
use crate::sign::Signed;
use crate::unit::Seq;

/// The newest entry of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Whose chain.
    pub author: NodeId,
    /// Place of its newest entry.
    pub seq: Seq,
    /// Name of its newest entry.
    pub hash: EntryHash,
}

/// Two headers of one author at one seq: proof of a fork, whoever shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForkProof {
    /// The one with the smaller hash.
    pub left: Signed<Header>,
    /// The other.
    pub right: Signed<Header>,
}

/// On the sync stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SyncMessage {
    /// First message on a new connection.
    Hello {
        /// The sender's advert.
        capacity: Box<Signed<Capacity>>,
    },
    /// What I hold of a chain, to who asked for its head.
    HeadShown {
        /// Whose chain.
        author: NodeId,
        /// Its newest entry; none if nothing of it is here.
        heads: Vec<Head>,
    },
    /// Send me this chain from here on.
    Want {
        /// Whose chain.
        author: NodeId,
        /// From which place.
        from: Seq,
    },
    /// Entries, each chain's in order.
    Entries {
        /// The entries.
        entries: Vec<Entry>,
    },
    /// Cards I know.
    CardsKnown {
        /// Their ids.
        ids: Vec<CardId>,
    },
    /// Send me these cards.
    CardsWanted {
        /// Their ids.
        ids: Vec<CardId>,
    },
    /// Cards.
    Cards {
        /// The cards.
        cards: Vec<Signed<Card>>,
    },
    /// Proof that somebody forked.
    Fork(Box<ForkProof>),
    /// A frame of a comparison of head sets; nothing is remembered between frames.
    Compare(Box<Compare>),
    /// Show me this member's head: before I write after an old copy of mine, or grant much.
    HeadWanted {
        /// Whose.
        author: NodeId,
    },
    /// What is said of bounties, of each the opening first.
    BountyNotes {
        /// The notes.
        notes: Vec<Signed<BountyNote>>,
    },
}

/// One frame of a comparison of head sets (`specs/ledger.md`, L50).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compare {
    /// Random bytes of who began, the same in all frames of a session.
    #[serde(with = "serde_bytes")]
    pub key: [u8; 16],
    /// Which frame of the session, from 1.
    pub round: u8,
    /// Ranges, fingerprints and names, packed.
    #[serde(with = "serde_bytes")]
    pub frame: Vec<u8>,
    /// Heads the receiver lacks or has otherwise.
    pub heads: Vec<Head>,
}

impl Message for SyncMessage {
    const LEN_MAX: usize = limits::FRAME_LEN_MAX;

    fn check(&self) -> Result<(), MessageError> {
        match self {
            Self::Hello { capacity } => capacity.check(),
            Self::HeadShown { heads, .. } => bound("heads", heads.len(), 1),
            Self::Want { .. } | Self::Fork(_) | Self::HeadWanted { .. } => Ok(()),
            Self::Compare(compare) => {
                bound("frame", compare.frame.len(), limits::COMPARE_LEN_MAX)?;
                bound("heads", compare.heads.len(), limits::HEADS_PER_MESSAGE_MAX)
            }
            Self::Entries { entries } => bound_entries(entries),
            Self::CardsKnown { ids } | Self::CardsWanted { ids } => {
                bound("cards", ids.len(), limits::CARD_IDS_MAX)
            }
            Self::Cards { cards } => {
                bound("cards", cards.len(), limits::CARDS_PER_MESSAGE_MAX)?;
                cards.iter().try_for_each(Message::check)
            }
            Self::BountyNotes { notes } => {
                bound("notes", notes.len(), limits::BOUNTY_NOTES_PER_MESSAGE_MAX)?;
                notes.iter().try_for_each(Message::check)
            }
        }
    }
}
