//! A balance explained: by pair, by line, down to what stands behind each receipt.

use hearth_ledger::{Acceptance, Book, DisputeCause, Line, LineKind, LineState, Sums, pairs, why};
use hearth_protocol::control::{AccountView, ChargeView, PairView, TermsView, WhyLine};
use hearth_protocol::entry::Body;
use hearth_protocol::id::NodeId;

/// Returns what passed between a node and each other member, the most lines first.
pub(in crate::switchboard) fn pair_views(lines: &[Line]) -> Vec<PairView> {
    let view = |(peer, sums): (NodeId, Sums)| PairView {
        peer,
        earned: sums.earned,
        paid: sums.paid,
        received: sums.received,
        given: sums.given,
        balance: sums.balance(),
        pending: sums.pending,
        disputed: sums.disputed,
        lines: u64::try_from(sums.lines).unwrap_or(u64::MAX),
    };
    let mut views: Vec<PairView> = pairs(lines).into_iter().map(view).collect();
    views.sort_by_key(|pair| (std::cmp::Reverse(pair.lines), pair.peer));
    views
}

/// Returns a line as shown.
pub(in crate::switchboard) fn line_view(book: &Book, line: Line) -> WhyLine {
    let kind = match line.kind {
        LineKind::Earned | LineKind::Paid => "receipt",
        LineKind::Received | LineKind::Given => "transfer",
    };
    WhyLine {
        entry: line.entry,
        time: line.date,
        peer: line.counterparty,
        amount: line.amount,
        kind: kind.to_owned(),
        charge: charge_view(book, &line).map(Box::new),
        state: match line.state {
            LineState::Settled | LineState::Disputed(_) => line.text,
            LineState::Pending => format!("pending: {}", line.text),
        },
    }
}

fn charge_view(book: &Book, line: &Line) -> Option<ChargeView> {
    let order = book.order(&line.order?)?;
    let Ok(Body::Receipt {
        result,
        work,
        energy,
        ..
    }) = book.entry(&line.entry)?.decode_body()
    else {
        return None;
    };
    let ack = book.ack(&line.entry);
    let verdict = match order.receipt()?.acceptance {
        Acceptance::Accepted if book.is_closed(&order.hash) => {
            "accepted: both sides closed the account over it".to_owned()
        }
        Acceptance::Accepted if ack.is_some() => "accepted".to_owned(),
        Acceptance::Accepted => "accepted: the time to dispute it has passed".to_owned(),
        Acceptance::Pending => "not acked yet".to_owned(),
        Acceptance::Disputed(DisputeCause::Said(code)) => {
            format!("disputed: {}", hearth_dispatch::dispute_text(code))
        }
        Acceptance::Disputed(DisputeCause::Voided) => {
            "disputed: the hold had been released".to_owned()
        }
        Acceptance::Disputed(DisputeCause::Duplicate) => {
            "disputed: another receipt counts for this job".to_owned()
        }
    };
    Some(ChargeView {
        order: order.hash,
        job: order.job,
        max: order.max,
        placed: order.placed,
        deadline: order.deadline,
        result,
        work,
        energy,
        verdict,
        ack: ack.map(|(ack, _)| ack),
    })
}

/// Returns a member's account as node `me` shows it.
pub(in crate::switchboard) fn account_view(book: &Book, me: &NodeId, node: &NodeId) -> AccountView {
    let sums = Sums::of(&why(book, node));
    let terms = TermsView {
        line_to_it: book.line(me, node),
        it_owes: book.exposure(me, node),
        line_to_me: book.line(node, me),
        i_owe: book.exposure(node, me),
    };
    AccountView {
        node: *node,
        member: book.is_member(node),
        forked: book.is_forked(node),
        entries: u64::try_from(book.len_of(node)).unwrap_or(u64::MAX),
        balance: book.balance(node),
        pending: book.pending(node),
        spendable: book.spendable(node),
        earned: sums.earned,
        paid: sums.paid,
        received: sums.received,
        given: sums.given,
        terms: (me != node).then_some(terms),
    }
}
