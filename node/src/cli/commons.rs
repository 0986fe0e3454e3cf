//! `hearth commons`: found, invite, join, leave, show.

use std::io::Read;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use hearth_protocol::charter::Admission;
use hearth_protocol::control::{Command, CommonsReply, Reply};
use hearth_protocol::limits;
use hearth_protocol::unit::{Millikudos, Millis};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

use super::printer::Role;
use super::session::{Session, other};
use super::wording::{parse_span, printable, when};
use crate::clock::now;

/// What to do with the commons.
#[derive(Debug, Subcommand)]
pub(super) enum CommonsVerb {
    /// Found a commons and be its first member
    #[command(before_help = "Example:\n  hearth commons create \"Our street\" --member-line 100\n")]
    Create(CreateArgs),
    /// Print a ticket that lets somebody in, with a QR code on a terminal
    #[command(before_help = "Example:\n  hearth commons invite --uses 3 --life 2d\n")]
    Invite(InviteArgs),
    /// Enter with a ticket
    #[command(before_help = "Example:\n  hearth commons join hearth1...\n")]
    Join {
        /// The ticket's text, or - to read it from standard input
        ticket: String,
    },
    /// Leave; debts and credits stand
    Leave {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Show charter and members
    Show,
}

/// A commons to found.
#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// What people will call it
    name: String,
    /// What it is for
    #[arg(long, default_value = "", value_name = "TEXT")]
    purpose: String,
    /// Who may enter
    #[arg(long, value_enum, default_value = "founder", value_name = "WHO")]
    admission: AdmissionArg,
    /// What each member lets every other owe it, in kudos
    #[arg(long, default_value = "100", value_name = "KUDOS")]
    member_line: Millikudos,
    /// Rules in words
    #[arg(long, default_value = "", value_name = "TEXT")]
    rules: String,
}

/// Who may enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AdmissionArg {
    /// Anybody who finds it
    Open,
    /// Who has the founder's ticket
    Founder,
    /// Who has any member's ticket
    Members,
}

impl From<AdmissionArg> for Admission {
    fn from(admission: AdmissionArg) -> Self {
        match admission {
            AdmissionArg::Open => Self::Open,
            AdmissionArg::Founder => Self::InvitedByFounder,
            AdmissionArg::Members => Self::InvitedByMembers,
        }
    }
}

/// A ticket to make.
#[derive(Debug, Args)]
pub(super) struct InviteArgs {
    /// How many may use it
    #[arg(long, default_value_t = 1, value_name = "N")]
    uses: u32,
    /// For how long
    #[arg(long, default_value = "7d", value_name = "SPAN", value_parser = parse_span)]
    life: Millis,
    /// Draw the QR code even when the output is no terminal
    #[arg(long)]
    qr: bool,
}

pub(super) fn run(verb: CommonsVerb, session: &Session) -> anyhow::Result<()> {
    match verb {
        CommonsVerb::Create(args) => show(
            session,
            Command::CommonsCreate {
                name: args.name,
                purpose: args.purpose,
                admission: args.admission.into(),
                member_line: args.member_line,
                rules: args.rules,
            },
            Some("'hearth commons invite' prints a ticket for a friend"),
        ),
        CommonsVerb::Invite(args) => invite(&args, session),
        CommonsVerb::Join { ticket } => show(
            session,
            Command::CommonsJoin {
                ticket: read_ticket(ticket)?,
            },
            Some("'hearth peers list' shows who is there"),
        ),
        CommonsVerb::Leave { yes } => {
            if session
                .printer
                .confirm("Leave the commons? Debts and credits stand.", yes)?
            {
                session.ask_done(Command::CommonsLeave)
            } else {
                session.printer.line("stayed")
            }
        }
        CommonsVerb::Show => show(session, Command::CommonsShow, None),
    }
}

fn read_ticket(text: String) -> anyhow::Result<String> {
    if text != "-" {
        return Ok(text);
    }
    let mut text = String::new();
    let most = u64::try_from(limits::TICKET_LEN_MAX * 2).unwrap_or(u64::MAX);
    std::io::stdin()
        .lock()
        .take(most)
        .read_to_string(&mut text)
        .context("cannot read the ticket from standard input")?;
    Ok(text.trim().to_owned())
}

fn invite(args: &InviteArgs, session: &Session) -> anyhow::Result<()> {
    let reply = session.ask(Command::CommonsInvite {
        uses: args.uses,
        life: args.life,
    })?;
    session.reply_json(&reply)?;
    let Reply::Ticket {
        ticket,
        expires,
        uses,
    } = reply
    else {
        return other();
    };
    if args.qr || session.printer.is_terminal() {
        session.printer.line(qr(&ticket)?)?;
    }
    session.printer.line(&ticket)?;
    let people = if uses == 1 { "person" } else { "people" };
    session.printer.note(format!(
        "for {uses} {people}, expires {}; send it privately: who has it can enter",
        when(expires, now())
    ));
    Ok(())
}

fn qr(ticket: &str) -> anyhow::Result<String> {
    // Upper case fits QR's alphanumeric mode, which is smaller; tickets ignore case.
    let code = QrCode::with_error_correction_level(ticket.to_uppercase(), qrcode::EcLevel::L)
        .context("cannot draw the ticket as a QR code")?;
    Ok(code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .build())
}

fn show(session: &Session, command: Command, next: Option<&str>) -> anyhow::Result<()> {
    let reply = session.ask(command)?;
    session.reply_json(&reply)?;
    let Reply::Commons(commons) = reply else {
        return other();
    };
    for line in describe(&commons) {
        session.printer.line(line)?;
    }
    if let (Some(next), false) = (next, session.printer.is_json()) {
        session
            .printer
            .note(session.printer.paint(Role::Muted, format!("next: {next}")));
    }
    Ok(())
}

fn describe(commons: &CommonsReply) -> Vec<String> {
    let charter = &commons.charter;
    let admission = match charter.admission {
        Admission::Open => "anybody who finds it",
        Admission::InvitedByFounder => "who has the founder's ticket",
        Admission::InvitedByMembers => "who has any member's ticket",
    };
    let mut lines = vec![
        format!("{} ({})", printable(&charter.name), commons.id.short()),
        format!(
            "  members      {} ({} connected)",
            commons.members, commons.connected
        ),
        format!("  may enter    {admission}"),
        format!("  founder      {}", charter.founder.short()),
        format!("  member line  {} kudos", charter.member_line),
        format!(
            "  prices       {} kudos a step at 512x512, {} for a LoRA, {} for a cold load, {} a MiB",
            charter.prices.evaluation,
            charter.prices.lora,
            charter.prices.cold_load,
            charter.prices.fetch_mib
        ),
    ];
    for (name, text) in [("purpose", &charter.purpose), ("rules", &charter.rules)] {
        if !text.is_empty() {
            lines.push(format!("  {name:<11}  {}", printable(text)));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_ticket_fits_a_qr_code() {
        let ticket = format!("hearth1{}", "a".repeat(limits::TICKET_LEN_MAX - 7));
        assert!(qr(&ticket).unwrap().lines().count() > 60);
    }
}
