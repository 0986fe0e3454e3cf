//! `hearth ledger export`: the whole ledger as it was signed, or its moves for other programs.

pub(super) mod csv;
pub(super) mod journal;
pub(super) mod lines;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use hearth_ledger::{Book, Cause, LineState, Move};
use hearth_protocol::entry::{Body, Energy, TransferReason, Work};
use hearth_protocol::id::{Commitment, NodeId};
use hearth_protocol::unit::Timestamp;
use serde_json::json;
use tempfile::NamedTempFile;

use super::calendar::{Since, parse_since};
use super::copy::{Copy, fetch};
use super::words::names;
use crate::cli::session::Session;
use crate::cli::wording::Names;

/// What to write, and where.
#[derive(Debug, Args)]
pub(in crate::cli) struct ExportArgs {
    /// What to write
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    /// Leave out what is dated before: 2026-11-01, '2026-11-01 18:30' (UTC), 12h, 7d
    #[arg(long, value_name = "DATE", value_parser = parse_since)]
    since: Option<Since>,
    /// Write to this file instead of standard output; one that is there is replaced
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// A form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Every entry as it was signed, with what it says: for 'verify' and 'import'
    Jsonl,
    /// One row for each move of kudos: for spreadsheets
    Csv,
    /// A journal for beancount
    Beancount,
    /// A journal for hledger and ledger
    Hledger,
}

impl Format {
    const fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Beancount => "beancount",
            Self::Hledger => "hledger",
        }
    }
}

pub(super) fn run(args: &ExportArgs, session: &Session) -> anyhow::Result<()> {
    let copy = fetch(session)?;
    let since = args.since.map(|since| since.at(copy.time));
    let Some(path) = &args.output else {
        return write(args.format, &copy, since, session, &mut |text| {
            session.printer.raw(text)
        });
    };
    save(path, |file| {
        write(args.format, &copy, since, session, &mut |text| {
            file.write_all(text.as_bytes()).context("the disk")
        })
    })
    .with_context(|| format!("cannot write {}", path.display()))?;
    let entries = copy.book.len();
    session.printer.json(&json!({
        "file": path, "format": args.format.name(), "entries": entries,
        "commons": copy.book.commons(),
    }))?;
    session.printer.line(format!(
        "wrote {} ({}) from a ledger of {entries} entries by {} members",
        path.display(),
        args.format.name(),
        copy.book.members().len()
    ))
}

/// Takes text of an export, a piece at a time.
type Sink<'a> = &'a mut dyn FnMut(&str) -> anyhow::Result<()>;

fn write(
    format: Format,
    copy: &Copy,
    since: Option<Timestamp>,
    session: &Session,
    sink: Sink<'_>,
) -> anyhow::Result<()> {
    match format {
        Format::Jsonl => lines::write(copy, since, sink),
        Format::Csv => sink(&csv::write(&copy.book, &names(session), since)),
        Format::Beancount => sink(&journal::Journal::of(copy, &names(session), since).beancount()),
        Format::Hledger => sink(&journal::Journal::of(copy, &names(session), since).hledger()),
    }
}

/// Writes a file whole or not at all.
fn save(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&mut NamedTempFile>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut file = NamedTempFile::new_in(folder.unwrap_or_else(|| Path::new(".")))?;
    let mut buffer = BufWriter::new(&mut file);
    write(&mut buffer)?;
    buffer.flush()?;
    drop(buffer);
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// A move with what stands behind it.
struct Told {
    one: Move,
    job: Option<Commitment>,
    work: Option<(Work, Energy)>,
    /// What it is for, in words.
    what: String,
    /// `settled`, `pending`, `disputed`.
    state: &'static str,
}

impl Told {
    fn of(book: &Book, one: Move) -> Self {
        let receipt = book
            .entry(&one.entry)
            .and_then(|entry| entry.decode_body().ok());
        let work = match receipt {
            Some(Body::Receipt { work, energy, .. }) => Some((work, energy)),
            Some(_) | None => None,
        };
        let what = match (one.cause, &work) {
            (Cause::Work { .. }, Some((work, _))) => format!(
                "{} evaluations at {}x{}",
                work.evaluations, work.width, work.height
            ),
            (Cause::Work { .. }, None) => "work".to_owned(),
            (Cause::Transfer(TransferReason::Gift), _) => "gift".to_owned(),
            (Cause::Transfer(TransferReason::Seeding { bytes, .. }), _) => {
                format!("thanks for {bytes} served")
            }
            (Cause::Transfer(TransferReason::Bounty { id }), _) => {
                format!("share of bounty {}", id.short())
            }
            (Cause::Transfer(TransferReason::Audit { receipt }), _) => {
                format!("audit of {}", receipt.short())
            }
        };
        let job = match one.cause {
            Cause::Work { order } => book.order(&order).map(|order| order.job),
            Cause::Transfer(_) => None,
        };
        let state = match one.state {
            LineState::Settled => "settled",
            LineState::Pending => "pending",
            LineState::Disputed(_) => "disputed",
        };
        Self {
            one,
            job,
            work,
            what,
            state,
        }
    }
}

/// Names accounts of a journal so that beancount, hledger and ledger take them and no two are one.
fn account_names(book: &Book, names: &Names) -> BTreeMap<NodeId, String> {
    let mut nodes: BTreeSet<NodeId> = book.members().into_iter().collect();
    nodes.extend(book.balances().into_iter().map(|(node, _)| node));
    let named = |digits: usize| -> BTreeMap<NodeId, String> {
        let name = |node: &NodeId| {
            let id: String = node.to_string().chars().take(digits).collect();
            match plain_name(&names.name(node)) {
                name if name.is_empty() || names.name(node) == node.short() => {
                    format!("Assets:Kudos:Node-{id}")
                }
                name => format!("Assets:Kudos:{name}-{id}"),
            }
        };
        nodes.iter().map(|node| (*node, name(node))).collect()
    };
    let short = named(6);
    let distinct: BTreeSet<&String> = short.values().collect();
    if distinct.len() == short.len() {
        short
    } else {
        named(64)
    }
}

/// Returns a name in letters, digits and dashes that begins with a capital or a digit.
fn plain_name(name: &str) -> String {
    let mut plain = String::new();
    for c in name.chars().take(32) {
        if c.is_ascii_alphanumeric() {
            let begins = plain.is_empty();
            plain.push(if begins { c.to_ascii_uppercase() } else { c });
        } else if !plain.is_empty() && !plain.ends_with('-') {
            plain.push('-');
        }
    }
    plain.trim_end_matches('-').to_owned()
}
