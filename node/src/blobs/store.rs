//! The store of model files: an iroh-blobs `FsStore` with pins, references to the user's files, and
//! garbage collection on demand.
//!
//! A pin is a tag `pin/<hash>`; a referenced file is remembered by a tag `path/<hash>/<path>`, because
//! the store keeps that path to itself. Both live in the store's own database and vanish with it.

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use hearth_protocol::id::BlobHash;
use iroh_blobs::{
    BlobFormat, Hash, HashAndFormat,
    api::{
        Store, TempTag,
        blobs::{AddPathOptions, AddProgressItem, Bitfield, BlobStatus, ImportMode},
    },
    store::{
        GcConfig, ProtectOutcome,
        fs::{FsStore, options::Options},
    },
};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};
use tracing::debug;

/// Time between garbage collections nobody asked for.
const GC_INTERVAL: Duration = Duration::from_secs(300);
/// The store's own pause before it asks us whether to collect.
const GC_PAUSE: Duration = Duration::from_millis(100);
/// Import progress is told once for this many bytes.
const PROGRESS_STEP: u64 = 8 << 20;

/// The store failed: its database or the disk under it.
#[derive(Debug, thiserror::Error)]
#[error("the blob store failed")]
pub struct StoreError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl StoreError {
    pub(super) fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

/// Why a file could not be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// It is a directory or a device.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// Somebody wrote to the file while it was hashed.
    #[error("{} changed while it was read; import it again when it is finished", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why there is no file to read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The blob is not here, or only a part of it.
    #[error("blob {0} is not here in full")]
    Missing(BlobHash),
    /// The referenced file was moved, deleted or changed its size.
    #[error("the file of blob {hash} is gone or changed: {}", path.display())]
    Gone {
        /// The blob.
        hash: BlobHash,
        /// Where its file was.
        path: PathBuf,
    },
    /// A small blob could not be written out.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A file that is now served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imported {
    /// BLAKE3 of its bytes.
    pub hash: BlobHash,
    /// Its length in bytes.
    pub size: u64,
}

/// How much of a blob is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Nothing, or a reference to a file that is gone.
    Missing,
    /// A part, verified; a fetch goes on from it.
    Partial {
        /// Verified bytes.
        bytes: u64,
    },
    /// All of it.
    Complete {
        /// Its length in bytes.
        size: u64,
    },
}

/// Where the bytes of a complete blob are.
enum Location {
    File(PathBuf),
    Inline,
    Gone(PathBuf),
}

/// The blob store of this node.
#[derive(Debug)]
pub(super) struct PublicStore {
    store: FsStore,
    options: Options,
    inline_dir: PathBuf,
    gc: Arc<Collector>,
}

/// The gate that decides when the store collects garbage.
#[derive(Debug, Default)]
struct Collector {
    wake: Notify,
    waiting: AtomicBool,
    /// How often the store came to ask; each time the collection before is finished.
    asked: watch::Sender<u64>,
}

impl Collector {
    async fn permit(&self) {
        self.waiting.store(true, Ordering::SeqCst);
        self.asked.send_modify(|asked| *asked += 1);
        let _ = timeout(GC_INTERVAL, self.wake.notified()).await;
        self.waiting.store(false, Ordering::SeqCst);
    }

    /// Returns after a collection that began after this call.
    async fn collect(&self) {
        let mut asked = self.asked.subscribe();
        // One that is running now may have looked before the last unpin.
        let runs = if self.waiting.load(Ordering::SeqCst) {
            1
        } else {
            2
        };
        let target = *asked.borrow() + runs;
        self.wake.notify_one();
        let _ = asked.wait_for(|asked| *asked >= target).await;
    }
}

type Permit<'a> = Pin<Box<dyn Future<Output = ProtectOutcome> + Send + Sync + 'a>>;

fn permit<'a>(gc: Arc<Collector>, _extra: &'a mut HashSet<Hash>) -> Permit<'a> {
    Box::pin(async move {
        gc.permit().await;
        ProtectOutcome::Continue
    })
}

impl PublicStore {
    pub(super) async fn open(dir: &Path) -> Result<Self, StoreError> {
        let gc = Arc::new(Collector::default());
        let gate = gc.clone();
        let mut options = Options::new(dir);
        options.gc = Some(GcConfig {
            interval: GC_PAUSE,
            add_protected: Some(Arc::new(move |extra| permit(gate.clone(), extra))),
        });
        let store = FsStore::load_with_opts(dir.join("blobs.db"), options.clone())
            .await
            .map_err(|error| StoreError::new(format!("{error:#}")))?;
        Ok(Self {
            store,
            options,
            inline_dir: dir.join("inline"),
            gc,
        })
    }

