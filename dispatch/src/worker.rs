//! The worker's half: orders of peers and own jobs, one engine, one job at a time.
//!
//! This file keeps the table and the slot; `admitting` says yes or no, `running` fetches and
//! computes, `delivering` charges and hands over, [`queue`](self) order is in `queue.rs`. An order
//! is noted durably before it is accepted and its note outlives it, so that none runs twice.

pub(crate) mod admitting;
pub(crate) mod delivering;
pub(crate) mod queue;
pub(crate) mod running;
pub(crate) mod work;

use std::collections::BTreeMap;

use hearth_protocol::capacity::{Accepting, Speed};
use hearth_protocol::credit::{Taken, Taking};
use hearth_protocol::id::{CardId, EntryHash, JobId, NodeId};
use hearth_protocol::job::{Failure, JobSpec, Quote};
use hearth_protocol::limits;
use hearth_protocol::unit::{Millikudos, Millis, Timestamp};
use hearth_protocol::wire::JobMessage;

use crate::config::{Engine, WorkerPolicy};
use crate::effect::Effect;
use crate::ignored::Ignored;
use crate::outbox::{Word, WorkKey};
use crate::rank::{Own, Scene};
use crate::record::WorkRecord;

use work::Farewell;
pub use work::{Stage, Work};

/// Most notes of orders kept, over or not: each cost its requester a ledger entry.
const NOTES_MAX: usize = 4_096;
/// Most finished works whose outputs wait for their requesters.
const DELIVERED_MAX: usize = 256;

/// Everything this node computes.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) policy: WorkerPolicy,
    pub(crate) accepting: Accepting,
    pub(crate) works: BTreeMap<WorkKey, Work>,
    pub(crate) quotes: BTreeMap<(NodeId, JobId), Quote>,
    pub(crate) warm: Vec<CardId>,
    pub(crate) speeds: Vec<Speed>,
}

impl Worker {
    pub(crate) fn new(policy: WorkerPolicy) -> Self {
        Self {
            accepting: match policy.engine {
                Engine::Present => policy.accepting,
                Engine::Absent => Accepting::Never,
            },
            speeds: policy.speeds.clone(),
            policy,
            works: BTreeMap::new(),
            quotes: BTreeMap::new(),
            warm: Vec::new(),
        }
    }

    /// Returns what the own engine offers to own jobs.
    pub(crate) fn own(&self, scene_prices: &hearth_protocol::charter::PriceTable) -> Own {
        Own {
            engine: self.policy.engine,
            accepting: self.accepting,
            backlog: self.backlog(scene_prices),
            warm: self.warm.clone(),
            speeds: self.speeds.clone(),
        }
    }

    pub(crate) fn pause(&mut self, cx: &mut Scene<'_>) {
        if self.accepting == Accepting::Yes {
            self.accepting = Accepting::Paused;
            cx.out.push(Effect::CapacityChanged);
        }
    }

    pub(crate) fn unpause(&mut self, cx: &mut Scene<'_>) {
        if self.accepting == Accepting::Paused {
            self.accepting = Accepting::Yes;
            cx.out.push(Effect::CapacityChanged);
        }
    }

    pub(crate) fn unloaded(&mut self, cx: &mut Scene<'_>) {
        if !self.warm.is_empty() {
            self.warm.clear();
            cx.out.push(Effect::CapacityChanged);
        }
    }

    /// Takes an own job, before all others.
    pub(crate) fn run_local(&mut self, cx: &mut Scene<'_>, job: JobId, spec: Box<JobSpec>) {
        let family = cx
            .shelf
            .get(&spec.checkpoint)
            .map_or(hearth_protocol::job::Family::Sd15, |card| card.family);
        let work = Work::local(cx.now, cx.me, job, spec, family);
        self.works.insert(WorkKey::Local(job), work);
        cx.out.push(Effect::CapacityChanged);
        self.fill_slot(cx);
    }

    pub(crate) fn stop_local(&mut self, cx: &mut Scene<'_>, job: JobId) {
        let key = WorkKey::Local(job);
        match self.works.remove(&key) {
            Some(mut work) => {
                self.stop(cx, key, &mut work);
                self.put_back(cx, key, work);
            }
            None => cx.out.tell(Word::LocalOver(job, Err(Failure::Cancelled))),
        }
    }

    /// Handles a requester's message: the table of message and stage.
    pub(crate) fn hear(&mut self, cx: &mut Scene<'_>, from: NodeId, message: JobMessage) {
        match message {
            JobMessage::QuoteRequest(demand) => self.quote(cx, from, &demand),
            JobMessage::Order {
                job,
                order,
                salt,
                spec,
            } => {
                let asked = admitting::Asked {
                    from,
                    job,
                    order,
                    salt,
                    spec,
                };
                self.order(cx, asked);
            }
            JobMessage::Cancel { job, order } => self.cancel(cx, from, job, order),
            JobMessage::Resume { job, order } => self.resume(cx, from, job, order),
            JobMessage::Received { order, .. } => self.received(cx, from, order),
            JobMessage::Quote(_)
            | JobMessage::QuoteRefused { .. }
            | JobMessage::Accepted { .. }
            | JobMessage::Refused { .. }
            | JobMessage::Progress { .. }
            | JobMessage::Done(_)
            | JobMessage::Failed { .. } => {}
        }
    }

