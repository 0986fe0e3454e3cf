//! Ledger entries: what is signed, what travels, what each body means.
//!
//! A chain is named by (commons, author) and starts at seq 0 with `Join`. What is signed is the
//! fixed-size [`Header`]; the body travels beside it, so that a fork proof is two headers and a
//! body can be pruned while the chain stays verifiable. Meaning and effect are the ledger's.

use serde::{Deserialize, Serialize};

use crate::charter::{Caps, Invite, PriceTable};
use crate::codec::{self, DecodeError};
use crate::id::{BodyHash, BountyId, Commitment, CommonsId, EntryHash, NodeId};
use crate::limits;
use crate::sign::{Domain, Signable, Signature, Signed};
use crate::unit::{ByteCount, Millikudos, Millis, Seq, Timestamp};

/// The entry format this build writes.
pub const VERSION: u8 = 1;

/// The signed part of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Entry format; an unknown one is stored opaque and freezes its chain's effect here.
    pub version: u8,
    /// The commons whose ledger this is.
    pub commons: CommonsId,
    /// The one key that may write this chain.
    pub author: NodeId,
    /// Place in the chain.
    pub seq: Seq,
    /// Hash of the entry before; all zero at seq 0.
    pub prev: EntryHash,
    /// The author's date; never earlier than the entry before.
    pub time: Timestamp,
    /// Hash of the canonical body.
    pub body: BodyHash,
}

impl Header {
    /// Returns the entry's name: BLAKE3 of the canonical header.
    pub fn hash(&self) -> EntryHash {
        EntryHash::from_bytes(*blake3::hash(&codec::encode(self)).as_bytes())
    }
}

impl Signable for Header {
    const DOMAIN: Domain = Domain::Entry;

    fn signer(&self) -> NodeId {
        self.author
    }
}

/// A header's `prev` at seq 0.
pub const NO_PREV: EntryHash = EntryHash::from_bytes([0; 32]);

/// A signed header with its body's bytes, as stored and sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The signed header.
    pub header: Signed<Header>,
    /// Canonical bytes of the body; opaque when the header's version is unknown.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
}

impl Entry {
    /// Returns the entry's name.
    pub fn hash(&self) -> EntryHash {
        self.header.trusted().hash()
    }

    /// Decodes the body of a known version.
    ///
    /// # Errors
    /// [`DecodeError`] when it is not the canonical encoding of a known body, or a list in it is
    /// empty, too long or not in order.
    pub fn decode_body(&self) -> Result<Body, DecodeError> {
        let body: Body = codec::decode(&self.body, limits::BODY_LEN_MAX)?;
        if body.is_bounded() {
            Ok(body)
        } else {
            Err(DecodeError::Bounds)
        }
    }

    /// Returns whether the header names these body bytes.
    pub fn body_matches(&self) -> bool {
        body_hash(&self.body) == self.header.trusted().body
    }
}

