//! One order: what was said about it, and what follows.
//!
//! [`judge`] is the rule in one function: it reads the words on one order and decides its claim,
//! whatever order they arrived in. Which of several receipts for one job may be undisputed is
//! decided beside it ([`settle`]), because that needs the job's other orders.

use std::collections::BTreeMap;
use std::ops::Bound;

use hearth_protocol::charter::Windows;
use hearth_protocol::entry::{DisputeCode, Verdict};
use hearth_protocol::id::{Commitment, EntryHash, NodeId};
use hearth_protocol::unit::{Millikudos, Seq, Timestamp};

use crate::chain::Chains;
use crate::members::Members;
use crate::nets::{Horizon, Nets};
use crate::standing::{NoEffect, Wait};

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderState {
    /// Something it names has not arrived.
    Waiting(Wait),
    /// It never had an effect, or lost it.
    Without(NoEffect),
    /// The hold stands: the provider may charge.
    Held,
    /// A receipt settled it.
    Settled(ReceiptView),
    /// The hold was released.
    Voided(VoidBy),
    /// The requester's chain went past the deadline without a receipt.
    Expired,
}

/// Who released a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoidBy {
    /// Who would have charged.
    Provider,
    /// Who would have been charged, after the deadline.
    Requester,
}

/// The receipt that settled an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiptView {
    /// The receipt's entry.
    pub hash: EntryHash,
    /// The charge.
    pub amount: Millikudos,
    /// The receipt's date.
    pub time: Timestamp,
    /// What the requester says to it.
    pub acceptance: Acceptance,
}

/// What the requester says to a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// Nothing yet: the credit is pending.
    Pending,
    /// It accepted, by word or by letting the window pass: the credit may be spent.
    Accepted,
    /// It disputes: debt and credit stand, the credit may not be spent.
    Disputed(DisputeCause),
}

/// Why a receipt counts as disputed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisputeCause {
    /// The requester says so.
    Said(DisputeCode),
    /// The requester had released the hold and has not acked since.
    Voided,
    /// Another receipt is the job's one that may be undisputed.
    Duplicate,
}

/// An order with all that is known about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderView {
    /// The order's entry.
    pub hash: EntryHash,
    /// Where it stands.
    pub state: OrderState,
    /// Who may be charged.
    pub requester: NodeId,
    /// Who may charge.
    pub provider: NodeId,
    /// Salted commitment to the job spec.
    pub job: Commitment,
    /// Most that may be charged.
    pub max: Millikudos,
    /// A receipt dated later has no effect.
    pub deadline: Timestamp,
    /// The order's date.
    pub placed: Timestamp,
}

impl OrderView {
    /// Returns the receipt that settled it.
    pub const fn receipt(&self) -> Option<ReceiptView> {
        match self.state {
            OrderState::Settled(receipt) => Some(receipt),
            OrderState::Waiting(_)
            | OrderState::Without(_)
            | OrderState::Held
            | OrderState::Voided(_)
            | OrderState::Expired => None,
        }
    }
}

/// The order's own words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) requester: NodeId,
    pub(crate) provider: NodeId,
    pub(crate) job: Commitment,
    pub(crate) max: Millikudos,
    pub(crate) deadline: Timestamp,
    pub(crate) time: Timestamp,
    pub(crate) seq: Seq,
}

/// A receipt or void that names the order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word {
    pub(crate) time: Timestamp,
    pub(crate) kind: WordKind,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum WordKind {
    Receipt(Millikudos),
    Void,
}

/// Words on one order by author and place.
pub(crate) type Words = BTreeMap<(NodeId, Seq, EntryHash), Word>;

/// What a receipt claims before the job's other receipts are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) receipt: EntryHash,
    pub(crate) amount: Millikudos,
    pub(crate) time: Timestamp,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) is_voided: bool,
    pub(crate) is_window_over: bool,
    /// Both sides closed the account over it.
    pub(crate) is_closed: bool,
}

impl Charge {
    /// Orders a job's receipts: the least is the one that may be undisputed.
    pub(crate) fn rank(&self, order: EntryHash) -> Rank {
        let class = match self.verdict {
            _ if self.is_closed => 0,
            Some(Verdict::Accepted) => 1,
            None if !self.is_voided => 2,
            None => 3,
            Some(Verdict::Disputed(_)) => 4,
        };
        (class, self.time, self.receipt, order)
    }
}

