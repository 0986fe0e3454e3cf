//! `hearth ledger why --entry`: one entry, opened fully.

use hearth_protocol::control::{Command, EntryDetail, Reply};

use super::calendar::stamp;
use super::words::{facts, names};
use crate::cli::printer::Role;
use crate::cli::session::{Session, other};
use crate::cli::wording::{Names, printable, when};
use crate::clock::now;

pub(super) fn run(entry: String, session: &Session) -> anyhow::Result<()> {
    let reply = session.ask(Command::LedgerEntry { entry })?;
    session.reply_json(&reply)?;
    let Reply::Entry(detail) = reply else {
        return other();
    };
    if session.printer.is_json() {
        return Ok(());
    }
    let names = names(session);
    let printer = &session.printer;
    printer.line(printer.paint(Role::Strong, format!("entry {}", detail.view.entry)))?;
    let groups = [
        ("", summary(&detail, &names)),
        ("signed header", header(&detail)),
        ("body", body(&detail, &names)),
        ("belongs to", links(&detail)),
    ];
    for (title, facts) in groups {
        if facts.is_empty() {
            continue;
        }
        if !title.is_empty() {
            printer.line(printer.paint(Role::Muted, title))?;
        }
        for (name, value) in facts {
            printer.line(format!("  {name:<17}  {}", printable(&value)))?;
        }
    }
    Ok(())
}

fn summary(detail: &EntryDetail, names: &Names) -> Vec<(String, String)> {
    let view = &detail.view;
    let state = match detail.code {
        Some(code) => format!("{} (reason {code})", view.state),
        None => view.state.clone(),
    };
    fact_list([
        ("kind", view.kind.clone()),
        ("by", names.name(&view.author)),
        ("says", view.text.clone()),
        ("state", state),
        ("written", when(view.time, now())),
    ])
}

fn header(detail: &EntryDetail) -> Vec<(String, String)> {
    let header = &detail.header;
    let previous = if header.seq.get() == 0 {
        "nothing: the chain begins here".to_owned()
    } else {
        header.prev.to_string()
    };
    let signature = data_encoding::HEXLOWER.encode(detail.signature.as_bytes());
    let (first, second) = signature.split_at(64);
    fact_list([
        ("version", header.version.to_string()),
        ("commons", header.commons.to_string()),
        ("author", header.author.to_string()),
        ("place in chain", header.seq.to_string()),
        ("follows", previous),
        (
            "dated",
            format!("{} UTC ({})", stamp(header.time), header.time.millis()),
        ),
        ("body hash", header.body.to_string()),
        ("signature", first.to_owned()),
        ("", second.to_owned()),
    ])
}

fn body(detail: &EntryDetail, names: &Names) -> Vec<(String, String)> {
    let length = ("length", format!("{} bytes", detail.body_len));
    let told = match &detail.body {
        Some(body) => facts(body, names),
        None => vec![("says", "something in a newer version".to_owned())],
    };
    fact_list(told.into_iter().chain([length]))
}

fn links(detail: &EntryDetail) -> Vec<(String, String)> {
    let link = |link: &hearth_protocol::control::Link| (link.what.clone(), link.entry.to_string());
    detail.links.iter().map(link).collect()
}

fn fact_list(facts: impl IntoIterator<Item = (&'static str, String)>) -> Vec<(String, String)> {
    facts
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
