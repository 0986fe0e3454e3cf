//! After the work: the receipt, `Done` until it is received, thanks to seeders, and goodbyes.

use hearth_protocol::entry::{Body, TransferReason, Work as WorkDone};
use hearth_protocol::id::{BlobHash, Commitment, EntryHash, JobId, NodeId};
use hearth_protocol::job::{Failure, OutputRef, Phase, Refusal, Timings, result_commitment};
use hearth_protocol::unit::{ByteCount, Millikudos, Millis};
use hearth_protocol::wire::{Done, JobMessage};

use crate::effect::Effect;
use crate::ignored::Ignored;
use crate::ledger_view::HoldState;
use crate::outbox::{Caller, WorkKey};
use crate::price;
use crate::rank::Scene;
use crate::record::Deliverable;

use super::Worker;
use super::work::{Farewell, Run, SIGN_AGAIN, Stage, Work};

/// The span of the daily ceiling on thanks.
const DAY: Millis = Millis::from_secs(86_400);

impl Work {
    pub(crate) fn timings(&self, run: &Run) -> Timings {
        Timings {
            queued: self.started.unwrap_or(self.accepted).since(self.accepted),
            fetch: self.fetch_took,
            ..run.timings
        }
    }
}

impl Worker {
    /// Works out the charge, notes everything the receipt is made of, then has it signed.
    // J10
    pub(crate) fn charge(
        &self,
        cx: &mut Scene<'_>,
        work: &mut Work,
        run: Run,
        outputs: Vec<OutputRef>,
    ) {
        let Some(demand) = work.demand() else {
            return;
        };
        let prices = cx.view.prices();
        let percent = self.policy.price_percent;
        let fetched = work
            .bytes_from
            .values()
            .fold(ByteCount::default(), |sum, bytes| sum.plus(*bytes));
        let partial = outputs.is_empty();
        let work_part = if partial {
            price::evaluations(&prices, &demand, run.evaluations, percent).min(work.work_price)
        } else {
            work.work_price
        };
        let room = work.max.checked_sub(work_part).unwrap_or_default();
        let fetch_part = if partial {
            Millikudos::ZERO
        } else {
            prices.fetch(fetched).min(room)
        };
        let amount = work_part.get().saturating_add(fetch_part.get());
        let timings = work.timings(&run);
        let deliverable = Box::new(Deliverable {
            outputs,
            salt: cx.out.salt(),
            amount: Millikudos::saturating(amount).min(work.max),
            work: WorkDone {
                evaluations: run.evaluations,
                width: demand.width,
                height: demand.height,
                compute: timings.compute(),
                fetched,
            },
            energy: run.energy,
            timings,
            warnings: run.warnings,
            bytes_from: work.bytes_from.clone(),
            fetch_part,
        });
        work.stage = Stage::Receipting {
            call: None,
            deliverable,
            again: cx.now,
        };
        if let Some(record) = work.record() {
            cx.out.push(Effect::PersistWork(Box::new(record)));
        }
        self.sign_receipt(cx, work);
    }

    /// Has the receipt signed, or finds that it was before a restart.
    fn sign_receipt(&self, cx: &mut Scene<'_>, work: &mut Work) {
        let (Stage::Receipting { deliverable, .. }, Some(order)) = (&work.stage, work.order) else {
            return;
        };
        let deliverable = deliverable.clone();
        match cx.view.order(&order).map(|held| held.state) {
            Some(HoldState::Settled { receipt, .. }) => {
                return self.receipted(cx, work, &deliverable, receipt);
            }
            Some(HoldState::VoidedByProvider) => {
                return Self::part(cx, work, Farewell::Failed(Failure::Restarted));
            }
            Some(HoldState::Held | HoldState::VoidedByRequester | HoldState::Expired) | None => {}
        }
        if cx.now > work.deadline {
            return self.void(cx, work, Farewell::Failed(Failure::Late));
        }
        let body = Body::Receipt {
            order,
            amount: deliverable.amount,
            result: result_commitment(&deliverable.salt, &deliverable.outputs),
            work: deliverable.work,
            energy: deliverable.energy,
        };
        let call = cx.out.sign(Caller::Work(WorkKey::Order(order)), body);
        work.stage = Stage::Receipting {
            call: Some(call),
            deliverable,
            again: cx.now,
        };
    }

