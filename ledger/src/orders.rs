//! All orders of a commons, each judged again whenever something it rests on changes.
//!
//! Keeps what was said, the state that follows, and the accounts in step with it. Whatever
//! changes an order's state calls [`Orders::refresh`]: a word, an ack, the requester's clock
//! passing a date ([`Orders::due`]), a member, a fork.

mod pair;

use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::entry::Verdict;
use hearth_protocol::id::{Commitment, EntryHash, NodeId};
use hearth_protocol::unit::{Millikudos, Seq, Timestamp};

use crate::account::{Accounts, Charged, Turn};
use crate::order::{
    Acceptance, Claim, Hearing, OrderState, OrderView, Rank, Rules, Terms, Word, WordKind, Words,
    judge, receipt_fault, settle, words_of,
};
use crate::standing::{NoEffect, Standing, Wait};

#[derive(Debug, Clone)]
struct Record {
    terms: Option<Terms>,
    words: Words,
    claim: Claim,
    state: OrderState,
}

impl Default for Record {
    fn default() -> Self {
        let state = OrderState::Waiting(Wait::Target);
        Self {
            terms: None,
            words: Words::new(),
            claim: Claim::Other(state),
            state,
        }
    }
}

type Acks = BTreeMap<(Seq, EntryHash), Verdict>;
type Job = (NodeId, Commitment);

/// The orders of one commons.
#[derive(Debug, Clone, Default)]
pub(crate) struct Orders {
    records: BTreeMap<EntryHash, Record>,
    /// Which order a receipt names.
    receipts: BTreeMap<EntryHash, EntryHash>,
    /// Acks by receipt and author.
    acks: BTreeMap<(EntryHash, NodeId), Acks>,
    by_requester: BTreeMap<NodeId, BTreeSet<EntryHash>>,
    by_provider: BTreeMap<NodeId, BTreeSet<EntryHash>>,
    jobs: BTreeMap<Job, BTreeSet<EntryHash>>,
    /// Charges of each job, the one that may be undisputed first.
    charges: BTreeMap<Job, BTreeSet<Rank>>,
    /// Dates at which an order changes, by the requester whose clock must pass them.
    timers: BTreeMap<NodeId, BTreeSet<(Timestamp, EntryHash)>>,
    open: BTreeSet<(NodeId, EntryHash)>,
    open_at: BTreeSet<(NodeId, EntryHash)>,
    unacked: BTreeSet<(NodeId, EntryHash)>,
    /// Orders past their author's fork that a receipt makes count.
    rescued: BTreeMap<NodeId, BTreeSet<EntryHash>>,
}

impl Orders {
    pub(crate) fn add_order(&mut self, hash: EntryHash, terms: Terms) {
        let by_requester = self.by_requester.entry(terms.requester).or_default();
        by_requester.insert(hash);
        let by_provider = self.by_provider.entry(terms.provider).or_default();
        by_provider.insert(hash);
        let job = (terms.requester, terms.job);
        self.jobs.entry(job).or_default().insert(hash);
        self.records.entry(hash).or_default().terms = Some(terms);
    }

    pub(crate) fn add_word(&mut self, order: EntryHash, at: (NodeId, Seq, EntryHash), word: Word) {
        if matches!(word.kind, WordKind::Receipt(_)) {
            self.receipts.insert(at.2, order);
        }
        let record = self.records.entry(order).or_default();
        record.words.insert(at, word);
    }

    /// Takes an ack in; returns the order its receipt names, if that has arrived.
    pub(crate) fn add_ack(
        &mut self,
        receipt: EntryHash,
        (author, seq, hash): (NodeId, Seq, EntryHash),
        verdict: Verdict,
    ) -> Option<EntryHash> {
        let acks = self.acks.entry((receipt, author)).or_default();
        acks.insert((seq, hash), verdict);
        self.receipts.get(&receipt).copied()
    }

    fn last_ack(&self, receipt: &EntryHash, hearing: &Hearing<'_>) -> Option<(EntryHash, Verdict)> {
        let author = hearing.terms.requester;
        self.acks
            .get(&(*receipt, author))?
            .iter()
            .rev()
            .find(|((seq, _), _)| hearing.hears(&author, *seq))
            .map(|((_, hash), verdict)| (*hash, *verdict))
    }

