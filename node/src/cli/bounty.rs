//! `hearth ledger bounty`: what members want done, and who pays for it.

use clap::{Args, Subcommand};
use hearth_protocol::control::{
    BountyCommand, BountyRequest, BountyState, BountyView, Command, Reply,
};
use hearth_protocol::id::BlobHash;
use hearth_protocol::unit::{Millikudos, Millis};

use super::printer::Role;
use super::session::{Session, other};
use super::table::Table;
use super::wording::{clip, parse_span, printable, when};
use crate::clock::now;

/// What to do with bounties. ID is a bounty's id or the beginning of one.
#[derive(Debug, Subcommand)]
pub(super) enum BountyVerb {
    /// Want a thing done, and promise kudos for it
    #[command(
        before_help = "Example:\n  hearth ledger bounty open \"A LoRA of our street\" --until 30d --pledge 50\n"
    )]
    Open(OpenArgs),
    /// List bounties, newest first
    List {
        /// Those that are over or paid, too
        #[arg(long)]
        all: bool,
    },
    /// Show one bounty: what is wanted, who promised, who did it
    Show {
        /// Bounty id, or its beginning
        id: String,
    },
    /// Promise kudos for a bounty: a pledge can be raised, not lowered
    Back {
        /// Bounty id, or its beginning
        id: String,
        /// How much in all, such as 12 or 0.5
        kudos: Millikudos,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Say that you did it
    #[command(
        before_help = "Example:\n  hearth ledger bounty claim 4f2a --card street.safetensors\n"
    )]
    Claim(ClaimArgs),
    /// Say who did it, if you opened it; pay what you pledged
    #[command(before_help = "Example:\n  hearth ledger bounty award 4f2a ada\n")]
    Award {
        /// Bounty id, or its beginning
        id: String,
        /// Petname, nickname, short or full id
        member: String,
        /// How much; by default what you pledged and have not paid
        kudos: Option<Millikudos>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// A bounty to open.
#[derive(Debug, Args)]
pub(super) struct OpenArgs {
    /// What is wanted, in a few words
    title: String,
    /// What exactly
    #[arg(long, default_value = "", value_name = "TEXT")]
    text: String,
    /// For how long it can be pledged to and claimed
    #[arg(long, default_value = "30d", value_name = "SPAN", value_parser = parse_span)]
    until: Millis,
    /// What you promise yourself
    #[arg(long, value_name = "KUDOS")]
    pledge: Option<Millikudos>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// A bounty to claim.
#[derive(Debug, Args)]
pub(super) struct ClaimArgs {
    /// Bounty id, or its beginning
    id: String,
    /// How, or where it lies
    #[arg(long, default_value = "", value_name = "TEXT")]
    text: String,
    /// The model that fulfils it: card id, title, any hash
    #[arg(long, value_name = "MODEL", conflicts_with = "blob")]
    card: Option<String>,
    /// Another blob that does, by its BLAKE3
    #[arg(long, value_name = "HASH")]
    blob: Option<BlobHash>,
}

pub(super) fn run(verb: BountyVerb, session: &Session) -> anyhow::Result<()> {
    match verb {
        BountyVerb::Open(args) => open(args, session),
        BountyVerb::List { all } => list(all, session),
        BountyVerb::Show { id } => {
            let reply = session.ask(Command::Bounty(BountyCommand::Show { bounty: id }))?;
            session.reply_json(&reply)?;
            show(&bounty(reply)?, session)
        }
        BountyVerb::Back { id, kudos, yes } => back(id, kudos, yes, session),
        BountyVerb::Claim(args) => claim(args, session),
        BountyVerb::Award {
            id,
            member,
            kudos,
            yes,
        } => award(id, member, kudos, yes, session),
    }
}

fn bounty(reply: Reply) -> anyhow::Result<BountyView> {
    let Reply::Bounty(view) = reply else {
        return other();
    };
    Ok(*view)
}

/// Asks for one thing and tells it in one line.
fn tell(
    command: BountyCommand,
    session: &Session,
    line: impl FnOnce(&BountyView) -> String,
) -> anyhow::Result<()> {
    let reply = session.ask(Command::Bounty(command))?;
    session.reply_json(&reply)?;
    session.printer.line(line(&bounty(reply)?))
}

fn open(args: OpenArgs, session: &Session) -> anyhow::Result<()> {
    if let Some(pledge) = args.pledge {
        let question = format!("Promise {pledge} kudos? A pledge can be raised, not lowered.");
        if !session.printer.confirm(&question, args.yes)? {
            return session.printer.line("nothing was opened");
        }
    }
    let request = BountyRequest {
        title: args.title,
        text: args.text,
        life: args.until,
        pledge: args.pledge,
    };
    tell(BountyCommand::Open(Box::new(request)), session, |view| {
        let (id, until) = (view.bounty.short(), when(view.until, now()));
        let title = printable(&view.title);
        format!(
            "opened bounty {id} '{title}', {} kudos pledged, ends {until}",
            view.pledged
        )
    })
}

fn list(all: bool, session: &Session) -> anyhow::Result<()> {
    let reply = session.ask(Command::Bounty(BountyCommand::List { all }))?;
    session.reply_json(&reply)?;
    let Reply::Bounties { bounties } = reply else {
        return other();
    };
    let now = now();
    let mut table = Table::new(&[
        "BOUNTY", "STATE", ">PLEDGED", ">PAID", ">CLAIMS", "ENDS", "OPENER", "TITLE",
    ]);
    for view in &bounties {
        table.row([
            view.bounty.short(),
            view.state.name().to_owned(),
            view.pledged.to_string(),
            view.paid.to_string(),
            view.claims.len().to_string(),
            when(view.until, now),
            clip(&view.opener_name, 16),
            clip(&view.title, 48),
        ]);
    }
    if bounties.is_empty() {
        session
            .printer
            .note("no bounties; 'hearth ledger bounty open TITLE --pledge KUDOS' opens one");
    }
    session.printer.table(&table)?;
    let due = bounties.iter().filter(|view| is_due(view));
    let due: Vec<String> = due.map(|view| view.bounty.short()).collect();
    if !due.is_empty() {
        session.printer.note(format!(
            "what you pledged is due: {}; 'hearth ledger bounty award ID MEMBER' pays it",
            due.join(", ")
        ));
    }
    Ok(())
}

fn is_due(view: &BountyView) -> bool {
    view.state == BountyState::Awarded && view.due > Millikudos::ZERO
}

fn show(view: &BountyView, session: &Session) -> anyhow::Result<()> {
    let (printer, now) = (&session.printer, now());
    printer.line(printer.paint(Role::Strong, printable(&view.title)))?;
    let facts = [
        ("bounty", view.bounty.to_string()),
        ("state", view.state.name().to_owned()),
        (
            "opened",
            format!("{} by {}", when(view.opened, now), view.opener_name),
        ),
        ("ends", when(view.until, now)),
        (
            "kudos",
            format!("{} pledged, {} paid", view.pledged, view.paid),
        ),
    ];
    for (name, value) in facts {
        printer.line(format!("  {name:<7}  {}", printable(&value)))?;
    }
    for line in view.text.lines() {
        printer.line(format!("  {}", printable(line)))?;
    }
    if !view.pledges.is_empty() {
        let mut table = Table::new(&["BACKER", "ID", ">PLEDGED", ">PAID"]);
        for pledge in &view.pledges {
            table.row([
                clip(&pledge.name, 24),
                pledge.node.short(),
                pledge.amount.to_string(),
                pledge.paid.to_string(),
            ]);
        }
        printer.table(&table)?;
    }
    claims(view, session)?;
    if let Some(next) = next(view) {
        printer.note(next);
    }
    Ok(())
}

fn claims(view: &BountyView, session: &Session) -> anyhow::Result<()> {
    if view.claims.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&["CLAIMED BY", "ID", "WHEN", "AWARDED", ">RECEIVED", "WHAT"]);
    for claim in &view.claims {
        let blob = || claim.blob.map(|blob| blob.short());
        let what = claim.model.clone().or_else(blob).unwrap_or_default();
        let what = format!("{what}  {}", claim.text);
        table.row([
            clip(&claim.name, 24),
            claim.node.short(),
            when(claim.time, now()),
            if claim.awarded { "yes" } else { "no" }.to_owned(),
            claim.received.to_string(),
            clip(what.trim(), 60),
        ]);
    }
    session.printer.table(&table)
}

/// Returns what this node's person may do next.
fn next(view: &BountyView) -> Option<String> {
    let id = view.bounty.short();
    let award = |who: &str| format!("next: hearth ledger bounty award {id} {who}");
    let awarded = view.claims.iter().find(|claim| claim.awarded);
    match (awarded, view.claims.first()) {
        (Some(claim), _) if view.due > Millikudos::ZERO => Some(format!(
            "{}   (pays the {} kudos you pledged)",
            award(&claim.name),
            view.due
        )),
        (None, Some(claim)) if view.own => Some(award(&claim.name)),
        (Some(_) | None, _) => None,
    }
}

fn back(id: String, amount: Millikudos, yes: bool, session: &Session) -> anyhow::Result<()> {
    let question = format!(
        "Promise {amount} kudos for bounty {}? A pledge can be raised, not lowered.",
        printable(&id)
    );
    if !session.printer.confirm(&question, yes)? {
        return session.printer.line("nothing was pledged");
    }
    let command = BountyCommand::Back { bounty: id, amount };
    tell(command, session, |view| {
        let (id, title) = (view.bounty.short(), printable(&view.title));
        format!(
            "pledged {amount} kudos for bounty {id} '{title}', {} in all",
            view.pledged
        )
    })
}

fn claim(args: ClaimArgs, session: &Session) -> anyhow::Result<()> {
    let command = BountyCommand::Claim {
        bounty: args.id,
        text: args.text,
        model: args.card,
        blob: args.blob,
    };
    tell(command, session, |view| {
        let (id, opener) = (view.bounty.short(), printable(&view.opener_name));
        format!("claimed bounty {id}; {opener}, who opened it, judges")
    })
}

fn award(
    id: String,
    peer: String,
    kudos: Option<Millikudos>,
    yes: bool,
    session: &Session,
) -> anyhow::Result<()> {
    let shown = session.ask(Command::Bounty(BountyCommand::Show { bounty: id }))?;
    let view = bounty(shown)?;
    let amount = kudos.unwrap_or(view.due);
    let (short, who) = (view.bounty.short(), printable(&peer));
    let question = if amount == Millikudos::ZERO {
        format!("Say that {who} did bounty {short}?")
    } else {
        format!("Pay {amount} kudos to {who} for bounty {short}?")
    };
    if !session.printer.confirm(&question, yes)? {
        return session.printer.line("nothing was paid");
    }
    // What was asked is what is paid, whatever was paid meanwhile.
    let amount = kudos.or_else(|| Some(view.due).filter(|due| *due > Millikudos::ZERO));
    let bounty = view.bounty.to_string();
    let reply = session.ask(Command::Bounty(BountyCommand::Award {
        bounty,
        peer,
        amount,
    }))?;
    session.reply_json(&reply)?;
    if let Reply::Done { what } = reply {
        return session.printer.line(what);
    }
    let Reply::Wrote { entry, what } = reply else {
        return other();
    };
    session.printer.line(format!("{what} ({})", entry.short()))
}
