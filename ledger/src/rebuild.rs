//! A book built from nothing but a charter and entries: for audits, and for files somebody sends.
//!
//! Needs no node, no home and no clock. Entries of one chain must come in order, chains in any.
//! What does not fit is named and left out; the rest goes on.

use std::collections::BTreeMap;

use hearth_protocol::charter::Charter;
use hearth_protocol::entry::Entry;
use hearth_protocol::id::{CommonsId, EntryHash, NodeId};
use hearth_protocol::sign::{SignatureError, Signed};
use hearth_protocol::unit::{Seq, Timestamp};
use hearth_protocol::wire::ForkProof;

use crate::audit::Unchecked;
use crate::book::{Book, Insertion};
use crate::chain::{self, Scrutiny};
use crate::fork::ProofError;
use crate::rejection::Rejection;

/// Why an entry is no part of the rebuilt book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It does not pass the checks.
    #[error(transparent)]
    Invalid(#[from] Rejection),
    /// The entry before it is not here.
    #[error("the entry before it is missing")]
    Loose,
    /// It was put in before.
    #[error("it was there before")]
    Twice,
}

/// A book under construction.
#[derive(Debug)]
pub struct Rebuild {
    book: Book,
}

impl Rebuild {
    /// Begins with a charter whose signature is checked.
    ///
    /// # Errors
    /// [`SignatureError`] when it is not its founder's.
    pub fn new(charter: &Signed<Charter>) -> Result<Self, SignatureError> {
        Ok(Self::of(charter.verify()?.clone()))
    }

    pub(crate) fn of(charter: Charter) -> Self {
        Self {
            book: Book::new(charter),
        }
    }

    /// Checks an entry in full and puts it in.
    ///
    /// # Errors
    /// [`Fault`]; the entry was left out.
    pub fn insert(&mut self, entry: Entry) -> Result<EntryHash, Fault> {
        let hash = entry.hash();
        let outcome = self.book.insert_checked(entry);
        self.told(hash, &outcome)
    }

    /// Puts in an entry that one's own node checked before: its signature is taken on trust.
    ///
    /// # Errors
    /// [`Fault`]; the entry was left out.
    pub fn restore(&mut self, entry: Entry) -> Result<EntryHash, Fault> {
        let hash = entry.hash();
        let outcome = self.book.replay(entry);
        self.told(hash, &outcome)
    }

    fn told(&self, hash: EntryHash, outcome: &Insertion) -> Result<EntryHash, Fault> {
        match outcome {
            Insertion::Added { .. } => Ok(hash),
            // Two headers prove a fork even when one of them does not connect.
            Insertion::Forked(_) if self.book.contains(&hash) => Ok(hash),
            Insertion::Forked(_) | Insertion::Gap { .. } | Insertion::Deferred => Err(Fault::Loose),
            Insertion::Known => Err(Fault::Twice),
            Insertion::Invalid(rejection) => Err(Fault::Invalid(*rejection)),
        }
    }

    /// Checks a fork proof and takes it in; returns whether it says something new.
    ///
    /// # Errors
    /// [`ProofError`] when it proves nothing.
    pub fn insert_fork(&mut self, proof: &ForkProof) -> Result<bool, ProofError> {
        self.book.insert_fork(proof)
    }

    /// Returns the book as far as it is built.
    pub const fn book(&self) -> &Book {
        &self.book
    }

    /// Returns the finished book.
    pub fn finish(self) -> Book {
        self.book
    }
}

/// Entries of which the beginnings are missing: each is checked by itself and against those before
/// it that are there. What they do together cannot be said.
#[derive(Debug)]
pub struct Fragment {
    commons: CommonsId,
    seen: BTreeMap<EntryHash, (NodeId, Seq, Timestamp)>,
    begins: BTreeMap<NodeId, Seq>,
}

impl Fragment {
    /// Begins with a charter whose signature is checked.
    ///
    /// # Errors
    /// [`SignatureError`] when it is not its founder's.
    pub fn new(charter: &Signed<Charter>) -> Result<Self, SignatureError> {
        Ok(Self {
            commons: charter.verify()?.id(),
            seen: BTreeMap::new(),
            begins: BTreeMap::new(),
        })
    }

    /// Checks an entry by itself and against its predecessor, where that is here.
    ///
    /// # Errors
    /// [`Fault`]; the entry was left out.
    pub fn insert(&mut self, entry: &Entry) -> Result<EntryHash, Fault> {
        let header = *entry.header.trusted();
        let hash = header.hash();
        if self.seen.contains_key(&hash) {
            return Err(Fault::Twice);
        }
        chain::check(entry, self.commons, Scrutiny::Full)?;
        match self.seen.get(&header.prev) {
            Some((author, seq, _))
                if *author != header.author || seq.next() != Some(header.seq) =>
            {
                return Err(Fault::Invalid(Rejection::Prev));
            }
            Some((_, _, time)) if header.time < *time => {
                return Err(Fault::Invalid(Rejection::DateBack));
            }
            Some(_) => {}
            None => {
                // Only the first place of a chain, or a branch at it, may hang in the air.
                let begins = *self.begins.entry(header.author).or_insert(header.seq);
                if begins != header.seq {
                    return Err(Fault::Loose);
                }
            }
        }
        self.seen
            .insert(hash, (header.author, header.seq, header.time));
        Ok(hash)
    }

    /// Returns how many chains there are entries of.
    pub fn chains(&self) -> usize {
        self.begins.len()
    }

    /// Returns what could not be checked: whatever came before.
    pub fn unchecked(&self) -> Vec<Unchecked> {
        let late = self.begins.iter().filter(|(_, from)| **from > Seq::FIRST);
        late.map(|(author, from)| Unchecked::Headless {
            author: *author,
            from: *from,
        })
        .collect()
    }
}
