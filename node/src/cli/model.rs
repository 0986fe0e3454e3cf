//! `hearth model`: share, fetch, keep.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use hearth_protocol::card::CardKind;
use hearth_protocol::control::{Command, Reply};
use hearth_protocol::snapshot::CardView;
use hearth_protocol::unit::{ByteCount, Millis};

use super::printer::Role;
use super::progress::Bar;
use super::session::{Session, other};
use super::table::Table;
use super::wording::{clip, printable, span, when};
use crate::client::Client;
use crate::clock::now;

/// What to do with models. MODEL is a card id, a title, any hash of a file, or a path.
#[derive(Debug, Subcommand)]
pub(super) enum ModelVerb {
    /// Share a safetensors file or a diffusers folder where it lies
    #[command(before_help = "Example:\n  hearth model add kites.safetensors --trigger kitestyle\n")]
    Add(AddArgs),
    /// Stop serving a model and forget where its files are; the files stay
    Rm {
        /// Card id, title, any hash or path
        model: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// List the models of the commons
    List,
    /// Show one model
    Show {
        /// Card id, title, any hash or path
        model: String,
    },
    /// Fetch a model's files now
    Fetch {
        /// Card id, title, any hash or path
        model: String,
    },
    /// Keep a model and serve it
    Pin {
        /// Card id, title, any hash or path
        model: String,
    },
    /// Keep a model here no longer; files of your own stay
    Unpin {
        /// Card id, title, any hash or path
        model: String,
    },
}

/// A model to share.
#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// A safetensors file or a diffusers folder
    path: PathBuf,
    /// Title, if not the file's own
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// A word that calls it up (can be repeated)
    #[arg(long = "trigger", value_name = "WORD")]
    triggers: Vec<String>,
    /// Licence, an SPDX name where there is one
    #[arg(long, visible_alias = "license", value_name = "NAME")]
    licence: Option<String>,
    /// What it is, in words
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

pub(super) fn run(verb: ModelVerb, session: &Session) -> anyhow::Result<()> {
    match verb {
        ModelVerb::Add(args) => add(args, session),
        ModelVerb::Rm { model, yes } => {
            let question = format!("Stop sharing '{}'?", printable(&model));
            if session.printer.confirm(&question, yes)? {
                session.ask_done(Command::ModelRm { model })
            } else {
                session.printer.line("kept")
            }
        }
        ModelVerb::List => list(session),
        ModelVerb::Show { model } => show(model, session),
        ModelVerb::Fetch { model } => fetch(model, session),
        ModelVerb::Pin { model } => session.ask_done(Command::ModelPin { model }),
        ModelVerb::Unpin { model } => session.ask_done(Command::ModelUnpin { model }),
    }
}

fn add(args: AddArgs, session: &Session) -> anyhow::Result<()> {
    let path = std::path::absolute(&args.path)
        .with_context(|| format!("cannot use {}", args.path.display()))?;
    let bar = Bar::spinner(&session.printer, "reading and hashing");
    let reply = session.ask(Command::ModelAdd {
        path: path.display().to_string(),
        title: args.title,
        triggers: args.triggers,
        licence: args.licence,
        description: args.description,
    });
    bar.clear();
    let reply = reply?;
    session.reply_json(&reply)?;
    let Reply::Model(card) = reply else {
        return other();
    };
    session.printer.line(format!(
        "shared {} '{}' ({}, {})",
        kind(card.kind),
        printable(&card.title),
        card.card.short(),
        card.size
    ))
}

fn list(session: &Session) -> anyhow::Result<()> {
    let reply = session.ask(Command::ModelList)?;
    session.reply_json(&reply)?;
    let Reply::Models { models } = reply else {
        return other();
    };
    let mut table = Table::new(&["TITLE", "KIND", "CARD", ">SIZE", "HERE", ">SEEDERS", "PIN"]);
    for model in &models {
        table.row([
            clip(&model.title, 40),
            kind(model.kind).to_owned(),
            model.card.short(),
            model.size.to_string(),
            here(model),
            model.seeders.len().to_string(),
            if model.pinned { "pinned" } else { "" }.to_owned(),
        ]);
    }
    if models.is_empty() {
        session
            .printer
            .note("no models yet; 'hearth model add FILE' shares one");
    }
    session.printer.table(&table)
}

const fn kind(kind: CardKind) -> &'static str {
    match kind {
        CardKind::Checkpoint => "checkpoint",
        CardKind::Lora => "lora",
        CardKind::Embedding => "embedding",
        CardKind::Vae => "vae",
    }
}

