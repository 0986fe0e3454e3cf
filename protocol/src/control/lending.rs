//! How a node lends, as shown.

use serde::{Deserialize, Serialize};

use crate::credit::{Decision, PolicyTerms};
use crate::id::NodeId;
use crate::unit::Millikudos;

/// How a node lends, and to whom how much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreditReply {
    /// What the owner chose.
    pub terms: PolicyTerms,
    /// Most that is lent beyond a line, as it applies.
    pub cap: Millikudos,
    /// Newcomers' share of the last 30 days' work in percent, as it applies.
    pub newcomer_percent: u8,
    /// The newcomers' bucket now.
    pub bucket: Millikudos,
    /// The members asked about, the largest exposure first.
    pub members: Vec<CreditLine>,
    /// Members left out, because their turn did not come in time.
    pub more: u32,
}

/// What one member is lent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreditLine {
    /// The member.
    pub node: NodeId,
    /// The answer if it asked for nothing, with every figure.
    pub decision: Decision,
}
