//! What the notes about bounties come to: who wants what, who promised, who did it, who paid.
//!
//! [`Bounties`] keeps at most one note for each thing one node can say of one bounty, so the same
//! notes give the same state in any order of arrival. Notes move no kudos and are no part of the
//! digest; what was paid is read from the book's transfers ([`Book::bounty_shares`]). Rules L90 to
//! L95 of `specs/bounties.md`. Start at [`Bounties::take`].

use std::collections::{BTreeMap, VecDeque};

use hearth_protocol::bounty::{BountyAward, BountyClaim, BountyNote, BountyOpen, BountyPledge};
use hearth_protocol::entry::TransferReason;
use hearth_protocol::id::{BountyId, CommonsId, EntryHash, NodeId};
use hearth_protocol::limits;
use hearth_protocol::sign::{Signable, Signed};
use hearth_protocol::unit::{Balance, Millikudos, Timestamp};

use crate::book::Book;
use crate::note::{NoteClock, NoteKind, NoteRefusal, Slot, Taken};

/// The bounties of one commons that a node knows.
#[derive(Debug, Clone)]
pub struct Bounties {
    commons: CommonsId,
    notes: BTreeMap<Slot, Signed<BountyNote>>,
    early: VecDeque<Signed<BountyNote>>,
}

impl Bounties {
    /// Makes an empty board.
    pub const fn new(commons: CommonsId) -> Self {
        Self {
            commons,
            notes: BTreeMap::new(),
            early: VecDeque::new(),
        }
    }

    /// Takes up notes that were kept, in order of their keys: their signatures were checked before.
    /// Those of other commons and of forgotten bounties stay away.
    pub fn restore(
        commons: CommonsId,
        notes: impl IntoIterator<Item = Signed<BountyNote>>,
        now: Timestamp,
    ) -> Self {
        let mut board = Self::new(commons);
        for note in notes {
            let slot = Slot::of(note.trusted());
            let is_ours = match note.trusted() {
                BountyNote::Open(open) => open.commons == commons && !is_forgotten(open, now),
                BountyNote::Pledge(_) | BountyNote::Claim(_) | BountyNote::Award(_) => {
                    board.opening(&slot.bounty).is_some()
                }
            };
            if is_ours {
                board.notes.insert(slot, note);
            }
        }
        board
    }

    /// Takes a note up. `is_member` says whose words count (L91).
    ///
    /// # Errors
    /// [`NoteRefusal`]; then nothing changed.
    pub fn take(
        &mut self,
        note: Signed<BountyNote>,
        clock: NoteClock,
        is_member: &dyn Fn(&NodeId) -> bool,
    ) -> Result<Taken, NoteRefusal> {
        let slot = Slot::of(note.trusted());
        let kept = self.notes.get(&slot);
        if kept.is_some_and(|kept| !counts_before(note.trusted(), kept.trusted())) {
            return Ok(Taken::Known);
        }
        note.verify().map_err(NoteRefusal::Signature)?;
        if note.trusted().created() > clock.now.plus(clock.skew) {
            return Err(NoteRefusal::Ahead);
        }
        let author = note.trusted().signer();
        let is_replaced = kept.is_some();
        let open = match note.trusted() {
            BountyNote::Open(open) => Some(open),
            BountyNote::Pledge(_) | BountyNote::Claim(_) | BountyNote::Award(_) => {
                self.opening(&slot.bounty)
            }
        };
        let Some(open) = open.filter(|_| is_member(&author)) else {
            self.wait(note);
            return Ok(Taken::Early);
        };
        self.fits(note.trusted(), open, clock.now)?;
        if !is_replaced {
            self.must_have_room(&author)?;
        }
        self.notes.insert(slot, note);
        Ok(Taken::New(slot))
    }

    /// Tries the notes again that wait; returns those that are new now.
    pub fn retry(
        &mut self,
        clock: NoteClock,
        is_member: &dyn Fn(&NodeId) -> bool,
    ) -> Vec<Signed<BountyNote>> {
        let mut early: Vec<_> = std::mem::take(&mut self.early).into();
        // Openings first: the others may wait for them.
        early.sort_by_key(|note| Slot::of(note.trusted()).kind);
        let mut new = Vec::new();
        for note in early {
            if let Ok(Taken::New(_)) = self.take(note.clone(), clock, is_member) {
                new.push(note);
            }
        }
        new
    }

    /// Keeps a note for later; the oldest makes room.
    fn wait(&mut self, note: Signed<BountyNote>) {
        if self.early.contains(&note) {
            return;
        }
        if self.early.len() >= limits::BOUNTY_NOTES_EARLY_MAX {
            self.early.pop_front();
        }
        self.early.push_back(note);
    }

