//! Jobs as people see them. The prompt stays on the requester's side.

use hearth_protocol::id::NodeId;
use hearth_protocol::snapshot::{JobSide, JobView};
use hearth_protocol::unit::{Millikudos, Timestamp};

use crate::requester::{Job, JobState};
use crate::worker::{Stage, Work};

/// Shows a job of this node. The daemon adds the report with the saved picture's path.
pub(crate) fn of_job(job: &Job, me: NodeId, now: Timestamp) -> JobView {
    let local = match job.state() {
        JobState::Local => true,
        JobState::Finished(finish) => finish.worker.is_none(),
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
        | JobState::Failed(_)
        | JobState::Cancelled { .. } => false,
    };
    let spec = job.spec();
    JobView {
        job: job.id(),
        side: JobSide::Requester,
        state: job.state().name().to_owned(),
        over: job.is_over(),
        phase: job.phase().cloned(),
        peer: if local { Some(me) } else { job.worker() },
        prompt: spec.map(|spec| spec.prompt.clone()),
        size: spec.map_or((0, 0), |spec| (spec.width, spec.height)),
        steps: spec.map_or(0, |spec| spec.steps),
        submitted: job.submitted(),
        age: job.ended().unwrap_or(now).since(job.submitted()),
        kudos: kudos(job),
        note: note(job),
        report: None,
    }
}

fn kudos(job: &Job) -> Millikudos {
    match job.state() {
        JobState::Finished(finish) => finish.amount,
        JobState::Cancelled { paid } => *paid,
        JobState::Signing { max, .. } => *max,
        JobState::Saving { amount, .. } | JobState::Acking { amount, .. } => *amount,
        JobState::Waiting { .. }
        | JobState::Quoting { .. }
        | JobState::Ordered { .. }
        | JobState::Running { .. }
        | JobState::Releasing { .. }
        | JobState::Voiding { .. }
        | JobState::Settling { .. }
        | JobState::Cancelling { .. }
        | JobState::Local
        | JobState::Failed(_) => job
            .attempt()
            .map_or(Millikudos::ZERO, |attempt| attempt.max),
    }
}

fn note(job: &Job) -> Option<String> {
    match job.state() {
        JobState::Waiting { why, .. } => Some(why.to_string()),
        JobState::Failed(why) => Some(why.to_string()),
        JobState::Releasing { why, .. } | JobState::Voiding { why, .. } => {
            why.as_ref().map(ToString::to_string)
        }
        JobState::Finished(finish) => finish.warnings.first().cloned(),
        JobState::Quoting { .. }
        | JobState::Signing { .. }
        | JobState::Ordered { .. }
        | JobState::Running { .. }
        | JobState::Settling { .. }
        | JobState::Saving { .. }
        | JobState::Acking { .. }
        | JobState::Cancelling { .. }
        | JobState::Local
        | JobState::Cancelled { .. } => None,
    }
}

/// Shows an order this node works on.
pub(crate) fn of_work(work: &Work, now: Timestamp) -> JobView {
    let spec = work.spec.as_deref();
    let kudos = match work.stage() {
        Stage::Delivered { done } => done.amount,
        Stage::Receipting { deliverable, .. } => deliverable.amount,
        Stage::Awaiting { .. }
        | Stage::Queued
        | Stage::Fetching { .. }
        | Stage::Running { .. }
        | Stage::Storing { .. }
        | Stage::Voiding { .. }
        | Stage::Over(_) => work.max,
    };
    JobView {
        job: work.job(),
        side: JobSide::Worker,
        state: work.stage().name().to_owned(),
        over: matches!(work.stage(), Stage::Over(_) | Stage::Delivered { .. }),
        phase: work.phase().cloned(),
        peer: Some(work.requester()),
        prompt: None,
        size: spec.map_or((0, 0), |spec| (spec.width, spec.height)),
        steps: spec.map_or(0, |spec| spec.steps),
        submitted: work.accepted,
        age: now.since(work.accepted),
        kudos,
        note: None,
        report: None,
    }
}
