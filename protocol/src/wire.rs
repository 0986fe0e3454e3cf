//! Messages between nodes: at the join door, on the sync and job streams, and in gossip.
//!
//! Every message is canonical CBOR within its bound of [`crate::limits`]; collections are checked
//! by `check` after decoding. Members alone see anything but [`DoorRequest`].

mod sync;

use serde::{Deserialize, Serialize};

use crate::capacity::Capacity;
use crate::card::Card;
use crate::charter::Charter;
use crate::codec::{self, DecodeError};
use crate::entry::{Energy, Entry};
use crate::id::{CommonsId, EntryHash, JobId, Salt};
use crate::job::{
    Failure, JobSpec, OutputRef, Phase, Preview, Quote, QuoteRequest, Refusal, Timings,
};
use crate::limits;
use crate::sign::Signed;
use crate::ticket::MemberAddrs;
use crate::unit::{Millikudos, Seq};

pub use sync::{Compare, ForkProof, Head, SyncMessage};

/// What a stranger may say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum DoorRequest {
    /// Show me the charter.
    Charter {
        /// The commons meant.
        commons: CommonsId,
    },
    /// I was a member before: send me my own chain from here on. Answered to its author alone.
    Chain {
        /// The commons meant.
        commons: CommonsId,
        /// From which place.
        from: Seq,
    },
    /// Let me in.
    Join {
        /// The joiner's first entry.
        entry: Box<Entry>,
        /// Where the joiner can be reached.
        addrs: MemberAddrs,
    },
}

/// What the door answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum DoorReply {
    /// The charter asked for.
    Charter(Box<Signed<Charter>>),
    /// Entries of the asker's own chain, in order; none when it is not known or at its end.
    Chain {
        /// The entries.
        entries: Vec<Entry>,
    },
    /// Come in; these members are near.
    Welcome {
        /// Members to connect to, the answering one first.
        members: Vec<MemberAddrs>,
    },
    /// No.
    Refused(DoorRefusal),
}

/// Why the door stays shut. Codes are stable (`specs/identity.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DoorRefusal {
    /// This node is of another commons.
    #[error("the node belongs to another commons")]
    OtherCommons,
    /// An invite is needed.
    #[error("the commons is invite-only and the ticket has no invite")]
    InviteNeeded,
    /// The invite is not one of this commons, or its proof is wrong.
    #[error("the invite is not valid here")]
    InviteBad,
    /// The invite's time is over.
    #[error("the invite expired; ask for a new ticket")]
    InviteExpired,
    /// The invite was used as often as it may be.
    #[error("the invite has been used up; ask for a new ticket")]
    InviteUsedUp,
    /// The join entry is not a valid start of a chain.
    #[error("the join entry is not valid")]
    EntryBad,
    /// The joiner's clock and ours are too far apart.
    #[error("the clocks are too far apart: check the time on both machines")]
    ClockSkew,
    /// The commons is full.
    #[error("the commons has as many members as it can hold")]
    Full,
    /// Our disk is full or failing.
    #[error("the member cannot write its ledger right now")]
    Storage,
    /// The joiner was blocked.
    #[error("the member has blocked this node")]
    Blocked,
    /// The joiner was a member and left.
    #[error("this key left the commons for good; use another key")]
    Left,
}

/// On the job stream. Requester to worker and back; the job's id says which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum JobMessage {
    /// What would this cost?
    QuoteRequest(QuoteRequest),
    /// This much.
    Quote(Quote),
    /// I will not.
    QuoteRefused {
        /// The job.
        job: JobId,
        /// Why.
        refusal: Refusal,
    },
    /// Do it.
    Order {
        /// The job.
        job: JobId,
        /// The order in the requester's chain.
        order: EntryHash,
        /// Opens the order's commitment.
        salt: Salt,
        /// What to do.
        spec: Box<JobSpec>,
    },
    /// I took it.
    Accepted {
        /// The job.
        job: JobId,
        /// The order.
        order: EntryHash,
        /// Jobs before it.
        ahead: u32,
    },
    /// I did not take it.
    Refused {
        /// The job.
        job: JobId,
        /// The order.
        order: EntryHash,
        /// Why.
        refusal: Refusal,
    },
    /// It goes on.
    Progress {
        /// The job.
        job: JobId,
        /// The order.
        order: EntryHash,
        /// Where it is.
        phase: Phase,
        /// What it looks like.
        preview: Option<Preview>,
    },
    /// It is done; the outputs wait for you.
    Done(Box<Done>),
    /// It failed; the hold is voided.
    Failed {
        /// The job.
        job: JobId,
        /// The order.
        order: EntryHash,
        /// Why.
        failure: Failure,
    },
    /// Stop.
    Cancel {
        /// The job.
        job: JobId,
        /// The order.
        order: EntryHash,
    },
    /// Where is it? After a reconnection or a restart.
    Resume {
        /// The job.
        job: JobId,
        /// The order.
        order: EntryHash,
    },
    /// I have it all: drop the outputs.
    Received {
        /// The job.
        job: JobId,
        /// The order.
        order: EntryHash,
    },
}

/// A finished job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Done {
    /// The job.
    pub job: JobId,
    /// The order it settles.
    pub order: EntryHash,
    /// The receipt in the worker's chain.
    pub receipt: EntryHash,
    /// What is charged.
    pub amount: Millikudos,
    /// Opens the receipt's commitment.
    pub salt: Salt,
    /// What was made.
    pub outputs: Vec<OutputRef>,
    /// How long it took.
    pub timings: Timings,
    /// What it took.
    pub energy: Energy,
    /// Things a person should know.
    pub warnings: Vec<String>,
}

