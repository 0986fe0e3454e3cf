//! Job inputs and outputs: plain files named by their hash, fetched whole by the peer they were granted to.
//!
//! They are small and short-lived, so they need no second blob store with a database and threads of its
//! own. On the wire: the asker sends 32 hash bytes and finishes; the answer is the length (u64, little
//! endian) and the bytes, or a reset. The asker verifies the hash, so nothing else needs checking.

use std::{
    collections::BTreeSet,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hearth_protocol::id::{BlobHash, CommonsId, NodeId};
use iroh::{
    Endpoint,
    endpoint::{Connection, ReadError, ReadExactError, RecvStream, SendStream, VarInt},
};
use tokio::{io::AsyncReadExt, time::timeout};
use tracing::debug;

use super::{
    Shared,
    endpoint::{self, CODE_PERMISSION, Service},
    fetch::FetchError,
    provider::{ProviderError, close_cause},
};

/// Longest wait for the next bytes of the other side.
const STALL: Duration = Duration::from_secs(20);
const PIECE: usize = 256 * 1024;

/// Why a job blob of our own could not be kept, read or dropped.
#[derive(Debug, thiserror::Error)]
pub enum JobBlobError {
    /// The file system failed.
    #[error("job blob file {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
}

/// The job blobs of this node and who may fetch them.
#[derive(Debug)]
pub(super) struct JobStore {
    dir: PathBuf,
    grants: Mutex<BTreeSet<(BlobHash, NodeId)>>,
}

impl JobStore {
    pub(super) fn open(dir: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&dir)?;
        Ok(Self {
            dir,
            grants: Mutex::default(),
        })
    }

    fn grants(&self) -> MutexGuard<'_, BTreeSet<(BlobHash, NodeId)>> {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn path(&self, hash: &BlobHash) -> PathBuf {
        self.dir
            .join(data_encoding::HEXLOWER.encode(hash.as_bytes()))
    }

    pub(super) async fn put(&self, bytes: Vec<u8>) -> Result<BlobHash, JobBlobError> {
        let dir = self.dir.clone();
        let written = tokio::task::spawn_blocking(move || -> io::Result<BlobHash> {
            let hash = BlobHash::of(&bytes);
            let name = data_encoding::HEXLOWER.encode(hash.as_bytes());
            // Whole or not at all, whenever the process is killed.
            let mut file = tempfile::NamedTempFile::new_in(&dir)?;
            io::Write::write_all(&mut file, &bytes)?;
            file.as_file().sync_data()?;
            file.persist(dir.join(name)).map_err(|error| error.error)?;
            Ok(hash)
        })
        .await
        .unwrap_or_else(|panic| Err(io::Error::other(panic)));
        written.map_err(|source| JobBlobError::Io {
            path: self.dir.clone(),
            source,
        })
    }

    pub(super) fn grant(&self, hash: BlobHash, peer: NodeId) {
        self.grants().insert((hash, peer));
    }

    fn granted(&self, hash: BlobHash, peer: NodeId) -> bool {
        self.grants().contains(&(hash, peer))
    }

    pub(super) async fn forget(&self, hash: BlobHash) -> Result<(), JobBlobError> {
        self.grants().retain(|(granted, _)| *granted != hash);
        let path = self.path(&hash);
        match tokio::fs::remove_file(&path).await {
            Ok(()) => Ok(()),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(JobBlobError::Io { path, source }),
        }
    }
}

/// Serves one connection until it closes. Members only, and of those the granted.
pub(super) async fn serve(shared: &Arc<Shared>, connection: Connection, peer: NodeId) {
    if !shared.members.admit(peer, &connection) {
        debug!(%peer, "refused to serve job blobs");
        return;
    }
    while let Ok((mut send, mut recv)) = connection.accept_bi().await {
        let shared = shared.clone();
        tokio::spawn(async move {
            if let Err(code) = answer(&shared.jobs, peer, &mut send, &mut recv).await {
                let _ = send.reset(code);
            }
        });
    }
}

