//! One order at its worker (or one own job): its stage and what it knows of itself.

use std::collections::BTreeMap;

use hearth_protocol::entry::Energy;
use hearth_protocol::id::{EntryHash, JobId, NodeId, Salt};
use hearth_protocol::job::{Failure, Family, JobSpec, Phase, QuoteRequest, Refusal, Timings};
use hearth_protocol::unit::{ByteCount, Millikudos, Millis, Timestamp};
use hearth_protocol::wire::{Done, JobMessage};

use crate::event::CallId;
use crate::ledger_view::HeldOrder;
use crate::rank::Scene;
use crate::record::{Deliverable, WorkRecord, WorkStage};

/// How long an order may arrive before its entry.
pub(crate) const ORDER_WAIT: Millis = Millis::from_secs(10);
/// How long to wait before signing again what could not be signed.
pub(crate) const SIGN_AGAIN: Millis = Millis::from_secs(30);

/// Where one order is at its worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// The job is here, its order entry is not.
    Awaiting {
        /// When to give up.
        until: Timestamp,
        /// Opens the commitment.
        salt: Salt,
    },
    /// Accepted, waits for the engine.
    Queued,
    /// Its cards are being fetched; it holds the engine's slot.
    Fetching {
        /// The call.
        call: CallId,
    },
    /// The engine runs it.
    Running {
        /// The call.
        call: CallId,
    },
    /// Its outputs are being stored.
    Storing {
        /// The call.
        call: CallId,
        /// What the engine said.
        run: Run,
    },
    /// Its receipt is being written.
    Receipting {
        /// The call, `None` between two tries.
        call: Option<CallId>,
        /// What it is made of.
        deliverable: Box<Deliverable>,
        /// When to try again.
        again: Timestamp,
    },
    /// The receipt is written; outputs wait for the requester.
    Delivered {
        /// What is repeated until they are fetched.
        done: Box<Done>,
    },
    /// The order's void is being written.
    Voiding {
        /// The call, `None` between two tries.
        call: Option<CallId>,
        /// What the requester is told then.
        farewell: Farewell,
        /// When to try again.
        again: Timestamp,
    },
    /// Over; the note stays until the order can no longer hold.
    Over(Farewell),
}

/// What an engine run gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Guided evaluations done.
    pub evaluations: u32,
    /// How long it took.
    pub timings: Timings,
    /// What it took.
    pub energy: Energy,
    /// Things a person should know.
    pub warnings: Vec<String>,
}

/// The last word on an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Farewell {
    /// It was done and handed over.
    Received,
    /// It failed.
    Failed(Failure),
    /// It was never taken.
    Refused(Refusal),
}

/// One order at its worker, or one own job.
#[derive(Debug, Clone)]
pub struct Work {
    pub(crate) order: Option<EntryHash>,
    pub(crate) job: JobId,
    /// The own node for an own job.
    pub(crate) requester: NodeId,
    pub(crate) spec: Option<Box<JobSpec>>,
    pub(crate) family: Family,
    pub(crate) max: Millikudos,
    /// The work part of the price agreed.
    pub(crate) work_price: Millikudos,
    pub(crate) deadline: Timestamp,
    pub(crate) accepted: Timestamp,
    pub(crate) started: Option<Timestamp>,
    pub(crate) fetch_took: Millis,
    pub(crate) bytes_from: BTreeMap<NodeId, ByteCount>,
    pub(crate) phase: Option<Phase>,
    /// Why it must stop, once it must.
    pub(crate) stopping: Option<Failure>,
    pub(crate) stage: Stage,
}

impl Work {
    pub(crate) fn local(
        now: Timestamp,
        me: NodeId,
        job: JobId,
        spec: Box<JobSpec>,
        family: Family,
    ) -> Self {
        Self {
            order: None,
            job,
            requester: me,
            spec: Some(spec),
            family,
            max: Millikudos::ZERO,
            work_price: Millikudos::ZERO,
            deadline: Timestamp::from_millis(u64::MAX),
            accepted: now,
            started: None,
            fetch_took: Millis::ZERO,
            bytes_from: BTreeMap::new(),
            phase: None,
            stopping: None,
            stage: Stage::Queued,
        }
    }

    /// A work that never ran here: only its void matters.
    pub(crate) fn stub(
        now: Timestamp,
        requester: NodeId,
        job: JobId,
        held: &HeldOrder,
        order: EntryHash,
    ) -> Self {
        Self::restored(WorkRecord {
            order,
            job,
            requester,
            max: held.max,
            deadline: held.deadline,
            accepted: now,
            stage: WorkStage::Accepted,
        })
    }

    pub(crate) fn restored(record: WorkRecord) -> Self {
        let stage = match record.stage {
            WorkStage::Accepted => Stage::Queued,
            WorkStage::Stored(deliverable) => Stage::Receipting {
                call: None,
                deliverable,
                again: record.accepted,
            },
            WorkStage::Delivered(done) => Stage::Delivered { done },
            WorkStage::Received => Stage::Over(Farewell::Received),
            WorkStage::Failed(failure) => Stage::Over(Farewell::Failed(failure)),
        };
        Self {
            order: Some(record.order),
            job: record.job,
            requester: record.requester,
            spec: None,
            family: Family::Sd15,
            max: record.max,
            work_price: Millikudos::ZERO,
            deadline: record.deadline,
            accepted: record.accepted,
            started: None,
            fetch_took: Millis::ZERO,
            bytes_from: BTreeMap::new(),
            phase: None,
            stopping: None,
            stage,
        }
    }

