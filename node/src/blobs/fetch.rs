//! Fetches a model file from several providers at once.
//!
//! The fetch pins the blob first, so that what arrives survives a crash and garbage collection, cuts
//! what is missing into segments, and gives them to up to eight providers; spare ones step in for those
//! that fail. Dropping the future stops it and loses nothing.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hearth_protocol::id::{BlobHash, CommonsId, NodeId};
use iroh_blobs::protocol::{ChunkRanges, ChunkRangesExt};
use tokio::{
    select,
    task::JoinSet,
    time::{interval, sleep},
};
use tracing::debug;

use super::{
    Shared,
    board::Board,
    endpoint::node_id,
    provider::{Failure, Provider, ProviderError},
    store::{Presence, StoreError},
};

/// Providers asked at the same time.
const PROVIDERS_MAX: usize = 8;
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
/// Disk space left over below which a store failure is taken for a full disk.
const DISK_MARGIN: u64 = 32 << 20;

/// The blob asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Want {
    pub(super) hash: BlobHash,
    pub(super) size: u64,
}

/// Where the bytes of a fetch came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FetchReport {
    /// Verified bytes from each provider; slow segments fetched twice count twice.
    pub bytes_from: BTreeMap<NodeId, u64>,
    /// Bytes that were already here.
    pub resumed_bytes: u64,
}

