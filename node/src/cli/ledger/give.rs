//! `hearth ledger give`: a gift.

use hearth_protocol::control::{Command, Reply};
use hearth_protocol::unit::Millikudos;

use crate::cli::session::{Session, other};
use crate::cli::wording::printable;

pub(super) fn run(
    peer: String,
    amount: Millikudos,
    yes: bool,
    session: &Session,
) -> anyhow::Result<()> {
    let question = format!("Give {amount} kudos to {}?", printable(&peer));
    if !session.printer.confirm(&question, yes)? {
        return session.printer.line("nothing was given");
    }
    let reply = session.ask(Command::LedgerGive { peer, amount })?;
    session.reply_json(&reply)?;
    let Reply::Wrote { entry, what } = reply else {
        return other();
    };
    session.printer.line(format!("{what} ({})", entry.short()))
}
