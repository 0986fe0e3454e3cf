//! What is asked about the ledger, and what the node shows of it.
//!
//! Everything that may grow comes in pages of at most [`limits::LEDGER_PAGE_MAX`] with a cursor, so that no reply is
//! larger than a person's patience. Bytes that were signed travel as they are ([`Verbatim`]).

use data_encoding::BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::PeerRef;
use crate::entry::{Body, Energy, Header, TransferReason, Work};
use crate::id::{Commitment, CommonsId, EntryHash, NodeId};
#[cfg(doc)]
use crate::limits;
use crate::sign::Signature;
use crate::snapshot::LedgerView;
use crate::unit::{Balance, Millikudos, Timestamp};

/// Which entries to show, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntriesRequest {
    /// Only this author's.
    pub author: Option<PeerRef>,
    /// At most so many, and at most [`limits::LEDGER_PAGE_MAX`].
    pub limit: u32,
    /// Only what is about a job, by the beginning of its id or of its order's hash.
    #[serde(default)]
    pub job: Option<String>,
    /// Only these kinds; all when empty.
    #[serde(default)]
    pub kinds: Vec<EntryKind>,
    /// Only those dated then or later.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// The last entry of the page before.
    #[serde(default)]
    pub after: Option<EntryHash>,
}

/// Which balance to explain.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhyRequest {
    /// Whose; oneself if absent.
    #[serde(default)]
    pub peer: Option<PeerRef>,
    /// Only what passed between it and this member.
    #[serde(default)]
    pub with: Option<PeerRef>,
    /// The last line of the page before.
    #[serde(default)]
    pub after: Option<EntryHash>,
}

/// What an entry is, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryKind {
    /// A chain begins.
    Join,
    /// A line of credit.
    Trust,
    /// A hold.
    Order,
    /// A charge.
    Receipt,
    /// A released hold.
    Void,
    /// A verdict on a receipt.
    Ack,
    /// A transfer without a reason.
    Gift,
    /// A transfer for served bytes.
    Seeding,
    /// A member leaves.
    Leave,
    /// Of a version this node does not know.
    Opaque,
    /// A share of a bounty.
    Bounty,
    /// Pay for an audit.
    AuditPay,
    /// What a third party found.
    Audit,
    /// Half of a pair's checkpoint.
    PairNet,
    /// A change of the charter.
    Amend,
    /// A forked chain goes on.
    Heal,
}

impl EntryKind {
    /// Every kind.
    pub const ALL: [Self; 16] = [
        Self::Join,
        Self::Trust,
        Self::Order,
        Self::Receipt,
        Self::Void,
        Self::Ack,
        Self::Gift,
        Self::Seeding,
        Self::Leave,
        Self::Opaque,
        Self::Bounty,
        Self::AuditPay,
        Self::Audit,
        Self::PairNet,
        Self::Amend,
        Self::Heal,
    ];

    /// Returns the kind of a body.
    pub const fn of(body: &Body) -> Self {
        match body {
            Body::Join { .. } => Self::Join,
            Body::Trust { .. } => Self::Trust,
            Body::Order { .. } => Self::Order,
            Body::Receipt { .. } => Self::Receipt,
            Body::Void { .. } => Self::Void,
            Body::Ack { .. } => Self::Ack,
            Body::Transfer { reason, .. } => match reason {
                TransferReason::Gift => Self::Gift,
                TransferReason::Seeding { .. } => Self::Seeding,
                TransferReason::Bounty { .. } => Self::Bounty,
                TransferReason::Audit { .. } => Self::AuditPay,
            },
            Body::Leave => Self::Leave,
            Body::Audit { .. } => Self::Audit,
            Body::PairNet(_) => Self::PairNet,
            Body::Amend { .. } => Self::Amend,
            Body::Heal { .. } => Self::Heal,
        }
    }

    /// Returns the word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Trust => "trust",
            Self::Order => "order",
            Self::Receipt => "receipt",
            Self::Void => "void",
            Self::Ack => "ack",
            Self::Gift => "gift",
            Self::Seeding => "seeding",
            Self::Leave => "leave",
            Self::Opaque => "opaque",
            Self::Bounty => "bounty",
            Self::AuditPay => "audit-pay",
            Self::Audit => "audit",
            Self::PairNet => "pair-net",
            Self::Amend => "amend",
            Self::Heal => "heal",
        }
    }
}

/// One line of `ledger why`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhyLine {
    /// The entry behind it.
    pub entry: EntryHash,
    /// Its date.
    pub time: Timestamp,
    /// The other side.
    pub peer: NodeId,
    /// What it adds.
    pub amount: Balance,
    /// `receipt`, `transfer`.
    pub kind: String,
    /// What it is for, and how firm it is.
    pub state: String,
    /// What a receipt charges for.
    #[serde(default)]
    pub charge: Option<Box<ChargeView>>,
}

