//! Who is there and what each member says it can do.
//!
//! The newest advert of a node counts and lives 90 s from when it was heard; a disconnected peer's
//! advert is kept (it may come back) but such a peer is no candidate. Trust is not here.

use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::capacity::Capacity;
use hearth_protocol::id::{CardId, NodeId};
use hearth_protocol::limits;
use hearth_protocol::unit::{Millis, Timestamp};

/// What came of an advert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It is the newest.
    Taken,
    /// It is old, expired or of the future.
    Stale,
    /// No room for another member.
    Full,
}

#[derive(Debug)]
struct Known {
    advert: Box<Capacity>,
    heard: Timestamp,
}

/// Adverts and connections of all members.
#[derive(Debug, Default)]
pub struct CapacityTable {
    adverts: BTreeMap<NodeId, Known>,
    connected: BTreeSet<NodeId>,
    last_seeder: BTreeMap<CardId, NodeId>,
}

impl CapacityTable {
    pub(crate) fn hear(&mut self, now: Timestamp, skew: Millis, advert: Box<Capacity>) -> Heard {
        let node = advert.node;
        let dead = advert.time.plus(limits::CAPACITY_LIFE).plus(skew) < now;
        let early = advert.time > now.plus(skew);
        let old = self
            .adverts
            .get(&node)
            .is_some_and(|known| known.advert.time >= advert.time);
        if dead || early || old {
            return Heard::Stale;
        }
        if !self.adverts.contains_key(&node) && self.adverts.len() >= limits::MEMBERS_MAX {
            return Heard::Full;
        }
        for card in advert.cards.iter().take(limits::CAPACITY_CARDS_MAX) {
            let room = self.last_seeder.len() < limits::CARD_IDS_MAX;
            if room || self.last_seeder.contains_key(card) {
                self.last_seeder.insert(*card, node);
            }
        }
        self.adverts.insert(node, Known { advert, heard: now });
        Heard::Taken
    }

    pub(crate) fn connect(&mut self, peer: NodeId) -> Heard {
        if self.connected.len() >= limits::MEMBERS_MAX {
            return Heard::Full;
        }
        self.connected.insert(peer);
        Heard::Taken
    }

    pub(crate) fn disconnect(&mut self, peer: &NodeId) {
        self.connected.remove(peer);
    }

    /// Forgets adverts that are over.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        self.adverts
            .retain(|_, known| known.heard.plus(limits::CAPACITY_LIFE) > now);
    }

    /// Returns when the next advert is over.
    pub(crate) fn next_expiry(&self) -> Option<Timestamp> {
        self.adverts
            .values()
            .map(|known| known.heard.plus(limits::CAPACITY_LIFE))
            .min()
    }

    /// Returns whether a member can be spoken to.
    pub fn is_connected(&self, peer: &NodeId) -> bool {
        self.connected.contains(peer)
    }

    /// Returns how many members can be spoken to.
    pub fn connected_count(&self) -> usize {
        self.connected.len()
    }

    /// Returns the newest advert of a member, connected or not.
    pub fn advert(&self, node: &NodeId) -> Option<&Capacity> {
        self.adverts.get(node).map(|known| &*known.advert)
    }

    /// Returns adverts of members that can be spoken to, in order of their keys.
    pub fn present(&self) -> impl Iterator<Item = &Capacity> {
        self.connected.iter().filter_map(|node| self.advert(node))
    }

    /// Returns whether a connected member serves a card.
    pub fn is_served(&self, card: &CardId) -> bool {
        self.present().any(|advert| advert.cards.contains(card))
    }

    /// Returns who was last heard to serve a card.
    pub fn last_seeder(&self, card: &CardId) -> Option<NodeId> {
        self.last_seeder.get(card).copied()
    }
}
