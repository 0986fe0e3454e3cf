//! The one task that owns the swarm.
//!
//! It takes commands, events of libp2p and reports of channels, one at a time, and answers each
//! with at most a handful of events. Those wait in a bounded outbox; while that is full nothing
//! more is taken in, so a slow daemon slows its peers instead of growing a queue. A peer counts as
//! connected once it has said that it speaks our commons ("greeted").

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use hearth_protocol::id::NodeId;
use libp2p::core::transport::ListenerId;
use libp2p::gossipsub::{self, MessageAcceptance, MessageId, PublishError};
use libp2p::multiaddr::Multiaddr;
use libp2p::swarm::DialError;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{PeerId, Swarm};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep_until, timeout};

use super::behaviour::Behaviour;
use super::channel::{Channels, Report};
use super::command::NetworkCommand;
use super::contact::{Contacts, dialable, parse_addr};
use super::event::{GossipId, NetworkEvent, Verdict};
use super::identity::{node_id, peer_id};
use super::link::Link;
use super::topic::{Channel, Names, Topic};
use super::translate::{Happening, translate};

/// Events waiting for the daemon before the network takes nothing more in; each may hold a frame.
const OUTBOX_MAX: usize = 16;
/// How long a stopping node waits for its goodbyes.
const GOODBYE: Duration = Duration::from_millis(500);
/// How long queued words may take to leave before the connections close.
const FLUSH: Duration = Duration::from_millis(250);

/// What a driver is made of.
pub(super) struct Parts {
    pub(super) me: NodeId,
    pub(super) names: Names,
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) listeners: Vec<ListenerId>,
    pub(super) bound: watch::Sender<Vec<String>>,
    pub(super) commands: mpsc::Receiver<NetworkCommand>,
    pub(super) events: mpsc::Sender<NetworkEvent>,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) frame_len_max: usize,
    pub(super) gossip_len_max: usize,
}

/// The network task.
pub(super) struct Driver {
    pub(super) parts: Parts,
    pub(super) contacts: Contacts,
    pub(super) links: BTreeMap<NodeId, Link>,
    /// Peers with a connection too many, and until when the other side may close one.
    pub(super) doubles: BTreeMap<NodeId, Instant>,
    pub(super) channels: Channels,
    /// Addresses in use, by listener.
    addrs: BTreeMap<usize, BTreeSet<String>>,
    pub(super) outbox: VecDeque<NetworkEvent>,
}

/// What the task woke up for.
enum Wake {
    Stop,
    Sent,
    Command(NetworkCommand),
    Report(Report),
    Swarm(Option<Happening>),
    Due,
}

impl Driver {
    pub(super) fn new(parts: Parts) -> Self {
        let control = parts.swarm.behaviour().streams.new_control();
        Self {
            contacts: Contacts::new(parts.me),
            links: BTreeMap::new(),
            doubles: BTreeMap::new(),
            channels: Channels::new(parts.names.clone(), control, parts.frame_len_max),
            addrs: BTreeMap::new(),
            outbox: VecDeque::new(),
            parts,
        }
    }

    /// Runs until it is told to stop, or nobody listens any more.
    pub(super) async fn run(mut self) {
        loop {
            match self.wake().await {
                Wake::Stop => break,
                Wake::Sent => {}
                Wake::Command(command) => self.obey(command),
                Wake::Report(report) => self.note_report(report),
                Wake::Swarm(Some(happening)) => self.note(happening),
                Wake::Swarm(None) => {}
                Wake::Due => {
                    self.end_doubles(Instant::now());
                    self.dial_due();
                }
            }
        }
        self.say_goodbye().await;
    }

