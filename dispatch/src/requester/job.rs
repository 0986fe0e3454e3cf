//! One job of this node: its state, and the one table of state and event.
//!
//! Acts: *placing* (choose, quote, sign), *following* (ordered, running, releasing),
//! *collecting* (settle, save, ack). Every change of stage is persisted before what it allows is
//! done, so that a restart never pays twice.

use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::entry::Verdict;
use hearth_protocol::id::{CardId, EntryHash, JobId, NodeId, Salt};
use hearth_protocol::job::{
    Failure, Family, JobSpec, Phase, Preview, Quote, QuoteRequest, Refusal,
};
use hearth_protocol::unit::{ByteCount, Millikudos, Millis, Timestamp};
use hearth_protocol::wire::{Done, JobMessage};

use crate::JOB_TIMEOUT;
use crate::effect::Effect;
use crate::event::{CallId, OutputsFault, Place, Submission};
use crate::failure::{JobFailure, NoPlace};
use crate::ignored::Ignored;
use crate::rank::Scene;
use crate::record::{Attempt, Finish, JobRecord, JobStage, Wish};

/// Where one job of this node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// Nobody can take it just now; looked at again soon.
    Waiting {
        /// Why.
        why: NoPlace,
        /// When to look again.
        again: Timestamp,
    },
    /// Workers are asked for quotes.
    Quoting {
        /// What is not answered by then is silence.
        until: Timestamp,
    },
    /// The order is being written.
    Signing {
        /// For whom.
        worker: NodeId,
        /// What it allows.
        max: Millikudos,
        /// Until when.
        deadline: Timestamp,
        /// The call.
        call: CallId,
    },
    /// The order was sent.
    Ordered {
        /// The attempt.
        attempt: Attempt,
        /// When to ask again.
        nudge: Timestamp,
    },
    /// The worker accepted.
    Running {
        /// The attempt.
        attempt: Attempt,
        /// When to ask again.
        nudge: Timestamp,
    },
    /// The worker will not do it; its void is awaited.
    Releasing {
        /// The attempt.
        attempt: Attempt,
        /// What it said, if it said something.
        why: Option<JobFailure>,
        /// When to ask again, or to stop waiting for its words.
        nudge: Timestamp,
    },
    /// The order ran out; the own void is being written.
    Voiding {
        /// The attempt.
        attempt: Attempt,
        /// What was last heard.
        why: Option<JobFailure>,
        /// The call.
        call: CallId,
    },
    /// The worker is done; its receipt is not in the ledger yet.
    Settling {
        /// The attempt.
        attempt: Attempt,
        /// What it said.
        done: Box<Done>,
    },
    /// Outputs are being fetched and saved.
    Saving {
        /// The attempt.
        attempt: Attempt,
        /// What the worker said.
        done: Box<Done>,
        /// The charge, as the ledger has it.
        amount: Millikudos,
        /// The call, `None` between two tries.
        call: Option<CallId>,
        /// When to try again.
        again: Timestamp,
        /// When to stop trying.
        until: Timestamp,
    },
    /// The verdict is being written.
    Acking {
        /// The attempt.
        attempt: Attempt,
        /// What the worker said.
        done: Box<Done>,
        /// The charge, as the ledger has it.
        amount: Millikudos,
        /// The judgement.
        verdict: Verdict,
        /// The call, `None` between two tries.
        call: Option<CallId>,
        /// When to try again.
        again: Timestamp,
    },
    /// The worker was told to stop.
    Cancelling {
        /// The attempt.
        attempt: Attempt,
        /// When to tell it again.
        nudge: Timestamp,
    },
    /// On the own engine.
    Local,
    /// Over, well.
    Finished(Box<Finish>),
    /// Over, badly.
    Failed(JobFailure),
    /// Over because a person wanted so.
    Cancelled {
        /// What was paid for what was done.
        paid: Millikudos,
    },
}

/// What one worker said when it was asked for a quote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Pending,
    Silent,
    Quoted(Quote),
    Refused(Refusal),
}

