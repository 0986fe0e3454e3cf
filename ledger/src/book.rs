//! The book of one commons: its state as a function of the set of its chain-valid entries.
//!
//! [`Book::insert`] puts one entry in and brings everything that rests on it in step at once;
//! reading ([`query`]) is then cheap. Arrival order never matters: what an entry does is decided
//! by the set alone, and decided again when the set grows. The book reads no clock: `now` is the
//! caller's, used for nothing but to hold back entries from the future.

mod apply;
mod digest;
pub mod lending;
mod pairs;
pub mod query;
mod standing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use hearth_protocol::charter::Charter;
use hearth_protocol::entry::{Body, Entry, Header};
use hearth_protocol::id::{CommonsId, EntryHash, NodeId};
use hearth_protocol::unit::{Seq, Timestamp};
use hearth_protocol::wire::ForkProof;

use crate::account::Accounts;
use crate::amend::Amendments;
use crate::chain::{self, Chains, Fit, Scrutiny};
use crate::evidence::Audits;
use crate::fork::{ProofError, verify_fork_proof};
use crate::members::{Joining, Members};
use crate::nets::Nets;
use crate::order::Rules;
use crate::orders::Orders;
use crate::rejection::Rejection;
use crate::transfer::{Lines, Transfers};

/// Most entries kept of one author's branches past its fork, receipts' orders aside.
pub const BRANCH_ENTRIES_MAX: usize = 4_096;
/// Most entries kept of all nodes that are not members.
pub const STRANGER_ENTRIES_MAX: usize = 16_384;
/// Most entries held back because they are dated ahead of the clock.
pub const DEFERRED_MAX: usize = 1_024;

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Insertion {
    /// It is part of the book now.
    Added {
        /// Its name.
        hash: EntryHash,
    },
    /// It was part of the book before.
    Known,
    /// It is dated ahead of the clock by more than the skew: [`Book::admit`] tries again.
    Deferred,
    /// Its predecessor is missing and it was not kept: ask for the chain after `have`.
    Gap {
        /// Whose chain.
        author: NodeId,
        /// The last place that need not be asked for; `None` asks for the whole chain.
        have: Option<Seq>,
    },
    /// It proves a fork that was not known, and is kept as a branch if its predecessor is here.
    Forked(Box<ForkProof>),
    /// It is no part of any chain.
    Invalid(Rejection),
}

/// The state of one commons.
#[derive(Debug, Clone)]
pub struct Book {
    charter: Charter,
    commons: CommonsId,
    chains: Chains,
    members: Members,
    orders: Orders,
    transfers: Transfers,
    lines: Lines,
    nets: Nets,
    audits: Audits,
    amendments: Amendments,
    accounts: Accounts,
    strangers: usize,
    deferred: BTreeMap<(Timestamp, EntryHash), Entry>,
    digest: OnceLock<[u8; 32]>,
}

impl Book {
    /// Opens an empty book for a charter.
    pub fn new(charter: Charter) -> Self {
        Self {
            commons: charter.id(),
            charter,
            chains: Chains::default(),
            members: Members::default(),
            orders: Orders::default(),
            transfers: Transfers::default(),
            lines: Lines::default(),
            nets: Nets::default(),
            audits: Audits::default(),
            amendments: Amendments::default(),
            accounts: Accounts::default(),
            strangers: 0,
            deferred: BTreeMap::new(),
            digest: OnceLock::new(),
        }
    }