    /// Returns the note a restart needs; `None` where nothing was accepted.
    pub(crate) fn record(&self) -> Option<WorkRecord> {
        let stage = match &self.stage {
            Stage::Awaiting { .. } => return None,
            Stage::Queued
            | Stage::Fetching { .. }
            | Stage::Running { .. }
            | Stage::Storing { .. }
            | Stage::Voiding { .. } => WorkStage::Accepted,
            Stage::Receipting { deliverable, .. } => WorkStage::Stored(deliverable.clone()),
            Stage::Delivered { done } => WorkStage::Delivered(done.clone()),
            Stage::Over(Farewell::Received) => WorkStage::Received,
            Stage::Over(Farewell::Failed(failure)) => WorkStage::Failed(failure.clone()),
            Stage::Over(Farewell::Refused(_)) => return None,
        };
        Some(WorkRecord {
            order: self.order?,
            job: self.job,
            requester: self.requester,
            max: self.max,
            deadline: self.deadline,
            accepted: self.accepted,
            stage,
        })
    }

    /// Returns the job.
    pub const fn job(&self) -> JobId {
        self.job
    }

    /// Returns the order; `None` for an own job.
    pub const fn order(&self) -> Option<EntryHash> {
        self.order
    }

    /// Returns who asked; the own node for an own job.
    pub const fn requester(&self) -> NodeId {
        self.requester
    }

    /// Returns where it is.
    pub const fn stage(&self) -> &Stage {
        &self.stage
    }

    /// Returns where the engine is with it.
    pub const fn phase(&self) -> Option<&Phase> {
        self.phase.as_ref()
    }

    /// Returns whether it waits or runs.
    pub const fn is_open(&self) -> bool {
        matches!(
            self.stage,
            Stage::Awaiting { .. }
                | Stage::Queued
                | Stage::Fetching { .. }
                | Stage::Running { .. }
                | Stage::Storing { .. }
        )
    }

    /// Returns whether it holds the engine.
    pub(crate) const fn holds_slot(&self) -> bool {
        matches!(self.stage, Stage::Fetching { .. } | Stage::Running { .. })
    }

    pub(crate) const fn may_still_charge(&self) -> bool {
        matches!(
            self.stage,
            Stage::Queued
                | Stage::Fetching { .. }
                | Stage::Running { .. }
                | Stage::Storing { .. }
                | Stage::Receipting { .. }
        )
    }

    pub(crate) const fn waits_for_ledger(&self) -> bool {
        matches!(self.stage, Stage::Awaiting { .. })
    }

    pub(crate) fn due(&self, cx: &Scene<'_>) -> Option<Timestamp> {
        self.due_with(cx.view.windows().skew)
    }

    /// Returns when time alone changes something.
    pub(crate) fn due_with(&self, skew: Millis) -> Option<Timestamp> {
        match &self.stage {
            Stage::Awaiting { until, .. } => Some(*until),
            Stage::Queued | Stage::Fetching { .. } | Stage::Running { .. } => {
                let late = self.order.is_some() && self.stopping.is_none();
                late.then_some(self.deadline)
            }
            Stage::Storing { .. } => None,
            Stage::Receipting { call, again, .. } | Stage::Voiding { call, again, .. } => {
                call.is_none().then_some(*again)
            }
            Stage::Delivered { .. } => Some(self.deadline.plus(OUTPUTS_KEPT)),
            Stage::Over(_) => {
                let kept = self.accepted.plus(OUTPUTS_KEPT);
                Some(self.deadline.plus(skew).min(kept))
            }
        }
    }

    /// Describes the work as its price sees it.
    pub(crate) fn demand(&self) -> Option<QuoteRequest> {
        let spec = self.spec.as_ref()?;
        Some(demand_of(self.job, self.family, spec))
    }

    /// Returns what the requester is told when it asks where its job is.
    pub(crate) fn farewell_message(&self, farewell: &Farewell) -> Option<JobMessage> {
        let (job, order) = (self.job, self.order?);
        match farewell.clone() {
            Farewell::Received => None,
            Farewell::Failed(failure) => Some(JobMessage::Failed {
                job,
                order,
                failure,
            }),
            Farewell::Refused(refusal) => Some(JobMessage::Refused {
                job,
                order,
                refusal,
            }),
        }
    }
}

/// How long outputs wait for a requester after the order's deadline: a day, as its window to
/// dispute.
pub(crate) const OUTPUTS_KEPT: Millis = Millis::from_secs(86_400);

pub(crate) fn demand_of(job: JobId, family: Family, spec: &JobSpec) -> QuoteRequest {
    QuoteRequest {
        job,
        family,
        width: spec.width,
        height: spec.height,
        evaluations: spec.evaluations(),
        cards: spec.cards(),
    }
}

impl Stage {
    /// Returns the stage's name, as people see it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Awaiting { .. } => "awaiting",
            Self::Queued => "queued",
            Self::Fetching { .. } => "fetching",
            Self::Running { .. } => "running",
            Self::Storing { .. } => "storing",
            Self::Receipting { .. } => "receipting",
            Self::Delivered { .. } => "delivered",
            Self::Voiding { .. } => "voiding",
            Self::Over(Farewell::Received) => "finished",
            Self::Over(Farewell::Failed(_)) => "failed",
            Self::Over(Farewell::Refused(_)) => "refused",
        }
    }
}
