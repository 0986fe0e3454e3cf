//! Asking members for the head of a chain before something rests on it: this node's own before it
//! writes after a start, a requester's before much is granted to it.
//!
//! What comes back as heads, and the entries that follow, goes the usual way into the ledger; here
//! is only who was asked, who has answered, and how long that is waited for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hearth_dispatch::Event;
use hearth_protocol::id::NodeId;
use hearth_protocol::unit::{Millikudos, Millis, Seq, Timestamp};
use hearth_protocol::wire::{Head, JobMessage, SyncMessage};

use super::{Inbox, Switchboard};
use crate::clock::now;

/// Members whose answer about the own head is enough.
const ANSWERS_WANTED: usize = 3;
/// How long a start waits for the first of them.
const PATIENCE: Millis = Millis::from_secs(4);
/// How long it waits for more once one has answered: others may be away.
const GRACE: Millis = Millis::new(250);
/// How long it waits for entries somebody says exist.
const LONG_PATIENCE: Millis = Millis::from_secs(10);
/// How long an order that asks for much an order waits for answers.
const GRANT_PATIENCE: Millis = Millis::from_secs(1);
/// Most orders held at once; what is beyond is decided without asking.
const HELD_MAX: usize = 16;

/// What is being asked.
#[derive(Debug, Default)]
pub(super) struct Asking {
    own: Option<Own>,
    held: Vec<Held>,
}

#[derive(Debug, Default)]
struct Own {
    answered: BTreeSet<NodeId>,
    first: Option<Timestamp>,
    told: Option<Seq>,
}

#[derive(Debug)]
struct Held {
    due: Timestamp,
    requester: NodeId,
    waiting: BTreeSet<NodeId>,
    message: Box<JobMessage>,
}

impl Switchboard {
    /// Waits at a start until members said what they hold of this node's chain. A home put back
    /// from a backup so gets the rest of its chain before it writes, and makes no fork.
    pub(super) async fn ask_own_head(&mut self, inbox: &mut Inbox) {
        let wanted = self.reachable_members().min(ANSWERS_WANTED);
        if wanted == 0 {
            return;
        }
        self.asking.own = Some(Own::default());
        let start = now();
        while let Some(until) = self.own_head_due(start, wanted) {
            let left = Duration::from_millis(until.since(now()).get());
            tokio::select! {
                Some(event) = inbox.network.recv() => self.on_network(event),
                () = tokio::time::sleep(left) => {}
            }
        }
        if let Some(own) = self.asking.own.take() {
            let (answers, took) = (own.answered.len(), now().since(start));
            tracing::debug!(answers, took = took.get(), "asked for the own head");
            if self.is_behind(&own) {
                tracing::warn!("members know a longer chain of this node and did not send it");
            }
        }
    }

    /// Returns how many members this node knows how to reach; none if it never wrote.
    fn reachable_members(&self) -> usize {
        let Some(ledger) = &self.ledger else { return 0 };
        let book = ledger.book();
        if self.rooms.network.is_none() || book.head(&self.me).is_none() {
            return 0;
        }
        let members = book.members().into_iter();
        let others = members.filter(|member| *member != self.me);
        others.filter(|m| self.peers.addrs(m).is_some()).count()
    }

    /// Returns until when to wait for answers; nothing once that is over.
    fn own_head_due(&self, start: Timestamp, wanted: usize) -> Option<Timestamp> {
        let own = self.asking.own.as_ref()?;
        let until = if self.is_behind(own) {
            start.plus(LONG_PATIENCE)
        } else if own.answered.len() >= wanted {
            return None;
        } else {
            let latest = start.plus(PATIENCE);
            let graced = own.first.map(|first| first.plus(GRACE));
            graced.map_or(latest, |graced| graced.min(latest))
        };
        Some(until).filter(|until| *until > now())
    }

    fn is_behind(&self, own: &Own) -> bool {
        let mine = self.ledger.as_ref().and_then(|l| l.book().head(&self.me));
        own.told > mine.map(|head| head.seq)
    }

