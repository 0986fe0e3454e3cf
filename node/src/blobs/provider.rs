//! One provider of a fetch: the connection, what it holds, and several range requests at once.
//!
//! Several requests rather than larger windows, because one stream with more than a thousand gaps
//! closes the whole connection on lossy links.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, future::try_join_all};
use hearth_protocol::id::{CommonsId, NodeId};
use iroh::endpoint::{Connection, ConnectionError, VarInt};
use iroh_blobs::{
    api::{blobs::Bitfield, remote::GetProgressItem},
    get::{
        GetError, StreamPair,
        fsm::{AtBlobHeaderNextError, DecodeError},
        request::get_verified_size,
    },
    protocol::{ChunkRanges, GetRequest, ObserveRequest},
};
use tokio::{
    select,
    sync::watch,
    time::{sleep, timeout},
};
use tracing::debug;

use super::{
    Shared,
    board::{Board, Next},
    endpoint::{self, CODE_BUSY, CODE_PERMISSION, Service},
    fetch::Want,
    store::raw,
};

/// Range requests in flight to one provider.
const LANES: usize = 4;
/// Longest silence within a request.
const STALL: Duration = Duration::from_secs(10);
/// How long a provider that holds only a part is kept when nobody makes progress.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often an idle lane looks for a slow segment to repeat.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const ATTEMPTS_MAX: u32 = 2;
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Why a provider was of no more use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// The node id is no valid key.
    #[error("its id is not a valid key")]
    BadId,
    /// Nobody answered at its addresses, or it does not serve this commons.
    #[error("it cannot be reached")]
    Unreachable,
    /// It does not serve us this.
    #[error("it refuses to serve this node")]
    Refused,
    /// It serves too many at the moment.
    #[error("it is at its limit")]
    Busy,
    /// It has nothing of the blob.
    #[error("it does not have the blob")]
    NotHeld,
    /// It has only a part, and nobody has the rest.
    #[error("it has only a part of the blob")]
    Incomplete,
    /// It broke a transfer off because its own copy is missing or damaged there.
    #[error("its copy is missing or damaged")]
    Withdrew,
    /// What it sent does not match the hash.
    #[error("it sent bytes that do not match the hash")]
    BadData,
    /// Its blob of this hash has another size than expected.
    #[error("its blob has {got} bytes, not {expected}")]
    SizeMismatch {
        /// The size asked for.
        expected: u64,
        /// The size it has.
        got: u64,
    },
    /// It fell silent.
    #[error("nothing came from it for {} s", after.as_secs())]
    Stalled {
        /// How long it was silent.
        after: Duration,
    },
    /// The connection broke.
    #[error("the connection to it was lost")]
    Lost,
}

impl ProviderError {
    /// Whether another connection may help.
    fn is_passing(&self) -> bool {
        matches!(self, Self::Busy | Self::Stalled { .. } | Self::Lost)
    }
}

/// Why a provider's task ended early.
#[derive(Debug)]
pub(super) enum Failure {
    /// The provider is of no more use; others may be.
    Provider(ProviderError),
    /// Our own store failed; the fetch cannot go on.
    Store(Box<dyn std::error::Error + Send + Sync>),
}

impl From<ProviderError> for Failure {
    fn from(error: ProviderError) -> Self {
        Self::Provider(error)
    }
}

/// One provider of one fetch.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) shared: Arc<Shared>,
    pub(super) commons: CommonsId,
    pub(super) node: NodeId,
    pub(super) want: Want,
    pub(super) board: Arc<Board>,
    /// Verified bytes that came from it.
    pub(super) bytes: Arc<AtomicU64>,
}

impl Provider {
    /// Fetches what the board has to give until it is finished or the provider fails for good.
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut attempt = 1;
        loop {
            let before = self.bytes.load(Ordering::Relaxed);
            let failure = match self.attempt().await {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            if self.bytes.load(Ordering::Relaxed) > before {
                attempt = 1;
            }
            let again = match &failure {
                Failure::Provider(error) => error.is_passing() && attempt < ATTEMPTS_MAX,
                Failure::Store(_) => false,
            };
            debug!(provider = %self.node, hash = %self.want.hash, ?failure, again, "provider failed");
            if !again {
                return Err(failure);
            }
            attempt += 1;
            sleep(RETRY_PAUSE).await;
        }
    }

    async fn attempt(&self) -> Result<(), Failure> {
        let endpoint = &self.shared.endpoint;
        let connection =
            endpoint::connect(endpoint, &self.commons, Service::Blobs, &self.node).await?;
        let outcome = self.drive(&connection).await;
        connection.close(VarInt::from_u32(0), b"done");
        outcome
    }

    async fn drive(&self, connection: &Connection) -> Result<(), Failure> {
        let request = ObserveRequest::new(raw(&self.want.hash));
        let store = self.shared.store.api();
        let mut held = pin!(store.remote().observe(connection.clone(), request));
        let first = match timeout(STALL, held.next()).await {
            Ok(Some(Ok(first))) => first,
            Ok(Some(Err(_)) | None) => return Err(close_cause(connection).into()),
            Err(_) => return Err(ProviderError::Stalled { after: STALL }.into()),
        };
        self.check_size(connection, &first).await?;

        let complete = first.is_complete();
        let (have, watched) = watch::channel(first.ranges.clone());
        let lanes = try_join_all((0..LANES).map(|_| self.lane(connection, watched.clone())));
        if complete {
            return lanes.await.map(drop);
        }
        // It may be fetching too: use what it gets as it gets it.
        let follow = async {
            let mut field = first;
            while let Some(Ok(update)) = held.next().await {
                field.update(&update);
                have.send_replace(field.ranges.clone());
            }
            close_cause(connection)
        };
        select! {
            lanes = lanes => lanes.map(drop),
            lost = follow => Err(lost.into()),
        }
    }

