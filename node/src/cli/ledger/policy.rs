//! `hearth ledger policy`: whom this node lends its work to, and how much.

use clap::{Subcommand, ValueEnum};
use hearth_protocol::control::{Command, CreditLine, CreditReply, Reply};
use hearth_protocol::credit::{Bar, Decision, PolicyName, PolicyTerms};
use hearth_protocol::unit::{Balance, Millikudos};

use super::words::names;
use crate::cli::session::{Session, other};
use crate::cli::table::Table;
use crate::cli::wording::{Names, clip};

/// What to do about lending.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum PolicyVerb {
    /// Show the policy and what members may still owe, or one member's whole arithmetic
    Show {
        /// Petname, nickname, short or full id
        peer: Option<String>,
    },
    /// Choose a policy
    #[command(
        before_help = "Example:\n  hearth ledger policy set neighbour --cap 200 --newcomer-percent 10\n"
    )]
    Set {
        /// How to lend
        policy: Choice,
        /// Most beyond a line, such as 100 or 0.5: of credible net, or with 'open' for everybody
        #[arg(long, value_name = "KUDOS")]
        cap: Option<Millikudos>,
        /// Share of the last 30 days' work lent to newcomers together
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=100))]
        newcomer_percent: Option<u8>,
    },
}

/// A policy as it is typed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(in crate::cli) enum Choice {
    /// Lines, work for people this node has reason to believe, and a small bucket for newcomers
    Neighbour,
    /// Lines and nothing else
    Friends,
    /// Every member, up to the cap
    Open,
}

pub(super) fn run(verb: PolicyVerb, session: &Session) -> anyhow::Result<()> {
    match verb {
        PolicyVerb::Show { peer } => show(peer, session),
        PolicyVerb::Set {
            policy,
            cap,
            newcomer_percent,
        } => {
            let policy = match policy {
                Choice::Neighbour => PolicyName::Neighbour,
                Choice::Friends => PolicyName::Friends,
                Choice::Open => PolicyName::Open,
            };
            let terms = PolicyTerms {
                policy,
                cap,
                newcomer_percent,
            };
            session.ask_done(Command::CreditSet { terms })
        }
    }
}

fn show(peer: Option<String>, session: &Session) -> anyhow::Result<()> {
    let is_one = peer.is_some();
    let reply = session.ask(Command::CreditShow { peer })?;
    session.reply_json(&reply)?;
    let Reply::Credit(credit) = reply else {
        return other();
    };
    let names = names(session);
    match credit.members.as_slice() {
        [line] if is_one => show_one(line, &names, session),
        members => show_all(&credit, members, &names, session),
    }
}

fn show_all(
    credit: &CreditReply,
    members: &[CreditLine],
    names: &Names,
    session: &Session,
) -> anyhow::Result<()> {
    let CreditReply {
        cap,
        newcomer_percent,
        bucket,
        ..
    } = credit;
    let word = credit.terms.policy.word();
    session.printer.line(match credit.terms.policy {
        PolicyName::Neighbour => format!(
            "{word}: lines, credible net up to {cap}, and {bucket} kudos for all newcomers together \
             ({newcomer_percent} % of 30 days' work)"
        ),
        PolicyName::Friends => format!("{word}: lines and nothing else"),
        PolicyName::Open => format!("{word}: {cap} kudos for every member beyond its line"),
    })?;
    let mut table = Table::new(&["MEMBER", "ID", ">LINE", ">CREDIBLE", ">EXPOSED", ">ROOM"]);
    for CreditLine { node, decision } in members {
        table.row([
            clip(&names.name(node), 24),
            node.short(),
            decision.line.to_string(),
            decision.credible.min(decision.cap).to_string(),
            decision.exposed().to_string(),
            decision.room.to_string(),
        ]);
    }
    session.printer.table(&table)?;
    if credit.more > 0 {
        session.printer.line(format!(
            "and {} more: 'hearth ledger policy show PEER' shows each",
            credit.more
        ))?;
    }
    Ok(())
}

fn show_one(line: &CreditLine, names: &Names, session: &Session) -> anyhow::Result<()> {
    let decision = &line.decision;
    let mut table = Table::new(&["FIGURE", ">KUDOS"]);
    for (what, figure) in figures(decision) {
        table.row([what.to_owned(), figure.to_string()]);
    }
    session.printer.table(&table)?;
    for basis in &decision.basis {
        session.printer.line(format!(
            "{} of the credible net comes through {}",
            basis.amount,
            names.name(&basis.node)
        ))?;
    }
    let name = names.name(&line.node);
    session.printer.line(match decision.bar {
        Some(Bar::NotMember) => format!("{name} is no member: it is lent nothing"),
        Some(Bar::Forked) => format!("{name} showed two histories: it is lent nothing"),
        None => format!("{name} may run up {} kudos more", decision.room),
    })
}

/// Returns the arithmetic of a decision, in the order it is done.
fn figures(decision: &Decision) -> [(&'static str, Balance); 10] {
    let plus = |amount| Balance::ZERO.plus(amount);
    [
        ("charged to it", plus(decision.charged)),
        ("settled by it", Balance::ZERO.minus(decision.settled)),
        ("orders held", plus(decision.held)),
        ("running", plus(decision.running)),
        ("lent to others on its word", plus(decision.lent)),
        ("exposed", decision.exposed()),
        ("line", plus(decision.line)),
        ("credible net", plus(decision.credible)),
        ("of which counts at most", plus(decision.cap)),
        ("left for newcomers", plus(decision.bucket)),
    ]
}
