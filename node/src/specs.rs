//! Specs of unfinished jobs, one private file each, deleted when the job is over.
//!
//! They hold prompts, so they stay out of the store, whose files never shrink.

use std::fs;
use std::path::{Path, PathBuf};

use hearth_protocol::codec;
use hearth_protocol::id::JobId;
use hearth_protocol::job::JobSpec;
use hearth_protocol::limits;

use crate::home::write_private;

/// The folder of spec files.
#[derive(Debug)]
pub(crate) struct Specs {
    dir: PathBuf,
}

impl Specs {
    /// Uses a folder, creating it where needed.
    pub(crate) fn open(dir: &Path) -> std::io::Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self {
            dir: dir.to_path_buf(),
        })
    }

    /// Keeps a spec, synced.
    pub(crate) fn keep(&self, job: &JobId, spec: &JobSpec) -> std::io::Result<()> {
        let path = self.path(job);
        if path.exists() {
            Ok(())
        } else {
            write_private(&path, &codec::encode(spec))
        }
    }

    /// Returns a spec that was kept.
    pub(crate) fn load(&self, job: &JobId) -> Option<JobSpec> {
        let bytes = fs::read(self.path(job)).ok()?;
        codec::decode(&bytes, limits::FRAME_LEN_MAX).ok()
    }

    /// Deletes a spec.
    pub(crate) fn forget(&self, job: &JobId) {
        if let Err(error) = fs::remove_file(self.path(job))
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, job = job.short(), "a finished job's spec could not be deleted");
        }
    }

    fn path(&self, job: &JobId) -> PathBuf {
        self.dir.join(format!("{job}.spec"))
    }
}
