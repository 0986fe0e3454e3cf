//! What every command works with: the home, the configuration, the running node, the printer.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::bail;
use hearth_protocol::control::{Command, Reply};
use serde_json::Value;

use super::Globals;
use super::printer::Printer;
use crate::client::{Client, ClientError};
use crate::config::{ConfigError, Settings};
use crate::home::Home;
use crate::log::{LogPlan, Stderr};

/// One run of the command line.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) home: Home,
    pub(super) printer: Printer,
    flags: Vec<(String, String)>,
    home_flag: Option<PathBuf>,
}

impl Session {
    pub(super) fn new(globals: &Globals, printer: Printer) -> anyhow::Result<Self> {
        Ok(Self {
            home: Home::choose(globals.home.as_deref())?,
            printer,
            flags: globals.settings(),
            home_flag: globals.home.clone(),
        })
    }

    /// Reads the configuration.
    pub(super) fn settings(&self) -> Result<Settings, ConfigError> {
        Settings::load(&self.home, &self.flags)
    }

    /// Returns the flags that give a process started on this one's behalf the same node.
    pub(super) fn node_flags(&self) -> Vec<OsString> {
        let mut flags = Vec::new();
        if let Some(home) = &self.home_flag {
            flags.extend(["--home".into(), home.clone().into()]);
        }
        for (key, value) in &self.flags {
            flags.extend(["--set".into(), format!("{key}={value}").into()]);
        }
        flags
    }

    /// Sets a configuration key for this run.
    pub(super) fn set(&mut self, key: &str, value: &str) {
        self.flags.push((key.to_owned(), value.to_owned()));
    }

    /// Finds the running node.
    pub(super) fn client(&self) -> Result<Client, ClientError> {
        Client::discover(&self.home)
    }

    /// Asks the running node for something.
    pub(super) fn ask(&self, command: Command) -> anyhow::Result<Reply> {
        Ok(self.client()?.execute(command)?)
    }

    /// Asks, and prints the one line that says what changed.
    pub(super) fn ask_done(&self, command: Command) -> anyhow::Result<()> {
        let reply = self.ask(command)?;
        self.reply_json(&reply)?;
        let (Reply::Done { what } | Reply::Wrote { what, .. }) = reply else {
            return other();
        };
        self.printer.line(what)
    }

    /// Prints a reply as one JSON object, if JSON is wanted.
    pub(super) fn reply_json(&self, reply: &Reply) -> anyhow::Result<()> {
        if !self.printer.is_json() {
            return Ok(());
        }
        // A reply is an object with its kind as the one key; people want what is behind it.
        let kinds = match serde_json::to_value(reply)? {
            Value::Object(kinds) => kinds,
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => bail!("a reply in another form"),
        };
        match kinds.into_iter().next() {
            Some((_, value)) => self.printer.json(&value),
            None => bail!("a reply without content"),
        }
    }

    /// Begins logging: to the home's file where asked, and to standard error as verbose as asked.
    pub(super) fn begin_log(&self, filter: &str, to: LogTo) -> anyhow::Result<()> {
        let shown = match to {
            LogTo::FileAndStderr => !self.printer.is_quiet(),
            LogTo::File => self.printer.verbosity() > 0,
        };
        let stderr = match (shown, self.printer.colours_stderr()) {
            (false, _) => Stderr::Off,
            (true, false) => Stderr::Plain,
            (true, true) => Stderr::Colour,
        };
        let filter = match self.printer.verbosity() {
            0 | 1 => filter,
            2 => "debug",
            _ => "trace",
        };
        self.home.create()?;
        crate::log::begin(&LogPlan {
            filter: filter.to_owned(),
            stderr,
            file: Some(self.home.log_file()),
        })?;
        Ok(())
    }
}

/// Where logs go beside the dashboard's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogTo {
    /// The home's file; standard error only with `-v`.
    File,
    /// Both, unless quiet.
    FileAndStderr,
}

/// Fails for a reply of another kind than the command's.
pub(super) fn other<T>() -> anyhow::Result<T> {
    Err(ClientError::OtherReply.into())
}
