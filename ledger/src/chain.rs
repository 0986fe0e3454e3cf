//! The first layer: entries that are valid parts of chains, branches side by side.
//!
//! Decides by the entry, its predecessor and the commons alone, so every node decides alike.
//! Keeps every entry by hash and every chain as a tree of places; knows forks and whether they
//! are healed, knows nothing else of what entries do.

mod heal;

use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::entry::{Body, Entry, Header, NO_PREV, VERSION};
use hearth_protocol::id::{CommonsId, EntryHash, NodeId};
use hearth_protocol::limits;
use hearth_protocol::sign::Signed;
use hearth_protocol::unit::{Seq, Timestamp};
use hearth_protocol::wire::{ForkProof, Head};

use crate::fork;
use crate::rejection::Rejection;

/// How often the highest proof of one author may be replaced: a forker can make them without end.
const REFORKS_MAX: u8 = 16;

/// An entry of a chain, and whether an unknown version at or before it stops its effect.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) entry: Entry,
    pub(crate) frozen: bool,
}

impl Stored {
    pub(crate) fn header(&self) -> &Header {
        self.entry.header.trusted()
    }

    /// Returns the body; `None` when the version is unknown.
    pub(crate) fn body(&self) -> Option<Body> {
        if self.header().version == VERSION {
            self.entry.decode_body().ok()
        } else {
            None
        }
    }
}

/// A chain to ask a peer for, from a place on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Want {
    /// Whose chain.
    pub author: NodeId,
    /// From which place on.
    pub from: Seq,
}

/// Whether signatures are checked or were checked when the entry was first stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scrutiny {
    Full,
    Replay,
}

/// How an entry fits what is stored.
#[derive(Debug)]
pub(crate) enum Fit {
    Next { frozen: bool },
    Gap { have: Option<Seq> },
    Refused(Rejection),
}

#[derive(Debug, Clone, Default)]
struct Chain {
    places: BTreeSet<(Seq, EntryHash)>,
    /// Proof at the lowest place.
    fork: Option<ForkProof>,
    /// Proof at the highest place, if that is another one.
    refork: Option<ForkProof>,
    reforks: u8,
    /// Heals that stand in the chain, whether or not they have an effect.
    heals: BTreeMap<(Seq, EntryHash), Vec<EntryHash>>,
    /// The heal from which on the chain counts again.
    healed: Option<(Seq, EntryHash)>,
    clock: Option<Timestamp>,
    past_fork: usize,
}

impl Chain {
    fn fork_seq(&self) -> Option<Seq> {
        self.fork.as_ref().map(|proof| proof.left.trusted().seq)
    }

    /// Returns whether entries at a place count: before a fork, or from its heal on, where the
    /// heal's own line alone stands.
    fn is_live(&self, seq: Seq) -> bool {
        self.fork_seq().is_none_or(|fork| seq < fork)
            || self.healed.is_some_and(|(healed, _)| seq >= healed)
    }

    /// Keeps a proof at the lowest place, or at the highest while that may still rise.
    fn keep(&mut self, proof: ForkProof) -> bool {
        let seq = proof.left.trusted().seq;
        match self.fork_seq() {
            None => self.fork = Some(proof),
            Some(lowest) if seq < lowest => {
                let before = self.fork.replace(proof);
                self.refork = self.refork.take().or(before);
            }
            Some(lowest) => {
                let highest = self.refork_seq().unwrap_or(lowest);
                if seq <= highest || self.reforks >= REFORKS_MAX {
                    return false;
                }
                self.reforks += 1;
                self.refork = Some(proof);
            }
        }
        true
    }

    fn refork_seq(&self) -> Option<Seq> {
        self.refork.as_ref().map(|proof| proof.left.trusted().seq)
    }

    fn tip(&self) -> Option<(Seq, EntryHash)> {
        match self.fork_seq() {
            Some(fork) if self.healed.is_none() => {
                self.places.range(..(fork, NO_PREV)).next_back().copied()
            }
            Some(_) | None => self.places.last().copied(),
        }
    }
}

/// Every stored chain of one commons.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chains {
    entries: BTreeMap<EntryHash, Stored>,
    chains: BTreeMap<NodeId, Chain>,
}

