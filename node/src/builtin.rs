//! The models inside the binary, put on the shelf of every node.
//!
//! Their cards are the same on every node, bit for bit, so that members recognise each other's: they
//! are signed with a key that everybody can derive, and dated at the origin of time. Such a signature
//! proves nothing but the bytes it names, and nothing else is asked of it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use hearth_engine::{HashError, hash_file, kindling};
use hearth_protocol::card::{Card, CardFile, CardKind, Settings};
use hearth_protocol::job::Family;
use hearth_protocol::sign::{NodeKey, Signed};
use hearth_protocol::unit::{ByteCount, Timestamp};

use crate::blobs::{Blobs, ImportError, Presence};

/// Why a built-in model could not be put on the shelf.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuiltinError {
    /// Its file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: std::io::Error,
    },
    /// Its file cannot be read back.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// It cannot be served.
    #[error(transparent)]
    Import(#[from] ImportError),
}

/// One of the models.
struct Model {
    file: &'static str,
    bytes: &'static [u8],
    kind: CardKind,
    title: &'static str,
    triggers: &'static [&'static str],
    description: &'static str,
}

const MODELS: [Model; 2] = [
    Model {
        file: "kindling.safetensors",
        bytes: kindling::WEIGHTS,
        kind: CardKind::Checkpoint,
        title: kindling::TITLE,
        triggers: &[],
        description: "Hearth's own small model: shapes, skies and simple landscapes, 128 pixels a side.",
    },
    Model {
        file: "emberglow.safetensors",
        bytes: kindling::LORA,
        kind: CardKind::Lora,
        title: kindling::LORA_TITLE,
        triggers: &[kindling::LORA_TITLE],
        description: "The colours of a dying fire, for Kindling.",
    },
];

/// Writes the models below `dir` where they are not there yet, serves them, and returns their cards.
pub(crate) async fn place(dir: &Path, blobs: &Blobs) -> Result<Vec<Signed<Card>>, BuiltinError> {
    let mut cards = Vec::new();
    for model in MODELS {
        let path = dir.join(model.file);
        write(&path, model.bytes)?;
        let hashes = hash_file(&path)?;
        if !matches!(
            blobs.has(hashes.blake3).await,
            Ok(Presence::Complete { .. })
        ) {
            blobs.import(&path, |_| {}).await?;
        }
        let file = CardFile {
            blob: hashes.blake3,
            size: ByteCount::new(hashes.size),
            name: model.file.to_owned(),
            sha256: hashes.sha256,
            autov3: hashes.autov3,
            autov1: hashes.autov1,
            crc32: hashes.crc32,
        };
        cards.push(Signed::sign(card(&model, file), &everybodys_key()));
    }
    Ok(cards)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), BuiltinError> {
    let failed = |source| BuiltinError::Write {
        path: path.to_path_buf(),
        source,
    };
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    let is_there = fs::metadata(path).is_ok_and(|found| found.len() == bytes.len() as u64);
    if is_there && fs::read(path).is_ok_and(|found| found == bytes) {
        return Ok(());
    }
    fs::create_dir_all(dir).map_err(failed)?;
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

fn card(model: &Model, file: CardFile) -> Card {
    Card {
        version: 1,
        publisher: everybodys_key().id(),
        published: Timestamp::ORIGIN,
        kind: model.kind,
        title: model.title.to_owned(),
        family: Family::Kindling,
        files: vec![file],
        settings: (model.kind == CardKind::Checkpoint).then(|| Settings::of(Family::Kindling)),
        triggers: model.triggers.iter().map(|&word| word.to_owned()).collect(),
        description: model.description.to_owned(),
        licence: kindling::LICENCE.to_owned(),
        sources: Vec::new(),
        supersedes: None,
    }
}

/// A key that is no secret: whoever has this program has it.
fn everybodys_key() -> NodeKey {
    NodeKey::from_seed(blake3::hash(b"hearth: the models inside the binary").as_bytes())
}
