//! The join protocol: one small question, one small answer, open to anybody.
//!
//! The only thing a stranger reaches, hence bounded in every direction: size, time, how many at once
//! and how often from one address. What is asked and answered is for the node to know.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use hearth_protocol::id::{CommonsId, NodeId};
use iroh::{
    Endpoint,
    endpoint::{Connection, ConnectionError, RecvStream, SendStream, VarInt},
};
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::timeout,
};
use tracing::debug;

use super::{
    Shared,
    endpoint::{self, CODE_BUSY, CODE_PERMISSION, Service},
};

/// Longest question and longest answer, in bytes.
const FRAME_MAX: usize = 64 * 1024;
/// The whole exchange, on either side.
const TIME_BOX: Duration = Duration::from_secs(10);
/// How long a knocking node waits for the connection itself.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(6);
const STRANGERS_MAX: usize = 16;
/// Knocks one address may make in a burst, and the pause after which it gets one more.
const BURST: u32 = 32;
const REFILL: Duration = Duration::from_secs(1);
/// Addresses remembered for rate limiting.
const SOURCES_MAX: usize = 1024;

/// A stranger's question.
#[derive(Debug)]
pub struct DoorCall {
    /// Who asks; the connection proves it.
    pub peer: NodeId,
    /// At most 64 KiB.
    pub request: Vec<u8>,
    /// Takes the answer, at most 64 KiB; dropping it refuses.
    pub reply: oneshot::Sender<Vec<u8>>,
}

/// Why a knock brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum KnockError {
    /// The node id is no valid key.
    #[error("{0} is not a valid node id")]
    BadId(NodeId),
    /// The question is larger than the protocol carries.
    #[error("the question has {len} bytes, more than {FRAME_MAX}")]
    TooLarge {
        /// Its length in bytes.
        len: usize,
    },
    /// No connection came about.
    #[error("nobody answered at {}", list(.addrs))]
    NobodyAnswered {
        /// The addresses tried; empty when the remembered ones were.
        addrs: Vec<SocketAddr>,
    },
    /// Somebody answered who does not serve this commons.
    #[error("the node at {} is not in this commons", list(.addrs))]
    NotInCommons {
        /// The addresses tried.
        addrs: Vec<SocketAddr>,
    },
    /// The node would not answer the question.
    #[error("the node refused to answer")]
    Refused,
    /// The node answers too many at the moment.
    #[error("the node is busy; try again in a minute")]
    Busy,
    /// The connection stood but the answer did not come in time.
    #[error("no answer within {} s", TIME_BOX.as_secs())]
    TimedOut,
    /// The connection broke.
    #[error("the connection to the node was lost")]
    Lost,
}

