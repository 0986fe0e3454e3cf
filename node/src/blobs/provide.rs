//! Serves model files to members with the iroh-blobs protocol.
//!
//! Only single blobs by their own hash, and the question what we hold of them: pushes, multi-blob
//! requests and ranges beyond the root are refused. A blob that is a list of hashes would otherwise
//! give access to every blob it names.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use hearth_protocol::id::{BlobHash, NodeId};
use iroh::endpoint::{Connection, RecvStream, SendStream, VarInt};
use iroh_blobs::{
    protocol::Request,
    provider::{self, StreamPair, events::EventSender},
    util,
};
use tokio::time::timeout;
use tracing::debug;

use super::{
    Served, Shared,
    endpoint::{CODE_BUSY, CODE_PERMISSION},
};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest a peer may read nothing of what it asked for.
const STALL: Duration = Duration::from_secs(30);

/// Serves one connection until it closes.
pub(super) async fn serve(shared: &Arc<Shared>, connection: Connection, peer: NodeId) {
    if !shared.members.admit(peer, &connection) {
        debug!(%peer, "refused to serve blobs");
        return;
    }
    while let Ok((send, recv)) = connection.accept_bi().await {
        tokio::spawn(answer(shared.clone(), peer, send, recv));
    }
}

async fn answer(shared: Arc<Shared>, peer: NodeId, mut send: SendStream, mut recv: RecvStream) {
    let Ok(Ok((request, _))) = timeout(REQUEST_TIMEOUT, Request::read_async(&mut recv)).await
    else {
        return;
    };
    let store = shared.store.api();
    // A closed stream is already closed: nothing is left to do about it here.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "iroh-blobs' enum; all else is refused"
    )]
    match request {
        Request::Get(request) if request.ranges.is_blob() => {
            let hash = BlobHash::from_bytes(*request.hash.as_bytes());
            let Some(_turn) = shared.turns.wait(peer).await else {
                debug!(%peer, "too many wait to be served");
                let _ = send.reset(CODE_BUSY);
                return;
            };
            let bytes = Arc::new(AtomicU64::new(0));
            let counted = Counted {
                inner: send,
                bytes: bytes.clone(),
            };
            let pair = StreamPair::new(0, recv, counted, EventSender::DEFAULT);
            let outcome = provider::handle_get(pair, store, request).await;
            let bytes = bytes.load(Ordering::Relaxed);
            debug!(%peer, %hash, bytes, finished = outcome.is_ok(), "served");
            shared.turns.took(peer, bytes);
            if bytes > 0
                && shared
                    .served
                    .try_send(Served { peer, hash, bytes })
                    .is_err()
            {
                debug!(%peer, "upload not accounted: queue full");
            }
        }
        Request::Observe(request) => {
            let pair = StreamPair::new(0, recv, send, EventSender::DEFAULT);
            let _ = provider::handle_observe(pair, store, request).await;
        }
        _ => {
            debug!(%peer, "refused a request beyond a single blob");
            let _ = recv.stop(CODE_PERMISSION);
            let _ = send.reset(CODE_PERMISSION);
        }
    }
}

/// A send stream that counts payload bytes; hashes and sizes take the other way, `send`.
struct Counted {
    inner: SendStream,
    bytes: Arc<AtomicU64>,
}

impl util::SendStream for Counted {
    async fn send_bytes(&mut self, bytes: Bytes) -> io::Result<()> {
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        // Who does not read gives its turn to others.
        let sending = util::SendStream::send_bytes(&mut self.inner, bytes);
        timeout(STALL, sending).await??;
        self.bytes.fetch_add(len, Ordering::Relaxed);
        Ok(())
    }

    async fn send(&mut self, buf: &[u8]) -> io::Result<()> {
        util::SendStream::send(&mut self.inner, buf).await
    }

    async fn sync(&mut self) -> io::Result<()> {
        util::SendStream::sync(&mut self.inner).await
    }

    fn reset(&mut self, code: VarInt) -> io::Result<()> {
        util::SendStream::reset(&mut self.inner, code)
    }

    async fn stopped(&mut self) -> io::Result<Option<VarInt>> {
        util::SendStream::stopped(&mut self.inner).await
    }

    fn id(&self) -> u64 {
        util::SendStream::id(&self.inner)
    }
}
