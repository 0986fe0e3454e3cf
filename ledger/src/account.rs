//! Balances and what each pair did for one another, kept up to date move by move.
//!
//! Every move takes from one node what it gives to another, so the sum over all is zero by
//! construction (L-conserve). Holds move nothing; they are counted for exposure alone. Sums that
//! credit policies read (what a node took and earned, whom it had to do with) are kept beside.

use std::collections::BTreeMap;

use hearth_protocol::id::NodeId;
use hearth_protocol::unit::{Balance, Millikudos, Timestamp};

/// A day in milliseconds: what was done is also summed by the day it is dated.
const DAY: u64 = 86_400_000;

/// Whether a move is put in or taken out again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    In,
    Out,
}

impl Turn {
    fn signed(self, amount: Millikudos) -> i128 {
        match self {
            Self::In => i128::from(amount.get()),
            Self::Out => -i128::from(amount.get()),
        }
    }
}

/// What a provider did for a requester and gave it, in millikudos.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pair {
    /// All its receipts, disputed and un-acked ones too.
    pub charged: i128,
    /// Those of them the requester accepted.
    pub accepted: i128,
    /// The requester's open holds with it.
    pub held: i128,
    /// Its transfers to the requester.
    pub given: i128,
}

/// What two nodes did for each other, as one of them sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dealing {
    /// What it did for the other.
    pub did: Pair,
    /// What the other did for it.
    pub got: Pair,
}

impl Dealing {
    /// Returns the same as the other sees it.
    #[must_use]
    pub const fn turned(self) -> Self {
        Self {
            did: self.got,
            got: self.did,
        }
    }

    /// Returns what the other owes beyond what it did, its holds included (L29).
    pub const fn exposure(&self) -> i128 {
        self.did.charged + self.did.held - self.got.accepted - self.did.given
    }
}

/// A receipt's charge.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Charged {
    pub(crate) amount: Millikudos,
    pub(crate) time: Timestamp,
    pub(crate) is_accepted: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Account {
    balance: i128,
    pending: i128,
    /// What the node took: its exposures where they are above zero, and what it gave away.
    taken: i128,
    /// Its accepted receipts.
    earned: i128,
}

/// The accounts of one commons.
#[derive(Debug, Clone, Default)]
pub(crate) struct Accounts {
    accounts: BTreeMap<NodeId, Account>,
    /// Of every two who had to do with each other, kept both ways round.
    dealings: BTreeMap<(NodeId, NodeId), Dealing>,
    /// Accepted receipts by provider and day.
    earned: BTreeMap<(NodeId, u64), i128>,
    /// Receipts by provider, requester and day.
    charged: BTreeMap<(NodeId, NodeId, u64), i128>,
}

const fn day(time: Timestamp) -> u64 {
    time.millis() / DAY
}

impl Accounts {
    fn shift(&mut self, to: NodeId, from: NodeId, mk: i128) {
        self.accounts.entry(to).or_default().balance += mk;
        self.accounts.entry(from).or_default().balance -= mk;
    }

    /// Changes what one node did for another, and keeps in step what rests on it.
    fn change(&mut self, provider: NodeId, requester: NodeId, change: impl FnOnce(&mut Pair)) {
        let dealing = self.dealings.entry((provider, requester)).or_default();
        let before = *dealing;
        change(&mut dealing.did);
        let after = *dealing;
        self.dealings.insert((requester, provider), after.turned());
        for (node, before, after) in [
            (requester, before, after),
            (provider, before.turned(), after.turned()),
        ] {
            let taken = after.exposure().max(0) - before.exposure().max(0);
            self.accounts.entry(node).or_default().taken += taken;
        }
    }

