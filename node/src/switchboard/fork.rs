//! One's own fork and those of others: what is missing to heal the one, what is said of the others.

use hearth_ledger::{Book, Ledger, WriteError};
use hearth_protocol::control::{Check, Health, Problem};
use hearth_protocol::id::NodeId;
use hearth_protocol::snapshot::ChainView;
use hearth_protocol::wire::SyncMessage;

use super::Switchboard;

/// What to do about a fork of one's own.
const HEAL: &str = "'hearth ledger heal' shows what happened and goes on from there";

impl Switchboard {
    /// Asks a member for the branches of one's own chain, while fewer than two are here (L96).
    pub(super) fn ask_for_branches(&self, peer: NodeId) {
        let Some(book) = self.ledger.as_ref().map(Ledger::book) else {
            return;
        };
        let me = self.me;
        let fork = book.fork(&me).filter(|_| book.is_forked(&me));
        let Some(fork) = fork.filter(|_| book.branch_ends(&me).len() < 2) else {
            return;
        };
        let from = fork.left.trusted().seq;
        self.send_sync(peer, &SyncMessage::Want { author: me, from });
    }

    /// Adds the way out to a refusal that a fork of one's own caused.
    pub(super) fn hint_at_healing(&self, problem: Problem) -> Problem {
        let forked = WriteError::Forked.to_string();
        let is_cause = problem.causes.contains(&forked) || problem.what == forked;
        if problem.hint.is_none() && is_cause {
            problem.hint(HEAL)
        } else {
            problem
        }
    }

    /// Returns whether a member's chain is one line, as this node has to deal with it.
    pub(super) fn chain_view(book: &Book, me: &NodeId, node: &NodeId) -> ChainView {
        if book.is_forked(node) {
            return ChainView::Forked;
        }
        match book.healed(node) {
            // A line that this node gave after the heal ends the probation here.
            Some(since) if node == me || book.line(me, node).get() == 0 => {
                ChainView::Probation { since }
            }
            Some(_) | None => ChainView::Whole,
        }
    }

    /// Returns what a person should do something about.
    pub(super) fn alerts(&self) -> Vec<String> {
        let is_forked = |ledger: &Ledger| ledger.book().is_forked(&self.me);
        if self.ledger.as_ref().is_some_and(is_forked) {
            vec![format!(
                "this node's own chain forked and it writes nothing: {HEAL}"
            )]
        } else {
            Vec::new()
        }
    }

    /// Looks for chains that forked: one's own stops the node, others' are to be known.
    pub(super) fn check_chains(&self) -> Check {
        let check = |health, found: String, hint: Option<String>| Check {
            name: "chains".into(),
            health,
            found,
            hint,
        };
        let Some(book) = self.ledger.as_ref().map(Ledger::book) else {
            return check(Health::Ok, "none yet".into(), None);
        };
        if book.is_forked(&self.me) {
            let found = "this node's own chain forked; it writes nothing";
            return check(Health::Broken, found.into(), Some(HEAL.into()));
        }
        let others = book.members().into_iter().filter(|node| *node != self.me);
        let (mut forked, mut healed) = (Vec::new(), Vec::new());
        for node in others {
            match Self::chain_view(book, &self.me, &node) {
                ChainView::Whole => {}
                ChainView::Forked => forked.push(self.peers.name(&node)),
                ChainView::Probation { .. } => healed.push(self.peers.name(&node)),
            }
        }
        let mut found = Vec::new();
        if !forked.is_empty() {
            found.push(format!("forked: {}", forked.join(", ")));
        }
        if !healed.is_empty() {
            found.push(format!("healed, on probation: {}", healed.join(", ")));
        }
        if found.is_empty() {
            return check(Health::Ok, "no chain of a member forked".into(), None);
        }
        let hint = healed.first().map_or_else(
            || "they can run 'hearth ledger heal'; until then they have no credit".to_owned(),
            |name| format!("'hearth peers trust {name} --line KUDOS' gives a line again"),
        );
        check(Health::Warning, found.join("; "), Some(hint))
    }
}