    /// The store as iroh-blobs' own functions want it.
    pub(super) fn api(&self) -> Store {
        self.store.clone().into()
    }

    pub(super) fn dir(&self) -> &Path {
        &self.options.path.data_path
    }

    pub(super) async fn shutdown(&self) {
        if let Err(error) = self.store.shutdown().await {
            debug!(%error, "blob store was already closed");
        }
    }

    pub(super) async fn import(
        &self,
        path: &Path,
        progress: impl Fn(u64) + Send,
    ) -> Result<Imported, ImportError> {
        let read = |source| ImportError::Read {
            path: path.to_owned(),
            source,
        };
        let full = tokio::fs::canonicalize(path).await.map_err(read)?;
        let before = tokio::fs::metadata(&full).await.map_err(read)?;
        if !before.is_file() {
            return Err(ImportError::NotAFile { path: full });
        }
        let options = AddPathOptions {
            path: full.clone(),
            format: BlobFormat::Raw,
            mode: ImportMode::TryReference,
        };
        let mut events = self
            .store
            .blobs()
            .add_path_with_opts(options)
            .stream()
            .await;
        let (mut told, mut imported) = (0, None);
        while let Some(event) = events.next().await {
            match event {
                AddProgressItem::CopyProgress(at) | AddProgressItem::OutboardProgress(at) => {
                    if at >= told + PROGRESS_STEP {
                        told = at;
                        progress(at);
                    }
                }
                AddProgressItem::Size(_) | AddProgressItem::CopyDone => {}
                AddProgressItem::Done(tag) => imported = Some(tag),
                AddProgressItem::Error(error) => return Err(read(error)),
            }
        }
        let tag = imported.ok_or_else(|| StoreError::new("import ended without a result"))?;
        let after = tokio::fs::metadata(&full).await.map_err(read)?;
        if after.len() != before.len() || after.modified().ok() != before.modified().ok() {
            return Err(ImportError::Changed { path: full });
        }
        progress(after.len());
        let hash = BlobHash::from_bytes(*tag.hash().as_bytes());
        let mut name = path_prefix(&hash);
        name.extend_from_slice(&path_bytes(&full));
        self.set_tag(&name, hash).await?;
        self.pin(hash).await?;
        Ok(Imported {
            hash,
            size: after.len(),
        })
    }

    pub(super) async fn presence(&self, hash: BlobHash) -> Result<Presence, StoreError> {
        match self
            .store
            .blobs()
            .status(raw(&hash))
            .await
            .map_err(StoreError::new)?
        {
            BlobStatus::NotFound => Ok(Presence::Missing),
            BlobStatus::Partial { .. } => Ok(Presence::Partial {
                bytes: self.bitfield(hash).await?.total_bytes(),
            }),
            BlobStatus::Complete { size } => match self.locate(hash, size).await? {
                Location::File(_) | Location::Inline => Ok(Presence::Complete { size }),
                Location::Gone(_) => Ok(Presence::Missing),
            },
        }
    }

    /// Whether the store counts on a file of the user's that is no longer there.
    pub(super) async fn is_gone(&self, hash: BlobHash) -> Result<bool, StoreError> {
        let status = self
            .store
            .blobs()
            .status(raw(&hash))
            .await
            .map_err(StoreError::new)?;
        let BlobStatus::Complete { size } = status else {
            return Ok(false);
        };
        Ok(matches!(self.locate(hash, size).await?, Location::Gone(_)))
    }

    /// Which parts are here, as the store's own books say.
    pub(super) async fn bitfield(&self, hash: BlobHash) -> Result<Bitfield, StoreError> {
        self.store
            .blobs()
            .observe(raw(&hash))
            .await
            .map_err(StoreError::new)
    }

    pub(super) async fn file(&self, hash: BlobHash) -> Result<PathBuf, FileError> {
        let status = self
            .store
            .blobs()
            .status(raw(&hash))
            .await
            .map_err(StoreError::new)?;
        let BlobStatus::Complete { size } = status else {
            return Err(FileError::Missing(hash));
        };
        match self.locate(hash, size).await? {
            Location::File(path) => Ok(path),
            Location::Gone(path) => Err(FileError::Gone { hash, path }),
            Location::Inline => self.write_out(hash).await,
        }
    }

