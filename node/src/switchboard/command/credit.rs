//! Commands about lending: which policy, and what it lets members owe.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use hearth_dispatch::LedgerView;
use hearth_ledger::{Question, credit};
use hearth_protocol::control::{CreditLine, CreditReply, Problem, Reply};
use hearth_protocol::credit::{PolicyName, PolicyTerms};
use hearth_protocol::id::NodeId;
use hearth_protocol::unit::Millikudos;

use super::{done, refused, usage};
use crate::clock::now;
use crate::switchboard::Switchboard;
use crate::switchboard::commons::alone;

/// How long one answer may keep the node busy: each member costs a decision.
const BUSY_MAX: Duration = Duration::from_millis(500);

impl Switchboard {
    pub(super) fn show_credit(&self, peer: Option<&str>) -> Result<Reply, Problem> {
        let Some(ledger) = &self.ledger else {
            return Err(alone());
        };
        let book = ledger.book();
        let asked: Vec<NodeId> = match peer {
            Some(peer) => vec![self.peer(peer)?],
            None => self.lent_to(),
        };
        let (now, taken, lens) = (now(), self.dispatcher.taken(), self.lens());
        let (all, begun) = (asked.len(), Instant::now());
        let mut members: Vec<CreditLine> = asked
            .into_iter()
            .take_while(|_| begun.elapsed() < BUSY_MAX)
            .map(|node| CreditLine {
                node,
                decision: lens.credit(&node, Millikudos::ZERO, &taken, now),
            })
            .collect();
        members.sort_by_key(|line| (Reverse(line.decision.exposed()), line.node));
        let more = u32::try_from(all - members.len()).unwrap_or(u32::MAX);
        let question = Question {
            book,
            me: self.me,
            now,
            taken: &taken,
        };
        let caps = book.caps();
        let percent = match self.terms.policy {
            PolicyName::Neighbour => self.terms.newcomer_percent.unwrap_or(caps.newcomer_percent),
            PolicyName::Friends | PolicyName::Open => 0,
        };
        let cap = match self.terms.policy {
            PolicyName::Neighbour => self.terms.cap.unwrap_or(caps.credible_net),
            PolicyName::Friends => Millikudos::ZERO,
            PolicyName::Open => self.terms.cap.unwrap_or(credit::OPEN_CAP),
        };
        Ok(Reply::Credit(CreditReply {
            terms: self.terms,
            cap,
            newcomer_percent: percent,
            bucket: credit::bucket(&question, percent),
            members,
            more,
        }))
    }

    /// Returns the other members, those that owe this node most first.
    fn lent_to(&self) -> Vec<NodeId> {
        let Some(ledger) = &self.ledger else {
            return Vec::new();
        };
        let book = ledger.book();
        let mut members = book.members();
        members.retain(|node| *node != self.me);
        members.sort_by_key(|node| (Reverse(book.dealing(&self.me, node).exposure()), *node));
        members
    }

    pub(super) fn set_credit(&mut self, terms: PolicyTerms) -> Result<Reply, Problem> {
        let fits = match terms.policy {
            PolicyName::Neighbour => Ok(()),
            PolicyName::Friends if terms.cap.is_some() => Err("--cap"),
            PolicyName::Friends | PolicyName::Open if terms.newcomer_percent.is_some() => {
                Err("--newcomer-percent")
            }
            PolicyName::Friends | PolicyName::Open => Ok(()),
        };
        if let Err(flag) = fits {
            let word = terms.policy.word();
            return Err(usage(format!("{flag} means nothing with '{word}'"))
                .cause(match terms.policy {
                    PolicyName::Friends => "it lends within lines and nothing beyond them",
                    PolicyName::Neighbour | PolicyName::Open => "it has no newcomers' bucket",
                })
                .hint("leave it out, or choose 'neighbour'"));
        }
        if terms.newcomer_percent.is_some_and(|percent| percent > 100) {
            return Err(usage("newcomers get between 0 and 100 percent"));
        }
        self.store
            .set_terms(&terms)
            .map_err(|error| refused("the policy could not be kept").cause(error.to_string()))?;
        self.terms = terms;
        Ok(done(format!(
            "lending by '{}' from now on",
            terms.policy.word()
        )))
    }
}