fn list(addrs: &[SocketAddr]) -> String {
    if addrs.is_empty() {
        return "its known addresses".to_owned();
    }
    addrs
        .iter()
        .map(SocketAddr::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

/// The serving side: the way to the node, and the limits.
#[derive(Debug)]
pub(super) struct Door {
    calls: mpsc::Sender<DoorCall>,
    slots: Semaphore,
    sources: Mutex<BTreeMap<IpAddr, Bucket>>,
}

/// Knocks left to one address.
#[derive(Debug)]
struct Bucket {
    left: u32,
    refilled: Instant,
}

impl Door {
    pub(super) fn new(calls: mpsc::Sender<DoorCall>) -> Self {
        Self {
            calls,
            slots: Semaphore::new(STRANGERS_MAX),
            sources: Mutex::default(),
        }
    }

    /// Takes one knock from an address' allowance.
    fn within_rate(&self, source: IpAddr, now: Instant) -> bool {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.len() >= SOURCES_MAX {
            sources.retain(|_, bucket| now.duration_since(bucket.refilled) < REFILL * BURST);
            // Still full: more sources within half a minute than any commons has newcomers.
            if sources.len() >= SOURCES_MAX && !sources.contains_key(&source) {
                return false;
            }
        }
        let bucket = sources.entry(source).or_insert(Bucket {
            left: BURST,
            refilled: now,
        });
        let refills = now.duration_since(bucket.refilled).as_secs() / REFILL.as_secs();
        if let Some(refills) = u32::try_from(refills).ok().filter(|refills| *refills > 0) {
            bucket.left = bucket.left.saturating_add(refills).min(BURST);
            bucket.refilled = now;
        }
        let granted = bucket.left > 0;
        bucket.left = bucket.left.saturating_sub(1);
        granted
    }

    /// Passes one question on and the answer back; the error is the code to close with.
    async fn answer(&self, connection: &Connection, peer: NodeId) -> Result<(), VarInt> {
        let (mut send, mut recv) = connection.accept_bi().await.map_err(|_| CODE_PERMISSION)?;
        let request = read_frame(&mut recv).await.ok_or(CODE_PERMISSION)?;
        let (reply, answer) = oneshot::channel();
        self.calls
            .try_send(DoorCall {
                peer,
                request,
                reply,
            })
            .map_err(|_| CODE_BUSY)?;
        let answer = answer.await.map_err(|_| CODE_PERMISSION)?;
        write_frame(&mut send, &answer)
            .await
            .ok_or(CODE_PERMISSION)?;
        // The asker closes once it has read the answer.
        connection.closed().await;
        Ok(())
    }
}

/// Serves one stranger.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    connection: Connection,
    peer: NodeId,
    source: Option<IpAddr>,
) {
    let door = &shared.door;
    let within_rate = source.is_none_or(|source| door.within_rate(source, Instant::now()));
    let (true, Ok(_slot)) = (within_rate, door.slots.try_acquire()) else {
        debug!(%peer, "turned a knock away: too many");
        return connection.close(CODE_BUSY, b"limit");
    };
    match timeout(TIME_BOX, door.answer(&connection, peer)).await {
        Ok(Ok(())) => debug!(%peer, "answered a knock"),
        Ok(Err(code)) => connection.close(code, b"refused"),
        Err(_) => connection.close(CODE_BUSY, b"time"),
    }
}

/// Asks one question at the door of a node.
pub(super) async fn knock(
    endpoint: &Endpoint,
    commons: &CommonsId,
    peer: NodeId,
    addrs: &[SocketAddr],
    request: Vec<u8>,
) -> Result<Vec<u8>, KnockError> {
    if request.len() > FRAME_MAX {
        return Err(KnockError::TooLarge { len: request.len() });
    }
    let addr = endpoint::addr_of(&peer, addrs).ok_or(KnockError::BadId(peer))?;
    let nobody = || KnockError::NobodyAnswered {
        addrs: addrs.to_vec(),
    };
    let exchange = async {
        let alpn = Service::Join.alpn(commons);
        let connecting = timeout(CONNECT_TIMEOUT, endpoint.connect(addr, &alpn)).await;
        let connection = connecting.map_err(|_| nobody())?.map_err(|error| {
            // A refused handshake is the only failure that means somebody is there.
            if speaks_other_protocols(&error) {
                KnockError::NotInCommons {
                    addrs: addrs.to_vec(),
                }
            } else {
                nobody()
            }
        })?;
        let answer = ask(&connection, &request).await;
        let answer = answer.ok_or_else(|| closed_because(&connection));
        connection.close(VarInt::from_u32(0), b"thanks");
        answer
    };
    timeout(TIME_BOX, exchange)
        .await
        .unwrap_or(Err(KnockError::TimedOut))
}

async fn ask(connection: &Connection, request: &[u8]) -> Option<Vec<u8>> {
    let (mut send, mut recv) = connection.open_bi().await.ok()?;
    write_frame(&mut send, request).await?;
    read_frame(&mut recv).await
}

/// TLS alert 120, no application protocol, as QUIC carries it.
fn speaks_other_protocols(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(ConnectionError::ConnectionClosed(close)) = error.downcast_ref() {
            return u64::from(close.error_code) == 0x100 + 120;
        }
        next = error.source();
    }
    false
}

fn closed_because(connection: &Connection) -> KnockError {
    match connection.close_reason() {
        Some(ConnectionError::ApplicationClosed(close)) if close.error_code == CODE_BUSY => {
            KnockError::Busy
        }
        Some(ConnectionError::ApplicationClosed(_)) => KnockError::Refused,
        _ => KnockError::Lost,
    }
}

async fn read_frame(recv: &mut RecvStream) -> Option<Vec<u8>> {
    let mut len = [0; 4];
    recv.read_exact(&mut len).await.ok()?;
    let len = usize::try_from(u32::from_le_bytes(len))
        .ok()
        .filter(|len| *len <= FRAME_MAX)?;
    let mut frame = vec![0; len];
    recv.read_exact(&mut frame).await.ok()?;
    Some(frame)
}

async fn write_frame(send: &mut SendStream, frame: &[u8]) -> Option<()> {
    let len = u32::try_from(frame.len())
        .ok()
        .filter(|_| frame.len() <= FRAME_MAX)?;
    send.write_all(&len.to_le_bytes()).await.ok()?;
    send.write_all(frame).await.ok()?;
    send.finish().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_gets_a_burst_and_then_one_knock_a_second() {
        // B11
        let door = Door::new(mpsc::channel(1).0);
        let (start, source) = (Instant::now(), IpAddr::from([192, 0, 2, 1]));
        let granted = (0..100).filter(|_| door.within_rate(source, start)).count();
        assert_eq!(granted, 32, "the burst");
        assert!(
            door.within_rate(IpAddr::from([192, 0, 2, 2]), start),
            "another address is free"
        );
        assert!(
            door.within_rate(source, start + REFILL),
            "one more after a second"
        );
        assert!(!door.within_rate(source, start + REFILL), "but not two");
    }
}
