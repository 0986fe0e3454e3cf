//! What people and other rooms ask the book.

use std::collections::BTreeSet;

use hearth_protocol::charter::{Caps, Charter, PriceTable};
use hearth_protocol::entry::{Body, Entry, Verdict};
use hearth_protocol::id::{Commitment, CommonsId, EntryHash, NodeId};
use hearth_protocol::unit::{Balance, Millikudos, Seq, Timestamp};
use hearth_protocol::wire::{ForkProof, Head};

use super::Book;
use crate::amend::Amendment;
use crate::chain::{self, Scrutiny, Stored, Want};
use crate::evidence::Evidence;
use crate::order::OrderView;
use crate::rejection::Rejection;
use crate::standing::Standing;
use crate::transfer::Transfer;

impl Book {
    /// Returns the charter as founded; see [`prices`](Self::prices), [`caps`](Self::caps) and
    /// [`rules_text`](Self::rules_text) for what was amended since.
    pub const fn charter(&self) -> &Charter {
        &self.charter
    }

    /// Returns the prices that hold now.
    pub fn prices(&self) -> PriceTable {
        let said = self.amended(|amendment| amendment.prices.as_ref());
        said.copied().unwrap_or(self.charter.prices)
    }

    /// Returns the credit caps that hold now.
    pub fn caps(&self) -> Caps {
        let said = self.amended(|amendment| amendment.caps.as_ref());
        said.copied().unwrap_or(self.charter.caps)
    }

    /// Returns the rules in words that hold now.
    pub fn rules_text(&self) -> &str {
        let said = self.amended(|amendment| amendment.rules.as_ref());
        said.map_or(self.charter.rules.as_str(), String::as_str)
    }

    fn amended<T>(&self, of: impl Fn(&Amendment) -> Option<&T>) -> Option<&T> {
        let founder = &self.charter.founder;
        let latest = self.amendments.latest(founder, &self.rules(), of);
        latest.map(|(_, said)| said)
    }

    /// Returns what third parties found about a receipt, each one's last word.
    pub fn audits_of(&self, receipt: &EntryHash) -> Vec<Evidence> {
        self.audits.of(receipt, &self.rules())
    }

    /// Returns the commons' name.
    pub const fn commons(&self) -> CommonsId {
        self.commons
    }

    /// Returns the number of stored entries.
    pub fn len(&self) -> usize {
        self.chains.len()
    }

    /// Returns whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of entries held back because they are dated ahead of the clock.
    pub fn deferred_len(&self) -> usize {
        self.deferred.len()
    }

    /// Returns a stored entry.
    pub fn entry(&self, hash: &EntryHash) -> Option<&Entry> {
        self.chains.stored(hash).map(|stored| &stored.entry)
    }

    /// Returns whether an entry is stored.
    pub fn contains(&self, hash: &EntryHash) -> bool {
        self.chains.stored(hash).is_some()
    }

