//! `hearth status` and `hearth doctor`: how the node is, and what could keep it from working.

use anyhow::bail;
use hearth_protocol::capacity::Accepting;
use hearth_protocol::control::{Check, Command, Health, Reply};
use hearth_protocol::snapshot::StatusView;

use super::printer::Role;
use super::session::{Session, other};
use super::wording::{printable, when};
use crate::clock::now;

pub(super) fn status(session: &Session) -> anyhow::Result<()> {
    let reply = session.ask(Command::Status)?;
    session.reply_json(&reply)?;
    let Reply::Status(status) = reply else {
        return other();
    };
    for alert in &status.alerts {
        let alert = session.printer.paint(Role::Bad, printable(alert));
        session.printer.line(alert)?;
    }
    for (name, value) in facts(&status) {
        session
            .printer
            .line(format!("{name:<9}  {}", printable(&value)))?;
    }
    Ok(())
}

fn facts(status: &StatusView) -> Vec<(&'static str, String)> {
    let commons = match &status.commons {
        Some(commons) => format!(
            "{} ({}), {} members, {} connected",
            commons.name,
            commons.id.short(),
            commons.members,
            status.connected
        ),
        None => "none; 'hearth commons create' or 'hearth commons join' enters one".to_owned(),
    };
    let accepting = match status.accepting {
        Accepting::Yes => "takes jobs",
        Accepting::Paused => "paused",
        Accepting::Never => "takes no jobs",
    };
    let name = match status.nickname.as_str() {
        "" => status.node.short(),
        nickname => format!("{nickname} ({})", status.node.short()),
    };
    let mut facts = vec![
        ("node", name),
        ("commons", commons),
        (
            "balance",
            format!("{} kudos ({} pending)", status.balance, status.pending),
        ),
        (
            "work",
            format!(
                "{accepting}; {} of its own jobs open, {} for others",
                status.jobs_open, status.work_open
            ),
        ),
        (
            "device",
            format!(
                "{} ({} for models)",
                status.device.name, status.device.memory
            ),
        ),
        ("ledger", format!("{} entries", status.entries)),
        ("memory", status.memory.to_string()),
        (
            "running",
            format!(
                "pid {}, started {}, version {}",
                status.pid,
                when(status.started, now()),
                status.version
            ),
        ),
        ("home", status.home.clone()),
        ("listening", status.listening.join(" ")),
    ];
    if status.energy_j > 0.0 {
        facts.insert(6, ("energy", format!("{:.0} J", status.energy_j)));
    }
    let dropped: Vec<String> = status
        .dropped
        .iter()
        .map(|drop| format!("{} {}", drop.count, drop.reason))
        .collect();
    if !dropped.is_empty() {
        facts.push(("dropped", dropped.join(", ")));
    }
    facts
}

pub(super) fn doctor(session: &Session) -> anyhow::Result<()> {
    let reply = session.ask(Command::Doctor)?;
    session.reply_json(&reply)?;
    let Reply::Doctor { checks } = reply else {
        return other();
    };
    for check in &checks {
        show(check, session)?;
    }
    let broken = checks
        .iter()
        .filter(|check| check.health == Health::Broken)
        .count();
    if broken > 0 {
        bail!("{broken} of {} checks failed", checks.len());
    }
    Ok(())
}

fn show(check: &Check, session: &Session) -> anyhow::Result<()> {
    let printer = &session.printer;
    let mark = match check.health {
        Health::Ok => printer.paint(Role::Good, "ok     "),
        Health::Warning => printer.paint(Role::Warning, "warning"),
        Health::Broken => printer.paint(Role::Bad, "broken "),
    };
    printer.line(format!(
        "{mark}  {:<10}  {}",
        check.name,
        printable(&check.found)
    ))?;
    match &check.hint {
        Some(hint) => printer.line(format!("{:21}{}", "", printable(hint))),
        None => Ok(()),
    }
}
