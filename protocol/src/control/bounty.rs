//! Bounties as people ask for them and see them.

use serde::{Deserialize, Serialize};

use super::{ModelRef, PeerRef};
use crate::id::{BlobHash, BountyId, NodeId};
use crate::unit::{Balance, Millikudos, Millis, Timestamp};

/// Something to do about bounties. A bounty is named by its full id or an unambiguous beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BountyCommand {
    /// Want a thing done. [`Reply::Bounty`](super::Reply::Bounty).
    Open(Box<BountyRequest>),
    /// List bounties, newest first. [`Reply::Bounties`](super::Reply::Bounties).
    List {
        /// Those that are over or paid, too.
        all: bool,
    },
    /// Show one. [`Reply::Bounty`](super::Reply::Bounty).
    Show {
        /// Which.
        bounty: String,
    },
    /// Promise kudos for one. [`Reply::Bounty`](super::Reply::Bounty).
    Back {
        /// Which.
        bounty: String,
        /// How much in all.
        amount: Millikudos,
    },
    /// Say that one is done. [`Reply::Bounty`](super::Reply::Bounty).
    Claim {
        /// Which.
        bounty: String,
        /// How, or where it lies.
        text: String,
        /// The model that fulfils it.
        model: Option<ModelRef>,
        /// Another blob that does.
        blob: Option<BlobHash>,
    },
    /// As the opener, say who did it; pay what one pledged. [`Reply::Wrote`](super::Reply::Wrote), or
    /// [`Reply::Done`](super::Reply::Done) when nothing is paid.
    Award {
        /// Which.
        bounty: String,
        /// Who did it.
        peer: PeerRef,
        /// How much; what is due if absent.
        amount: Option<Millikudos>,
    },
}

/// A bounty to open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BountyRequest {
    /// What is wanted, in a few words.
    pub title: String,
    /// What exactly.
    pub text: String,
    /// For how long it can be pledged to and claimed.
    pub life: Millis,
    /// What the opener promises itself.
    pub pledge: Option<Millikudos>,
}

/// How far a bounty is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BountyState {
    /// It can be pledged to and claimed.
    Open,
    /// Its end passed without an award.
    Over,
    /// Somebody did it; not every pledge is paid.
    Awarded,
    /// Somebody did it, and every pledge is paid.
    Paid,
}

impl BountyState {
    /// Returns its name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Over => "over",
            Self::Awarded => "awarded",
            Self::Paid => "paid",
        }
    }
}

/// A bounty as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BountyView {
    /// Its id.
    pub bounty: BountyId,
    /// What is wanted.
    pub title: String,
    /// What exactly.
    pub text: String,
    /// Who wants it.
    pub opener: NodeId,
    /// What this node calls it.
    pub opener_name: String,
    /// Whether that is this node.
    pub own: bool,
    /// Since when.
    pub opened: Timestamp,
    /// Until when it can be pledged to and claimed.
    pub until: Timestamp,
    /// How far it is.
    pub state: BountyState,
    /// What was promised in all.
    pub pledged: Balance,
    /// What was paid in all.
    pub paid: Balance,
    /// What this node promised and has not paid.
    pub due: Millikudos,
    /// Who promised or paid what.
    pub pledges: Vec<PledgeView>,
    /// Who says it is done.
    pub claims: Vec<ClaimView>,
}

/// A backer as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PledgeView {
    /// Who.
    pub node: NodeId,
    /// What this node calls it.
    pub name: String,
    /// What it promised; nothing for one who only paid.
    pub amount: Millikudos,
    /// What it paid.
    pub paid: Balance,
}

/// A claim as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimView {
    /// Who did it.
    pub node: NodeId,
    /// What this node calls it.
    pub name: String,
    /// When it said so.
    pub time: Timestamp,
    /// How, or where it lies.
    pub text: String,
    /// The blob that fulfils it.
    pub blob: Option<BlobHash>,
    /// The title of the model that blob is a file of, if it is known here.
    pub model: Option<String>,
    /// Whether the opener awarded it.
    pub awarded: bool,
    /// What it was paid.
    pub received: Balance,
}