    /// Returns the orders whose date the node's clock has passed, and forgets the dates.
    pub(crate) fn due(&mut self, node: &NodeId, clock: Timestamp) -> Vec<EntryHash> {
        let Some(timers) = self.timers.get_mut(node) else {
            return Vec::new();
        };
        let first_left = (clock, EntryHash::from_bytes([0; 32]));
        let left = timers.split_off(&first_left);
        let due = std::mem::replace(timers, left);
        due.into_iter().map(|(_, hash)| hash).collect()
    }

    /// Judges every order a node has part in anew.
    pub(crate) fn refresh_party(
        &mut self,
        node: &NodeId,
        rules: &Rules<'_>,
        accounts: &mut Accounts,
    ) {
        let of = |index: &BTreeMap<NodeId, BTreeSet<EntryHash>>| index.get(node).cloned();
        let requested = of(&self.by_requester).unwrap_or_default();
        let provided = of(&self.by_provider).unwrap_or_default();
        for hash in requested.union(&provided) {
            self.refresh(*hash, rules, accounts);
        }
    }

    /// Judges an order anew, and with it the job's receipt that changes rank because of it.
    pub(crate) fn refresh(&mut self, hash: EntryHash, rules: &Rules<'_>, accounts: &mut Accounts) {
        let Some(Record {
            terms: Some(terms),
            words,
            claim: old,
            ..
        }) = self.records.get(&hash)
        else {
            return;
        };
        let (terms, old) = (*terms, *old);
        let hearing = Hearing {
            rules,
            terms: &terms,
            horizon: rules.horizon(&terms),
        };
        let new = judge(&hearing, words, |receipt| {
            let last = self.last_ack(receipt, &hearing);
            last.map(|(_, verdict)| verdict)
        });
        let job = (terms.requester, terms.job);
        let first_before = self.first_of(&job);
        if let Claim::Charged(charge) = old
            && let Some(charges) = self.charges.get_mut(&job)
        {
            charges.remove(&charge.rank(hash));
        }
        if let Claim::Charged(charge) = new {
            self.charges
                .entry(job)
                .or_default()
                .insert(charge.rank(hash));
        }
        if let Some(record) = self.records.get_mut(&hash) {
            record.claim = new;
        }
        let first = self.first_of(&job);
        let moved = [Some(hash), first_before, first];
        for changed in moved.into_iter().flatten().collect::<BTreeSet<_>>() {
            self.update(changed, first, rules, accounts);
        }
    }

    fn first_of(&self, job: &Job) -> Option<EntryHash> {
        Some(self.charges.get(job)?.first()?.3)
    }

    /// Brings an order's state, the accounts and the indexes in step with its claim.
    fn update(
        &mut self,
        hash: EntryHash,
        first: Option<EntryHash>,
        rules: &Rules<'_>,
        accounts: &mut Accounts,
    ) {
        let Some(record) = self.records.get_mut(&hash) else {
            return;
        };
        let Some(terms) = record.terms else {
            return;
        };
        let before = record.state;
        let after = settle(&record.claim, first == Some(hash));
        record.state = after;
        let window_end = rules.window_end(&terms);
        let is_past_fork = !rules.chains.is_live(&terms.requester, terms.seq);
        self.unindex(hash, &terms, before, window_end);
        self.index(hash, &terms, after, window_end, is_past_fork);
        if before != after {
            book(accounts, Turn::Out, &terms, before);
            book(accounts, Turn::In, &terms, after);
        }
    }

    fn unindex(
        &mut self,
        hash: EntryHash,
        terms: &Terms,
        state: OrderState,
        window_end: Timestamp,
    ) {
        self.open.remove(&(terms.requester, hash));
        self.open_at.remove(&(terms.provider, hash));
        self.unacked.remove(&(terms.requester, hash));
        if let Some(date) = change_date(state, terms, window_end)
            && let Some(timers) = self.timers.get_mut(&terms.requester)
        {
            timers.remove(&(date, hash));
        }
        if let Some(rescued) = self.rescued.get_mut(&terms.requester) {
            rescued.remove(&hash);
        }
    }

    fn index(
        &mut self,
        hash: EntryHash,
        terms: &Terms,
        state: OrderState,
        window_end: Timestamp,
        is_past_fork: bool,
    ) {
        if let Some(date) = change_date(state, terms, window_end) {
            let timers = self.timers.entry(terms.requester).or_default();
            timers.insert((date, hash));
        }
        if state == OrderState::Held {
            self.open.insert((terms.requester, hash));
            self.open_at.insert((terms.provider, hash));
        }
        if let OrderState::Settled(receipt) = state {
            let acks = self.acks.get(&(receipt.hash, terms.requester));
            if acks.is_none_or(BTreeMap::is_empty) {
                self.unacked.insert((terms.requester, hash));
            }
            if is_past_fork {
                self.rescued
                    .entry(terms.requester)
                    .or_default()
                    .insert(hash);
            }
        }
    }