/// What can happen to one job.
#[derive(Debug)]
pub(crate) enum JobEvent {
    /// Its worker, or somebody else, said something about it.
    Heard(NodeId, Box<JobMessage>),
    /// A signature came.
    Signed(CallId, EntryHash),
    /// A signature will not come.
    NotSigned(CallId, String),
    /// Outputs are here.
    Saved(CallId),
    /// Outputs are not here.
    NotSaved(CallId, OutputsFault),
    /// A member is back.
    Connected(NodeId),
    /// Time passed or the ledger changed.
    Look,
    /// A place may be free.
    Retry,
    /// A person no longer wants it.
    Cancel,
    /// The own engine goes on.
    LocalProgress(Phase, Option<Preview>),
    /// The own engine is done with it.
    LocalOver(Result<Box<Finish>, Failure>),
}

impl JobEvent {
    pub(crate) fn peer(&self) -> Option<NodeId> {
        match self {
            Self::Heard(peer, _) | Self::Connected(peer) => Some(*peer),
            Self::Signed(..)
            | Self::NotSigned(..)
            | Self::Saved(_)
            | Self::NotSaved(..)
            | Self::Look
            | Self::Retry
            | Self::Cancel
            | Self::LocalProgress(..)
            | Self::LocalOver(_) => None,
        }
    }
}

/// One job a person of this node asked for.
#[derive(Debug, Clone)]
pub struct Job {
    pub(crate) id: JobId,
    pub(crate) salt: Salt,
    pub(crate) spec: Option<Box<JobSpec>>,
    pub(crate) family: Family,
    pub(crate) place: Place,
    pub(crate) max: Option<Millikudos>,
    pub(crate) submitted: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) ended: Option<Timestamp>,
    pub(crate) sizes: BTreeMap<CardId, ByteCount>,
    pub(crate) tried: BTreeSet<NodeId>,
    pub(crate) wish: Wish,
    pub(crate) phase: Option<Phase>,
    pub(crate) state: JobState,
    /// When the state wants to be looked at again.
    pub(crate) timer: Option<Timestamp>,
    /// What workers said in this round of placing.
    pub(crate) answers: BTreeMap<NodeId, Answer>,
    pub(crate) asked_at: Timestamp,
    pub(crate) ordered_at: Option<Timestamp>,
    /// Why the last attempt ended.
    pub(crate) last: Option<JobFailure>,
    /// Set by the table before each step.
    pub(crate) siblings: BTreeMap<NodeId, u32>,
    /// Open orders of all jobs at each worker; set by the table before each step.
    pub(crate) orders_at: BTreeMap<NodeId, usize>,
    /// Set by the table before each step.
    pub(crate) failures: BTreeMap<NodeId, u32>,
    /// The worker to blame in this step.
    pub(crate) blamed: Option<NodeId>,
}

impl Job {
    pub(crate) fn new(now: Timestamp, submission: Submission) -> Self {
        let timeout = submission.timeout.unwrap_or(JOB_TIMEOUT);
        Self::restored(JobRecord {
            job: submission.job,
            salt: submission.salt,
            spec: Some(Box::new(submission.spec)),
            family: submission.family,
            place: submission.place,
            max: submission.max,
            submitted: now,
            until: now.plus(timeout),
            sizes: submission.sizes,
            tried: Vec::new(),
            wish: Wish::Finish,
            stage: JobStage::Placing,
        })
    }

    /// Returns the job's name.
    pub const fn id(&self) -> JobId {
        self.id
    }

    /// Returns what to do; `None` after a restart without prompts.
    pub fn spec(&self) -> Option<&JobSpec> {
        self.spec.as_deref()
    }

    /// Returns where it is.
    pub const fn state(&self) -> &JobState {
        &self.state
    }

    /// Returns what its worker last said of its progress.
    pub const fn phase(&self) -> Option<&Phase> {
        self.phase.as_ref()
    }

