//! How much a provider lets a requester run up: lines alone, for now.
//!
//! Credit is the provider's own decision and no part of the shared state. The newcomer bucket and
//! credible net are policies of their own, added beside this one.

use hearth_protocol::id::NodeId;
use hearth_protocol::unit::{Balance, Millikudos};

use crate::book::Book;

/// What a provider lets a requester run up, and how far that is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credit {
    /// The provider's line to the requester.
    pub line: Millikudos,
    /// What the provider stands to lose now; negative when the requester did more for it.
    pub exposed: Balance,
    /// The largest further hold that fits.
    pub room: Millikudos,
}

/// Decides how much more `requester` may order at `me`. `running` is what `me` runs for it that
/// is in no open hold of the book.
pub fn room(book: &Book, me: &NodeId, requester: &NodeId, running: Millikudos) -> Credit {
    credit(
        book,
        me,
        requester,
        book.exposure(me, requester).plus(running),
    )
}

/// As [`room`], for a caller that counts the orders it took itself: open holds are left out, so
/// that an order about to be judged does not stand in its own way.
pub fn room_beside_holds(book: &Book, me: &NodeId, requester: &NodeId) -> Credit {
    let holds = book.open_orders_at(me);
    let theirs = holds.iter().filter(|order| order.requester == *requester);
    let exposed = theirs.fold(book.exposure(me, requester), |sum, order| {
        sum.minus(order.max)
    });
    credit(book, me, requester, exposed)
}

fn credit(book: &Book, me: &NodeId, requester: &NodeId, exposed: Balance) -> Credit {
    let line = book.line(me, requester);
    let left = i128::from(line.get()) - exposed.mk();
    let is_served = book.is_member(requester) && !book.is_forked(requester);
    let room = if is_served {
        Millikudos::saturating(u64::try_from(left.max(0)).unwrap_or(u64::MAX))
    } else {
        Millikudos::ZERO
    };
    Credit {
        line,
        exposed,
        room,
    }
}