    async fn wake(&mut self) -> Wake {
        let parts = &mut self.parts;
        let has_room = self.outbox.len() < OUTBOX_MAX;
        let doubles = self.doubles.values().min().copied();
        let due = self
            .contacts
            .poll_timeout()
            .into_iter()
            .chain(doubles)
            .min();
        let due = async {
            match due {
                Some(due) => sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Also when the handle is gone.
            _ = parts.stop.changed() => Wake::Stop,
            permit = parts.events.reserve(), if !self.outbox.is_empty() => match permit {
                Ok(permit) => {
                    if let Some(event) = self.outbox.pop_front() {
                        permit.send(event);
                    }
                    Wake::Sent
                }
                Err(_closed) => Wake::Stop,
            },
            command = parts.commands.recv(), if has_room => match command {
                Some(command) => Wake::Command(command),
                None => Wake::Stop,
            },
            report = self.channels.next(), if has_room => Wake::Report(report),
            event = parts.swarm.select_next_some(), if has_room => Wake::Swarm(translate(event)),
            () = due, if has_room => Wake::Due,
        }
    }

    /// Sends what was queued before the end, waits a moment for it to leave, and closes.
    async fn say_goodbye(mut self) {
        let mut is_owed = false;
        while let Ok(command) = self.parts.commands.try_recv() {
            is_owed |= matches!(
                command,
                NetworkCommand::Publish { .. } | NetworkCommand::Send { .. }
            );
            self.obey(command);
        }
        if is_owed && self.parts.swarm.connected_peers().next().is_some() {
            let flush = async {
                loop {
                    // What still arrives is no longer of interest; what leaves is driven by this.
                    let _ = self.parts.swarm.select_next_some().await;
                }
            };
            let _ = timeout(FLUSH, flush).await;
        }
        let peers: Vec<PeerId> = self.parts.swarm.connected_peers().copied().collect();
        for peer in peers {
            // Already gone is as good.
            let _ = self.parts.swarm.disconnect_peer_id(peer);
        }
        let all_gone = async {
            while self.parts.swarm.connected_peers().next().is_some() {
                let _ = self.parts.swarm.select_next_some().await;
            }
        };
        let _ = timeout(GOODBYE, all_gone).await;
    }

    fn obey(&mut self, command: NetworkCommand) {
        match command {
            NetworkCommand::Allow(peer) => self.allow(peer),
            NetworkCommand::Disallow(peer) => self.disallow(peer),
            NetworkCommand::Remember { peer, addrs } => self.remember(peer, &addrs),
            NetworkCommand::Forget(peer) => {
                self.contacts.forget(Instant::now(), &peer);
                if let Some(peer_id) = peer_id(&peer) {
                    self.parts
                        .swarm
                        .behaviour_mut()
                        .routing
                        .remove_peer(&peer_id);
                }
            }
            NetworkCommand::Publish { topic, bytes } => self.publish(topic, bytes),
            NetworkCommand::Verdict { id, verdict } => self.judge(&id, verdict),
            NetworkCommand::Send {
                peer,
                channel,
                bytes,
            } => self.send(peer, channel, bytes),
        }
    }

    fn allow(&mut self, peer: NodeId) {
        match peer_id(&peer) {
            Some(_) if peer == self.parts.me => {}
            Some(peer_id) => {
                if self.contacts.allow(Instant::now(), peer) {
                    self.parts.swarm.behaviour_mut().allowed.allow_peer(peer_id);
                }
            }
            None => self.drop_of(Some(peer), "member id that is no key"),
        }
    }

    fn disallow(&mut self, peer: NodeId) {
        self.contacts.disallow(&peer);
        if let Some(peer_id) = peer_id(&peer) {
            let behaviour = self.parts.swarm.behaviour_mut();
            behaviour.allowed.disallow_peer(peer_id);
            behaviour.routing.remove_peer(&peer_id);
        }
    }

    fn remember(&mut self, peer: NodeId, addrs: &[String]) {
        if peer == self.parts.me {
            return;
        }
        let known: Vec<Multiaddr> = addrs.iter().filter_map(|addr| parse_addr(addr)).collect();
        if known.len() < addrs.len() {
            self.drop_of(Some(peer), "address that cannot be dialled");
        }
        self.contacts.remember(Instant::now(), peer, &known);
    }

    fn publish(&mut self, topic: Topic, bytes: Vec<u8>) {
        if bytes.len() > self.parts.gossip_len_max {
            self.drop_of(None, "own gossip over the length limit");
            return;
        }
        let name = self.parts.names.ident(topic).hash();
        let what = match self.parts.swarm.behaviour_mut().gossip.publish(name, bytes) {
            // Somebody was faster with the same bytes.
            Ok(_) | Err(PublishError::Duplicate) => return,
            Err(PublishError::NoPeersSubscribedToTopic) => "own gossip: no member listens",
            Err(PublishError::AllQueuesFull(_)) => "own gossip: every member is slow",
            Err(PublishError::MessageTooLarge) => "own gossip over the length limit",
            Err(PublishError::SigningError(_) | PublishError::TransformFailed(_)) => {
                "own gossip could not be signed"
            }
        };
        self.drop_of(None, what);
    }

    fn judge(&mut self, id: &GossipId, verdict: Verdict) {
        let Some(relay) = peer_id(&id.relay) else {
            return;
        };
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Ignore => MessageAcceptance::Ignore,
            Verdict::Reject => MessageAcceptance::Reject,
        };
        let message = MessageId::new(&id.hash);
        let gossip = &mut self.parts.swarm.behaviour_mut().gossip;
        if !gossip.report_message_validation_result(&message, &relay, acceptance) {
            self.drop_of(Some(id.relay), "verdict that came too late");
        }
    }

