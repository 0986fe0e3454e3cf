//! A person no longer wants a job: stop it where it is, and pay what was done.

use hearth_protocol::unit::Millikudos;

use crate::ignored::Ignored;
use crate::ledger_view::HoldState;
use crate::outbox::Word;
use crate::rank::Scene;
use crate::record::Wish;

use super::job::{Job, JobState, NUDGE};

impl Job {
    pub(crate) fn cancel(&mut self, cx: &mut Scene<'_>) {
        if self.is_over() {
            return cx.out.ignore(None, Ignored::Over(self.id));
        }
        self.wish = Wish::Cancel;
        match &self.state {
            JobState::Waiting { .. } | JobState::Quoting { .. } => {
                let paid = Millikudos::ZERO;
                self.end(cx, JobState::Cancelled { paid });
            }
            JobState::Local => cx.out.tell(Word::StopLocal(self.id)),
            JobState::Ordered { attempt, .. }
            | JobState::Running { attempt, .. }
            | JobState::Releasing { attempt, .. } => {
                let attempt = *attempt;
                self.state = JobState::Cancelling {
                    attempt,
                    nudge: cx.now.plus(NUDGE),
                };
                self.persist(cx);
                self.say_cancel(cx, attempt);
                self.look_cancelling(cx);
            }
            // Too late or too early to stop: the wish is remembered and granted where it can be.
            JobState::Signing { .. }
            | JobState::Voiding { .. }
            | JobState::Settling { .. }
            | JobState::Saving { .. }
            | JobState::Acking { .. }
            | JobState::Cancelling { .. }
            | JobState::Finished(_)
            | JobState::Failed(_)
            | JobState::Cancelled { .. } => {}
        }
    }

    pub(crate) fn look_cancelling(&mut self, cx: &mut Scene<'_>) {
        let JobState::Cancelling { attempt, nudge } = &self.state else {
            return;
        };
        let (attempt, nudge) = (*attempt, *nudge);
        match Self::hold(cx, &attempt) {
            HoldState::VoidedByProvider | HoldState::VoidedByRequester | HoldState::Expired => {
                let paid = Millikudos::ZERO;
                self.end(cx, JobState::Cancelled { paid });
            }
            HoldState::Settled { amount, .. } if Self::ran_out(cx, &attempt) => {
                self.end(cx, JobState::Cancelled { paid: amount });
            }
            HoldState::Held if Self::ran_out(cx, &attempt) => self.void_late(cx, attempt, None),
            HoldState::Held | HoldState::Settled { .. } => {
                if cx.now >= nudge {
                    self.set_nudge(cx.now.plus(NUDGE));
                    self.say_cancel(cx, attempt);
                }
            }
        }
    }
}
