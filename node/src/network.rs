//! The node among the members of its commons: libp2p behind plain data.
//!
//! Commands go in, events come out, both through bounded channels, and one task owns the swarm.
//! Only members on the allow list can hold a connection, so gossip, channels and routing reach
//! members alone; strangers knock at the join door, which is not here. This room knows no rule of
//! the commons: it neither reads a payload nor decides who is a member, and no type of libp2p
//! leaves it. Start with [`NetworkCommand`] and [`NetworkEvent`], then `driver.rs`.

mod behaviour;
mod channel;
mod command;
mod contact;
mod driver;
mod event;
mod frame;
mod identity;
mod link;
mod topic;
mod translate;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::net::SocketAddr;

use hearth_protocol::id::CommonsId;
use libp2p::TransportError;
use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::{Multiaddr, Protocol};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

pub(crate) use command::NetworkCommand;
pub(crate) use event::{GossipId, NetworkEvent, Verdict};
pub(crate) use topic::{Channel, Topic};

use driver::Driver;

/// Commands that may wait: two for each member at a start, and some words to each.
const COMMANDS_MAX: usize = 4 * hearth_protocol::limits::MEMBERS_MAX;

/// What the network needs to know once, at the start.
pub(crate) struct NetworkConfig {
    /// The node's ed25519 seed; wiped from memory once the keys are made.
    pub(crate) seed: [u8; 32],
    /// The commons whose name every topic and protocol carries.
    pub(crate) commons: CommonsId,
    /// Sockets to listen on, each opened as TCP and as QUIC over UDP. Port 0 lets the system choose.
    pub(crate) listen: Vec<SocketAddr>,
    /// Whether members are looked for on the local network.
    pub(crate) mdns: bool,
    /// Longest frame on a channel, in bytes.
    pub(crate) frame_len_max: usize,
    /// Longest gossip payload, in bytes.
    pub(crate) gossip_len_max: usize,
    /// Name and version of the program, told to members.
    pub(crate) agent: String,
}

impl fmt::Debug for NetworkConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkConfig")
            .field("commons", &self.commons)
            .field("listen", &self.listen)
            .field("mdns", &self.mdns)
            .finish_non_exhaustive()
    }
}

/// Why the network did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetworkError {
    /// The seed gives no key pair.
    #[error("the identity seed is not an ed25519 key")]
    Key(#[source] libp2p::identity::DecodingError),
    /// The TCP handshake could not be set up.
    #[error("setting up the noise handshake")]
    Noise(#[source] libp2p::noise::Error),
    /// Gossip refused its own settings: a bug that a test would show.
    #[error("setting up gossip: {reason}")]
    Gossip {
        /// What gossipsub says.
        reason: &'static str,
    },
    /// The multicast socket could not be opened.
    #[error("looking for members on the local network")]
    Mdns(#[source] io::Error),
    /// A socket could not be opened.
    #[error("listening on {addr}")]
    Listen {
        /// The address as a multiaddr.
        addr: String,
        /// What the system says.
        #[source]
        source: TransportError<io::Error>,
    },
}

/// Why a command did not reach the network task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandError {
    /// Too many commands wait; try again after the next event.
    #[error("the network is busy: {COMMANDS_MAX} commands wait")]
    Busy,
    /// The network task ended.
    #[error("the network has stopped")]
    Stopped,
}

/// The one way to a running network. Dropping it stops the network.
#[derive(Debug)]
pub(crate) struct NetworkHandle {
    commands: mpsc::Sender<NetworkCommand>,
    listening: watch::Receiver<Vec<String>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl NetworkHandle {
    /// Hands a command to the network without waiting.
    ///
    /// # Errors
    /// [`CommandError`] when the queue is full or the network stopped; the command is dropped.
    pub(crate) fn command(&self, command: NetworkCommand) -> Result<(), CommandError> {
        self.commands
            .try_send(command)
            .map_err(|refused| match refused {
                mpsc::error::TrySendError::Full(_) => CommandError::Busy,
                mpsc::error::TrySendError::Closed(_) => CommandError::Stopped,
            })
    }

    /// Returns the addresses in use, as multiaddrs without `/p2p`, once every listener has one.
    /// Empty when there is nothing to listen on or the network stopped.
    pub(crate) async fn listening(&self) -> Vec<String> {
        let mut listening = self.listening.clone();
        let bound = listening.wait_for(|addrs| !addrs.is_empty()).await;
        bound.map_or_else(|_| Vec::new(), |addrs| addrs.clone())
    }

    /// Says goodbye to every member and waits until the network has stopped.
    pub(crate) async fn shutdown(self) {
        self.stop.send_replace(true);
        if let Err(failure) = self.task.await
            && failure.is_panic()
        {
            tracing::error!(%failure, "network task ended in a bug");
        }
    }
}

/// Opens the sockets and starts the network task; its events go to `events`.
///
/// A slow reader of `events` slows the network down, it never makes it grow. Must be called inside
/// a tokio runtime; nothing is waited for.
///
/// # Errors
/// [`NetworkError`] when a key, a socket or a setting is refused.
pub(crate) fn start(
    mut config: NetworkConfig,
    events: mpsc::Sender<NetworkEvent>,
) -> Result<NetworkHandle, NetworkError> {
    let names = topic::Names::new(&config.commons);
    let keypair = identity::keypair(&mut config.seed).map_err(NetworkError::Key)?;
    let me = identity::node_id_of_key(&keypair);
    let behaviour = behaviour::Behaviour::new(&keypair, &names, &config)?;
    let mut swarm = behaviour::swarm(keypair, behaviour)?;
    let mut listeners: Vec<ListenerId> = Vec::new();
    for socket in &config.listen {
        for addr in listen_addrs(*socket) {
            let listener =
                swarm
                    .listen_on(addr.clone())
                    .map_err(|source| NetworkError::Listen {
                        addr: addr.to_string(),
                        source,
                    })?;
            listeners.push(listener);
        }
    }
    let (commands, command_queue) = mpsc::channel(COMMANDS_MAX);
    let (bound, listening) = watch::channel(Vec::new());
    let (stop, stopped) = watch::channel(false);
    let driver = Driver::new(driver::Parts {
        me,
        names,
        swarm,
        listeners,
        bound,
        commands: command_queue,
        events,
        stop: stopped,
        frame_len_max: config.frame_len_max,
        gossip_len_max: config.gossip_len_max,
    });
    let task = tokio::spawn(driver.run());
    Ok(NetworkHandle {
        commands,
        listening,
        stop,
        task,
    })
}

/// Returns the TCP and the QUIC form of a socket address.
fn listen_addrs(socket: SocketAddr) -> [Multiaddr; 2] {
    let host = Multiaddr::from(socket.ip());
    let tcp = host.clone().with(Protocol::Tcp(socket.port()));
    let quic = host
        .with(Protocol::Udp(socket.port()))
        .with(Protocol::QuicV1);
    [tcp, quic]
}
