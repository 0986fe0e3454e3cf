//! What the network tells: connections, adverts, gossip, frames.

use hearth_dispatch::Event;
use hearth_ledger::Ledger;
use hearth_protocol::capacity::{Capacity, NodeAddrs};
use hearth_protocol::card::Card;
use hearth_protocol::id::NodeId;
use hearth_protocol::limits;
use hearth_protocol::sign::Signed;
use hearth_protocol::snapshot::{Notice, TrustLevel};
use hearth_protocol::unit::Timestamp;
use hearth_protocol::wire::{EntryBatch, JobMessage, Message};

use super::{ADVERT_DELAY, Switchboard};
use crate::clock::now;
use crate::network::{Channel, GossipId, NetworkCommand, NetworkEvent, Topic, Verdict};
use crate::store::Table;

impl Switchboard {
    /// Routes one event of the network.
    pub(super) fn on_network(&mut self, event: NetworkEvent) {
        match event {
            NetworkEvent::Listening { addrs } => self.on_listening(addrs),
            NetworkEvent::Connected { peer, addr } => self.on_connected(peer, addr),
            NetworkEvent::Disconnected { peer, reason } => self.on_disconnected(peer, &reason),
            NetworkEvent::Learned { peer, addrs } => {
                tracing::debug!(peer = peer.short(), ?addrs, "learned addresses");
            }
            NetworkEvent::Gossip {
                id,
                relay,
                author,
                topic,
                bytes,
            } => {
                self.on_gossip(id, relay, author, topic, &bytes);
            }
            NetworkEvent::Subscribed { peer, topic } => {
                tracing::debug!(peer = peer.short(), ?topic, "subscribed");
            }
            NetworkEvent::Frame {
                peer,
                channel: Channel::Sync,
                bytes,
            } => self.on_sync(peer, &bytes),
            NetworkEvent::Frame {
                peer,
                channel: Channel::Job,
                bytes,
            } => self.on_job_frame(peer, &bytes),
            NetworkEvent::ChannelClosed { peer, channel } => {
                tracing::debug!(peer = peer.short(), ?channel, "a channel closed");
            }
            NetworkEvent::Undelivered {
                peer,
                channel,
                bytes_len,
            } => {
                tracing::warn!(
                    peer = peer.short(),
                    ?channel,
                    bytes_len,
                    "a message was not delivered"
                );
            }
            NetworkEvent::DialFailed { peer, reason } => {
                tracing::debug!(peer = peer.short(), reason, "a dial failed");
            }
            NetworkEvent::Dropped {
                peer: Some(peer),
                what,
            } => self.drop_message(Some(&peer), "network", &what),
            // Nobody's fault: a lonely node's gossip, a dial that lost its race.
            NetworkEvent::Dropped { peer: None, what } => {
                tracing::debug!(what, "the network dropped something");
            }
        }
    }

    fn on_listening(&mut self, addrs: Vec<String>) {
        let addrs = addrs.into_iter().take(limits::ADDRS_MAX).collect();
        tracing::info!(?addrs, "listening to members");
        self.pulse.listening.network = addrs;
        self.advertise_soon();
    }

    fn on_connected(&mut self, peer: NodeId, addr: String) {
        if self.peers.connect(peer, addr.clone()) {
            tracing::info!(peer = self.peers.name(&peer), addr, "connected");
            self.greet(peer);
            if self.peers.connected().count() == 1 {
                // Until now nobody heard where this node is.
                self.advertise_soon();
            }
            self.dispatch(Event::PeerConnected { peer });
            self.notice(Notice::Changed);
        }
    }

    fn on_disconnected(&mut self, peer: NodeId, reason: &str) {
        if self.peers.disconnect(&peer) {
            tracing::info!(peer = self.peers.name(&peer), reason, "disconnected");
            self.dispatch(Event::PeerDisconnected { peer });
            self.notice(Notice::Changed);
        }
    }

    fn on_gossip(
        &mut self,
        id: GossipId,
        relay: NodeId,
        author: NodeId,
        topic: Topic,
        bytes: &[u8],
    ) {
        let member = |node: &NodeId| {
            self.ledger
                .as_ref()
                .is_some_and(|ledger| ledger.book().is_member(node))
        };
        if !member(&author) || self.peers.level(&author) == TrustLevel::Blocked {
            // Its join may still be on the way: neither passed on nor held against the relay.
            return self.judge(id, Verdict::Ignore);
        }
        let taken = match topic {
            Topic::Ledger => EntryBatch::from_bytes(bytes).map(|batch| {
                // Whoever relays has them too, and can be asked for what is missing.
                let before = self.outbox.len();
                let valid = self.on_entries(relay, batch.entries);
                // Gossip itself carries them on; publishing them again would only echo.
                self.outbox.truncate(before);
                if valid {
                    Verdict::Accept
                } else {
                    Verdict::Reject
                }
            }),
            Topic::Capacity => Signed::<Capacity>::from_bytes(bytes).map(|advert| {
                if advert.trusted().node != author {
                    return Verdict::Reject;
                }
                self.on_capacity(author, advert);
                Verdict::Accept
            }),
            Topic::Cards => Signed::<Card>::from_bytes(bytes).map(|card| {
                if card.verify().is_err() {
                    return Verdict::Reject;
                }
                self.on_card(Some(&author), card);
                Verdict::Accept
            }),
        };
        match taken {
            Ok(verdict) => self.judge(id, verdict),
            Err(error) => {
                self.drop_message(Some(&author), "gossip", &error);
                self.judge(id, Verdict::Reject);
            }
        }
    }

    fn judge(&self, id: GossipId, verdict: Verdict) {
        self.command(NetworkCommand::Verdict { id, verdict });
    }