    pub(crate) fn view(&self, hash: &EntryHash) -> Option<OrderView> {
        let record = self.records.get(hash)?;
        let terms = record.terms?;
        Some(OrderView {
            hash: *hash,
            state: record.state,
            requester: terms.requester,
            provider: terms.provider,
            job: terms.job,
            max: terms.max,
            deadline: terms.deadline,
            placed: terms.time,
        })
    }

    pub(crate) fn views(&self) -> impl Iterator<Item = OrderView> {
        self.records.keys().filter_map(|hash| self.view(hash))
    }

    pub(crate) fn open_by(&self, requester: &NodeId) -> impl Iterator<Item = OrderView> {
        self.views_in(&self.open, *requester)
    }

    pub(crate) fn open_at(&self, provider: &NodeId) -> impl Iterator<Item = OrderView> {
        self.views_in(&self.open_at, *provider)
    }

    pub(crate) fn unacked_by(&self, requester: &NodeId) -> impl Iterator<Item = OrderView> {
        self.views_in(&self.unacked, *requester)
    }

    fn views_in<'a>(
        &'a self,
        index: &'a BTreeSet<(NodeId, EntryHash)>,
        node: NodeId,
    ) -> impl Iterator<Item = OrderView> {
        let from = (node, EntryHash::from_bytes([0; 32]));
        let to = (node, EntryHash::from_bytes([0xff; 32]));
        index
            .range(from..=to)
            .filter_map(|(_, hash)| self.view(hash))
    }

    pub(crate) fn of_party(&self, node: &NodeId) -> impl Iterator<Item = OrderView> {
        let requested = self.by_requester.get(node).into_iter().flatten();
        let provided = self.by_provider.get(node).into_iter().flatten();
        requested.chain(provided).filter_map(|hash| self.view(hash))
    }

    pub(crate) fn of_job(&self, requester: NodeId, job: Commitment) -> Vec<OrderView> {
        let orders = self.jobs.get(&(requester, job)).into_iter().flatten();
        orders.filter_map(|hash| self.view(hash)).collect()
    }

    /// Returns the order a receipt settles, if it does.
    pub(crate) fn settled_by(&self, receipt: &EntryHash) -> Option<OrderView> {
        let order = self.view(self.receipts.get(receipt)?)?;
        let is_it = order.receipt().is_some_and(|r| r.hash == *receipt);
        is_it.then_some(order)
    }

    pub(crate) fn rescued(&self, author: &NodeId) -> BTreeSet<EntryHash> {
        self.rescued.get(author).cloned().unwrap_or_default()
    }

    /// Returns whether the provider's live receipt names an order.
    pub(crate) fn is_named(&self, order: &EntryHash, provider: &NodeId, rules: &Rules<'_>) -> bool {
        self.records.get(order).is_some_and(|record| {
            words_of(&record.words, provider).any(|(seq, _, word)| {
                matches!(word.kind, WordKind::Receipt(_)) && rules.counts(provider, seq)
            })
        })
    }

    /// Says what an order, receipt or void does; the author's own standing is checked before.
    pub(crate) fn standing_of_order(&self, hash: &EntryHash) -> Standing {
        match self.records.get(hash).map(|record| record.state) {
            Some(OrderState::Waiting(wait)) => Standing::Waiting(wait),
            Some(OrderState::Without(reason)) => Standing::Without(reason),
            Some(_) => Standing::Effective,
            None => Standing::Waiting(Wait::Target),
        }
    }

    pub(crate) fn standing_of_receipt(
        &self,
        (author, seq, hash): (NodeId, Seq, EntryHash),
        order: &EntryHash,
        (amount, time): (Millikudos, Timestamp),
        rules: &Rules<'_>,
    ) -> Standing {
        let Some((record, terms)) = self.target(order) else {
            return Standing::Waiting(Wait::Target);
        };
        if author != terms.provider {
            return Standing::Without(NoEffect::NotParty);
        }
        if is_beyond(&terms, &author, seq, rules) {
            return Standing::Without(NoEffect::Closed);
        }
        match record.state {
            OrderState::Settled(receipt) if receipt.hash == hash => Standing::Effective,
            OrderState::Waiting(wait) => Standing::Waiting(wait),
            OrderState::Without(_)
            | OrderState::Settled(_)
            | OrderState::Held
            | OrderState::Voided(_)
            | OrderState::Expired => {
                let first = words_of(&record.words, &author).next();
                Standing::Without(if first.is_some_and(|(_, first, _)| *first != hash) {
                    NoEffect::NotFirstWord
                } else {
                    receipt_fault(&terms, amount, time).unwrap_or(NoEffect::TargetWithout)
                })
            }
        }
    }

    pub(crate) fn standing_of_void(
        &self,
        (author, seq): (NodeId, Seq),
        order: &EntryHash,
        time: Timestamp,
        rules: &Rules<'_>,
    ) -> Standing {
        let Some((record, terms)) = self.target(order) else {
            return Standing::Waiting(Wait::Target);
        };
        let is_provider = author == terms.provider;
        if !is_provider && author != terms.requester {
            return Standing::Without(NoEffect::NotParty);
        }
        if is_beyond(&terms, &author, seq, rules) {
            return Standing::Without(NoEffect::Closed);
        }
        if !is_provider && time <= terms.deadline {
            return Standing::Without(NoEffect::TooEarly);
        }
        match record.state {
            OrderState::Voided(_) | OrderState::Expired | OrderState::Held => Standing::Effective,
            OrderState::Waiting(wait) => Standing::Waiting(wait),
            OrderState::Settled(_) => Standing::Without(NoEffect::Settled),
            OrderState::Without(_) => Standing::Without(NoEffect::TargetWithout),
        }
    }

    pub(crate) fn standing_of_ack(
        &self,
        (author, seq, hash): (NodeId, Seq, &EntryHash),
        receipt: &EntryHash,
        rules: &Rules<'_>,
    ) -> Standing {
        let Some(order) = self.receipts.get(receipt) else {
            return Standing::Waiting(Wait::Target);
        };
        let Some((record, terms)) = self.target(order) else {
            return Standing::Waiting(Wait::Target);
        };
        if author != terms.requester {
            return Standing::Without(NoEffect::NotParty);
        }
        if is_beyond(&terms, &author, seq, rules) {
            return Standing::Without(NoEffect::Closed);
        }
        let hearing = Hearing {
            rules,
            terms: &terms,
            horizon: rules.horizon(&terms),
        };
        match record.state {
            OrderState::Settled(settled) if settled.hash == *receipt => {
                match self.last_ack(receipt, &hearing) {
                    Some((last, _)) if last != *hash => Standing::Without(NoEffect::Superseded),
                    Some(_) | None => Standing::Effective,
                }
            }
            OrderState::Waiting(wait) => Standing::Waiting(wait),
            OrderState::Without(_)
            | OrderState::Settled(_)
            | OrderState::Held
            | OrderState::Voided(_)
            | OrderState::Expired => Standing::Without(NoEffect::TargetWithout),
        }
    }

    fn target(&self, order: &EntryHash) -> Option<(&Record, Terms)> {
        let record = self.records.get(order)?;
        Some((record, record.terms?))
    }
}

