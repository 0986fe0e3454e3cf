//! What must survive a restart: plain notes the daemon stores and gives back at start.
//!
//! Notes hold no calls and no queues, only what a fresh dispatcher needs to take a job up again. A
//! note may hold a [`JobSpec`] with its prompt: a daemon that keeps no prompts on disk sets `spec`
//! to `None` before storing, and such a job is resumed where it runs but not placed again.

use std::collections::BTreeMap;

use hearth_protocol::entry::{Energy, Verdict, Work};
use hearth_protocol::id::{CardId, EntryHash, JobId, NodeId, Salt};
use hearth_protocol::job::{Failure, Family, JobSpec, OutputRef, Timings};
use hearth_protocol::unit::{ByteCount, Millikudos, Timestamp};
use hearth_protocol::wire::Done;

use serde::{Deserialize, Serialize};

use crate::event::Place;
use crate::failure::JobFailure;

/// A requester's note of one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// The job.
    pub job: JobId,
    /// Opens its commitment.
    pub salt: Salt,
    /// What to do; `None` once a store without prompts gave it back.
    pub spec: Option<Box<JobSpec>>,
    /// Its price class.
    pub family: Family,
    /// Where it may run.
    pub place: Place,
    /// Most it may cost.
    pub max: Option<Millikudos>,
    /// When it was submitted.
    pub submitted: Timestamp,
    /// When its person stops waiting.
    pub until: Timestamp,
    /// Sizes of its cards.
    pub sizes: BTreeMap<CardId, ByteCount>,
    /// Workers that had their chance.
    pub tried: Vec<NodeId>,
    /// Whether a person wants it still.
    pub wish: Wish,
    /// How far it is.
    pub stage: JobStage,
}

/// What a person wants of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wish {
    /// That it is done.
    Finish,
    /// That it stops.
    Cancel,
}

/// How far a requester's job is, for the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobStage {
    /// No order was sent.
    Placing,
    /// An order was sent; the worker may be on it.
    Ordered(Attempt),
    /// The worker is done; outputs are not here yet.
    Collecting {
        /// The attempt.
        attempt: Attempt,
        /// What the worker said.
        done: Box<Done>,
    },
    /// Outputs are judged; the verdict is not signed yet.
    Acking {
        /// The attempt.
        attempt: Attempt,
        /// What the worker said.
        done: Box<Done>,
        /// The judgement.
        verdict: Verdict,
    },
    /// On the own engine.
    Local,
    /// Over, well.
    Finished(Finish),
    /// Over, badly.
    Failed(JobFailure),
    /// Over because a person wanted so.
    Cancelled {
        /// What was paid for what was done.
        paid: Millikudos,
    },
}

/// One order to one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The worker.
    pub worker: NodeId,
    /// The order in the own chain.
    pub order: EntryHash,
    /// Most it allows.
    pub max: Millikudos,
    /// A receipt dated later has no effect.
    pub deadline: Timestamp,
}

/// How a job ended well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finish {
    /// Who did it; `None` on the own engine.
    pub worker: Option<NodeId>,
    /// The receipt; `None` on the own engine.
    pub receipt: Option<EntryHash>,
    /// What it cost.
    pub amount: Millikudos,
    /// What was made.
    pub outputs: Vec<OutputRef>,
    /// How long it took.
    pub timings: Timings,
    /// What it took.
    pub energy: Energy,
    /// Things a person should know.
    pub warnings: Vec<String>,
}

/// A worker's note of one order: what keeps a replay or a restart from running it twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkRecord {
    /// The order.
    pub order: EntryHash,
    /// The job.
    pub job: JobId,
    /// Who ordered it.
    pub requester: NodeId,
    /// Most it allows.
    pub max: Millikudos,
    /// A receipt dated later has no effect.
    pub deadline: Timestamp,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// How far it is.
    pub stage: WorkStage,
}

/// How far a worker is with an order, for the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkStage {
    /// Accepted: waiting, fetching or running. After a restart it is lost.
    Accepted,
    /// Outputs are stored; the receipt is not signed yet.
    Stored(Box<Deliverable>),
    /// The receipt is written; `Done` is repeated until the requester has its outputs.
    Delivered(Box<Done>),
    /// The requester has its outputs, or its time is over.
    Received,
    /// It failed; the order was voided.
    Failed(Failure),
}

/// Everything a receipt and its `Done` are made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deliverable {
    /// What was made.
    pub outputs: Vec<OutputRef>,
    /// Opens the receipt's commitment.
    pub salt: Salt,
    /// The charge.
    pub amount: Millikudos,
    /// What was done.
    pub work: Work,
    /// What it took.
    pub energy: Energy,
    /// How long it took.
    pub timings: Timings,
    /// Things a person should know.
    pub warnings: Vec<String>,
    /// Bytes each seeder served for it.
    pub bytes_from: BTreeMap<NodeId, ByteCount>,
    /// The part of the charge that is for fetching: thanks never pass it.
    pub fetch_part: Millikudos,
}
