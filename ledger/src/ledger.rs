//! Book, journal and key together: what a node holds of one commons.
//!
//! Keeps the two promises that need all three. An entry of one's own is on disk before anybody,
//! the caller included, sees its signature (L-durable); and nothing is ever signed at a place
//! that is taken, even when only a peer still knows that it is (L-fork).

use std::path::Path;

use hearth_protocol::charter::Charter;
use hearth_protocol::entry::{Body, Entry, HealReason};
use hearth_protocol::id::{EntryHash, NodeId};
use hearth_protocol::limits;
use hearth_protocol::sign::NodeKey;
use hearth_protocol::unit::{Seq, Timestamp};
use hearth_protocol::wire::ForkProof;

use crate::author::{Author, Tip};
use crate::book::{Book, Insertion};
use crate::fork::ProofError;
use crate::journal::{Journal, JournalError, Recovery, Replay};
use crate::rejection::Rejection;
use crate::standing::{NoEffect, Standing};

/// Entries taken in but not on disk yet, after which no more are taken.
const BACKLOG_MAX: usize = 4_096;

/// Why a ledger does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk, or another process.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The disk did not take it.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The body cannot stand there.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// One's own chain forked: writing on would lengthen one of its branches.
    #[error("this node's own chain forked; it was probably restored from a backup")]
    Forked,
    /// A later entry of one's own is known to exist and is not here.
    #[error("entries of this node up to {seen} exist and are not here; peers may have them")]
    Behind {
        /// The highest place known to be taken.
        seen: Seq,
    },
    /// One's own chain goes on in an unknown version.
    #[error("this node's chain was written by a newer version of the program")]
    Frozen,
    /// The clock stands before one's own last entry by more than the skew.
    #[error("the clock is behind this node's last entry; check the time")]
    ClockBehind {
        /// The last entry's date.
        last: Timestamp,
    },
}

/// Why one's own chain was not healed.
#[derive(Debug, thiserror::Error)]
pub enum HealError {
    /// It did not fork.
    #[error("this node's chain has not forked: there is nothing to heal")]
    NotForked,
    /// Fewer than two branches are here.
    #[error("only one branch is here; peers may have the other")]
    BranchMissing,
    /// More branches than one entry may name.
    #[error("{got} branches are more than one entry can name; use another key")]
    Branches {
        /// Branches found.
        got: usize,
    },
    /// The disk did not take it.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// It could not stand there.
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

/// Why a fork proof was not kept.
#[derive(Debug, thiserror::Error)]
pub enum ForkError {
    /// It proves nothing.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The disk did not take it.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// What became of entries from peers.
#[derive(Debug, Default)]
pub struct Received {
    /// One outcome an entry, in their order.
    pub outcomes: Vec<Insertion>,
    /// Entries that are new in the book, those of earlier calls whose time has come included.
    pub added: Vec<Entry>,
    /// Forks that were not known.
    pub forks: Vec<ForkProof>,
    /// Why the new entries are not on disk yet; tried again with the next call.
    pub unsaved: Option<JournalError>,
}

/// The ledger of one commons at one node.
#[derive(Debug)]
pub struct Ledger {
    book: Book,
    journal: Journal,
    author: Author,
    backlog: Backlog,
    /// The highest place of the own chain that anybody showed to be taken.
    seen: Option<Seq>,
    recovery: Recovery,
    /// Entries on disk that did not connect when it was opened.
    loose: usize,
}

#[derive(Debug, Default)]
struct Backlog {
    own: Vec<Entry>,
    others: Vec<Entry>,
    proofs: Vec<ForkProof>,
}

impl Backlog {
    fn len(&self) -> usize {
        self.own.len() + self.others.len() + self.proofs.len()
    }
}

impl Ledger {
    /// Opens the ledger in a folder, making it if need be.
    ///
    /// # Errors
    /// [`OpenError`], which says who holds the lock.
    pub fn open(dir: &Path, charter: Charter, key: NodeKey) -> Result<Self, OpenError> {
        let mut book = Book::new(charter);
        let (journal, replay) = Journal::open(dir, book.commons())?;
        let author = Author::new(key, book.commons());
        let seen = replay.own.iter().map(|entry| entry.header.trusted().seq);
        let (seen, recovery) = (seen.max(), replay.recovery);
        let noted = replay.digest;
        let loose = restore(&mut book, replay);
        if loose > 0 || recovery != Recovery::default() {
            tracing::warn!(
                loose,
                ?recovery,
                "ledger was not whole; peers may have the rest"
            );
        }
        if noted.is_some_and(|digest| digest != book.digest()) {
            tracing::warn!("ledger gives another digest than when it was closed");
        }
        Ok(Self {
            book,
            journal,
            author,
            backlog: Backlog::default(),
            seen,
            recovery,
            loose,
        })
    }

