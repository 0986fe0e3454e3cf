//! Transfers and lines: entries that need no answer from the other side.

use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::entry::TransferReason;
use hearth_protocol::id::{EntryHash, NodeId};
use hearth_protocol::unit::{Millikudos, Seq, Timestamp};

use crate::account::{Accounts, Turn};
use crate::order::Rules;
use crate::standing::{NoEffect, Standing, Wait};

/// One transfer, whatever its effect.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transfer {
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) amount: Millikudos,
    pub(crate) reason: TransferReason,
    pub(crate) seq: Seq,
    pub(crate) time: Timestamp,
    pub(crate) is_counted: bool,
}

/// The transfers of one commons.
#[derive(Debug, Clone, Default)]
pub(crate) struct Transfers {
    all: BTreeMap<EntryHash, Transfer>,
    by_party: BTreeMap<NodeId, BTreeSet<EntryHash>>,
    /// Thanks for seeding by payer, seeder and date.
    thanks: BTreeMap<(NodeId, NodeId, Timestamp), BTreeSet<EntryHash>>,
}

impl Transfers {
    pub(crate) fn add(&mut self, hash: EntryHash, transfer: Transfer) {
        for party in [transfer.from, transfer.to] {
            self.by_party.entry(party).or_default().insert(hash);
        }
        if let TransferReason::Seeding { .. } = transfer.reason {
            let key = (transfer.from, transfer.to, transfer.time);
            self.thanks.entry(key).or_default().insert(hash);
        }
        self.all.insert(hash, transfer);
    }

    /// Says what a transfer does.
    pub(crate) fn standing(&self, hash: &EntryHash, rules: &Rules<'_>) -> Option<Standing> {
        let Transfer { from, to, seq, .. } = *self.all.get(hash)?;
        let standing = match rules.author(&from, seq) {
            Some(reason) => Standing::Without(reason),
            None if from == to => Standing::Without(NoEffect::Oneself),
            None if rules.has_left(&from, seq) => Standing::Without(NoEffect::Left),
            None if !rules.members.has_joined(&to) => Standing::Waiting(Wait::Counterparty),
            None => Standing::Effective,
        };
        Some(standing)
    }

    /// Decides anew whether a transfer counts.
    pub(crate) fn refresh(&mut self, hash: EntryHash, rules: &Rules<'_>, accounts: &mut Accounts) {
        let counts = self.standing(&hash, rules) == Some(Standing::Effective);
        let Some(transfer) = self.all.get_mut(&hash) else {
            return;
        };
        if transfer.is_counted != counts {
            let turn = if counts { Turn::In } else { Turn::Out };
            transfer.is_counted = counts;
            accounts.transfer(turn, transfer.from, transfer.to, transfer.amount);
        }
    }

    /// Decides anew about every transfer a node has part in.
    pub(crate) fn refresh_party(
        &mut self,
        node: &NodeId,
        rules: &Rules<'_>,
        accounts: &mut Accounts,
    ) {
        for hash in self.by_party.get(node).cloned().unwrap_or_default() {
            self.refresh(hash, rules, accounts);
        }
    }

    /// Returns every effective transfer.
    pub(crate) fn effective(&self) -> impl Iterator<Item = (&EntryHash, &Transfer)> {
        self.all.iter().filter(|(_, transfer)| transfer.is_counted)
    }

    /// Returns what a node wrote to another for seeding since a date, effective or not.
    pub(crate) fn thanks_since(&self, from: NodeId, to: NodeId, since: Timestamp) -> u128 {
        let last = Timestamp::from_millis(u64::MAX);
        let recent = self.thanks.range((from, to, since)..=(from, to, last));
        recent
            .flat_map(|(_, hashes)| hashes)
            .filter_map(|hash| self.all.get(hash))
            .map(|transfer| u128::from(transfer.amount.get()))
            .sum()
    }

    /// Returns the effective transfers a node has part in.
    pub(crate) fn of(&self, node: &NodeId) -> impl Iterator<Item = (&EntryHash, &Transfer)> {
        self.by_party
            .get(node)
            .into_iter()
            .flatten()
            .filter_map(|hash| Some((hash, self.all.get(hash)?)))
            .filter(|(_, transfer)| transfer.is_counted)
    }
}

/// Who lets whom owe how much, by place in the giver's chain.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines(BTreeMap<(NodeId, NodeId), BTreeMap<(Seq, EntryHash), Millikudos>>);

impl Lines {
    pub(crate) fn add(
        &mut self,
        from: NodeId,
        to: NodeId,
        at: (Seq, EntryHash),
        limit: Millikudos,
    ) {
        self.0.entry((from, to)).or_default().insert(at, limit);
    }

    /// Returns the line that counts and the entry that says so.
    pub(crate) fn latest(
        &self,
        from: NodeId,
        to: NodeId,
        rules: &Rules<'_>,
    ) -> Option<(EntryHash, Millikudos)> {
        self.0
            .get(&(from, to))?
            .iter()
            .rev()
            .find(|((seq, _), _)| rules.counts(&from, *seq) && !rules.has_left(&from, *seq))
            .map(|((_, hash), limit)| (*hash, *limit))
    }

    /// Returns everybody a node ever said a line to.
    pub(crate) fn said_by(&self, from: NodeId) -> impl Iterator<Item = NodeId> {
        let first = (from, NodeId::from_bytes([0; 32]));
        let last = (from, NodeId::from_bytes([0xff; 32]));
        self.0.range(first..=last).map(|((_, to), _)| *to)
    }

    pub(crate) fn pairs(&self) -> impl Iterator<Item = (NodeId, NodeId)> {
        self.0.keys().copied()
    }
}
