//! Why a command was not done, in words for people and kinds for programs.

use serde::{Deserialize, Serialize};

/// A command that was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{what}")]
#[serde(deny_unknown_fields)]
pub struct Problem {
    /// Which kind: decides the exit code.
    pub kind: ProblemKind,
    /// What failed.
    pub what: String,
    /// Why, outermost first.
    pub causes: Vec<String>,
    /// The next step.
    pub hint: Option<String>,
}

impl Problem {
    /// Makes a problem without causes or hint.
    pub fn new(kind: ProblemKind, what: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
            causes: Vec::new(),
            hint: None,
        }
    }

    /// Adds a cause.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// Adds an error and everything behind it as causes.
    #[must_use]
    pub fn because(mut self, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            let text = error.to_string();
            if self.causes.last() != Some(&text) {
                self.causes.push(text);
            }
            next = error.source();
        }
        self
    }

    /// Sets the next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A kind of problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// It failed or was refused: exit code 1.
    Failed,
    /// The command or the configuration is wrong: 2.
    Usage,
    /// Not enough credit: 4.
    Credit,
    /// It took too long: 5.
    Timeout,
}
