//! Where the dashboard's data comes from and its commands go: a node, seen through its control API.

use std::error::Error;

use hearth_protocol::control::{Command, Problem, Reply};
use hearth_protocol::snapshot::{Notice, Snapshot};

/// A node that may come and go.
pub trait Source {
    /// Reads a snapshot; called up to four times a second, so it should be quick or fail.
    ///
    /// # Errors
    /// [`SourceError`] says why there is none; the dashboard shows it and asks again.
    fn snapshot(&mut self) -> Result<Snapshot, SourceError>;

    /// Returns what arrived since the last call, without waiting. It connects again by itself and
    /// returns nothing while the node is away.
    fn notices(&mut self) -> Vec<Notice>;

    /// Executes a command and waits for its answer; the dashboard stands still meanwhile.
    ///
    /// # Errors
    /// The node's [`Problem`], or one that says that it cannot be reached.
    fn execute(&mut self, command: Command) -> Result<Reply, Problem>;
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Nobody listens there, or not in time.
    #[error("the node does not answer")]
    Unreachable(#[source] Box<dyn Error + Send + Sync>),
    /// It answered with a problem, such as a wrong token.
    #[error("the node refuses")]
    Refused(#[source] Problem),
    /// It answered with something else; perhaps another version.
    #[error("the node's answer cannot be read")]
    Garbled(#[source] Box<dyn Error + Send + Sync>),
}
