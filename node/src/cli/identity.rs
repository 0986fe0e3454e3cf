//! `hearth identity`: the key that is this node's name and account.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hearth_protocol::sign::NodeKey;
use serde_json::json;

use super::session::Session;
use crate::home::{HomeLock, LockError};
use crate::identity::{self, Overwrite, Restored};

/// What to do with the node's key.
#[derive(Debug, Subcommand)]
pub(super) enum IdentityVerb {
    /// Show the node's id
    Show,
    /// Save the key to a file; who has it can act as this node
    Backup(FileArgs),
    /// Bring a saved key back into this home
    Restore(FileArgs),
}

/// A backup file.
#[derive(Debug, Args)]
pub(super) struct FileArgs {
    /// The backup file
    file: PathBuf,
    /// Replace what is there
    #[arg(long)]
    yes: bool,
}

impl FileArgs {
    const fn overwrite(&self) -> Overwrite {
        if self.yes {
            Overwrite::Allow
        } else {
            Overwrite::Refuse
        }
    }
}

pub(super) fn run(verb: &IdentityVerb, session: &Session) -> anyhow::Result<()> {
    match verb {
        IdentityVerb::Show => show(session),
        IdentityVerb::Backup(args) => backup(args, session),
        IdentityVerb::Restore(args) => restore(args, session),
    }
}

/// Returns the key; makes one in a new home, unless a node is about to.
fn key(session: &Session) -> anyhow::Result<NodeKey> {
    if let Some(key) = identity::load(&session.home)? {
        return Ok(key);
    }
    let _lock: HomeLock = HomeLock::acquire(&session.home)?;
    Ok(identity::load_or_create(&session.home)?)
}

fn show(session: &Session) -> anyhow::Result<()> {
    let id = key(session)?.id();
    let file = session.home.identity_key();
    session
        .printer
        .json(&json!({ "node": id, "file": file.display().to_string() }))?;
    session.printer.line(id.to_string())
}

fn backup(args: &FileArgs, session: &Session) -> anyhow::Result<()> {
    let key = key(session)?;
    identity::backup(&key, &args.file, args.overwrite())?;
    let file = args.file.display();
    session
        .printer
        .json(&json!({ "node": key.id(), "file": file.to_string() }))?;
    session
        .printer
        .line(format!("saved {} to {file}", key.id().short()))?;
    session
        .printer
        .note("keep it secret and apart from this machine: a lost key is a lost account");
    Ok(())
}

fn restore(args: &FileArgs, session: &Session) -> anyhow::Result<()> {
    // A running node holds its key in memory: the lock says whether there is one.
    let _lock = HomeLock::acquire(&session.home).map_err(|error: LockError| {
        anyhow::Error::new(error).context("the key cannot be replaced while the node runs")
    })?;
    let restored = identity::restore(&session.home, &args.file, args.overwrite())?;
    let (node, line) = match &restored {
        Restored::Same(id) => (id, format!("{} is this home's key already", id.short())),
        Restored::Placed(id) => (id, format!("restored {}", id.short())),
        Restored::Replaced { now, former } => (
            now,
            format!(
                "restored {}; the former key is kept in {}",
                now.short(),
                former.display()
            ),
        ),
    };
    session.printer.json(&json!({ "node": node }))?;
    session.printer.line(line)?;
    session.printer.note(
        "if this key still runs elsewhere, end that node first: two nodes with one key fork its \
         chain and lose their standing",
    );
    Ok(())
}