/// Hashes a canonical body.
pub fn body_hash(bytes: &[u8]) -> BodyHash {
    BodyHash::from_bytes(*blake3::hash(bytes).as_bytes())
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Body {
    /// A new member accepts the charter; the founder needs no invite.
    Join {
        /// The invite used, with proof of its secret.
        invite: Option<InviteUse>,
    },
    /// "I let this peer owe me up to limit"; the author's latest counts, 0 withdraws.
    Trust {
        /// Who may owe.
        peer: NodeId,
        /// How much.
        limit: Millikudos,
    },
    /// A hold: authorises one provider to charge up to max for one job.
    Order {
        /// Who may charge.
        provider: NodeId,
        /// Salted commitment to the job spec.
        job: Commitment,
        /// Most that may be charged.
        max: Millikudos,
        /// A receipt dated later has no effect.
        deadline: Timestamp,
    },
    /// Settles an order.
    Receipt {
        /// The order settled.
        order: EntryHash,
        /// The charge.
        amount: Millikudos,
        /// Salted commitment to the result.
        result: Commitment,
        /// What was done.
        work: Work,
        /// What it took.
        energy: Energy,
    },
    /// Releases a hold.
    Void {
        /// The order released.
        order: EntryHash,
        /// Why.
        reason: VoidReason,
    },
    /// The requester's verdict on a receipt; its last one counts.
    Ack {
        /// The receipt judged.
        receipt: EntryHash,
        /// The judgement.
        verdict: Verdict,
    },
    /// Moves balance at once.
    Transfer {
        /// Who receives.
        to: NodeId,
        /// How much.
        amount: Millikudos,
        /// What for.
        reason: TransferReason,
    },
    /// A member leaves; its debts and credits stand.
    Leave,
    /// A third party looked at a receipt's work; evidence, it moves nothing.
    Audit {
        /// The receipt looked at.
        receipt: EntryHash,
        /// Steps computed again.
        steps: u32,
        /// Largest distance found between the two results, in millionths of full range.
        distance: u32,
        /// What follows from it.
        verdict: AuditVerdict,
    },
    /// Half of a pair's checkpoint: what each did for the other up to a place in both chains.
    PairNet(PairNet),
    /// The founder changes what the charter leaves open; its latest word on each counts.
    Amend {
        /// New prices.
        prices: Option<PriceTable>,
        /// New credit caps.
        caps: Option<Caps>,
        /// New rules in words.
        rules: Option<String>,
    },
    /// An author whose chain forked names every branch and goes on, on probation.
    Heal {
        /// The newest entry of every branch in order of hash, 2 to
        /// [`HEAL_TIPS_MAX`](limits::HEAL_TIPS_MAX).
        tips: Vec<EntryHash>,
        /// How it came to it.
        reason: HealReason,
    },
}

impl Body {
    /// Returns whether every list in it has a length and order it may have.
    fn is_bounded(&self) -> bool {
        match self {
            Self::Heal { tips, .. } => {
                (2..=limits::HEAL_TIPS_MAX).contains(&tips.len())
                    && tips.is_sorted_by(|left, right| left < right)
            }
            Self::Join { .. }
            | Self::Trust { .. }
            | Self::Order { .. }
            | Self::Receipt { .. }
            | Self::Void { .. }
            | Self::Ack { .. }
            | Self::Transfer { .. }
            | Self::Leave
            | Self::Audit { .. }
            | Self::PairNet(_)
            | Self::Amend { .. } => true,
        }
    }
}

/// One side's half of a pair's checkpoint. It has an effect beside its mirror image alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairNet {
    /// The other side.
    pub peer: NodeId,
    /// What the author did for the peer and transferred to it, from the start of both chains.
    pub given: u64,
    /// What the peer did for the author and transferred to it.
    pub taken: u64,
    /// Last place of the author's chain that is covered.
    pub own: Place,
    /// Last place of the peer's chain that is covered.
    pub theirs: Place,
}

/// A place of a chain and the entry that stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The place.
    pub seq: Seq,
    /// The entry.
    pub hash: EntryHash,
}

/// What an audit found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditVerdict {
    /// The result is what the job gives, within tolerance.
    Passed,
    /// It is not.
    Failed,
}

/// How a chain came to fork, in its author's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealReason {
    /// An older copy of the node's folder was put back.
    Restored,
    /// One key was used on two machines.
    TwoMachines,
    /// Something else.
    Other,
}

/// An invite with the proof that its user holds the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InviteUse {
    /// The signed invite.
    pub invite: Signed<Invite>,
    /// Signature by the invite's one-time key over the joiner's key ([`Domain::InviteProof`]).
    pub proof: Signature,
}

/// Work behind a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// Guided evaluations done.
    pub evaluations: u32,
    /// Picture width in pixels.
    pub width: u32,
    /// Picture height in pixels.
    pub height: u32,
    /// Time the engine computed.
    pub compute: Millis,
    /// Bytes fetched from members for this job.
    pub fetched: ByteCount,
}

/// Energy behind a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Energy {
    /// Thousandths of a joule.
    pub millijoules: u64,
    /// How they were found.
    pub method: EnergyMethod,
}

/// How energy was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnergyMethod {
    /// No figure.
    #[default]
    Unknown,
    /// Compute time by the device's rated power.
    Rated,
    /// A meter was read.
    Metered,
}

/// Why a hold was released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VoidReason {
    /// The requester cancelled before work was done.
    Cancelled,
    /// The provider refused the job.
    Refused,
    /// The provider's engine or node failed.
    Failed,
    /// The deadline passed without a receipt.
    Late,
    /// The provider restarted and lost the job.
    Lost,
}

/// A requester's verdict on a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The result arrived and is what was asked.
    Accepted,
    /// Something is wrong with it.
    Disputed(DisputeCode),
}

/// What is wrong with a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DisputeCode {
    /// It never arrived.
    Missing,
    /// Its bytes are not what the receipt commits to.
    Corrupt,
    /// It is not the job that was asked.
    Wrong,
    /// It costs more than was agreed.
    Overcharged,
}

/// What a transfer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TransferReason {
    /// No reason needed.
    Gift,
    /// Thanks for blobs served.
    Seeding {
        /// Salted commitment to what was served.
        blobs: Commitment,
        /// How many bytes.
        bytes: ByteCount,
    },
    /// A share of a bounty.
    Bounty {
        /// Which.
        id: BountyId,
    },
    /// Pay for an audit.
    Audit {
        /// The receipt that was looked at.
        receipt: EntryHash,
    },
}
