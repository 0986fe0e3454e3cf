//! `hearth ledger audit`: everything again from the signed bytes.

use anyhow::bail;
use hearth_protocol::control::{AuditReply, Command, Reply};

use super::words::{counted, kudos};
use crate::cli::printer::Role;
use crate::cli::session::{Session, other};
use crate::cli::wording::printable;

pub(super) fn run(session: &Session) -> anyhow::Result<()> {
    let reply = session.ask(Command::LedgerAudit)?;
    session.reply_json(&reply)?;
    let Reply::Audit(audit) = reply else {
        return other();
    };
    let AuditReply {
        ok,
        entries,
        chains,
        members,
        pairs,
        forked,
        sum,
        digest,
        findings,
        unchecked,
    } = audit;
    let printer = &session.printer;
    for finding in &findings {
        printer.line(printer.paint(Role::Bad, printable(finding)))?;
    }
    for what in &unchecked {
        printer.line(printer.paint(Role::Warning, format!("not checked: {}", printable(what))))?;
    }
    for author in &forked {
        let text = format!("the chain of {} forked; the proof is kept", author.short());
        printer.line(printer.paint(Role::Warning, text))?;
    }
    if !ok {
        bail!(
            "the audit found what does not hold: {}",
            counted(findings.len(), "thing", "things")
        );
    }
    let fine = if unchecked.is_empty() {
        "all holds"
    } else {
        "all that could be checked holds"
    };
    printer.line(format!(
        "{}: {entries} entries in {chains} chains, {members} members, {pairs} pairs agree, sum {}",
        printer.paint(Role::Good, fine),
        kudos(sum)
    ))?;
    printer.line(printer.paint(Role::Muted, format!("digest {digest}")))
}