/// Verdict class, date and hash of a receipt, and its order.
pub(crate) type Rank = (u8, Timestamp, EntryHash, EntryHash);

/// What follows from the words on one order alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    Charged(Charge),
    Other(OrderState),
}

impl Claim {
    /// Returns the claim as it would stand if nobody had closed the account.
    pub(crate) const fn as_open(self) -> Self {
        match self {
            Self::Charged(charge) => Self::Charged(Charge {
                is_closed: false,
                ..charge
            }),
            Self::Other(state) => Self::Other(state),
        }
    }
}

/// What the rules read beside the words themselves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) chains: &'a Chains,
    pub(crate) members: &'a Members,
    pub(crate) nets: &'a Nets,
    pub(crate) windows: Windows,
}

impl Rules<'_> {
    /// Says why an author's entry at a place does nothing; `None` when it counts.
    pub(crate) fn author(&self, node: &NodeId, seq: Seq) -> Option<NoEffect> {
        if !self.members.has_joined(node) {
            Some(NoEffect::NotMember)
        } else if !self.chains.is_live(node, seq) {
            Some(NoEffect::PastFork)
        } else {
            None
        }
    }

    pub(crate) fn counts(&self, node: &NodeId, seq: Seq) -> bool {
        self.author(node, seq).is_none()
    }

    /// Returns whether the author left before this place.
    pub(crate) fn has_left(&self, node: &NodeId, seq: Seq) -> bool {
        self.members
            .left(node)
            .is_some_and(|left| left < seq && self.chains.is_live(node, left))
    }

    /// Returns whether the node's own live chain holds a date later than this one.
    pub(crate) fn is_past(&self, node: &NodeId, date: Timestamp) -> bool {
        self.chains.clock(node).is_some_and(|clock| clock > date)
    }

    /// Returns how far words on an order are heard, if both sides closed the account over it.
    pub(crate) fn horizon(&self, terms: &Terms) -> Option<Horizon> {
        self.nets
            .horizon(&terms.requester, &terms.provider, terms.seq)
    }

    /// Returns the date at whose passing silence becomes acceptance.
    pub(crate) fn window_end(&self, terms: &Terms) -> Timestamp {
        terms.deadline.plus(self.windows.ack)
    }
}

const HASH_MIN: EntryHash = EntryHash::from_bytes([0; 32]);
const HASH_MAX: EntryHash = EntryHash::from_bytes([0xff; 32]);

/// Returns one author's words on an order, in order of place.
pub(crate) fn words_of<'a>(
    words: &'a Words,
    author: &NodeId,
) -> impl DoubleEndedIterator<Item = (Seq, &'a EntryHash, &'a Word)> {
    let from = Bound::Included((*author, Seq::FIRST, HASH_MIN));
    let to = Bound::Included((*author, Seq::new(u64::MAX), HASH_MAX));
    words
        .range((from, to))
        .map(|((_, seq, hash), word)| (*seq, hash, word))
}

/// Says why a provider's first word, when it is a receipt, does not settle the order.
pub(crate) fn receipt_fault(
    terms: &Terms,
    amount: Millikudos,
    time: Timestamp,
) -> Option<NoEffect> {
    if amount > terms.max {
        Some(NoEffect::AboveMax)
    } else if time < terms.time {
        Some(NoEffect::BeforeOrder)
    } else if time > terms.deadline {
        Some(NoEffect::AfterDeadline)
    } else {
        None
    }
}

/// Which words on one order are heard: those of authors that count, up to where both closed the
/// account.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hearing<'a> {
    pub(crate) rules: &'a Rules<'a>,
    pub(crate) terms: &'a Terms,
    pub(crate) horizon: Option<Horizon>,
}

