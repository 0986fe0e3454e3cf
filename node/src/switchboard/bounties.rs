//! Notes about bounties on their way: between members, and to and from disk.
//!
//! What they come to is the ledger crate's word ([`hearth_ledger::bounty`]); what a person asks is in
//! [`super::command`]. Rules L91 and L94 of `specs/bounties.md`.

use hearth_ledger::{Bounties, NoteClock, NoteRefusal, Slot, Taken};
use hearth_protocol::bounty::BountyNote;
use hearth_protocol::id::{CommonsId, NodeId};
use hearth_protocol::limits;
use hearth_protocol::sign::Signed;
use hearth_protocol::snapshot::{Notice, TrustLevel};
use hearth_protocol::unit::Timestamp;
use hearth_protocol::wire::SyncMessage;

use super::Switchboard;
use crate::clock::now;
use crate::store::{StoreError, Table};

/// Why an own note was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoteError {
    /// A rule says no.
    #[error(transparent)]
    Refused(#[from] NoteRefusal),
    /// It, or a word that counts before it, is here.
    #[error("this has been said already")]
    Known,
    /// This node is no member, or the bounty is not here.
    #[error("the note's bounty or this node's membership is not known here")]
    Early,
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Switchboard {
    /// Takes up the notes of the commons just entered; others, and forgotten ones, are deleted.
    pub(super) fn open_bounties(&mut self, commons: CommonsId) -> Result<(), StoreError> {
        let kept = self.store.all::<Signed<BountyNote>>(Table::Bounties)?;
        let (keys, notes): (Vec<Vec<u8>>, Vec<Signed<BountyNote>>) = kept.into_iter().unzip();
        let board = Bounties::restore(commons, notes, now());
        let held: Vec<Vec<u8>> = board
            .notes()
            .map(|note| Slot::of(note.trusted()).key())
            .collect();
        for key in keys.iter().filter(|key| !held.contains(key)) {
            self.store.remove(Table::Bounties, key)?;
        }
        self.bounties = Some(board);
        Ok(())
    }

    fn note_clock(&self) -> Option<NoteClock> {
        let charter = self.charter.as_ref()?.trusted();
        Some(NoteClock {
            now: now(),
            skew: charter.windows.skew,
        })
    }

    /// Does something with the board by the clock and the members of now.
    fn with_bounties<T>(
        &mut self,
        act: impl FnOnce(&mut Bounties, NoteClock, &dyn Fn(&NodeId) -> bool) -> T,
    ) -> Option<T> {
        let clock = self.note_clock()?;
        let (me, ledger, peers) = (self.me, self.ledger.as_ref()?, &self.peers);
        let is_heard = |node: &NodeId| {
            let is_blocked = *node != me && peers.level(node) == TrustLevel::Blocked;
            ledger.book().is_member(node) && !is_blocked
        };
        Some(act(self.bounties.as_mut()?, clock, &is_heard))
    }

    /// Takes notes of a member up and passes on what is new.
    pub(super) fn on_bounty_notes(&mut self, peer: NodeId, notes: Vec<Signed<BountyNote>>) {
        let mut new = Vec::new();
        for note in notes {
            let taken = self
                .with_bounties(|board, clock, is_heard| board.take(note.clone(), clock, is_heard));
            match taken {
                Some(Ok(Taken::New(_))) => new.push(note),
                Some(Ok(Taken::Known | Taken::Early)) | None => {}
                Some(Err(refusal)) if refusal.is_fault() => {
                    self.drop_message(Some(&peer), "bounty note", &refusal);
                }
                Some(Err(refusal)) => {
                    tracing::debug!(code = refusal.code(), %refusal, "a note was not kept");
                }
            }
        }
        if !new.is_empty() {
            self.spread_notes(new, Some(peer));
            self.retry_bounties();
        }
    }

    /// Tries the notes again that waited for a bounty or a member.
    pub(super) fn retry_bounties(&mut self) {
        let new = self.with_bounties(|board, clock, is_heard| board.retry(clock, is_heard));
        if let Some(new) = new.filter(|new| !new.is_empty()) {
            self.spread_notes(new, None);
        }
    }

    /// Keeps new notes of others and passes them on.
    fn spread_notes(&mut self, new: Vec<Signed<BountyNote>>, from: Option<NodeId>) {
        for note in &new {
            self.stored("keeping a note about a bounty", |board| {
                let key = Slot::of(note.trusted()).key();
                board.store.put(Table::Bounties, &key, note)
            });
        }
        self.flush_soon();
        self.tell_notes(new, from);
        self.notice(Notice::Changed);
    }

    /// Signs a note of one's own; it is on disk and on its way when this returns.
    pub(super) fn say_of_bounty(
        &mut self,
        note: BountyNote,
    ) -> Result<Signed<BountyNote>, NoteError> {
        let note = Signed::sign(note, &self.facts.key);
        let taken = self
            .with_bounties(|board, clock, is_heard| board.take(note.clone(), clock, is_heard))
            .ok_or(NoteError::Early)??;
        let slot = match taken {
            Taken::New(slot) => slot,
            Taken::Known => return Err(NoteError::Known),
            Taken::Early => return Err(NoteError::Early),
        };
        self.store.put(Table::Bounties, &slot.key(), &note)?;
        self.store.flush()?;
        self.tell_notes(vec![note.clone()], None);
        self.notice(Notice::Changed);
        Ok(note)
    }

    fn tell_notes(&self, notes: Vec<Signed<BountyNote>>, from: Option<NodeId>) {
        let message = SyncMessage::BountyNotes { notes };
        let others = self.peers.connected().filter(|peer| Some(**peer) != from);
        for peer in others {
            self.send_sync(*peer, &message);
        }
    }

    fn note_pages(&self) -> Vec<Vec<Signed<BountyNote>>> {
        let Some(board) = &self.bounties else {
            return Vec::new();
        };
        let notes: Vec<Signed<BountyNote>> = board.notes().cloned().collect();
        notes
            .chunks(limits::BOUNTY_NOTES_PER_MESSAGE_MAX)
            .map(<[Signed<BountyNote>]>::to_vec)
            .collect()
    }

    /// Sends a member everything, when it is met.
    pub(super) fn send_bounties(&self, peer: NodeId) {
        for notes in self.note_pages() {
            self.send_sync(peer, &SyncMessage::BountyNotes { notes });
        }
    }

    /// Sends a member one page, another one each turn: what a bad wire lost comes again.
    pub(super) fn send_bounty_page(&self, peer: NodeId, turn: u64) {
        let mut pages = self.note_pages();
        let count = u64::try_from(pages.len()).unwrap_or(u64::MAX);
        let at = turn
            .checked_rem(count)
            .and_then(|at| usize::try_from(at).ok());
        if let Some(at) = at {
            let notes = pages.swap_remove(at);
            self.send_sync(peer, &SyncMessage::BountyNotes { notes });
        }
    }

    /// Forgets bounties that ended long ago (L95).
    pub(super) fn forget_bounties(&mut self, at: Timestamp) {
        let Some(board) = self.bounties.as_mut() else {
            return;
        };
        let gone = board.forget(at);
        for slot in &gone {
            self.stored("forgetting a bounty", |board| {
                board.store.remove(Table::Bounties, &slot.key())
            });
        }
        if !gone.is_empty() {
            self.flush_soon();
        }
    }
}