    pub(crate) fn signed(&self, cx: &mut Scene<'_>, work: &mut Work, entry: EntryHash) {
        match &work.stage {
            Stage::Receipting { deliverable, .. } => {
                let deliverable = deliverable.clone();
                self.receipted(cx, work, &deliverable, entry);
            }
            Stage::Voiding { farewell, .. } => {
                let farewell = farewell.clone();
                Self::part(cx, work, farewell);
            }
            Stage::Awaiting { .. }
            | Stage::Queued
            | Stage::Fetching { .. }
            | Stage::Running { .. }
            | Stage::Storing { .. }
            | Stage::Delivered { .. }
            | Stage::Over(_) => {}
        }
    }

    pub(crate) fn not_signed(&self, cx: &Scene<'_>, work: &mut Work) {
        if let Stage::Receipting { call, again, .. } | Stage::Voiding { call, again, .. } =
            &mut work.stage
        {
            *call = None;
            *again = cx.now.plus(SIGN_AGAIN);
        }
    }

    fn receipted(
        &self,
        cx: &mut Scene<'_>,
        work: &mut Work,
        deliverable: &Deliverable,
        receipt: EntryHash,
    ) {
        let Some(order) = work.order else {
            return;
        };
        let done = Box::new(Done {
            job: work.job,
            order,
            receipt,
            amount: deliverable.amount,
            salt: deliverable.salt,
            outputs: deliverable.outputs.clone(),
            timings: deliverable.timings,
            energy: deliverable.energy,
            warnings: deliverable.warnings.clone(),
        });
        cx.out.send(work.requester, JobMessage::Done(done.clone()));
        work.stage = Stage::Delivered { done };
        work.spec = None;
        if let Some(record) = work.record() {
            cx.out.push(Effect::PersistWork(Box::new(record)));
        }
        cx.out.push(Effect::CapacityChanged);
        Self::thank(cx, work.job, deliverable);
    }

    /// Thanks seeders out of the order's fetch part, each up to its daily ceiling.
    // J11
    fn thank(cx: &mut Scene<'_>, job: JobId, deliverable: &Deliverable) {
        let total = deliverable
            .bytes_from
            .values()
            .fold(0_u128, |sum, bytes| sum + u128::from(bytes.get()));
        let day_ago = cx.now.minus(DAY);
        for (seeder, bytes) in &deliverable.bytes_from {
            if total == 0 || *seeder == cx.me || !cx.view.is_member(seeder) {
                continue;
            }
            let share = u128::from(deliverable.fetch_part.get()) * u128::from(bytes.get()) / total;
            let paid = cx.view.seeding_paid(seeder, day_ago).get();
            let under_way = cx.out.thanks_under_way(seeder);
            let ceiling = cx.view.caps().seeding_day.get();
            let left = ceiling.saturating_sub(paid).saturating_sub(under_way);
            let amount = u64::try_from(share).unwrap_or(u64::MAX).min(left);
            if amount == 0 {
                continue;
            }
            let amount = Millikudos::saturating(amount);
            let salt = cx.out.salt();
            let what = BlobHash::of(job.as_bytes());
            let body = Body::Transfer {
                to: *seeder,
                amount,
                reason: TransferReason::Seeding {
                    blobs: Commitment::to(&salt, what.as_bytes()),
                    bytes: *bytes,
                },
            };
            cx.out.sign(Caller::Thanks(*seeder, amount), body);
        }
    }

    /// The requester lost track: tell it where its job is.
    pub(crate) fn resume(
        &mut self,
        cx: &mut Scene<'_>,
        from: NodeId,
        job: JobId,
        order: EntryHash,
    ) {
        let Some(work) = self.works.get(&WorkKey::Order(order)) else {
            return self.release_unknown(cx, from, job, order, Failure::Restarted);
        };
        if work.requester != from {
            return cx.out.ignore(Some(from), Ignored::NotItsRequester(order));
        }
        match &work.stage {
            Stage::Awaiting { .. }
            | Stage::Storing { .. }
            | Stage::Receipting { .. }
            | Stage::Voiding { .. } => {}
            Stage::Queued => {
                let ahead = self.ahead().saturating_sub(1);
                cx.out
                    .send(from, JobMessage::Accepted { job, order, ahead });
            }
            Stage::Fetching { .. } | Stage::Running { .. } => {
                let phase = work.phase.clone().unwrap_or(Phase::Loading);
                let message = JobMessage::Progress {
                    job,
                    order,
                    phase,
                    preview: None,
                };
                cx.out.send(from, message);
            }
            Stage::Delivered { done } => cx.out.send(from, JobMessage::Done(done.clone())),
            Stage::Over(Farewell::Received) => {
                let refusal = Refusal::Replayed;
                let message = JobMessage::Refused {
                    job,
                    order,
                    refusal,
                };
                cx.out.send(from, message);
            }
            Stage::Over(farewell) => {
                if let Some(message) = work.farewell_message(farewell) {
                    cx.out.send(from, message);
                }
            }
        }
    }

