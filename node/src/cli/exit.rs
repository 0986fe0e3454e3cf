//! Exit codes and error reports: the one place that turns an error into what a script or a person
//! sees. Codes are never renumbered.

use std::fmt;
use std::process::ExitCode;

use hearth_protocol::control::{Problem, ProblemKind};

use crate::client::ClientError;
use crate::config::ConfigError;
use crate::daemon::StartError;
use crate::home::LockError;
use crate::identity::IdentityError;
use crate::log::LogError;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    Ok,
    Failed,
    Usage,
    Unreachable,
    Credit,
    Timeout,
    Interrupted,
}

impl Exit {
    pub(super) const ALL: [Self; 7] = [
        Self::Ok,
        Self::Failed,
        Self::Usage,
        Self::Unreachable,
        Self::Credit,
        Self::Timeout,
        Self::Interrupted,
    ];

    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Credit => 4,
            Self::Timeout => 5,
            Self::Interrupted => 130,
        }
    }

    pub(super) const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "it was done",
            Self::Failed => "it failed or was refused, or an audit found what does not hold",
            Self::Usage => "the command or the configuration is wrong",
            Self::Unreachable => "no node runs here, or it does not answer",
            Self::Credit => "not enough credit",
            Self::Timeout => "it took too long",
            Self::Interrupted => "interrupted with Ctrl-C",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl From<ProblemKind> for Exit {
    fn from(kind: ProblemKind) -> Self {
        match kind {
            ProblemKind::Failed => Self::Failed,
            ProblemKind::Usage => Self::Usage,
            ProblemKind::Credit => Self::Credit,
            ProblemKind::Timeout => Self::Timeout,
        }
    }
}

/// A command that was interrupted by a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Interrupted {
    /// After everything was brought to an end.
    #[error("interrupted")]
    Gracefully,
    /// Leaving things as they are.
    #[error("interrupted at once")]
    AtOnce,
}

/// What is shown of an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) exit: Exit,
    pub(super) what: String,
    pub(super) causes: Vec<String>,
    pub(super) hint: Option<String>,
    /// Nobody is there to read it.
    pub(super) silent: bool,
}

impl Report {
    /// Reads code, causes and hint out of an error's chain.
    pub(super) fn of(error: &anyhow::Error) -> Self {
        let mut report = Self {
            exit: Exit::Failed,
            what: error.to_string(),
            causes: Vec::new(),
            hint: None,
            silent: false,
        };
        for link in error.chain().skip(1) {
            report.cause(link.to_string());
        }
        for link in error.chain() {
            report.read(link);
        }
        report
    }

    fn cause(&mut self, cause: String) {
        // Several of our errors already end with their source's words.
        let told = std::iter::once(&self.what)
            .chain(&self.causes)
            .any(|text| text.ends_with(&cause));
        if !told {
            self.causes.push(cause);
        }
    }

    fn read(&mut self, link: &(dyn std::error::Error + 'static)) {
        if let Some(problem) = link.downcast_ref::<Problem>() {
            self.problem(problem);
        } else if let Some(error) = link.downcast_ref::<ClientError>() {
            self.client(error);
        } else if let Some(error) = link.downcast_ref::<ConfigError>() {
            self.exit = Exit::Usage;
            self.hint = error.hint();
        } else if link.is::<LogError>() {
            self.exit = Exit::Usage;
        } else if let Some(error) = link.downcast_ref::<IdentityError>() {
            self.hint = error.hint();
        } else if let Some(error) = link.downcast_ref::<LockError>() {
            self.lock(error);
        } else if let Some(StartError::Lock(error)) = link.downcast_ref::<StartError>() {
            self.lock(error);
        } else if let Some(StartError::Identity(error)) = link.downcast_ref::<StartError>() {
            self.hint = error.hint();
        } else if link.is::<Interrupted>() {
            self.exit = Exit::Interrupted;
        } else if let Some(error) = link.downcast_ref::<std::io::Error>() {
            self.io(error.kind());
        }
    }

    fn client(&mut self, error: &ClientError) {
        if let ClientError::Problem(problem) = error {
            self.problem(problem);
        } else if error.is_unreachable() {
            self.exit = Exit::Unreachable;
            self.hint = Some("start the node with 'hearth up'".to_owned());
        }
    }

    fn io(&mut self, kind: std::io::ErrorKind) {
        if kind == std::io::ErrorKind::BrokenPipe {
            self.silent = true;
            self.exit = Exit::Ok;
        } else if kind == std::io::ErrorKind::AddrInUse {
            self.hint = Some(
                "another program has this port; --set network.listen=0.0.0.0:0 --set \
                 blobs.listen=0.0.0.0:0 takes free ones"
                    .to_owned(),
            );
        }
    }

    fn lock(&mut self, error: &LockError) {
        if let LockError::Held { .. } = error {
            self.hint = Some("'hearth stop' ends it; --home DIR uses another home".to_owned());
        }
    }

    fn problem(&mut self, problem: &Problem) {
        self.exit = problem.kind.into();
        for cause in &problem.causes {
            self.cause(cause.clone());
        }
        self.hint.clone_from(&problem.hint);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        for cause in &self.causes {
            write!(f, "\n  cause: {cause}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n\nhint: {hint}")?;
        }
        Ok(())
    }
}
