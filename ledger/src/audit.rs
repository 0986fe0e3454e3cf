//! The audit: checks a book against nothing but its raw entries.
//!
//! Every signature and every link is checked again, the state is computed from scratch in
//! another order of arrival, and both must agree to the last figure. What cannot be checked here
//! is told apart from what was checked and is wrong.

use std::collections::BTreeMap;

use hearth_protocol::id::{EntryHash, NodeId};
use hearth_protocol::unit::{Balance, Seq};

use crate::book::Book;
use crate::fork::{ProofError, verify_fork_proof};
use crate::moves::moves;
use crate::rebuild::{Fault, Rebuild};
use crate::rejection::Rejection;
use crate::standing::Standing;
use crate::sums::pairs;
use crate::why::why;

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Entries checked.
    pub entries: usize,
    /// Chains they form.
    pub chains: usize,
    /// Members.
    pub members: usize,
    /// Pairs whose two sides were compared.
    pub pairs: usize,
    /// Authors known to have forked: no fault of the book.
    pub forked: Vec<NodeId>,
    /// The digest recomputed.
    pub digest: [u8; 32],
    /// The sum of all balances; zero when all is well.
    pub sum: Balance,
    /// What is wrong; empty when all is well.
    pub findings: Vec<Finding>,
    /// What could not be checked: neither right nor wrong.
    pub unchecked: Vec<Unchecked>,
}

impl Report {
    /// Returns whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Something that an audit cannot decide with what is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unchecked {
    /// A chain goes on in a version this program does not know.
    #[error(
        "the chain of {author} from number {from} on ({entries} entries) is of an unknown version: \
         signatures and links hold, what it does is not known here"
    )]
    Frozen {
        /// Whose chain.
        author: NodeId,
        /// From which place on.
        from: Seq,
        /// How many entries.
        entries: usize,
    },
    /// Entries name others that have not arrived.
    #[error(
        "what waits for something that has not arrived and does nothing yet (entries: {entries})"
    )]
    Waiting {
        /// How many.
        entries: usize,
    },
    /// Entries are dated ahead of the clock.
    #[error("what is dated ahead of the clock and is not admitted yet (entries: {entries})")]
    Deferred {
        /// How many.
        entries: usize,
    },
    /// Entries on disk do not connect.
    #[error("what is on disk and does not connect to its chain (entries: {entries})")]
    Loose {
        /// How many.
        entries: usize,
    },
    /// The beginning of a chain is not here.
    #[error("the chain of {author} before number {from}: it is not here")]
    Headless {
        /// Whose chain.
        author: NodeId,
        /// The first place that is here.
        from: Seq,
    },
}

/// Something wrong with a book.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// A stored entry does not pass the checks it passed when it came.
    #[error("entry {hash} is not valid: {rejection}")]
    Entry {
        /// Which.
        hash: EntryHash,
        /// Why.
        rejection: Rejection,
    },
    /// A stored entry does not follow from the others.
    #[error("entry {hash} does not connect to its chain")]
    Loose {
        /// Which.
        hash: EntryHash,
    },
    /// A kept fork proof proves nothing.
    #[error("the fork proof against {author} is wrong: {error}")]
    Proof {
        /// Against whom.
        author: NodeId,
        /// Why.
        error: ProofError,
    },
    /// Recomputing gives another digest.
    #[error("recomputing the state gives another digest")]
    Digest,
    /// Recomputing gives another balance.
    #[error("the balance of {node} is {shown}, recomputed {recomputed}")]
    Balance {
        /// Whose.
        node: NodeId,
        /// As the book says.
        shown: Balance,
        /// As it should be.
        recomputed: Balance,
    },
    /// The lines of a balance do not sum to it.
    #[error("the lines of {node} sum to {explained}, its balance is {shown}")]
    Unexplained {
        /// Whose.
        node: NodeId,
        /// As the book says.
        shown: Balance,
        /// The sum of its lines.
        explained: Balance,
    },
    /// Two members' sides of what passed between them differ.
    #[error(
        "between {left} and {right}, the lines of one sum to {left_says}, of the other to \
         {right_says}, the moves to {moved}"
    )]
    Pair {
        /// One.
        left: NodeId,
        /// The other.
        right: NodeId,
        /// The sum of the one's lines with the other.
        left_says: Balance,
        /// The sum of the other's lines with the one.
        right_says: Balance,
        /// What moved from the other to the one.
        moved: Balance,
    },
    /// Balances do not sum to zero.
    #[error("all balances sum to {sum} instead of zero")]
    Sum {
        /// What they sum to.
        sum: Balance,
    },
}

/// Audits a book. Takes about 50 microseconds an entry, for its signature.
pub fn audit(book: &Book) -> Report {
    let mut findings = Vec::new();
    let fresh = recompute(book, &mut findings);
    if fresh.digest() != book.digest() {
        findings.push(Finding::Digest);
    }
    compare_balances(book, &fresh, &mut findings);
    Report {
        digest: fresh.digest(),
        ..report(book, findings)
    }
}

