//! Keeping ledgers and cards alike: heads are compared, missing suffixes asked for and sent.

use hearth_ledger::journal::JournalError;
use hearth_ledger::reconcile::{HeadSet, ROUNDS_MAX};
use hearth_ledger::{ForkError, Insertion, Received};
use hearth_protocol::card::Card;
use hearth_protocol::entry::Entry;
use hearth_protocol::id::{CardId, NodeId};
use hearth_protocol::limits;
use hearth_protocol::sign::Signed;
use hearth_protocol::unit::{Millis, Seq, Timestamp};
use hearth_protocol::wire::{Compare, EntryBatch, ForkProof, Head, Message, SyncMessage};

use super::{SYNC_PERIOD, Switchboard};
use crate::clock::now;
use crate::network::{Channel, NetworkCommand, Topic};
use crate::store::Table;

/// What a header and its signature take beside the body, rounded up.
const HEADER_LEN: usize = 320;
/// Frames of cards sent for one request: half of what a channel queues.
const CARD_PAGES: usize = 32;
/// Bytes of entries in one page: it fits a frame with room to spare.
const PAGE_LEN: usize = 200 * 1024;
/// Entries younger than this are passed on when they come by sync: older ones are history that
/// others have, and a newcomer must not gossip it all again.
const FRESH: Millis = Millis::from_secs(300);

impl Switchboard {
    /// Takes a frame of the sync channel.
    pub(super) fn on_sync(&mut self, peer: NodeId, bytes: &[u8]) {
        let message = match SyncMessage::from_bytes(bytes) {
            Ok(message) => message,
            Err(error) => return self.drop_message(Some(&peer), "sync", &error),
        };
        match message {
            SyncMessage::Hello { capacity } => self.on_capacity(peer, *capacity),
            SyncMessage::Compare(compare) => self.on_compare(peer, &compare),
            SyncMessage::HeadWanted { author } => self.show_head(peer, author),
            SyncMessage::HeadShown { author, heads } => {
                self.on_head_shown(peer, &author, &heads);
                self.settle_heads(peer, &heads);
            }
            SyncMessage::Want { author, from } => self.send_suffix(peer, &author, from),
            SyncMessage::Entries { entries } => {
                // An invalid one was counted; the others stand on their own.
                let _valid = self.on_entries(peer, entries);
            }
            SyncMessage::CardsKnown { ids } => self.on_cards_known(peer, &ids),
            SyncMessage::CardsWanted { ids } => self.send_cards(peer, &ids),
            SyncMessage::Cards { cards } => {
                for card in cards {
                    self.on_card(Some(&peer), card);
                }
            }
            SyncMessage::Fork(proof) => self.on_fork(Some(&peer), &proof),
            SyncMessage::BountyNotes { notes } => self.on_bounty_notes(peer, notes),
        }
    }

    /// First words on a new connection.
    pub(super) fn greet(&self, peer: NodeId) {
        let hello = SyncMessage::Hello {
            capacity: Box::new(self.own_advert(now())),
        };
        self.send_sync(peer, &hello);
        self.ask_newcomer(peer);
        self.open_comparison(peer);
        self.send_cards_known(peer);
        self.send_bounties(peer);
        self.ask_for_branches(peer);
    }

    fn send_cards_known(&self, peer: NodeId) {
        let known = self.shelf.cards().map(|(id, _)| *id);
        let ids: Vec<CardId> = known.take(limits::CARD_IDS_MAX).collect();
        if !ids.is_empty() {
            self.send_sync(peer, &SyncMessage::CardsKnown { ids });
        }
    }

    /// Compares heads with one connected member, another one each time.
    pub(super) fn sync_with_somebody(&mut self, at: Timestamp) {
        self.pulse.sync_due = at.plus(SYNC_PERIOD);
        self.pulse.turn = self.pulse.turn.wrapping_add(1);
        let connected: Vec<NodeId> = self.peers.connected().copied().collect();
        let count = u64::try_from(connected.len()).unwrap_or(u64::MAX);
        let Some(turn) = self.pulse.turn.checked_rem(count) else {
            return;
        };
        if let Some(peer) = connected.get(usize::try_from(turn).unwrap_or(0)) {
            self.open_comparison(*peer);
            self.send_cards_known(*peer);
            self.send_bounty_page(*peer, self.pulse.turn / count);
        }
        self.forget_bounties(at);
        let Some(ledger) = self.ledger.as_mut() else {
            return;
        };
        let received = ledger.admit(at);
        if let Err(error) = ledger.sync() {
            tracing::error!(%error, "the ledger could not be synced");
        }
        if !received.added.is_empty() {
            self.pass_on(received.added);
            self.after_entries();
        }
    }

    /// Begins to compare head sets with a member.
    pub(super) fn open_comparison(&self, peer: NodeId) {
        let Some(ledger) = &self.ledger else { return };
        let key = crate::chance::sixteen();
        let set = HeadSet::new(ledger.book().heads());
        let compare = Compare {
            key,
            round: 1,
            frame: set.open(&key),
            heads: Vec::new(),
        };
        self.send_sync(peer, &SyncMessage::Compare(Box::new(compare)));
    }

