//! Tests of the rules, the promises and the disk, by the numbers of `specs/ledger.md`.

mod books;
mod bounties;
mod chains;
mod crashes;
mod credit;
mod credit_bound;
mod disk;
mod effects;
mod forks;
mod heals;
mod joining;
mod looking;
mod nets;
mod promises;
mod reconcile;
mod world;
