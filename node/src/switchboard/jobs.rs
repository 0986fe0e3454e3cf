//! Jobs as a person knows them: where pictures go, what to show, what to keep when a job is over.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

use hearth_dispatch::{Finish, Job, JobRecord, JobStage, JobState};
use hearth_protocol::control::{ImageReport, JobReport};
use hearth_protocol::id::{BlobHash, EntryHash, JobId};
use hearth_protocol::job::{Phase, Preview};
use hearth_protocol::limits;
use hearth_protocol::snapshot::{JobView, Notice};
use serde::{Deserialize, Serialize};

use super::errand::{Places, is_picture};
use super::{Facts, Switchboard};
use crate::clock::now;
use crate::store::Table;

/// What a person wants of a job beside the picture itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wishes {
    /// Where the picture goes; a name of its own if absent.
    pub(super) out: Option<String>,
    /// Where latents go.
    pub(super) steps: Option<String>,
    /// The noise seed, for the report.
    pub(super) seed: u64,
    /// Size in pixels.
    pub(super) size: (u32, u32),
    /// Sampling steps.
    pub(super) sampling: u32,
}

/// What the store keeps of an unfinished job.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredJob {
    /// Dispatch's note, without the spec.
    pub(super) record: JobRecord,
    /// The person's wishes.
    pub(super) wishes: Wishes,
}

/// A job that is over.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OverJob {
    /// As it is shown, without the prompt once it comes from the store.
    pub(super) view: JobView,
    /// The receipt, for a dispute.
    pub(super) receipt: Option<EntryHash>,
}

/// Wishes of open jobs and the latest that are over.
#[derive(Debug, Default)]
pub(super) struct JobDesk {
    wishes: BTreeMap<JobId, Wishes>,
    over: BTreeMap<JobId, OverJob>,
    order: VecDeque<JobId>,
}

impl JobDesk {
    /// Takes up what the store kept.
    pub(super) fn new(wishes: BTreeMap<JobId, Wishes>, mut over: Vec<OverJob>) -> Self {
        over.sort_by_key(|over| over.view.submitted);
        let mut desk = Self {
            wishes,
            ..Self::default()
        };
        for over in over {
            desk.finish(over);
        }
        desk
    }

    /// Notes what a person wants of a new job.
    pub(super) fn wish(&mut self, job: JobId, wishes: Wishes) {
        self.wishes.insert(job, wishes);
    }

    /// Returns where a job's outputs go.
    pub(super) fn places(&self, job: &JobId, facts: &Facts) -> Places {
        let wishes = self.wishes.get(job);
        let own_name = || {
            facts
                .config
                .outputs_dir(&facts.home)
                .join(format!("hearth-{}.png", job.short()))
        };
        let image = wishes
            .and_then(|wishes| wishes.out.as_ref())
            .map_or_else(own_name, PathBuf::from);
        let steps = wishes
            .and_then(|wishes| wishes.steps.as_ref())
            .map(PathBuf::from);
        Places { image, steps }
    }

    /// Keeps a job that is over; returns the one that had to make room.
    fn finish(&mut self, over: OverJob) -> Option<JobId> {
        let job = over.view.job;
        self.wishes.remove(&job);
        if self.over.insert(job, over).is_none() {
            self.order.push_back(job);
        }
        if self.order.len() <= limits::JOBS_SHOWN_MAX {
            return None;
        }
        let oldest = self.order.pop_front()?;
        self.over.remove(&oldest);
        Some(oldest)
    }

    /// Returns a job that is over.
    pub(super) fn over(&self, job: &JobId) -> Option<&OverJob> {
        self.over.get(job)
    }

    /// Returns the jobs that are over, newest first.
    pub(super) fn all_over(&self) -> impl Iterator<Item = &OverJob> {
        self.order.iter().rev().filter_map(|job| self.over.get(job))
    }
}

impl Switchboard {
    /// Keeps dispatch's note on a job of this node, and shows the change.
    pub(super) fn persist_job(&mut self, mut record: JobRecord) {
        let job = record.job;
        if let Some(spec) = record.spec.take()
            && let Err(error) = self.specs.keep(&job, &spec)
        {
            tracing::error!(%error, "a job's spec could not be kept: it will not survive a restart");
        }
        if matches!(
            record.stage,
            JobStage::Finished(_) | JobStage::Failed(_) | JobStage::Cancelled { .. }
        ) {
            return self.job_is_over(&record);
        }
        let wishes = self.jobs.wishes.get(&job).cloned().unwrap_or_default();
        let stored = StoredJob { record, wishes };
        self.stored("noting a job", |board| {
            board.store.put(Table::Jobs, job.as_bytes(), &stored)
        });
        self.job_changed(job, None);
    }