async fn answer(
    jobs: &JobStore,
    peer: NodeId,
    send: &mut SendStream,
    recv: &mut RecvStream,
) -> Result<(), VarInt> {
    let failed = |_| VarInt::from_u32(3);
    let mut hash = [0; 32];
    timeout(STALL, recv.read_exact(&mut hash))
        .await
        .map_err(|_| CODE_PERMISSION)?
        .map_err(|_| CODE_PERMISSION)?;
    let hash = BlobHash::from_bytes(hash);
    if !jobs.granted(hash, peer) {
        debug!(%peer, %hash, "refused a job blob that was not granted");
        return Err(CODE_PERMISSION);
    }
    let mut file = tokio::fs::File::open(jobs.path(&hash))
        .await
        .map_err(failed)?;
    let len = file.metadata().await.map_err(failed)?.len();
    send.write_all(&len.to_le_bytes())
        .await
        .map_err(|_| VarInt::from_u32(3))?;
    let mut piece = vec![0; PIECE];
    loop {
        let read = file.read(&mut piece).await.map_err(failed)?;
        if read == 0 {
            break;
        }
        let sent = timeout(STALL, send.write_all(&piece[..read])).await;
        sent.map_err(|_| VarInt::from_u32(3))?
            .map_err(|_| VarInt::from_u32(3))?;
    }
    let _ = send.finish();
    Ok(())
}

/// Fetches a job blob from the peer that granted it.
pub(super) async fn fetch(
    endpoint: &Endpoint,
    commons: &CommonsId,
    hash: BlobHash,
    len_max: u64,
    from: NodeId,
) -> Result<Vec<u8>, FetchError> {
    let failed = |cause| FetchError::Provider { peer: from, cause };
    let connection = endpoint::connect(endpoint, commons, Service::JobBlobs, &from)
        .await
        .map_err(failed)?;
    let bytes = receive(&connection, hash, len_max, from).await;
    connection.close(VarInt::from_u32(0), b"done");
    bytes
}

async fn receive(
    connection: &Connection,
    hash: BlobHash,
    len_max: u64,
    from: NodeId,
) -> Result<Vec<u8>, FetchError> {
    let failed = |cause| FetchError::Provider { peer: from, cause };
    let lost = || failed(close_cause(connection));
    let (mut send, mut recv) = connection.open_bi().await.map_err(|_| lost())?;
    send.write_all(hash.as_bytes()).await.map_err(|_| lost())?;
    send.finish().map_err(|_| lost())?;

    let read = async |buf: &mut [u8]| match timeout(STALL, recv.read_exact(buf)).await {
        Err(_) => Err(ProviderError::Stalled { after: STALL }),
        Ok(Err(error)) => Err(read_cause(connection, &error)),
        Ok(Ok(())) => Ok(()),
    };
    let mut read = read;
    let mut len = [0; 8];
    read(&mut len).await.map_err(failed)?;
    let len = u64::from_le_bytes(len);
    let capacity = usize::try_from(len).ok().filter(|_| len <= len_max);
    let capacity = capacity.ok_or(FetchError::TooLarge { len, len_max })?;

    // Grown as the bytes come, so that a large announced length alone takes no memory.
    let mut bytes = Vec::new();
    while bytes.len() < capacity {
        let start = bytes.len();
        bytes.resize(capacity.min(start + PIECE), 0);
        read(&mut bytes[start..]).await.map_err(failed)?;
    }
    if BlobHash::of(&bytes) == hash {
        Ok(bytes)
    } else {
        Err(failed(ProviderError::BadData))
    }
}

fn read_cause(connection: &Connection, error: &ReadExactError) -> ProviderError {
    match error {
        ReadExactError::ReadError(ReadError::Reset(code)) if *code == CODE_PERMISSION => {
            ProviderError::Refused
        }
        ReadExactError::ReadError(ReadError::Reset(_)) | ReadExactError::FinishedEarly(_) => {
            ProviderError::Withdrew
        }
        ReadExactError::ReadError(_) => close_cause(connection),
    }
}
