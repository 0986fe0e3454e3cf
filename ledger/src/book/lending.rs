//! What credit policies ask the book: pairs, lines as they were said, and sums over time.
//!
//! All of these are look-ups in accounts that are kept in step, never a walk over entries.

use hearth_protocol::id::NodeId;
use hearth_protocol::unit::{Balance, Millikudos, Timestamp};

use super::Book;
pub use crate::account::{Dealing, Pair};

impl Book {
    /// Returns what two nodes did for each other, as the first sees it.
    pub fn dealing(&self, node: &NodeId, other: &NodeId) -> Dealing {
        self.accounts.dealing(*node, *other)
    }

    /// Returns everybody who ever ordered from, worked for or gave to a node, or got from it, and
    /// what they did for each other.
    pub fn dealings(&self, node: &NodeId) -> impl Iterator<Item = (NodeId, Dealing)> {
        self.accounts.dealings(*node)
    }

    /// Returns the line a node said itself, as far as it stands (L16, L48); zero if it said none.
    pub fn line_given(&self, from: &NodeId, to: &NodeId) -> Millikudos {
        match self.line_said(from, to) {
            Some(_) => self.line(from, to),
            None => Millikudos::ZERO,
        }
    }

    /// Returns the line a node said itself, whatever became of its peer since; `None` if it never
    /// said one.
    pub fn line_said(&self, from: &NodeId, to: &NodeId) -> Option<Millikudos> {
        let said = self.lines.latest(*from, *to, &self.rules());
        said.map(|(_, limit)| limit)
    }

    /// Returns everybody a node ever said a line to.
    pub fn lines_said_by(&self, from: &NodeId) -> impl Iterator<Item = NodeId> {
        self.lines.said_by(*from)
    }

    /// Returns what a node took of all others but one: exposures above zero, and what it gave away.
    pub fn taken_beside(&self, node: &NodeId, but: &NodeId) -> Balance {
        Balance::from_mk(self.accounts.taken_beside(*node, *but))
    }

    /// Returns a node's accepted receipts of all time.
    pub fn earned(&self, node: &NodeId) -> Balance {
        Balance::from_mk(self.accounts.earned(*node))
    }

    /// Returns a node's accepted receipts dated on the day of `since` (UTC) or later.
    pub fn earned_since(&self, node: &NodeId, since: Timestamp) -> Balance {
        Balance::from_mk(self.accounts.earned_since(*node, since))
    }

    /// Returns a provider's receipts on a requester dated on the day of `since` (UTC) or later.
    pub fn charged_since(
        &self,
        provider: &NodeId,
        requester: &NodeId,
        since: Timestamp,
    ) -> Balance {
        Balance::from_mk(self.accounts.charged_since(*provider, *requester, since))
    }

    /// Returns what a node wrote to another as thanks for seeding since a date.
    pub fn thanks_since(&self, from: &NodeId, to: &NodeId, since: Timestamp) -> Millikudos {
        let sum = self.transfers.thanks_since(*from, *to, since);
        Millikudos::saturating(u64::try_from(sum).unwrap_or(u64::MAX))
    }
}
