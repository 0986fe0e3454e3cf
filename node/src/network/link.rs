//! The life of a connected peer: established, greeted, closed, and dialled again.
//!
//! A simultaneous dial leaves two connections; the side with the lower id closes the younger one.
//! Any other second connection means that the peer lost the first, most likely by a crash: nobody
//! dials a peer that it is connected to. Then all of them are closed, because gossip introduces
//! itself on the first connection of a peer alone.
//! Nothing is told to the daemon before the peer has said that it speaks our commons.

use std::time::{Duration, Instant};

use hearth_protocol::id::NodeId;
use libp2p::multiaddr::Multiaddr;
use libp2p::swarm::ConnectionId;
use libp2p::{PeerId, Stream};

use super::contact::{ADDRS_MAX, dialable};
use super::driver::Driver;
use super::event::NetworkEvent;
use super::identity::{node_id, peer_id};
use super::topic::Channel;
use super::translate::DialFailure;

/// Failed dials after which, and every so many after which, members are asked for an address.
const LOOKUP_FAILURES: u32 = 4;
/// How far apart the two connections of a simultaneous dial may be, and how long both may stay.
const SIMULTANEOUS_MAX: Duration = Duration::from_secs(1);

/// A peer with at least one connection.
#[derive(Debug)]
pub(super) struct Link {
    /// Its connections, oldest first.
    pub(super) connections: Vec<ConnectionId>,
    /// Where it is, as seen on the oldest.
    pub(super) addr: String,
    /// Whether it said that it speaks our commons; before that it does not count as connected.
    pub(super) is_greeted: bool,
    /// When the oldest was made.
    made: Instant,
    /// Streams it opened before it was greeted; the newest for each channel.
    held: Vec<(Channel, Stream)>,
}

impl Link {
    pub(super) fn new(addr: String, made: Instant) -> Self {
        Self {
            connections: Vec::new(),
            addr,
            is_greeted: false,
            made,
            held: Vec::new(),
        }
    }

    /// Keeps a stream for later.
    pub(super) fn hold(&mut self, channel: Channel, stream: Stream) {
        self.held.retain(|(held, _)| *held != channel);
        self.held.push((channel, stream));
    }

    /// Notes the greeting and returns the streams kept until now.
    pub(super) fn greet(&mut self) -> Vec<(Channel, Stream)> {
        self.is_greeted = true;
        std::mem::take(&mut self.held)
    }
}

impl Driver {
    pub(super) fn note_established(
        &mut self,
        peer_id: PeerId,
        connection: ConnectionId,
        addr: Multiaddr,
        dialled: bool,
    ) {
        let Some(peer) = node_id(&peer_id) else {
            self.parts.swarm.close_connection(connection);
            self.drop_of(None, "peer whose key is not ed25519");
            return;
        };
        let now = Instant::now();
        let plain = dialable(addr.clone());
        let link = self.links.entry(peer).or_insert_with(|| {
            let addr = plain
                .as_ref()
                .map_or_else(|| addr.to_string(), Multiaddr::to_string);
            Link::new(addr, now)
        });
        link.connections.push(connection);
        if link.connections.len() > 1 {
            if now.duration_since(link.made) > SIMULTANEOUS_MAX {
                self.start_anew(peer_id);
            } else if self.parts.me < peer {
                // One side decides, so that the two do not close each other's choice.
                self.parts.swarm.close_connection(connection);
            } else {
                self.doubles.insert(peer, now + SIMULTANEOUS_MAX);
            }
        }
        self.contacts
            .connected(now, &peer, plain.filter(|_| dialled));
    }

    /// Closes every connection to a peer; both sides dial again.
    fn start_anew(&mut self, peer_id: PeerId) {
        // Already gone is as good.
        let _ = self.parts.swarm.disconnect_peer_id(peer_id);
    }

    /// Ends links of which the other side should long have closed one connection.
    pub(super) fn end_doubles(&mut self, now: Instant) {
        let due = |(peer, until): (&NodeId, &Instant)| (*until <= now).then_some(*peer);
        let late: Vec<NodeId> = self.doubles.iter().filter_map(due).collect();
        for peer in late {
            self.doubles.remove(&peer);
            if let Some(peer_id) = peer_id(&peer) {
                self.start_anew(peer_id);
            }
        }
    }

