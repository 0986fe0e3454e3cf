//! What is known of the node: the last snapshot, how old it is, and whether more is coming.
//!
//! It keeps the last data when the node goes away, and holds new data back while frozen.

use hearth_protocol::id::{JobId, NodeId};
use hearth_protocol::job::Preview;
use hearth_protocol::limits;
use hearth_protocol::snapshot::{JobView, Notice, Snapshot};
use hearth_protocol::unit::Timestamp;

use crate::text;

/// Previews kept: those of the jobs somebody may be looking at.
const PREVIEWS_MAX: usize = 16;

/// How the node is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Link {
    /// It has not been asked yet.
    Waiting,
    /// It answers.
    Up,
    /// It does not, and why.
    Away(String),
}

/// Everything received.
#[derive(Debug)]
pub(crate) struct Feed {
    snapshot: Option<Box<Snapshot>>,
    /// When the snapshot came.
    at: Timestamp,
    link: Link,
    frozen: bool,
    held: Option<(Box<Snapshot>, Timestamp)>,
    previews: Vec<(JobId, Preview)>,
}

impl Feed {
    pub(crate) const fn new() -> Self {
        Self {
            snapshot: None,
            at: Timestamp::ORIGIN,
            link: Link::Waiting,
            frozen: false,
            held: None,
            previews: Vec::new(),
        }
    }

    pub(crate) fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_deref()
    }

    pub(crate) const fn at(&self) -> Timestamp {
        self.at
    }

    pub(crate) const fn link(&self) -> &Link {
        &self.link
    }

    pub(crate) const fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// Whether what is shown may be wrong by now because nothing comes.
    pub(crate) const fn is_away(&self) -> bool {
        matches!(self.link, Link::Away(_))
    }

    /// Takes a snapshot, or keeps it for later while frozen.
    pub(crate) fn take(&mut self, snapshot: Box<Snapshot>, now: Timestamp) {
        self.link = Link::Up;
        if self.frozen && self.snapshot.is_some() {
            self.held = Some((snapshot, now));
        } else {
            self.show(snapshot, now);
        }
    }

    fn show(&mut self, snapshot: Box<Snapshot>, at: Timestamp) {
        self.previews
            .retain(|(job, _)| snapshot.jobs.iter().any(|view| view.job == *job));
        self.snapshot = Some(snapshot);
        self.at = at;
    }

    /// Notes that the node does not answer.
    pub(crate) fn lose(&mut self, why: &str) {
        self.link = Link::Away(text::clean(why));
    }

    /// Stops or starts the flow.
    pub(crate) fn toggle_frozen(&mut self) {
        self.frozen = !self.frozen;
        if !self.frozen
            && let Some((snapshot, at)) = self.held.take()
        {
            self.show(snapshot, at);
        }
    }

    /// Puts one job's news into the snapshot.
    pub(crate) fn note(&mut self, notice: Notice) {
        match notice {
            Notice::Changed => {}
            Notice::Job { job, preview } => {
                if !self.frozen {
                    self.note_job(*job, preview);
                }
            }
        }
    }

    fn note_job(&mut self, job: JobView, preview: Option<Preview>) {
        let Some(snapshot) = self.snapshot.as_mut() else {
            return;
        };
        if let Some(preview) = preview.filter(is_whole) {
            self.previews.retain(|(known, _)| *known != job.job);
            if self.previews.len() == PREVIEWS_MAX {
                self.previews.remove(0);
            }
            self.previews.push((job.job, preview));
        }
        if let Some(known) = snapshot.jobs.iter_mut().find(|view| view.job == job.job) {
            *known = job;
        } else {
            snapshot.jobs.insert(0, job);
            snapshot.jobs.truncate(limits::JOBS_SHOWN_MAX);
        }
    }

    pub(crate) fn preview(&self, job: JobId) -> Option<&Preview> {
        self.previews
            .iter()
            .find(|(known, _)| *known == job)
            .map(|(_, preview)| preview)
    }

    /// Returns what a member is called here.
    pub(crate) fn name(&self, node: NodeId) -> String {
        let Some(snapshot) = self.snapshot() else {
            return node.short();
        };
        if node == snapshot.status.node {
            return "me".into();
        }
        let peer = snapshot.peers.iter().find(|peer| peer.node == node);
        peer.map_or_else(|| node.short(), |peer| text::clean(&peer.name))
    }
}

/// A peer may send a picture whose bytes do not fit its size.
fn is_whole(preview: &Preview) -> bool {
    let pixels = usize::from(preview.width) * usize::from(preview.height);
    pixels > 0 && preview.rgb.len() == 3 * pixels && preview.rgb.len() <= limits::PREVIEW_LEN_MAX
}
