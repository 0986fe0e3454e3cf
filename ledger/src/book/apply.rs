//! What each body does when its entry comes in.

use hearth_protocol::entry::{Body, Header};
use hearth_protocol::id::{EntryHash, NodeId};
use hearth_protocol::unit::{Seq, Timestamp};

use super::{Book, rules};
use crate::amend::Amendment;
use crate::evidence::Evidence;
use crate::members::Joining;
use crate::nets::Half;
use crate::order::{Terms, Word, WordKind};
use crate::transfer::Transfer;

/// An entry's author, place, name and date.
#[derive(Debug, Clone, Copy)]
struct At {
    author: NodeId,
    seq: Seq,
    hash: EntryHash,
    time: Timestamp,
}

impl Book {
    /// Notes what an entry says and judges again whatever rests on it.
    pub(super) fn apply(&mut self, hash: EntryHash, header: &Header, body: &Body) {
        let Header {
            author, seq, time, ..
        } = *header;
        let at = At {
            author,
            seq,
            hash,
            time,
        };
        match body {
            Body::Order { .. } | Body::Receipt { .. } | Body::Void { .. } | Body::Ack { .. } => {
                self.apply_to_order(at, body);
            }
            Body::Join { invite } => {
                let joining = Joining {
                    hash,
                    author,
                    time,
                    invite: invite.as_ref(),
                };
                let changed = self.members.add_join(&joining, &self.charter, self.commons);
                self.membership_changed(&changed);
            }
            Body::Leave => self.members.add_leave(author, seq),
            Body::Trust { peer, limit } => self.lines.add(author, *peer, (seq, hash), *limit),
            Body::Transfer { to, amount, reason } => {
                let transfer = Transfer {
                    from: author,
                    to: *to,
                    amount: *amount,
                    reason: *reason,
                    seq,
                    time,
                    is_counted: false,
                };
                self.transfers.add(hash, transfer);
                let rules = rules(&self.chains, &self.members, &self.nets, &self.charter);
                self.transfers.refresh(hash, &rules, &mut self.accounts);
            }
            Body::Audit { .. } | Body::PairNet(_) | Body::Amend { .. } | Body::Heal { .. } => {
                self.apply_beside(at, body);
            }
        }
        if let Some(clock) = self.chains.clock(&author) {
            for order in self.orders.due(&author, clock) {
                self.refresh_order(order);
            }
        }
    }

    /// Notes an order, or a word or ack on one.
    fn apply_to_order(&mut self, at: At, body: &Body) {
        let At { hash, time, .. } = at;
        let place = (at.author, at.seq, hash);
        match body {
            Body::Order {
                provider,
                job,
                max,
                deadline,
            } => {
                let terms = Terms {
                    requester: at.author,
                    provider: *provider,
                    job: *job,
                    max: *max,
                    deadline: *deadline,
                    time,
                    seq: at.seq,
                };
                self.orders.add_order(hash, terms);
                self.refresh_order(hash);
            }
            Body::Receipt { order, amount, .. } => {
                let kind = WordKind::Receipt(*amount);
                self.orders.add_word(*order, place, Word { time, kind });
                self.refresh_order(*order);
            }
            Body::Void { order, .. } => {
                let kind = WordKind::Void;
                self.orders.add_word(*order, place, Word { time, kind });
                self.refresh_order(*order);
            }
            Body::Ack { receipt, verdict } => {
                if let Some(order) = self.orders.add_ack(*receipt, place, *verdict) {
                    self.refresh_order(order);
                }
            }
            Body::Join { .. }
            | Body::Trust { .. }
            | Body::Transfer { .. }
            | Body::Leave
            | Body::Audit { .. }
            | Body::PairNet(_)
            | Body::Amend { .. }
            | Body::Heal { .. } => {}
        }
    }

    /// Notes what moves nothing by itself.
    fn apply_beside(&mut self, at: At, body: &Body) {
        let At {
            author, seq, hash, ..
        } = at;
        match body {
            Body::Audit {
                receipt,
                steps,
                distance,
                verdict,
            } => {
                let found = Evidence {
                    entry: hash,
                    auditor: author,
                    steps: *steps,
                    distance: *distance,
                    verdict: *verdict,
                };
                self.audits.add(*receipt, seq, found);
            }
            Body::PairNet(net) => {
                let net = *net;
                let pair = self.nets.add(author, Half { hash, seq, net });
                self.refresh_pair(&pair);
            }
            Body::Amend {
                prices,
                caps,
                rules,
            } => {
                if author == self.charter.founder {
                    let amendment = Amendment {
                        prices: *prices,
                        caps: *caps,
                        rules: rules.clone(),
                    };
                    self.amendments.add((seq, hash), amendment);
                }
            }
            Body::Heal { tips, .. } => {
                if self.chains.add_heal(&author, (seq, hash), tips.clone()) {
                    self.refresh_node(&author);
                }
            }
            Body::Join { .. }
            | Body::Trust { .. }
            | Body::Order { .. }
            | Body::Receipt { .. }
            | Body::Void { .. }
            | Body::Ack { .. }
            | Body::Transfer { .. }
            | Body::Leave => {}
        }
    }
}
