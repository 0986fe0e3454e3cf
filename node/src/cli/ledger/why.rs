//! `hearth ledger why`: a balance, its pairs, their lines, what stands behind each.

use std::collections::BTreeMap;

use clap::Args;
use hearth_protocol::control::{ChargeView, Command, PairView, Reply, WhyLine, WhyRequest};
use hearth_protocol::id::NodeId;
use hearth_protocol::unit::{Balance, Timestamp};
use serde_json::json;

use super::calendar::stamp;
use super::words::{amount, energy, kudos, names, who, work};
use crate::cli::printer::Role;
use crate::cli::session::{Session, other};
use crate::cli::table::Table;
use crate::cli::wording::{Names, clip, printable, when};
use crate::clock::now;

/// What to explain.
#[derive(Debug, Args)]
pub(in crate::cli) struct WhyArgs {
    /// Whose balance; one's own by default
    peer: Option<String>,
    /// Open what passed between it and this member, receipt by receipt
    #[arg(long, value_name = "PEER")]
    pair: Option<String>,
    /// Open one entry: its hash, or the beginning of it
    #[arg(long, value_name = "HASH", conflicts_with_all = ["peer", "pair"])]
    entry: Option<String>,
}

/// A balance with all its lines.
struct Explained {
    node: NodeId,
    balance: Balance,
    pending: Balance,
    pairs: Vec<PairView>,
    lines: Vec<WhyLine>,
}

pub(super) fn run(args: WhyArgs, session: &Session) -> anyhow::Result<()> {
    if let Some(entry) = args.entry {
        return super::entry::run(entry, session);
    }
    let is_pair = args.pair.is_some();
    let told = ask(args.peer, args.pair, session)?;
    session.printer.json(&json!({
        "node": told.node, "balance": told.balance, "pending": told.pending,
        "pairs": told.pairs, "lines": told.lines,
    }))?;
    if session.printer.is_json() {
        return Ok(());
    }
    let names = names(session);
    if is_pair {
        pair(&told, &names, session)
    } else {
        whole(&told, &names, session)
    }
}

fn ask(peer: Option<String>, with: Option<String>, session: &Session) -> anyhow::Result<Explained> {
    let mut request = WhyRequest {
        peer,
        with,
        after: None,
    };
    let mut told: Option<Explained> = None;
    loop {
        let Reply::Why {
            node,
            balance,
            pending,
            pairs,
            lines,
            next,
        } = session.ask(Command::LedgerWhy(request.clone()))?
        else {
            return other();
        };
        match &mut told {
            Some(told) => told.lines.extend(lines),
            None => {
                told = Some(Explained {
                    node,
                    balance,
                    pending,
                    pairs,
                    lines,
                });
            }
        }
        request.after = next;
        if let (None, Some(told)) = (next, told.take_if(|_| next.is_none())) {
            return Ok(told);
        }
    }
}

fn whole(told: &Explained, names: &Names, session: &Session) -> anyhow::Result<()> {
    let printer = &session.printer;
    printer.line(format!(
        "{} has {} kudos, {} of them pending",
        printer.paint(Role::Strong, who(names, &told.node)),
        kudos(told.balance),
        kudos(told.pending)
    ))?;
    if told.lines.is_empty() {
        return printer.line("nothing was moved yet");
    }
    printer.line("")?;
    printer.table(&pair_table(told, names))?;
    printer.line("")?;
    printer.table(&line_table(told, names))?;
    let sum: Balance = told.lines.iter().map(|line| line.amount).sum();
    if sum != told.balance {
        printer.note("entries arrived while this was read; ask again for one state");
    }
    printer.note("--pair PEER opens a pair; --entry HASH opens an entry");
    Ok(())
}

/// One row a pair, and what all of them sum to.
fn pair_table(told: &Explained, names: &Names) -> Table {
    let mut table = Table::new(&[
        "WITH",
        "ID",
        ">LINES",
        ">EARNED",
        ">RECEIVED",
        ">PAID",
        ">GIVEN",
        ">BALANCE",
        ">PENDING",
    ]);
    let minus = |balance: Balance| kudos(Balance::from_mk(-balance.mk()));
    for pair in &told.pairs {
        table.row([
            clip(&names.name(&pair.peer), 20),
            pair.peer.short(),
            pair.lines.to_string(),
            kudos(pair.earned),
            kudos(pair.received),
            minus(pair.paid),
            minus(pair.given),
            kudos(pair.balance),
            kudos(pair.pending),
        ]);
    }
    let sum = |of: fn(&PairView) -> Balance| -> Balance { told.pairs.iter().map(of).sum() };
    table.row([
        "sum".to_owned(),
        String::new(),
        told.pairs
            .iter()
            .map(|pair| pair.lines)
            .sum::<u64>()
            .to_string(),
        kudos(sum(|pair| pair.earned)),
        kudos(sum(|pair| pair.received)),
        minus(sum(|pair| pair.paid)),
        minus(sum(|pair| pair.given)),
        kudos(sum(|pair| pair.balance)),
        kudos(sum(|pair| pair.pending)),
    ]);
    table
}

