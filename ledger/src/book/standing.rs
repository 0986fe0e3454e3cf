//! What each stored entry does, and why not.

use hearth_protocol::entry::Body;
use hearth_protocol::id::{EntryHash, NodeId};
use hearth_protocol::unit::Seq;

use super::Book;
use crate::chain::Stored;
use crate::standing::{NoEffect, Standing, Wait};

impl Book {
    /// Says what a stored entry does; `None` when it is not stored.
    pub fn standing(&self, hash: &EntryHash) -> Option<Standing> {
        let stored = self.chains.stored(hash)?;
        let Some(body) = stored.body().filter(|_| !stored.frozen) else {
            return Some(Standing::Without(NoEffect::Frozen));
        };
        Some(self.standing_of(hash, stored, &body))
    }

    fn standing_of(&self, hash: &EntryHash, stored: &Stored, body: &Body) -> Standing {
        let header = stored.header();
        let (author, seq, time) = (header.author, header.seq, header.time);
        let rules = self.rules();
        match (body, rules.author(&author, seq)) {
            (Body::Join { .. }, _) => return self.members.standing(hash),
            (Body::Order { .. }, _) => return self.orders.standing_of_order(hash),
            (Body::Heal { .. }, Some(NoEffect::PastFork) | None) => {
                return self.standing_of_heal(hash, &author, seq);
            }
            (_, Some(reason)) => return Standing::Without(reason),
            (_, None) => {}
        }
        match body {
            Body::Receipt { order, amount, .. } => {
                let (at, said) = ((author, seq, *hash), (*amount, time));
                self.target(order, |body| matches!(body, Body::Order { .. }))
                    .unwrap_or_else(|| self.orders.standing_of_receipt(at, order, said, &rules))
            }
            Body::Void { order, .. } => self
                .target(order, |body| matches!(body, Body::Order { .. }))
                .unwrap_or_else(|| {
                    let at = (author, seq);
                    self.orders.standing_of_void(at, order, time, &rules)
                }),
            Body::Ack { receipt, .. } => self
                .target(receipt, |body| matches!(body, Body::Receipt { .. }))
                .unwrap_or_else(|| {
                    let at = (author, seq, hash);
                    self.orders.standing_of_ack(at, receipt, &rules)
                }),
            Body::Transfer { .. } => self
                .transfers
                .standing(hash, &rules)
                .unwrap_or(Standing::Without(NoEffect::Frozen)),
            Body::Trust { peer, .. } => self.standing_of_trust(hash, author, *peer, seq),
            Body::Leave => match self.members.left(&author) {
                Some(first) if first < seq => Standing::Without(NoEffect::Left),
                Some(_) | None => Standing::Effective,
            },
            Body::Audit { receipt, .. } => self
                .target(receipt, |body| matches!(body, Body::Receipt { .. }))
                .unwrap_or_else(|| self.standing_of_audit(hash, (author, seq), receipt)),
            Body::PairNet(net) => self.nets.standing(author, hash, net),
            Body::Amend { .. } => self.standing_of_amendment(hash, author, seq),
            Body::Join { .. } | Body::Order { .. } | Body::Heal { .. } => Standing::Effective,
        }
    }

    fn standing_of_audit(
        &self,
        hash: &EntryHash,
        (author, seq): (NodeId, Seq),
        receipt: &EntryHash,
    ) -> Standing {
        let order = self.orders.settled_by(receipt);
        let Some(order) = order else {
            let is_here = self.contains(receipt);
            return if is_here && self.standing(receipt) != Some(Standing::Waiting(Wait::Target)) {
                Standing::Without(NoEffect::TargetWithout)
            } else {
                Standing::Waiting(Wait::Target)
            };
        };
        if [order.requester, order.provider].contains(&author) {
            Standing::Without(NoEffect::Party)
        } else if self.rules().has_left(&author, seq) {
            Standing::Without(NoEffect::Left)
        } else if self.audits_of(receipt).iter().any(|a| a.entry == *hash) {
            Standing::Effective
        } else {
            Standing::Without(NoEffect::Superseded)
        }
    }

    fn standing_of_amendment(&self, hash: &EntryHash, author: NodeId, seq: Seq) -> Standing {
        let rules = self.rules();
        if author != self.charter.founder {
            Standing::Without(NoEffect::NotFounder)
        } else if rules.has_left(&author, seq) {
            Standing::Without(NoEffect::Left)
        } else if self.amendments.is_current(hash, &author, &rules) {
            Standing::Effective
        } else {
            Standing::Without(NoEffect::Superseded)
        }
    }

    fn standing_of_heal(&self, hash: &EntryHash, author: &NodeId, seq: Seq) -> Standing {
        match self.chains.healed(author) {
            Some((healed, _)) if healed == *hash => Standing::Effective,
            _ if self.chains.is_live(author, seq) => Standing::Without(NoEffect::NoFork),
            Some(_) => Standing::Without(NoEffect::PastFork),
            None => Standing::Waiting(Wait::Branches),
        }
    }

    fn standing_of_trust(
        &self,
        hash: &EntryHash,
        author: NodeId,
        peer: NodeId,
        seq: Seq,
    ) -> Standing {
        let rules = self.rules();
        if author == peer {
            Standing::Without(NoEffect::Oneself)
        } else if rules.has_left(&author, seq) {
            Standing::Without(NoEffect::Left)
        } else if self
            .lines
            .latest(author, peer, &rules)
            .map(|(last, _)| last)
            != Some(*hash)
        {
            Standing::Without(NoEffect::Superseded)
        } else if !self.members.has_joined(&peer) {
            Standing::Waiting(Wait::Counterparty)
        } else {
            Standing::Effective
        }
    }

    /// Returns a standing when what an entry names has arrived and is of another kind.
    fn target(&self, hash: &EntryHash, is_kind: impl Fn(&Body) -> bool) -> Option<Standing> {
        let stored = self.chains.stored(hash)?;
        if stored.frozen {
            return Some(Standing::Without(NoEffect::TargetWithout));
        }
        let is_wrong = !stored.body().is_some_and(|body| is_kind(&body));
        is_wrong.then_some(Standing::Without(NoEffect::WrongTarget))
    }
}
