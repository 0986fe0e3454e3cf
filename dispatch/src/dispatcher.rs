//! The dispatcher: routes events to the two halves and answers to whoever called.

use std::collections::BTreeMap;

use hearth_protocol::capacity::{Accepting, Speed};
use hearth_protocol::credit::Taken;
use hearth_protocol::id::{CardId, EntryHash, JobId, NodeId};
use hearth_protocol::job::Phase;
use hearth_protocol::limits;
use hearth_protocol::snapshot::JobView;
use hearth_protocol::unit::Timestamp;
use hearth_protocol::wire::JobMessage;

use crate::capacity::{CapacityTable, Heard};
use crate::config::Config;
use crate::effect::Effect;
use crate::event::{CallId, Event, ShelfCard};
use crate::ignored::Ignored;
use crate::ledger_view::LedgerView;
use crate::outbox::{Caller, Outbox, Word, WorkKey};
use crate::rank::Scene;
use crate::requester::{Job, JobEvent, Requester};
use crate::view;
use crate::worker::running::WorkEvent;
use crate::worker::work::Run;
use crate::worker::{Work, Worker};

/// Why [`Dispatcher::handle_timeout`] is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A job of this node.
    Job(JobId),
    /// An order this node works on; own jobs have no timer at the worker.
    Work(EntryHash),
    /// An advert is over.
    Advert,
}

/// Decides who runs which job. Never sends, never sleeps, never reads a clock.
///
/// After each `handle` or `handle_timeout` take every effect with `poll_effect`, in order, then ask
/// `poll_timeout` when to call back.
#[derive(Debug)]
pub struct Dispatcher {
    me: NodeId,
    peers: CapacityTable,
    shelf: BTreeMap<CardId, ShelfCard>,
    requester: Requester,
    worker: Worker,
    out: Outbox,
    skew: hearth_protocol::unit::Millis,
}

impl Dispatcher {
    /// Makes a dispatcher that knows nobody and has nothing to do.
    pub fn new(config: Config) -> Self {
        Self {
            me: config.me,
            peers: CapacityTable::default(),
            shelf: BTreeMap::new(),
            requester: Requester::default(),
            worker: Worker::new(config.worker),
            out: Outbox::new(config.seed),
            skew: hearth_protocol::charter::Windows::DEFAULT.skew,
        }
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: Timestamp, event: Event, view: &dyn LedgerView) {
        self.skew = view.windows().skew;
        self.route(now, event, view);
        self.pass_words(now, view);
    }

    /// Takes in that time passed.
    pub fn handle_timeout(&mut self, now: Timestamp, view: &dyn LedgerView) {
        self.skew = view.windows().skew;
        self.peers.expire(now);
        self.with_requester(now, view, |requester, cx| requester.handle_timeout(cx));
        self.with_worker(now, view, |worker, cx| worker.look_all(cx));
        self.pass_words(now, view);
    }