    /// Returns all stored entries, chain by chain, each in order of place.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.chains.in_order().map(|stored| &stored.entry)
    }

    /// Returns stored entries after one, in the same order; all of them for `None`, none for an
    /// entry that is not stored.
    pub fn entries_after(&self, after: Option<&EntryHash>) -> impl Iterator<Item = &Entry> {
        let from = after.map(|hash| self.chains.stored(hash).map(Stored::header));
        let is_known = from != Some(None);
        self.chains
            .in_order_after(from.flatten())
            .filter(move |_| is_known)
            .map(|stored| &stored.entry)
    }

    /// Returns the number of stored entries of one author.
    pub fn len_of(&self, author: &NodeId) -> usize {
        self.chains.len_of(author)
    }

    /// Returns, for each chain that goes on in an unknown version, from where on and how many
    /// entries are without effect for that.
    pub fn frozen(&self) -> Vec<(NodeId, Seq, usize)> {
        let mut chains: Vec<(NodeId, Seq, usize)> = Vec::new();
        for stored in self.chains.in_order().filter(|stored| stored.frozen) {
            let header = stored.header();
            match chains.last_mut() {
                Some((author, _, count)) if *author == header.author => *count += 1,
                Some(_) | None => chains.push((header.author, header.seq, 1)),
            }
        }
        chains
    }

    /// Returns the requester's last ack on a receipt that is heard, and what it says.
    pub fn ack(&self, receipt: &EntryHash) -> Option<(EntryHash, Verdict)> {
        self.orders.ack_on(receipt, &self.rules())
    }

    /// Returns whether both sides closed the account over an order.
    pub fn is_closed(&self, order: &EntryHash) -> bool {
        self.orders.is_closed(order, &self.rules())
    }

    /// Returns the node's balance: all effective moves.
    pub fn balance(&self, node: &NodeId) -> Balance {
        self.accounts.balance(node)
    }

    /// Returns the part of the balance that was earned and is not accepted: un-acked or disputed.
    pub fn pending(&self, node: &NodeId) -> Balance {
        self.accounts.pending(node)
    }

    /// Returns the balance less what is pending.
    pub fn spendable(&self, node: &NodeId) -> Balance {
        Balance::from_mk(self.balance(node).mk() - self.pending(node).mk())
    }

    /// Returns the balance of every node that ever had a move; they sum to zero.
    pub fn balances(&self) -> Vec<(NodeId, Balance)> {
        self.accounts.balances().collect()
    }

    /// Returns whether the node joined with effect and has not left.
    pub fn is_member(&self, node: &NodeId) -> bool {
        self.members.has_joined(node) && !self.rules().has_left(node, Seq::new(u64::MAX))
    }

    /// Returns every member in order of name.
    pub fn members(&self) -> Vec<NodeId> {
        let joined = self.members.joined();
        joined
            .filter(|node| self.is_member(node))
            .copied()
            .collect()
    }

    /// Returns what `from` lets `to` owe it: its latest word, else the charter's. Zero when `to`
    /// is no member, forked, or `from` itself; after a heal only a word dated later counts.
    pub fn line(&self, from: &NodeId, to: &NodeId) -> Millikudos {
        if from == to || !self.is_member(to) || self.is_forked(to) {
            return Millikudos::ZERO;
        }
        let said = self.lines.latest(*from, *to, &self.rules());
        match self.healed(to) {
            // On probation: only who has seen the heal may lend, and must say so.
            Some(healed) => said
                .filter(|(entry, _)| self.date(entry) > Some(healed))
                .map_or(Millikudos::ZERO, |(_, limit)| limit),
            None => said.map_or(self.charter.member_line, |(_, limit)| limit),
        }
    }

    /// Returns what the provider stands to lose to the requester: its charges and the
    /// requester's open holds with it, less the requester's accepted work for it and its own
    /// transfers to the requester. Negative when the requester did more. A requester's transfers
    /// do not lower it: they are paid in the very debt that is in question.
    pub fn exposure(&self, provider: &NodeId, requester: &NodeId) -> Balance {
        self.accounts.exposure(*provider, *requester)
    }

    /// Returns an order; `None` while its own entry is missing.
    pub fn order(&self, hash: &EntryHash) -> Option<OrderView> {
        self.orders.view(hash)
    }

    /// Returns every order.
    pub fn orders(&self) -> impl Iterator<Item = OrderView> {
        self.orders.views()
    }

    /// Returns the orders the node placed or took, in no order that means anything.
    pub fn orders_of(&self, node: &NodeId) -> impl Iterator<Item = OrderView> {
        self.orders.of_party(node)
    }

    /// Returns the orders of the node that are held.
    pub fn open_orders_by(&self, requester: &NodeId) -> Vec<OrderView> {
        self.orders.open_by(requester).collect()
    }

    /// Returns the held orders that the node may charge.
    pub fn open_orders_at(&self, provider: &NodeId) -> Vec<OrderView> {
        self.orders.open_at(provider).collect()
    }

    /// Returns the settled orders whose receipt the node has said nothing about.
    pub fn receipts_unacked_by(&self, requester: &NodeId) -> Vec<OrderView> {
        self.orders.unacked_by(requester).collect()
    }

    /// Returns all orders the requester placed for one job: at most one receipt among them is
    /// ever undisputed, so a provider looks before it starts.
    pub fn orders_of_job(&self, requester: &NodeId, job: &Commitment) -> Vec<OrderView> {
        self.orders.of_job(*requester, *job)
    }

    /// Returns the effective transfers the node has part in.
    pub(crate) fn transfers_of(
        &self,
        node: &NodeId,
    ) -> impl Iterator<Item = (&EntryHash, &Transfer)> {
        self.transfers.of(node)
    }

    /// Returns every effective transfer.
    pub(crate) fn transfers(&self) -> impl Iterator<Item = (&EntryHash, &Transfer)> {
        self.transfers.effective()
    }

    /// Returns whether the author is known to have forked and has not healed its chain.
    pub fn is_forked(&self, author: &NodeId) -> bool {
        self.chains.fork(author).is_some() && self.chains.healed(author).is_none()
    }

    /// Returns the date of the heal from which on a forked author's chain counts again.
    pub fn healed(&self, author: &NodeId) -> Option<Timestamp> {
        self.chains.healed(author).map(|(_, date)| date)
    }

    /// Returns the last entry of every branch of a forked author, the highest first.
    pub fn branch_ends(&self, author: &NodeId) -> Vec<Head> {
        let ends = self.chains.branch_ends(author).into_iter();
        let author = *author;
        ends.map(|(seq, hash)| Head { author, seq, hash }).collect()
    }

    /// Returns the proof that an author forked, healed or not.
    pub fn fork(&self, author: &NodeId) -> Option<&ForkProof> {
        self.chains.fork(author)
    }

    /// Returns every proof kept against an author: of its lowest fork and of its highest.
    pub fn fork_proofs(&self, author: &NodeId) -> impl Iterator<Item = &ForkProof> {
        let proofs = [self.chains.fork(author), self.chains.refork(author)];
        proofs.into_iter().flatten()
    }

    /// Returns every proof that is kept, in order of author.
    pub fn proofs(&self) -> impl Iterator<Item = &ForkProof> {
        let authors = self.chains.forks().map(|(author, _)| author);
        authors.flat_map(|author| self.fork_proofs(author))
    }

    /// Returns the proof of every author's lowest fork, in order of author.
    pub fn forks(&self) -> impl Iterator<Item = &ForkProof> {
        self.chains.forks().map(|(_, proof)| proof)
    }

    /// Returns the newest entry of the author's chain that counts.
    pub fn head(&self, author: &NodeId) -> Option<Head> {
        self.chains.tip(author)
    }

    /// Returns the date of an entry.
    pub fn date(&self, hash: &EntryHash) -> Option<Timestamp> {
        self.chains.stored(hash).map(|stored| stored.header().time)
    }

    /// Returns the heads of every chain that is passed on, in order of author. A forked author
    /// has its last entry before the fork, every later order that a receipt makes count, and its
    /// heals with the branches they name.
    pub fn heads(&self) -> Vec<Head> {
        let mut heads = Vec::new();
        for author in self.members.joined() {
            heads.extend(self.chains.tip(author));
            for hash in self.marks(author) {
                if let Some(stored) = self.chains.stored(&hash) {
                    let (author, seq) = (*author, stored.header().seq);
                    heads.push(Head { author, seq, hash });
                }
            }
        }
        heads.sort_unstable();
        heads.dedup();
        heads
    }

    /// Returns what is passed on past an author's fork, ancestors aside.
    fn marks(&self, author: &NodeId) -> BTreeSet<EntryHash> {
        let mut marks = self.orders.rescued(author);
        marks.extend(self.chains.heal_marks(author));
        marks
    }

    /// Returns up to `max` entries of a chain from a place on, in order. Empty for a chain that
    /// is not passed on; past a fork only the orders that count and what leads to them.
    pub fn suffix(&self, author: &NodeId, from: Seq, max: usize) -> Vec<Entry> {
        if !self.members.has_joined(author) {
            return Vec::new();
        }
        let kept = if self.chains.fork(author).is_some() {
            self.chains.ancestry(author, &self.marks(author))
        } else {
            BTreeSet::new()
        };
        self.chains.suffix(author, from, max, &kept)
    }

    /// As [`suffix`](Self::suffix), for one who asks: an author is given every branch of its own
    /// chain, since it must name them all to heal it.
    pub fn suffix_for(&self, asker: &NodeId, author: &NodeId, from: Seq, max: usize) -> Vec<Entry> {
        if asker != author || !self.members.has_joined(author) {
            return self.suffix(author, from, max);
        }
        let mut ends = self.marks(author);
        ends.extend(
            self.chains
                .branch_ends(author)
                .into_iter()
                .map(|(_, hash)| hash),
        );
        let kept = self.chains.ancestry(author, &ends);
        self.chains.suffix(author, from, max, &kept)
    }

    /// Returns what to ask a peer for that named these heads.
    pub fn missing(&self, theirs: &[Head]) -> Vec<Want> {
        let mut wants: Vec<Want> = theirs
            .iter()
            .filter_map(|head| self.chains.want(head))
            .collect();
        wants.sort_unstable();
        wants.dedup_by_key(|want| want.author);
        wants
    }

    /// Returns what a peer that named all of its heads lacks, to be sent with
    /// [`suffix`](Self::suffix).
    pub fn offers(&self, theirs: &[Head]) -> Vec<Want> {
        let known: BTreeSet<EntryHash> = theirs.iter().map(|head| head.hash).collect();
        let mut offers = Vec::new();
        for head in self.heads() {
            if known.contains(&head.hash) {
                continue;
            }
            let author = head.author;
            let theirs = theirs.iter().filter(|their| their.author == author);
            let from = match theirs.map(|their| their.seq).max() {
                // They are ahead, or on another branch: they ask, or we do.
                Some(seq) if seq >= head.seq => continue,
                Some(seq) => seq.next().unwrap_or(seq),
                None => Seq::FIRST,
            };
            offers.push(Want { author, from });
        }
        offers.sort_unstable();
        offers.dedup_by_key(|offer| offer.author);
        offers
    }

    /// Returns what a peer that showed some heads lacks of the chains of their authors.
    pub fn offers_to(&self, theirs: &[Head]) -> Vec<Want> {
        let authors: BTreeSet<NodeId> = theirs.iter().map(|head| head.author).collect();
        let mut offers = self.offers(theirs);
        offers.retain(|offer| authors.contains(&offer.author));
        offers
    }

    /// Says what a join would do, without taking it in.
    ///
    /// # Errors
    /// [`Rejection`] when it is not the valid start of a chain of this commons.
    pub fn preview_join(&self, entry: &Entry) -> Result<Standing, Rejection> {
        match chain::check(entry, self.commons, Scrutiny::Full)? {
            Some(Body::Join { invite }) => {
                let header = entry.header.trusted();
                Ok(self.preview(entry.hash(), header, invite.as_ref()))
            }
            Some(_) | None => Err(Rejection::NotJoin),
        }
    }
}
