//! Credit as people and peers see it: a provider's policy, and one decision with all its figures.
//!
//! A [`Decision`] travels in a refusal and is shown to the provider's owner, so that nobody has to
//! take a no on trust: the figures add up to it. Which figures those are is `hearth-ledger`'s.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::NodeId;
use crate::unit::{Balance, Millikudos};

/// How a provider decides whom it lends to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyName {
    /// Lines, work for people it has reason to believe, and a small bucket for newcomers.
    #[default]
    Neighbour,
    /// Lines and nothing else.
    Friends,
    /// Every member, up to one generous cap.
    Open,
}

impl PolicyName {
    /// Returns the word it is set with.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Neighbour => "neighbour",
            Self::Friends => "friends",
            Self::Open => "open",
        }
    }
}

/// What the owner chose; what is `None` is taken from the charter or the policy's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyTerms {
    /// The policy.
    pub policy: PolicyName,
    /// Most that is lent beyond a line.
    pub cap: Option<Millikudos>,
    /// Share of the last 30 days' work lent to newcomers together, in percent.
    pub newcomer_percent: Option<u8>,
}

/// What a provider has taken on for one requester and not charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taking {
    /// Orders it took and has not begun.
    pub held: Millikudos,
    /// What it computes.
    pub running: Millikudos,
}

/// What a provider has taken on, by requester. Open holds it never took are not in it: a requester
/// may write any number of those, and they cost the provider nothing.
pub type Taken = BTreeMap<NodeId, Taking>;

/// Why somebody is lent nothing, whatever the figures say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bar {
    /// It is no member, or left.
    NotMember,
    /// It showed two histories.
    Forked,
}

/// Somebody through whom a requester is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Basis {
    /// Whom the provider believes.
    pub node: NodeId,
    /// How much of the credible net comes through it.
    pub amount: Millikudos,
}

/// One decision about credit: what was asked, every figure, and what followed.
///
/// It is granted when `exposed + ask` is at most `line + min(cap, credible) + bucket`. Figures
/// above [`limits::AMOUNT_MK_MAX`](crate::limits::AMOUNT_MK_MAX) are shown as that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Whose rules these are.
    pub policy: PolicyName,
    /// The answer.
    pub granted: bool,
    /// Why nothing is lent at all, if so.
    pub bar: Option<Bar>,
    /// What was asked for.
    pub ask: Millikudos,
    /// The provider's receipts on the requester, disputed ones too.
    pub charged: Millikudos,
    /// What the requester settled: its accepted work for the provider, and the provider's transfers to it.
    pub settled: Millikudos,
    /// Its orders the provider took and has not begun.
    pub held: Millikudos,
    /// What the provider computes for it now.
    pub running: Millikudos,
    /// What others were lent because the requester vouched for them by accepting their work.
    pub lent: Millikudos,
    /// The provider's line to the requester.
    pub line: Millikudos,
    /// Work of the requester for others, as far as the provider has reason to believe them.
    pub credible: Millikudos,
    /// Most of it that counts.
    pub cap: Millikudos,
    /// What is left of the newcomers' bucket.
    pub bucket: Millikudos,
    /// The most that would be granted.
    pub room: Millikudos,
    /// What is missing.
    pub short: Millikudos,
    /// Through whom the credible net comes, the largest first, at most
    /// [`limits::BASIS_MAX`](crate::limits::BASIS_MAX).
    pub basis: Vec<Basis>,
}

impl Decision {
    /// The answer to somebody who is no member and owes nothing.
    pub const fn of_nobody(policy: PolicyName, ask: Millikudos) -> Self {
        let nothing = Millikudos::ZERO;
        Self {
            policy,
            granted: false,
            bar: Some(Bar::NotMember),
            ask,
            charged: nothing,
            settled: nothing,
            held: nothing,
            running: nothing,
            lent: nothing,
            line: nothing,
            credible: nothing,
            cap: nothing,
            bucket: nothing,
            room: nothing,
            short: ask,
            basis: Vec::new(),
        }
    }

    /// Returns what the provider stands to lose before it says yes; negative when it owes.
    pub fn exposed(&self) -> Balance {
        [self.charged, self.held, self.running, self.lent]
            .into_iter()
            .fold(Balance::ZERO, Balance::plus)
            .minus(self.settled)
    }
}

impl fmt::Display for Decision {
    /// Says it to the requester, in kudos.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bar {
            Some(Bar::NotMember) => return f.write_str("you are no member here"),
            Some(Bar::Forked) => return f.write_str("your chain has two histories"),
            None => {}
        }
        let owed = Balance::ZERO.plus(self.charged).minus(self.settled);
        write!(
            f,
            "you ask {}, owe {owed}, hold {}, run {}",
            self.ask, self.held, self.running
        )?;
        if self.lent != Millikudos::ZERO {
            write!(f, ", and {} are lent on your word", self.lent)?;
        }
        write!(f, "; my line is {}", self.line)?;
        match self.policy {
            PolicyName::Friends => {}
            PolicyName::Open => write!(f, ", cap {}", self.cap)?,
            PolicyName::Neighbour => write!(
                f,
                ", your credible net {} (cap {}), left for newcomers {}",
                self.credible, self.cap, self.bucket
            )?,
        }
        if self.granted {
            write!(f, ": room for {}", self.room)
        } else {
            write!(f, ": {} short", self.short)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk(mk: u64) -> Millikudos {
        Millikudos::saturating(mk)
    }

    fn decision(policy: PolicyName) -> Decision {
        Decision {
            policy,
            granted: false,
            bar: None,
            ask: mk(10_000),
            charged: mk(130_000),
            settled: mk(10_000),
            held: mk(40_000),
            running: mk(0),
            lent: mk(0),
            line: mk(100_000),
            credible: mk(80_000),
            cap: mk(50_000),
            bucket: mk(10_000),
            room: mk(0),
            short: mk(10_000),
            basis: Vec::new(),
        }
    }

    #[test]
    fn l60_a_refusal_says_every_figure() {
        let said = decision(PolicyName::Neighbour);
        assert_eq!(said.exposed().mk(), 160_000);
        assert_eq!(
            said.to_string(),
            "you ask 10, owe 120, hold 40, run 0; my line is 100, your credible net 80 (cap 50), left for \
             newcomers 10: 10 short"
        );
        let lent = Decision {
            lent: mk(1_500),
            ..decision(PolicyName::Friends)
        };
        assert_eq!(
            lent.to_string(),
            "you ask 10, owe 120, hold 40, run 0, and 1.500 are lent on your word; my line is 100: 10 short"
        );
        let barred = Decision {
            bar: Some(Bar::Forked),
            ..decision(PolicyName::Open)
        };
        assert_eq!(barred.to_string(), "your chain has two histories");
    }
}
