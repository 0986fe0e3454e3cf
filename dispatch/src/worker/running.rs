//! The engine's slot: fetch cards, run, keep the outputs; and stop, when somebody says so.

use std::collections::BTreeMap;

use hearth_protocol::capacity::Speed;
use hearth_protocol::entry::Energy;
use hearth_protocol::id::{CardId, NodeId};
use hearth_protocol::job::{Failure, OutputRef, Phase, Preview, Timings};
use hearth_protocol::limits;
use hearth_protocol::unit::{ByteCount, Millikudos, Millis};
use hearth_protocol::wire::JobMessage;

use crate::effect::{Effect, Recipient};
use crate::event::{CallId, EngineEnd, StoreFault};
use crate::outbox::{Caller, Word, WorkKey};
use crate::rank::Scene;
use crate::record::Finish;

use super::Worker;
use super::work::{Farewell, Run, Stage, Work};

/// What answers a call of a work.
#[derive(Debug)]
pub(crate) enum WorkEvent {
    CardsReady(BTreeMap<NodeId, ByteCount>, Millis),
    CardsFailed(CardId, String),
    EngineDone(Run),
    EngineFailed(u32, Energy, EngineEnd),
    Stored(Vec<OutputRef>),
    NotStored(StoreFault),
    Signed(hearth_protocol::id::EntryHash),
    NotSigned,
}

impl Worker {
    pub(crate) fn start(&self, cx: &mut Scene<'_>, key: WorkKey, work: &mut Work) {
        work.started = Some(cx.now);
        let Some(spec) = &work.spec else {
            return;
        };
        let call = cx.out.call(Caller::Work(key));
        cx.out.push(Effect::FetchCards {
            call,
            job: work.job,
            cards: spec.cards(),
        });
        work.stage = Stage::Fetching { call };
    }

    /// Hands an answer to the work that waits for it; the table of stage and answer.
    pub(crate) fn answered(
        &mut self,
        cx: &mut Scene<'_>,
        key: WorkKey,
        call: CallId,
        event: WorkEvent,
    ) {
        let late = crate::ignored::Ignored::LateAnswer(call);
        let Some(mut work) = self.works.remove(&key) else {
            return cx.out.ignore(None, late);
        };
        let awaited = match &work.stage {
            Stage::Fetching { call }
            | Stage::Running { call }
            | Stage::Storing { call, .. }
            | Stage::Receipting {
                call: Some(call), ..
            }
            | Stage::Voiding {
                call: Some(call), ..
            } => Some(*call),
            Stage::Awaiting { .. }
            | Stage::Queued
            | Stage::Receipting { call: None, .. }
            | Stage::Delivered { .. }
            | Stage::Voiding { call: None, .. }
            | Stage::Over(_) => None,
        };
        if awaited != Some(call) {
            self.works.insert(key, work);
            return cx.out.ignore(None, late);
        }
        match event {
            WorkEvent::CardsReady(from, took) => self.run(cx, key, &mut work, from, took),
            WorkEvent::CardsFailed(card, cause) => {
                let cause = bounded(cause);
                let failure = Failure::Fetch { card, cause };
                self.fail(cx, key, &mut work, failure);
            }
            WorkEvent::EngineDone(run) => self.store(cx, key, &mut work, call, run),
            WorkEvent::EngineFailed(evaluations, energy, end) => {
                self.engine_failed(cx, key, &mut work, (evaluations, energy), end);
            }
            WorkEvent::Stored(outputs) => self.stored(cx, key, &mut work, outputs),
            WorkEvent::NotStored(StoreFault::DiskFull) => {
                self.fail(cx, key, &mut work, Failure::DiskFull);
            }
            WorkEvent::NotStored(StoreFault::Failed) => {
                let cause = "the outputs could not be stored".to_owned();
                self.fail(cx, key, &mut work, Failure::Engine { cause });
            }
            WorkEvent::Signed(entry) => self.signed(cx, &mut work, entry),
            WorkEvent::NotSigned => self.not_signed(cx, &mut work),
        }
        self.put_back(cx, key, work);
    }