    /// Returns the next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.out.pop()
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout), and why.
    pub fn poll_timeout(&self) -> Option<(Timestamp, Reason)> {
        let job = self
            .requester
            .next_due()
            .map(|(at, job)| (at, Reason::Job(job)));
        let work = self
            .worker
            .next_due(self.skew)
            .and_then(|(at, key)| match key {
                WorkKey::Order(order) => Some((at, Reason::Work(order))),
                WorkKey::Local(_) => None,
            });
        let advert = self.peers.next_expiry().map(|at| (at, Reason::Advert));
        [job, work, advert].into_iter().flatten().min()
    }

    /// Returns how many effects wait.
    pub fn effects_waiting(&self) -> usize {
        self.out.len()
    }

    /// Returns the jobs of this node: open ones and the last that ended.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.requester.jobs()
    }

    /// Returns one job of this node.
    pub fn job(&self, id: &JobId) -> Option<&Job> {
        self.requester.job(id)
    }

    /// Returns what this node computes or computed: orders of peers and own jobs.
    pub fn work(&self) -> impl Iterator<Item = &Work> {
        self.worker.works.values()
    }

    /// Returns what was accepted of others and may still be charged, by requester.
    pub fn taken(&self) -> Taken {
        self.worker.taken()
    }

    /// Returns one job of this node as shown.
    pub fn job_view(&self, id: &JobId, now: Timestamp) -> Option<JobView> {
        self.job(id).map(|job| view::of_job(job, self.me, now))
    }

    /// Returns jobs of both sides as shown, newest first, at most `limits::JOBS_SHOWN_MAX`.
    pub fn job_views(&self, now: Timestamp) -> Vec<JobView> {
        let jobs = self.jobs().map(|job| view::of_job(job, self.me, now));
        let works = self
            .work()
            .filter(|work| work.order().is_some())
            .map(|work| view::of_work(work, now));
        let mut views: Vec<JobView> = jobs.chain(works).collect();
        views.sort_by_key(|view| (std::cmp::Reverse(view.submitted), view.job));
        views.truncate(limits::JOBS_SHOWN_MAX);
        views
    }

    /// Returns adverts and connections.
    pub const fn peers(&self) -> &CapacityTable {
        &self.peers
    }

    /// Returns whether jobs of others are taken, for the own advert.
    pub const fn accepting(&self) -> Accepting {
        self.worker.accepting
    }

    /// Returns how many works wait or run, for the own advert.
    pub fn queue_len(&self) -> usize {
        self.worker.queue_len()
    }

    /// Returns the loaded checkpoints, for the own advert.
    pub fn warm(&self) -> &[CardId] {
        &self.worker.warm
    }

    /// Returns the measured speeds, for the own advert.
    pub fn speeds(&self) -> &[Speed] {
        &self.worker.speeds
    }

    fn with_requester(
        &mut self,
        now: Timestamp,
        view: &dyn LedgerView,
        act: impl FnOnce(&mut Requester, &mut Scene<'_>),
    ) {
        let mut cx = Scene {
            me: self.me,
            now,
            view,
            peers: &self.peers,
            shelf: &self.shelf,
            own: self.worker.own(&view.prices()),
            out: &mut self.out,
        };
        act(&mut self.requester, &mut cx);
    }

    fn with_worker(
        &mut self,
        now: Timestamp,
        view: &dyn LedgerView,
        act: impl FnOnce(&mut Worker, &mut Scene<'_>),
    ) {
        let mut cx = Scene {
            me: self.me,
            now,
            view,
            peers: &self.peers,
            shelf: &self.shelf,
            own: self.worker.own(&view.prices()),
            out: &mut self.out,
        };
        act(&mut self.worker, &mut cx);
    }

    fn look_at_jobs(&mut self, now: Timestamp, view: &dyn LedgerView) {
        self.with_requester(now, view, Requester::look_all);
    }

    #[expect(clippy::too_many_lines, reason = "a flat table of events")]
    fn route(&mut self, now: Timestamp, event: Event, view: &dyn LedgerView) {
        match event {
            Event::Restore { jobs, work } => {
                self.with_worker(now, view, |worker, cx| worker.restore(cx, work));
                self.with_requester(now, view, |requester, cx| requester.restore(cx, jobs));
            }
            Event::Submit(submission) => {
                self.with_requester(now, view, |requester, cx| requester.submit(cx, *submission));
            }
            Event::Cancel { job } => {
                self.with_requester(now, view, |requester, cx| {
                    requester.step(cx, job, JobEvent::Cancel);
                });
            }
            Event::Pause => self.with_worker(now, view, Worker::pause),
            Event::Unpause => self.with_worker(now, view, Worker::unpause),
            Event::EngineUnloaded => self.with_worker(now, view, Worker::unloaded),
            Event::Advert(advert) => {
                let node = advert.node;
                if node == self.me || !view.is_member(&node) {
                    return self.out.ignore(Some(node), Ignored::NotAMember);
                }
                match self.peers.hear(now, self.skew, advert) {
                    Heard::Taken => self.look_at_jobs(now, view),
                    Heard::Stale => self.out.ignore(Some(node), Ignored::StaleAdvert),
                    Heard::Full => self.out.ignore(Some(node), Ignored::Full("advert table")),
                }
            }
            Event::PeerConnected { peer } => match self.peers.connect(peer) {
                Heard::Taken | Heard::Stale => self.with_requester(now, view, |requester, cx| {
                    requester.peer_connected(cx, peer);
                }),
                Heard::Full => self.out.ignore(Some(peer), Ignored::Full("peer table")),
            },
            Event::PeerDisconnected { peer } => self.peers.disconnect(&peer),
            Event::Message { from, message } => self.hear(now, from, *message, view),
            Event::LedgerChanged => {
                self.with_worker(now, view, |worker, cx| worker.look_all(cx));
                self.look_at_jobs(now, view);
            }
            Event::Shelf { cards } => {
                self.shelf = cards.into_iter().take(limits::CARD_IDS_MAX).collect();
                self.look_at_jobs(now, view);
            }
            Event::CardsProgress {
                call,
                card,
                have,
                total,
            } => {
                let phase = Phase::Fetching { card, have, total };
                self.progress(now, view, call, phase, None);
            }
            Event::EngineProgress {
                call,
                phase,
                preview,
            } => self.progress(now, view, call, phase, preview),
            Event::Signed { call, entry } => {
                let job = JobEvent::Signed(call, entry);
                self.answer(now, view, call, Some(job), Some(WorkEvent::Signed(entry)));
            }
            Event::NotSigned { call, cause } => {
                let job = JobEvent::NotSigned(call, cause);
                self.answer(now, view, call, Some(job), Some(WorkEvent::NotSigned));
            }
            Event::OutputsSaved { call } => {
                self.answer(now, view, call, Some(JobEvent::Saved(call)), None);
            }
            Event::OutputsFailed { call, fault } => {
                self.answer(now, view, call, Some(JobEvent::NotSaved(call, fault)), None);
            }
            Event::CardsReady {
                call,
                bytes_from,
                took,
            } => {
                let work = WorkEvent::CardsReady(bytes_from, took);
                self.answer(now, view, call, None, Some(work));
            }
            Event::CardsFailed { call, card, cause } => {
                let work = WorkEvent::CardsFailed(card, cause);
                self.answer(now, view, call, None, Some(work));
            }
            Event::EngineDone {
                call,
                evaluations,
                timings,
                energy,
                warnings,
            } => {
                let run = Run {
                    evaluations,
                    timings,
                    energy,
                    warnings,
                };
                self.answer(now, view, call, None, Some(WorkEvent::EngineDone(run)));
            }
            Event::EngineFailed {
                call,
                evaluations,
                energy,
                end,
            } => {
                let work = WorkEvent::EngineFailed(evaluations, energy, end);
                self.answer(now, view, call, None, Some(work));
            }
            Event::OutputsStored { call, outputs } => {
                self.answer(now, view, call, None, Some(WorkEvent::Stored(outputs)));
            }
            Event::OutputsNotStored { call, fault } => {
                self.answer(now, view, call, None, Some(WorkEvent::NotStored(fault)));
            }
        }
    }

    fn hear(&mut self, now: Timestamp, from: NodeId, message: JobMessage, view: &dyn LedgerView) {
        if !view.is_member(&from) || from == self.me {
            return self.out.ignore(Some(from), Ignored::NotAMember);
        }
        let job = match &message {
            JobMessage::QuoteRequest(_)
            | JobMessage::Order { .. }
            | JobMessage::Cancel { .. }
            | JobMessage::Resume { .. }
            | JobMessage::Received { .. } => {
                return self.with_worker(now, view, |worker, cx| worker.hear(cx, from, message));
            }
            JobMessage::Quote(quote) => quote.job,
            JobMessage::Done(done) => done.job,
            JobMessage::QuoteRefused { job, .. }
            | JobMessage::Accepted { job, .. }
            | JobMessage::Refused { job, .. }
            | JobMessage::Progress { job, .. }
            | JobMessage::Failed { job, .. } => *job,
        };
        self.with_requester(now, view, |requester, cx| {
            requester.step(cx, job, JobEvent::Heard(from, Box::new(message)));
        });
    }

    fn progress(
        &mut self,
        now: Timestamp,
        view: &dyn LedgerView,
        call: CallId,
        phase: Phase,
        preview: Option<hearth_protocol::job::Preview>,
    ) {
        match self.out.caller(call) {
            Some(Caller::Work(key)) => self.with_worker(now, view, |worker, cx| {
                worker.progressed(cx, key, call, phase, preview);
            }),
            Some(Caller::Job(_) | Caller::Thanks(..)) | None => {
                self.out.ignore(None, Ignored::LateAnswer(call));
            }
        }
    }

    /// Gives an answer to the half that called; an answer of the wrong kind is a late one.
    fn answer(
        &mut self,
        now: Timestamp,
        view: &dyn LedgerView,
        call: CallId,
        job: Option<JobEvent>,
        work: Option<WorkEvent>,
    ) {
        match (self.out.close(call), job, work) {
            (Some(Caller::Job(id)), Some(event), _) => {
                self.with_requester(now, view, |requester, cx| requester.step(cx, id, event));
            }
            (Some(Caller::Work(key)), _, Some(event)) => {
                self.with_worker(now, view, |worker, cx| {
                    worker.answered(cx, key, call, event);
                });
            }
            (Some(Caller::Thanks(..)), Some(_), Some(_)) => {}
            (Some(_) | None, _, _) => self.out.ignore(None, Ignored::LateAnswer(call)),
        }
    }

    /// Carries words between the halves until both are silent.
    fn pass_words(&mut self, now: Timestamp, view: &dyn LedgerView) {
        while let Some(word) = self.out.next_word() {
            match word {
                Word::RunLocal(job, spec) => {
                    self.with_worker(now, view, |worker, cx| worker.run_local(cx, job, spec));
                }
                Word::StopLocal(job) => {
                    self.with_worker(now, view, |worker, cx| worker.stop_local(cx, job));
                }
                Word::LocalProgress(job, phase, preview) => {
                    let event = JobEvent::LocalProgress(phase, preview);
                    self.with_requester(now, view, |requester, cx| requester.step(cx, job, event));
                }
                Word::LocalOver(job, result) => {
                    let event = JobEvent::LocalOver(result);
                    self.with_requester(now, view, |requester, cx| requester.step(cx, job, event));
                }
            }
        }
    }
}
