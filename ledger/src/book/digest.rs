//! The digest: one hash that two nodes compare to know that they hold the same book.
//!
//! Over the heads of the chains that are passed on and the state that follows from them, both in
//! a fixed order. Entries past a fork that nobody's receipt names are no part of it, nor are
//! chains without an effective join: nodes need not hold the same of those.

use blake3::Hasher;
use hearth_protocol::id::NodeId;

use super::Book;
use crate::order::{Acceptance, DisputeCause, OrderState};

impl Book {
    /// Returns the digest of the book; equal sets of entries give equal digests.
    pub fn digest(&self) -> [u8; 32] {
        *self.digest.get_or_init(|| self.compute_digest())
    }

    fn compute_digest(&self) -> [u8; 32] {
        let mut hasher = Hasher::new();
        hasher.update(b"hearth/1/digest:");
        hasher.update(self.commons().as_bytes());
        for head in self.heads() {
            tag(&mut hasher, b'h', &head.author);
            hasher.update(&head.seq.get().to_be_bytes());
            hasher.update(head.hash.as_bytes());
        }
        for (author, proof) in self.chains.forks() {
            if self.members.has_joined(author) {
                tag(&mut hasher, b'f', author);
                hasher.update(&proof.left.trusted().seq.get().to_be_bytes());
                if let Some((heal, _)) = self.chains.healed(author) {
                    tag(&mut hasher, b'e', author);
                    hasher.update(heal.as_bytes());
                }
            }
        }
        for member in self.members() {
            tag(&mut hasher, b'm', &member);
        }
        for (node, balance) in self.balances() {
            if balance.mk() != 0 {
                tag(&mut hasher, b'b', &node);
                hasher.update(&balance.mk().to_be_bytes());
            }
        }
        for ((first, second), closing) in self.nets.all() {
            tag(&mut hasher, b'n', first);
            hasher.update(second.as_bytes());
            hasher.update(closing.halves.0.as_bytes());
            hasher.update(closing.halves.1.as_bytes());
        }
        self.hash_lines(&mut hasher);
        self.hash_orders(&mut hasher);
        *hasher.finalize().as_bytes()
    }

    fn hash_lines(&self, hasher: &mut Hasher) {
        let rules = self.rules();
        for (from, to) in self.lines.pairs() {
            if let Some((_, limit)) = self.lines.latest(from, to, &rules) {
                tag(hasher, b'l', &from);
                hasher.update(to.as_bytes());
                hasher.update(&limit.get().to_be_bytes());
            }
        }
    }

    fn hash_orders(&self, hasher: &mut Hasher) {
        for order in self.orders() {
            let Some(code) = state_code(&order.state) else {
                continue;
            };
            hasher
                .update(b"o")
                .update(order.hash.as_bytes())
                .update(&[code]);
            if let Some(receipt) = order.receipt() {
                hasher.update(receipt.hash.as_bytes());
                hasher.update(&[acceptance_code(receipt.acceptance)]);
            }
        }
    }
}

fn tag(hasher: &mut Hasher, kind: u8, node: &NodeId) {
    hasher.update(&[kind]).update(node.as_bytes());
}

/// Returns the stable code of a state; `None` for orders that have no effect.
const fn state_code(state: &OrderState) -> Option<u8> {
    match state {
        OrderState::Waiting(_) | OrderState::Without(_) => None,
        OrderState::Held => Some(1),
        OrderState::Settled(_) => Some(2),
        OrderState::Voided(_) => Some(3),
        OrderState::Expired => Some(4),
    }
}

const fn acceptance_code(acceptance: Acceptance) -> u8 {
    match acceptance {
        Acceptance::Pending => 0,
        Acceptance::Accepted => 1,
        Acceptance::Disputed(DisputeCause::Said(_)) => 2,
        Acceptance::Disputed(DisputeCause::Voided) => 3,
        Acceptance::Disputed(DisputeCause::Duplicate) => 4,
    }
}