    /// Writes a blob that lives inside the database to a file of its own.
    async fn write_out(&self, hash: BlobHash) -> Result<PathBuf, FileError> {
        let bytes = self
            .store
            .blobs()
            .get_bytes(raw(&hash))
            .await
            .map_err(StoreError::new)?;
        let path = self.inline_path(&hash);
        if tokio::fs::read(&path)
            .await
            .is_ok_and(|written| written == bytes)
        {
            return Ok(path);
        }
        let dir = self.inline_dir.clone();
        let target = path.clone();
        let written = tokio::task::spawn_blocking(move || -> io::Result<()> {
            std::fs::create_dir_all(&dir)?;
            let mut file = tempfile::NamedTempFile::new_in(&dir)?;
            io::Write::write_all(&mut file, &bytes)?;
            file.persist(target).map_err(|error| error.error)?;
            Ok(())
        })
        .await
        .unwrap_or_else(|panic| Err(io::Error::other(panic)));
        written.map_err(|source| FileError::Write {
            path: path.clone(),
            source,
        })?;
        Ok(path)
    }

    fn inline_path(&self, hash: &BlobHash) -> PathBuf {
        self.inline_dir.join(raw(hash).to_hex())
    }

    /// Finds the bytes of a blob that the store calls complete.
    async fn locate(&self, hash: BlobHash, size: u64) -> Result<Location, StoreError> {
        if self.options.is_inlined_data(size) {
            return Ok(Location::Inline);
        }
        let intact = async |path: &Path| {
            tokio::fs::metadata(path)
                .await
                .is_ok_and(|file| file.is_file() && file.len() == size)
        };
        let owned = self.options.path.data_path(&raw(&hash));
        let mut gone = owned.clone();
        for path in self.referenced(hash).await? {
            if intact(&path).await {
                return Ok(Location::File(path));
            }
            gone = path;
        }
        if intact(&owned).await {
            return Ok(Location::File(owned));
        }
        Ok(Location::Gone(gone))
    }

    /// The user's files that were imported as this blob.
    async fn referenced(&self, hash: BlobHash) -> Result<Vec<PathBuf>, StoreError> {
        let prefix = path_prefix(&hash);
        let mut tags = self
            .store
            .tags()
            .list_prefix(&prefix)
            .await
            .map_err(StoreError::new)?;
        let mut paths = Vec::new();
        while let Some(tag) = tags.next().await {
            let name = tag.map_err(StoreError::new)?.name;
            if let Some(path) = name.as_ref().strip_prefix(prefix.as_slice()) {
                paths.push(path_of(path));
            }
        }
        Ok(paths)
    }

    pub(super) async fn pin(&self, hash: BlobHash) -> Result<(), StoreError> {
        self.set_tag(&pin_name(&hash), hash).await
    }

    async fn set_tag(&self, name: &[u8], hash: BlobHash) -> Result<(), StoreError> {
        self.store
            .tags()
            .set(name, HashAndFormat::raw(raw(&hash)))
            .await
            .map_err(StoreError::new)
    }

    pub(super) async fn unpin(&self, hash: BlobHash) -> Result<(), StoreError> {
        let tags = self.store.tags();
        tags.delete(pin_name(&hash))
            .await
            .map_err(StoreError::new)?;
        tags.delete_prefix(path_prefix(&hash))
            .await
            .map_err(StoreError::new)?;
        let _ = tokio::fs::remove_file(self.inline_path(&hash)).await;
        Ok(())
    }

    /// Keeps a blob from being collected until the tag is dropped.
    pub(super) async fn hold(&self, hash: BlobHash) -> Result<TempTag, StoreError> {
        let held = HashAndFormat::raw(raw(&hash));
        self.store
            .tags()
            .temp_tag(held)
            .await
            .map_err(StoreError::new)
    }

    pub(super) async fn collect_garbage(&self) {
        self.gc.collect().await;
    }
}

/// The hash as iroh-blobs calls it.
pub(super) fn raw(hash: &BlobHash) -> Hash {
    Hash::from_bytes(*hash.as_bytes())
}

fn pin_name(hash: &BlobHash) -> Vec<u8> {
    format!("pin/{}", raw(hash).to_hex()).into_bytes()
}

fn path_prefix(hash: &BlobHash) -> Vec<u8> {
    format!("path/{}/", raw(hash).to_hex()).into_bytes()
}

#[cfg(unix)]
fn path_bytes(path: &Path) -> Vec<u8> {
    std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()).to_vec()
}

#[cfg(unix)]
fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes))
}

#[cfg(not(unix))]
fn path_bytes(path: &Path) -> Vec<u8> {
    path.to_string_lossy().into_owned().into_bytes()
}

#[cfg(not(unix))]
fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(bytes).into_owned())
}