/// Checks what needs no other entry; returns the body of a known version.
pub(crate) fn check(
    entry: &Entry,
    commons: CommonsId,
    scrutiny: Scrutiny,
) -> Result<Option<Body>, Rejection> {
    let header = entry.header.trusted();
    if header.commons != commons {
        return Err(Rejection::OtherCommons);
    }
    if entry.body.len() > limits::BODY_LEN_MAX {
        let got = entry.body.len();
        return Err(Rejection::BodyTooLong { got });
    }
    if !entry.body_matches() {
        return Err(Rejection::BodyHash);
    }
    if (header.seq == Seq::FIRST) != (header.prev == NO_PREV) {
        return Err(Rejection::Seq);
    }
    let body = if header.version == VERSION {
        let body = entry.decode_body().map_err(|_| Rejection::BodyMalformed)?;
        match (&body, header.seq == Seq::FIRST) {
            (Body::Join { .. }, false) => return Err(Rejection::JoinMisplaced),
            (Body::Join { .. }, true) => {}
            (_, true) => return Err(Rejection::NotJoin),
            (_, false) => {}
        }
        Some(body)
    } else {
        None
    };
    match scrutiny {
        Scrutiny::Full => entry.header.verify().map_err(Rejection::Signature)?,
        Scrutiny::Replay => header,
    };
    Ok(body)
}

