//! Heals: a chain that forked, named whole by its author, counts again from there on.
//!
//! Whether a heal has an effect is decided by the stored entries and proofs alone. It must stand
//! after the longest branch and name the end of every other, so that at its place and after it
//! nothing but its own line stands: whatever lies between fork and heal stays without effect.

use std::collections::BTreeSet;

use hearth_protocol::entry::NO_PREV;
use hearth_protocol::id::{EntryHash, NodeId};
use hearth_protocol::unit::{Seq, Timestamp};

use super::{Chain, Chains};

/// Heals without effect whose branches are passed on: an author needs one.
const HEALS_SHOWN_MAX: usize = 4;

impl Chains {
    /// Notes a heal; returns whether the author's chain counts otherwise than before.
    pub(crate) fn add_heal(
        &mut self,
        author: &NodeId,
        at: (Seq, EntryHash),
        tips: Vec<EntryHash>,
    ) -> bool {
        let chain = self.chains.entry(*author).or_default();
        chain.heals.insert(at, tips);
        self.judge_heals(author)
    }

    /// Decides anew which heal of an author has an effect; returns whether that changed.
    pub(super) fn judge_heals(&mut self, author: &NodeId) -> bool {
        let Some(chain) = self.chains.get(author) else {
            return false;
        };
        if chain.heals.is_empty() {
            return false;
        }
        let mut heals = chain.heals.iter();
        let found = heals.find(|(at, tips)| self.heals(chain, **at, tips));
        let found = found.map(|(at, _)| *at);
        let changed = chain.healed != found;
        if changed {
            if let Some(chain) = self.chains.get_mut(author) {
                chain.healed = found;
            }
            self.reckon(author);
        }
        changed
    }

    /// Returns whether a heal names every branch of its chain and its own line is single.
    fn heals(&self, chain: &Chain, at: (Seq, EntryHash), tips: &[EntryHash]) -> bool {
        let (Some(fork), Some(heal)) = (chain.fork_seq(), self.entries.get(&at.1)) else {
            return false;
        };
        let last = heal.header().prev;
        let refork = chain.refork_seq().unwrap_or(fork);
        if heal.frozen || at.0 <= fork.max(refork) {
            return false;
        }
        let is_longest = tips.iter().all(|tip| {
            self.entries.get(tip).is_some_and(|tip| {
                tip.header().author == heal.header().author && tip.header().seq < at.0
            })
        });
        if !tips.contains(&last) || !is_longest {
            return false;
        }
        let named = self.branches(fork, tips);
        let between = chain.places.range((fork, NO_PREV)..(at.0, NO_PREV));
        between.into_iter().all(|(_, hash)| named.contains(hash)) && self.is_single(chain, at)
    }

    /// Returns the given entries and their ancestors down to a place, that one included.
    fn branches(&self, down_to: Seq, tips: &[EntryHash]) -> BTreeSet<EntryHash> {
        let mut found = BTreeSet::new();
        for tip in tips {
            let mut at = *tip;
            while let Some(stored) = self.entries.get(&at) {
                if stored.header().seq < down_to || !found.insert(at) {
                    break;
                }
                at = stored.header().prev;
            }
        }
        found
    }

    /// Returns whether from a heal on one entry stands at each place, each after the one before.
    fn is_single(&self, chain: &Chain, at: (Seq, EntryHash)) -> bool {
        let mut before = None;
        chain.places.range((at.0, NO_PREV)..).all(|(_, hash)| {
            let fits = match before {
                None => *hash == at.1,
                Some(before) => self
                    .entries
                    .get(hash)
                    .is_some_and(|stored| stored.header().prev == before),
            };
            before = Some(*hash);
            fits
        })
    }

    /// Returns the heal that has an effect and its date.
    pub(crate) fn healed(&self, author: &NodeId) -> Option<(EntryHash, Timestamp)> {
        let (_, hash) = self.chains.get(author)?.healed?;
        Some((hash, self.entries.get(&hash)?.header().time))
    }

    /// Returns the heals of an author and the branches they name, for others to see that they do:
    /// the one with an effect, or else the newest few.
    pub(crate) fn heal_marks(&self, author: &NodeId) -> BTreeSet<EntryHash> {
        let Some(chain) = self.chains.get(author) else {
            return BTreeSet::new();
        };
        let shown = chain.heals.iter().rev();
        let shown = shown.filter(|(at, _)| chain.healed.is_none_or(|healed| healed == **at));
        let marks = shown.take(HEALS_SHOWN_MAX).flat_map(|((_, hash), tips)| {
            let tips = tips.iter().filter(|tip| self.entries.contains_key(*tip));
            tips.copied().chain([*hash])
        });
        marks.collect()
    }

    /// Returns the ends of an author's branches from its fork on, the highest first.
    pub(crate) fn branch_ends(&self, author: &NodeId) -> Vec<(Seq, EntryHash)> {
        let Some((chain, fork)) = self
            .chains
            .get(author)
            .and_then(|chain| Some((chain, chain.fork_seq()?)))
        else {
            return Vec::new();
        };
        let past = || chain.places.range((fork, NO_PREV)..);
        let parents: BTreeSet<EntryHash> = past()
            .filter_map(|(_, hash)| Some(self.entries.get(hash)?.header().prev))
            .collect();
        let ends = past().rev().filter(|(_, hash)| !parents.contains(hash));
        ends.copied().collect()
    }

    /// Returns whether the entry stands at that place of the author's chain and counts.
    pub(crate) fn is_at(&self, author: &NodeId, seq: Seq, hash: &EntryHash) -> bool {
        self.chains
            .get(author)
            .is_some_and(|chain| chain.is_live(seq) && chain.places.contains(&(seq, *hash)))
    }
}
