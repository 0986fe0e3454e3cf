//! Work that takes time, done beside the switchboard: moving blobs, saving files.
//!
//! An errand owns what it needs, ends with exactly one [`Answer`] for each call, and knows no rule.

mod assets;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hearth_dispatch::{CallId, OutputsFault, StoreFault};
use hearth_protocol::card::{Card, CardFile};
use hearth_protocol::engine::{Assets, OutputFile};
use hearth_protocol::id::{BlobHash, CardId, NodeId};
use hearth_protocol::job::{ImageFormat, OutputRef};
use hearth_protocol::limits;
use hearth_protocol::unit::{ByteCount, Millis};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::blobs::{Blobs, FetchError, JobBlobError, Presence, ProviderError};

pub(crate) use assets::{Needs, assets};

/// A worker that drips is asked again later.
const COLLECT_MAX: Duration = Duration::from_secs(120);

/// What an errand found.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Bytes of a card arrived.
    Fetching {
        /// The call.
        call: Option<CallId>,
        /// The card.
        card: CardId,
        /// Bytes here.
        have: ByteCount,
        /// Bytes in all.
        total: ByteCount,
        /// Who gives.
        from: Vec<NodeId>,
    },
    /// Every file of a card is here.
    CardHere {
        /// The card.
        card: CardId,
    },
    /// All cards of a call are here.
    CardsReady {
        /// The call.
        call: CallId,
        /// Bytes from each member.
        bytes_from: BTreeMap<NodeId, ByteCount>,
        /// How long it took.
        took: Millis,
    },
    /// A card of a call did not come.
    CardsFailed {
        /// The call.
        call: CallId,
        /// The card.
        card: CardId,
        /// Why.
        cause: String,
    },
    /// Files for an engine run, or the cause there are none.
    Assets {
        /// The call.
        call: CallId,
        /// What was found.
        assets: Result<Assets, String>,
    },
    /// Outputs of a job were fetched and saved.
    Collected {
        /// The call.
        call: CallId,
        /// How it went.
        result: Result<(), OutputsFault>,
    },
    /// Outputs of a run were stored.
    Stored {
        /// The call.
        call: CallId,
        /// How it went.
        result: Result<Vec<OutputRef>, StoreFault>,
    },
}

/// Where answers go.
pub(crate) type Answers = mpsc::Sender<Answer>;

/// A card with the members that serve it.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// The card.
    pub(crate) id: CardId,
    /// Its content.
    pub(crate) card: Card,
    /// Members that have it, best first.
    pub(crate) seeders: Vec<NodeId>,
}

/// Where a job's outputs are saved for the person who asked.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The picture's file.
    pub(crate) image: PathBuf,
    /// The folder for latents.
    pub(crate) steps: Option<PathBuf>,
}

impl Places {
    /// Returns where an output of this name goes, if it is kept.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        if is_picture(name) {
            return Some(self.image.clone());
        }
        let plain = name
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'.');
        let steps = self
            .steps
            .as_ref()
            .filter(|_| plain && name.starts_with("step_"))?;
        Some(steps.join(name))
    }
}

/// Returns whether an output is the picture a person asked for.
pub(crate) fn is_picture(name: &str) -> bool {
    ImageFormat::ALL
        .iter()
        .any(|format| format.file_name() == name)
}

/// Fetches every missing file of some cards.
pub(crate) async fn fetch_cards(
    blobs: Blobs,
    call: CallId,
    sources: Vec<Source>,
    answers: Answers,
) {
    let begun = Instant::now();
    let mut bytes_from: BTreeMap<NodeId, ByteCount> = BTreeMap::new();
    for source in &sources {
        match fetch_card(&blobs, Some(call), source, &answers).await {
            Ok(from) => {
                for (node, bytes) in from {
                    let sum = bytes_from.entry(node).or_default();
                    *sum = sum.plus(ByteCount::new(bytes));
                }
            }
            Err(error) => {
                let failed = Answer::CardsFailed {
                    call,
                    card: source.id,
                    cause: causes(&error),
                };
                return tell(&answers, failed).await;
            }
        }
    }
    tell(
        &answers,
        Answer::CardsReady {
            call,
            bytes_from,
            took: since(begun),
        },
    )
    .await;
}

