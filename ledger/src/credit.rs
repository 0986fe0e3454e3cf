//! How much a provider lets a requester run up: its own decision, and no part of the shared state.
//!
//! A [`CreditPolicy`] reads the book, what the provider has taken on, and the provider's clock, and
//! answers with a [`Decision`] that holds every figure. [`Neighbour`] is the default: lines, work
//! for people one has reason to believe (`belief`), and a small bucket all newcomers share.
//! The rules are L60 to L69 of `specs/ledger.md`.

mod belief;
mod bucket;
mod flow;

use std::fmt;

use hearth_protocol::charter::Caps;
use hearth_protocol::credit::{Bar, Basis, Decision, PolicyName, PolicyTerms, Taken};
use hearth_protocol::id::NodeId;
use hearth_protocol::unit::{Millikudos, Timestamp};

use crate::book::Book;
use crate::book::lending::Dealing;
use belief::believe;
pub use bucket::bucket;

/// What [`Open`] lends every member unless its owner says otherwise: a hundred pictures.
pub const OPEN_CAP: Millikudos = Millikudos::saturating(1_000_000);

/// What a decision is made from.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The book as the provider has it.
    pub book: &'a Book,
    /// The provider.
    pub me: NodeId,
    /// Its clock.
    pub now: Timestamp,
    /// What it has taken on.
    pub taken: &'a Taken,
}

/// A way to decide whom to lend to. Pure: the same question has the same answer.
pub trait CreditPolicy: fmt::Debug + Send {
    /// Decides whether a requester may run up `ask` more.
    fn decide(&self, question: &Question<'_>, requester: &NodeId, ask: Millikudos) -> Decision;
}

/// Returns the policy an owner chose, in a commons with these caps.
// L61
pub fn policy(terms: &PolicyTerms, caps: &Caps) -> Box<dyn CreditPolicy> {
    match terms.policy {
        PolicyName::Neighbour => Box::new(Neighbour {
            cap: terms.cap.unwrap_or(caps.credible_net),
            newcomer_percent: terms.newcomer_percent.unwrap_or(caps.newcomer_percent),
        }),
        PolicyName::Friends => Box::new(Friends),
        PolicyName::Open => Box::new(Open {
            cap: terms.cap.unwrap_or(OPEN_CAP),
        }),
    }
}

/// Lines, credible net up to a cap, and the newcomers' bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// Most that credible net adds to a line.
    pub cap: Millikudos,
    /// Newcomers' share of the last 30 days' work, in percent.
    pub newcomer_percent: u8,
}

/// Lines alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Friends;

/// A line and a cap for every member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    /// Most that is lent beyond a line.
    pub cap: Millikudos,
}

impl CreditPolicy for Neighbour {
    // L60
    fn decide(&self, question: &Question<'_>, requester: &NodeId, ask: Millikudos) -> Decision {
        let name = PolicyName::Neighbour;
        let Some(mut figures) = Figures::open(name, question, requester, ask) else {
            return barred(name, question, requester, ask);
        };
        let believed = believe(question, requester);
        let stranded = believed.stranded.values().sum::<i128>();
        let written_off = bucket::of_all_time(question, self.newcomer_percent);
        figures.lent = believed.lent;
        if question.is_on_probation(requester) {
            return figures.close();
        }
        figures.credible = (believed.credible - (stranded - written_off).max(0)).max(0);
        figures.cap = i128::from(self.cap.get());
        figures.bucket = bucket::left(question, self.newcomer_percent, &believed.stranded);
        figures.basis = believed.basis;
        figures.close()
    }
}

impl CreditPolicy for Friends {
    // L29
    fn decide(&self, question: &Question<'_>, requester: &NodeId, ask: Millikudos) -> Decision {
        let name = PolicyName::Friends;
        Figures::open(name, question, requester, ask).map_or_else(
            || barred(name, question, requester, ask),
            |figures| figures.close(),
        )
    }
}

impl CreditPolicy for Open {
    // L61
    fn decide(&self, question: &Question<'_>, requester: &NodeId, ask: Millikudos) -> Decision {
        let name = PolicyName::Open;
        let Some(mut figures) = Figures::open(name, question, requester, ask) else {
            return barred(name, question, requester, ask);
        };
        if question.is_on_probation(requester) {
            return figures.close();
        }
        figures.cap = i128::from(self.cap.get());
        // Everybody is believed, up to the cap.
        figures.credible = figures.cap;
        figures.close()
    }
}