    fn run(
        &self,
        cx: &mut Scene<'_>,
        key: WorkKey,
        work: &mut Work,
        bytes_from: BTreeMap<NodeId, ByteCount>,
        took: Millis,
    ) {
        work.bytes_from = bytes_from;
        work.fetch_took = took;
        if let Some(failure) = work.stopping.clone() {
            return self.fail(cx, key, work, failure);
        }
        let Some(spec) = work.spec.clone() else {
            return;
        };
        let call = cx.out.call(Caller::Work(key));
        let job = work.job;
        cx.out.push(Effect::RunEngine {
            call,
            job,
            requester: work.requester,
            spec,
        });
        work.stage = Stage::Running { call };
    }

    pub(crate) fn progressed(
        &mut self,
        cx: &mut Scene<'_>,
        key: WorkKey,
        call: CallId,
        phase: Phase,
        preview: Option<Preview>,
    ) {
        let Some(work) = self.works.get_mut(&key) else {
            return;
        };
        let on_it = match &work.stage {
            Stage::Fetching { call: awaited } | Stage::Running { call: awaited } => {
                *awaited == call
            }
            Stage::Awaiting { .. }
            | Stage::Queued
            | Stage::Storing { .. }
            | Stage::Receipting { .. }
            | Stage::Delivered { .. }
            | Stage::Voiding { .. }
            | Stage::Over(_) => false,
        };
        if !on_it {
            return;
        }
        work.phase = Some(phase.clone());
        match work.order {
            None => cx.out.tell(Word::LocalProgress(work.job, phase, preview)),
            Some(order) if cx.peers.is_connected(&work.requester) => {
                let job = work.job;
                let message = JobMessage::Progress {
                    job,
                    order,
                    phase,
                    preview,
                };
                cx.out.send(work.requester, message);
            }
            Some(_) => {}
        }
    }

    fn store(
        &mut self,
        cx: &mut Scene<'_>,
        key: WorkKey,
        work: &mut Work,
        run: CallId,
        result: Run,
    ) {
        self.learn(cx, work, &result);
        if work.stopping == Some(Failure::Late) {
            return self.fail(cx, key, work, Failure::Late);
        }
        let call = cx.out.call(Caller::Work(key));
        let recipient = work.order.map_or(Recipient::Own, |order| Recipient::Peer {
            requester: work.requester,
            order,
        });
        cx.out.push(Effect::StoreOutputs {
            call,
            run,
            job: work.job,
            recipient,
        });
        work.stage = Stage::Storing { call, run: result };
    }

    /// What ran is warm, and its time says how fast this node is.
    fn learn(&mut self, cx: &mut Scene<'_>, work: &Work, run: &Run) {
        let Some(demand) = work.demand() else {
            return;
        };
        self.warm = demand.cards.first().copied().into_iter().collect();
        let timings = &run.timings;
        let compute = [timings.encode, timings.denoise, timings.decode]
            .iter()
            .fold(0_u64, |sum, part| sum.saturating_add(part.get()));
        let done = crate::price::evaluations(&cx.view.prices(), &demand, run.evaluations, 100);
        if let Some(measured) = done.get().saturating_mul(1000).checked_div(compute) {
            match self
                .speeds
                .iter_mut()
                .find(|speed| speed.family == work.family)
            {
                Some(speed) => speed.mk_per_s = speed.mk_per_s.midpoint(measured),
                None => self.speeds.push(Speed {
                    family: work.family,
                    mk_per_s: measured,
                }),
            }
        }
        cx.out.push(Effect::CapacityChanged);
    }