/// Fetches every missing file of one card; returns bytes from each member.
pub(crate) async fn fetch_card(
    blobs: &Blobs,
    call: Option<CallId>,
    source: &Source,
    answers: &Answers,
) -> Result<BTreeMap<NodeId, u64>, FetchError> {
    let total = source.card.size();
    let mut have = 0;
    let mut bytes_from: BTreeMap<NodeId, u64> = BTreeMap::new();
    for file in &source.card.files {
        if !is_here(blobs, file).await {
            let before = have;
            let progress = |bytes: u64| {
                let have = ByteCount::new(before + bytes);
                let from = source.seeders.clone();
                let told = Answer::Fetching {
                    call,
                    card: source.id,
                    have,
                    total,
                    from,
                };
                // Progress may be dropped: the next one says more.
                let _full = answers.try_send(told);
            };
            let report = blobs
                .fetch(file.blob, file.size.get(), &source.seeders, progress)
                .await?;
            for (node, bytes) in report.bytes_from {
                *bytes_from.entry(node).or_default() += bytes;
            }
        }
        have += file.size.get();
    }
    tell(answers, Answer::CardHere { card: source.id }).await;
    Ok(bytes_from)
}

/// Returns whether a card's file is here whole.
pub(crate) async fn is_here(blobs: &Blobs, file: &CardFile) -> bool {
    matches!(blobs.has(file.blob).await, Ok(Presence::Complete { size }) if size == file.size.get())
}

/// Says whose fault it is that an output did not come.
fn fault(error: &FetchError) -> OutputsFault {
    match error {
        FetchError::TooLarge { .. } | FetchError::WrongSize { .. } => OutputsFault::Corrupt,
        FetchError::Provider { cause, .. } => match cause {
            ProviderError::BadData => OutputsFault::Corrupt,
            ProviderError::Refused | ProviderError::NotHeld | ProviderError::Withdrew => {
                OutputsFault::Missing
            }
            ProviderError::BadId
            | ProviderError::Unreachable
            | ProviderError::Busy
            | ProviderError::Incomplete
            | ProviderError::Lost
            | ProviderError::SizeMismatch { .. }
            | ProviderError::Stalled { .. } => OutputsFault::Unreachable,
        },
        FetchError::DiskFull { .. } | FetchError::Store(_) => OutputsFault::OwnDisk,
        FetchError::NoCommons | FetchError::NoProviders(_) | FetchError::AllFailed { .. } => {
            OutputsFault::Unreachable
        }
    }
}

/// Sends an errand out; one that ends in a bug still answers, so that no call is left open.
pub(super) fn send_out(
    answers: &Answers,
    on_fault: Answer,
    errand: impl Future<Output = ()> + Send + 'static,
) -> AbortHandle {
    let task = tokio::spawn(errand);
    let handle = task.abort_handle();
    let answers = answers.clone();
    tokio::spawn(async move {
        if task.await.is_err_and(|error| error.is_panic()) {
            tell(&answers, on_fault).await;
        }
    });
    handle
}

/// Gets a job's outputs from its worker and saves them.
pub(crate) async fn collect(
    blobs: Blobs,
    call: CallId,
    worker: NodeId,
    outputs: Vec<OutputRef>,
    places: Places,
    answers: Answers,
) {
    let result = async {
        for output in &outputs {
            let Some(path) = places.path(&output.name) else {
                continue;
            };
            let size = output.size.get().min(limits::OUTPUT_LEN_MAX);
            let fetched = blobs.fetch_job(output.blob, size, worker).await;
            let bytes = fetched.map_err(|error| {
                let cause = causes(&error);
                tracing::info!(worker = worker.short(), cause, "an output did not come");
                fault(&error)
            })?;
            if bytes.len() as u64 != output.size.get() {
                return Err(OutputsFault::Corrupt);
            }
            save(path, bytes).await.map_err(|_| OutputsFault::OwnDisk)?;
        }
        Ok(())
    };
    let result = tokio::time::timeout(COLLECT_MAX, result);
    let result = result.await.unwrap_or(Err(OutputsFault::Unreachable));
    tell(&answers, Answer::Collected { call, result }).await;
}