    pub(crate) fn cancel(
        &mut self,
        cx: &mut Scene<'_>,
        from: NodeId,
        job: JobId,
        order: EntryHash,
    ) {
        let key = WorkKey::Order(order);
        if !self.works.contains_key(&key) {
            return self.release_unknown(cx, from, job, order, Failure::Cancelled);
        }
        let Some(mut work) = self.take_of(cx, from, order) else {
            return;
        };
        let over = matches!(work.stage, Stage::Delivered { .. } | Stage::Over(_));
        self.stop(cx, key, &mut work);
        self.put_back(cx, key, work);
        if over {
            self.resume(cx, from, job, order);
        }
    }

    pub(crate) fn received(&mut self, cx: &mut Scene<'_>, from: NodeId, order: EntryHash) {
        let Some(mut work) = self.take_of(cx, from, order) else {
            if !self.works.contains_key(&WorkKey::Order(order)) {
                cx.out.ignore(Some(from), Ignored::UnknownWork(order));
            }
            return;
        };
        if matches!(work.stage, Stage::Delivered { .. }) {
            Self::drop_outputs(cx, &mut work);
        } else {
            let state = work.stage.name();
            let message = "received";
            cx.out
                .ignore(Some(from), Ignored::OutOfPlace { message, state });
        }
        self.put_back(cx, WorkKey::Order(order), work);
    }

    pub(crate) fn drop_outputs(cx: &mut Scene<'_>, work: &mut Work) {
        if let Some(order) = work.order {
            work.stage = Stage::Over(Farewell::Received);
            if let Some(record) = work.record() {
                cx.out.push(Effect::PersistWork(Box::new(record)));
            }
            cx.out.push(Effect::DropOutputs {
                order,
                job: work.job,
                requester: work.requester,
            });
        }
    }

    /// Looks at one work again: time passed or the ledger changed.
    pub(crate) fn look(&mut self, cx: &mut Scene<'_>, key: WorkKey, mut work: Work) {
        let due = work.due(cx).is_some_and(|due| due <= cx.now);
        match &work.stage {
            Stage::Awaiting { .. } => {
                let held = work.order.and_then(|order| cx.view.order(&order));
                match held {
                    Some(held) => return self.admit(cx, key, work, &held, None),
                    None if due => {
                        let farewell = Farewell::Refused(Refusal::OrderNotHeld);
                        if let Some(message) = work.farewell_message(&farewell) {
                            cx.out.send(work.requester, message);
                        }
                        return;
                    }
                    None => {}
                }
            }
            Stage::Queued | Stage::Fetching { .. } | Stage::Running { .. } if due => {
                self.stop_for(cx, key, &mut work, Failure::Late);
            }
            Stage::Receipting { call: None, .. } if due => self.sign_receipt(cx, &mut work),
            Stage::Voiding {
                call: None,
                farewell,
                ..
            } if due => {
                let farewell = farewell.clone();
                self.void(cx, &mut work, farewell);
            }
            Stage::Delivered { .. } if due => Self::drop_outputs(cx, &mut work),
            Stage::Over(_) if due => {
                if let Some(order) = work.order {
                    cx.out.push(Effect::ForgetWork { order });
                }
                return;
            }
            Stage::Queued
            | Stage::Fetching { .. }
            | Stage::Running { .. }
            | Stage::Storing { .. }
            | Stage::Receipting { .. }
            | Stage::Voiding { .. }
            | Stage::Delivered { .. }
            | Stage::Over(_) => {}
        }
        self.works.insert(key, work);
    }
}