    /// Returns the state.
    pub const fn book(&self) -> &Book {
        &self.book
    }

    /// Returns this node's name.
    pub fn node(&self) -> NodeId {
        self.author.id()
    }

    /// Returns what opening found besides sound records.
    pub const fn recovery(&self) -> Recovery {
        self.recovery
    }

    /// Returns the journal, for reading entries back and for rebuilding its index.
    pub const fn journal_mut(&mut self) -> &mut Journal {
        &mut self.journal
    }

    /// Returns how many entries on disk did not connect to their chains when this was opened.
    pub const fn loose(&self) -> usize {
        self.loose
    }

    /// Returns whether the disk is behind or its index degraded.
    pub fn is_degraded(&self) -> bool {
        self.journal.is_degraded() || self.backlog.len() > 0
    }

    /// Signs, stores and applies one entry; it is on disk when this returns.
    ///
    /// # Errors
    /// [`WriteError`]; then nothing was written and nothing signed has left.
    pub fn write(&mut self, body: Body, now: Timestamp) -> Result<Entry, WriteError> {
        let mut entries = self.write_all(&[body], now)?;
        Ok(entries.pop().expect("one body makes one entry"))
    }

    /// Writes several entries with one sync for all.
    ///
    /// # Errors
    /// [`WriteError`]; then none of them was written.
    pub fn write_all(&mut self, bodies: &[Body], now: Timestamp) -> Result<Vec<Entry>, WriteError> {
        self.save_backlog()?;
        let mut tip = self.writable_tip(now)?;
        let mut entries = Vec::with_capacity(bodies.len());
        for body in bodies {
            let entry = self.author.sign(tip, body, self.date(body, now));
            self.book.check(&entry)?;
            tip = Some(Tip::from(&entry));
            entries.push(entry);
        }
        self.journal.append_own(&entries)?;
        for entry in &entries {
            let outcome = self.book.replay(entry.clone());
            assert!(
                matches!(outcome, Insertion::Added { .. }),
                "an entry made for the tip fits it: {outcome:?}"
            );
        }
        self.seen = self.seen.max(tip.map(|tip| tip.seq));
        Ok(entries)
    }

    /// Goes on after a fork of one's own: names every branch, after the longest. From here on the
    /// chain counts again, on probation (L47, L48).
    ///
    /// # Errors
    /// [`HealError`]; then nothing was written.
    pub fn heal(&mut self, reason: HealReason, now: Timestamp) -> Result<Entry, HealError> {
        self.save_backlog()?;
        let me = self.node();
        if !self.book.is_forked(&me) {
            return Err(HealError::NotForked);
        }
        let ends = self.book.branch_ends(&me);
        let (Some(longest), true) = (ends.first(), ends.len() > 1) else {
            return Err(HealError::BranchMissing);
        };
        if ends.len() > limits::HEAL_TIPS_MAX {
            return Err(HealError::Branches { got: ends.len() });
        }
        let mut tips: Vec<EntryHash> = ends.iter().map(|end| end.hash).collect();
        tips.sort_unstable();
        let tip = self.book.entry(&longest.hash).map(Tip::from);
        let entry = self.author.sign(tip, &Body::Heal { tips, reason }, now);
        self.book.check(&entry)?;
        self.journal.append_own(std::slice::from_ref(&entry))?;
        self.book.replay(entry.clone());
        self.seen = self.seen.max(Some(entry.header.trusted().seq));
        Ok(entry)
    }

    /// Returns the entry to write after, once it is certain that nothing stands there.
    fn writable_tip(&self, now: Timestamp) -> Result<Option<Tip>, WriteError> {
        let me = self.node();
        if self.book.is_forked(&me) {
            return Err(WriteError::Forked);
        }
        let head = self.book.head(&me);
        if let Some(seen) = self.seen
            && head.is_none_or(|head| head.seq < seen)
        {
            return Err(WriteError::Behind { seen });
        }
        let Some(entry) = head.and_then(|head| self.book.entry(&head.hash)) else {
            return Ok(None);
        };
        let tip = Tip::from(entry);
        if self.book.standing(&tip.hash) == Some(Standing::Without(NoEffect::Frozen)) {
            return Err(WriteError::Frozen);
        }
        if tip.time > now.plus(self.book.charter().windows.skew) {
            return Err(WriteError::ClockBehind { last: tip.time });
        }
        Ok(Some(tip))
    }

