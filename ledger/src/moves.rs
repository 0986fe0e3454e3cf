//! Every effective move of a commons once: who pays whom, how much, for what.
//!
//! [`why`](crate::why::why()) shows the same moves from one member's side. Both read the book's
//! orders and transfers, neither reads the accounts, so that an audit can hold the three together.

use hearth_protocol::entry::TransferReason;
use hearth_protocol::id::{EntryHash, NodeId};
use hearth_protocol::unit::{Millikudos, Timestamp};

use crate::book::Book;
use crate::order::Acceptance;
use crate::why::LineState;

/// One move between two members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// The entry that makes it: a receipt or a transfer.
    pub entry: EntryHash,
    /// Its date.
    pub date: Timestamp,
    /// Who pays.
    pub from: NodeId,
    /// Who is paid.
    pub to: NodeId,
    /// How much.
    pub amount: Millikudos,
    /// What for.
    pub cause: Cause,
    /// How firm it is.
    pub state: LineState,
}

/// What a move is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Work, under this order.
    Work {
        /// The order that the entry settles.
        order: EntryHash,
    },
    /// A transfer.
    Transfer(TransferReason),
}

/// Returns every effective move, by date.
pub fn moves(book: &Book) -> Vec<Move> {
    let work = book.orders().filter_map(|order| {
        let receipt = order.receipt()?;
        Some(Move {
            entry: receipt.hash,
            date: receipt.time,
            from: order.requester,
            to: order.provider,
            amount: receipt.amount,
            cause: Cause::Work { order: order.hash },
            state: firmness(receipt.acceptance),
        })
    });
    let transfers = book.transfers().map(|(hash, transfer)| Move {
        entry: *hash,
        date: transfer.time,
        from: transfer.from,
        to: transfer.to,
        amount: transfer.amount,
        cause: Cause::Transfer(transfer.reason),
        state: LineState::Settled,
    });
    let mut moves: Vec<Move> = work.chain(transfers).collect();
    moves.sort_by_key(|one| (one.date, one.entry));
    moves
}

pub(crate) const fn firmness(acceptance: Acceptance) -> LineState {
    match acceptance {
        Acceptance::Accepted => LineState::Settled,
        Acceptance::Pending => LineState::Pending,
        Acceptance::Disputed(cause) => LineState::Disputed(cause),
    }
}