    /// Goes on comparing; heads shown on the way are settled at once.
    fn on_compare(&mut self, peer: NodeId, compare: &Compare) {
        let Some(ledger) = &self.ledger else { return };
        let set = HeadSet::new(ledger.book().heads());
        let Compare {
            key,
            round,
            frame,
            heads,
        } = compare;
        let answer = match set.answer(key, frame, heads) {
            Ok(answer) => answer,
            Err(error) => return self.drop_message(Some(&peer), "comparison", &error),
        };
        self.settle_heads(peer, heads);
        let is_over = answer.frame.is_none() && answer.heads.is_empty();
        if is_over || *round >= ROUNDS_MAX {
            return;
        }
        let next = Compare {
            key: *key,
            round: round + 1,
            frame: answer.frame.unwrap_or_default(),
            heads: answer.heads,
        };
        self.send_sync(peer, &SyncMessage::Compare(Box::new(next)));
    }

    /// Asks for what heads of a member show to be missing here, sends what it lacks.
    fn settle_heads(&self, peer: NodeId, theirs: &[Head]) {
        let Some(ledger) = &self.ledger else { return };
        let book = ledger.book();
        for want in book.missing(theirs) {
            let (author, from) = (want.author, want.from);
            self.send_sync(peer, &SyncMessage::Want { author, from });
        }
        for offer in book.offers_to(theirs) {
            self.send_suffix(peer, &offer.author, offer.from);
        }
    }

    fn send_suffix(&self, peer: NodeId, author: &NodeId, from: Seq) {
        let Some(ledger) = &self.ledger else { return };
        let mut entries =
            ledger
                .book()
                .suffix_for(&peer, author, from, limits::ENTRIES_PER_MESSAGE_MAX);
        let mut len = 0;
        // A page that is cut short is asked for again from where it ends.
        entries.retain(|entry| {
            len += entry.body.len() + HEADER_LEN;
            len <= PAGE_LEN
        });
        if !entries.is_empty() {
            self.send_sync(peer, &SyncMessage::Entries { entries });
        }
        for proof in ledger.book().fork_proofs(author) {
            self.send_sync(peer, &SyncMessage::Fork(Box::new(proof.clone())));
        }
    }

    /// Takes entries up, asks for what is missing, passes new ones on; `false` if one was invalid.
    pub(super) fn on_entries(&mut self, peer: NodeId, entries: Vec<Entry>) -> bool {
        let Some(ledger) = self.ledger.as_mut() else {
            return true;
        };
        let length: usize = entries
            .iter()
            .map(|entry| entry.body.len() + HEADER_LEN)
            .sum();
        let full = entries.len() == limits::ENTRIES_PER_MESSAGE_MAX || length > PAGE_LEN / 2;
        let last = entries.last().map(|entry| *entry.header.trusted());
        let received = match ledger.receive(entries, now()) {
            Ok(received) => received,
            Err(error) => {
                tracing::error!(%error, "entries of others could not be kept");
                return true;
            }
        };
        let (outcomes, changed) = self.pass_on_received(received);
        let mut valid = true;
        for outcome in outcomes {
            match outcome {
                Insertion::Gap { author, have } => {
                    let from = have.and_then(Seq::next).unwrap_or(Seq::FIRST);
                    self.send_sync(peer, &SyncMessage::Want { author, from });
                }
                // No fault of who relays it: there is no room here, now.
                Insertion::Invalid(rejection) if rejection.is_temporary() => {}
                Insertion::Invalid(rejection) => {
                    valid = false;
                    self.drop_message(Some(&peer), "entry", &rejection);
                }
                Insertion::Added { .. }
                | Insertion::Known
                | Insertion::Deferred
                | Insertion::Forked(_) => {}
            }
        }
        if let (true, Some(last)) = (full, last)
            && let Some(from) = last.seq.next()
        {
            self.send_sync(
                peer,
                &SyncMessage::Want {
                    author: last.author,
                    from,
                },
            );
        }
        if changed {
            self.after_entries();
        }
        valid
    }

    /// Lets out what is new of received entries; returns what became of each, and whether anything
    /// is new.
    fn pass_on_received(&mut self, received: Received) -> (Vec<Insertion>, bool) {
        let changed = !received.added.is_empty() || !received.forks.is_empty();
        self.pass_on(received.added);
        for proof in &received.forks {
            self.tell_fork(proof);
        }
        if let Some(error) = received.unsaved {
            tracing::error!(%error, "entries of others are not on disk yet");
        }
        (received.outcomes, changed)
    }

    /// Takes entries in that a person brought; returns what became of each.
    pub(super) fn take_in(&mut self, entries: Vec<Entry>) -> Result<Vec<Insertion>, JournalError> {
        let Some(ledger) = self.ledger.as_mut() else {
            return Ok(Vec::new());
        };
        let received = ledger.receive(entries, now())?;
        let (outcomes, changed) = self.pass_on_received(received);
        if changed {
            self.after_entries();
        }
        Ok(outcomes)
    }

