//! What happens outside and is told to the [`Dispatcher`](crate::Dispatcher).
//!
//! Commands of people, facts about peers and the ledger, messages, and answers to effects. Events
//! come from a daemon that has already verified signatures and wire bounds; what a peer *says* in
//! them is judged here. Nothing in this module decides anything.

use std::collections::BTreeMap;

use hearth_protocol::capacity::Capacity;
use hearth_protocol::entry::Energy;
use hearth_protocol::id::{CardId, EntryHash, JobId, NodeId, Salt};
use hearth_protocol::job::{Family, JobSpec, OutputRef, Phase, Preview, Timings};
use hearth_protocol::unit::{ByteCount, Millikudos, Millis};
use hearth_protocol::wire::JobMessage;
use serde::{Deserialize, Serialize};

use crate::record::{JobRecord, WorkRecord};

/// Names one effect that expects an answer; the answer repeats it.
///
/// Unique within one run of the process. An answer to a call nobody waits for any more is ordinary
/// and ends as [`Effect::Ignored`](crate::Effect::Ignored).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub(crate) u64);

impl CallId {
    /// Returns the number, for logs.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// Everything that can happen to a dispatcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// At start, before anything else: what the store kept.
    Restore {
        /// Jobs asked by this node that are not over; finished ones may be left out.
        jobs: Vec<JobRecord>,
        /// Work for others with a note, finished or not.
        work: Vec<WorkRecord>,
    },
    /// A person wants a job done. A batch is several of these.
    Submit(Box<Submission>),
    /// A person no longer wants a job.
    Cancel {
        /// The job.
        job: JobId,
    },
    /// The owner pauses the worker: what runs is finished, nothing new is taken.
    Pause,
    /// The owner lets the worker take jobs again.
    Unpause,

    /// A verified capacity advert of a member, gossiped or from its `Hello`.
    Advert(Box<Capacity>),
    /// A member can be spoken to.
    PeerConnected {
        /// Who.
        peer: NodeId,
    },
    /// A member cannot be spoken to any more.
    PeerDisconnected {
        /// Who.
        peer: NodeId,
    },
    /// A member said something on its job stream. Entries it names came over the sync stream and
    /// may arrive before or after.
    Message {
        /// Who, as the connection proved.
        from: NodeId,
        /// What.
        message: Box<JobMessage>,
    },
    /// Entries were admitted: orders, receipts and voids may have changed.
    LedgerChanged,
    /// The cards this node knows, all of them (at most `limits::CARD_IDS_MAX`); replaces what was
    /// told before.
    Shelf {
        /// What is known of each.
        cards: BTreeMap<CardId, ShelfCard>,
    },
    /// The engine process ended or dropped its weights: nothing is warm.
    EngineUnloaded,