/// Every line, pair by pair, each pair with its sum.
fn line_table(told: &Explained, names: &Names) -> Table {
    let mut by_peer: BTreeMap<NodeId, Vec<&WhyLine>> = BTreeMap::new();
    for line in &told.lines {
        by_peer.entry(line.peer).or_default().push(line);
    }
    let now = now();
    let mut table = Table::new(&["WITH", "WHEN", "ENTRY", "ORDER", "WHAT", ">KUDOS"]);
    for pair in &told.pairs {
        let name = clip(&names.name(&pair.peer), 20);
        let lines = by_peer.remove(&pair.peer).unwrap_or_default();
        for line in &lines {
            table.row(line_row(&name, line, now));
        }
        let sum: Balance = lines.iter().map(|line| line.amount).sum();
        table.row(sum_row(&format!("sum with {name}"), sum));
    }
    let sum: Balance = told.lines.iter().map(|line| line.amount).sum();
    table.row(sum_row("balance", sum));
    table
}

fn line_row(name: &str, line: &WhyLine, now: Timestamp) -> [String; 6] {
    let order = line.charge.as_ref().map(|charge| charge.order.short());
    [
        name.to_owned(),
        when(line.time, now),
        line.entry.short(),
        order.unwrap_or_default(),
        clip(&line.state, 72),
        kudos(line.amount),
    ]
}

fn sum_row(what: &str, sum: Balance) -> [String; 6] {
    let blank = String::new;
    [
        blank(),
        blank(),
        blank(),
        blank(),
        what.to_owned(),
        kudos(sum),
    ]
}

/// One pair, every line opened.
fn pair(told: &Explained, names: &Names, session: &Session) -> anyhow::Result<()> {
    let printer = &session.printer;
    let me = names.name(&told.node);
    let Some(pair) = told.pairs.first() else {
        return printer.line(format!("nothing passed between {me} and this member"));
    };
    let other = names.name(&pair.peer);
    printer.line(format!(
        "{} and {}: {} lines",
        printer.paint(Role::Strong, who(names, &told.node)),
        printer.paint(Role::Strong, who(names, &pair.peer)),
        told.lines.len()
    ))?;
    let width = told.lines.iter().map(|line| kudos(line.amount).len()).max();
    let width = width.unwrap_or_default();
    for line in &told.lines {
        printer.line("")?;
        printer.line(format!(
            "{}  {:>width$}  {}",
            line.entry.short(),
            kudos(line.amount),
            printable(&line.state)
        ))?;
        let date = ("dated", format!("{} UTC", stamp(line.time)));
        let facts = line.charge.as_ref().map(|charge| charge_facts(charge));
        for (name, value) in std::iter::once(date).chain(facts.into_iter().flatten()) {
            printer.line(format!("  {name:<8}  {value}"))?;
        }
    }
    printer.line("")?;
    printer.table(&sums(pair))?;
    let word = if pair.pending == Balance::ZERO {
        format!("{other} accepts all that {me} earned")
    } else {
        format!(
            "of what {me} earned, {} is not accepted by {other}'s own chain; {} of it is disputed",
            kudos(pair.pending),
            kudos(pair.disputed)
        )
    };
    printer.line(word)
}

fn charge_facts(charge: &ChargeView) -> Vec<(&'static str, String)> {
    let verdict = match &charge.ack {
        Some(ack) => format!("{} (entry {})", charge.verdict, ack.short()),
        None => charge.verdict.clone(),
    };
    vec![
        (
            "order",
            format!(
                "{}, placed {}, at most {}, until {}",
                charge.order.short(),
                stamp(charge.placed),
                amount(charge.max),
                stamp(charge.deadline)
            ),
        ),
        ("job", charge.job.to_string()),
        ("result", charge.result.to_string()),
        ("work", work(&charge.work)),
        ("energy", energy(&charge.energy)),
        ("verdict", verdict),
    ]
}

fn sums(pair: &PairView) -> Table {
    let minus = |balance: Balance| Balance::from_mk(-balance.mk());
    let mut table = Table::new(&["SUM", ">KUDOS"]);
    for (what, sum) in [
        ("earned", pair.earned),
        ("received", pair.received),
        ("paid", minus(pair.paid)),
        ("given", minus(pair.given)),
        ("balance", pair.balance),
    ] {
        table.row([what.to_owned(), kudos(sum)]);
    }
    table
}