    /// Takes a work out, if it is this peer's.
    pub(crate) fn take_of(
        &mut self,
        cx: &mut Scene<'_>,
        from: NodeId,
        order: EntryHash,
    ) -> Option<Work> {
        let key = WorkKey::Order(order);
        let work = self.works.get(&key)?;
        if work.requester != from {
            cx.out.ignore(Some(from), Ignored::NotItsRequester(order));
            return None;
        }
        self.works.remove(&key)
    }

    /// Puts a work back after a step; one that is over and has no note to keep goes.
    pub(crate) fn put_back(&mut self, cx: &mut Scene<'_>, key: WorkKey, work: Work) {
        let local_over = matches!(key, WorkKey::Local(_)) && matches!(work.stage, Stage::Over(_));
        if !local_over {
            self.works.insert(key, work);
        }
        self.fill_slot(cx);
    }

    /// Looks at time and ledger for every work that waits for them.
    pub(crate) fn look_all(&mut self, cx: &mut Scene<'_>) {
        let keys: Vec<WorkKey> = self
            .works
            .iter()
            .filter(|(_, work)| {
                work.waits_for_ledger() || work.due(cx).is_some_and(|due| due <= cx.now)
            })
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            if let Some(work) = self.works.remove(&key) {
                self.look(cx, key, work);
            }
        }
        self.quotes.retain(|_, quote| quote.valid_until > cx.now);
        self.drop_oldest_outputs(cx);
        self.fill_slot(cx);
    }

    pub(crate) fn next_due(&self, skew: Millis) -> Option<(Timestamp, WorkKey)> {
        self.works
            .iter()
            .filter_map(|(key, work)| work.due_with(skew).map(|at| (at, *key)))
            .min()
    }

    pub(crate) fn restore(&mut self, cx: &mut Scene<'_>, records: Vec<WorkRecord>) {
        for record in records.into_iter().take(NOTES_MAX) {
            let key = WorkKey::Order(record.order);
            if !self.works.contains_key(&key) {
                let mut work = Work::restored(record);
                if matches!(work.stage, Stage::Queued) {
                    self.void(cx, &mut work, Farewell::Failed(Failure::Restarted));
                }
                self.works.insert(key, work);
            }
        }
        self.look_all(cx);
    }

    /// Returns how many works wait or run: the advert's queue.
    pub(crate) fn queue_len(&self) -> usize {
        self.works.values().filter(|work| work.is_open()).count()
    }

    pub(crate) fn is_full(&self, from: &NodeId) -> bool {
        let others = self
            .works
            .iter()
            .filter(|(key, work)| matches!(key, WorkKey::Order(_)) && work.is_open());
        let queue_max = self.policy.queue_max.min(limits::QUEUE_MAX);
        let mut count = 0;
        let mut of_peer = 0;
        for (_, work) in others {
            count += 1;
            of_peer += usize::from(work.requester == *from);
        }
        count >= queue_max || of_peer >= limits::QUEUE_PER_PEER_MAX || self.works.len() >= NOTES_MAX
    }

    /// Returns what accepted, unfinished works may still charge, by requester.
    pub(crate) fn taken(&self) -> Taken {
        let mut taken = Taken::new();
        for (key, work) in &self.works {
            if matches!(key, WorkKey::Order(_)) && work.may_still_charge() {
                let taking: &mut Taking = taken.entry(work.requester).or_default();
                let part = if work.stage == Stage::Queued {
                    &mut taking.held
                } else {
                    &mut taking.running
                };
                *part = Millikudos::saturating(part.get().saturating_add(work.max.get()));
            }
        }
        taken
    }

    /// Keeps the outputs that wait for requesters within their bound.
    fn drop_oldest_outputs(&mut self, cx: &mut Scene<'_>) {
        let mut delivered: Vec<(Timestamp, WorkKey)> = self
            .works
            .iter()
            .filter(|(_, work)| matches!(work.stage, Stage::Delivered { .. }))
            .map(|(key, work)| (work.accepted, *key))
            .collect();
        delivered.sort_unstable();
        let extra = delivered.len().saturating_sub(DELIVERED_MAX);
        for (_, key) in delivered.into_iter().take(extra) {
            if let Some(mut work) = self.works.remove(&key) {
                Self::drop_outputs(cx, &mut work);
                self.works.insert(key, work);
            }
        }
    }
}