/// What stands behind a receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChargeView {
    /// The order it settles.
    pub order: EntryHash,
    /// Commitment to the job.
    pub job: Commitment,
    /// Most the order allows.
    pub max: Millikudos,
    /// When the order was written.
    pub placed: Timestamp,
    /// Until when a receipt counts.
    pub deadline: Timestamp,
    /// Commitment to the result.
    pub result: Commitment,
    /// What was done.
    pub work: Work,
    /// What it took.
    pub energy: Energy,
    /// What the requester says, in words.
    pub verdict: String,
    /// The ack that says so.
    pub ack: Option<EntryHash>,
}

/// What passed between a node and one other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairView {
    /// The other.
    pub peer: NodeId,
    /// Work done for it.
    pub earned: Balance,
    /// Work it did.
    pub paid: Balance,
    /// Transfers from it.
    pub received: Balance,
    /// Transfers to it.
    pub given: Balance,
    /// Earned and received less paid and given.
    pub balance: Balance,
    /// Earned, and not accepted by the other's own chain.
    pub pending: Balance,
    /// The part of it that the other disputes.
    pub disputed: Balance,
    /// Lines behind it.
    pub lines: u64,
}

/// A member's account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountView {
    /// Whose.
    pub node: NodeId,
    /// Whether it is a member now.
    pub member: bool,
    /// Whether its chain is known to have forked.
    pub forked: bool,
    /// Entries of its chain.
    pub entries: u64,
    /// All effective moves.
    pub balance: Balance,
    /// The part that is earned and not accepted.
    pub pending: Balance,
    /// Balance less pending.
    pub spendable: Balance,
    /// Work done for others.
    pub earned: Balance,
    /// Work others did for it.
    pub paid: Balance,
    /// Transfers from others.
    pub received: Balance,
    /// Transfers to others.
    pub given: Balance,
    /// Lines between it and this node; absent for oneself.
    pub terms: Option<TermsView>,
}

/// What this node and a member let each other owe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TermsView {
    /// What this node lets it owe.
    pub line_to_it: Millikudos,
    /// What it owes this node, open holds included.
    pub it_owes: Balance,
    /// What it lets this node owe.
    pub line_to_me: Millikudos,
    /// What this node owes it, open holds included.
    pub i_owe: Balance,
}

/// One entry with all that was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryDetail {
    /// As in a list.
    pub view: LedgerView,
    /// The reason's number when it has no effect (`specs/ledger.md`).
    pub code: Option<u16>,
    /// What was signed.
    pub header: Header,
    /// The signature.
    pub signature: Signature,
    /// Bytes of the body.
    pub body_len: u64,
    /// The body; absent when its version is unknown.
    pub body: Option<Body>,
    /// Other entries it has to do with.
    pub links: Vec<Link>,
    /// The whole entry as signed and sent.
    pub bytes: Verbatim,
}

/// An entry that another has to do with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// What it is to the other.
    pub what: String,
    /// Which.
    pub entry: EntryHash,
}

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditReply {
    /// Whether everything holds.
    pub ok: bool,
    /// Entries checked.
    pub entries: u64,
    /// Chains checked.
    pub chains: u64,
    /// Members.
    pub members: u64,
    /// Pairs whose two sides were compared.
    pub pairs: u64,
    /// Authors known to have forked.
    pub forked: Vec<NodeId>,
    /// Sum of all balances; 0 when all is well.
    pub sum: Balance,
    /// Digest as kept.
    pub digest: String,
    /// What does not hold.
    pub findings: Vec<String>,
    /// What could not be checked here.
    pub unchecked: Vec<String>,
}

/// A page of everything a node keeps of a commons, chain by chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportPage {
    /// The commons.
    pub commons: CommonsId,
    /// The node that tells.
    pub node: NodeId,
    /// Its clock.
    pub time: Timestamp,
    /// The signed charter, on the first page.
    pub charter: Option<Verbatim>,
    /// Canonical entries.
    pub entries: Vec<Verbatim>,
    /// Canonical fork proofs, on the first page.
    pub forks: Vec<Verbatim>,
    /// Where the next page goes on, if there is more.
    pub next: Option<EntryHash>,
}

/// What became of imported entries.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportReply {
    /// New here.
    pub new: u64,
    /// Here before.
    pub known: u64,
    /// Not kept because what they follow is missing.
    pub loose: u64,
    /// Dated ahead of this node's clock: kept in memory until then.
    pub deferred: u64,
    /// Forks that were not known.
    pub forks: u64,
    /// Not valid, or no room.
    pub refused: Vec<RefusedView>,
}

/// An entry or fork proof that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedView {
    /// Its place in the request, entries first, forks after them.
    pub index: u32,
    /// The rejection's number (`specs/ledger.md`); 0 for bytes that are no entry.
    pub code: u16,
    /// Why.
    pub why: String,
}

/// Canonical bytes as they were signed; Base64 in JSON.
#[derive(Clone, PartialEq, Eq)]
pub struct Verbatim(pub Vec<u8>);

impl std::fmt::Debug for Verbatim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Verbatim({} bytes)", self.0.len())
    }
}

impl Serialize for Verbatim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Verbatim {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        BASE64
            .decode(text.as_bytes())
            .map(Self)
            .map_err(|_| serde::de::Error::custom("not Base64"))
    }
}