fn here(model: &CardView) -> String {
    match (model.have.get(), model.size.get()) {
        (have, size) if have >= size => "yes".to_owned(),
        (0, _) => "no".to_owned(),
        (have, size) => format!("{} %", u128::from(have) * 100 / u128::from(size)),
    }
}

fn show(model: String, session: &Session) -> anyhow::Result<()> {
    let reply = session.ask(Command::ModelShow { model })?;
    session.reply_json(&reply)?;
    let Reply::Model(card) = reply else {
        return other();
    };
    let printer = &session.printer;
    printer.line(printer.paint(Role::Strong, printable(&card.title)))?;
    let seeders: Vec<String> = card.seeders.iter().map(|node| node.short()).collect();
    let facts = [
        ("card", card.card.to_string()),
        (
            "kind",
            format!("{}, {}", kind(card.kind), card.family.name()),
        ),
        ("size", format!("{} ({} here)", card.size, card.have)),
        ("pinned", if card.pinned { "yes" } else { "no" }.to_owned()),
        (
            "published",
            format!(
                "{} by {}",
                when(card.published, now()),
                card.publisher.short()
            ),
        ),
        ("seeders", seeders.join(" ")),
        ("triggers", card.triggers.join(", ")),
        ("licence", card.licence.clone()),
        ("about", card.description.clone()),
    ];
    for (name, value) in facts {
        if !value.is_empty() {
            printer.line(format!("  {name:<9}  {}", printable(&value)))?;
        }
    }
    let mut table = Table::new(&["FILE", ">SIZE", "AUTOV2", "BLAKE3"]);
    for file in &card.files {
        table.row([
            printable(&file.name),
            file.size.to_string(),
            file.autov2.clone(),
            file.blake3.clone(),
        ]);
    }
    printer.table(&table)
}

fn fetch(model: String, session: &Session) -> anyhow::Result<()> {
    let client = session.client()?;
    let bar = Bar::bytes(&session.printer, "fetching");
    let done = std::sync::atomic::AtomicBool::new(false);
    let reply = std::thread::scope(|scope| {
        scope.spawn(|| watch(&client, &bar, &done));
        let reply = client.execute(Command::ModelFetch { model });
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        reply
    });
    bar.clear();
    let reply = reply?;
    session.reply_json(&reply)?;
    let Reply::Fetched { card, bytes, took } = reply else {
        return other();
    };
    session.printer.line(match bytes {
        0 => format!("{} is here already", card.short()),
        bytes => format!(
            "fetched {} of {} in {}{}",
            ByteCount::new(bytes),
            card.short(),
            span(took),
            rate(bytes, took)
        ),
    })
}

fn rate(bytes: u64, took: Millis) -> String {
    match bytes.saturating_mul(1_000).checked_div(took.get()) {
        Some(rate) => format!(" ({}/s)", ByteCount::new(rate)),
        None => String::new(),
    }
}

/// Draws the transfers of the node until the fetch is over; nothing if nobody looks.
fn watch(client: &Client, bar: &Bar, done: &std::sync::atomic::AtomicBool) {
    while bar.is_drawn() && !done.load(std::sync::atomic::Ordering::Relaxed) {
        if let Ok(snapshot) = client.snapshot() {
            let sum = |of: fn(&hearth_protocol::snapshot::TransferView) -> ByteCount| {
                snapshot
                    .transfers
                    .iter()
                    .fold(ByteCount::default(), |sum, transfer| sum.plus(of(transfer)))
            };
            bar.set(
                sum(|transfer| transfer.have),
                sum(|transfer| transfer.total),
            );
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
