//! `hearth ledger balance`: everybody's balance, or one member's account.

use hearth_protocol::control::{AccountView, Command, Reply};
use hearth_protocol::unit::Balance;

use super::words::{amount, kudos, names, who};
use crate::cli::printer::Role;
use crate::cli::session::{Session, other};
use crate::cli::table::Table;
use crate::cli::wording::clip;

pub(super) fn all(session: &Session) -> anyhow::Result<()> {
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
    if session.printer.is_json() {
        return Ok(());
    }
    let names = names(session);
    let mut table = Table::new(&["MEMBER", "ID", ">KUDOS", ">PENDING", ">SPENDABLE"]);
    for line in &balances {
        let me = if line.node == node { " (me)" } else { "" };
        let spendable = Balance::from_mk(line.balance.mk() - line.pending.mk());
        table.row([
            format!("{}{me}", clip(&names.name(&line.node), 24)),
            line.node.short(),
            kudos(line.balance),
            kudos(line.pending),
            kudos(spendable),
        ]);
    }
    let sum: Balance = balances.iter().map(|line| line.balance).sum();
    let blank = String::new;
    table.row(["sum".to_owned(), blank(), kudos(sum), blank(), blank()]);
    session.printer.table(&table)?;
    let digest = format!("digest {digest}");
    session
        .printer
        .line(session.printer.paint(Role::Muted, digest))
}

pub(super) fn one(peer: String, session: &Session) -> anyhow::Result<()> {
    let reply = session.ask(Command::LedgerAccount { peer: Some(peer) })?;
    session.reply_json(&reply)?;
    let Reply::Account(account) = reply else {
        return other();
    };
    if session.printer.is_json() {
        return Ok(());
    }
    let printer = &session.printer;
    let names = names(session);
    let name = clip(&names.name(&account.node), 24);
    let standing = match (account.forked, account.member) {
        (true, _) => "its chain forked",
        (false, true) => "member",
        (false, false) => "not a member",
    };
    printer.line(format!(
        "{}: {standing}, {} entries",
        printer.paint(Role::Strong, who(&names, &account.node)),
        account.entries
    ))?;
    printer.table(&sheet(&account))?;
    let Some(terms) = &account.terms else {
        return Ok(());
    };
    printer.line("")?;
    let mut table = Table::new(&["LINE", ">MAY OWE", ">OWES"]);
    table.row([
        format!("{name}, to me"),
        amount(terms.line_to_it),
        kudos(terms.it_owes),
    ]);
    table.row([
        format!("me, to {name}"),
        amount(terms.line_to_me),
        kudos(terms.i_owe),
    ]);
    printer.table(&table)?;
    let note = "open holds count as owed; below zero it is the other way round";
    printer.line(printer.paint(Role::Muted, note))
}

fn sheet(account: &AccountView) -> Table {
    let minus = |balance: Balance| Balance::from_mk(-balance.mk());
    let mut table = Table::new(&["WHAT", ">KUDOS", ""]);
    for (what, sum, note) in [
        ("earned", account.earned, "work done for others"),
        ("received", account.received, "gifts and thanks from others"),
        ("paid", minus(account.paid), "work others did"),
        ("given", minus(account.given), "gifts and thanks to others"),
        ("balance", account.balance, "the sum of these four"),
        (
            "pending",
            account.pending,
            "of it earned and not accepted yet",
        ),
        ("spendable", account.spendable, "balance less pending"),
    ] {
        table.row([what.to_owned(), kudos(sum), note.to_owned()]);
    }
    table
}
