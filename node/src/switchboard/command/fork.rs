//! Commands about a fork of one's own: looking at it, and going on after it.

use hearth_ledger::{Book, HealError, Standing};
use hearth_protocol::control::{BranchView, ForkView, Problem, Reply};
use hearth_protocol::entry::HealReason;
use hearth_protocol::id::{EntryHash, NodeId};
use hearth_protocol::limits;
use hearth_protocol::unit::Seq;
use hearth_protocol::wire::Head;

use super::refused;
use crate::clock::now;
use crate::switchboard::Switchboard;
use crate::switchboard::commons::alone;

impl Switchboard {
    /// Shows whether this node's chain forked, and into what.
    pub(super) fn show_fork(&self) -> Result<Reply, Problem> {
        let Some(ledger) = &self.ledger else {
            return Err(alone());
        };
        let (book, me) = (ledger.book(), &self.me);
        let mut view = ForkView {
            forked: book.is_forked(me),
            healed: book.healed(me),
            place: None,
            branches: Vec::new(),
            lost: 0,
            obstacle: None,
        };
        if let Some(fork) = book.fork(me).filter(|_| view.forked) {
            let place = fork.left.trusted().seq;
            view.place = Some(place.get());
            let ends = book.branch_ends(me);
            view.branches = ends.iter().map(|end| branch(book, end, place)).collect();
            view.lost = lost(book, me, place);
            view.obstacle = match view.branches.len() {
                0 | 1 => Some(HealError::BranchMissing.to_string()),
                got if got > limits::HEAL_TIPS_MAX => Some(HealError::Branches { got }.to_string()),
                _ => None,
            };
        }
        Ok(Reply::Fork(Box::new(view)))
    }

    /// Goes on after a fork, on probation.
    pub(super) fn heal(&mut self, reason: HealReason) -> Result<Reply, Problem> {
        let Some(ledger) = self.ledger.as_mut() else {
            return Err(alone());
        };
        let entry = ledger
            .heal(reason, now())
            .map_err(|error| self.not_healed(&error))?;
        self.outbox.push(entry.clone());
        self.after_entries();
        let what = "healed: this node writes again, on probation until members give it lines";
        Ok(Reply::Wrote {
            entry: entry.hash(),
            what: what.to_owned(),
        })
    }

    fn not_healed(&self, error: &HealError) -> Problem {
        let problem = refused("the chain could not be healed").because(error);
        match error {
            HealError::BranchMissing => {
                let connected: Vec<NodeId> = self.peers.connected().copied().collect();
                for peer in connected {
                    self.ask_for_branches(peer);
                }
                problem.hint("connected members were asked for it now: try again in a moment, or when a member is there who has it")
            }
            HealError::NotForked | HealError::Branches { .. } => problem,
            HealError::Journal(_) | HealError::Rejected(_) => {
                problem.hint("'hearth doctor' says how disk and ledger are")
            }
        }
    }
}

/// Follows a branch back to the fork.
fn branch(book: &Book, end: &Head, fork: Seq) -> BranchView {
    let last = book.date(&end.hash).unwrap_or_default();
    let mut view = BranchView {
        head: end.hash,
        seq: end.seq.get(),
        entries: 0,
        first: last,
        last,
    };
    let mut at: EntryHash = end.hash;
    while let Some(entry) = book.entry(&at) {
        let header = entry.header.trusted();
        if header.seq < fork {
            break;
        }
        view.entries += 1;
        view.first = header.time;
        at = header.prev;
    }
    view
}

/// Counts the entries from the fork on that have no effect.
fn lost(book: &Book, me: &NodeId, fork: Seq) -> u64 {
    let past = book.entries().filter(|entry| {
        let header = entry.header.trusted();
        header.author == *me && header.seq >= fork
    });
    let lost = past.filter(|entry| book.standing(&entry.hash()) != Some(Standing::Effective));
    u64::try_from(lost.count()).unwrap_or(u64::MAX)
}