    /// Decides by a note and its bounty alone.
    fn fits(
        &self,
        note: &BountyNote,
        open: &BountyOpen,
        now: Timestamp,
    ) -> Result<(), NoteRefusal> {
        if open.commons != self.commons {
            return Err(NoteRefusal::OtherCommons);
        }
        if is_forgotten(open, now) {
            return Err(NoteRefusal::Over);
        }
        match note {
            BountyNote::Open(open) if open.title.trim().is_empty() => Err(NoteRefusal::Empty),
            BountyNote::Open(open) => {
                let life = open.until.since(open.created);
                if open.until <= open.created || life > limits::BOUNTY_LIFE_MAX {
                    return Err(NoteRefusal::Life);
                }
                Ok(())
            }
            BountyNote::Pledge(pledge) if pledge.amount == Millikudos::ZERO => {
                Err(NoteRefusal::Empty)
            }
            BountyNote::Claim(claim) if claim.author == open.author => Err(NoteRefusal::Oneself),
            BountyNote::Pledge(_) | BountyNote::Claim(_) if note.created() > open.until => {
                Err(NoteRefusal::Over)
            }
            BountyNote::Award(award) if award.author != open.author => Err(NoteRefusal::NotOpener),
            BountyNote::Award(award) if award.claimant == open.author => Err(NoteRefusal::Oneself),
            BountyNote::Pledge(_) | BountyNote::Claim(_) | BountyNote::Award(_) => Ok(()),
        }
    }

    fn must_have_room(&self, author: &NodeId) -> Result<(), NoteRefusal> {
        if self.notes.len() >= limits::BOUNTY_NOTES_MAX {
            return Err(NoteRefusal::Full);
        }
        let by_author = |note: &&Signed<BountyNote>| note.trusted().signer() == *author;
        if self.notes.values().filter(by_author).count() >= limits::BOUNTY_NOTES_PER_AUTHOR_MAX {
            return Err(NoteRefusal::AuthorFull);
        }
        Ok(())
    }

    fn opening(&self, bounty: &BountyId) -> Option<&BountyOpen> {
        let first = self.of(bounty).next()?;
        match first {
            BountyNote::Open(open) => Some(open),
            BountyNote::Pledge(_) | BountyNote::Claim(_) | BountyNote::Award(_) => None,
        }
    }

    /// Returns what is said of one bounty, the opening first.
    fn of(&self, bounty: &BountyId) -> impl Iterator<Item = &BountyNote> {
        let first = Slot {
            bounty: *bounty,
            kind: NoteKind::Open,
            node: NodeId::from_bytes([0; 32]),
        };
        let bounty = *bounty;
        self.notes
            .range(first..)
            .take_while(move |(slot, _)| slot.bounty == bounty)
            .map(|(_, note)| note.trusted())
    }

    /// Forgets bounties whose time to be judged and paid is over (L95); returns what is no longer kept.
    pub fn forget(&mut self, now: Timestamp) -> Vec<Slot> {
        let over: Vec<BountyId> = self
            .ids()
            .into_iter()
            .filter(|id| self.opening(id).is_none_or(|open| is_forgotten(open, now)))
            .collect();
        let gone: Vec<Slot> = self
            .notes
            .keys()
            .filter(|slot| over.contains(&slot.bounty))
            .copied()
            .collect();
        for slot in &gone {
            self.notes.remove(slot);
        }
        gone
    }

    /// Returns every note as it was signed, of each bounty the opening first.
    pub fn notes(&self) -> impl Iterator<Item = &Signed<BountyNote>> {
        self.notes.values()
    }

    /// Returns every bounty's id.
    pub fn ids(&self) -> Vec<BountyId> {
        let openings = self.notes.keys().filter(|slot| slot.kind == NoteKind::Open);
        openings.map(|slot| slot.bounty).collect()
    }

    /// Returns one bounty with what counts for it (L92, L93).
    pub fn get(&self, bounty: &BountyId) -> Option<Bounty<'_>> {
        let mut found = Bounty {
            id: *bounty,
            open: self.opening(bounty)?,
            pledges: Vec::new(),
            claims: Vec::new(),
            awards: Vec::new(),
        };
        for note in self.of(bounty) {
            match note {
                BountyNote::Open(_) => {}
                BountyNote::Pledge(pledge) => found.pledges.push(pledge),
                BountyNote::Claim(claim) => found.claims.push(claim),
                BountyNote::Award(award) => found.awards.push(award),
            }
        }
        let Bounty { claims, awards, .. } = &mut found;
        // An award waits for its claim: it may be on the way.
        awards.retain(|award| claims.iter().any(|claim| claim.author == award.claimant));
        Some(found)
    }
}