    /// Refuses a provider whose blob has another size, before any of it is stored.
    async fn check_size(&self, connection: &Connection, held: &Bitfield) -> Result<(), Failure> {
        let expected = self.want.size;
        if held.ranges.is_empty() {
            return Err(ProviderError::NotHeld.into());
        }
        if held.size() != expected {
            return Err(ProviderError::SizeMismatch {
                expected,
                got: held.size(),
            }
            .into());
        }
        if !held.is_validated() {
            // It lacks the last chunk and only claims the size; ours is proved by another provider.
            return Ok(());
        }
        let hash = raw(&self.want.hash);
        match timeout(STALL, get_verified_size(connection, &hash)).await {
            Ok(Ok((got, _))) if got == expected => Ok(()),
            Ok(Ok((got, _))) => Err(ProviderError::SizeMismatch { expected, got }.into()),
            Ok(Err(error)) => Err(get_failure(connection, error)),
            Err(_) => Err(ProviderError::Stalled { after: STALL }.into()),
        }
    }

    /// One request after another, until the board is finished.
    async fn lane(
        &self,
        connection: &Connection,
        mut have: watch::Receiver<ChunkRanges>,
    ) -> Result<(), Failure> {
        let mut changes = self.board.changes();
        let mut idle = Duration::ZERO;
        loop {
            changes.mark_unchanged();
            let held = have.borrow_and_update().clone();
            let claim = match self.board.claim(self.node, &held) {
                Next::Finished => return Ok(()),
                Next::Fetch(claim) => claim,
                Next::Wait => {
                    idle = if self.board.is_idle() {
                        idle
                    } else {
                        Duration::ZERO
                    };
                    if idle > PATIENCE {
                        return Err(ProviderError::Incomplete.into());
                    }
                    select! {
                        _ = changes.changed() => {}
                        Ok(()) = have.changed() => idle = Duration::ZERO,
                        () = sleep(LOOK_AGAIN) => idle += LOOK_AGAIN,
                    }
                    continue;
                }
            };
            idle = Duration::ZERO;
            let local = self.shared.store.bitfield(self.want.hash).await;
            let local = local.map_err(|error| Failure::Store(error.into()))?;
            let missing = &claim.ranges - &local.ranges;
            if !missing.is_empty() {
                self.get(connection, missing).await?;
            }
            claim.done();
        }
    }

    /// Fetches ranges into the store.
    async fn get(&self, connection: &Connection, ranges: ChunkRanges) -> Result<(), Failure> {
        let opened = connection.open_bi().await;
        let (send, recv) = opened.map_err(|_| close_cause(connection))?;
        let pair = StreamPair::new(0, recv, send);
        let request = GetRequest::blob_ranges(raw(&self.want.hash), ranges);
        let store = self.shared.store.api();
        let mut events = pin!(store.remote().execute_get(pair, request).stream());
        let mut counted = 0;
        loop {
            match timeout(STALL, events.next()).await {
                Ok(Some(GetProgressItem::Progress(bytes))) => {
                    self.bytes
                        .fetch_add(bytes.saturating_sub(counted), Ordering::Relaxed);
                    counted = counted.max(bytes);
                }
                Ok(Some(GetProgressItem::Done(_))) => return Ok(()),
                Ok(Some(GetProgressItem::Error(error))) => {
                    return Err(get_failure(connection, error));
                }
                Ok(None) => return Err(close_cause(connection).into()),
                Err(_) => return Err(ProviderError::Stalled { after: STALL }.into()),
            }
        }
    }
}

/// What a failed request says about the provider, or about us.
fn get_failure(connection: &Connection, error: GetError) -> Failure {
    if let Some(code) = error.iroh_error_code() {
        return code_cause(code).into();
    }
    if connection.close_reason().is_some() {
        return close_cause(connection).into();
    }
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "iroh-blobs' enums; all else is a loss"
    )]
    match error {
        GetError::LocalFailure { source, .. } => Failure::Store(format!("{source:#}").into()),
        GetError::AtBlobHeaderNext {
            source: AtBlobHeaderNextError::NotFound { .. },
            ..
        } => ProviderError::NotHeld.into(),
        GetError::Decode { source, .. } => match source {
            DecodeError::ParentHashMismatch { .. } | DecodeError::LeafHashMismatch { .. } => {
                ProviderError::BadData.into()
            }
            DecodeError::Write { source, .. } => Failure::Store(source.into()),
            DecodeError::Read { .. } => ProviderError::Lost.into(),
            _ => ProviderError::Withdrew.into(),
        },
        _ => ProviderError::Lost.into(),
    }
}

/// Why a connection is closed.
pub(super) fn close_cause(connection: &Connection) -> ProviderError {
    match connection.close_reason() {
        Some(ConnectionError::ApplicationClosed(close))
            if close.error_code != VarInt::from_u32(0) =>
        {
            code_cause(close.error_code)
        }
        None => ProviderError::Withdrew,
        Some(_) => ProviderError::Lost,
    }
}

fn code_cause(code: VarInt) -> ProviderError {
    match code {
        CODE_PERMISSION => ProviderError::Refused,
        CODE_BUSY => ProviderError::Busy,
        _ => ProviderError::Withdrew,
    }
}
