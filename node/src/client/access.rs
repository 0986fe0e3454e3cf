//! Where a node's control API is and the token that opens it, as files in its home.
//!
//! `control.json` holds `{"url", "pid"}`, `control.token` the token, both 0600. The daemon writes
//! them when it is ready and removes them when it ends; after kill -9 they stay behind and name a
//! process that is gone.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::home::{Home, write_private};

/// Address and token of a control API.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiAccess {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    /// What the `Authorization: Bearer` header carries.
    pub token: String,
}

impl std::fmt::Debug for ApiAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ApiAccess({})", self.url)
    }
}

/// Why the files of a control API cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `control.json` has another form.
    #[error("{} is damaged", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct ControlFile {
    url: String,
    pid: u32,
}

impl ApiAccess {
    /// Writes both files for this process; the token first, so that who sees the one can use it.
    ///
    /// # Errors
    /// [`AccessError::Io`] names the file.
    pub fn publish(&self, home: &Home) -> Result<(), AccessError> {
        let control = ControlFile {
            url: self.url.clone(),
            pid: std::process::id(),
        };
        let path = home.control_json();
        let json = serde_json::to_vec(&control).map_err(|source| AccessError::Form {
            path: path.clone(),
            source,
        })?;
        let files = [
            (home.control_token(), self.token.as_bytes()),
            (path, json.as_slice()),
        ];
        for (path, content) in files {
            write_private(&path, content).map_err(|source| AccessError::Io { path, source })?;
        }
        Ok(())
    }

    /// Removes both files. What cannot be removed names a dead process and does no harm.
    pub fn withdraw(home: &Home) {
        for path in [home.control_json(), home.control_token()] {
            if let Err(error) = fs::remove_file(&path) {
                tracing::debug!(path = %path.display(), %error, "control file was not removed");
            }
        }
    }

    /// Reads both files, or nothing when no living process published them.
    ///
    /// # Errors
    /// [`AccessError`] when they are there and cannot be read.
    pub fn read(home: &Home) -> Result<Option<Self>, AccessError> {
        let path = home.control_json();
        let Some(json) = read_if_there(&path)? else {
            return Ok(None);
        };
        let control: ControlFile =
            serde_json::from_str(&json).map_err(|source| AccessError::Form { path, source })?;
        if !is_alive(control.pid) {
            return Ok(None);
        }
        let token = read_if_there(&home.control_token())?;
        Ok(token.map(|token| Self {
            url: control.url,
            token: token.trim().to_owned(),
        }))
    }
}

fn read_if_there(path: &PathBuf) -> Result<Option<String>, AccessError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(AccessError::Io {
            path: path.clone(),
            source,
        }),
    }
}

#[cfg(unix)]
fn is_alive(pid: u32) -> bool {
    i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .is_some_and(|pid| match rustix::process::test_kill_process(pid) {
            Ok(()) => true,
            Err(error) => error == rustix::io::Errno::PERM,
        })
}

#[cfg(not(unix))]
fn is_alive(_pid: u32) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_access_is_found_until_withdrawn() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        home.create().unwrap();
        assert!(ApiAccess::read(&home).unwrap().is_none());
        let access = ApiAccess {
            url: "http://127.0.0.1:9".to_owned(),
            token: "secret".to_owned(),
        };
        access.publish(&home).unwrap();
        assert_eq!(ApiAccess::read(&home).unwrap().unwrap(), access);
        assert!(!format!("{access:?}").contains("secret"));
        ApiAccess::withdraw(&home);
        assert!(ApiAccess::read(&home).unwrap().is_none());
    }

    #[cfg(unix)]
    #[test]
    fn file_of_a_dead_process_counts_as_no_node() {
        // C1
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        home.create().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let json = format!(r#"{{"url":"http://127.0.0.1:9","pid":{}}}"#, child.id());
        fs::write(home.control_json(), json).unwrap();
        fs::write(home.control_token(), "t").unwrap();
        assert!(ApiAccess::read(&home).unwrap().is_none());
    }
}
