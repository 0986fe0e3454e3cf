//! Checkpoints of pairs: halves that mirror one another close what lies before them.
//!
//! A closing is judged by what lies at or below its two places alone, with the dates of the two
//! entries there as clocks, so nothing that is written later can open it again. Which halves
//! match and close is decided here; what the pair did below them is summed by the book.

use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::entry::{PairNet, Place};
use hearth_protocol::id::{EntryHash, NodeId};
use hearth_protocol::unit::{Seq, Timestamp};

use crate::standing::{NoEffect, Standing, Wait};

/// Two nodes in order of name.
pub(crate) type PairId = (NodeId, NodeId);

pub(crate) fn pair_id(one: NodeId, other: NodeId) -> PairId {
    (one.min(other), one.max(other))
}

/// One half as written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Half {
    pub(crate) hash: EntryHash,
    pub(crate) seq: Seq,
    pub(crate) net: PairNet,
}

/// Two matching halves: what both sign, seen from the first of the pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closing {
    /// Last places covered in the chains of the first and the second.
    pub(crate) places: (Place, Place),
    /// Dates of the entries there.
    pub(crate) clocks: (Timestamp, Timestamp),
    /// What the first gave the second, and the second the first.
    pub(crate) given: (u64, u64),
    pub(crate) halves: (EntryHash, EntryHash),
}

/// How far the words on an order are heard, and what date its requester's clock shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Horizon {
    pub(crate) requester: Seq,
    pub(crate) provider: Seq,
    pub(crate) clock: Timestamp,
}

impl Closing {
    /// Returns the horizon of the orders of `requester`, one of the pair.
    pub(crate) fn horizon(&self, pair: &PairId, requester: &NodeId) -> Horizon {
        let ((first, second), (early, late)) = (self.places, self.clocks);
        if pair.0 == *requester {
            Horizon {
                requester: first.seq,
                provider: second.seq,
                clock: early,
            }
        } else {
            Horizon {
                requester: second.seq,
                provider: first.seq,
                clock: late,
            }
        }
    }

    /// Returns the last place it covers in a party's chain.
    pub(crate) fn covers(&self, pair: &PairId, node: &NodeId) -> Seq {
        if pair.0 == *node {
            self.places.0.seq
        } else {
            self.places.1.seq
        }
    }
}

#[derive(Debug, Clone, Default)]
struct Pair {
    first: BTreeMap<(Seq, EntryHash), Half>,
    second: BTreeMap<(Seq, EntryHash), Half>,
    closings: Vec<Closing>,
    standings: BTreeMap<EntryHash, Standing>,
}

/// The checkpoints of one commons.
#[derive(Debug, Clone, Default)]
pub(crate) struct Nets {
    pairs: BTreeMap<PairId, Pair>,
    by_node: BTreeMap<NodeId, BTreeSet<PairId>>,
    /// Pairs with a half that names an entry which is not here.
    waiting: BTreeMap<EntryHash, BTreeSet<PairId>>,
}

impl Nets {
    pub(crate) fn add(&mut self, author: NodeId, half: Half) -> PairId {
        let id = pair_id(author, half.net.peer);
        for node in [id.0, id.1] {
            self.by_node.entry(node).or_default().insert(id);
        }
        for place in [half.net.own, half.net.theirs] {
            self.waiting.entry(place.hash).or_default().insert(id);
        }
        let pair = self.pairs.entry(id).or_default();
        let side = if author == id.0 {
            &mut pair.first
        } else {
            &mut pair.second
        };
        side.insert((half.seq, half.hash), half);
        id
    }

    /// Returns the pairs that wait for an entry.
    pub(crate) fn waiting_for(&self, hash: &EntryHash) -> BTreeSet<PairId> {
        self.waiting.get(hash).cloned().unwrap_or_default()
    }

    pub(crate) fn pairs_of(&self, node: &NodeId) -> BTreeSet<PairId> {
        self.by_node.get(node).cloned().unwrap_or_default()
    }

    /// Returns the halves of a pair, its first's and its second's, in order of place.
    pub(crate) fn halves(&self, id: &PairId) -> (Vec<Half>, Vec<Half>) {
        self.pairs.get(id).map_or_else(Default::default, |pair| {
            let of = |side: &BTreeMap<(Seq, EntryHash), Half>| side.values().copied().collect();
            (of(&pair.first), of(&pair.second))
        })
    }

    /// Sets what follows for a pair; returns whether its closings changed.
    pub(crate) fn set(
        &mut self,
        id: &PairId,
        closings: Vec<Closing>,
        standings: BTreeMap<EntryHash, Standing>,
    ) -> bool {
        let pair = self.pairs.entry(*id).or_default();
        pair.standings = standings;
        let changed = pair.closings != closings;
        pair.closings = closings;
        changed
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&PairId, &Closing)> {
        self.pairs
            .iter()
            .filter_map(|(id, pair)| Some((id, pair.closings.last()?)))
    }

    /// Returns the horizon of an order, if a closing covers it.
    pub(crate) fn horizon(
        &self,
        requester: &NodeId,
        provider: &NodeId,
        seq: Seq,
    ) -> Option<Horizon> {
        let id = pair_id(*requester, *provider);
        let closings = self.pairs.get(&id)?.closings.iter();
        let mut covering = closings.filter(|closing| closing.covers(&id, requester) >= seq);
        Some(covering.next()?.horizon(&id, requester))
    }

    /// Says what a half does; the author's own standing is checked before.
    pub(crate) fn standing(&self, author: NodeId, half: &EntryHash, net: &PairNet) -> Standing {
        if author == net.peer {
            return Standing::Without(NoEffect::Oneself);
        }
        self.pairs
            .get(&pair_id(author, net.peer))
            .and_then(|pair| pair.standings.get(half))
            .copied()
            .unwrap_or(Standing::Waiting(Wait::Mirror))
    }
}

/// Returns whether two halves are mirror images.
pub(crate) fn mirrors(first: &PairNet, second: &PairNet) -> bool {
    first.given == second.taken
        && first.taken == second.given
        && first.own == second.theirs
        && first.theirs == second.own
}