    /// Returns when it was submitted.
    pub const fn submitted(&self) -> Timestamp {
        self.submitted
    }

    /// Returns when it ended.
    pub const fn ended(&self) -> Option<Timestamp> {
        self.ended
    }

    /// Returns whether it is over, well or badly.
    pub const fn is_over(&self) -> bool {
        matches!(
            self.state,
            JobState::Finished(_) | JobState::Failed(_) | JobState::Cancelled { .. }
        )
    }

    /// Returns the order that is out, if one is.
    pub const fn attempt(&self) -> Option<&Attempt> {
        match &self.state {
            JobState::Ordered { attempt, .. }
            | JobState::Running { attempt, .. }
            | JobState::Releasing { attempt, .. }
            | JobState::Voiding { attempt, .. }
            | JobState::Settling { attempt, .. }
            | JobState::Saving { attempt, .. }
            | JobState::Acking { attempt, .. }
            | JobState::Cancelling { attempt, .. } => Some(attempt),
            JobState::Waiting { .. }
            | JobState::Quoting { .. }
            | JobState::Signing { .. }
            | JobState::Local
            | JobState::Finished(_)
            | JobState::Failed(_)
            | JobState::Cancelled { .. } => None,
        }
    }

    /// Returns who works on it or did it.
    pub fn worker(&self) -> Option<NodeId> {
        match &self.state {
            JobState::Signing { worker, .. } => Some(*worker),
            JobState::Finished(finish) => finish.worker,
            JobState::Waiting { .. }
            | JobState::Quoting { .. }
            | JobState::Ordered { .. }
            | JobState::Running { .. }
            | JobState::Releasing { .. }
            | JobState::Voiding { .. }
            | JobState::Settling { .. }
            | JobState::Saving { .. }
            | JobState::Acking { .. }
            | JobState::Cancelling { .. }
            | JobState::Local
            | JobState::Failed(_)
            | JobState::Cancelled { .. } => self.attempt().map(|attempt| attempt.worker),
        }
    }

    /// Describes the job without its prompt, as workers are asked.
    pub(crate) fn demand(&self) -> Option<QuoteRequest> {
        let spec = self.spec.as_ref()?;
        Some(QuoteRequest {
            job: self.id,
            family: self.family,
            width: spec.width,
            height: spec.height,
            evaluations: spec.evaluations(),
            cards: spec.cards(),
        })
    }

    /// Handles one event and returns the worker to blame, if one failed us.
    pub(crate) fn step(&mut self, cx: &mut Scene<'_>, event: JobEvent) -> Option<NodeId> {
        self.blamed = None;
        match event {
            JobEvent::Heard(from, message) => self.hear(cx, from, *message),
            JobEvent::Signed(call, entry) => self.signed(cx, call, entry),
            JobEvent::NotSigned(call, cause) => self.not_signed(cx, call, cause),
            JobEvent::Saved(call) => self.saved(cx, call),
            JobEvent::NotSaved(call, fault) => self.not_saved(cx, call, fault),
            JobEvent::Connected(peer) => self.connected(cx, peer),
            JobEvent::Look => self.look(cx),
            JobEvent::Retry => self.retry(cx),
            JobEvent::Cancel => self.cancel(cx),
            JobEvent::LocalProgress(phase, preview) => self.progress(cx, phase, preview),
            JobEvent::LocalOver(result) => self.local_over(cx, result),
        }
        self.timer = self.due(cx);
        self.blamed
    }

    /// Looks at time and ledger: the one table of what each state waits for.
    pub(crate) fn look(&mut self, cx: &mut Scene<'_>) {
        match &self.state {
            JobState::Waiting { .. } | JobState::Quoting { .. } => self.look_placing(cx),
            JobState::Ordered { .. } | JobState::Running { .. } => self.look_following(cx),
            JobState::Releasing { .. } => self.look_releasing(cx),
            JobState::Cancelling { .. } => self.look_cancelling(cx),
            JobState::Settling { .. } => self.look_settling(cx),
            JobState::Saving { .. } => self.look_saving(cx),
            JobState::Acking { .. } => self.look_acking(cx),
            JobState::Signing { .. }
            | JobState::Voiding { .. }
            | JobState::Local
            | JobState::Finished(_)
            | JobState::Failed(_)
            | JobState::Cancelled { .. } => {}
        }
    }

