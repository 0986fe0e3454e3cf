//! Model files and job files between nodes, over iroh.
//!
//! One QUIC endpoint with the node's own key serves three protocols whose names carry the commons id:
//! `blobs` (model files, for members), `job-blobs` (inputs and outputs of jobs, for the peers they were
//! granted to) and `join` (one small question and answer, for anybody). The same endpoint fetches.
//! Nothing outside this module names iroh; it knows no ledger, no cards and no libp2p: addresses,
//! members and grants are told to it, and what it served is reported through [`BlobsEvents`].
//! Start at [`Blobs`]; downloads are in `fetch`, the on-disk stores in `store` and `jobs`.

mod accept;
mod board;
mod door;
mod endpoint;
mod fetch;
mod jobs;
mod members;
mod provide;
mod provider;
mod store;
#[cfg(test)]
mod tests;
mod turns;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use hearth_protocol::id::{BlobHash, CommonsId, NodeId};
use iroh::{Endpoint, address_lookup::MemoryLookup};
use tokio::{sync::mpsc, task::JoinHandle};

use self::{door::Door, jobs::JobStore, members::Members, store::PublicStore, turns::Turns};
pub use self::{
    door::{DoorCall, KnockError},
    fetch::{FetchError, FetchReport},
    jobs::JobBlobError,
    provider::ProviderError,
    store::{FileError, ImportError, Imported, Presence, StoreError},
};

/// Door calls that may wait for the node's answer.
const DOOR_QUEUE: usize = 16;
/// Upload reports that may wait to be booked; more are dropped, since seeding is rewarded roughly.
const SERVED_QUEUE: usize = 1024;

/// Where the blobs of this node live and where it listens.
#[derive(Debug, Clone)]
pub struct BlobsConfig {
    /// The node's ed25519 seed; the endpoint has the node's own id.
    pub seed: [u8; 32],
    /// The commons to serve; without one the endpoint only fetches and knocks.
    pub commons: Option<CommonsId>,
    /// Store of model files: metadata, fetched data, and outboards of referenced files.
    pub dir: PathBuf,
    /// Store of job inputs and outputs.
    pub job_dir: PathBuf,
    /// UDP address to listen on; port 0 picks one.
    pub bind: SocketAddr,
}

/// What the blobs side tells the node.
#[derive(Debug)]
pub struct BlobsEvents {
    /// Questions of strangers at the join protocol; an answer dropped is a question refused.
    pub door: mpsc::Receiver<DoorCall>,
    /// Bytes served to members, one report for each finished or aborted request.
    pub served: mpsc::Receiver<Served>,
}

/// One upload, finished or aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// Who got it.
    pub peer: NodeId,
    /// The blob it came from.
    pub hash: BlobHash,
    /// Payload bytes sent, without hashes and framing.
    pub bytes: u64,
}

