//! Second act: the order is out; follow it until it is done, released or run out.
//!
//! While an order may still be charged no other is written: the next one comes after the
//! provider's void, or after the deadline plus skew and the own void (paid at most once). A
//! disconnected worker is waited for until then.

use hearth_protocol::entry::{Body, VoidReason};
use hearth_protocol::id::{EntryHash, NodeId};
use hearth_protocol::job::{Phase, Preview};
use hearth_protocol::unit::{Millikudos, Millis, Timestamp};
use hearth_protocol::wire::JobMessage;

use crate::effect::Effect;
use crate::event::CallId;
use crate::failure::JobFailure;
use crate::ignored::Ignored;
use crate::ledger_view::HoldState;
use crate::outbox::Caller;
use crate::rank::Scene;
use crate::record::{Attempt, Wish};

use super::job::{Answer, Job, JobState, NUDGE};

/// How long a void may be ahead of the worker's own words on why.
const WORDS_WAIT: Millis = Millis::from_secs(1);

impl Job {
    /// Handles a worker's message: the table of message and state.
    pub(crate) fn hear(&mut self, cx: &mut Scene<'_>, from: NodeId, message: JobMessage) {
        match message {
            JobMessage::Quote(quote) => return self.quoted(cx, from, Answer::Quoted(quote)),
            JobMessage::QuoteRefused { refusal, .. } => {
                return self.quoted(cx, from, Answer::Refused(refusal));
            }
            JobMessage::Accepted { .. }
            | JobMessage::Refused { .. }
            | JobMessage::Progress { .. }
            | JobMessage::Done(_)
            | JobMessage::Failed { .. }
            | JobMessage::QuoteRequest(_)
            | JobMessage::Order { .. }
            | JobMessage::Cancel { .. }
            | JobMessage::Resume { .. }
            | JobMessage::Received { .. } => {}
        }
        let Some(attempt) = self.heard_about(cx, from, &message) else {
            return;
        };
        match message {
            JobMessage::Accepted { ahead, .. } => self.accepted(cx, attempt, ahead),
            JobMessage::Progress { phase, preview, .. } => {
                self.accepted(cx, attempt, 0);
                self.progress(cx, phase, preview);
            }
            JobMessage::Refused { refusal, .. } => {
                let worker = attempt.worker;
                self.release(cx, attempt, JobFailure::Refused { worker, refusal });
            }
            JobMessage::Failed { failure, .. } => {
                let worker = attempt.worker;
                self.release(cx, attempt, JobFailure::Worker { worker, failure });
            }
            JobMessage::Done(done) => self.done(cx, attempt, done),
            JobMessage::Quote(_)
            | JobMessage::QuoteRefused { .. }
            | JobMessage::QuoteRequest(_)
            | JobMessage::Order { .. }
            | JobMessage::Cancel { .. }
            | JobMessage::Resume { .. }
            | JobMessage::Received { .. } => self.out_of_place(cx, from, "a requester's message"),
        }
    }

    /// Checks that a message is from the present worker about the present order.
    fn heard_about(
        &self,
        cx: &mut Scene<'_>,
        from: NodeId,
        message: &JobMessage,
    ) -> Option<Attempt> {
        let order = order_of(message)?;
        if self.is_over() {
            if let (JobMessage::Done(_), JobState::Finished(finish)) = (message, &self.state) {
                // The worker missed our word: say it again, so that it can drop the outputs.
                if finish.worker == Some(from) {
                    let job = self.id;
                    cx.out.send(from, JobMessage::Received { job, order });
                    return None;
                }
            }
            cx.out.ignore(Some(from), Ignored::Over(self.id));
            return None;
        }
        let Some(attempt) = self.attempt() else {
            cx.out.ignore(Some(from), Ignored::OldOrder(order));
            return None;
        };
        if attempt.worker != from {
            cx.out.ignore(Some(from), Ignored::NotItsWorker(self.id));
            return None;
        }
        if attempt.order != order {
            cx.out.ignore(Some(from), Ignored::OldOrder(order));
            return None;
        }
        Some(*attempt)
    }

    pub(crate) fn signed(&mut self, cx: &mut Scene<'_>, call: CallId, entry: EntryHash) {
        if self.state.awaited() != Some(call) {
            return cx.out.ignore(None, Ignored::LateAnswer(call));
        }
        if let JobState::Signing {
            worker,
            max,
            deadline,
            ..
        } = &self.state
        {
            let attempt = Attempt {
                worker: *worker,
                order: entry,
                max: *max,
                deadline: *deadline,
            };
            self.send_order(cx, attempt);
        } else if let JobState::Voiding { attempt, why, .. } = &self.state {
            let why = why.clone().unwrap_or(JobFailure::Lost(attempt.worker));
            let worker = attempt.worker;
            self.next(cx, worker, why);
        } else {
            self.acked(cx);
        }
    }

