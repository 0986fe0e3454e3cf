//! `hearth ledger heal`: look at a fork of one's own chain, and go on after it.

use anyhow::bail;
use clap::{Args, ValueEnum};
use hearth_protocol::control::{Command, ForkView, Reply};
use hearth_protocol::entry::HealReason;

use super::printer::{Printer, Role};
use super::session::{Session, other};
use super::table::Table;
use super::wording::{printable, when};
use crate::clock::now;

/// What it is for, above the usage.
pub(super) const ABOUT: &str = "\
A chain forks when an older copy of a home is put back, or one key runs on two machines: two entries
stand at one place, and members count neither. Healing names every branch and goes on after the
longest. What lies between stays without effect, and members lend nothing until each of them gives a
line again: hearth peers trust PEER --line KUDOS (that is also how you forgive a healed member).

Example:
  hearth ledger heal --reason restored
";

/// How to heal.
#[derive(Debug, Args)]
pub(super) struct HealArgs {
    /// How it came to it; members see it
    #[arg(long, value_enum, default_value = "other", value_name = "WHY")]
    reason: ReasonArg,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// How a chain came to fork.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ReasonArg {
    /// An older copy of the home was put back
    Restored,
    /// One key was used on two machines
    TwoMachines,
    /// Something else
    Other,
}

impl From<ReasonArg> for HealReason {
    fn from(reason: ReasonArg) -> Self {
        match reason {
            ReasonArg::Restored => Self::Restored,
            ReasonArg::TwoMachines => Self::TwoMachines,
            ReasonArg::Other => Self::Other,
        }
    }
}

pub(super) fn run(args: &HealArgs, session: &Session) -> anyhow::Result<()> {
    let reply = session.ask(Command::LedgerFork)?;
    let Reply::Fork(fork) = &reply else {
        return other();
    };
    if !fork.forked {
        session.reply_json(&reply)?;
        return session.printer.line(match fork.healed {
            Some(healed) => format!("this node's chain was healed {}", when(healed, now())),
            None => "this node's chain has not forked: there is nothing to heal".to_owned(),
        });
    }
    show(fork, session)?;
    // Looking is free; whoever cannot be asked says so with --yes.
    if fork.obstacle.is_none() && !args.yes && !Printer::can_ask() {
        session.reply_json(&reply)?;
        bail!("nothing was healed: say --yes to heal without being asked");
    }
    let question = "Heal the chain, and begin again on probation?";
    if fork.obstacle.is_none() && !session.printer.confirm(question, args.yes)? {
        return session.printer.line("nothing was healed");
    }
    let reason = args.reason.into();
    let reply = session.ask(Command::LedgerHeal { reason })?;
    session.reply_json(&reply)?;
    let Reply::Wrote { entry, what } = reply else {
        return other();
    };
    session
        .printer
        .line(format!("{what} ({})", entry.short()))?;
    session
        .printer
        .note("never put this copy, or the other, to use again beside this one");
    Ok(())
}

fn show(fork: &ForkView, session: &Session) -> anyhow::Result<()> {
    let printer = &session.printer;
    let place = fork
        .place
        .map_or_else(String::new, |place| format!(" at place {place}"));
    let title = format!("this node's chain forked{place}");
    printer.line(printer.paint(Role::Bad, title))?;
    let now = now();
    let mut table = Table::new(&["BRANCH", ">PLACE", ">ENTRIES", "FIRST", "LAST", ""]);
    for (index, branch) in fork.branches.iter().enumerate() {
        let goes_on = if index == 0 { "goes on" } else { "ends" };
        table.row([
            branch.head.short(),
            branch.seq.to_string(),
            branch.entries.to_string(),
            when(branch.first, now),
            when(branch.last, now),
            goes_on.to_owned(),
        ]);
    }
    printer.table(&table)?;
    printer.line(format!(
        "healing: {} entries of the branches stay without effect, and acks among them are to be given again;",
        fork.lost
    ))?;
    printer.line("         members lend this node nothing until they say so again")?;
    if let Some(obstacle) = &fork.obstacle {
        printer.note(printable(obstacle));
    }
    Ok(())
}
