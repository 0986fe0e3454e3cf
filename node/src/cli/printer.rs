//! The only writer to the terminal: results to standard output, everything else to standard error.
//!
//! Decides about colour, quiet and JSON once, so that no command has to.

use std::io::{self, IsTerminal, Write};

use anyhow::Context;
use clap::ValueEnum;
use hearth_protocol::control::SCHEMA;
use serde::Serialize;
use serde_json::Value;

use super::Globals;
use super::exit::Report;
use super::table::Table;

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ColorWhen {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// A colour by its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Good,
    Warning,
    Bad,
    Muted,
    Strong,
}

impl Role {
    const fn code(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Warning => "33",
            Self::Bad => "31",
            Self::Muted => "2",
            Self::Strong => "1",
        }
    }
}

/// Writes results, notes and errors.
#[derive(Debug, Clone)]
pub(super) struct Printer {
    json: bool,
    quiet: u8,
    verbose: u8,
    color_out: bool,
    color_err: bool,
}

impl Printer {
    pub(super) fn new(globals: &Globals) -> Self {
        let color = |terminal: bool| match globals.color {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => {
                let set =
                    |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
                let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
                !set("NO_COLOR") && (set("CLICOLOR_FORCE") || (terminal && !dumb))
            }
        };
        Self {
            json: globals.json,
            quiet: globals.quiet,
            verbose: globals.verbose,
            color_out: color(io::stdout().is_terminal()),
            color_err: color(io::stderr().is_terminal()),
        }
    }

    /// Whether results are JSON.
    pub(super) const fn is_json(&self) -> bool {
        self.json
    }

    /// Whether logs go to standard error, and how many levels more.
    pub(super) const fn verbosity(&self) -> u8 {
        self.verbose
    }

    /// Whether only results are wanted.
    pub(super) const fn is_quiet(&self) -> bool {
        self.quiet > 0
    }

    /// Whether standard error may have colours.
    pub(super) const fn colours_stderr(&self) -> bool {
        self.color_err
    }

    /// Whether progress bars may be drawn.
    pub(super) fn animates(&self) -> bool {
        self.quiet == 0 && self.verbose == 0 && !self.json && io::stderr().is_terminal()
    }

    /// Whether standard output is a terminal.
    pub(super) fn is_terminal(&self) -> bool {
        !self.json && io::stdout().is_terminal()
    }

    /// Prints one line of the result, unless it is told as JSON.
    pub(super) fn line(&self, line: impl AsRef<str>) -> anyhow::Result<()> {
        if self.json {
            return Ok(());
        }
        self.raw(&format!("{}\n", line.as_ref()))
    }

    /// Prints a table of the result, unless it is told as JSON.
    pub(super) fn table(&self, table: &Table) -> anyhow::Result<()> {
        let mut lines = table.lines().into_iter();
        if let Some(headings) = lines.next() {
            self.line(self.paint(Role::Muted, headings))?;
        }
        lines.try_for_each(|line| self.line(line))
    }

    /// Prints text of the result as it is, in either mode.
    pub(super) fn raw(&self, text: &str) -> anyhow::Result<()> {
        self.bytes(text.as_bytes())
    }

    /// Prints bytes of the result as they are.
    pub(super) fn bytes(&self, bytes: &[u8]) -> anyhow::Result<()> {
        if self.quiet > 1 {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        out.write_all(bytes)
            .and_then(|()| out.flush())
            .context("cannot write to standard output")
    }

    /// Prints the result as one JSON object with its schema version, if JSON is wanted.
    pub(super) fn json(&self, value: &impl Serialize) -> anyhow::Result<()> {
        if !self.json {
            return Ok(());
        }
        let mut value = serde_json::to_value(value).context("cannot form JSON")?;
        if let Value::Object(object) = &mut value {
            object.insert("schema".to_owned(), SCHEMA.into());
        }
        self.raw(&format!("{value}\n"))
    }

    /// Says something beside the result.
    pub(super) fn note(&self, note: impl AsRef<str>) {
        if self.quiet == 0 {
            self.stderr(note.as_ref());
        }
    }

    /// Reports an error; told as JSON as well when JSON is wanted.
    pub(super) fn report(&self, report: &Report) {
        if report.silent {
            return;
        }
        let text = report.to_string();
        self.stderr(&match text.strip_prefix("error:") {
            Some(rest) if self.color_err => format!("\u{1b}[1;31merror:\u{1b}[0m{rest}"),
            Some(_) | None => text,
        });
    }

    fn stderr(&self, text: &str) {
        if self.quiet > 1 {
            return;
        }
        // Nobody is left to tell when standard error is closed.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Colours a text of the result.
    pub(super) fn paint(&self, role: Role, text: impl AsRef<str>) -> String {
        let text = text.as_ref();
        if self.color_out {
            format!("\u{1b}[{}m{text}\u{1b}[0m", role.code())
        } else {
            text.to_owned()
        }
    }

    /// Whether there is a person to ask.
    pub(super) fn can_ask() -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Asks a person to confirm. Without a terminal, or with `--yes`, there is nobody to ask.
    pub(super) fn confirm(&self, question: &str, yes: bool) -> anyhow::Result<bool> {
        if yes || !Self::can_ask() {
            return Ok(true);
        }
        // The question must be seen before the answer is read.
        let _ = write!(io::stderr().lock(), "{question} [y/N] ");
        let mut answer = String::new();
        io::stdin()
            .read_line(&mut answer)
            .context("cannot read the answer")?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    }
}