    pub(crate) fn not_signed(&mut self, cx: &mut Scene<'_>, call: CallId, cause: String) {
        if self.state.awaited() != Some(call) {
            return cx.out.ignore(None, Ignored::LateAnswer(call));
        }
        let later = cx.now.plus(NUDGE);
        if let JobState::Voiding { attempt, why, .. } = &mut self.state {
            self.state = JobState::Releasing {
                attempt: *attempt,
                why: why.take(),
                nudge: later,
            };
        } else if let JobState::Acking { call, again, .. } = &mut self.state {
            *call = None;
            *again = later;
        } else if self.wish == Wish::Cancel {
            let paid = Millikudos::ZERO;
            self.end(cx, JobState::Cancelled { paid });
        } else {
            self.fail(cx, JobFailure::Ledger { cause });
        }
    }

    fn send_order(&mut self, cx: &mut Scene<'_>, attempt: Attempt) {
        let nudge = cx.now.plus(NUDGE);
        if self.wish == Wish::Cancel {
            self.state = JobState::Cancelling { attempt, nudge };
            self.persist(cx);
            return self.say_cancel(cx, attempt);
        }
        if !cx.peers.is_connected(&attempt.worker) {
            // Nobody can work on an order whose job was never told: free to go on at once.
            return self.next(cx, attempt.worker, JobFailure::Lost(attempt.worker));
        }
        self.state = JobState::Ordered { attempt, nudge };
        self.persist(cx);
        self.say_order(cx, attempt);
    }

    fn say_order(&self, cx: &mut Scene<'_>, attempt: Attempt) {
        let (job, order) = (self.id, attempt.order);
        let message = match &self.spec {
            Some(spec) => JobMessage::Order {
                job,
                order,
                salt: self.salt,
                spec: spec.clone(),
            },
            None => JobMessage::Resume { job, order },
        };
        cx.out.send(attempt.worker, message);
    }

    fn say_resume(&self, cx: &mut Scene<'_>, attempt: Attempt) {
        let (job, order) = (self.id, attempt.order);
        cx.out
            .send(attempt.worker, JobMessage::Resume { job, order });
    }

    pub(crate) fn say_cancel(&self, cx: &mut Scene<'_>, attempt: Attempt) {
        let (job, order) = (self.id, attempt.order);
        if cx.peers.is_connected(&attempt.worker) {
            cx.out
                .send(attempt.worker, JobMessage::Cancel { job, order });
        }
    }

    fn accepted(&mut self, cx: &mut Scene<'_>, attempt: Attempt, ahead: u32) {
        let later = cx.now.plus(NUDGE);
        if let JobState::Ordered { .. } = &self.state {
            self.state = JobState::Running {
                attempt,
                nudge: later,
            };
            self.progress(cx, Phase::Queued { ahead }, None);
        } else if let JobState::Running { nudge, .. } = &mut self.state {
            *nudge = later;
        } else if !matches!(
            self.state,
            JobState::Cancelling { .. } | JobState::Settling { .. } | JobState::Saving { .. }
        ) {
            self.out_of_place(cx, attempt.worker, "accepted");
        }
    }

    pub(crate) fn progress(&mut self, cx: &mut Scene<'_>, phase: Phase, preview: Option<Preview>) {
        if matches!(self.state, JobState::Running { .. } | JobState::Local) {
            self.phase = Some(phase.clone());
            let job = self.id;
            cx.out.push(Effect::Progressed {
                job,
                phase,
                preview,
            });
        }
    }

    /// The worker says it will not do it; the next one waits for its void.
    fn release(&mut self, cx: &mut Scene<'_>, attempt: Attempt, why: JobFailure) {
        if let JobState::Ordered { .. } | JobState::Running { .. } = &self.state {
            self.state = JobState::Releasing {
                attempt,
                why: Some(why),
                nudge: cx.now.plus(NUDGE),
            };
            self.look_releasing(cx);
        } else if let JobState::Releasing { why: known, .. } = &mut self.state {
            *known = Some(why);
            self.look_releasing(cx);
        } else if let JobState::Cancelling { .. } = &self.state {
            self.look_cancelling(cx);
        } else {
            self.out_of_place(cx, attempt.worker, "failed or refused");
        }
    }