    /// Takes a fork proof in that a person brought; returns whether it says something new.
    pub(super) fn take_fork(&mut self, proof: &ForkProof) -> Result<bool, ForkError> {
        let Some(ledger) = self.ledger.as_mut() else {
            return Ok(false);
        };
        let is_news = ledger.receive_fork(proof)?;
        if is_news {
            self.tell_fork(proof);
            self.after_entries();
        }
        Ok(is_news)
    }

    /// Lets young entries out again; the rest is history that others have.
    fn pass_on(&mut self, entries: Vec<Entry>) {
        self.note_thanks(&entries);
        let fresh = now().minus(FRESH);
        self.outbox.extend(
            entries
                .into_iter()
                .filter(|entry| entry.header.trusted().time >= fresh),
        );
    }

    fn on_fork(&mut self, peer: Option<&NodeId>, proof: &ForkProof) {
        match (self.take_fork(proof), peer) {
            (Ok(true), Some(peer)) => self.ask_for_branches(*peer),
            (Ok(_), _) => {}
            (Err(error), _) => self.drop_message(peer, "fork proof", &error),
        }
    }

    fn tell_fork(&self, proof: &ForkProof) {
        let author = proof.left.trusted().author;
        tracing::warn!(author = self.peers.name(&author), "a member's chain forked");
        let message = SyncMessage::Fork(Box::new(proof.clone()));
        let connected: Vec<NodeId> = self.peers.connected().copied().collect();
        for peer in connected {
            self.send_sync(peer, &message);
        }
    }

    fn on_cards_known(&self, peer: NodeId, ids: &[CardId]) {
        let missing: Vec<CardId> = ids
            .iter()
            .filter(|id| self.shelf.card(id).is_none())
            .copied()
            .collect();
        if !missing.is_empty() {
            self.send_sync(peer, &SyncMessage::CardsWanted { ids: missing });
        }
    }

    fn send_cards(&self, peer: NodeId, ids: &[CardId]) {
        let cards: Vec<Signed<Card>> = ids
            .iter()
            .filter_map(|id| self.shelf.card(id).cloned())
            .collect();
        // The rest is asked for again with the next comparison.
        for page in cards.chunks(limits::CARDS_PER_MESSAGE_MAX).take(CARD_PAGES) {
            self.send_sync(
                peer,
                &SyncMessage::Cards {
                    cards: page.to_vec(),
                },
            );
        }
    }

    /// Takes a card up if its signature holds; `true` if it is new.
    pub(super) fn on_card(&mut self, peer: Option<&NodeId>, card: Signed<Card>) -> bool {
        if let Err(error) = card.verify() {
            self.drop_message(peer, "card", &error);
            return false;
        }
        let id = card.trusted().id();
        if self.shelf.card(&id).is_some() {
            return false;
        }
        let publisher = card.trusted().publisher;
        let is_member = self
            .ledger
            .as_ref()
            .is_some_and(|ledger| ledger.book().is_member(&publisher));
        if publisher != self.me && !is_member {
            return false;
        }
        if !self.shelf.has_room(publisher == self.me) {
            self.drop_message(peer, "card", &"there is no room for more cards");
            return false;
        }
        if let Err(error) = self.store.put(Table::Cards, id.as_bytes(), &card) {
            tracing::error!(%error, "a card could not be kept");
            return false;
        }
        self.flush_soon();
        tracing::info!(
            card = id.short(),
            title = super::peers::plain(&card.trusted().title),
            "a card is known"
        );
        let new = self.shelf.add(card);
        self.tell_shelf();
        new
    }

    /// Publishes what is waiting, in batches that gossip carries.
    pub(super) fn publish_entries(&mut self) {
        let mut batch: Vec<Entry> = Vec::new();
        let mut len = 0;
        for entry in std::mem::take(&mut self.outbox) {
            let size = entry.body.len() + 320;
            if batch.len() == limits::ENTRIES_PER_MESSAGE_MAX
                || len + size > limits::GOSSIP_LEN_MAX / 2
            {
                self.publish(
                    Topic::Ledger,
                    EntryBatch {
                        entries: std::mem::take(&mut batch),
                    }
                    .to_bytes(),
                );
                len = 0;
            }
            len += size;
            batch.push(entry);
        }
        if !batch.is_empty() {
            self.publish(Topic::Ledger, EntryBatch { entries: batch }.to_bytes());
        }
    }

    pub(super) fn publish(&self, topic: Topic, bytes: Vec<u8>) {
        self.command(NetworkCommand::Publish { topic, bytes });
    }

    pub(super) fn send_sync(&self, peer: NodeId, message: &SyncMessage) {
        self.command(NetworkCommand::Send {
            peer,
            channel: Channel::Sync,
            bytes: message.to_bytes(),
        });
    }

    /// Hands the network a command; one it has no room for is traced and lost, as on a bad wire.
    pub(super) fn command(&self, command: NetworkCommand) {
        if let Some(network) = &self.rooms.network
            && let Err(error) = network.command(command)
        {
            tracing::warn!(%error, "the network did not take a command");
        }
    }
}
