//! `hearth worker`: whether this machine works for others.

use clap::Subcommand;
use hearth_protocol::control::Command;

use super::session::Session;

/// What to do with the worker.
#[derive(Debug, Subcommand)]
pub(super) enum WorkerVerb {
    /// Finish what runs and take nothing new
    Pause,
    /// Take jobs again
    Resume,
}

pub(super) fn run(verb: &WorkerVerb, session: &Session) -> anyhow::Result<()> {
    session.ask_done(match verb {
        WorkerVerb::Pause => Command::WorkerPause,
        WorkerVerb::Resume => Command::WorkerResume,
    })
}