/// Returns whether a party's entry stands after both closed the account over an order.
fn is_beyond(terms: &Terms, author: &NodeId, seq: Seq, rules: &Rules<'_>) -> bool {
    let horizon = rules.horizon(terms);
    let hearing = Hearing {
        rules,
        terms,
        horizon,
    };
    hearing.is_beyond(author, seq)
}

/// Returns the date at whose passing by the requester's clock the state changes.
fn change_date(state: OrderState, terms: &Terms, window_end: Timestamp) -> Option<Timestamp> {
    match state {
        OrderState::Held => Some(terms.deadline),
        OrderState::Settled(receipt) => {
            (receipt.acceptance == Acceptance::Pending).then_some(window_end)
        }
        OrderState::Waiting(_)
        | OrderState::Without(_)
        | OrderState::Voided(_)
        | OrderState::Expired => None,
    }
}

/// Puts what a state moves into the accounts, or takes it out again.
fn book(accounts: &mut Accounts, turn: Turn, terms: &Terms, state: OrderState) {
    let (provider, requester) = (terms.provider, terms.requester);
    match state {
        OrderState::Held => accounts.hold(turn, provider, requester, terms.max),
        OrderState::Settled(receipt) => {
            let charged = Charged {
                amount: receipt.amount,
                time: receipt.time,
                is_accepted: receipt.acceptance == Acceptance::Accepted,
            };
            accounts.charge(turn, provider, requester, charged);
        }
        OrderState::Waiting(_)
        | OrderState::Without(_)
        | OrderState::Voided(_)
        | OrderState::Expired => {}
    }
}