/// Why a blob could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The node is in no commons yet.
    #[error("this node is in no commons")]
    NoCommons,
    /// Nobody else was named.
    #[error("no provider of blob {0} is known")]
    NoProviders(BlobHash),
    /// No provider could give all of it. What came is kept.
    #[error("no provider could give blob {hash} in full: {}", list(.causes))]
    AllFailed {
        /// The blob.
        hash: BlobHash,
        /// What was wrong with each provider.
        causes: BTreeMap<NodeId, ProviderError>,
    },
    /// The one peer asked did not give it.
    #[error("{peer} did not give the blob: {cause}")]
    Provider {
        /// The peer asked.
        peer: NodeId,
        /// What was wrong.
        #[source]
        cause: ProviderError,
    },
    /// The disk has no room. What came is kept.
    #[error("the disk is full: {needed} bytes are missing and {available} are free")]
    DiskFull {
        /// Bytes still to store.
        needed: u64,
        /// Bytes free on the disk of the store.
        available: u64,
    },
    /// The blob with this hash has another size.
    #[error("the blob has {got} bytes, not {expected}")]
    WrongSize {
        /// The size asked for.
        expected: u64,
        /// The size it has.
        got: u64,
    },
    /// A job blob is longer than allowed.
    #[error("the job blob has {len} bytes, more than {len_max}")]
    TooLarge {
        /// The announced length.
        len: u64,
        /// The longest allowed.
        len_max: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn list(causes: &BTreeMap<NodeId, ProviderError>) -> String {
    causes
        .iter()
        .map(|(node, cause)| format!("{node}: {cause}"))
        .collect::<Vec<_>>()
        .join("; ")
}

/// Fetches a blob, or what of it is missing here.
pub(super) async fn fetch(
    shared: &Arc<Shared>,
    commons: CommonsId,
    want: Want,
    providers: &[NodeId],
    progress: impl Fn(u64) + Send + Sync,
) -> Result<FetchReport, FetchError> {
    forget_if_gone(shared, want.hash).await?;
    let _held = shared.store.hold(want.hash).await?;
    let local = shared.store.bitfield(want.hash).await?;
    if let Some(got) = local
        .validated_size()
        .filter(|got| *got != want.size && *got > 0)
    {
        return Err(FetchError::WrongSize {
            expected: want.size,
            got,
        });
    }
    shared.store.pin(want.hash).await?;
    let resumed_bytes = local.total_bytes().min(want.size);
    if local.is_complete() && local.size() == want.size {
        progress(want.size);
        return Ok(FetchReport {
            bytes_from: BTreeMap::new(),
            resumed_bytes,
        });
    }
    room_for(shared.store.dir(), want.size - resumed_bytes)?;

    let own = node_id(shared.endpoint.id());
    let providers: BTreeSet<_> = providers
        .iter()
        .copied()
        .filter(|node| *node != own)
        .collect();
    if providers.is_empty() {
        return Err(FetchError::NoProviders(want.hash));
    }
    let missing = &ChunkRanges::bytes(..want.size) - &local.ranges;
    let at_once = u64::try_from(providers.len().min(PROVIDERS_MAX)).unwrap_or(1);
    let board = Board::new(&missing, want.size, at_once);
    let bytes = providers
        .iter()
        .map(|node| (*node, Arc::default()))
        .collect();
    let fetch = Fetch {
        shared,
        commons,
        want,
        board,
        bytes,
        resumed_bytes,
    };
    fetch.run(progress).await?;
    fetch.settle().await?;
    Ok(FetchReport {
        bytes_from: fetch.bytes_from(),
        resumed_bytes,
    })
}

/// Forgets a blob whose referenced file is gone, so that it can be fetched again.
async fn forget_if_gone(shared: &Arc<Shared>, hash: BlobHash) -> Result<(), StoreError> {
    if shared.store.is_gone(hash).await? {
        debug!(%hash, "the referenced file is gone: fetching the blob again");
        shared.store.unpin(hash).await?;
        shared.store.collect_garbage().await;
    }
    Ok(())
}

/// Refuses to begin what cannot fit, with 1/128 for the hash tree.
fn room_for(dir: &Path, bytes: u64) -> Result<(), FetchError> {
    let needed = bytes + bytes / 128;
    match fs4::available_space(dir) {
        Ok(available) if available < needed => Err(FetchError::DiskFull { needed, available }),
        // A file system that cannot tell is tried.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// A fetch under way.
struct Fetch<'a> {
    shared: &'a Arc<Shared>,
    commons: CommonsId,
    want: Want,
    board: Arc<Board>,
    bytes: BTreeMap<NodeId, Arc<AtomicU64>>,
    resumed_bytes: u64,
}

type Providers = JoinSet<(NodeId, Result<(), Failure>)>;

impl Fetch<'_> {
    async fn run(&self, progress: impl Fn(u64) + Send + Sync) -> Result<(), FetchError> {
        let mut spare: VecDeque<NodeId> = self.bytes.keys().copied().collect();
        let mut running = Providers::new();
        let mut causes = BTreeMap::new();
        let mut changes = self.board.changes();
        let mut tick = interval(PROGRESS_INTERVAL);
        progress(self.resumed_bytes);
        while !self.board.is_finished() {
            while running.len() < PROVIDERS_MAX
                && let Some(node) = spare.pop_front()
            {
                self.start(node, &mut running);
            }
            select! {
                _ = changes.changed() => {}
                _ = tick.tick() => progress(self.present()),
                ended = running.join_next() => match ended {
                    None => return Err(FetchError::AllFailed { hash: self.want.hash, causes }),
                    Some(Ok((_, Ok(())))) => {}
                    Some(Ok((node, Err(Failure::Provider(cause))))) => {
                        causes.insert(node, cause);
                    }
                    Some(Ok((_, Err(Failure::Store(error))))) => {
                        return Err(self.store_failure(error));
                    }
                    Some(Err(panic)) => return Err(StoreError::new(panic).into()),
                },
            }
        }
        progress(self.want.size);
        Ok(())
    }

    fn start(&self, node: NodeId, running: &mut Providers) {
        let provider = Provider {
            shared: self.shared.clone(),
            commons: self.commons,
            node,
            want: self.want,
            board: self.board.clone(),
            bytes: self.bytes.get(&node).cloned().unwrap_or_default(),
        };
        running.spawn(async move { (node, provider.run().await) });
    }

    fn bytes_from(&self) -> BTreeMap<NodeId, u64> {
        let bytes = self
            .bytes
            .iter()
            .map(|(node, bytes)| (*node, bytes.load(Ordering::Relaxed)));
        bytes.filter(|(_, bytes)| *bytes > 0).collect()
    }

    /// Bytes here by now, as far as the counters tell.
    fn present(&self) -> u64 {
        let fetched: u64 = self.bytes_from().values().sum();
        (self.resumed_bytes + fetched).min(self.want.size)
    }

    fn store_failure(&self, error: Box<dyn std::error::Error + Send + Sync>) -> FetchError {
        let needed = self.want.size - self.present();
        match fs4::available_space(self.shared.store.dir()) {
            Ok(available) if available < needed.min(DISK_MARGIN) => {
                FetchError::DiskFull { needed, available }
            }
            Ok(_) | Err(_) => StoreError::new(error).into(),
        }
    }

    /// Waits until the store has noted that the blob is complete.
    async fn settle(&self) -> Result<(), FetchError> {
        let expected = self.want.size;
        for _ in 0..100 {
            match self.shared.store.presence(self.want.hash).await? {
                Presence::Complete { size } if size == expected => return Ok(()),
                Presence::Complete { size } => {
                    return Err(FetchError::WrongSize {
                        expected,
                        got: size,
                    });
                }
                Presence::Missing | Presence::Partial { .. } => {
                    sleep(Duration::from_millis(20)).await;
                }
            }
        }
        Err(StoreError::new("the blob is not complete although every part arrived").into())
    }
}
