//! Follows jobs from their submission until all are over.
//!
//! Notices drive it; a look at the jobs four times a second makes up for lost ones. The first Ctrl-C
//! cancels the jobs, the second leaves at once.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::Context;
use hearth_protocol::control::{Command, GenerateRequest, Problem, ProblemKind, Reply};
use hearth_protocol::id::JobId;
use hearth_protocol::job::Phase;
use hearth_protocol::limits;
use hearth_protocol::snapshot::{JobView, Notice};

use super::outcome;
use crate::cli::exit::Interrupted;
use crate::cli::interrupt;
use crate::cli::jobs::phase_words;
use crate::cli::progress::Bar;
use crate::cli::session::{Session, other};
use crate::client::{Client, Notices};

const LOOK: Duration = Duration::from_millis(250);
/// How long the node may take to end jobs whose time is over.
const GRACE: Duration = Duration::from_millis(250);

enum Happening {
    Job(Box<JobView>),
    Interrupt,
    /// No more notices: the node ended.
    Silence,
}

/// Jobs under way.
pub(super) struct Follower {
    client: Client,
    session: Session,
    jobs: Vec<JobId>,
    views: BTreeMap<JobId, JobView>,
    happenings: Receiver<Happening>,
    begun: Instant,
    timeout: Option<Duration>,
    cancelled: bool,
    bar: Bar,
}

impl Follower {
    /// Submits the request. Notices are subscribed to first, so that none is missed.
    pub(super) fn submit(
        request: GenerateRequest,
        client: Client,
        session: &Session,
    ) -> anyhow::Result<Self> {
        let notices = client.notices()?;
        let (sender, happenings) = sync_channel(limits::ROOM_QUEUE_MAX);
        let interrupts = sender.clone();
        interrupt::listen(move || {
            // A full queue or a command that is over needs no more interrupts.
            let _ = interrupts.try_send(Happening::Interrupt);
        })
        .context("cannot listen for Ctrl-C")?;
        std::thread::Builder::new()
            .name("notices".to_owned())
            .spawn(move || forward(notices, &sender))
            .context("cannot start threads")?;
        let timeout = request
            .timeout
            .map(|span| Duration::from_millis(span.get()));
        let begun = Instant::now();
        let bar = Bar::steps(&session.printer, "asking");
        let reply = client.execute(Command::Generate(Box::new(request)))?;
        let Reply::Submitted { jobs } = reply else {
            return other();
        };
        Ok(Self {
            client,
            session: session.clone(),
            jobs,
            views: BTreeMap::new(),
            happenings,
            begun,
            timeout,
            cancelled: false,
            bar,
        })
    }

    /// Waits until every job is over and reports.
    pub(super) fn follow(mut self) -> anyhow::Result<()> {
        let waited = self.wait();
        self.bar.clear();
        waited?;
        outcome::report(&self.jobs, &self.views, &self.session)?;
        if self.cancelled {
            return Err(Interrupted::Gracefully.into());
        }
        match outcome::failure(&self.jobs, &self.views) {
            Some(problem) if self.is_late() => Err(Problem {
                kind: ProblemKind::Timeout,
                ..problem
            }
            .into()),
            Some(problem) => Err(problem.into()),
            None => Ok(()),
        }
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        let mut looked = Instant::now();
        self.look()?;
        while !self.is_over() {
            match self.happenings.recv_timeout(LOOK) {
                Ok(Happening::Job(job)) => self.note(*job),
                Ok(Happening::Interrupt) => self.interrupted()?,
                // What stays unsaid is seen by looking; a node that is gone makes looking fail.
                Ok(Happening::Silence) => std::thread::sleep(LOOK),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            if looked.elapsed() >= LOOK {
                self.look()?;
                looked = Instant::now();
            }
            self.draw();
            self.give_up_when_late()?;
        }
        Ok(())
    }

    fn look(&mut self) -> anyhow::Result<()> {
        for job in self.jobs.clone() {
            if self.views.get(&job).is_some_and(|view| view.over) {
                continue;
            }
            let reply = self.client.execute(Command::JobsShow {
                job: job.to_string(),
            })?;
            let Reply::Job(view) = reply else {
                return other();
            };
            self.note(*view);
        }
        Ok(())
    }

    fn note(&mut self, view: JobView) {
        if self.jobs.contains(&view.job) {
            self.views.insert(view.job, view);
        }
    }

    fn is_over(&self) -> bool {
        self.jobs
            .iter()
            .all(|job| self.views.get(job).is_some_and(|view| view.over))
    }

    fn is_late(&self) -> bool {
        self.timeout
            .is_some_and(|timeout| self.begun.elapsed() >= timeout)
    }

    fn interrupted(&mut self) -> anyhow::Result<()> {
        if self.cancelled {
            return Err(Interrupted::AtOnce.into());
        }
        self.cancelled = true;
        self.session
            .printer
            .note("cancelling; Ctrl-C again leaves at once");
        self.cancel();
        Ok(())
    }

    fn cancel(&self) {
        for job in &self.jobs {
            if self.views.get(job).is_none_or(|view| !view.over) {
                let job = job.to_string();
                if let Err(error) = self.client.execute(Command::JobsCancel { job }) {
                    self.session.printer.note(format!("not cancelled: {error}"));
                }
            }
        }
    }

    /// The node ends late jobs itself; this is for a node that does not.
    fn give_up_when_late(&self) -> anyhow::Result<()> {
        let Some(timeout) = self.timeout else {
            return Ok(());
        };
        if self.begun.elapsed() < timeout + GRACE {
            return Ok(());
        }
        self.cancel();
        let what = format!("no picture after {} s", timeout.as_secs());
        Err(Problem::new(ProblemKind::Timeout, what).into())
    }

    fn draw(&self) {
        let mut done = 0;
        let mut all = 0;
        let mut message = None;
        for view in self.views.values() {
            all += u64::from(view.steps);
            done += u64::from(steps_done(view));
            if !view.over {
                let words = view.phase.as_ref().map(phase_words);
                message = message
                    .or(words)
                    .or_else(|| view.note.clone())
                    .or_else(|| Some(view.state.clone()));
            }
        }
        self.bar.at(done, all);
        if let Some(message) = message {
            self.bar.say(crate::cli::wording::clip(&message, 60));
        }
    }
}

/// Returns how many steps of a job are behind it.
pub(super) const fn steps_done(view: &JobView) -> u32 {
    match &view.phase {
        Some(Phase::Denoising { step, .. }) => *step,
        Some(Phase::Decoding | Phase::Delivering) => view.steps,
        Some(Phase::Queued { .. } | Phase::Fetching { .. } | Phase::Loading | Phase::Encoding)
        | None => {
            if view.over {
                view.steps
            } else {
                0
            }
        }
    }
}

fn forward(notices: Notices, sender: &SyncSender<Happening>) {
    for notice in notices {
        match notice {
            Ok(Notice::Job { job, .. }) => {
                if sender.send(Happening::Job(job)).is_err() {
                    return;
                }
            }
            Ok(Notice::Changed) => {}
            Err(_) => break,
        }
    }
    // The command may be over already.
    let _ = sender.send(Happening::Silence);
}

/// Waits until the node has no open jobs of its own, so that its entries are written and told.
pub(super) fn settle(client: &Client, most: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < most {
        match client.execute(Command::Status) {
            Ok(Reply::Status(status)) if status.jobs_open > 0 => {}
            Ok(_) | Err(_) => return,
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