impl Question<'_> {
    /// Returns what the provider stands to lose to somebody, of its own receipts and takings.
    fn exposed(&self, node: &NodeId, dealing: &Dealing) -> i128 {
        charged(dealing) - settled(dealing) + self.held(node) + self.running(node)
    }

    fn held(&self, node: &NodeId) -> i128 {
        let taking = self.taken.get(node);
        taking.map_or(0, |taking| i128::from(taking.held.get()))
    }

    fn running(&self, node: &NodeId) -> i128 {
        let taking = self.taken.get(node);
        taking.map_or(0, |taking| i128::from(taking.running.get()))
    }

    /// Returns the line as the provider set it, whatever became of the member since: what it lent
    /// within it was not lent on anybody's word.
    fn line_ever(&self, node: &NodeId) -> i128 {
        let said = self.book.line_said(&self.me, node);
        i128::from(
            said.unwrap_or_else(|| self.book.charter().member_line)
                .get(),
        )
    }

    /// Returns whether a chain was healed: its author is lent what a person says and no more.
    fn is_on_probation(&self, node: &NodeId) -> bool {
        self.book.healed(node).is_some()
    }

    fn bar(&self, node: &NodeId) -> Option<Bar> {
        if !self.book.is_member(node) || *node == self.me {
            Some(Bar::NotMember)
        } else if self.book.is_forked(node) {
            Some(Bar::Forked)
        } else {
            None
        }
    }
}

/// Returns the provider's receipts, given what it did and got.
const fn charged(dealing: &Dealing) -> i128 {
    dealing.did.charged
}

/// Returns what was settled: work for the provider that it accepted, and what it gave.
const fn settled(dealing: &Dealing) -> i128 {
    dealing.got.accepted + dealing.did.given
}

/// The figures of a decision in the making, in millikudos.
#[derive(Debug)]
struct Figures {
    policy: PolicyName,
    ask: Millikudos,
    charged: i128,
    settled: i128,
    held: i128,
    running: i128,
    lent: i128,
    line: i128,
    credible: i128,
    cap: i128,
    bucket: i128,
    basis: Vec<Basis>,
}

impl Figures {
    /// Reads what every policy needs; `None` for somebody who is lent nothing.
    fn open(
        policy: PolicyName,
        question: &Question<'_>,
        requester: &NodeId,
        ask: Millikudos,
    ) -> Option<Self> {
        if question.bar(requester).is_some() {
            return None;
        }
        let dealing = question.book.dealing(&question.me, requester);
        Some(Self {
            policy,
            ask,
            charged: charged(&dealing),
            settled: settled(&dealing),
            held: question.held(requester),
            running: question.running(requester),
            lent: 0,
            line: i128::from(question.book.line(&question.me, requester).get()),
            credible: 0,
            cap: 0,
            bucket: 0,
            basis: Vec::new(),
        })
    }

    fn close(self) -> Decision {
        let exposed = self.charged - self.settled + self.held + self.running + self.lent;
        let limit = self.line + self.credible.min(self.cap) + self.bucket;
        let room = (limit - exposed).max(0);
        let ask = i128::from(self.ask.get());
        Decision {
            policy: self.policy,
            granted: exposed + ask <= limit,
            bar: None,
            ask: self.ask,
            charged: amount(self.charged),
            settled: amount(self.settled),
            held: amount(self.held),
            running: amount(self.running),
            lent: amount(self.lent),
            line: amount(self.line),
            credible: amount(self.credible),
            cap: amount(self.cap),
            bucket: amount(self.bucket),
            room: amount(room),
            short: amount((exposed + ask - limit).max(0)),
            basis: self.basis,
        }
    }
}

/// Answers somebody who is lent nothing; what it owes is told all the same.
fn barred(
    policy: PolicyName,
    question: &Question<'_>,
    requester: &NodeId,
    ask: Millikudos,
) -> Decision {
    let dealing = question.book.dealing(&question.me, requester);
    Decision {
        bar: question.bar(requester),
        charged: amount(charged(&dealing)),
        settled: amount(settled(&dealing)),
        held: amount(question.held(requester)),
        running: amount(question.running(requester)),
        ..Decision::of_nobody(policy, ask)
    }
}

/// Returns a sum as an amount, cut at what one may be.
fn amount(mk: i128) -> Millikudos {
    Millikudos::saturating(u64::try_from(mk.max(0)).unwrap_or(u64::MAX))
}
