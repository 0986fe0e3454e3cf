//! What the [`Dispatcher`](crate::Dispatcher) wants done outside.
//!
//! The daemon carries effects out **in order**, and a `Persist*` is durable before the next effect
//! begins: that is what "noted before accepted" and "persisted before sent" rest on. An effect with
//! a [`CallId`] is answered exactly once, by the event its documentation names, unless the process
//! ends first. Nothing in this module decides anything.

use hearth_protocol::entry::Body;
use hearth_protocol::id::{CardId, EntryHash, JobId, NodeId};
use hearth_protocol::job::{JobSpec, OutputRef, Phase, Preview};
use hearth_protocol::wire::JobMessage;

use crate::event::CallId;
use crate::ignored::Ignored;
use crate::record::{JobRecord, WorkRecord};

/// Everything a dispatcher can ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Say this on the job stream. A message to somebody who just left is dropped: both sides
    /// repeat what matters when the connection is back.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Box<JobMessage>,
    },
    /// Write this into the own chain; an `Order`, `Receipt`, `Void`, `Ack` or `Transfer`.
    /// Answered by [`Signed`](crate::Event::Signed), after the view shows the entry, or
    /// [`NotSigned`](crate::Event::NotSigned).
    Sign {
        /// The call.
        call: CallId,
        /// What to write.
        body: Body,
    },
    /// Keep this; it replaces what was kept under the same job.
    PersistJob(Box<JobRecord>),
    /// Keep this; it replaces what was kept under the same order.
    PersistWork(Box<WorkRecord>),
    /// Keep this no longer.
    ForgetWork {
        /// The order it was kept under.
        order: EntryHash,
    },

    /// Get the outputs from the worker, verify their hashes and save them for the person.
    /// Answered by [`OutputsSaved`](crate::Event::OutputsSaved) or
    /// [`OutputsFailed`](crate::Event::OutputsFailed).
    FetchOutputs {
        /// The call.
        call: CallId,
        /// The job.
        job: JobId,
        /// Who has them.
        worker: NodeId,
        /// What to get.
        outputs: Vec<OutputRef>,
    },
    /// A job of this node went on; for its person's eyes.
    Progressed {
        /// The job.
        job: JobId,
        /// Where it is.
        phase: Phase,
        /// What it looks like.
        preview: Option<Preview>,
    },

    /// Have every file of these cards here and keep them from collection until the job is over.
    /// Answered by [`CardsReady`](crate::Event::CardsReady) or
    /// [`CardsFailed`](crate::Event::CardsFailed).
    FetchCards {
        /// The call.
        call: CallId,
        /// For which job.
        job: JobId,
        /// The cards, the checkpoint first.
        cards: Vec<CardId>,
    },
    /// Stop fetching; [`CardsFailed`](crate::Event::CardsFailed) follows (or `CardsReady`, if it
    /// was faster).
    StopFetch {
        /// The call that is to end.
        call: CallId,
    },
    /// Run the engine. Answered by [`EngineDone`](crate::Event::EngineDone) or
    /// [`EngineFailed`](crate::Event::EngineFailed).
    RunEngine {
        /// The call.
        call: CallId,
        /// The job.
        job: JobId,
        /// Who asked and has the files it starts from; this node for its own jobs.
        requester: NodeId,
        /// What to do.
        spec: Box<JobSpec>,
    },
    /// Stop the engine at its next evaluation; the run's answer follows.
    CancelEngine {
        /// The call that is to end.
        call: CallId,
    },
    /// Take the output bytes of a finished run and keep them: for a peer as blobs that it alone
    /// may fetch, for the own person as saved files. Answered by
    /// [`OutputsStored`](crate::Event::OutputsStored) or
    /// [`OutputsNotStored`](crate::Event::OutputsNotStored).
    StoreOutputs {
        /// The call.
        call: CallId,
        /// The engine run whose outputs are meant.
        run: CallId,
        /// The job.
        job: JobId,
        /// Who they are for.
        recipient: Recipient,
    },
    /// The requester has its outputs, or its time is over: drop them and whom they were open for.
    DropOutputs {
        /// The order.
        order: EntryHash,
        /// The job.
        job: JobId,
        /// Whom they were for.
        requester: NodeId,
    },
    /// Queue, warm models or readiness changed: a new advert is due soon.
    CapacityChanged,

    /// An event had no effect, and why. Traced, never fatal.
    Ignored {
        /// Who caused it, when a peer did.
        peer: Option<NodeId>,
        /// Why nothing came of it.
        why: Ignored,
    },
}

/// Who a run's outputs are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recipient {
    /// The person of this node.
    Own,
    /// The requester of an order.
    Peer {
        /// The requester.
        requester: NodeId,
        /// The order.
        order: EntryHash,
    },
}
