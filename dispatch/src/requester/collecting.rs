//! Third act: the worker is done; check the receipt, save the outputs, sign the verdict.
//!
//! What the ledger says counts, not what `Done` says: the charge is the receipt's, and the outputs
//! must be those it commits to. A result that is not is disputed, and the job ends there: a
//! disputed receipt keeps its debt, so another order could be paid twice.

use hearth_protocol::entry::{Body, DisputeCode, Verdict};
use hearth_protocol::id::Commitment;
use hearth_protocol::job::{Failure, ImageFormat, result_commitment};
use hearth_protocol::limits;
use hearth_protocol::unit::{Millikudos, Millis};
use hearth_protocol::wire::{Done, JobMessage};

use crate::effect::Effect;
use crate::event::{CallId, OutputsFault};
use crate::failure::JobFailure;
use crate::ignored::Ignored;
use crate::ledger_view::HoldState;
use crate::outbox::Caller;
use crate::rank::Scene;
use crate::record::{Attempt, Finish, Wish};

use super::job::{Job, JobState};

/// How long outputs are asked for after the order's deadline before their absence is disputed.
pub(crate) const OUTPUTS_PATIENCE: Millis = Millis::from_secs(600);
/// How long to wait between two tries to fetch outputs.
const FETCH_AGAIN: Millis = Millis::from_secs(10);

impl Job {
    /// The worker says it is done.
    pub(crate) fn done(&mut self, cx: &mut Scene<'_>, attempt: Attempt, done: Box<Done>) {
        match &self.state {
            JobState::Ordered { .. }
            | JobState::Running { .. }
            | JobState::Releasing { .. }
            | JobState::Cancelling { .. } => {
                self.state = JobState::Settling { attempt, done };
                self.persist(cx);
                self.look_settling(cx);
            }
            // Its second `Done` after a reconnection: what it offers may be reachable now.
            JobState::Saving { .. } => self.look_saving(cx),
            JobState::Settling { .. } => self.look_settling(cx),
            JobState::Waiting { .. }
            | JobState::Quoting { .. }
            | JobState::Signing { .. }
            | JobState::Voiding { .. }
            | JobState::Acking { .. }
            | JobState::Local
            | JobState::Finished(_)
            | JobState::Failed(_)
            | JobState::Cancelled { .. } => self.out_of_place(cx, attempt.worker, "done"),
        }
    }

    /// Waits until the receipt is effective here.
    pub(crate) fn look_settling(&mut self, cx: &mut Scene<'_>) {
        let JobState::Settling { attempt, done } = &self.state else {
            return;
        };
        let (attempt, done) = (*attempt, done.clone());
        let worker = attempt.worker;
        match Self::hold(cx, &attempt) {
            HoldState::Settled {
                receipt,
                amount,
                result,
            } => {
                let fits = receipt == done.receipt && is_what_it_commits_to(&done, &result);
                if amount > attempt.max {
                    self.judge(
                        cx,
                        attempt,
                        done,
                        amount,
                        disputed(DisputeCode::Overcharged),
                    );
                } else if !fits {
                    self.judge(cx, attempt, done, amount, disputed(DisputeCode::Corrupt));
                } else if done.outputs.is_empty() && self.wish == Wish::Cancel {
                    self.judge(cx, attempt, done, amount, Verdict::Accepted);
                } else if done.outputs.is_empty() {
                    self.judge(cx, attempt, done, amount, disputed(DisputeCode::Missing));
                } else {
                    self.save(cx, attempt, done, amount);
                }
            }
            HoldState::VoidedByProvider | HoldState::VoidedByRequester => {
                self.next(cx, worker, JobFailure::Lost(worker));
            }
            HoldState::Held | HoldState::Expired => {
                if Self::ran_out(cx, &attempt) {
                    self.void_late(cx, attempt, None);
                }
            }
        }
    }

    fn save(&mut self, cx: &mut Scene<'_>, attempt: Attempt, done: Box<Done>, amount: Millikudos) {
        let until = attempt.deadline.max(cx.now).plus(OUTPUTS_PATIENCE);
        self.state = JobState::Saving {
            attempt,
            done,
            amount,
            call: None,
            again: cx.now,
            until,
        };
        self.look_saving(cx);
    }

    pub(crate) fn look_saving(&mut self, cx: &mut Scene<'_>) {
        let now = cx.now;
        let JobState::Saving {
            attempt,
            done,
            call,
            again,
            until,
            ..
        } = &mut self.state
        else {
            return;
        };
        if call.is_some() || now < *again {
            return;
        }
        if now < *until {
            let asked = cx.out.call(Caller::Job(self.id));
            *call = Some(asked);
            cx.out.push(Effect::FetchOutputs {
                call: asked,
                job: self.id,
                worker: attempt.worker,
                outputs: done.outputs.clone(),
            });
        } else {
            self.judge_saved(cx, disputed(DisputeCode::Missing));
        }
    }

    pub(crate) fn saved(&mut self, cx: &mut Scene<'_>, call: CallId) {
        if self.state.awaited() == Some(call) {
            self.judge_saved(cx, Verdict::Accepted);
        } else {
            cx.out.ignore(None, Ignored::LateAnswer(call));
        }
    }