/// In gossip on the ledger topic: new entries, each chain's in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryBatch {
    /// The entries.
    pub entries: Vec<Entry>,
}

/// Why a decoded message is refused.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// Its bytes.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A collection or text longer than its bound.
    #[error("{what}: {got} where at most {max} are allowed")]
    Bound {
        /// Which.
        what: &'static str,
        /// How many.
        got: usize,
        /// How many are allowed.
        max: usize,
    },
}

/// A message that knows its own bounds.
pub trait Message: Serialize + serde::de::DeserializeOwned {
    /// Most bytes of its canonical form.
    const LEN_MAX: usize;

    /// Checks bounds the length alone does not give.
    ///
    /// # Errors
    /// [`MessageError::Bound`] names what is too long.
    fn check(&self) -> Result<(), MessageError>;

    /// Encodes canonically.
    fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Decodes and checks.
    ///
    /// # Errors
    /// [`MessageError`] says what is wrong.
    fn from_bytes(bytes: &[u8]) -> Result<Self, MessageError> {
        let message: Self = codec::decode(bytes, Self::LEN_MAX)?;
        message.check()?;
        Ok(message)
    }
}

pub(crate) fn bound(what: &'static str, got: usize, max: usize) -> Result<(), MessageError> {
    if got > max {
        Err(MessageError::Bound { what, got, max })
    } else {
        Ok(())
    }
}

fn bound_addrs(addrs: &crate::capacity::NodeAddrs) -> Result<(), MessageError> {
    for list in [&addrs.network, &addrs.blobs] {
        bound("addresses", list.len(), limits::ADDRS_MAX)?;
        for addr in list {
            bound("address", addr.len(), limits::ADDR_LEN_MAX)?;
        }
    }
    Ok(())
}

fn bound_entries(entries: &[Entry]) -> Result<(), MessageError> {
    bound("entries", entries.len(), limits::ENTRIES_PER_MESSAGE_MAX)?;
    entries
        .iter()
        .try_for_each(|entry| bound("body", entry.body.len(), limits::BODY_LEN_MAX))
}

impl Message for DoorRequest {
    const LEN_MAX: usize = limits::DOOR_LEN_MAX;

    fn check(&self) -> Result<(), MessageError> {
        match self {
            Self::Charter { .. } | Self::Chain { .. } => Ok(()),
            Self::Join { entry, addrs } => {
                bound("body", entry.body.len(), limits::BODY_LEN_MAX)?;
                bound_addrs(&addrs.addrs)
            }
        }
    }
}

impl Message for DoorReply {
    const LEN_MAX: usize = limits::DOOR_LEN_MAX;

    fn check(&self) -> Result<(), MessageError> {
        match self {
            Self::Charter(charter) => bound(
                "rules",
                charter.trusted().rules.len(),
                limits::CHARTER_LEN_MAX,
            ),
            Self::Chain { entries } => bound_entries(entries),
            Self::Welcome { members } => {
                bound("members", members.len(), 64)?;
                members
                    .iter()
                    .try_for_each(|member| bound_addrs(&member.addrs))
            }
            Self::Refused(_) => Ok(()),
        }
    }
}

impl Message for JobMessage {
    const LEN_MAX: usize = limits::FRAME_LEN_MAX;

    fn check(&self) -> Result<(), MessageError> {
        match self {
            Self::QuoteRequest(request) => {
                bound("cards", request.cards.len(), 1 + limits::LORAS_MAX)
            }
            Self::Progress {
                preview: Some(preview),
                ..
            } => bound("preview", preview.rgb.len(), limits::PREVIEW_LEN_MAX),
            Self::Done(done) => {
                bound(
                    "outputs",
                    done.outputs.len(),
                    limits::OUTPUTS_PER_MESSAGE_MAX,
                )?;
                bound("warnings", done.warnings.len(), 64)
            }
            Self::QuoteRefused {
                refusal: Refusal::NoCredit(decision),
                ..
            }
            | Self::Refused {
                refusal: Refusal::NoCredit(decision),
                ..
            } => bound("basis", decision.basis.len(), limits::BASIS_MAX),
            Self::Quote(_)
            | Self::QuoteRefused { .. }
            | Self::Order { .. }
            | Self::Accepted { .. }
            | Self::Refused { .. }
            | Self::Progress { .. }
            | Self::Failed { .. }
            | Self::Cancel { .. }
            | Self::Resume { .. }
            | Self::Received { .. } => Ok(()),
        }
    }
}

impl Message for EntryBatch {
    const LEN_MAX: usize = limits::GOSSIP_LEN_MAX;

    fn check(&self) -> Result<(), MessageError> {
        bound_entries(&self.entries)
    }
}

impl Message for Signed<Capacity> {
    const LEN_MAX: usize = limits::CAPACITY_LEN_MAX;

    fn check(&self) -> Result<(), MessageError> {
        let capacity = self.trusted();
        bound("nickname", capacity.nickname.len(), limits::NAME_LEN_MAX)?;
        bound(
            "cards",
            capacity.cards.len().max(capacity.warm.len()),
            limits::CAPACITY_CARDS_MAX,
        )?;
        bound("speeds", capacity.speeds.len(), 16)?;
        bound_addrs(&capacity.addrs)
    }
}

impl Message for Signed<Card> {
    const LEN_MAX: usize = limits::CARD_LEN_MAX;

    fn check(&self) -> Result<(), MessageError> {
        let card = self.trusted();
        bound("title", card.title.len(), limits::NAME_LEN_MAX)?;
        bound("files", card.files.len(), limits::CARD_FILES_MAX)?;
        bound("description", card.description.len(), limits::TEXT_LEN_MAX)?;
        bound("triggers", card.triggers.len(), 64)?;
        bound("sources", card.sources.len(), 16)
    }
}
