//! The window through which the dispatcher sees the ledger.
//!
//! A trait so that the machines run against a fake one in tests; the daemon implements it over its
//! book. Reading it must be cheap: it is asked several times an event.

use hearth_protocol::charter::{Caps, PriceTable, Windows};
use hearth_protocol::credit::{Decision, Taken};
use hearth_protocol::id::{Commitment, EntryHash, JobId, NodeId};
use hearth_protocol::unit::{Millikudos, Timestamp};

/// What the dispatcher may ask the ledger.
pub trait LedgerView {
    /// Returns an order as this node sees it, `None` while it is unknown.
    fn order(&self, order: &EntryHash) -> Option<HeldOrder>;
    /// Returns this node's own orders for a job, oldest first: after a crash between signing and
    /// noting they are what keeps a job from being paid twice.
    fn orders_of(&self, job: &JobId) -> Vec<EntryHash>;
    /// Decides whether a requester may run up `ask` more, by this node's credit policy.
    ///
    /// `taken` is all that this node has accepted and not charged, by requester: the dispatcher
    /// counts those itself, and a hold it did not accept cannot cost it anything.
    fn credit(
        &self,
        requester: &NodeId,
        ask: Millikudos,
        taken: &Taken,
        now: Timestamp,
    ) -> Decision;
    /// Returns what is left of a requester's line alone: cheap, for the order of the queue.
    fn room(&self, requester: &NodeId) -> Millikudos;
    /// Returns what this node lets a requester owe at most: the yardstick of its standing.
    fn line(&self, requester: &NodeId) -> Millikudos;
    /// Returns whether somebody is a member of the commons now.
    fn is_member(&self, node: &NodeId) -> bool;
    /// Returns whether this node's owner has blocked somebody.
    fn is_blocked(&self, node: &NodeId) -> bool;
    /// Returns whether this node's owner trusts somebody: only ever a preference.
    fn is_trusted(&self, node: &NodeId) -> bool;
    /// Returns what this node has transferred to a seeder for seeding since a moment.
    fn seeding_paid(&self, seeder: &NodeId, since: Timestamp) -> Millikudos;
    /// Returns the charter's price table.
    fn prices(&self) -> PriceTable;
    /// Returns the charter's windows.
    fn windows(&self) -> Windows;
    /// Returns the charter's caps.
    fn caps(&self) -> Caps;
}

/// An order with its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldOrder {
    /// Who ordered.
    pub requester: NodeId,
    /// Who may charge.
    pub provider: NodeId,
    /// The job it commits to.
    pub job: JobId,
    /// Most that may be charged.
    pub max: Millikudos,
    /// A receipt dated later has no effect.
    pub deadline: Timestamp,
    /// What became of it.
    pub state: HoldState,
}

/// What became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldState {
    /// Open.
    Held,
    /// A receipt settled it.
    Settled {
        /// The effective receipt.
        receipt: EntryHash,
        /// Its charge.
        amount: Millikudos,
        /// Its commitment to the result.
        result: Commitment,
    },
    /// Released by its provider: nothing can be charged any more.
    VoidedByProvider,
    /// Released by its requester; a receipt that appears later counts as disputed until acked.
    VoidedByRequester,
    /// Its requester's chain passed the deadline without a receipt.
    Expired,
}