    fn job_is_over(&mut self, record: &JobRecord) {
        let job = record.job;
        let Some(view) = self.own_job_view(job) else {
            return;
        };
        let receipt = match &record.stage {
            JobStage::Finished(finish) => finish.receipt,
            JobStage::Placing
            | JobStage::Ordered(_)
            | JobStage::Collecting { .. }
            | JobStage::Acking { .. }
            | JobStage::Local
            | JobStage::Failed(_)
            | JobStage::Cancelled { .. } => None,
        };
        let over = OverJob {
            view: view.clone(),
            receipt,
        };
        let private = OverJob {
            view: JobView {
                prompt: None,
                ..view
            },
            receipt,
        };
        if let Some(spec) = self.specs.load(&job) {
            self.drop_inputs(job, &spec);
        }
        self.specs.forget(&job);
        self.stored("noting a finished job", |board| {
            board.store.remove(Table::Jobs, job.as_bytes())?;
            board.store.put(Table::Reports, job.as_bytes(), &private)
        });
        if let Some(oldest) = self.jobs.finish(over) {
            self.stored("forgetting an old job", |board| {
                board.store.remove(Table::Reports, oldest.as_bytes())
            });
        }
        self.job_changed(job, None);
    }

    /// Shows progress of a job of this node.
    pub(super) fn job_went_on(&self, job: JobId, phase: Phase, preview: Option<Preview>) {
        if let Some(mut view) = self.own_job_view(job) {
            view.phase = Some(phase);
            self.notice(Notice::Job {
                job: Box::new(view),
                preview,
            });
        }
    }

    fn job_changed(&self, job: JobId, preview: Option<Preview>) {
        if let Some(view) = self.own_job_view(job) {
            self.notice(Notice::Job {
                job: Box::new(view),
                preview,
            });
        }
    }

    /// Returns a job of this node as shown.
    pub(super) fn own_job_view(&self, id: JobId) -> Option<JobView> {
        if let Some(over) = self.jobs.over(&id) {
            return Some(over.view.clone());
        }
        let mut view = self.dispatcher.job_view(&id, now())?;
        let wishes = self.jobs.wishes.get(&id).cloned().unwrap_or_default();
        view.size = wishes.size;
        view.steps = wishes.sampling;
        if let Some(finish) = self.dispatcher.job(&id).and_then(finish) {
            view.peer = Some(finish.worker.unwrap_or(self.me));
            view.report = Some(Box::new(self.report(&view, finish, &wishes)));
        }
        Some(view)
    }

    fn report(&self, view: &JobView, finish: &Finish, wishes: &Wishes) -> JobReport {
        let image = finish
            .outputs
            .iter()
            .find(|output| is_picture(&output.name));
        let path = self.jobs.places(&view.job, &self.facts).image;
        JobReport {
            image: ImageReport {
                path: path.to_string_lossy().into_owned(),
                seed: wishes.seed,
                blake3: image.map_or_else(|| BlobHash::of(b""), |image| image.blob),
            },
            worker: finish.worker.unwrap_or(self.me),
            kudos_mk: finish.amount,
            timings: finish.timings,
            total: view.age,
            energy: finish.energy,
            warnings: finish.warnings.clone(),
        }
    }
}

fn finish(job: &Job) -> Option<&Finish> {
    match job.state() {
        JobState::Finished(finish) => Some(finish),
        JobState::Waiting { .. }
        | JobState::Quoting { .. }
        | JobState::Signing { .. }
        | JobState::Ordered { .. }
        | JobState::Running { .. }
        | JobState::Releasing { .. }
        | JobState::Voiding { .. }
        | JobState::Settling { .. }
        | JobState::Saving { .. }
        | JobState::Acking { .. }
        | JobState::Cancelling { .. }
        | JobState::Local
        | JobState::Failed(_)
        | JobState::Cancelled { .. } => None,
    }
}