/// Looks at a book whose entries were all checked while it was built: the sums, not the
/// signatures.
pub fn review(book: &Book) -> Report {
    report(book, Vec::new())
}

fn report(book: &Book, mut findings: Vec<Finding>) -> Report {
    explain_balances(book, &mut findings);
    let pairs = compare_pairs(book, &mut findings);
    let balances = book.balances().into_iter();
    let sum: Balance = balances.map(|(_, balance)| balance).sum();
    if sum != Balance::ZERO {
        findings.push(Finding::Sum { sum });
    }
    let mut authors: Vec<NodeId> = book.entries().map(|e| e.header.trusted().author).collect();
    authors.dedup();
    let forks = book.forks();
    Report {
        entries: book.len(),
        chains: authors.len(),
        members: book.members().len(),
        pairs,
        forked: forks.map(|proof| proof.left.trusted().author).collect(),
        digest: book.digest(),
        sum,
        findings,
        unchecked: unchecked(book),
    }
}

fn unchecked(book: &Book) -> Vec<Unchecked> {
    let frozen = book.frozen().into_iter();
    let mut list: Vec<Unchecked> = frozen
        .map(|(author, from, entries)| Unchecked::Frozen {
            author,
            from,
            entries,
        })
        .collect();
    let is_waiting = |hash: &EntryHash| matches!(book.standing(hash), Some(Standing::Waiting(_)));
    let waiting = book.entries().filter(|entry| is_waiting(&entry.hash()));
    match waiting.count() {
        0 => {}
        entries => list.push(Unchecked::Waiting { entries }),
    }
    match book.deferred_len() {
        0 => {}
        entries => list.push(Unchecked::Deferred { entries }),
    }
    list
}

/// Builds a second book from the raw entries: the proofs first, then chains from the last author
/// to the first, so that nothing arrives in the order it first did.
fn recompute(book: &Book, findings: &mut Vec<Finding>) -> Book {
    let mut fresh = Rebuild::of(book.charter().clone());
    for proof in book.proofs() {
        let author = proof.left.trusted().author;
        if let Err(error) = verify_fork_proof(proof, book.commons()) {
            findings.push(Finding::Proof { author, error });
        } else if let Err(error) = fresh.insert_fork(proof) {
            findings.push(Finding::Proof { author, error });
        }
    }
    let mut entries: Vec<_> = book.entries().collect();
    entries.sort_by_key(|entry| {
        let header = entry.header.trusted();
        (std::cmp::Reverse(header.author), header.seq)
    });
    for entry in entries {
        let hash = entry.hash();
        match fresh.insert(entry.clone()) {
            Ok(_) | Err(Fault::Twice) => {}
            Err(Fault::Loose) => findings.push(Finding::Loose { hash }),
            Err(Fault::Invalid(rejection)) => findings.push(Finding::Entry { hash, rejection }),
        }
    }
    fresh.finish()
}

fn compare_balances(book: &Book, fresh: &Book, findings: &mut Vec<Finding>) {
    let mut nodes: Vec<NodeId> = book.balances().iter().map(|(node, _)| *node).collect();
    nodes.extend(fresh.balances().iter().map(|(node, _)| *node));
    nodes.sort_unstable();
    nodes.dedup();
    for node in nodes {
        let (shown, recomputed) = (book.balance(&node), fresh.balance(&node));
        if shown != recomputed {
            findings.push(Finding::Balance {
                node,
                shown,
                recomputed,
            });
        }
    }
}

fn explain_balances(book: &Book, findings: &mut Vec<Finding>) {
    for (node, shown) in book.balances() {
        let explained: Balance = why(book, &node).iter().map(|line| line.amount).sum();
        if explained != shown {
            findings.push(Finding::Unexplained {
                node,
                shown,
                explained,
            });
        }
    }
}

/// Compares what both members of every pair say, and what moved; returns how many pairs.
fn compare_pairs(book: &Book, findings: &mut Vec<Finding>) -> usize {
    let mut moved: BTreeMap<(NodeId, NodeId), i128> = BTreeMap::new();
    for one in moves(book) {
        let mk = i128::from(one.amount.get());
        let (pair, mk) = if one.to < one.from {
            ((one.to, one.from), mk)
        } else {
            ((one.from, one.to), -mk)
        };
        *moved.entry(pair).or_default() += mk;
    }
    let mut said: BTreeMap<(NodeId, NodeId), Balance> = BTreeMap::new();
    for (node, _) in book.balances() {
        for (other, sums) in pairs(&why(book, &node)) {
            said.insert((node, other), sums.balance());
        }
    }
    for (node, other) in said.keys() {
        let pair = (*node.min(other), *node.max(other));
        moved.entry(pair).or_default();
    }
    for ((left, right), moved) in &moved {
        let says = |pair| said.get(&pair).copied().unwrap_or_default();
        let (left_says, right_says) = (says((*left, *right)), says((*right, *left)));
        if left_says.mk() != *moved || right_says.mk() != -moved {
            findings.push(Finding::Pair {
                left: *left,
                right: *right,
                left_says,
                right_says,
                moved: Balance::from_mk(*moved),
            });
        }
    }
    moved.len()
}
