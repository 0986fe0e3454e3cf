//! `hearth ledger`: who owes what, and why; checks, copies, gifts.
//!
//! One file a command. What is right or wrong is `hearth-ledger`'s word; here it is asked for and laid
//! out. [`copy`] fetches the whole ledger, [`file`] is the form in which copies are kept.

mod audit;
mod balance;
mod calendar;
mod copy;
mod entries;
mod entry;
mod export;
mod file;
mod give;
mod import;
mod policy;
#[cfg(test)]
mod tests;
mod verify;
mod why;
mod words;

use std::path::PathBuf;

use clap::Subcommand;
use hearth_protocol::control::Command;
use hearth_protocol::unit::Millikudos;

use policy::PolicyVerb;

use super::bounty::BountyVerb;
use super::heal::HealArgs;
use super::session::Session;

/// What to do with the ledger.
#[derive(Debug, Subcommand)]
pub(super) enum LedgerVerb {
    /// Show everybody's balance, or one member's account
    Balance {
        /// Petname, nickname, short or full id
        peer: Option<String>,
    },
    /// Show entries, newest first
    Entries(entries::EntriesArgs),
    /// Explain a balance: by pair, by line, down to one signed entry
    #[command(
        before_help = "Examples:\n  hearth ledger why                    my balance\n  \
        hearth ledger why ada --pair bob     what passed between the two, receipt by receipt\n  \
        hearth ledger why --entry 4f2a81c0   one entry as it was signed\n"
    )]
    Why(why::WhyArgs),
    /// Check every entry again from its signed bytes; ends with 1 when something does not hold
    Audit,
    /// Write everything to a file: for safety, for an auditor, for a spreadsheet
    #[command(
        before_help = "Examples:\n  hearth ledger export -o street.jsonl           everything, \
        as it was signed\n  hearth ledger export --format csv > moves.csv   one row a move\n  \
        hearth ledger export --format beancount -o kudos.beancount --since 2026-01-01\n"
    )]
    Export(export::ExportArgs),
    /// Check an exported file; needs no node and no home
    Verify {
        /// A file made by 'hearth ledger export'
        file: PathBuf,
    },
    /// Take the entries of an exported file in; every one is checked
    Import {
        /// A file made by 'hearth ledger export', of this commons
        file: PathBuf,
    },
    /// Build the index anew from what was signed, and ask members for what is missing
    Rebuild,
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
    /// Want a thing done, promise kudos for it, do it, pay who did
    #[command(subcommand)]
    Bounty(BountyVerb),
    /// Go on after this node's own chain forked
    #[command(before_help = super::heal::ABOUT)]
    Heal(HealArgs),
}

pub(super) fn run(verb: LedgerVerb, session: &Session) -> anyhow::Result<()> {
    match verb {
        LedgerVerb::Balance { peer: None } => balance::all(session),
        LedgerVerb::Balance { peer: Some(peer) } => balance::one(peer, session),
        LedgerVerb::Entries(args) => entries::run(args, session),
        LedgerVerb::Why(args) => why::run(args, session),
        LedgerVerb::Audit => audit::run(session),
        LedgerVerb::Export(args) => export::run(&args, session),
        LedgerVerb::Verify { file } => verify::run(&file, session),
        LedgerVerb::Import { file } => import::run(&file, session),
        LedgerVerb::Rebuild => session.ask_done(Command::LedgerRebuild),
        LedgerVerb::Bounty(verb) => super::bounty::run(verb, session),
        LedgerVerb::Heal(args) => super::heal::run(&args, session),
        LedgerVerb::Give { peer, kudos, yes } => give::run(peer, kudos, yes, session),
        LedgerVerb::Policy(verb) => policy::run(verb, session),
    }
}
