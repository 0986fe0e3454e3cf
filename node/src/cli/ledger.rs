//! `hearth ledger`: who owes what, and why.

mod policy;

use anyhow::bail;
use clap::Subcommand;
use hearth_protocol::control::{AuditReply, Command, Reply};
use hearth_protocol::unit::Millikudos;

use policy::PolicyVerb;

use super::printer::Role;
use super::session::{Session, other};
use super::table::Table;
use super::wording::{Names, clip, printable, when};
use crate::clock::now;

/// What to do with the ledger.
#[derive(Debug, Subcommand)]
pub(super) enum LedgerVerb {
    /// Show everybody's balance
    Balance,
    /// Show entries, newest first
    Entries {
        /// Only this member's: petname, nickname, short or full id
        peer: Option<String>,
        /// At most so many
        #[arg(long, short = 'n', default_value_t = 50, value_name = "N")]
        limit: u32,
    },
    /// Explain a balance, line by line
    Why {
        /// Whose; one's own by default
        peer: Option<String>,
    },
    /// Check every entry again from its signed bytes
    Audit,
    /// Give kudos to a member
    #[command(before_help = "Example:\n  hearth ledger give ada 2.5\n")]
    Give {
        /// Petname, nickname, short or full id
        peer: String,
        /// How much, such as 12 or 0.5
        kudos: Millikudos,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Show or choose whom this node lends its work to, and how much
    #[command(subcommand)]
    Policy(PolicyVerb),
}

pub(super) fn run(verb: LedgerVerb, session: &Session) -> anyhow::Result<()> {
    match verb {
        LedgerVerb::Balance => balance(session),
        LedgerVerb::Entries { peer, limit } => entries(peer, limit, session),
        LedgerVerb::Why { peer } => why(peer, session),
        LedgerVerb::Audit => audit(session),
        LedgerVerb::Policy(verb) => policy::run(verb, session),
        LedgerVerb::Give { peer, kudos, yes } => {
            let question = format!("Give {kudos} kudos to {}?", printable(&peer));
            if !session.printer.confirm(&question, yes)? {
                return session.printer.line("nothing was given");
            }
            let amount = kudos;
            let reply = session.ask(Command::LedgerGive { peer, amount })?;
            session.reply_json(&reply)?;
            let Reply::Wrote { entry, what } = reply else {
                return other();
            };
            session.printer.line(format!("{what} ({})", entry.short()))
        }
    }
}

/// Names are a comfort: without them ids are shown.
fn names(session: &Session) -> Names {
    if session.printer.is_json() {
        return Names::default();
    }
    match session.ask(Command::PeersList) {
        Ok(Reply::Peers { peers }) => Names::of(&peers),
        Ok(_) | Err(_) => Names::default(),
    }
}

fn balance(session: &Session) -> anyhow::Result<()> {
    let reply = session.ask(Command::LedgerBalance)?;
    session.reply_json(&reply)?;
    let Reply::Balances {
        node,
        balances,
        digest,
    } = reply
    else {
        return other();
    };
    let names = names(session);
    let mut table = Table::new(&["MEMBER", "ID", ">KUDOS", ">PENDING"]);
    for line in &balances {
        let me = if line.node == node { " (me)" } else { "" };
        table.row([
            format!("{}{me}", clip(&names.name(&line.node), 24)),
            line.node.short(),
            line.balance.to_string(),
            line.pending.to_string(),
        ]);
    }
    session.printer.table(&table)?;
    session.printer.line(
        session
            .printer
            .paint(Role::Muted, format!("digest {digest}")),
    )
}

fn entries(author: Option<String>, limit: u32, session: &Session) -> anyhow::Result<()> {
    let reply = session.ask(Command::LedgerEntries { author, limit })?;
    session.reply_json(&reply)?;
    let Reply::Entries { entries } = reply else {
        return other();
    };
    let (names, now) = (names(session), now());
    let mut table = Table::new(&[
        "ENTRY", "WHEN", "AUTHOR", ">SEQ", "KIND", ">KUDOS", "STATE", "WHAT",
    ]);
    for entry in &entries {
        table.row([
            entry.entry.short(),
            when(entry.time, now),
            clip(&names.name(&entry.author), 16),
            entry.seq.to_string(),
            entry.kind.clone(),
            entry
                .amount
                .map_or_else(String::new, |amount| amount.to_string()),
            entry.state.clone(),
            clip(&entry.text, 60),
        ]);
    }
    session.printer.table(&table)
}

fn why(peer: Option<String>, session: &Session) -> anyhow::Result<()> {
    let reply = session.ask(Command::LedgerWhy { peer })?;
    session.reply_json(&reply)?;
    let Reply::Why {
        node,
        balance,
        pending,
        lines,
    } = reply
    else {
        return other();
    };
    let (names, now) = (names(session), now());
    let mut table = Table::new(&["WHEN", "ENTRY", "KIND", "WITH", "STATE", ">KUDOS"]);
    for line in &lines {
        table.row([
            when(line.time, now),
            line.entry.short(),
            line.kind.clone(),
            clip(&names.name(&line.peer), 24),
            line.state.clone(),
            line.amount.to_string(),
        ]);
    }
    session.printer.table(&table)?;
    session.printer.line(format!(
        "{} has {balance} kudos, {pending} of them pending",
        names.name(&node)
    ))
}

fn audit(session: &Session) -> anyhow::Result<()> {
    let reply = session.ask(Command::LedgerAudit)?;
    session.reply_json(&reply)?;
    let Reply::Audit(audit) = reply else {
        return other();
    };
    let AuditReply {
        ok,
        entries,
        chains,
        sum,
        digest,
        findings,
    } = audit;
    for finding in &findings {
        let finding = session.printer.paint(Role::Bad, printable(finding));
        session.printer.line(finding)?;
    }
    if !ok {
        bail!("the audit found {} things that do not hold", findings.len());
    }
    let fine = session.printer.paint(Role::Good, "all holds");
    session.printer.line(format!(
        "{fine}: {entries} entries of {chains} members, sum {sum}, digest {digest}"
    ))
}
