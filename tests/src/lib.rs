//! The repository as data, for tests about the house itself.
//!
//! [`tree`] finds the files, [`source`] tells code from comments and tests, [`manifest`] reads
//! what a crate depends on, [`rule`] collects the numbered rules of the specs and the tests that
//! name them. Nothing here knows what is allowed: that is in `tests/tidy`. Stories with real
//! daemons are in `tests/it`, which is built with the package of the binary they drive.

pub mod manifest;
pub mod rule;
pub mod source;
pub mod tree;