    fn on_job_frame(&mut self, peer: NodeId, bytes: &[u8]) {
        match JobMessage::from_bytes(bytes) {
            Ok(message) => {
                if let Some(message) = self.hold_large(peer, Box::new(message)) {
                    let from = peer;
                    self.dispatch(Event::Message { from, message });
                }
            }
            Err(error) => self.drop_message(Some(&peer), "job", &error),
        }
    }

    /// Takes an advert of a member up.
    pub(super) fn on_capacity(&mut self, peer: NodeId, advert: Signed<Capacity>) {
        let commons = self.ledger.as_ref().map(|ledger| ledger.book().commons());
        let capacity = match advert.verify() {
            Ok(capacity) if capacity.node == peer && Some(capacity.commons) == commons => {
                capacity.clone()
            }
            Ok(_) => {
                return self.drop_message(Some(&peer), "capacity", &"of another node or commons");
            }
            Err(error) => return self.drop_message(Some(&peer), "capacity", &error),
        };
        if !self.peers.advert(advert) {
            return;
        }
        self.locate(peer, capacity.addrs.clone());
        self.dispatch(Event::Advert(Box::new(capacity)));
        self.notice(Notice::Changed);
    }

    /// Remembers where a member is.
    pub(super) fn locate(&mut self, peer: NodeId, addrs: NodeAddrs) {
        let blobs = addrs
            .blobs
            .iter()
            .filter_map(|addr| addr.parse().ok())
            .collect();
        self.rooms.blobs.remember(peer, blobs);
        if !self.peers.locate(peer, addrs.clone()) {
            return;
        }
        if let Err(error) = self.store.put(Table::Addrs, peer.as_bytes(), &addrs) {
            tracing::warn!(%error, "an address could not be kept");
        }
        self.flush_soon();
        self.command(NetworkCommand::Remember {
            peer,
            addrs: addrs.network,
        });
    }

    /// Lets members connect and fetch, and dispatch look again, after entries were added.
    pub(super) fn after_entries(&mut self) {
        let members = self
            .ledger
            .as_ref()
            .map(Ledger::book)
            .map_or_else(Vec::new, |book| book.members());
        for member in members {
            self.let_connect(member);
        }
        self.part_from_leavers();
        self.retry_bounties();
        self.dispatch(Event::LedgerChanged);
        self.notice(Notice::Changed);
    }

    /// Ends the connections of members that left.
    fn part_from_leavers(&mut self) {
        let Some(ledger) = &self.ledger else { return };
        let book = ledger.book();
        // Who is allowed before its chain is here is no leaver.
        let has_left = |node: &&NodeId| book.head(node).is_some() && !book.is_member(node);
        let leavers: Vec<NodeId> = self
            .pulse
            .allowed
            .iter()
            .filter(has_left)
            .copied()
            .collect();
        for leaver in leavers {
            self.pulse.allowed.remove(&leaver);
            self.rooms.blobs.disallow(leaver);
            self.command(NetworkCommand::Disallow(leaver));
            self.command(NetworkCommand::Forget(leaver));
        }
    }

    /// Lets a member connect and fetch, unless it is blocked.
    pub(super) fn let_connect(&mut self, member: NodeId) {
        let blocked = self.peers.level(&member) == TrustLevel::Blocked;
        if member == self.me || blocked || !self.pulse.allowed.insert(member) {
            return;
        }
        self.rooms.blobs.allow(member);
        self.command(NetworkCommand::Allow(member));
        if let Some(addrs) = self.peers.addrs(&member).cloned() {
            let blobs = addrs
                .blobs
                .iter()
                .filter_map(|addr| addr.parse().ok())
                .collect();
            self.rooms.blobs.remember(member, blobs);
            self.command(NetworkCommand::Remember {
                peer: member,
                addrs: addrs.network,
            });
        }
    }

    /// Tells dispatch and others what cards are here.
    pub(super) fn tell_shelf(&mut self) {
        let cards = self.shelf.for_dispatch();
        self.dispatch(Event::Shelf { cards });
        self.advertise_soon();
        self.notice(Notice::Changed);
    }

    /// An advert is due once small changes have gathered.
    pub(super) fn advertise_soon(&mut self) {
        let due = now().plus(ADVERT_DELAY);
        self.pulse.advert_due = Some(
            self.pulse
                .advert_due
                .map_or(due, |earlier| earlier.min(due)),
        );
    }

    /// Gossips what this node can do.
    pub(super) fn advertise(&mut self, at: Timestamp) {
        self.pulse.advert_due = Some(at.plus(limits::CAPACITY_PERIOD));
        if self.ledger.is_some() {
            let advert = self.own_advert(at);
            self.publish(Topic::Capacity, advert.to_bytes());
        }
    }

    /// Returns a fresh advert.
    pub(super) fn own_advert(&self, at: Timestamp) -> Signed<Capacity> {
        let commons = self.ledger.as_ref().map(|ledger| ledger.book().commons());
        let config = &self.facts.config;
        let capacity = Capacity {
            commons: commons.expect("only a member adverts"),
            node: self.me,
            time: at,
            nickname: config
                .nickname
                .chars()
                .take(limits::NAME_LEN_MAX / 4)
                .collect(),
            software: format!("hearth {}", env!("CARGO_PKG_VERSION")),
            device: self.facts.device.clone(),
            accepting: self.dispatcher.accepting(),
            queue: u32::try_from(self.dispatcher.queue_len()).unwrap_or(u32::MAX),
            price_percent: config.worker.price_percent,
            speeds: self.dispatcher.speeds().to_vec(),
            warm: self.dispatcher.warm().to_vec(),
            cards: self.shelf.complete(),
            addrs: self.pulse.listening.clone(),
        };
        Signed::sign(capacity, &self.facts.key)
    }
}