    /// Moves a receipt's charge from requester to provider.
    pub(crate) fn charge(
        &mut self,
        turn: Turn,
        provider: NodeId,
        requester: NodeId,
        receipt: Charged,
    ) {
        let mk = turn.signed(receipt.amount);
        let accepted = if receipt.is_accepted { mk } else { 0 };
        self.shift(provider, requester, mk);
        self.change(provider, requester, |pair| {
            pair.charged += mk;
            pair.accepted += accepted;
        });
        let account = self.accounts.entry(provider).or_default();
        account.pending += mk - accepted;
        account.earned += accepted;
        let day = day(receipt.time);
        *self.earned.entry((provider, day)).or_default() += accepted;
        *self.charged.entry((provider, requester, day)).or_default() += mk;
    }

    /// Counts an open hold.
    pub(crate) fn hold(
        &mut self,
        turn: Turn,
        provider: NodeId,
        requester: NodeId,
        max: Millikudos,
    ) {
        self.change(provider, requester, |pair| pair.held += turn.signed(max));
    }

    /// Moves a transfer.
    pub(crate) fn transfer(&mut self, turn: Turn, from: NodeId, to: NodeId, amount: Millikudos) {
        let mk = turn.signed(amount);
        self.shift(to, from, mk);
        self.change(from, to, |pair| pair.given += mk);
        self.accounts.entry(from).or_default().taken += mk;
    }

    pub(crate) fn balance(&self, node: &NodeId) -> Balance {
        Balance::from_mk(self.accounts.get(node).map_or(0, |a| a.balance))
    }

    pub(crate) fn pending(&self, node: &NodeId) -> Balance {
        Balance::from_mk(self.accounts.get(node).map_or(0, |a| a.pending))
    }

    pub(crate) fn balances(&self) -> impl Iterator<Item = (NodeId, Balance)> {
        self.accounts
            .iter()
            .map(|(node, account)| (*node, Balance::from_mk(account.balance)))
    }

    /// Returns what two nodes did for each other, as the first sees it.
    pub(crate) fn dealing(&self, node: NodeId, other: NodeId) -> Dealing {
        let dealing = self.dealings.get(&(node, other));
        dealing.copied().unwrap_or_default()
    }

    /// Returns what the requester owes the provider beyond what it did for it, holds included.
    pub(crate) fn exposure(&self, provider: NodeId, requester: NodeId) -> Balance {
        Balance::from_mk(self.dealing(provider, requester).exposure())
    }

    /// Returns everybody who had to do with a node and what came of it, in order of name.
    pub(crate) fn dealings(&self, node: NodeId) -> impl Iterator<Item = (NodeId, Dealing)> {
        let from = (node, NodeId::from_bytes([0; 32]));
        let to = (node, NodeId::from_bytes([0xff; 32]));
        let range = self.dealings.range(from..=to);
        range.map(|((_, other), dealing)| (*other, *dealing))
    }

    /// Returns what a node took of everybody but one: exposures above zero, and gifts.
    pub(crate) fn taken_beside(&self, node: NodeId, but: NodeId) -> i128 {
        let all = self.accounts.get(&node).map_or(0, |account| account.taken);
        let between = self.dealing(but, node);
        all - between.exposure().max(0) - between.got.given
    }

    /// Returns a node's accepted receipts of all time.
    pub(crate) fn earned(&self, node: NodeId) -> i128 {
        self.accounts.get(&node).map_or(0, |account| account.earned)
    }

    /// Returns a node's accepted receipts dated on or after a day.
    pub(crate) fn earned_since(&self, node: NodeId, since: Timestamp) -> i128 {
        let days = self.earned.range((node, day(since))..=(node, u64::MAX));
        days.map(|(_, mk)| *mk).sum()
    }

    /// Returns a provider's receipts on a requester dated on or after a day.
    pub(crate) fn charged_since(
        &self,
        provider: NodeId,
        requester: NodeId,
        since: Timestamp,
    ) -> i128 {
        let from = (provider, requester, day(since));
        let days = self.charged.range(from..=(provider, requester, u64::MAX));
        days.map(|(_, mk)| *mk).sum()
    }
}