/// Keeps a run's outputs as blobs that one peer may fetch.
pub(crate) async fn keep_for_peer(
    blobs: Blobs,
    call: CallId,
    peer: NodeId,
    outputs: Vec<OutputFile>,
    answers: Answers,
) {
    let mut kept = Vec::new();
    for output in outputs {
        let (name, size) = (output.name, ByteCount::new(output.bytes.len() as u64));
        match blobs.put_job(output.bytes).await {
            Ok(blob) => {
                blobs.grant(blob, peer);
                kept.push(OutputRef { name, blob, size });
            }
            Err(error) => {
                tracing::warn!(error = causes(&error), "an output could not be kept");
                let JobBlobError::Io { source, .. } = &error;
                let result = Err(store_fault(source));
                return tell(&answers, Answer::Stored { call, result }).await;
            }
        }
    }
    let result = Ok(kept);
    tell(&answers, Answer::Stored { call, result }).await;
}

/// Saves a run's outputs for the person of this node.
pub(crate) async fn save_own(
    call: CallId,
    outputs: Vec<OutputFile>,
    places: Places,
    answers: Answers,
) {
    let mut kept = Vec::new();
    for output in outputs {
        let size = ByteCount::new(output.bytes.len() as u64);
        kept.push(OutputRef {
            name: output.name.clone(),
            blob: BlobHash::of(&output.bytes),
            size,
        });
        let Some(path) = places.path(&output.name) else {
            continue;
        };
        if let Err(error) = save(path, output.bytes).await {
            let result = Err(store_fault(&error));
            return tell(&answers, Answer::Stored { call, result }).await;
        }
    }
    let result = Ok(kept);
    tell(&answers, Answer::Stored { call, result }).await;
}

/// Tells a full disk from any other failure of it.
fn store_fault(error: &std::io::Error) -> StoreFault {
    if error.kind() == std::io::ErrorKind::StorageFull {
        StoreFault::DiskFull
    } else {
        StoreFault::Failed
    }
}

async fn save(path: PathBuf, bytes: Vec<u8>) -> std::io::Result<()> {
    let shown = path.display().to_string();
    let saved = tokio::task::spawn_blocking(move || save_whole(&path, &bytes)).await;
    let result = saved.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    if let Err(error) = &result {
        tracing::error!(%error, path = shown, "an output could not be saved");
    }
    result
}

/// Writes beside the target and renames, so that a reader sees all of it or nothing.
fn save_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(dir)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.as_file()
            .set_permissions(std::fs::Permissions::from_mode(0o644))?;
    }
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

async fn tell(answers: &Answers, answer: Answer) {
    // The switchboard only goes away when the node ends.
    let _ended = answers.send(answer).await;
}

fn since(begun: Instant) -> Millis {
    Millis::new(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX))
}

/// Returns an error with everything behind it in one line, bounded.
pub(crate) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        next = error.source();
    }
    text.chars().take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_cannot_name_a_place_outside_the_folder() {
        let places = Places {
            image: "/tmp/a.png".into(),
            steps: Some("/tmp/steps".into()),
        };
        assert_eq!(places.path("image.png"), Some("/tmp/a.png".into()));
        assert_eq!(
            places.path("step_000.safetensors"),
            Some("/tmp/steps/step_000.safetensors".into())
        );
        for name in ["../x", "step_/../../x", "/etc/passwd", "other.png", ""] {
            assert_eq!(places.path(name), None, "{name}");
        }
    }

    #[test]
    fn a_saved_file_is_whole_or_absent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/folder/picture.png");
        save_whole(&path, b"bytes").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"bytes");
        assert_eq!(
            std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1
        );
    }
}
