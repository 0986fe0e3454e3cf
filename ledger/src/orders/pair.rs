//! What one node did for another up to a checkpoint both want to sign.

use hearth_protocol::entry::Verdict;
use hearth_protocol::id::EntryHash;
use hearth_protocol::id::NodeId;

use super::Orders;
use crate::nets::{Closing, PairId};
use crate::order::{Acceptance, Hearing, OrderState, Rules, judge, settle};

impl Orders {
    /// Returns the requester's last ack on a receipt that is heard.
    pub(crate) fn ack_on(
        &self,
        receipt: &EntryHash,
        rules: &Rules<'_>,
    ) -> Option<(EntryHash, Verdict)> {
        let (_, terms) = self.target(self.receipts.get(receipt)?)?;
        let hearing = Hearing {
            rules,
            terms: &terms,
            horizon: rules.horizon(&terms),
        };
        self.last_ack(receipt, &hearing)
    }

    /// Returns whether both sides closed the account over an order.
    pub(crate) fn is_closed(&self, order: &EntryHash, rules: &Rules<'_>) -> bool {
        let target = self.target(order);
        target.is_some_and(|(_, terms)| rules.horizon(&terms).is_some())
    }

    /// Returns the orders between two nodes, both ways.
    pub(crate) fn of_pair(&self, (one, other): &PairId) -> Vec<EntryHash> {
        let of = |requester: &NodeId, provider: NodeId| {
            let requested = self.by_requester.get(requester).into_iter().flatten();
            let between = requested.filter(move |hash| {
                let terms = self.records.get(*hash).and_then(|record| record.terms);
                terms.is_some_and(|terms| terms.provider == provider)
            });
            between.copied().collect::<Vec<_>>()
        };
        [of(one, *other), of(other, *one)].concat()
    }

    /// Sums what `provider` charged `requester` below the last of these checkpoints, each order
    /// judged by the first that covers it; `None` when one is open, pending or disputed.
    pub(crate) fn charged_below(
        &self,
        pair: &PairId,
        (requester, provider): (&NodeId, &NodeId),
        closings: &[Closing],
        rules: &Rules<'_>,
    ) -> Option<u128> {
        let mut sum = 0;
        for hash in self.by_requester.get(requester).into_iter().flatten() {
            let Some(record) = self.records.get(hash) else {
                continue;
            };
            let Some(terms) = record.terms.filter(|terms| terms.provider == *provider) else {
                continue;
            };
            let mut covering = closings.iter();
            let Some(closing) = covering.find(|c| c.covers(pair, requester) >= terms.seq) else {
                continue;
            };
            let hearing = Hearing {
                rules,
                terms: &terms,
                horizon: Some(closing.horizon(pair, requester)),
            };
            let verdict = |receipt: &EntryHash| Some(self.last_ack(receipt, &hearing)?.1);
            match settle(&judge(&hearing, &record.words, verdict).as_open(), true) {
                OrderState::Settled(receipt) if receipt.acceptance == Acceptance::Accepted => {
                    sum += u128::from(receipt.amount.get());
                }
                OrderState::Settled(_) | OrderState::Held | OrderState::Waiting(_) => return None,
                OrderState::Voided(_) | OrderState::Expired | OrderState::Without(_) => {}
            }
        }
        Some(sum)
    }
}
