//! From libp2p's events to ours: one flat match, no state, no decision.

use std::error::Error;
use std::io;

use libp2p::allow_block_list::NotAllowed;
use libp2p::core::ConnectedPoint;
use libp2p::core::transport::ListenerId;
use libp2p::gossipsub::{self, TopicHash};
use libp2p::multiaddr::Multiaddr;
use libp2p::swarm::{ConnectionError, ConnectionId, DialError, ListenError, SwarmEvent};
use libp2p::{PeerId, identify, kad, mdns, ping};

use super::behaviour::BehaviourEvent;

/// Longest reason for people, in bytes.
const REASON_LEN_MAX: usize = 200;

/// What happened in the swarm, as far as we care.
#[derive(Debug)]
pub(super) enum Happening {
    Bound {
        listener: ListenerId,
        addr: Multiaddr,
    },
    Unbound {
        listener: ListenerId,
        addrs: Vec<Multiaddr>,
    },
    Established {
        peer: PeerId,
        connection: ConnectionId,
        addr: Multiaddr,
        dialled: bool,
    },
    Closed {
        peer: PeerId,
        connection: ConnectionId,
        reason: String,
    },
    Unreached {
        peer: PeerId,
        failure: DialFailure,
    },
    Refused {
        peer: Option<PeerId>,
        what: &'static str,
    },
    Identified {
        peer: PeerId,
        family: String,
        addrs: Vec<Multiaddr>,
    },
    Unidentified {
        peer: PeerId,
        connection: ConnectionId,
    },
    Unresponsive {
        connection: ConnectionId,
    },
    Gossip {
        relay: PeerId,
        hash: Vec<u8>,
        message: gossipsub::Message,
    },
    Subscribed {
        peer: PeerId,
        topic: TopicHash,
    },
    Found {
        members: Vec<(PeerId, Multiaddr)>,
    },
}

/// Why a dial failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DialFailure {
    /// There was nowhere to dial.
    NoAddress,
    /// We do not allow this peer.
    NotAllowed,
    /// It did not work, in words for people.
    Failed(String),
}

pub(super) fn translate(event: SwarmEvent<BehaviourEvent>) -> Option<Happening> {
    match event {
        SwarmEvent::Behaviour(event) => translate_behaviour(event),
        SwarmEvent::NewListenAddr {
            listener_id,
            address,
        } => Some(Happening::Bound {
            listener: listener_id,
            addr: address,
        }),
        SwarmEvent::ExpiredListenAddr {
            listener_id,
            address,
        } => Some(Happening::Unbound {
            listener: listener_id,
            addrs: vec![address],
        }),
        SwarmEvent::ListenerClosed {
            listener_id,
            addresses,
            ..
        } => Some(Happening::Unbound {
            listener: listener_id,
            addrs: addresses,
        }),
        SwarmEvent::ConnectionEstablished {
            peer_id,
            connection_id,
            endpoint,
            ..
        } => Some(established(peer_id, connection_id, endpoint)),
        SwarmEvent::ConnectionClosed {
            peer_id,
            connection_id,
            cause,
            ..
        } => {
            let (connection, reason) = (connection_id, close_reason(cause));
            Some(Happening::Closed {
                peer: peer_id,
                connection,
                reason,
            })
        }
        SwarmEvent::OutgoingConnectionError { peer_id, error, .. } => {
            peer_id.map(|peer| Happening::Unreached {
                peer,
                failure: dial_failure(&error),
            })
        }
        SwarmEvent::IncomingConnectionError { peer_id, error, .. } => Some(Happening::Refused {
            peer: peer_id,
            what: refusal(&error),
        }),
        SwarmEvent::ListenerError { error, .. } => {
            tracing::debug!(%error, "listener stumbled");
            None
        }
        SwarmEvent::IncomingConnection { .. }
        | SwarmEvent::Dialing { .. }
        | SwarmEvent::NewExternalAddrCandidate { .. }
        | SwarmEvent::ExternalAddrConfirmed { .. }
        | SwarmEvent::ExternalAddrExpired { .. }
        | SwarmEvent::NewExternalAddrOfPeer { .. } => None,
        // The list is open-ended upstream.
        _ => None,
    }
}

fn established(peer: PeerId, connection: ConnectionId, endpoint: ConnectedPoint) -> Happening {
    let (addr, dialled) = match endpoint {
        ConnectedPoint::Dialer { address, .. } => (address, true),
        ConnectedPoint::Listener { send_back_addr, .. } => (send_back_addr, false),
    };
    Happening::Established {
        peer,
        connection,
        addr,
        dialled,
    }
}