    /// Asks a member that just connected, if this node still waits for answers.
    pub(super) fn ask_newcomer(&self, peer: NodeId) {
        if self.asking.own.is_some() {
            let author = self.me;
            self.send_sync(peer, &SyncMessage::HeadWanted { author });
        }
    }

    /// Shows what is held of a chain to who asks for it.
    pub(super) fn show_head(&self, peer: NodeId, author: NodeId) {
        let Some(ledger) = &self.ledger else { return };
        let book = ledger.book();
        let heads = book.head(&author).into_iter().collect();
        for proof in book.fork_proofs(&author) {
            self.send_sync(peer, &SyncMessage::Fork(Box::new(proof.clone())));
        }
        self.send_sync(peer, &SyncMessage::HeadShown { author, heads });
    }

    /// Notes an answer; the heads in it are compared like any others.
    pub(super) fn on_head_shown(&mut self, peer: NodeId, author: &NodeId, heads: &[Head]) {
        if *author == self.me
            && let Some(own) = self.asking.own.as_mut()
        {
            own.answered.insert(peer);
            own.first.get_or_insert_with(now);
            own.told = own.told.max(heads.iter().map(|head| head.seq).max());
        }
        for held in &mut self.asking.held {
            if held.requester == *author {
                held.waiting.remove(&peer);
            }
        }
    }

    /// Holds an order that asks for much until members said what they know of its requester;
    /// gives everything else back.
    pub(super) fn hold_large(
        &mut self,
        requester: NodeId,
        message: Box<JobMessage>,
    ) -> Option<Box<JobMessage>> {
        if !self.is_large(&message) || self.asking.held.len() >= HELD_MAX {
            return Some(message);
        }
        let waiting = self.some_members(requester);
        if waiting.is_empty() {
            return Some(message);
        }
        let name = self.peers.name(&requester);
        tracing::info!(
            requester = name,
            asked = waiting.len(),
            "asking about a requester"
        );
        for peer in &waiting {
            let author = requester;
            self.send_sync(*peer, &SyncMessage::HeadWanted { author });
        }
        self.asking.held.push(Held {
            due: now().plus(GRANT_PATIENCE),
            requester,
            waiting,
            message,
        });
        None
    }

    fn is_large(&self, message: &JobMessage) -> bool {
        let (Some(ledger), JobMessage::Order { order, spec, .. }) = (&self.ledger, message) else {
            return false;
        };
        let book = ledger.book();
        let evaluations = spec.evaluations();
        let price = book.prices().work(evaluations, spec.width, spec.height, 1);
        let max = book.order(order).map(|order| order.max);
        let mark = u64::from(self.facts.config.worker.ask_above).saturating_mul(1_000);
        price.max(max.unwrap_or_default()) > Millikudos::saturating(mark)
    }

    /// Draws 2 * sqrt(n) connected members, the requester aside: a double-spender that works in
    /// parallel is met with about 98 % (Schreiber 2020).
    fn some_members(&self, requester: NodeId) -> BTreeSet<NodeId> {
        let count = self
            .ledger
            .as_ref()
            .map_or(0, |ledger| ledger.book().members().len());
        let seed = crate::chance::bytes();
        let connected = self.peers.connected().filter(|peer| **peer != requester);
        let drawn: BTreeMap<[u8; 32], NodeId> = connected
            .map(|peer| {
                let lot = blake3::keyed_hash(&seed, peer.as_bytes());
                (*lot.as_bytes(), *peer)
            })
            .collect();
        drawn.into_values().take(2 * count.isqrt()).collect()
    }

    /// Lets dispatch decide on held orders whose answers came or whose time is over.
    pub(super) fn release_held(&mut self) {
        let at = now();
        let held = std::mem::take(&mut self.asking.held);
        let (ready, rest): (Vec<Held>, Vec<Held>) = held
            .into_iter()
            .partition(|held| held.due <= at || held.waiting.is_empty());
        self.asking.held = rest;
        for held in ready {
            let (from, message) = (held.requester, held.message);
            self.dispatch(Event::Message { from, message });
        }
    }

    /// Returns when the next held order is due.
    pub(super) fn held_due(&self) -> Option<Timestamp> {
        self.asking.held.iter().map(|held| held.due).min()
    }
}
