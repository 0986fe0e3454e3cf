//! Amounts, names and bodies in the words of the ledger's commands.

use hearth_protocol::charter::{Caps, PriceTable};
use hearth_protocol::control::{Command, Reply};
use hearth_protocol::entry::{
    AuditVerdict, Body, Energy, EnergyMethod, HealReason, Place, TransferReason, Verdict,
    VoidReason, Work,
};
use hearth_protocol::id::NodeId;
use hearth_protocol::unit::{Balance, Millikudos};

use super::calendar::stamp;
use crate::cli::session::Session;
use crate::cli::wording::{Names, span};

/// Returns kudos with all three decimals, so that columns stand point under point.
pub(super) fn kudos(balance: Balance) -> String {
    let mk = balance.mk();
    let sign = if mk < 0 { "-" } else { "" };
    let mk = mk.unsigned_abs();
    format!("{sign}{}.{:03}", mk / 1000, mk % 1000)
}

/// Returns `1 entry`, `2 entries`.
pub(super) fn counted(count: usize, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

/// Returns an entry's amount with all three decimals.
pub(super) fn amount(amount: Millikudos) -> String {
    kudos(Balance::ZERO.plus(amount))
}

/// Asks for names. They are a comfort: without them ids are shown.
pub(super) fn names(session: &Session) -> Names {
    match session.ask(Command::PeersList) {
        Ok(Reply::Peers { peers }) => Names::of(&peers),
        Ok(_) | Err(_) => Names::default(),
    }
}

/// Returns `ada (1a2b3c4d5e)`, or the short id alone where there is no name.
pub(super) fn who(names: &Names, node: &NodeId) -> String {
    let (name, short) = (names.name(node), node.short());
    if name == short {
        short
    } else {
        format!("{name} ({short})")
    }
}

/// Returns work in words.
pub(super) fn work(work: &Work) -> String {
    let fetched = if work.fetched.get() == 0 {
        String::new()
    } else {
        format!(", {} fetched", work.fetched)
    };
    format!(
        "{} evaluations at {}x{} in {}{fetched}",
        work.evaluations,
        work.width,
        work.height,
        span(work.compute)
    )
}

/// Returns energy and how it was found.
pub(super) fn energy(energy: &Energy) -> String {
    let method = match energy.method {
        EnergyMethod::Unknown => return "no figure".to_owned(),
        EnergyMethod::Rated => "compute time by rated power",
        EnergyMethod::Metered => "read from a meter",
    };
    let (whole, rest) = (energy.millijoules / 1000, energy.millijoules % 1000);
    format!("{whole}.{rest:03} J, {method}")
}

/// Returns what a body says, field by field.
pub(super) fn facts(body: &Body, names: &Names) -> Vec<(&'static str, String)> {
    let node = |node: &NodeId| format!("{node}, {}", names.name(node));
    let money =
        |amount: &Millikudos| format!("{} kudos ({} mk)", self::amount(*amount), amount.get());
    match body {
        Body::Join { invite: None } => vec![("invite", "none".to_owned())],
        Body::Join { invite: Some(used) } => {
            let invite = used.invite.trusted();
            vec![
                ("invited by", node(&invite.issuer)),
                ("invite", invite.key.to_string()),
                ("expires", stamp(invite.expires)),
                ("uses", invite.uses.to_string()),
            ]
        }
        Body::Trust { peer, limit } => vec![("peer", node(peer)), ("may owe", money(limit))],
        Body::Order {
            provider,
            job,
            max,
            deadline,
        } => vec![
            ("provider", node(provider)),
            ("job", job.to_string()),
            ("at most", money(max)),
            ("deadline", stamp(*deadline)),
        ],
        Body::Receipt {
            order,
            amount,
            result,
            work,
            energy,
        } => vec![
            ("order", order.to_string()),
            ("charges", money(amount)),
            ("result", result.to_string()),
            ("work", self::work(work)),
            ("energy", self::energy(energy)),
        ],
        Body::Void { order, reason } => vec![
            ("order", order.to_string()),
            ("reason", void(*reason).to_owned()),
        ],
        Body::Ack { receipt, verdict } => vec![
            ("receipt", receipt.to_string()),
            (
                "verdict",
                match verdict {
                    Verdict::Accepted => "accepted".to_owned(),
                    Verdict::Disputed(code) => {
                        format!("disputed: {}", hearth_dispatch::dispute_text(*code))
                    }
                },
            ),
        ],
        Body::Transfer { to, amount, reason } => [("to", node(to)), ("amount", money(amount))]
            .into_iter()
            .chain(reason_facts(reason))
            .collect(),
        Body::Leave => Vec::new(),
        Body::Audit { .. } | Body::PairNet(_) | Body::Amend { .. } | Body::Heal { .. } => {
            rare_facts(body, names)
        }
    }
}

fn reason_facts(reason: &TransferReason) -> Vec<(&'static str, String)> {
    match reason {
        TransferReason::Gift => vec![("reason", "gift".to_owned())],
        TransferReason::Seeding { blobs, bytes } => vec![
            ("reason", format!("thanks for {bytes} served")),
            ("blobs", blobs.to_string()),
        ],
        TransferReason::Bounty { id } => vec![
            ("reason", "share of a bounty".to_owned()),
            ("bounty", id.to_string()),
        ],
        TransferReason::Audit { receipt } => vec![
            ("reason", "pay for an audit".to_owned()),
            ("receipt", receipt.to_string()),
        ],
    }
}

/// Returns what the bodies say that are not about one's daily work.
fn rare_facts(body: &Body, names: &Names) -> Vec<(&'static str, String)> {
    let place = |place: &Place| format!("number {}, {}", place.seq, place.hash);
    let sum = |mk: u64| format!("{} kudos", kudos(Balance::from_mk(mk.into())));
    match body {
        Body::Audit {
            receipt,
            steps,
            distance,
            verdict,
        } => vec![
            ("receipt", receipt.to_string()),
            ("steps checked", steps.to_string()),
            ("distance", format!("{distance} millionths of full range")),
            (
                "verdict",
                match verdict {
                    AuditVerdict::Passed => "passed".to_owned(),
                    AuditVerdict::Failed => "failed".to_owned(),
                },
            ),
        ],
        Body::PairNet(net) => vec![
            ("peer", format!("{}, {}", net.peer, names.name(&net.peer))),
            ("gave", sum(net.given)),
            ("took", sum(net.taken)),
            ("own chain up to", place(&net.own)),
            ("theirs up to", place(&net.theirs)),
        ],
        Body::Amend {
            prices,
            caps,
            rules,
        } => amended(prices.as_ref(), caps.as_ref(), rules.as_deref()),
        Body::Heal { tips, reason } => {
            let why = match reason {
                HealReason::Restored => "an older copy was put back",
                HealReason::TwoMachines => "one key was used on two machines",
                HealReason::Other => "something else",
            };
            let tips = tips.iter().map(|tip| ("branch", tip.to_string()));
            std::iter::once(("reason", why.to_owned()))
                .chain(tips)
                .collect()
        }
        Body::Join { .. }
        | Body::Trust { .. }
        | Body::Order { .. }
        | Body::Receipt { .. }
        | Body::Void { .. }
        | Body::Ack { .. }
        | Body::Transfer { .. }
        | Body::Leave => Vec::new(),
    }
}

fn amended(
    prices: Option<&PriceTable>,
    caps: Option<&Caps>,
    rules: Option<&str>,
) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Some(prices) = prices {
        facts.push(("evaluation", amount(prices.evaluation)));
        facts.push(("cold load", amount(prices.cold_load)));
        facts.push(("adapter", amount(prices.lora)));
        facts.push(("MiB fetched", amount(prices.fetch_mib)));
    }
    if let Some(caps) = caps {
        facts.push(("credible net", amount(caps.credible_net)));
        facts.push(("newcomers", format!("{} %", caps.newcomer_percent)));
        facts.push(("seeding a day", amount(caps.seeding_day)));
    }
    if let Some(rules) = rules {
        facts.push(("rules", rules.to_owned()));
    }
    facts
}

const fn void(reason: VoidReason) -> &'static str {
    match reason {
        VoidReason::Cancelled => "the requester cancelled",
        VoidReason::Refused => "the provider refused the job",
        VoidReason::Failed => "the provider failed",
        VoidReason::Late => "the deadline passed",
        VoidReason::Lost => "the provider restarted and lost the job",
    }
}