    pub(crate) fn not_saved(&mut self, cx: &mut Scene<'_>, call: CallId, fault: OutputsFault) {
        let JobState::Saving {
            call: awaited,
            again,
            until,
            ..
        } = &mut self.state
        else {
            return cx.out.ignore(None, Ignored::LateAnswer(call));
        };
        if *awaited != Some(call) {
            return cx.out.ignore(None, Ignored::LateAnswer(call));
        }
        *awaited = None;
        *again = cx.now.plus(FETCH_AGAIN);
        let given_up = cx.now >= *until;
        match fault {
            OutputsFault::Corrupt => self.judge_saved(cx, disputed(DisputeCode::Corrupt)),
            OutputsFault::OwnDisk if given_up => self.fail(cx, JobFailure::NotSaved),
            OutputsFault::Unreachable | OutputsFault::Missing | OutputsFault::OwnDisk => {}
        }
    }

    fn judge_saved(&mut self, cx: &mut Scene<'_>, verdict: Verdict) {
        if let JobState::Saving {
            attempt,
            done,
            amount,
            ..
        } = &self.state
        {
            let (attempt, done, amount) = (*attempt, done.clone(), *amount);
            self.judge(cx, attempt, done, amount, verdict);
        }
    }

    fn judge(
        &mut self,
        cx: &mut Scene<'_>,
        attempt: Attempt,
        done: Box<Done>,
        amount: Millikudos,
        verdict: Verdict,
    ) {
        self.state = JobState::Acking {
            attempt,
            done,
            amount,
            verdict,
            call: None,
            again: cx.now,
        };
        self.persist(cx);
        self.look_acking(cx);
    }

    pub(crate) fn look_acking(&mut self, cx: &mut Scene<'_>) {
        let JobState::Acking {
            attempt,
            done,
            verdict,
            call,
            again,
            ..
        } = &mut self.state
        else {
            return;
        };
        if call.is_some() || cx.now < *again {
            return;
        }
        // The receipt the ledger knows, not the one `Done` names.
        let receipt = match cx.view.order(&attempt.order).map(|order| order.state) {
            Some(HoldState::Settled { receipt, .. }) => receipt,
            Some(
                HoldState::Held
                | HoldState::VoidedByProvider
                | HoldState::VoidedByRequester
                | HoldState::Expired,
            )
            | None => done.receipt,
        };
        let body = Body::Ack {
            receipt,
            verdict: *verdict,
        };
        *call = Some(cx.out.sign(Caller::Job(self.id), body));
    }

    /// The verdict is written: tell the worker and end.
    pub(crate) fn acked(&mut self, cx: &mut Scene<'_>) {
        let JobState::Acking {
            attempt,
            done,
            amount,
            verdict,
            ..
        } = &self.state
        else {
            return;
        };
        let (attempt, amount) = (*attempt, *amount);
        let end = match verdict {
            Verdict::Disputed(code) => {
                self.blamed = Some(attempt.worker);
                JobState::Failed(JobFailure::Disputed {
                    worker: attempt.worker,
                    code: *code,
                })
            }
            Verdict::Accepted if done.outputs.is_empty() => JobState::Cancelled { paid: amount },
            Verdict::Accepted => JobState::Finished(Box::new(Finish {
                worker: Some(attempt.worker),
                receipt: Some(done.receipt),
                amount,
                outputs: done.outputs.clone(),
                timings: done.timings,
                energy: done.energy,
                warnings: done.warnings.clone(),
            })),
        };
        self.end(cx, end);
        let (job, order) = (self.id, attempt.order);
        cx.out
            .send(attempt.worker, JobMessage::Received { job, order });
    }

    /// Returns whether a receipt stands and its worker stayed away for too long.
    pub(crate) fn outwaited(cx: &Scene<'_>, attempt: &Attempt) -> bool {
        cx.now >= attempt.deadline.plus(OUTPUTS_PATIENCE)
    }

    /// A receipt stands and its outputs never came.
    pub(crate) fn dispute_missing(&mut self, cx: &mut Scene<'_>, attempt: Attempt) {
        let Some(order) = cx.view.order(&attempt.order) else {
            return;
        };
        if let HoldState::Settled {
            receipt, amount, ..
        } = order.state
        {
            let done = Box::new(Done {
                job: self.id,
                order: attempt.order,
                receipt,
                amount,
                salt: self.salt,
                outputs: Vec::new(),
                timings: hearth_protocol::job::Timings::default(),
                energy: hearth_protocol::entry::Energy::default(),
                warnings: Vec::new(),
            });
            self.judge(cx, attempt, done, amount, disputed(DisputeCode::Missing));
        }
    }

    pub(crate) fn local_over(&mut self, cx: &mut Scene<'_>, result: Result<Box<Finish>, Failure>) {
        if !matches!(self.state, JobState::Local) {
            return;
        }
        let end = match result {
            Ok(finish) => JobState::Finished(finish),
            Err(Failure::Cancelled) => JobState::Cancelled {
                paid: Millikudos::ZERO,
            },
            Err(failure) => JobState::Failed(JobFailure::Local(failure)),
        };
        self.end(cx, end);
    }
}

const fn disputed(code: DisputeCode) -> Verdict {
    Verdict::Disputed(code)
}

fn is_what_it_commits_to(done: &Done, result: &Commitment) -> bool {
    let small = |size: u64| size <= limits::OUTPUT_LEN_MAX;
    let is_picture = |name: &str| ImageFormat::ALL.iter().any(|it| it.file_name() == name);
    let pictures = done
        .outputs
        .iter()
        .filter(|output| is_picture(&output.name));
    // A cancelled job may give nothing; anything else gives exactly one picture.
    (done.outputs.is_empty() || pictures.count() == 1)
        && done.outputs.len() <= limits::OUTPUTS_MAX
        && done.outputs.iter().all(|output| small(output.size.get()))
        && result_commitment(&done.salt, &done.outputs) == *result
}