    fn send(&mut self, peer: NodeId, channel: Channel, bytes: Vec<u8>) {
        let bytes_len = bytes.len();
        let is_connected = self.links.get(&peer).is_some_and(|link| link.is_greeted);
        let peer_id = peer_id(&peer).filter(|_| is_connected);
        let is_queued =
            peer_id.is_some_and(|peer_id| self.channels.send(peer, peer_id, channel, bytes));
        if !is_queued {
            self.contacts.want(Instant::now(), &peer);
            self.outbox.push_back(NetworkEvent::Undelivered {
                peer,
                channel,
                bytes_len,
            });
        }
    }

    fn dial_due(&mut self) {
        let now = Instant::now();
        while let Some((peer, addrs)) = self.contacts.take_due(now) {
            let Some(peer_id) = peer_id(&peer) else {
                continue;
            };
            let opts = DialOpts::peer_id(peer_id)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .addresses(addrs)
                .extend_addresses_through_behaviour()
                .build();
            match self.parts.swarm.dial(opts) {
                // Or routing dials it already: the outcome of that dial is as good.
                Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => {}
                // No event follows a dial that never began.
                Err(error) => {
                    tracing::trace!(%peer, %error, "dial refused");
                    self.retry_later(peer, peer_id);
                }
            }
        }
    }

    pub(super) fn note_report(&mut self, report: Report) {
        match report {
            Report::Frame {
                peer,
                channel,
                bytes,
            } => {
                if self.links.get(&peer).is_some_and(|link| link.is_greeted) {
                    self.outbox.push_back(NetworkEvent::Frame {
                        peer,
                        channel,
                        bytes,
                    });
                }
            }
            Report::TooLong { peer } => {
                self.drop_of(Some(peer), "frame over the length limit");
            }
            Report::Ended {
                peer,
                channel,
                task,
            } => {
                if self.channels.ended(peer, channel, task) {
                    self.outbox
                        .push_back(NetworkEvent::ChannelClosed { peer, channel });
                }
            }
            Report::Incoming {
                peer,
                channel,
                stream,
            } => {
                let Some(peer) = node_id(&peer) else {
                    return;
                };
                let Some(link) = self.links.get_mut(&peer) else {
                    return;
                };
                if !link.is_greeted {
                    link.hold(channel, stream);
                } else if self.channels.accept(peer, channel, stream) {
                    let closed = NetworkEvent::ChannelClosed { peer, channel };
                    self.outbox.push_back(closed);
                }
            }
        }
    }