    fn engine_failed(
        &mut self,
        cx: &mut Scene<'_>,
        key: WorkKey,
        work: &mut Work,
        done: (u32, Energy),
        end: EngineEnd,
    ) {
        let (evaluations, energy) = done;
        if end == EngineEnd::Died {
            self.unloaded(cx);
        }
        match (work.stopping.clone(), end) {
            (Some(Failure::Cancelled), EngineEnd::Cancelled)
                if evaluations > 0 && work.order.is_some() =>
            {
                let timings = Timings {
                    denoise: cx.now.since(work.started.unwrap_or(cx.now)),
                    ..Timings::default()
                };
                let run = Run {
                    evaluations,
                    timings,
                    energy,
                    warnings: Vec::new(),
                };
                self.charge(cx, work, run, Vec::new());
            }
            (Some(failure), EngineEnd::Cancelled | EngineEnd::Died | EngineEnd::Refused(_)) => {
                self.fail(cx, key, work, failure);
            }
            (None, EngineEnd::Died) => self.fail(cx, key, work, Failure::EngineDied),
            (None, EngineEnd::Refused(cause)) => {
                let cause = bounded(cause);
                self.fail(cx, key, work, Failure::Engine { cause });
            }
            (None, EngineEnd::Cancelled) => {
                let cause = "it was stopped".to_owned();
                self.fail(cx, key, work, Failure::Engine { cause });
            }
        }
    }

    fn stored(&self, cx: &mut Scene<'_>, _key: WorkKey, work: &mut Work, outputs: Vec<OutputRef>) {
        let Stage::Storing { run, .. } = &work.stage else {
            return;
        };
        let run = run.clone();
        if work.order.is_some() {
            return self.charge(cx, work, run, outputs);
        }
        let finish = Finish {
            worker: None,
            receipt: None,
            amount: Millikudos::ZERO,
            outputs,
            timings: work.timings(&run),
            energy: run.energy,
            warnings: run.warnings,
        };
        work.stage = Stage::Over(Farewell::Received);
        cx.out.tell(Word::LocalOver(work.job, Ok(Box::new(finish))));
        cx.out.push(Effect::CapacityChanged);
    }

    /// Ends a work badly: an order is voided, an own job told.
    pub(crate) fn fail(&self, cx: &mut Scene<'_>, key: WorkKey, work: &mut Work, failure: Failure) {
        let failure = work.stopping.take().unwrap_or(failure);
        match key {
            WorkKey::Order(_) => self.void(cx, work, Farewell::Failed(failure)),
            WorkKey::Local(job) => {
                work.stage = Stage::Over(Farewell::Failed(failure.clone()));
                cx.out.tell(Word::LocalOver(job, Err(failure)));
                cx.out.push(Effect::CapacityChanged);
            }
        }
    }

    /// Stops a work because it was cancelled.
    pub(crate) fn stop(&self, cx: &mut Scene<'_>, key: WorkKey, work: &mut Work) {
        self.stop_for(cx, key, work, Failure::Cancelled);
    }

    pub(crate) fn stop_for(
        &self,
        cx: &mut Scene<'_>,
        key: WorkKey,
        work: &mut Work,
        failure: Failure,
    ) {
        match &work.stage {
            Stage::Awaiting { .. } | Stage::Queued => self.fail(cx, key, work, failure),
            Stage::Fetching { call } => {
                if work.stopping.is_none() {
                    cx.out.push(Effect::StopFetch { call: *call });
                }
                work.stopping = Some(failure);
            }
            Stage::Running { call } => {
                if work.stopping.is_none() {
                    cx.out.push(Effect::CancelEngine { call: *call });
                }
                work.stopping = Some(failure);
            }
            // Too late to stop: what is done is handed over.
            Stage::Storing { .. }
            | Stage::Receipting { .. }
            | Stage::Delivered { .. }
            | Stage::Voiding { .. }
            | Stage::Over(_) => {}
        }
    }
}

/// Cuts a text at its wire bound.
fn bounded(mut text: String) -> String {
    let mut end = text.len().min(limits::TEXT_LEN_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}