    /// Answers [`Effect::Sign`](crate::Effect::Sign): the entry is on disk.
    Signed {
        /// The call.
        call: CallId,
        /// The entry's name.
        entry: EntryHash,
    },
    /// Answers [`Effect::Sign`](crate::Effect::Sign): nothing was written.
    NotSigned {
        /// The call.
        call: CallId,
        /// The cause in words, for a person.
        cause: String,
    },
    /// Answers [`Effect::FetchOutputs`](crate::Effect::FetchOutputs): all are saved and verified.
    OutputsSaved {
        /// The call.
        call: CallId,
    },
    /// Answers [`Effect::FetchOutputs`](crate::Effect::FetchOutputs).
    OutputsFailed {
        /// The call.
        call: CallId,
        /// What went wrong.
        fault: OutputsFault,
    },
    /// Answers [`Effect::FetchCards`](crate::Effect::FetchCards): every file is here.
    CardsReady {
        /// The call.
        call: CallId,
        /// Bytes that came from each member for this call; empty when all was here.
        bytes_from: BTreeMap<NodeId, ByteCount>,
        /// How long it took.
        took: Millis,
    },
    /// While [`Effect::FetchCards`](crate::Effect::FetchCards) goes on.
    CardsProgress {
        /// The call.
        call: CallId,
        /// The card being fetched.
        card: CardId,
        /// Bytes that are here.
        have: ByteCount,
        /// Bytes in all.
        total: ByteCount,
    },
    /// Answers [`Effect::FetchCards`](crate::Effect::FetchCards), also when it was stopped.
    CardsFailed {
        /// The call.
        call: CallId,
        /// The card whose file did not come.
        card: CardId,
        /// The cause in words, bounded by `limits::TEXT_LEN_MAX`.
        cause: String,
    },
    /// While [`Effect::RunEngine`](crate::Effect::RunEngine) goes on.
    EngineProgress {
        /// The call.
        call: CallId,
        /// Where it is.
        phase: Phase,
        /// What it looks like.
        preview: Option<Preview>,
    },
    /// Answers [`Effect::RunEngine`](crate::Effect::RunEngine). The daemon keeps the output bytes
    /// under the call until [`Effect::StoreOutputs`](crate::Effect::StoreOutputs) names it.
    EngineDone {
        /// The call.
        call: CallId,
        /// Guided evaluations done.
        evaluations: u32,
        /// How long each part took; queueing and fetching are filled in here.
        timings: Timings,
        /// What it took.
        energy: Energy,
        /// Things a person should know.
        warnings: Vec<String>,
    },
    /// Answers [`Effect::RunEngine`](crate::Effect::RunEngine).
    EngineFailed {
        /// The call.
        call: CallId,
        /// Guided evaluations done before.
        evaluations: u32,
        /// What it took.
        energy: Energy,
        /// How it ended.
        end: EngineEnd,
    },
    /// Answers [`Effect::StoreOutputs`](crate::Effect::StoreOutputs).
    OutputsStored {
        /// The call.
        call: CallId,
        /// Their names, hashes and sizes, the picture first.
        outputs: Vec<OutputRef>,
    },
    /// Answers [`Effect::StoreOutputs`](crate::Effect::StoreOutputs).
    OutputsNotStored {
        /// The call.
        call: CallId,
        /// Why.
        fault: StoreFault,
    },
}

/// A job as a person asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// Its name: `spec.job_id(&salt)`.
    pub job: JobId,
    /// Opens the commitment.
    pub salt: Salt,
    /// What to do.
    pub spec: JobSpec,
    /// The checkpoint's family: the price class.
    pub family: Family,
    /// Where it may run.
    pub place: Place,
    /// Most it may cost; `None` accepts the table price.
    pub max: Option<Millikudos>,
    /// How long a person is ready to wait; `None` is [`JOB_TIMEOUT`](crate::JOB_TIMEOUT).
    pub timeout: Option<Millis>,
    /// Size of each card's files together, so that bytes to fetch can be estimated.
    pub sizes: BTreeMap<CardId, ByteCount>,
}

/// Where a job may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// Wherever it is done first.
    Anywhere,
    /// On this node's own engine: writes nothing to the ledger.
    Local,
    /// On this member and nowhere else.
    Peer(NodeId),
}

/// What this node knows of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShelfCard {
    /// Size of its files together.
    pub size: ByteCount,
    /// How much of that is not here.
    pub missing: ByteCount,
    /// Its family.
    pub family: Family,
}

/// Why outputs could not be saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputsFault {
    /// The worker could not be reached in time: tried again later.
    Unreachable,
    /// The worker answers and does not have them: tried again later, disputed in the end.
    Missing,
    /// What came is not what the receipt commits to: disputed at once.
    Corrupt,
    /// This node's own disk failed: tried again later, never the worker's fault.
    OwnDisk,
}

/// How an engine run ended badly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineEnd {
    /// It was told to stop.
    Cancelled,
    /// It refused or failed; the cause in words, bounded by `limits::TEXT_LEN_MAX`.
    Refused(String),
    /// Its process died.
    Died,
}

/// Why outputs could not be stored for the requester.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreFault {
    /// The disk is full.
    DiskFull,
    /// The store failed otherwise.
    Failed,
}
