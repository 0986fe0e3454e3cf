//! What this node knows of other members beside the ledger: adverts, addresses, names, judgements.
//!
//! Holds facts and answers questions about them; who is a member is the ledger's word.

use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::capacity::{Capacity, NodeAddrs};
use hearth_protocol::id::{CardId, NodeId};
use hearth_protocol::limits;
use hearth_protocol::sign::Signed;
use hearth_protocol::snapshot::TrustLevel;
use hearth_protocol::unit::Timestamp;

use crate::store::PeerNote;

/// Why a name names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameError {
    /// Nobody has it.
    #[error("no member is called '{0}'")]
    Unknown(String),
    /// Several have it.
    #[error("'{name}' fits {count} members")]
    Ambiguous {
        /// The name.
        name: String,
        /// How many.
        count: usize,
    },
}

/// Facts about peers.
#[derive(Debug, Default)]
pub(crate) struct PeerBook {
    adverts: BTreeMap<NodeId, Signed<Capacity>>,
    connected: BTreeMap<NodeId, String>,
    notes: BTreeMap<NodeId, PeerNote>,
    addrs: BTreeMap<NodeId, NodeAddrs>,
}

impl PeerBook {
    /// Takes up what the store kept.
    pub(crate) fn new(notes: Vec<(NodeId, PeerNote)>, addrs: Vec<(NodeId, NodeAddrs)>) -> Self {
        Self {
            notes: notes.into_iter().collect(),
            addrs: addrs.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Keeps an advert if it is newer than the one known.
    pub(crate) fn advert(&mut self, advert: Signed<Capacity>) -> bool {
        let (node, time) = (advert.trusted().node, advert.trusted().time);
        if self
            .adverts
            .get(&node)
            .is_some_and(|known| known.trusted().time >= time)
        {
            return false;
        }
        self.adverts.insert(node, advert);
        true
    }

    /// Returns a member's newest advert if it has not expired.
    pub(crate) fn capacity(&self, node: &NodeId, now: Timestamp) -> Option<&Capacity> {
        let capacity = self.adverts.get(node)?.trusted();
        (capacity.time.plus(limits::CAPACITY_LIFE) >= now).then_some(capacity)
    }

    /// Returns a member's newest advert, expired or not.
    pub(crate) fn last_advert(&self, node: &NodeId) -> Option<&Capacity> {
        self.adverts.get(node).map(Signed::trusted)
    }

    /// Returns connected members that serve a card.
    pub(crate) fn seeders(&self, card: &CardId) -> Vec<NodeId> {
        self.connected
            .keys()
            .filter(|node| {
                self.last_advert(node)
                    .is_some_and(|advert| advert.cards.contains(card))
            })
            .copied()
            .collect()
    }

    /// Notes a connection; `true` if it is the first.
    pub(crate) fn connect(&mut self, node: NodeId, addr: String) -> bool {
        self.connected.insert(node, addr).is_none()
    }

    /// Notes a lost connection.
    pub(crate) fn disconnect(&mut self, node: &NodeId) -> bool {
        self.connected.remove(node).is_some()
    }

    /// Returns whether a connection stands.
    pub(crate) fn is_connected(&self, node: &NodeId) -> bool {
        self.connected.contains_key(node)
    }

    /// Returns who is connected.
    pub(crate) fn connected(&self) -> impl Iterator<Item = &NodeId> {
        self.connected.keys()
    }

    /// Returns the judgement of a peer.
    pub(crate) fn level(&self, node: &NodeId) -> TrustLevel {
        self.notes
            .get(node)
            .map_or(TrustLevel::Known, |note| note.level)
    }

    /// Changes what a person said of a peer and returns the new note.
    pub(crate) fn note(&mut self, node: NodeId, change: impl FnOnce(&mut PeerNote)) -> PeerNote {
        let note = self.notes.entry(node).or_default();
        change(note);
        note.clone()
    }

    /// Sets where a peer is; `true` if that is new.
    pub(crate) fn locate(&mut self, node: NodeId, addrs: NodeAddrs) -> bool {
        if addrs.network.is_empty() && addrs.blobs.is_empty() {
            return false;
        }
        self.addrs.insert(node, addrs.clone()) != Some(addrs)
    }

    /// Returns where a peer was last.
    pub(crate) fn addrs(&self, node: &NodeId) -> Option<&NodeAddrs> {
        self.addrs.get(node)
    }

    /// Returns petname, else nickname, else short id.
    pub(crate) fn name(&self, node: &NodeId) -> String {
        let petname = self
            .notes
            .get(node)
            .map(|note| &note.name)
            .filter(|name| !name.is_empty());
        let nickname = || self.last_advert(node).map(|advert| plain(&advert.nickname));
        petname
            .cloned()
            .or_else(|| nickname().filter(|name| !name.is_empty()))
            .unwrap_or_else(|| node.short())
    }

    /// Finds the one member a person means: petname first, then nickname, then id or its beginning.
    pub(crate) fn find(&self, text: &str, members: &BTreeSet<NodeId>) -> Result<NodeId, NameError> {
        let fits = |test: &dyn Fn(&NodeId) -> bool| -> Vec<NodeId> {
            members.iter().filter(|node| test(node)).copied().collect()
        };
        let lower = text.to_lowercase();
        let petname = |node: &NodeId| self.notes.get(node).is_some_and(|note| note.name == text);
        let nickname = |node: &NodeId| {
            self.last_advert(node)
                .is_some_and(|advert| plain(&advert.nickname) == text)
        };
        let id = |node: &NodeId| lower.len() >= 4 && node.to_string().starts_with(&lower);
        let tests: [&dyn Fn(&NodeId) -> bool; 3] = [&petname, &nickname, &id];
        for test in tests {
            match fits(test).as_slice() {
                [] => {}
                [one] => return Ok(*one),
                several => {
                    return Err(NameError::Ambiguous {
                        name: plain(text),
                        count: several.len(),
                    });
                }
            }
        }
        Err(NameError::Unknown(plain(text)))
    }
}

/// Strips what could move a terminal's cursor from text of others, and bounds it.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(limits::NAME_LEN_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_petname_beats_an_id_and_an_ambiguous_beginning_is_said() {
        let (ada, bob) = (
            NodeId::from_bytes([0xaa; 32]),
            NodeId::from_bytes([0xab; 32]),
        );
        let members = BTreeSet::from([ada, bob]);
        let mut book = PeerBook::default();
        assert_eq!(book.find("aaaa", &members), Ok(ada));
        assert_eq!(book.find("abab", &members), Ok(bob));
        book.note(bob, |note| note.name = "aaaa".into());
        assert_eq!(book.find("aaaa", &members), Ok(bob));
        assert!(matches!(
            book.find("nobody", &members),
            Err(NameError::Unknown(_))
        ));
        book.note(ada, |note| note.name = "aaaa".into());
        assert!(matches!(
            book.find("aaaa", &members),
            Err(NameError::Ambiguous { count: 2, .. })
        ));
        assert_eq!(book.name(&ada), "aaaa");
    }

    #[test]
    fn control_characters_of_others_never_reach_a_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb"), "a[2Jb");
    }
}