    pub(super) fn note_closed(
        &mut self,
        peer_id: PeerId,
        connection: ConnectionId,
        reason: String,
    ) {
        let Some(peer) = node_id(&peer_id) else {
            return;
        };
        let Some(link) = self.links.get_mut(&peer) else {
            return;
        };
        link.connections.retain(|open| *open != connection);
        self.doubles.remove(&peer);
        if !link.connections.is_empty() {
            return;
        }
        let is_greeted = link.is_greeted;
        // What came before the end is told before the end.
        for report in self.channels.waiting() {
            self.note_report(report);
        }
        self.links.remove(&peer);
        for channel in self.channels.close(peer) {
            self.outbox
                .push_back(NetworkEvent::ChannelClosed { peer, channel });
        }
        self.retry_later(peer, peer_id);
        if is_greeted {
            self.outbox
                .push_back(NetworkEvent::Disconnected { peer, reason });
        } else {
            self.outbox
                .push_back(NetworkEvent::DialFailed { peer, reason });
        }
    }

    pub(super) fn note_unreached(&mut self, peer_id: PeerId, failure: DialFailure) {
        let Some(peer) = node_id(&peer_id).filter(|peer| self.contacts.is_allowed(peer)) else {
            return;
        };
        if self.links.contains_key(&peer) {
            // A second dial lost against the first: nothing is wrong.
            return;
        }
        let is_counted = self.retry_later(peer, peer_id);
        match failure {
            DialFailure::Failed(reason) if is_counted => {
                self.outbox
                    .push_back(NetworkEvent::DialFailed { peer, reason });
            }
            // Routine for members never seen; saying it each minute helps nobody.
            DialFailure::Failed(_) | DialFailure::NoAddress | DialFailure::NotAllowed => {}
        }
    }

    /// Waits longer before the next dial, and asks the others now and then where the member is.
    /// Returns whether the failure counted.
    pub(super) fn retry_later(&mut self, peer: NodeId, peer_id: PeerId) -> bool {
        let failures = self.contacts.failed(Instant::now(), &peer);
        if failures.is_some_and(|failures| failures.is_multiple_of(LOOKUP_FAILURES))
            && !self.links.is_empty()
        {
            self.parts
                .swarm
                .behaviour_mut()
                .routing
                .get_closest_peers(peer_id);
        }
        failures.is_some()
    }

    pub(super) fn note_identified(&mut self, peer_id: PeerId, family: &str, addrs: Vec<Multiaddr>) {
        let Some(peer) = node_id(&peer_id) else {
            return;
        };
        if family != self.parts.names.family {
            // Already gone is as good.
            let _ = self.parts.swarm.disconnect_peer_id(peer_id);
            self.drop_of(Some(peer), "peer of another commons");
            return;
        }
        let addrs: Vec<Multiaddr> = addrs
            .into_iter()
            .filter_map(dialable)
            .take(ADDRS_MAX)
            .collect();
        let fresh = self.links.get_mut(&peer).filter(|link| !link.is_greeted);
        let is_new = fresh.is_some();
        if let Some(link) = fresh {
            let held = link.greet();
            let addr = link.addr.clone();
            self.contacts.greeted(Instant::now(), &peer);
            self.outbox
                .push_back(NetworkEvent::Connected { peer, addr });
            self.tell_subscriptions(peer, peer_id);
            for (channel, stream) in held {
                self.channels.accept(peer, channel, stream);
            }
        }
        if self.contacts.remember(Instant::now(), peer, &addrs) {
            let addrs = addrs.iter().map(Multiaddr::to_string).collect();
            self.outbox.push_back(NetworkEvent::Learned { peer, addrs });
        } else if !is_new {
            return;
        }
        // Told anew as a whole, so that a member that moves often does not grow the table.
        let routing = &mut self.parts.swarm.behaviour_mut().routing;
        routing.remove_peer(&peer_id);
        for addr in self.contacts.addrs(&peer) {
            routing.add_address(&peer_id, addr.clone());
        }
    }

    /// Tells the subscriptions that came before the greeting.
    fn tell_subscriptions(&mut self, peer: NodeId, peer_id: PeerId) {
        let gossip = &self.parts.swarm.behaviour().gossip;
        let topics = gossip.all_peers().find(|(known, _)| **known == peer_id);
        for name in topics.into_iter().flat_map(|(_, topics)| topics) {
            if let Some(topic) = self.parts.names.topic(name) {
                self.outbox
                    .push_back(NetworkEvent::Subscribed { peer, topic });
            }
        }
    }
}