    pub(crate) fn connected(&mut self, cx: &mut Scene<'_>, peer: NodeId) {
        if self.worker() != Some(peer) {
            if matches!(self.state, JobState::Waiting { .. }) {
                self.look_placing(cx);
            }
            return;
        }
        self.set_nudge(cx.now);
        if let JobState::Saving { again, .. } = &mut self.state {
            *again = cx.now;
        }
        self.look(cx);
    }

    pub(crate) fn hold(cx: &Scene<'_>, attempt: &Attempt) -> HoldState {
        cx.view
            .order(&attempt.order)
            .map_or(HoldState::Held, |order| order.state)
    }

    /// Returns whether an order can no longer be charged by anything dated within it.
    pub(crate) fn ran_out(cx: &Scene<'_>, attempt: &Attempt) -> bool {
        cx.now >= attempt.deadline.plus(cx.view.windows().skew)
    }

    pub(crate) fn look_following(&mut self, cx: &mut Scene<'_>) {
        let accepted = matches!(self.state, JobState::Running { .. });
        let (JobState::Ordered { attempt, nudge } | JobState::Running { attempt, nudge }) =
            &self.state
        else {
            return;
        };
        let (attempt, nudge) = (*attempt, *nudge);
        match Self::hold(cx, &attempt) {
            HoldState::VoidedByProvider | HoldState::VoidedByRequester => {
                self.state = JobState::Releasing {
                    attempt,
                    why: None,
                    nudge: cx.now.plus(WORDS_WAIT),
                };
                return;
            }
            HoldState::Settled { .. } if Self::outwaited(cx, &attempt) => {
                return self.dispute_missing(cx, attempt);
            }
            HoldState::Held | HoldState::Expired if Self::ran_out(cx, &attempt) => {
                return self.void_late(cx, attempt, None);
            }
            HoldState::Settled { .. } | HoldState::Held | HoldState::Expired => {}
        }
        if cx.now >= nudge {
            self.set_nudge(cx.now.plus(NUDGE));
            if cx.peers.is_connected(&attempt.worker) {
                if accepted {
                    self.say_resume(cx, attempt);
                } else {
                    self.say_order(cx, attempt);
                }
            }
        }
    }

    pub(crate) fn set_nudge(&mut self, at: Timestamp) {
        if let JobState::Ordered { nudge, .. }
        | JobState::Running { nudge, .. }
        | JobState::Releasing { nudge, .. }
        | JobState::Cancelling { nudge, .. } = &mut self.state
        {
            *nudge = at;
        }
    }

    pub(crate) fn look_releasing(&mut self, cx: &mut Scene<'_>) {
        let JobState::Releasing {
            attempt,
            why,
            nudge,
        } = &self.state
        else {
            return;
        };
        let (attempt, why, nudge) = (*attempt, why.clone(), *nudge);
        let worker = attempt.worker;
        match Self::hold(cx, &attempt) {
            HoldState::VoidedByProvider | HoldState::VoidedByRequester => {
                if why.is_some() || cx.now >= nudge {
                    self.next(cx, worker, why.unwrap_or(JobFailure::Lost(worker)));
                }
            }
            HoldState::Settled { .. } => {
                // It said no and charged all the same: ask for what it charged for.
                self.state = JobState::Running {
                    attempt,
                    nudge: cx.now,
                };
                self.look_following(cx);
            }
            HoldState::Held | HoldState::Expired if Self::ran_out(cx, &attempt) => {
                self.void_late(cx, attempt, why);
            }
            HoldState::Held | HoldState::Expired => {
                if cx.now >= nudge {
                    self.set_nudge(cx.now.plus(NUDGE));
                    self.say_cancel(cx, attempt);
                }
            }
        }
    }

    // J8
    pub(crate) fn void_late(
        &mut self,
        cx: &mut Scene<'_>,
        attempt: Attempt,
        why: Option<JobFailure>,
    ) {
        let body = Body::Void {
            order: attempt.order,
            reason: VoidReason::Late,
        };
        let call = cx.out.sign(Caller::Job(self.id), body);
        self.state = JobState::Voiding { attempt, why, call };
    }
}

const fn order_of(message: &JobMessage) -> Option<EntryHash> {
    match message {
        JobMessage::Order { order, .. }
        | JobMessage::Accepted { order, .. }
        | JobMessage::Refused { order, .. }
        | JobMessage::Progress { order, .. }
        | JobMessage::Failed { order, .. }
        | JobMessage::Cancel { order, .. }
        | JobMessage::Resume { order, .. }
        | JobMessage::Received { order, .. } => Some(*order),
        JobMessage::Done(done) => Some(done.order),
        JobMessage::QuoteRequest(_) | JobMessage::Quote(_) | JobMessage::QuoteRefused { .. } => {
            None
        }
    }
}
