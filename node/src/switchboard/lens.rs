//! The ledger as dispatch sees it; an empty one for a node that is in no commons.

use hearth_dispatch::{HeldOrder, HoldState, LedgerView};
use hearth_ledger::{Book, CreditPolicy, Friends, OrderState, OrderView, Question, VoidBy};
use hearth_protocol::charter::{Caps, PriceTable, Windows};
use hearth_protocol::credit::{Decision, PolicyTerms, Taken};
use hearth_protocol::entry::Body;
use hearth_protocol::id::{Commitment, EntryHash, JobId, NodeId};
use hearth_protocol::snapshot::TrustLevel;
use hearth_protocol::unit::{Millikudos, Timestamp};

use super::peers::PeerBook;

/// A view of the book for one moment.
pub(super) struct Lens<'a> {
    /// This node.
    pub(super) me: NodeId,
    /// The book, if in a commons.
    pub(super) book: Option<&'a Book>,
    /// Judgements.
    pub(super) peers: &'a PeerBook,
    /// How the owner lends.
    pub(super) terms: PolicyTerms,
}

impl Lens<'_> {
    fn held(&self, view: &OrderView) -> Option<HeldOrder> {
        let state = match view.state {
            OrderState::Waiting(_) | OrderState::Without(_) => return None,
            OrderState::Held => HoldState::Held,
            OrderState::Settled(receipt) => HoldState::Settled {
                receipt: receipt.hash,
                amount: receipt.amount,
                result: self.result(&receipt.hash)?,
            },
            OrderState::Voided(VoidBy::Provider) => HoldState::VoidedByProvider,
            OrderState::Voided(VoidBy::Requester) => HoldState::VoidedByRequester,
            OrderState::Expired => HoldState::Expired,
        };
        Some(HeldOrder {
            requester: view.requester,
            provider: view.provider,
            job: view.job.into(),
            max: view.max,
            deadline: view.deadline,
            state,
        })
    }

    fn result(&self, receipt: &EntryHash) -> Option<Commitment> {
        match self.book?.entry(receipt)?.decode_body().ok()? {
            Body::Receipt { result, .. } => Some(result),
            Body::Join { .. }
            | Body::Trust { .. }
            | Body::Order { .. }
            | Body::Void { .. }
            | Body::Ack { .. }
            | Body::Transfer { .. }
            | Body::Leave
            | Body::Audit { .. }
            | Body::PairNet(_)
            | Body::Amend { .. }
            | Body::Heal { .. } => None,
        }
    }
}

impl LedgerView for Lens<'_> {
    fn order(&self, order: &EntryHash) -> Option<HeldOrder> {
        self.held(&self.book?.order(order)?)
    }

    fn orders_of(&self, job: &JobId) -> Vec<EntryHash> {
        let Some(book) = self.book else {
            return Vec::new();
        };
        let orders = book.orders_of_job(&self.me, &(*job).into());
        orders.into_iter().map(|view| view.hash).collect()
    }

    fn credit(
        &self,
        requester: &NodeId,
        ask: Millikudos,
        taken: &Taken,
        now: Timestamp,
    ) -> Decision {
        match self.book {
            Some(book) => {
                let question = Question {
                    book,
                    me: self.me,
                    now,
                    taken,
                };
                let policy = hearth_ledger::policy(&self.terms, &book.caps());
                policy.decide(&question, requester, ask)
            }
            None => Decision::of_nobody(self.terms.policy, ask),
        }
    }

    fn room(&self, requester: &NodeId) -> Millikudos {
        let Some(book) = self.book else {
            return Millikudos::ZERO;
        };
        let question = Question {
            book,
            me: self.me,
            now: Timestamp::ORIGIN,
            taken: &Taken::new(),
        };
        Friends.decide(&question, requester, Millikudos::ZERO).room
    }

    fn line(&self, requester: &NodeId) -> Millikudos {
        self.book
            .map_or(Millikudos::ZERO, |book| book.line(&self.me, requester))
    }

    fn is_member(&self, node: &NodeId) -> bool {
        self.book.is_some_and(|book| book.is_member(node))
    }

    fn is_blocked(&self, node: &NodeId) -> bool {
        self.peers.level(node) == TrustLevel::Blocked
    }

    fn is_trusted(&self, node: &NodeId) -> bool {
        self.peers.level(node) == TrustLevel::Trusted
    }

    fn seeding_paid(&self, seeder: &NodeId, since: Timestamp) -> Millikudos {
        self.book.map_or(Millikudos::ZERO, |book| {
            book.thanks_since(&self.me, seeder, since)
        })
    }

    fn prices(&self) -> PriceTable {
        self.book.map_or(PriceTable::DEFAULT, Book::prices)
    }

    fn windows(&self) -> Windows {
        self.book
            .map_or(Windows::DEFAULT, |book| book.charter().windows)
    }

    fn caps(&self) -> Caps {
        self.book.map_or(Caps::DEFAULT, Book::caps)
    }
}
