//! What an entry does to the state, with a name for every reason why it does nothing.
//!
//! Standing is a function of the set of entries: a later arrival may change it, the order of
//! arrival may not. A missing target means waiting, never refused.

/// What an entry does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It counts.
    Effective,
    /// It will count, or not, once something that is missing arrives.
    Waiting(Wait),
    /// It does nothing, for this reason.
    Without(NoEffect),
}

/// What an entry waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Wait {
    /// The order or receipt it names.
    #[error("the entry it names has not arrived")]
    Target,
    /// The member it names.
    #[error("the node it names is not a member yet")]
    Counterparty,
    /// The member who gave the invite.
    #[error("who gave the invite is not a member yet")]
    Issuer,
    /// The other half of a pair's checkpoint.
    #[error("the other side has not written its half")]
    Mirror,
    /// Branches of a forked chain that a heal must name or that it names.
    #[error("branches of the chain are missing here, or not named by it")]
    Branches,
}

/// Why an entry does nothing. Codes are stable (`specs/ledger.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum NoEffect {
    /// The author has no effective join.
    #[error("its author is not a member")]
    NotMember,
    /// The chain holds an entry of an unknown version at or before it.
    #[error("its chain goes on in a version this node does not know")]
    Frozen,
    /// Its author forked at or before it.
    #[error("its author forked")]
    PastFork,
    /// A join without an invite where one is needed.
    #[error("an invite is needed")]
    InviteNeeded,
    /// The invite is of another commons, or by somebody who may not invite.
    #[error("the invite is by somebody who may not invite")]
    InviteIssuer,
    /// The issuer's signature is wrong.
    #[error("the invite is not signed by its issuer")]
    InviteSignature,
    /// The proof of the invite's secret is wrong.
    #[error("the joiner does not hold the invite's secret")]
    InviteProof,
    /// The join is dated after the invite's end.
    #[error("the invite had expired")]
    InviteExpired,
    /// Earlier joins used the invite up.
    #[error("the invite was used up")]
    InviteUsedUp,
    /// Author and counterparty are one.
    #[error("it names its own author as the other side")]
    Oneself,
    /// The author left before.
    #[error("its author had left")]
    Left,
    /// A later entry of the author takes its place.
    #[error("a later entry of its author counts instead")]
    Superseded,
    /// What it names is not of the kind it must be.
    #[error("it names an entry of another kind")]
    WrongTarget,
    /// What it names has no effect either.
    #[error("the entry it names has no effect")]
    TargetWithout,
    /// The author has no part in what it names.
    #[error("its author has no part in the entry it names")]
    NotParty,
    /// The provider had spoken on the order before.
    #[error("it is not its author's first word on the order")]
    NotFirstWord,
    /// It charges more than the order allows.
    #[error("it charges more than the order allows")]
    AboveMax,
    /// It is dated before the order.
    #[error("it is dated before the order")]
    BeforeOrder,
    /// It is dated after the order's deadline.
    #[error("it is dated after the order's deadline")]
    AfterDeadline,
    /// A requester's void that is not dated after the deadline.
    #[error("a requester may void only after the deadline")]
    TooEarly,
    /// A receipt stands against it.
    #[error("the order is settled by a receipt")]
    Settled,
    /// An audit by one of the two parties.
    #[error("its author is a party of what it audits")]
    Party,
    /// A pair's checkpoint stands after what it speaks of.
    #[error("both sides closed the account up to there")]
    Closed,
    /// A checkpoint whose sums are not those of the pair.
    #[error("the sums are not what the two did for one another")]
    Sums,
    /// A checkpoint over an order that is open, pending or disputed.
    #[error("something below it is open, pending or disputed")]
    Open,
    /// A checkpoint whose places are not below it, or lie before an earlier one's.
    #[error("its places are not in order")]
    Places,
    /// An amendment by somebody else than the founder.
    #[error("only the founder may amend the charter")]
    NotFounder,
    /// A heal of a chain that did not fork.
    #[error("the chain had not forked")]
    NoFork,
}

impl NoEffect {
    /// Returns the stable number of the reason.
    pub const fn code(self) -> u16 {
        match self {
            Self::NotMember => 101,
            Self::Frozen => 102,
            Self::PastFork => 103,
            Self::InviteNeeded => 104,
            Self::InviteIssuer => 105,
            Self::InviteSignature => 106,
            Self::InviteProof => 107,
            Self::InviteExpired => 108,
            Self::InviteUsedUp => 109,
            Self::Oneself => 110,
            Self::Left => 111,
            Self::Superseded => 112,
            Self::WrongTarget => 113,
            Self::TargetWithout => 114,
            Self::NotParty => 115,
            Self::NotFirstWord => 116,
            Self::AboveMax => 117,
            Self::BeforeOrder => 118,
            Self::AfterDeadline => 119,
            Self::TooEarly => 120,
            Self::Settled => 121,
            Self::Party => 122,
            Self::Closed => 123,
            Self::Sums => 124,
            Self::Open => 125,
            Self::Places => 126,
            Self::NotFounder => 127,
            Self::NoFork => 128,
        }
    }
}
