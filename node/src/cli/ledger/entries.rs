//! `hearth ledger entries`: what was written, newest first.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use hearth_protocol::control::{Command, EntriesRequest, EntryKind, Reply};
use hearth_protocol::snapshot::LedgerView;
use serde_json::json;

use super::calendar::{Since, parse_since};
use super::words::{amount, names};
use crate::cli::session::{Session, other};
use crate::cli::table::Table;
use crate::cli::wording::{clip, when};
use crate::clock::now;

/// Which entries.
#[derive(Debug, Args)]
pub(in crate::cli) struct EntriesArgs {
    /// Only this member's: petname, nickname, short or full id
    peer: Option<String>,
    /// The same, as a flag
    #[arg(long = "peer", value_name = "PEER", conflicts_with = "peer")]
    by: Option<String>,
    /// Only what is about this job: job id or order, or the beginning of one
    #[arg(long, value_name = "ID")]
    job: Option<String>,
    /// Only this kind (can be repeated)
    #[arg(long = "kind", value_name = "KIND", value_parser = kinds())]
    kinds: Vec<EntryKind>,
    /// Only those dated then or later: 2026-11-01, '2026-11-01 18:30' (UTC), 12h, 7d
    #[arg(long, value_name = "DATE", value_parser = parse_since)]
    since: Option<Since>,
    /// At most so many; 0 shows all
    #[arg(long, short = 'n', default_value_t = 50, value_name = "N")]
    limit: u32,
}

fn kinds() -> impl TypedValueParser<Value = EntryKind> {
    let named = |name: &str| EntryKind::ALL.into_iter().find(|kind| kind.name() == name);
    PossibleValuesParser::new(EntryKind::ALL.map(EntryKind::name))
        .map(move |name| named(&name).expect("only names of kinds pass"))
}

pub(super) fn run(args: EntriesArgs, session: &Session) -> anyhow::Result<()> {
    let now = now();
    let mut request = EntriesRequest {
        author: args.peer.or(args.by),
        limit: 0,
        job: args.job,
        kinds: args.kinds,
        since: args.since.map(|since| since.at(now)),
        after: None,
    };
    let wanted = match args.limit {
        0 => usize::MAX,
        limit => usize::try_from(limit).unwrap_or(usize::MAX),
    };
    let mut all: Vec<LedgerView> = Vec::new();
    loop {
        request.limit = u32::try_from(wanted - all.len()).unwrap_or(u32::MAX);
        let Reply::Entries { entries, next } =
            session.ask(Command::LedgerEntries(Box::new(request.clone())))?
        else {
            return other();
        };
        all.extend(entries);
        request.after = next;
        if next.is_none() || all.len() >= wanted {
            break;
        }
    }
    session.printer.json(&json!({ "entries": all }))?;
    if session.printer.is_json() {
        return Ok(());
    }
    if all.is_empty() {
        session.printer.note("no such entries");
    }
    let names = names(session);
    let mut table = Table::new(&[
        "ENTRY", "WHEN", "AUTHOR", ">SEQ", "KIND", ">KUDOS", "STATE", "WHAT",
    ]);
    for entry in &all {
        table.row([
            entry.entry.short(),
            when(entry.time, now),
            clip(&names.name(&entry.author), 16),
            entry.seq.to_string(),
            entry.kind.clone(),
            entry.amount.map_or_else(String::new, amount),
            clip(&entry.state, 40),
            clip(&entry.text, 72),
        ]);
    }
    session.printer.table(&table)?;
    if request.after.is_some() {
        session.printer.note("there are more; -n 0 shows all");
    }
    Ok(())
}