    /// Returns when the state wants to be looked at again.
    pub(crate) fn due(&self, cx: &Scene<'_>) -> Option<Timestamp> {
        let over = |attempt: &Attempt| attempt.deadline.plus(cx.view.windows().skew);
        match &self.state {
            JobState::Waiting { again, .. } => Some((*again).min(self.until)),
            JobState::Quoting { until } => Some(*until),
            JobState::Ordered { attempt, nudge }
            | JobState::Running { attempt, nudge }
            | JobState::Releasing { attempt, nudge, .. }
            | JobState::Cancelling { attempt, nudge } => {
                let over = over(attempt);
                Some(if over > cx.now {
                    over.min(*nudge)
                } else {
                    *nudge
                })
            }
            JobState::Settling { attempt, .. } => Some(over(attempt)),
            JobState::Saving {
                call: None, again, ..
            }
            | JobState::Acking {
                call: None, again, ..
            } => Some(*again),
            JobState::Saving { call: Some(_), .. }
            | JobState::Acking { call: Some(_), .. }
            | JobState::Signing { .. }
            | JobState::Voiding { .. }
            | JobState::Local
            | JobState::Finished(_)
            | JobState::Failed(_)
            | JobState::Cancelled { .. } => None,
        }
    }

    pub(crate) fn persist(&self, cx: &mut Scene<'_>) {
        cx.out.push(Effect::PersistJob(Box::new(self.record())));
    }

    pub(crate) fn fail(&mut self, cx: &mut Scene<'_>, why: JobFailure) {
        self.end(cx, JobState::Failed(why));
    }

    pub(crate) fn end(&mut self, cx: &mut Scene<'_>, state: JobState) {
        self.state = state;
        self.ended = Some(cx.now);
        self.timer = None;
        self.answers.clear();
        self.persist(cx);
    }

    pub(crate) fn out_of_place(&self, cx: &mut Scene<'_>, peer: NodeId, message: &'static str) {
        let state = self.state.name();
        cx.out
            .ignore(Some(peer), Ignored::OutOfPlace { message, state });
    }
}

impl JobState {
    /// Returns the call it waits for.
    pub(crate) const fn awaited(&self) -> Option<CallId> {
        match self {
            Self::Signing { call, .. } | Self::Voiding { call, .. } => Some(*call),
            Self::Saving { call, .. } | Self::Acking { call, .. } => *call,
            Self::Waiting { .. }
            | Self::Quoting { .. }
            | Self::Ordered { .. }
            | Self::Running { .. }
            | Self::Releasing { .. }
            | Self::Settling { .. }
            | Self::Cancelling { .. }
            | Self::Local
            | Self::Finished(_)
            | Self::Failed(_)
            | Self::Cancelled { .. } => None,
        }
    }

    /// Returns the state's name, as people see it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Waiting { .. } => "waiting",
            Self::Quoting { .. } | Self::Signing { .. } => "placing",
            Self::Ordered { .. } => "ordered",
            Self::Running { .. } | Self::Local => "running",
            Self::Releasing { .. } | Self::Voiding { .. } => "releasing",
            Self::Settling { .. } => "settling",
            Self::Saving { .. } => "fetching",
            Self::Acking { .. } => "acking",
            Self::Cancelling { .. } => "cancelling",
            Self::Finished(_) => "finished",
            Self::Failed(_) => "failed",
            Self::Cancelled { .. } => "cancelled",
        }
    }
}

/// How long to wait before saying something again to a connected worker.
pub(crate) const NUDGE: Millis = Millis::from_secs(30);
