//! Speaks to a running node over its control API: blocking HTTP on loopback (`specs/control.md`).
//!
//! Everything of the command line goes through here, also when the node runs inside the same
//! process, so there is one way in. Knows routes and JSON; what a reply means is its caller's
//! business.

mod access;
mod notices;

use std::time::Duration;

use hearth_gateway::Outcome;
use hearth_protocol::control::{Command, Problem, Reply};
use hearth_protocol::snapshot::Snapshot;

pub use access::{AccessError, ApiAccess};
pub use notices::Notices;

use crate::home::Home;

type Response = ureq::http::Response<ureq::Body>;
type Got = Result<Response, ureq::Error>;

/// Longest answer accepted: a snapshot of a large commons fits.
const ANSWER_LEN_MAX: u64 = 64 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection to a node's control API.
#[derive(Debug, Clone)]
pub struct Client {
    agent: ureq::Agent,
    access: ApiAccess,
}

/// Why a node did not answer, or said no.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No node runs in this home.
    #[error("no hearth is running for {home}")]
    NotRunning {
        /// The home.
        home: String,
    },
    /// It runs, but the connection failed.
    #[error("the node at {url} does not answer")]
    Unreachable {
        /// Where it should be.
        url: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// The files that say where it is cannot be read.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The token was refused: another process has the address, or the file is old.
    #[error("the node at {url} refused the token")]
    Unauthorized {
        /// Where.
        url: String,
    },
    /// It answered with an unexpected status.
    #[error("the node at {url} answered with status {status}")]
    Status {
        /// Where.
        url: String,
        /// The status.
        status: u16,
    },
    /// It answered in another form: a different version.
    #[error("the answer of the node cannot be read; is it another version of hearth?")]
    Form(#[source] Box<ureq::Error>),
    /// It answered with a reply to something else.
    #[error("the node answered with something else than was asked")]
    OtherReply,
    /// The stream of notices broke.
    #[error("the node stopped sending notices")]
    Notices(#[source] std::io::Error),
    /// It said no.
    #[error(transparent)]
    Problem(#[from] Problem),
}

impl ClientError {
    /// Whether there is no node to talk to (exit code 3).
    pub const fn is_unreachable(&self) -> bool {
        match self {
            Self::NotRunning { .. } | Self::Unreachable { .. } | Self::Unauthorized { .. } => true,
            Self::Access(_)
            | Self::Status { .. }
            | Self::Form(_)
            | Self::OtherReply
            | Self::Notices(_)
            | Self::Problem(_) => false,
        }
    }
}

impl Client {
    /// Speaks to the API at a known place.
    pub fn new(access: ApiAccess) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .build();
        Self {
            agent: config.into(),
            access,
        }
    }

    /// Finds the node that runs in a home. A file left by a dead process counts as no node.
    ///
    /// # Errors
    /// [`ClientError::NotRunning`], or why the files cannot be read.
    pub fn discover(home: &Home) -> Result<Self, ClientError> {
        ApiAccess::read(home)?
            .map(Self::new)
            .ok_or_else(|| ClientError::NotRunning {
                home: home.root().display().to_string(),
            })
    }

    /// Returns where the API is.
    pub const fn access(&self) -> &ApiAccess {
        &self.access
    }

    /// Asks for something and waits for the answer, however long it takes.
    ///
    /// # Errors
    /// [`ClientError::Problem`] when the node said no; the others when it could not be asked.
    pub fn execute(&self, command: Command) -> Result<Reply, ClientError> {
        let request = self
            .agent
            .post(self.route("/v1/command"))
            .header("Authorization", self.bearer());
        match self.read(request.send_json(&command))? {
            Outcome::Ok(reply) => Ok(reply),
            Outcome::Problem(problem) => Err(ClientError::Problem(problem)),
        }
    }

    /// Reads everything the node shows of itself.
    ///
    /// # Errors
    /// When the node cannot be asked.
    pub fn snapshot(&self) -> Result<Snapshot, ClientError> {
        let request = self
            .agent
            .get(self.route("/v1/snapshot"))
            .header("Authorization", self.bearer());
        self.read(request.call())
    }

    /// Listens to what changes. Ends with the connection; nothing is replayed.
    ///
    /// # Errors
    /// When the node cannot be asked.
    pub fn notices(&self) -> Result<Notices, ClientError> {
        let request = self
            .agent
            .get(self.route("/v1/events"))
            .header("Authorization", self.bearer())
            .header("Accept", "text/event-stream");
        let response = self.accept(request.call())?;
        let body = response.into_body().into_with_config().limit(u64::MAX);
        Ok(Notices::new(Box::new(body.reader())))
    }

    fn route(&self, path: &str) -> String {
        format!("{}{path}", self.access.url.trim_end_matches('/'))
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.access.token)
    }

    fn read<T: serde::de::DeserializeOwned>(&self, response: Got) -> Result<T, ClientError> {
        self.accept(response)?
            .body_mut()
            .with_config()
            .limit(ANSWER_LEN_MAX)
            .read_json()
            .map_err(|error| ClientError::Form(Box::new(error)))
    }

    fn accept(&self, response: Got) -> Result<Response, ClientError> {
        let url = || self.access.url.clone();
        let mut response = response.map_err(|error| ClientError::Unreachable {
            url: url(),
            source: Box::new(error),
        })?;
        match response.status().as_u16() {
            200 => Ok(response),
            401 | 403 => Err(ClientError::Unauthorized { url: url() }),
            status => match response.body_mut().read_json() {
                Ok(Outcome::Problem(problem)) => Err(ClientError::Problem(problem)),
                Ok(Outcome::Ok(_)) | Err(_) => Err(ClientError::Status { url: url(), status }),
            },
        }
    }
}
