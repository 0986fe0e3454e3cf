//! Every balance as lines a person can open, down to the signed entry (L-explain).

use hearth_protocol::entry::TransferReason;
use hearth_protocol::id::{EntryHash, NodeId};
use hearth_protocol::unit::{Balance, Millikudos, Timestamp};

use crate::book::Book;
use crate::order::{Acceptance, DisputeCause, OrderView};

/// One move of a balance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The entry that moves it: a receipt or a transfer.
    pub entry: EntryHash,
    /// The order a receipt settles.
    pub order: Option<EntryHash>,
    /// The entry's date.
    pub date: Timestamp,
    /// The other side.
    pub counterparty: NodeId,
    /// What it adds; negative when it takes.
    pub amount: Balance,
    /// What it is.
    pub kind: LineKind,
    /// How firm it is.
    pub state: LineState,
    /// The line in words, without names: callers know what people call each other.
    pub text: String,
}

/// What a move is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineKind {
    /// Work done for the other side.
    Earned,
    /// Work the other side did.
    Paid,
    /// A transfer from the other side.
    Received,
    /// A transfer to the other side.
    Given,
}

/// How firm a move is. Only earned lines that are accepted may be spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineState {
    /// It stands.
    Settled,
    /// The requester has not spoken yet.
    Pending,
    /// It is disputed.
    Disputed(DisputeCause),
}

/// Explains a balance: the lines, by date, sum to [`Book::balance`] exactly.
pub fn why(book: &Book, node: &NodeId) -> Vec<Line> {
    let receipts = book
        .orders_of(node)
        .filter_map(|order| receipt_line(&order, node));
    let transfers = book.transfers_of(node).map(|(hash, transfer)| {
        let is_given = transfer.from == *node;
        let (kind, counterparty) = if is_given {
            (LineKind::Given, transfer.to)
        } else {
            (LineKind::Received, transfer.from)
        };
        Line {
            entry: *hash,
            order: None,
            date: transfer.time,
            counterparty,
            amount: signed(transfer.amount, is_given),
            kind,
            state: LineState::Settled,
            text: transfer_text(&transfer.reason, is_given),
        }
    });
    let mut lines: Vec<Line> = receipts.chain(transfers).collect();
    lines.sort_by_key(|line| (line.date, line.entry));
    lines
}

fn signed(amount: Millikudos, is_out: bool) -> Balance {
    if is_out {
        Balance::ZERO.minus(amount)
    } else {
        Balance::ZERO.plus(amount)
    }
}

fn receipt_line(order: &OrderView, node: &NodeId) -> Option<Line> {
    let receipt = order.receipt()?;
    let is_paid = order.requester == *node;
    let (kind, counterparty, what) = if is_paid {
        (LineKind::Paid, order.provider, "work received")
    } else {
        (LineKind::Earned, order.requester, "work done")
    };
    let (state, note) = match receipt.acceptance {
        Acceptance::Accepted => (LineState::Settled, "accepted"),
        Acceptance::Pending => (LineState::Pending, "not acked yet"),
        Acceptance::Disputed(cause) => (LineState::Disputed(cause), dispute_text(cause)),
    };
    Some(Line {
        entry: receipt.hash,
        order: Some(order.hash),
        date: receipt.time,
        counterparty,
        amount: signed(receipt.amount, is_paid),
        kind,
        state,
        text: format!(
            "{what}, {} of at most {}, {note}",
            receipt.amount, order.max
        ),
    })
}

const fn dispute_text(cause: DisputeCause) -> &'static str {
    match cause {
        DisputeCause::Said(_) => "disputed by the requester",
        DisputeCause::Voided => "disputed: the hold had been released",
        DisputeCause::Duplicate => "disputed: another receipt counts for this job",
    }
}

fn transfer_text(reason: &TransferReason, is_given: bool) -> String {
    match (reason, is_given) {
        (TransferReason::Gift, true) => "gift given".to_owned(),
        (TransferReason::Gift, false) => "gift received".to_owned(),
        (TransferReason::Bounty { id }, true) => format!("share of bounty {} paid", id.short()),
        (TransferReason::Bounty { id }, false) => format!("share of bounty {}", id.short()),
        (TransferReason::Audit { receipt }, true) => {
            format!("paid for auditing {}", receipt.short())
        }
        (TransferReason::Audit { receipt }, false) => format!("audited {}", receipt.short()),
        (TransferReason::Seeding { bytes, .. }, true) => format!("thanks for {bytes} seeded"),
        (TransferReason::Seeding { bytes, .. }, false) => format!("thanked for seeding {bytes}"),
    }
}
