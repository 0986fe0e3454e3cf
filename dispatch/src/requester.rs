//! The requester's half: every job a person of this node asked for, one small machine each.
//!
//! This file keeps the table and hands events to the right job; [`job`] is the machine,
//! `placing`, `following` and `collecting` its three acts, `cancelling` a way out of each. Nothing here computes or charges.

pub(crate) mod cancelling;
pub(crate) mod collecting;
pub(crate) mod following;
pub(crate) mod job;
pub(crate) mod placing;
pub(crate) mod restore;

use std::collections::BTreeMap;

use hearth_protocol::id::{JobId, NodeId};
use hearth_protocol::limits;
use hearth_protocol::unit::Timestamp;

use crate::effect::Effect;
use crate::event::{Place, Submission};
use crate::failure::JobFailure;
use crate::ignored::Ignored;
use crate::rank::Scene;
use crate::record::{JobRecord, Wish};

pub use job::{Job, JobState};

pub(crate) use job::JobEvent;

/// All jobs of this node, open ones and the last that ended.
#[derive(Debug, Default)]
pub(crate) struct Requester {
    jobs: BTreeMap<JobId, Job>,
    failures: BTreeMap<NodeId, u32>,
}

impl Requester {
    pub(crate) fn submit(&mut self, cx: &mut Scene<'_>, submission: Submission) {
        let id = submission.job;
        if self.jobs.contains_key(&id) {
            cx.out.ignore(None, Ignored::DuplicateJob(id));
            return;
        }
        let open = self.open().count();
        let mut job = Job::new(cx.now, submission);
        let refusal = match (&job.spec, open >= limits::JOBS_OPEN_MAX) {
            (_, true) => Some(JobFailure::TooManyJobs),
            (Some(spec), false) => match spec.check() {
                Err(error) => Some(JobFailure::Spec(error)),
                Ok(()) if spec.job_id(&job.salt) != id => Some(JobFailure::WrongName),
                Ok(()) => None,
            },
            (None, false) => Some(JobFailure::SpecLost),
        };
        if job.place == Place::Peer(cx.me) {
            job.place = Place::Local;
        }
        match refusal {
            Some(why) => job.fail(cx, why),
            None => {
                self.burden(&mut job);
                cx.out.push(Effect::PersistJob(Box::new(job.record())));
                job.place(cx);
            }
        }
        self.jobs.insert(id, job);
        self.forget_old();
    }

    pub(crate) fn restore(&mut self, cx: &mut Scene<'_>, records: Vec<JobRecord>) {
        for record in records
            .into_iter()
            .take(limits::JOBS_OPEN_MAX + limits::JOBS_SHOWN_MAX)
        {
            let id = record.job;
            self.jobs.entry(id).or_insert_with(|| {
                let mut job = Job::restored(record);
                job.take_up(cx);
                job
            });
        }
        self.forget_old();
    }

    /// Gives one job an event.
    pub(crate) fn step(&mut self, cx: &mut Scene<'_>, id: JobId, event: JobEvent) {
        let Some(mut job) = self.jobs.remove(&id) else {
            let peer = event.peer();
            cx.out.ignore(peer, Ignored::UnknownJob(id));
            return;
        };
        self.burden(&mut job);
        let was_over = job.is_over();
        if let Some(worker) = job.step(cx, event)
            && (self.failures.len() < limits::MEMBERS_MAX || self.failures.contains_key(&worker))
        {
            *self.failures.entry(worker).or_default() += 1;
        }
        let ended = !was_over && job.is_over();
        if let (true, JobState::Finished(_), Some(worker)) = (ended, &job.state, job.worker()) {
            self.failures.remove(&worker);
        }
        self.jobs.insert(id, job);
        if ended {
            self.forget_old();
            self.wake_waiting(cx);
        }
    }

    /// Looks at every open job again: the ledger, a peer or an advert changed.
    pub(crate) fn look_all(&mut self, cx: &mut Scene<'_>) {
        let open: Vec<JobId> = self.open().map(|job| job.id).collect();
        for id in open {
            self.step(cx, id, JobEvent::Look);
        }
    }

    pub(crate) fn peer_connected(&mut self, cx: &mut Scene<'_>, peer: NodeId) {
        let open: Vec<JobId> = self.open().map(|job| job.id).collect();
        for id in open {
            self.step(cx, id, JobEvent::Connected(peer));
        }
    }

    pub(crate) fn handle_timeout(&mut self, cx: &mut Scene<'_>) {
        let due: Vec<JobId> = self
            .open()
            .filter(|job| job.timer.is_some_and(|at| at <= cx.now))
            .map(|job| job.id)
            .collect();
        for id in due {
            self.step(cx, id, JobEvent::Look);
        }
    }

    pub(crate) fn next_due(&self) -> Option<(Timestamp, JobId)> {
        self.open()
            .filter_map(|job| job.timer.map(|at| (at, job.id)))
            .min()
    }

    pub(crate) fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values()
    }

    pub(crate) fn job(&self, id: &JobId) -> Option<&Job> {
        self.jobs.get(id)
    }

    fn open(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values().filter(|job| !job.is_over())
    }

    /// Tells a job what its siblings put on each worker since it asked for quotes, and what
    /// failed where: what spreads a batch.
    fn burden(&self, job: &mut Job) {
        job.failures.clone_from(&self.failures);
        job.siblings.clear();
        job.orders_at.clear();
        for other in self.open() {
            if let Some(worker) = other.worker() {
                *job.orders_at.entry(worker).or_default() += 1;
            }
            if let (Some(worker), Some(since)) = (other.worker(), other.ordered_at)
                && other.wish == Wish::Finish
                && since >= job.asked_at
            {
                *job.siblings.entry(worker).or_default() += 1;
            }
        }
    }

    /// Jobs that wait for a free place try again when one may have become free.
    fn wake_waiting(&mut self, cx: &mut Scene<'_>) {
        let waiting = self
            .open()
            .find(|job| matches!(job.state, JobState::Waiting { .. }))
            .map(|job| job.id);
        if let Some(id) = waiting {
            self.step(cx, id, JobEvent::Retry);
        }
    }

    fn forget_old(&mut self) {
        loop {
            let ended = self.jobs.values().filter(|job| job.is_over());
            let ended: Vec<(Option<Timestamp>, JobId)> =
                ended.map(|job| (job.ended, job.id)).collect();
            if ended.len() <= limits::JOBS_SHOWN_MAX {
                return;
            }
            if let Some((_, oldest)) = ended.into_iter().min() {
                self.jobs.remove(&oldest);
            }
        }
    }
}