impl Chains {
    pub(crate) fn stored(&self, hash: &EntryHash) -> Option<&Stored> {
        self.entries.get(hash)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns all entries, chain by chain, each in order of place.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = &Stored> {
        self.chains
            .values()
            .flat_map(|chain| chain.places.iter())
            .filter_map(|(_, hash)| self.entries.get(hash))
    }

    /// Returns all entries after one, in the order of [`in_order`](Self::in_order); all for `None`.
    pub(crate) fn in_order_after(&self, after: Option<&Header>) -> impl Iterator<Item = &Stored> {
        let from = after.map_or(NodeId::from_bytes([0; 32]), |header| header.author);
        let after = after.map(|header| (header.author, header.seq, header.hash()));
        self.chains
            .range(from..)
            .flat_map(|(author, chain)| chain.places.iter().map(move |at| (*author, *at)))
            .skip_while(move |(author, (seq, hash))| Some((*author, *seq, *hash)) <= after)
            .filter_map(|(_, (_, hash))| self.entries.get(&hash))
    }

    pub(crate) fn len_of(&self, author: &NodeId) -> usize {
        self.chains.get(author).map_or(0, |c| c.places.len())
    }

    pub(crate) fn past_fork_len(&self, author: &NodeId) -> usize {
        self.chains.get(author).map_or(0, |c| c.past_fork)
    }

    /// Returns whether the place lies before any fork of its author.
    pub(crate) fn is_live(&self, author: &NodeId, seq: Seq) -> bool {
        self.chains.get(author).is_none_or(|c| c.is_live(seq))
    }

    /// Returns the date of the author's last entry that is live and not frozen.
    pub(crate) fn clock(&self, author: &NodeId) -> Option<Timestamp> {
        self.chains.get(author).and_then(|c| c.clock)
    }

    pub(crate) fn fork(&self, author: &NodeId) -> Option<&ForkProof> {
        self.chains.get(author).and_then(|c| c.fork.as_ref())
    }

    /// Returns the author's second proof, of a fork past a heal.
    pub(crate) fn refork(&self, author: &NodeId) -> Option<&ForkProof> {
        self.chains.get(author).and_then(|c| c.refork.as_ref())
    }

    pub(crate) fn forks(&self) -> impl Iterator<Item = (&NodeId, &ForkProof)> {
        self.chains
            .iter()
            .filter_map(|(author, chain)| chain.fork.as_ref().map(|fork| (author, fork)))
    }

    /// Returns the newest entry that counts.
    pub(crate) fn tip(&self, author: &NodeId) -> Option<Head> {
        let (seq, hash) = self.chains.get(author)?.tip()?;
        let author = *author;
        Some(Head { author, seq, hash })
    }

    /// Says how a checked entry fits its stored predecessor.
    pub(crate) fn fit(&self, entry: &Entry) -> Fit {
        let header = entry.header.trusted();
        let frozen = header.version != VERSION;
        if header.seq == Seq::FIRST {
            return Fit::Next { frozen };
        }
        let Some(prev) = self.entries.get(&header.prev) else {
            return Fit::Gap {
                have: self.have_below(header),
            };
        };
        let before = prev.header();
        if before.author != header.author || before.seq.next() != Some(header.seq) {
            return Fit::Refused(Rejection::Prev);
        }
        if header.time < before.time {
            return Fit::Refused(Rejection::DateBack);
        }
        Fit::Next {
            frozen: frozen || prev.frozen,
        }
    }

    /// Names a place up to which a caller may take its copy for good when a predecessor is
    /// missing. With a tip at or past the gap the branches part somewhere below: going halfway
    /// down each time finds where in a few exchanges.
    fn have_below(&self, header: &Header) -> Option<Seq> {
        let tip = self.chains.get(&header.author)?.places.last()?.0;
        let gap = header.seq.get();
        if tip.get() + 1 < gap {
            Some(tip)
        } else {
            (gap >= 4).then(|| Seq::new(gap / 2))
        }
    }

    /// Returns a proof when another entry stands at the place of this one.
    pub(crate) fn rival(&self, header: &Signed<Header>) -> Option<ForkProof> {
        let (author, seq) = (header.trusted().author, header.trusted().seq);
        let hash = header.trusted().hash();
        let rival = self.at(&author, seq).find(|stored| **stored != hash)?;
        let rival = &self.entries.get(rival)?.entry.header;
        Some(fork::prove(header, rival))
    }

    fn at(&self, author: &NodeId, seq: Seq) -> impl Iterator<Item = &EntryHash> {
        let top = EntryHash::from_bytes([0xff; 32]);
        self.chains
            .get(author)
            .into_iter()
            .flat_map(move |chain| chain.places.range((seq, NO_PREV)..=(seq, top)))
            .map(|(_, hash)| hash)
    }

    /// Stores an entry that fits; returns whether the author's heal gained or lost its effect.
    pub(crate) fn store(&mut self, hash: EntryHash, entry: Entry, frozen: bool) -> bool {
        let header = *entry.header.trusted();
        let chain = self.chains.entry(header.author).or_default();
        let is_whole = chain.fork.is_none() || chain.healed.is_some();
        let goes_on = is_whole && chain.tip().is_none_or(|(_, tip)| tip == header.prev);
        chain.places.insert((header.seq, hash));
        if !chain.is_live(header.seq) {
            chain.past_fork += 1;
        } else if !frozen {
            chain.clock = chain.clock.max(Some(header.time));
        }
        self.entries.insert(hash, Stored { entry, frozen });
        !goes_on && self.judge_heals(&header.author)
    }

    /// Keeps a checked proof if it is the author's first, at the lowest place so far or at the
    /// highest. Returns whether it does.
    pub(crate) fn note_fork(&mut self, proof: ForkProof) -> bool {
        let author = proof.left.trusted().author;
        let chain = self.chains.entry(author).or_default();
        if !chain.keep(proof) {
            return false;
        }
        chain.healed = None;
        self.reckon(&author);
        self.judge_heals(&author);
        true
    }

    /// Counts anew what lies past the author's fork, and finds its clock.
    fn reckon(&mut self, author: &NodeId) {
        let Some(chain) = self.chains.get_mut(author) else {
            return;
        };
        let dead = chain.places.iter().filter(|(seq, _)| !chain.is_live(*seq));
        let past_fork = dead.count();
        let live = chain.places.iter().rev();
        let mut live = live.filter(|(seq, _)| chain.is_live(*seq));
        let last = live.find_map(|(_, hash)| {
            let stored = self.entries.get(hash)?;
            (!stored.frozen).then(|| stored.header().time)
        });
        chain.past_fork = past_fork;
        chain.clock = last;
    }

    /// Returns entries from a place on in order, past a fork only those in `kept`.
    pub(crate) fn suffix(
        &self,
        author: &NodeId,
        from: Seq,
        max: usize,
        kept: &BTreeSet<EntryHash>,
    ) -> Vec<Entry> {
        let Some(chain) = self.chains.get(author) else {
            return Vec::new();
        };
        chain
            .places
            .range((from, NO_PREV)..)
            .filter(|(seq, hash)| chain.is_live(*seq) || kept.contains(hash))
            .filter_map(|(_, hash)| self.entries.get(hash))
            .take(max)
            .map(|stored| stored.entry.clone())
            .collect()
    }

    /// Returns the given entries and their ancestors back to the author's fork.
    pub(crate) fn ancestry(
        &self,
        author: &NodeId,
        of: &BTreeSet<EntryHash>,
    ) -> BTreeSet<EntryHash> {
        let mut found = BTreeSet::new();
        for start in of {
            let mut at = *start;
            while let Some(stored) = self.entries.get(&at) {
                if self.is_live(author, stored.header().seq) || !found.insert(at) {
                    break;
                }
                at = stored.header().prev;
            }
        }
        found
    }

    /// Returns from where on to ask for a chain whose head a peer named; `None` if it is known.
    pub(crate) fn want(&self, head: &Head) -> Option<Want> {
        if self.entries.contains_key(&head.hash) {
            return None;
        }
        let author = head.author;
        let after_tip = self
            .tip(&author)
            .map_or(Some(Seq::FIRST), |tip| tip.seq.next())?;
        let from = after_tip.min(head.seq);
        Some(Want { author, from })
    }
}