impl Hearing<'_> {
    /// Returns whether a party's entry at a place is heard.
    pub(crate) fn hears(&self, author: &NodeId, seq: Seq) -> bool {
        self.rules.counts(author, seq) && !self.is_beyond(author, seq)
    }

    /// Returns whether a party's entry stands after both closed the account.
    pub(crate) fn is_beyond(&self, author: &NodeId, seq: Seq) -> bool {
        self.horizon.is_some_and(|horizon| {
            let is_requester = *author == self.terms.requester;
            seq > if is_requester {
                horizon.requester
            } else {
                horizon.provider
            }
        })
    }

    /// Returns whether the requester's clock shows more than a date.
    fn is_past(&self, date: Timestamp) -> bool {
        self.horizon.map_or_else(
            || self.rules.is_past(&self.terms.requester, date),
            |horizon| horizon.clock > date,
        )
    }

    /// Returns whether the requester voided the order after its deadline.
    fn requester_void(&self, words: &Words) -> bool {
        let requester = &self.terms.requester;
        words_of(words, requester).any(|(seq, _, word)| {
            matches!(word.kind, WordKind::Void)
                && self.hears(requester, seq)
                && word.time > self.terms.deadline
        })
    }
}

/// Decides what the words on one order claim. `verdict` finds the requester's last ack.
pub(crate) fn judge(
    hearing: &Hearing<'_>,
    words: &Words,
    verdict: impl Fn(&EntryHash) -> Option<Verdict>,
) -> Claim {
    let Hearing { rules, terms, .. } = *hearing;
    let Terms {
        requester,
        provider,
        seq,
        ..
    } = *terms;
    if requester == provider {
        return Claim::Other(OrderState::Without(NoEffect::Oneself));
    }
    let author = rules.author(&requester, seq);
    if author == Some(NoEffect::NotMember) {
        return Claim::Other(OrderState::Without(NoEffect::NotMember));
    }
    if rules.has_left(&requester, seq) {
        return Claim::Other(OrderState::Without(NoEffect::Left));
    }
    if !rules.members.has_joined(&provider) {
        return Claim::Other(OrderState::Waiting(Wait::Counterparty));
    }
    let is_voided = hearing.requester_void(words);
    let mut spoken = words_of(words, &provider).filter(|(seq, ..)| hearing.hears(&provider, *seq));
    let first = spoken.next();
    if let Some((
        _,
        hash,
        Word {
            time,
            kind: WordKind::Receipt(amount),
        },
    )) = first
        && receipt_fault(terms, *amount, *time).is_none()
    {
        return Claim::Charged(Charge {
            receipt: *hash,
            amount: *amount,
            time: *time,
            verdict: verdict(hash),
            is_voided,
            is_window_over: hearing.is_past(rules.window_end(terms)),
            is_closed: hearing.horizon.is_some(),
        });
    }
    let provider_void = first
        .into_iter()
        .chain(spoken)
        .any(|(_, _, word)| matches!(word.kind, WordKind::Void));
    Claim::Other(if let Some(reason) = author {
        OrderState::Without(reason)
    } else if provider_void {
        OrderState::Voided(VoidBy::Provider)
    } else if is_voided {
        OrderState::Voided(VoidBy::Requester)
    } else if hearing.is_past(terms.deadline) {
        OrderState::Expired
    } else {
        OrderState::Held
    })
}

/// Decides an order's state, given whether its receipt is the job's one that may be undisputed.
pub(crate) fn settle(claim: &Claim, is_first_of_job: bool) -> OrderState {
    let charge = match claim {
        Claim::Other(state) => return *state,
        Claim::Charged(charge) => charge,
    };
    let acceptance = match charge.verdict {
        _ if charge.is_closed => Acceptance::Accepted,
        Some(Verdict::Disputed(code)) => Acceptance::Disputed(DisputeCause::Said(code)),
        Some(Verdict::Accepted) | None if !is_first_of_job => {
            Acceptance::Disputed(DisputeCause::Duplicate)
        }
        Some(Verdict::Accepted) => Acceptance::Accepted,
        None if charge.is_voided => Acceptance::Disputed(DisputeCause::Voided),
        None if charge.is_window_over => Acceptance::Accepted,
        None => Acceptance::Pending,
    };
    OrderState::Settled(ReceiptView {
        hash: charge.receipt,
        amount: charge.amount,
        time: charge.time,
        acceptance,
    })
}
