//! Balances and what each pair did for one another, kept up to date move by move.
//!
//! Every move takes from one node what it gives to another, so the sum over all is zero by
//! construction (L-conserve). Holds move nothing; they are counted for exposure alone.

use std::collections::BTreeMap;

use hearth_protocol::id::NodeId;
use hearth_protocol::unit::{Balance, Millikudos};

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

/// What a provider did for a requester, in millikudos.
#[derive(Debug, Clone, Copy, Default)]
struct Pair {
    charged: i128,
    accepted: i128,
    held: i128,
    given: i128,
}

#[derive(Debug, Clone, Copy, Default)]
struct Account {
    balance: i128,
    pending: i128,
}

/// The accounts of one commons.
#[derive(Debug, Clone, Default)]
pub(crate) struct Accounts {
    accounts: BTreeMap<NodeId, Account>,
    pairs: BTreeMap<(NodeId, NodeId), Pair>,
}

impl Accounts {
    fn shift(&mut self, to: NodeId, from: NodeId, mk: i128) {
        self.accounts.entry(to).or_default().balance += mk;
        self.accounts.entry(from).or_default().balance -= mk;
    }

    /// Moves a receipt's charge from requester to provider.
    pub(crate) fn charge(
        &mut self,
        turn: Turn,
        provider: NodeId,
        requester: NodeId,
        amount: Millikudos,
        is_accepted: bool,
    ) {
        let mk = turn.signed(amount);
        self.shift(provider, requester, mk);
        let pair = self.pairs.entry((provider, requester)).or_default();
        pair.charged += mk;
        if is_accepted {
            pair.accepted += mk;
        } else {
            self.accounts.entry(provider).or_default().pending += mk;
        }
    }

    /// Counts an open hold.
    pub(crate) fn hold(
        &mut self,
        turn: Turn,
        provider: NodeId,
        requester: NodeId,
        max: Millikudos,
    ) {
        self.pairs.entry((provider, requester)).or_default().held += turn.signed(max);
    }

    /// Moves a transfer.
    pub(crate) fn transfer(&mut self, turn: Turn, from: NodeId, to: NodeId, amount: Millikudos) {
        let mk = turn.signed(amount);
        self.shift(to, from, mk);
        self.pairs.entry((from, to)).or_default().given += mk;
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

    /// Returns what the requester owes the provider beyond what it did for it, holds included.
    pub(crate) fn exposure(&self, provider: NodeId, requester: NodeId) -> Balance {
        let of = |key| self.pairs.get(&key).copied().unwrap_or_default();
        let (mine, theirs) = (of((provider, requester)), of((requester, provider)));
        Balance::from_mk(mine.charged + mine.held - theirs.accepted - mine.given)
    }
}
