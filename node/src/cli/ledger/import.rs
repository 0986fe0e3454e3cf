//! `hearth ledger import`: an exported file into the running node, which checks every entry.
//!
//! Two passes, so that who joined is known before what they wrote arrives: an unknown author's
//! entries have little room.

use std::path::Path;

use anyhow::bail;
use hearth_protocol::control::{Command, ImportReply, Reply, Verbatim};
use hearth_protocol::limits;
use serde_json::json;

use super::file::{Line, Lines};
use super::words::counted;
use crate::cli::printer::Role;
use crate::cli::session::{Session, other};
use crate::cli::wording::printable;

/// Bytes of entries in one command: in Base64, with their quotes, they stay below what one may have.
const BATCH_LEN: usize = 40 * 1024;
/// Refusals that are shown; the others are counted.
const SHOWN_MAX: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    Joins,
    Others,
}

pub(super) fn run(path: &Path, session: &Session) -> anyhow::Result<()> {
    let mut intake = Intake::new(session);
    for pass in [Pass::Joins, Pass::Others] {
        intake.read(path, pass)?;
    }
    let Intake { total, refused, .. } = intake;
    session.printer.json(&json!({
        "new": total.new, "known": total.known, "loose": total.loose,
        "deferred": total.deferred, "forks": total.forks,
        "refused": refused.iter()
            .map(|(line, why)| json!({ "line": line, "why": why }))
            .collect::<Vec<_>>(),
    }))?;
    for (line, why) in refused.iter().take(SHOWN_MAX) {
        let text = format!("line {line}: {}", printable(why));
        session
            .printer
            .line(session.printer.paint(Role::Bad, text))?;
    }
    let mut told = vec![
        format!("{} new", total.new),
        format!("{} known", total.known),
    ];
    for (count, what) in [
        (total.forks, "new forks"),
        (total.deferred, "dated ahead of the clock"),
        (total.loose, "without the entries before them"),
    ] {
        if count > 0 {
            told.push(format!("{count} {what}"));
        }
    }
    let told = told.join(", ");
    session
        .printer
        .line(format!("imported {}: {told}", path.display()))?;
    if !refused.is_empty() {
        bail!(
            "{} refused",
            counted(refused.len(), "line was", "lines were")
        );
    }
    Ok(())
}

/// What is on its way into the node.
struct Intake<'a> {
    session: &'a Session,
    entries: Vec<Verbatim>,
    forks: Vec<Verbatim>,
    /// The lines of the entries, then of the forks.
    lines: (Vec<u64>, Vec<u64>),
    len: usize,
    total: ImportReply,
    refused: Vec<(u64, String)>,
}

impl<'a> Intake<'a> {
    fn new(session: &'a Session) -> Self {
        Self {
            session,
            entries: Vec::new(),
            forks: Vec::new(),
            lines: (Vec::new(), Vec::new()),
            len: 0,
            total: ImportReply::default(),
            refused: Vec::new(),
        }
    }

    fn read(&mut self, path: &Path, pass: Pass) -> anyhow::Result<()> {
        let mut lines = Lines::open(path)?;
        let (header, _) = lines.header()?;
        if pass == Pass::Joins {
            self.same_commons(&header)?;
        }
        let mut is_whole = false;
        while let Some(line) = lines.next()? {
            let number = lines.number();
            match line {
                Ok(Line::Entry(line)) if (line.seq == 0) == (pass == Pass::Joins) => {
                    match line.entry() {
                        Ok(_) => self.push(number, line.bytes, false)?,
                        Err(what) => self.refused.push((number, what)),
                    }
                }
                Ok(Line::Fork(line)) if pass == Pass::Others => {
                    self.push(number, line.bytes, true)?;
                }
                Ok(Line::End(_)) => is_whole = true,
                Ok(Line::Entry(_) | Line::Fork(_) | Line::Header(_)) => {}
                Err(what) if pass == Pass::Others => self.refused.push((number, what)),
                Err(_) => {}
            }
        }
        if pass == Pass::Others && !is_whole {
            self.session
                .printer
                .note("the file ends without its last line: it was cut off");
        }
        self.send()
    }

    fn same_commons(&self, header: &super::file::HeaderLine) -> anyhow::Result<()> {
        let Reply::Commons(commons) = self.session.ask(Command::CommonsShow)? else {
            return other();
        };
        if commons.id != header.commons {
            bail!(
                "line 1: the file is of commons {} ({}), this node is in {} ({})",
                printable(&header.name),
                header.commons.short(),
                printable(&commons.charter.name),
                commons.id.short()
            );
        }
        Ok(())
    }

    fn push(&mut self, line: u64, bytes: Verbatim, is_fork: bool) -> anyhow::Result<()> {
        let count = self.entries.len() + self.forks.len();
        if count == limits::LEDGER_IMPORT_MAX || self.len + bytes.0.len() > BATCH_LEN {
            self.send()?;
        }
        self.len += bytes.0.len();
        if is_fork {
            self.forks.push(bytes);
            self.lines.1.push(line);
        } else {
            self.entries.push(bytes);
            self.lines.0.push(line);
        }
        Ok(())
    }

    fn send(&mut self) -> anyhow::Result<()> {
        let entries = std::mem::take(&mut self.entries);
        let forks = std::mem::take(&mut self.forks);
        let (mut lines, of_forks) = std::mem::take(&mut self.lines);
        lines.extend(of_forks);
        self.len = 0;
        if lines.is_empty() {
            return Ok(());
        }
        let Reply::Imported(reply) = self.session.ask(Command::LedgerImport { entries, forks })?
        else {
            return other();
        };
        self.total.new += reply.new;
        self.total.known += reply.known;
        self.total.loose += reply.loose;
        self.total.deferred += reply.deferred;
        self.total.forks += reply.forks;
        for refused in reply.refused {
            let line = usize::try_from(refused.index).ok();
            let line = line.and_then(|index| lines.get(index)).copied();
            self.refused.push((line.unwrap_or_default(), refused.why));
        }
        Ok(())
    }
}
