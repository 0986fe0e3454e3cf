//! `hearth peers`: who is there and what this node thinks of them.

use clap::{Args, Subcommand, ValueEnum};
use hearth_protocol::capacity::Accepting;
use hearth_protocol::control::{Command, Reply};
use hearth_protocol::id::NodeId;
use hearth_protocol::snapshot::{ChainView, PeerView, TrustLevel};
use hearth_protocol::unit::Millikudos;

use super::printer::Role;
use super::session::{Session, other};
use super::table::Table;
use super::wording::{clip, printable, when};
use crate::clock::now;

/// What to do with members.
#[derive(Debug, Subcommand)]
pub(super) enum PeersVerb {
    /// List members
    List,
    /// Show one member
    Show {
        /// Petname, nickname, short or full id
        peer: String,
    },
    /// Remember where a member is
    Add {
        /// Its full id
        peer: NodeId,
        /// A multiaddress such as /ip4/192.0.2.7/tcp/47470
        addr: String,
    },
    /// Set how far a member is trusted and what it may owe
    #[command(before_help = "Example:\n  hearth peers trust ada --line 500\n")]
    Trust(TrustArgs),
    /// Refuse everything of a member
    Block {
        /// Petname, nickname, short or full id
        peer: String,
    },
    /// Give a member a petname; an empty one removes it
    Name {
        /// Petname, nickname, short or full id
        peer: String,
        /// The petname
        name: String,
    },
}

/// Trust in one member.
#[derive(Debug, Args)]
pub(super) struct TrustArgs {
    /// Petname, nickname, short or full id
    peer: String,
    /// What it may owe this node, in kudos
    #[arg(long, visible_alias = "limit", value_name = "KUDOS")]
    line: Option<Millikudos>,
    /// How it is regarded
    #[arg(long, value_enum, default_value = "trusted")]
    level: LevelArg,
}

/// A level of trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LevelArg {
    /// Preferred
    Trusted,
    /// One among others
    Known,
    /// Refused
    Blocked,
}

impl From<LevelArg> for TrustLevel {
    fn from(level: LevelArg) -> Self {
        match level {
            LevelArg::Trusted => Self::Trusted,
            LevelArg::Known => Self::Known,
            LevelArg::Blocked => Self::Blocked,
        }
    }
}

pub(super) fn run(verb: PeersVerb, session: &Session) -> anyhow::Result<()> {
    match verb {
        PeersVerb::List => list(session),
        PeersVerb::Show { peer } => show(session, peer),
        PeersVerb::Add { peer, addr } => session.ask_done(Command::PeersAdd { peer, addr }),
        PeersVerb::Trust(args) => session.ask_done(Command::PeersTrust {
            peer: args.peer,
            limit: args.line,
            level: args.level.into(),
        }),
        PeersVerb::Block { peer } => session.ask_done(Command::PeersBlock { peer }),
        PeersVerb::Name { peer, name } => session.ask_done(Command::PeersName { peer, name }),
    }
}

fn list(session: &Session) -> anyhow::Result<()> {
    let reply = session.ask(Command::PeersList)?;
    session.reply_json(&reply)?;
    let Reply::Peers { peers } = reply else {
        return other();
    };
    let mut table = Table::new(&[
        "NAME", "ID", "STATE", "TRUST", "DEVICE", ">QUEUE", ">CARDS", ">BALANCE", ">LINE",
    ]);
    for peer in &peers {
        table.row([
            clip(&peer.name, 24),
            peer.node.short(),
            format!("{}{}", state(peer), mark(peer.chain)),
            trust(peer.trust).to_owned(),
            peer.device
                .as_ref()
                .map_or_else(|| "-".to_owned(), |device| clip(&device.name, 28)),
            peer.queue.to_string(),
            peer.cards.len().to_string(),
            peer.balance.to_string(),
            peer.line.to_string(),
        ]);
    }
    session.printer.table(&table)
}

const fn state(peer: &PeerView) -> &'static str {
    match (peer.me, peer.connected, peer.accepting) {
        (true, _, _) => "me",
        (false, false, _) => "away",
        (false, true, Some(Accepting::Yes)) => "working",
        (false, true, Some(Accepting::Paused)) => "paused",
        (false, true, Some(Accepting::Never) | None) => "connected",
    }
}

const fn mark(chain: ChainView) -> &'static str {
    match chain {
        ChainView::Whole => "",
        ChainView::Forked => ", forked",
        ChainView::Probation { .. } => ", probation",
    }
}

/// Returns what is to be known of a chain that forked.
fn chain(peer: &PeerView) -> Option<String> {
    let name = &peer.name;
    match (peer.chain, peer.me) {
        (ChainView::Whole, _) => None,
        (ChainView::Forked, true) => {
            Some("forked: it writes nothing until 'hearth ledger heal'".to_owned())
        }
        (ChainView::Forked, false) => {
            Some("forked: no credit, and nothing it writes counts until it is healed".to_owned())
        }
        (ChainView::Probation { since }, true) => Some(format!(
            "healed {}, on probation until members give it lines again",
            when(since, now())
        )),
        (ChainView::Probation { since }, false) => Some(format!(
            "healed {}, on probation: 'hearth peers trust {name} --line KUDOS' gives it a line again",
            when(since, now())
        )),
    }
}

const fn trust(level: TrustLevel) -> &'static str {
    match level {
        TrustLevel::Trusted => "trusted",
        TrustLevel::Known => "known",
        TrustLevel::Blocked => "blocked",
    }
}

fn show(session: &Session, peer: String) -> anyhow::Result<()> {
    let reply = session.ask(Command::PeersShow { peer })?;
    session.reply_json(&reply)?;
    let Reply::Peer(peer) = reply else {
        return other();
    };
    let printer = &session.printer;
    printer.line(printer.paint(Role::Strong, printable(&peer.name)))?;
    let device = peer.device.as_ref().map_or_else(
        || "unknown".to_owned(),
        |device| format!("{} ({} for models)", printable(&device.name), device.memory),
    );
    let seen = peer
        .seen
        .map_or_else(|| "never".to_owned(), |seen| when(seen, now()));
    let facts = [
        ("id", peer.node.to_string()),
        ("state", state(&peer).to_owned()),
        ("trust", trust(peer.trust).to_owned()),
        (
            "line",
            format!("{} kudos, {} of it used", peer.line, peer.exposure),
        ),
        ("balance", format!("{} kudos", peer.balance)),
        ("device", device),
        ("queue", peer.queue.to_string()),
        ("price", format!("{} %", peer.price_percent)),
        ("cards", peer.cards.len().to_string()),
        ("seen", seen),
        ("addresses", peer.addrs.join(" ")),
    ];
    let chain = chain(&peer).map(|chain| ("chain", chain));
    for (name, value) in facts.into_iter().chain(chain) {
        printer.line(format!("  {name:<10}  {}", printable(&value)))?;
    }
    Ok(())
}
