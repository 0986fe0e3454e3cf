//! Notes of jobs: written at every change of stage, taken up again after a restart.

use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::unit::Millikudos;

use crate::failure::JobFailure;
use crate::ledger_view::HoldState;
use crate::rank::Scene;
use crate::record::{Attempt, JobRecord, JobStage, Wish};

use super::job::{Job, JobState};

impl Job {
    /// Returns the note a restart needs.
    pub(crate) fn record(&self) -> JobRecord {
        JobRecord {
            job: self.id,
            salt: self.salt,
            spec: self.spec.clone(),
            family: self.family,
            place: self.place,
            max: self.max,
            submitted: self.submitted,
            until: self.until,
            sizes: self.sizes.clone(),
            tried: self.tried.iter().copied().collect(),
            wish: self.wish,
            stage: self.stage(),
        }
    }

    fn stage(&self) -> JobStage {
        match &self.state {
            JobState::Waiting { .. } | JobState::Quoting { .. } | JobState::Signing { .. } => {
                JobStage::Placing
            }
            JobState::Ordered { attempt, .. }
            | JobState::Running { attempt, .. }
            | JobState::Releasing { attempt, .. }
            | JobState::Voiding { attempt, .. }
            | JobState::Cancelling { attempt, .. } => JobStage::Ordered(*attempt),
            JobState::Settling { attempt, done } | JobState::Saving { attempt, done, .. } => {
                JobStage::Collecting {
                    attempt: *attempt,
                    done: done.clone(),
                }
            }
            JobState::Acking {
                attempt,
                done,
                verdict,
                ..
            } => JobStage::Acking {
                attempt: *attempt,
                done: done.clone(),
                verdict: *verdict,
            },
            JobState::Local => JobStage::Local,
            JobState::Finished(finish) => JobStage::Finished((**finish).clone()),
            JobState::Failed(why) => JobStage::Failed(why.clone()),
            JobState::Cancelled { paid } => JobStage::Cancelled { paid: *paid },
        }
    }

    /// Makes a job of a note; [`take_up`](Self::take_up) sets it going.
    pub(crate) fn restored(record: JobRecord) -> Self {
        let again = record.submitted;
        let state = match record.stage {
            JobStage::Placing | JobStage::Local => JobState::Quoting { until: again },
            JobStage::Ordered(attempt) => match record.wish {
                Wish::Finish => JobState::Ordered {
                    attempt,
                    nudge: again,
                },
                Wish::Cancel => JobState::Cancelling {
                    attempt,
                    nudge: again,
                },
            },
            JobStage::Collecting { attempt, done } => JobState::Settling { attempt, done },
            JobStage::Acking {
                attempt,
                done,
                verdict,
            } => JobState::Acking {
                amount: done.amount,
                attempt,
                done,
                verdict,
                call: None,
                again,
            },
            JobStage::Finished(finish) => JobState::Finished(Box::new(finish)),
            JobStage::Failed(why) => JobState::Failed(why),
            JobStage::Cancelled { paid } => JobState::Cancelled { paid },
        };
        let mut job = Self {
            id: record.job,
            salt: record.salt,
            spec: record.spec,
            family: record.family,
            place: record.place,
            max: record.max,
            submitted: record.submitted,
            until: record.until,
            ended: None,
            sizes: record.sizes,
            tried: record.tried.into_iter().collect::<BTreeSet<_>>(),
            wish: record.wish,
            phase: None,
            state,
            timer: None,
            answers: BTreeMap::new(),
            asked_at: record.submitted,
            ordered_at: None,
            last: None,
            siblings: BTreeMap::new(),
            orders_at: BTreeMap::new(),
            failures: BTreeMap::new(),
            blamed: None,
        };
        if job.is_over() {
            job.ended = Some(record.submitted);
        }
        job
    }

    /// Sets a restored job going again.
    // J9
    pub(crate) fn take_up(&mut self, cx: &mut Scene<'_>) {
        match &self.state {
            JobState::Quoting { .. } => self.take_up_placing(cx),
            JobState::Acking { attempt, .. } => {
                let attempt = *attempt;
                self.correct_amount(cx, &attempt);
                self.look(cx);
            }
            JobState::Waiting { .. }
            | JobState::Signing { .. }
            | JobState::Ordered { .. }
            | JobState::Running { .. }
            | JobState::Releasing { .. }
            | JobState::Voiding { .. }
            | JobState::Settling { .. }
            | JobState::Saving { .. }
            | JobState::Cancelling { .. }
            | JobState::Local
            | JobState::Finished(_)
            | JobState::Failed(_)
            | JobState::Cancelled { .. } => self.look(cx),
        }
        self.timer = self.due(cx);
    }

    /// A job that was not ordered as far as its note knows. An open order of it in the ledger was
    /// written just before the end, or the note is older than the ledger: it is followed, never
    /// written a second time.
    fn take_up_placing(&mut self, cx: &mut Scene<'_>) {
        let open = cx
            .view
            .orders_of(&self.id)
            .into_iter()
            .rev()
            .find_map(|order| {
                let held = cx.view.order(&order)?;
                match held.state {
                    HoldState::Held | HoldState::Settled { .. } => Some(Attempt {
                        worker: held.provider,
                        order,
                        max: held.max,
                        deadline: held.deadline,
                    }),
                    HoldState::VoidedByProvider
                    | HoldState::VoidedByRequester
                    | HoldState::Expired => None,
                }
            });
        let nudge = cx.now;
        match (open, self.wish) {
            (Some(attempt), Wish::Finish) => {
                self.state = JobState::Ordered { attempt, nudge };
                self.look(cx);
            }
            (Some(attempt), Wish::Cancel) => {
                self.state = JobState::Cancelling { attempt, nudge };
                self.look(cx);
            }
            (None, Wish::Cancel) => {
                let paid = Millikudos::ZERO;
                self.end(cx, JobState::Cancelled { paid });
            }
            (None, Wish::Finish) if self.spec.is_none() => self.fail(cx, JobFailure::SpecLost),
            (None, Wish::Finish) => {
                // Peers are not connected yet: the grace counts from the restart.
                self.submitted = self.submitted.max(cx.now);
                self.place(cx);
            }
        }
    }

    fn correct_amount(&mut self, cx: &Scene<'_>, attempt: &Attempt) {
        let settled = cx.view.order(&attempt.order).map(|order| order.state);
        if let (
            Some(HoldState::Settled {
                amount: charged, ..
            }),
            JobState::Acking { amount, .. },
        ) = (settled, &mut self.state)
        {
            *amount = charged;
        }
    }
}
