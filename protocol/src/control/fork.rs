//! The state of a node's own chain, for who is about to heal it.

use serde::{Deserialize, Serialize};

use crate::id::EntryHash;
use crate::unit::Timestamp;

/// Whether a node's own chain forked, and into what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForkView {
    /// Whether it forked and was not healed since.
    pub forked: bool,
    /// When it was healed, if it was.
    pub healed: Option<Timestamp>,
    /// The first place at which more than one entry stands.
    pub place: Option<u64>,
    /// The branches that are here, the longest first: healing goes on after that one.
    pub branches: Vec<BranchView>,
    /// Entries in the branches that have no effect, and will have none.
    pub lost: u64,
    /// Why it cannot be healed now.
    pub obstacle: Option<String>,
}

/// One branch of a forked chain, from the fork on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BranchView {
    /// Its newest entry.
    pub head: EntryHash,
    /// That entry's place.
    pub seq: u64,
    /// Entries from the fork on.
    pub entries: u64,
    /// Date of the first of them.
    pub first: Timestamp,
    /// Date of the last.
    pub last: Timestamp,
}
