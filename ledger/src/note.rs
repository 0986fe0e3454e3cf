//! Notes about bounties one by one: where each belongs, and why one is not taken.
//!
//! The board they are put on is [`crate::bounty`]. Rules L91 and L92 of `specs/bounties.md`.

use hearth_protocol::bounty::BountyNote;
use hearth_protocol::id::{BountyId, NodeId};
use hearth_protocol::sign::SignatureError;
use hearth_protocol::unit::{Millis, Timestamp};

/// Why a note is not taken. Codes are stable (`specs/bounties.md`, L91).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteRefusal {
    /// Its signature is not its author's.
    #[error("the note's signature: {0}")]
    Signature(SignatureError),
    /// It opens a bounty of another commons.
    #[error("the bounty belongs to another commons")]
    OtherCommons,
    /// It is dated ahead of the clock.
    #[error("the note is dated ahead of this node's clock")]
    Ahead,
    /// The bounty ends before it begins, or is open for longer than a bounty may be.
    #[error("a bounty ends after it begins and within 366 days")]
    Life,
    /// A bounty without a title, or a promise of nothing.
    #[error("a bounty needs a title, a pledge an amount")]
    Empty,
    /// It is dated after the bounty's end.
    #[error("the bounty is over")]
    Over,
    /// An award by somebody else.
    #[error("only who opened a bounty awards it")]
    NotOpener,
    /// The opener claims or is awarded its own bounty.
    #[error("who opened a bounty cannot earn it")]
    Oneself,
    /// The author has as many notes here as are kept of one.
    #[error("no more notes of this author are kept")]
    AuthorFull,
    /// As many notes are here as are kept.
    #[error("no more notes are kept")]
    Full,
}

impl NoteRefusal {
    /// Returns the stable number of the reason.
    pub const fn code(&self) -> u16 {
        match self {
            Self::Signature(_) => 1,
            Self::OtherCommons => 2,
            Self::Ahead => 3,
            Self::Life => 4,
            Self::Empty => 5,
            Self::Over => 6,
            Self::NotOpener => 7,
            Self::Oneself => 8,
            Self::AuthorFull => 9,
            Self::Full => 10,
        }
    }

    /// Returns whether the note itself is at fault: a member that passes it on did not check it.
    pub const fn is_fault(&self) -> bool {
        match self {
            Self::Signature(_)
            | Self::OtherCommons
            | Self::Life
            | Self::Empty
            | Self::NotOpener
            | Self::Oneself => true,
            Self::Ahead | Self::Over | Self::AuthorFull | Self::Full => false,
        }
    }
}

/// What became of a note that was not refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It is kept, in this place; what stood there before is gone.
    New(Slot),
    /// It, or a word of its author that counts before it, is here.
    Known,
    /// It waits for its bounty, or for its author's join.
    Early,
}

/// What a note says, apart from its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoteKind {
    /// Opens.
    Open,
    /// Promises.
    Pledge,
    /// Claims.
    Claim,
    /// Awards.
    Award,
}

/// The one place for one thing said of one bounty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// Of which bounty.
    pub bounty: BountyId,
    /// What.
    pub kind: NoteKind,
    /// By whom; of an award, for whom.
    pub node: NodeId,
}

impl Slot {
    /// Returns where a note belongs.
    pub fn of(note: &BountyNote) -> Self {
        let (kind, node) = match note {
            BountyNote::Open(open) => (NoteKind::Open, open.author),
            BountyNote::Pledge(pledge) => (NoteKind::Pledge, pledge.author),
            BountyNote::Claim(claim) => (NoteKind::Claim, claim.author),
            BountyNote::Award(award) => (NoteKind::Award, award.claimant),
        };
        Self {
            bounty: note.bounty(),
            kind,
            node,
        }
    }

    /// Returns the slot as a key whose order is the slots' own: 65 bytes.
    pub fn key(&self) -> Vec<u8> {
        let kind = match self.kind {
            NoteKind::Open => 0,
            NoteKind::Pledge => 1,
            NoteKind::Claim => 2,
            NoteKind::Award => 3,
        };
        [&self.bounty.as_bytes()[..], &[kind], self.node.as_bytes()].concat()
    }
}

/// The clock by which notes are judged.
#[derive(Debug, Clone, Copy)]
pub struct NoteClock {
    /// The node's time.
    pub now: Timestamp,
    /// How far ahead of it a note may be dated: the charter's skew.
    pub skew: Millis,
}
