//! What a commons agrees on, and who may enter.
//!
//! The commons' id is the BLAKE3 of the canonical unsigned charter, so no two charters share one.
//! Prices here are the table price, the same on every node; a worker may state a percentage of it.

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::id::{CommonsId, InviteKey, NodeId};
use crate::sign::{Domain, Signable};
use crate::unit::{ByteCount, Millikudos, Millis, Timestamp};

/// The founding agreement of a commons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Charter {
    /// Format of the charter: 1.
    pub version: u8,
    /// What people call it.
    pub name: String,
    /// What it is for.
    pub purpose: String,
    /// Who founded it; a member without an invite.
    pub founder: NodeId,
    /// When.
    pub created: Timestamp,
    /// Who may enter. Fixed for good.
    pub admission: Admission,
    /// What work costs.
    pub prices: PriceTable,
    /// What each member lets every other owe it, until it says otherwise.
    pub member_line: Millikudos,
    /// Credit caps.
    pub caps: Caps,
    /// Windows and skew. Fixed for good.
    pub windows: Windows,
    /// Rules in words.
    pub rules: String,
}

impl Charter {
    /// Returns the commons' name: BLAKE3 of the canonical charter.
    pub fn id(&self) -> CommonsId {
        CommonsId::from_bytes(*blake3::hash(&codec::encode(self)).as_bytes())
    }
}

impl Signable for Charter {
    const DOMAIN: Domain = Domain::Charter;

    fn signer(&self) -> NodeId {
        self.founder
    }
}

/// Who may enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admission {
    /// Anybody who finds it.
    Open,
    /// Who holds an invite by the founder.
    InvitedByFounder,
    /// Who holds an invite by any member.
    InvitedByMembers,
}

/// What work costs, in millikudos.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceTable {
    /// One guided evaluation of 512x512 pixels at factor 1.
    pub evaluation: Millikudos,
    /// Loading a checkpoint that is not warm.
    pub cold_load: Millikudos,
    /// One adapter.
    pub lora: Millikudos,
    /// One MiB that a worker must fetch for a job; seeders are thanked out of it.
    pub fetch_mib: Millikudos,
}

/// Limits on credit beyond lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Caps {
    /// Most that believed work for others adds to a line.
    pub credible_net: Millikudos,
    /// Share of one's last 30 days' work lent to strangers together, in percent.
    pub newcomer_percent: u8,
    /// Most a member pays one seeder in a day.
    pub seeding_day: Millikudos,
}

/// Spans of time everybody must agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Windows {
    /// How long after an order's deadline silence becomes acceptance.
    pub ack: Millis,
    /// How far clocks may be apart.
    pub skew: Millis,
    /// How long entries of a closed account are kept whole; left out when it is the default, so
    /// that charters written before it was named keep their id.
    #[serde(
        default = "Windows::usual_retention",
        skip_serializing_if = "Windows::is_usual_retention"
    )]
    pub retention: Millis,
}

impl PriceTable {
    /// The defaults: 200 mk an evaluation makes AI Horde's 10 kudos of 50 evaluations at 512x512.
    pub const DEFAULT: Self = Self {
        evaluation: Millikudos::saturating(200),
        cold_load: Millikudos::saturating(500),
        lora: Millikudos::saturating(100),
        fetch_mib: Millikudos::saturating(10),
    };

    /// Returns `ceil(evaluation * evaluations * width * height * factor / 262144)`.
    pub fn work(&self, evaluations: u32, width: u32, height: u32, factor: u32) -> Millikudos {
        let product = u128::from(self.evaluation.get())
            .saturating_mul(u128::from(evaluations))
            .saturating_mul(u128::from(width) * u128::from(height))
            .saturating_mul(u128::from(factor));
        Millikudos::saturating(u64::try_from(product.div_ceil(512 * 512)).unwrap_or(u64::MAX))
    }

    /// Returns the charge for bytes a worker must fetch, rounded up.
    pub fn fetch(&self, bytes: ByteCount) -> Millikudos {
        let product = u128::from(self.fetch_mib.get()).saturating_mul(u128::from(bytes.get()));
        Millikudos::saturating(u64::try_from(product.div_ceil(1 << 20)).unwrap_or(u64::MAX))
    }
}

impl Caps {
    /// The defaults of a small commons of friends.
    pub const DEFAULT: Self = Self {
        credible_net: Millikudos::saturating(100_000),
        newcomer_percent: 5,
        seeding_day: Millikudos::saturating(100_000),
    };
}

impl Windows {
    /// The defaults: a day to dispute, a minute of skew, ninety days of history.
    pub const DEFAULT: Self = Self {
        ack: Millis::from_secs(86_400),
        skew: Millis::from_secs(60),
        retention: Millis::from_secs(90 * 86_400),
    };

    const fn usual_retention() -> Millis {
        Self::DEFAULT.retention
    }

    fn is_usual_retention(retention: &Millis) -> bool {
        *retention == Self::DEFAULT.retention
    }
}

/// Leave to enter, signed by a member. The secret half of its key is in the ticket alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invite {
    /// The commons it opens.
    pub commons: CommonsId,
    /// The member who gives it.
    pub issuer: NodeId,
    /// The one-time public key; its secret proves the invite.
    pub key: InviteKey,
    /// A join dated later has no effect.
    pub expires: Timestamp,
    /// How many may use it.
    pub uses: u32,
}

impl Signable for Invite {
    const DOMAIN: Domain = Domain::Invite;

    fn signer(&self) -> NodeId {
        self.issuer
    }
}