    /// Dates an entry: a receipt not before its order, whose author's clock may run ahead.
    fn date(&self, body: &Body, now: Timestamp) -> Timestamp {
        let Body::Receipt { order, .. } = body else {
            return now;
        };
        let latest = now.plus(self.book.charter().windows.skew);
        let placed = self.book.date(order).filter(|placed| *placed <= latest);
        placed.map_or(now, |placed| placed.max(now))
    }

    /// Takes entries from peers in, those of the own chain that are missing here included: this
    /// node then writes on after them.
    ///
    /// # Errors
    /// [`JournalError`] when the disk takes no more; then nothing was taken in.
    pub fn receive(
        &mut self,
        entries: Vec<Entry>,
        now: Timestamp,
    ) -> Result<Received, JournalError> {
        self.journal.check_free_for_others()?;
        if self.backlog.len() >= BACKLOG_MAX {
            self.save_backlog()?;
        }
        let mut received = Received::default();
        for entry in entries {
            let outcome = self.book.insert(entry.clone(), now);
            self.sort(entry, &outcome, &mut received);
            received.outcomes.push(outcome);
        }
        self.admit_into(now, &mut received);
        received.unsaved = self.save_backlog().err();
        Ok(received)
    }

    /// Takes in the entries dated ahead of the clock whose time has come.
    pub fn admit(&mut self, now: Timestamp) -> Received {
        let mut received = Received::default();
        self.admit_into(now, &mut received);
        received.unsaved = self.save_backlog().err();
        received
    }

    fn admit_into(&mut self, now: Timestamp, received: &mut Received) {
        for (entry, outcome) in self.book.admit(now) {
            self.sort(entry, &outcome, received);
        }
    }

    /// Puts an entry where its outcome says it belongs.
    fn sort(&mut self, entry: Entry, outcome: &Insertion, received: &mut Received) {
        let header = *entry.header.trusted();
        let is_own = header.author == self.node();
        let is_stored = match outcome {
            Insertion::Added { .. } => true,
            Insertion::Forked(proof) => {
                received.forks.push(ForkProof::clone(proof));
                self.backlog.proofs.push(ForkProof::clone(proof));
                self.book.contains(&header.hash())
            }
            Insertion::Gap { .. } | Insertion::Deferred => {
                // Its signature was checked: the place is taken, whatever else is missing.
                if is_own {
                    self.seen = self.seen.max(Some(header.seq));
                }
                false
            }
            Insertion::Known | Insertion::Invalid(_) => false,
        };
        if is_stored {
            if is_own {
                self.seen = self.seen.max(Some(header.seq));
                self.backlog.own.push(entry.clone());
            } else {
                self.backlog.others.push(entry.clone());
            }
            received.added.push(entry);
        }
    }

    fn save_backlog(&mut self) -> Result<(), JournalError> {
        self.journal.append_own(&self.backlog.own)?;
        self.backlog.own.clear();
        self.journal.append_others(&self.backlog.others)?;
        self.backlog.others.clear();
        while let Some(proof) = self.backlog.proofs.last() {
            self.journal.append_proof(proof)?;
            self.backlog.proofs.pop();
        }
        Ok(())
    }

    /// Takes a fork proof in; returns whether it says something new, to be passed on.
    ///
    /// # Errors
    /// [`ForkError`].
    pub fn receive_fork(&mut self, proof: &ForkProof) -> Result<bool, ForkError> {
        let is_news = self.book.insert_fork(proof)?;
        if is_news {
            self.backlog.proofs.push(proof.clone());
            self.save_backlog()?;
        }
        Ok(is_news)
    }

    /// Makes everything durable and brings the index up to date; to be called every few seconds.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn sync(&mut self) -> Result<(), JournalError> {
        self.save_backlog()?;
        self.journal.sync()
    }

    /// Closes the ledger in good order. Not needed for safety.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn close(mut self) -> Result<(), JournalError> {
        self.save_backlog()?;
        self.journal.close(&self.book.digest())
    }
}

/// Puts what the journal holds into the book; returns how many entries do not connect.
fn restore(book: &mut Book, replay: Replay) -> usize {
    let mut loose = 0;
    for entry in replay.others.into_iter().chain(replay.own) {
        match book.replay(entry) {
            Insertion::Added { .. } | Insertion::Known | Insertion::Forked(_) => {}
            Insertion::Gap { .. } | Insertion::Deferred | Insertion::Invalid(_) => loose += 1,
        }
    }
    for proof in &replay.proofs {
        if let Err(error) = book.insert_fork(proof) {
            tracing::warn!(%error, "a stored fork proof proves nothing");
        }
    }
    loose
}
