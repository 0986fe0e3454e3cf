//! The kudos ledger: who did what for whom, kept by everybody and by nobody in particular.
//!
//! [`Book`] is the state of one commons, a pure function of the set of chain-valid entries: no
//! clock, no I/O, the same on every node however the entries arrived. [`journal`] is the only
//! place that touches disks, and [`Ledger`] puts book, journal and signing key together so that
//! an entry is on disk before its signature leaves the process. Rules are numbered in
//! `specs/ledger.md`. Nothing here talks to peers: callers bring entries and ask for suffixes.

mod account;
mod amend;
pub mod audit;
pub mod author;
pub mod book;
pub mod bounty;
mod chain;
pub mod credit;
pub mod evidence;
pub mod fork;
pub mod journal;
pub mod ledger;
mod members;
pub mod moves;
mod nets;
pub mod note;
pub mod order;
mod orders;
pub mod rebuild;
pub mod reconcile;
pub mod rejection;
pub mod standing;
pub mod sums;
mod transfer;
pub mod why;

#[cfg(test)]
mod tests;

pub use audit::{Finding, Report, Unchecked, audit, review};
pub use author::Author;
pub use book::{Book, Insertion};
pub use bounty::{Bounties, Bounty, BountyStage, Share};
pub use chain::Want;
pub use credit::{CreditPolicy, Friends, Neighbour, Open, Question, policy};
pub use evidence::Evidence;
pub use fork::verify_fork_proof;
pub use ledger::{ForkError, HealError, Ledger, OpenError, Received, WriteError};
pub use moves::{Cause, Move, moves};
pub use note::{NoteClock, NoteRefusal, Slot, Taken};
pub use order::{Acceptance, DisputeCause, OrderState, OrderView, ReceiptView, VoidBy};
pub use rebuild::{Fault, Fragment, Rebuild};
pub use rejection::Rejection;
pub use standing::{NoEffect, Standing, Wait};
pub use sums::{Sums, pairs};
pub use why::{Line, LineKind, LineState, why};
