//! Adding models by reference and fetching those of others.

use std::path::Path;
use std::time::Instant;

use hearth_engine::{FileHashes, ModelFacts};
use hearth_protocol::card::{Card, CardFile};
use hearth_protocol::control::{ModelRef, Problem, ProblemKind, Reply};
use hearth_protocol::limits;
use hearth_protocol::snapshot::CardView;
use hearth_protocol::unit::{ByteCount, Millis, Timestamp};

use crate::blobs::Blobs;
use crate::switchboard::errand::{self};
use crate::switchboard::{Ask, CardDraft, Desk, SourceReply};

/// What a person says of a model beyond what its files say.
#[derive(Debug, Default)]
pub(super) struct CardWishes {
    pub(super) title: Option<String>,
    pub(super) triggers: Vec<String>,
    pub(super) licence: Option<String>,
    pub(super) description: Option<String>,
}

fn failed(what: String, error: &(dyn std::error::Error + 'static)) -> Problem {
    Problem::new(ProblemKind::Failed, what).because(error)
}

/// Inspects, hashes and imports a model by reference, and publishes its card.
pub(super) async fn add(
    desk: &Desk,
    blobs: &Blobs,
    path: &Path,
    wishes: CardWishes,
) -> Result<CardView, Problem> {
    let shown = path.display().to_string();
    let what = || format!("cannot add {shown}");
    let owned = path.to_path_buf();
    let (facts, hashes) = blocking(move || look(&owned))
        .await?
        .map_err(|error| failed(what(), &*error))?;
    let mut files = Vec::new();
    for (file, hashes) in facts.files.iter().zip(hashes) {
        let imported = blobs
            .import(&file.path, |_| {})
            .await
            .map_err(|error| failed(what(), &error))?;
        if imported.hash != hashes.blake3 {
            let changed = format!("{} changed while it was read", file.path.display());
            return Err(Problem::new(ProblemKind::Failed, what())
                .cause(changed)
                .hint("add it again when nothing writes to it"));
        }
        files.push(card_file(&file.name, &hashes));
    }
    let card = card(facts, files, wishes)?;
    desk.ask(|reply| Ask::Publish(Box::new(CardDraft { card }), reply))
        .await
}

type LookError = Box<dyn std::error::Error + Send + Sync>;

fn look(path: &Path) -> Result<(ModelFacts, Vec<FileHashes>), LookError> {
    let facts = hearth_engine::inspect(path)?;
    let hashes: Result<Vec<FileHashes>, _> = facts
        .files
        .iter()
        .map(|file| hearth_engine::hash_file(&file.path))
        .collect();
    Ok((facts, hashes?))
}

async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(act)
        .await
        .map_err(|error| failed("the file could not be looked at".into(), &error))
}

fn card_file(name: &str, hashes: &FileHashes) -> CardFile {
    CardFile {
        blob: hashes.blake3,
        size: ByteCount::new(hashes.size),
        name: name.to_owned(),
        sha256: hashes.sha256,
        autov3: hashes.autov3,
        autov1: hashes.autov1.clone(),
        crc32: hashes.crc32,
    }
}

fn card(facts: ModelFacts, files: Vec<CardFile>, wishes: CardWishes) -> Result<Card, Problem> {
    let title = wishes.title.unwrap_or(facts.title);
    if title.trim().is_empty() || title.len() > limits::NAME_LEN_MAX {
        return Err(
            Problem::new(ProblemKind::Usage, "a title has between 1 and 128 bytes")
                .hint("give one with --title"),
        );
    }
    if files.len() > limits::CARD_FILES_MAX {
        let what = format!(
            "{} files: a card names at most {}",
            files.len(),
            limits::CARD_FILES_MAX
        );
        return Err(Problem::new(ProblemKind::Failed, what));
    }
    let triggers = if wishes.triggers.is_empty() {
        facts.triggers
    } else {
        wishes.triggers
    };
    Ok(Card {
        version: 1,
        publisher: hearth_protocol::id::NodeId::from_bytes([0; 32]),
        published: Timestamp::ORIGIN,
        kind: facts.kind,
        title,
        family: facts.family,
        files,
        settings: facts.settings,
        triggers: triggers.into_iter().take(64).collect(),
        description: wishes.description.unwrap_or(facts.description),
        licence: wishes.licence.unwrap_or(facts.licence),
        sources: Vec::new(),
        supersedes: None,
    })
}

/// Fetches a card's files from whoever serves them.
pub(super) async fn fetch(desk: &Desk, blobs: &Blobs, model: ModelRef) -> Result<Reply, Problem> {
    let begun = Instant::now();
    let SourceReply { source, answers } = desk.ask(|reply| Ask::Source(model, reply)).await?;
    let from = errand::fetch_card(blobs, None, &source, &answers)
        .await
        .map_err(|error| {
            let hint =
                "somebody who has it must be connected: 'hearth model show' names its seeders";
            failed(format!("cannot fetch '{}'", source.card.title), &error).hint(hint)
        })?;
    let bytes = from.values().sum();
    desk.tell(|reply| Ask::Fetched(source.id, from, reply))
        .await;
    let took = Millis::new(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX));
    Ok(Reply::Fetched {
        card: source.id,
        bytes,
        took,
    })
}