/// Why the blobs side could not start.
#[derive(Debug, thiserror::Error)]
pub enum BlobsError {
    /// The UDP address cannot be had.
    #[error("cannot listen on UDP {addr}")]
    Bind {
        /// The address asked for.
        addr: SocketAddr,
        /// What the network side said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store of model files does not open.
    #[error("cannot open the blob store in {}", path.display())]
    Open {
        /// Directory of the store.
        path: PathBuf,
        /// What the store said.
        #[source]
        source: StoreError,
    },
    /// The folder for job blobs cannot be made.
    #[error("cannot create {}", path.display())]
    JobDir {
        /// Directory asked for.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: std::io::Error,
    },
}

/// The blobs side of a node; clones share it.
#[derive(Debug, Clone)]
pub struct Blobs {
    shared: Arc<Shared>,
    accepting: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// What the serving tasks and the callers share.
#[derive(Debug)]
struct Shared {
    endpoint: Endpoint,
    lookup: MemoryLookup,
    commons: Mutex<Option<CommonsId>>,
    members: Members,
    turns: Arc<Turns>,
    store: PublicStore,
    jobs: JobStore,
    door: Door,
    served: mpsc::Sender<Served>,
}

impl Shared {
    fn commons(&self) -> Option<CommonsId> {
        *self.commons.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Blobs {
    /// Opens both stores, binds the endpoint and starts serving.
    pub async fn open(config: BlobsConfig) -> Result<(Self, BlobsEvents), BlobsError> {
        let BlobsConfig {
            seed,
            commons,
            dir,
            job_dir,
            bind,
        } = config;
        let jobs = JobStore::open(job_dir.clone()).map_err(|source| BlobsError::JobDir {
            path: job_dir,
            source,
        })?;
        let store = PublicStore::open(&dir)
            .await
            .map_err(|source| BlobsError::Open { path: dir, source })?;
        let lookup = MemoryLookup::new();
        let endpoint = endpoint::bind(seed, bind, commons.as_ref(), &lookup)
            .await
            .map_err(|source| BlobsError::Bind { addr: bind, source })?;

        let (door, door_calls) = mpsc::channel(DOOR_QUEUE);
        let (served, served_reports) = mpsc::channel(SERVED_QUEUE);
        let shared = Arc::new(Shared {
            endpoint,
            lookup,
            commons: Mutex::new(commons),
            members: Members::default(),
            turns: Turns::new(),
            store,
            jobs,
            door: Door::new(door),
            served,
        });
        let accepting = Arc::new(Mutex::new(Some(tokio::spawn(accept::run(shared.clone())))));
        Ok((
            Self { shared, accepting },
            BlobsEvents {
                door: door_calls,
                served: served_reports,
            },
        ))
    }

    /// Serves `commons` from now on, for a node that joined after it was opened.
    pub fn serve(&self, commons: CommonsId) {
        *self
            .shared
            .commons
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(commons);
        self.shared
            .endpoint
            .set_alpns(endpoint::alpns(Some(&commons)));
    }

    /// The UDP addresses others can try: the bound one, or those of the local interfaces.
    pub fn addrs(&self) -> Vec<SocketAddr> {
        endpoint::addrs(&self.shared.endpoint)
    }

    /// Lets a member fetch.
    pub fn allow(&self, peer: NodeId) {
        self.shared.members.allow(peer);
    }

    /// Stops serving a peer and closes its connections.
    pub fn disallow(&self, peer: NodeId) {
        self.shared.members.disallow(&peer);
    }

    /// Notes that a peer thanked for so many bytes: who never does is served after all others.
    pub fn thanked(&self, peer: NodeId, bytes: u64) {
        self.shared.turns.thanked(peer, bytes);
    }

    /// Replaces the addresses at which a peer is tried.
    pub fn remember(&self, peer: NodeId, addrs: Vec<SocketAddr>) {
        if let Some(addr) = endpoint::addr_of(&peer, &addrs) {
            self.shared.lookup.set_endpoint_info(addr);
        }
    }

    /// Hashes a file and serves it from where it is, without copying it, until it is unpinned.
    ///
    /// `progress` gets the bytes hashed so far. Files up to 16 KiB are kept inside the store.
    pub async fn import(
        &self,
        path: &Path,
        progress: impl Fn(u64) + Send,
    ) -> Result<Imported, ImportError> {
        self.shared.store.import(path, progress).await
    }

    /// How much of a blob this node can read and serve.
    pub async fn has(&self, hash: BlobHash) -> Result<Presence, StoreError> {
        self.shared.store.presence(hash).await
    }

    /// Fetches a model file of `size` bytes from several peers at once, verified, and pins it.
    ///
    /// What arrives stays when the future is dropped or the process dies; the next call goes on from
    /// there. `progress` gets the bytes present, at most five times a second. One call for each hash
    /// at a time: a second one is correct but fetches the same bytes again.
    pub async fn fetch(
        &self,
        hash: BlobHash,
        size: u64,
        providers: &[NodeId],
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<FetchReport, FetchError> {
        let commons = self.shared.commons().ok_or(FetchError::NoCommons)?;
        fetch::fetch(
            &self.shared,
            commons,
            fetch::Want { hash, size },
            providers,
            progress,
        )
        .await
    }

    /// A file with exactly the bytes of a complete blob, for reading only.
    pub async fn file(&self, hash: BlobHash) -> Result<PathBuf, FileError> {
        self.shared.store.file(hash).await
    }

    /// Gives a blob up: the next garbage collection frees it. A referenced file itself is not touched.
    pub async fn unpin(&self, hash: BlobHash) -> Result<(), StoreError> {
        self.shared.store.unpin(hash).await
    }

    /// Frees everything unpinned now instead of within minutes, and returns when that is done.
    pub async fn collect_garbage(&self) {
        self.shared.store.collect_garbage().await;
    }

    /// Keeps the bytes of a job input or output, durably; nobody may fetch them until granted.
    pub async fn put_job(&self, bytes: Vec<u8>) -> Result<BlobHash, JobBlobError> {
        self.shared.jobs.put(bytes).await
    }

    /// Returns where a job blob kept here lies.
    pub fn job_file(&self, hash: &BlobHash) -> PathBuf {
        self.shared.jobs.path(hash)
    }

    /// Lets one peer fetch one job blob. Not durable: the caller grants again after a restart.
    pub fn grant(&self, hash: BlobHash, peer: NodeId) {
        self.shared.jobs.grant(hash, peer);
    }

    /// Forgets a job blob and its grants.
    pub async fn drop_job(&self, hash: BlobHash) -> Result<(), JobBlobError> {
        self.shared.jobs.forget(hash).await
    }

    /// Fetches a job blob of at most `len_max` bytes from the peer that granted it, verified.
    pub async fn fetch_job(
        &self,
        hash: BlobHash,
        len_max: u64,
        from: NodeId,
    ) -> Result<Vec<u8>, FetchError> {
        let commons = self.shared.commons().ok_or(FetchError::NoCommons)?;
        jobs::fetch(&self.shared.endpoint, &commons, hash, len_max, from).await
    }

    /// Asks one question at the join protocol of a node of `commons`, which need not be ours.
    ///
    /// Takes at most ten seconds; without addresses the remembered ones are tried.
    pub async fn knock(
        &self,
        commons: CommonsId,
        peer: NodeId,
        addrs: &[SocketAddr],
        request: Vec<u8>,
    ) -> Result<Vec<u8>, KnockError> {
        door::knock(&self.shared.endpoint, &commons, peer, addrs, request).await
    }

    /// Says goodbye to the peers and closes the stores; every clone is unusable afterwards.
    pub async fn close(self) {
        let accepting = self
            .accepting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        self.shared.endpoint.close().await;
        if let Some(accepting) = accepting {
            accepting.abort();
        }
        self.shared.store.shutdown().await;
    }
}