    fn note(&mut self, happening: Happening) {
        match happening {
            Happening::Bound { listener, addr } => self.note_bound(listener, &[addr], true),
            Happening::Unbound { listener, addrs } => self.note_bound(listener, &addrs, false),
            Happening::Established {
                peer,
                connection,
                addr,
                dialled,
            } => {
                self.note_established(peer, connection, addr, dialled);
            }
            Happening::Closed {
                peer,
                connection,
                reason,
            } => {
                self.note_closed(peer, connection, reason);
            }
            Happening::Unreached { peer, failure } => self.note_unreached(peer, failure),
            Happening::Refused { peer, what } => {
                self.drop_of(peer.as_ref().and_then(node_id), what);
            }
            Happening::Identified {
                peer,
                family,
                addrs,
            } => {
                self.note_identified(peer, &family, addrs);
            }
            Happening::Unidentified { peer, connection } => {
                let link = node_id(&peer).and_then(|peer| self.links.get(&peer));
                if link.is_some_and(|link| !link.is_greeted) {
                    self.parts.swarm.close_connection(connection);
                }
            }
            Happening::Unresponsive { connection } => {
                self.parts.swarm.close_connection(connection);
            }
            Happening::Gossip {
                relay,
                hash,
                message,
            } => self.note_gossip(relay, &hash, message),
            Happening::Subscribed { peer, topic } => {
                let topic = self.parts.names.topic(&topic);
                let peer = node_id(&peer)
                    .filter(|peer| self.links.get(peer).is_some_and(|link| link.is_greeted));
                if let (Some(peer), Some(topic)) = (peer, topic) {
                    self.outbox
                        .push_back(NetworkEvent::Subscribed { peer, topic });
                }
            }
            Happening::Found { members } => {
                for (peer, addr) in members {
                    if let (Some(peer), Some(addr)) = (node_id(&peer), dialable(addr)) {
                        self.contacts.hear(Instant::now(), &peer, &addr);
                    }
                }
            }
        }
    }

    fn note_bound(&mut self, listener: ListenerId, addrs: &[Multiaddr], is_bound: bool) {
        let Some(index) = self
            .parts
            .listeners
            .iter()
            .position(|known| *known == listener)
        else {
            return;
        };
        let bound = self.addrs.entry(index).or_default();
        for addr in addrs {
            if is_bound {
                bound.insert(addr.to_string());
            } else {
                bound.remove(&addr.to_string());
            }
        }
        if self.addrs.len() == self.parts.listeners.len() {
            let addrs: Vec<String> = self.addrs.values().flatten().cloned().collect();
            self.parts.bound.send_replace(addrs.clone());
            self.outbox.push_back(NetworkEvent::Listening { addrs });
        }
    }

    fn note_gossip(&mut self, relay_id: PeerId, hash: &[u8], message: gossipsub::Message) {
        let author = message.source.as_ref().and_then(node_id);
        let topic = self.parts.names.topic(&message.topic);
        let hash = <[u8; 32]>::try_from(hash).ok();
        let relay = node_id(&relay_id);
        let is_short = message.data.len() <= self.parts.gossip_len_max;
        let (Some(relay), Some(author), Some(topic), Some(hash), true) =
            (relay, author, topic, hash, is_short)
        else {
            let gossip = &mut self.parts.swarm.behaviour_mut().gossip;
            let reject = MessageAcceptance::Reject;
            if let Some(hash) = hash {
                let message = MessageId::new(&hash);
                gossip.report_message_validation_result(&message, &relay_id, reject);
            }
            self.drop_of(relay, "gossip of a wrong shape");
            return;
        };
        let id = GossipId { hash, relay };
        let bytes = message.data;
        self.outbox.push_back(NetworkEvent::Gossip {
            id,
            relay,
            author,
            topic,
            bytes,
        });
    }

    pub(super) fn drop_of(&mut self, peer: Option<NodeId>, what: &'static str) {
        self.outbox.push_back(NetworkEvent::Dropped { peer, what });
    }
}