fn translate_behaviour(event: BehaviourEvent) -> Option<Happening> {
    match event {
        BehaviourEvent::Gossip(event) => translate_gossip(event),
        BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
            let (family, addrs) = (info.protocol_version, info.listen_addrs);
            Some(Happening::Identified {
                peer: peer_id,
                family,
                addrs,
            })
        }
        BehaviourEvent::Identify(identify::Event::Error {
            peer_id,
            connection_id,
            ..
        }) => Some(Happening::Unidentified {
            peer: peer_id,
            connection: connection_id,
        }),
        BehaviourEvent::Identify(identify::Event::Sent { .. } | identify::Event::Pushed { .. }) => {
            None
        }
        BehaviourEvent::Ping(ping::Event {
            connection, result, ..
        }) => match result {
            Ok(_) | Err(ping::Failure::Unsupported) => None,
            Err(ping::Failure::Timeout | ping::Failure::Other { .. }) => {
                Some(Happening::Unresponsive { connection })
            }
        },
        BehaviourEvent::Routing(kad::Event::OutboundQueryProgressed {
            result: kad::QueryResult::GetClosestPeers(result),
            ..
        }) => {
            let peers = match result {
                Ok(found) => found.peers,
                Err(kad::GetClosestPeersError::Timeout { peers, .. }) => peers,
            };
            let members = peers
                .into_iter()
                .flat_map(|peer| peer.addrs.into_iter().map(move |addr| (peer.peer_id, addr)));
            Some(Happening::Found {
                members: members.collect(),
            })
        }
        BehaviourEvent::Local(mdns::Event::Discovered(members)) => {
            Some(Happening::Found { members })
        }
        BehaviourEvent::Routing(_) | BehaviourEvent::Local(mdns::Event::Expired(_)) => None,
        BehaviourEvent::Streams(()) => None,
        BehaviourEvent::Allowed(never) | BehaviourEvent::Limits(never) => match never {},
    }
}

fn translate_gossip(event: gossipsub::Event) -> Option<Happening> {
    match event {
        gossipsub::Event::Message {
            propagation_source,
            message_id,
            message,
        } => {
            let (relay, hash) = (propagation_source, message_id.0);
            Some(Happening::Gossip {
                relay,
                hash,
                message,
            })
        }
        gossipsub::Event::Subscribed { peer_id, topic } => Some(Happening::Subscribed {
            peer: peer_id,
            topic,
        }),
        gossipsub::Event::SlowPeer { peer_id, .. } => Some(Happening::Refused {
            peer: Some(peer_id),
            what: "gossip for a slow member",
        }),
        gossipsub::Event::Unsubscribed { .. } | gossipsub::Event::GossipsubNotSupported { .. } => {
            None
        }
    }
}

/// Says in fixed words why a connection was not let in.
fn refusal(error: &ListenError) -> &'static str {
    match error {
        ListenError::Denied { cause } if cause.downcast_ref::<NotAllowed>().is_some() => {
            "connection of a non-member"
        }
        ListenError::Denied { .. } => "connection over the limits",
        ListenError::WrongPeerId { .. }
        | ListenError::LocalPeerId { .. }
        | ListenError::Aborted
        | ListenError::Transport(_) => "incoming handshake failed",
    }
}

fn dial_failure(error: &DialError) -> DialFailure {
    match error {
        DialError::NoAddresses => DialFailure::NoAddress,
        DialError::Denied { cause } if cause.downcast_ref::<NotAllowed>().is_some() => {
            DialFailure::NotAllowed
        }
        DialError::Transport(attempts) => {
            let last = attempts
                .last()
                .map(|(addr, error)| format!("{}: {addr}", root(error)));
            DialFailure::Failed(bounded(last.unwrap_or_else(|| "no transport".to_owned())))
        }
        DialError::LocalPeerId { .. }
        | DialError::DialPeerConditionFalse(_)
        | DialError::Aborted
        | DialError::WrongPeerId { .. }
        | DialError::Denied { .. } => DialFailure::Failed(bounded(error.to_string())),
    }
}

/// Returns what an error says at its root: the layers above it print nothing of their own.
fn root(error: &dyn Error) -> &dyn Error {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest
}

fn close_reason(cause: Option<ConnectionError>) -> String {
    match cause {
        None => "closed by this node".to_owned(),
        Some(ConnectionError::KeepAliveTimeout) => "idle".to_owned(),
        Some(ConnectionError::IO(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            "closed by the other side".to_owned()
        }
        Some(ConnectionError::IO(error)) => bounded(error.to_string()),
    }
}

fn bounded(mut text: String) -> String {
    if text.len() > REASON_LEN_MAX {
        let end = (0..=REASON_LEN_MAX)
            .rev()
            .find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
    }
    text
}