/// Returns whether a note takes another's place in their slot: of pledges the greatest counts, of
/// claims the last, of awards the first.
fn counts_before(note: &BountyNote, kept: &BountyNote) -> bool {
    let dated = |note: &BountyNote| (note.created(), note.id());
    match (note, kept) {
        (BountyNote::Pledge(note), BountyNote::Pledge(kept)) => note.amount > kept.amount,
        (BountyNote::Claim(_), BountyNote::Claim(_)) => dated(note) > dated(kept),
        (BountyNote::Award(_), BountyNote::Award(_)) => dated(note) < dated(kept),
        (
            BountyNote::Open(_)
            | BountyNote::Pledge(_)
            | BountyNote::Claim(_)
            | BountyNote::Award(_),
            _,
        ) => false,
    }
}

fn is_forgotten(open: &BountyOpen, now: Timestamp) -> bool {
    open.until.plus(limits::BOUNTY_KEPT) < now
}

/// How far a bounty is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BountyStage {
    /// It can be pledged to and claimed.
    Open,
    /// Its end passed without an award.
    Over,
    /// Somebody did it; not every pledge is paid.
    Awarded,
    /// Somebody did it, and every pledge is paid.
    Paid,
}

/// One bounty with what counts for it.
#[derive(Debug, Clone)]
pub struct Bounty<'a> {
    /// Its id.
    pub id: BountyId,
    /// What is wanted.
    pub open: &'a BountyOpen,
    /// Promises, in order of backer.
    pub pledges: Vec<&'a BountyPledge>,
    /// Claims, in order of claimant.
    pub claims: Vec<&'a BountyClaim>,
    /// Awards to those who claimed it, in order of claimant.
    pub awards: Vec<&'a BountyAward>,
}

impl Bounty<'_> {
    /// Returns what was promised in all.
    pub fn pledged(&self) -> Balance {
        let amounts = self.pledges.iter().map(|pledge| pledge.amount);
        amounts.fold(Balance::ZERO, Balance::plus)
    }

    /// Returns whether the opener awarded it to a member.
    pub fn is_awarded_to(&self, node: &NodeId) -> bool {
        self.awards.iter().any(|award| award.claimant == *node)
    }

    /// Returns what a backer promised and has not paid, given what was paid for bounties. Who was
    /// awarded owes nothing: it would pay itself.
    pub fn due(&self, backer: &NodeId, shares: &[Share]) -> Millikudos {
        if self.is_awarded_to(backer) {
            return Millikudos::ZERO;
        }
        let mut pledges = self.pledges.iter();
        let pledged = pledges.find(|pledge| pledge.author == *backer);
        let pledged = pledged.map_or(Balance::ZERO, |pledge| Balance::ZERO.plus(pledge.amount));
        let left = pledged.mk() - paid(shares, &self.id, backer).mk();
        Millikudos::saturating(u64::try_from(left.max(0)).unwrap_or(u64::MAX))
    }

    /// Returns how far it is.
    pub fn stage(&self, shares: &[Share], now: Timestamp) -> BountyStage {
        let is_due = |pledge: &&BountyPledge| self.due(&pledge.author, shares) > Millikudos::ZERO;
        if self.awards.is_empty() {
            if now > self.open.until {
                BountyStage::Over
            } else {
                BountyStage::Open
            }
        } else if self.pledges.iter().any(is_due) {
            BountyStage::Awarded
        } else {
            BountyStage::Paid
        }
    }
}

/// Returns what one member paid for a bounty.
pub fn paid(shares: &[Share], bounty: &BountyId, backer: &NodeId) -> Balance {
    let theirs = shares
        .iter()
        .filter(|share| share.bounty == *bounty && share.from == *backer);
    theirs.fold(Balance::ZERO, |sum, share| sum.plus(share.amount))
}

/// An effective transfer that names a bounty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Which bounty.
    pub bounty: BountyId,
    /// Who paid.
    pub from: NodeId,
    /// Who received.
    pub to: NodeId,
    /// How much.
    pub amount: Millikudos,
    /// The transfer's entry.
    pub entry: EntryHash,
}

impl Book {
    /// Returns every effective transfer that names a bounty, in order of entry.
    pub fn bounty_shares(&self) -> Vec<Share> {
        let mut shares = Vec::new();
        for (entry, transfer) in self.transfers() {
            if let TransferReason::Bounty { id } = transfer.reason {
                shares.push(Share {
                    bounty: id,
                    from: transfer.from,
                    to: transfer.to,
                    amount: transfer.amount,
                    entry: *entry,
                });
            }
        }
        shares
    }
}