    fn rules(&self) -> Rules<'_> {
        rules(&self.chains, &self.members, &self.nets, &self.charter)
    }

    /// Puts an entry in. `now` is this node's clock; entries further ahead than the charter's
    /// skew wait in memory until [`Book::admit`] is called late enough.
    pub fn insert(&mut self, entry: Entry, now: Timestamp) -> Insertion {
        let hash = entry.hash();
        let time = entry.header.trusted().time;
        if self.chains.stored(&hash).is_some() {
            return Insertion::Known;
        }
        if self.deferred.contains_key(&(time, hash)) {
            return Insertion::Deferred;
        }
        let body = match chain::check(&entry, self.commons, Scrutiny::Full) {
            Ok(body) => body,
            Err(rejection) => return Insertion::Invalid(rejection),
        };
        if time > now.plus(self.charter.windows.skew) {
            if self.deferred.len() >= DEFERRED_MAX {
                return Insertion::Invalid(Rejection::DeferredFull);
            }
            self.deferred.insert((time, hash), entry);
            return Insertion::Deferred;
        }
        self.place(hash, entry, body, Scrutiny::Full)
    }

    /// Puts back an entry this node checked and stored before: no signature check, no clock.
    pub(crate) fn replay(&mut self, entry: Entry) -> Insertion {
        let hash = entry.hash();
        if self.chains.stored(&hash).is_some() {
            return Insertion::Known;
        }
        match chain::check(&entry, self.commons, Scrutiny::Replay) {
            Ok(body) => self.place(hash, entry, body, Scrutiny::Replay),
            Err(rejection) => Insertion::Invalid(rejection),
        }
    }

    /// Puts in an entry of a set that is looked at as a whole: everything is checked, the clock and
    /// the room that a node has are not asked.
    pub(crate) fn insert_checked(&mut self, entry: Entry) -> Insertion {
        let hash = entry.hash();
        if self.chains.stored(&hash).is_some() {
            return Insertion::Known;
        }
        match chain::check(&entry, self.commons, Scrutiny::Full) {
            Ok(body) => self.place(hash, entry, body, Scrutiny::Replay),
            Err(rejection) => Insertion::Invalid(rejection),
        }
    }

    /// Checks an entry as far as it can be without its predecessor or signature.
    pub(crate) fn check(&self, entry: &Entry) -> Result<(), Rejection> {
        chain::check(entry, self.commons, Scrutiny::Replay).map(|_| ())
    }

    /// Tries the entries again that were dated ahead of the clock; returns those whose time has
    /// come, each with what became of it.
    pub fn admit(&mut self, now: Timestamp) -> Vec<(Entry, Insertion)> {
        let until = now.plus(self.charter.windows.skew);
        let mut due = BTreeMap::new();
        while let Some(first) = self.deferred.first_entry()
            && first.key().0 <= until
        {
            let entry = first.remove();
            let header = entry.header.trusted();
            due.insert((header.author, header.seq, header.hash()), entry);
        }
        due.into_iter()
            .map(|((_, _, hash), entry)| {
                let outcome = match chain::check(&entry, self.commons, Scrutiny::Replay) {
                    Ok(body) => self.place(hash, entry.clone(), body, Scrutiny::Full),
                    Err(rejection) => Insertion::Invalid(rejection),
                };
                (entry, outcome)
            })
            .collect()
    }

    /// Takes a fork proof in; returns whether it says something new.
    ///
    /// # Errors
    /// [`ProofError`] when it proves nothing.
    pub fn insert_fork(&mut self, proof: &ForkProof) -> Result<bool, ProofError> {
        verify_fork_proof(proof, self.commons)?;
        Ok(self.note_fork(proof))
    }

    fn note_fork(&mut self, proof: &ForkProof) -> bool {
        let is_news = self.chains.note_fork(proof.clone());
        if is_news {
            self.digest = OnceLock::new();
            self.refresh_node(&proof.left.trusted().author);
        }
        is_news
    }

    /// Stores a checked entry where it fits, and lets it have its effect.
    fn place(
        &mut self,
        hash: EntryHash,
        entry: Entry,
        body: Option<Body>,
        scrutiny: Scrutiny,
    ) -> Insertion {
        let header = *entry.header.trusted();
        let rival = self.chains.rival(&entry.header);
        let fit = self.chains.fit(&entry);
        let fits = match fit {
            Fit::Next { frozen } => Ok(frozen),
            Fit::Gap { have } => Err(Insertion::Gap {
                author: header.author,
                have,
            }),
            Fit::Refused(rejection) => Err(Insertion::Invalid(rejection)),
        };
        let frozen = match fits {
            Ok(frozen) => frozen,
            // Whatever body and predecessor are, two signed headers prove a fork.
            Err(outcome) => {
                let news = rival.filter(|proof| self.note_fork(proof));
                return news.map_or(outcome, |proof| Insertion::Forked(Box::new(proof)));
            }
        };
        // What was kept once has its room: on replay the members may come after the strangers.
        if scrutiny == Scrutiny::Full
            && let Some(rejection) = self.no_room(&header, hash, body.as_ref())
        {
            return Insertion::Invalid(rejection);
        }
        self.digest = OnceLock::new();
        let heal_changed = self.chains.store(hash, entry, frozen);
        if !self.members.has_joined(&header.author) {
            self.strangers += 1;
        }
        if let (false, Some(body)) = (frozen, body) {
            self.apply(hash, &header, &body);
        }
        if heal_changed {
            self.refresh_node(&header.author);
        }
        for pair in self.nets.waiting_for(&hash) {
            self.refresh_pair(&pair);
        }
        match rival {
            Some(proof) if self.note_fork(&proof) => Insertion::Forked(Box::new(proof)),
            Some(_) | None => Insertion::Added { hash },
        }
    }

    /// Says why a valid entry is not kept here for now.
    fn no_room(&self, header: &Header, hash: EntryHash, body: Option<&Body>) -> Option<Rejection> {
        let author = &header.author;
        if !self.members.has_joined(author) && self.strangers >= STRANGER_ENTRIES_MAX {
            let is_welcome = match body {
                Some(Body::Join { invite }) => {
                    let invite = invite.as_ref();
                    self.preview(hash, header, invite) == crate::Standing::Effective
                }
                Some(_) | None => false,
            };
            return (!is_welcome).then_some(Rejection::StrangersFull);
        }
        let is_full = !self.chains.is_live(author, header.seq)
            && self.chains.past_fork_len(author) >= BRANCH_ENTRIES_MAX;
        let is_named = match body {
            Some(Body::Order { provider, .. }) => {
                self.orders.is_named(&hash, provider, &self.rules())
            }
            Some(_) | None => false,
        };
        (is_full && !is_named).then_some(Rejection::BranchesFull)
    }

    fn preview(
        &self,
        hash: EntryHash,
        header: &Header,
        invite: Option<&hearth_protocol::entry::InviteUse>,
    ) -> crate::Standing {
        let joining = Joining {
            hash,
            author: header.author,
            time: header.time,
            invite,
        };
        self.members.preview(&joining, &self.charter, self.commons)
    }

    fn membership_changed(&mut self, nodes: &BTreeSet<NodeId>) {
        for node in nodes {
            let entries = self.chains.len_of(node);
            self.strangers = if self.members.has_joined(node) {
                self.strangers.saturating_sub(entries)
            } else {
                self.strangers + entries
            };
            self.refresh_node(node);
        }
    }

    fn refresh_order(&mut self, hash: EntryHash) {
        let rules = rules(&self.chains, &self.members, &self.nets, &self.charter);
        self.orders.refresh(hash, &rules, &mut self.accounts);
    }

    fn refresh_node(&mut self, node: &NodeId) {
        let rules = rules(&self.chains, &self.members, &self.nets, &self.charter);
        self.orders.refresh_party(node, &rules, &mut self.accounts);
        self.transfers
            .refresh_party(node, &rules, &mut self.accounts);
        for pair in self.nets.pairs_of(node) {
            self.refresh_pair(&pair);
        }
    }
}

/// Borrows what the rules read, and nothing else of the book.
fn rules<'a>(
    chains: &'a Chains,
    members: &'a Members,
    nets: &'a Nets,
    charter: &Charter,
) -> Rules<'a> {
    Rules {
        chains,
        members,
        nets,
        windows: charter.windows,
    }
}
