//! Ledger entries as shown: in lists, filtered and in pages, and one opened.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use hearth_ledger::{Book, Standing};
use hearth_protocol::codec;
use hearth_protocol::control::{EntryDetail, EntryKind, Link, Verbatim};
use hearth_protocol::entry::{AuditVerdict, Body, Entry, TransferReason, VERSION, Verdict};
use hearth_protocol::id::{EntryHash, NodeId};
use hearth_protocol::snapshot::LedgerView;
use hearth_protocol::unit::{Balance, Millikudos, Seq, Timestamp};

use crate::switchboard::Switchboard;

/// Which entries to show; what a person named is resolved.
#[derive(Debug, Default)]
pub(in crate::switchboard) struct Wanted {
    pub(in crate::switchboard) author: Option<NodeId>,
    /// Orders of a job, and the receipts that name them.
    pub(in crate::switchboard) about: Option<BTreeSet<EntryHash>>,
    pub(in crate::switchboard) kinds: Vec<EntryKind>,
    pub(in crate::switchboard) since: Option<Timestamp>,
    pub(in crate::switchboard) after: Option<EntryHash>,
}

type Age = Reverse<(Timestamp, NodeId, Seq, EntryHash)>;

fn age(entry: &Entry) -> Age {
    let header = entry.header.trusted();
    Reverse((header.time, header.author, header.seq, header.hash()))
}

/// Returns the body of a version this build knows.
fn body(entry: &Entry) -> Option<Body> {
    if entry.header.trusted().version == VERSION {
        entry.decode_body().ok()
    } else {
        None
    }
}

fn kind(body: Option<&Body>) -> EntryKind {
    body.map_or(EntryKind::Opaque, EntryKind::of)
}

impl Wanted {
    fn holds(&self, entry: &Entry) -> bool {
        let header = entry.header.trusted();
        if self.author.is_some_and(|author| author != header.author)
            || self.since.is_some_and(|since| header.time < since)
        {
            return false;
        }
        if self.kinds.is_empty() && self.about.is_none() {
            return true;
        }
        let body = body(entry);
        let is_kind = self.kinds.is_empty() || self.kinds.contains(&kind(body.as_ref()));
        let is_about = self.about.as_ref().is_none_or(|about| {
            about.contains(&header.hash())
                || body
                    .as_ref()
                    .and_then(target)
                    .is_some_and(|target| about.contains(&target))
        });
        is_kind && is_about
    }
}

/// Returns the entry that a body names.
const fn target(body: &Body) -> Option<EntryHash> {
    match body {
        Body::Receipt { order, .. } | Body::Void { order, .. } => Some(*order),
        Body::Ack { receipt, .. } | Body::Audit { receipt, .. } => Some(*receipt),
        Body::Transfer { reason, .. } => match reason {
            TransferReason::Audit { receipt } => Some(*receipt),
            TransferReason::Gift
            | TransferReason::Seeding { .. }
            | TransferReason::Bounty { .. } => None,
        },
        Body::Join { .. }
        | Body::Trust { .. }
        | Body::Order { .. }
        | Body::Leave
        | Body::PairNet(_)
        | Body::Amend { .. }
        | Body::Heal { .. } => None,
    }
}

/// Returns the orders whose job or own hash begins so, and the receipts on them.
pub(in crate::switchboard) fn about_job(book: &Book, beginning: &str) -> BTreeSet<EntryHash> {
    let beginning = beginning.to_lowercase();
    let is_it = |order: &hearth_ledger::OrderView| {
        order.job.to_string().starts_with(&beginning)
            || order.hash.to_string().starts_with(&beginning)
    };
    let orders: BTreeSet<EntryHash> = book
        .orders()
        .filter(is_it)
        .map(|order| order.hash)
        .collect();
    if orders.is_empty() {
        return orders;
    }
    let names_one = |entry: &&Entry| match body(entry) {
        Some(Body::Receipt { order, .. }) => orders.contains(&order),
        Some(_) | None => false,
    };
    let receipts: Vec<EntryHash> = book.entries().filter(names_one).map(Entry::hash).collect();
    orders.into_iter().chain(receipts).collect()
}

impl Switchboard {
    /// Returns the newest entries, newest first.
    pub(in crate::switchboard) fn newest_entries(&self, count: usize) -> Vec<LedgerView> {
        self.entries(&Wanted::default(), count).0
    }

    /// Returns entries as shown, newest first, and the last of them if there are more.
    pub(in crate::switchboard) fn entries(
        &self,
        wanted: &Wanted,
        count: usize,
    ) -> (Vec<LedgerView>, Option<EntryHash>) {
        let Some(book) = self.book() else {
            return (Vec::new(), None);
        };
        let after = wanted.after.and_then(|hash| book.entry(&hash)).map(age);
        let mut found: Vec<(Age, &Entry)> = book
            .entries()
            .filter(|entry| wanted.holds(entry))
            .map(|entry| (age(entry), entry))
            .filter(|(age, _)| after.is_none_or(|after| *age > after))
            .collect();
        found.sort_unstable_by_key(|(age, _)| *age);
        let has_more = found.len() > count;
        let views: Vec<LedgerView> = found
            .into_iter()
            .take(count)
            .map(|(_, entry)| self.entry_view(book, entry))
            .collect();
        let next = views.last().map(|view| view.entry).filter(|_| has_more);
        (views, next)
    }

    fn entry_view(&self, book: &Book, entry: &Entry) -> LedgerView {
        let header = entry.header.trusted();
        let hash = header.hash();
        let body = body(entry);
        let (text, amount) = body.as_ref().map_or_else(
            || ("an entry of a newer version".to_owned(), None),
            |body| self.wording(body),
        );
        let state = match book.standing(&hash) {
            Some(Standing::Effective) => "effective".to_owned(),
            Some(Standing::Waiting(wait)) => format!("pending: {wait}"),
            Some(Standing::Without(reason)) => format!("no effect: {reason}"),
            None => "unknown".to_owned(),
        };
        LedgerView {
            entry: hash,
            author: header.author,
            seq: header.seq.get(),
            time: header.time,
            kind: kind(body.as_ref()).name().to_owned(),
            text,
            amount,
            state,
        }
    }

    /// Opens one entry.
    pub(in crate::switchboard) fn entry_detail(&self, book: &Book, entry: &Entry) -> EntryDetail {
        let view = self.entry_view(book, entry);
        let code = match book.standing(&view.entry) {
            Some(Standing::Without(reason)) => Some(reason.code()),
            Some(Standing::Effective | Standing::Waiting(_)) | None => None,
        };
        let body = body(entry);
        EntryDetail {
            code,
            header: *entry.header.trusted(),
            signature: *entry.header.signature(),
            body_len: u64::try_from(entry.body.len()).unwrap_or(u64::MAX),
            links: links(book, &view.entry, body.as_ref()),
            body,
            bytes: Verbatim(codec::encode(entry)),
            view,
        }
    }

    #[expect(clippy::too_many_lines, reason = "a flat table: one arm a body")]
    fn wording(&self, body: &Body) -> (String, Option<Millikudos>) {
        let name = |node: &NodeId| self.name_of(node);
        match body {
            Body::Join { invite: None } => ("joined".into(), None),
            Body::Join {
                invite: Some(invite),
            } => {
                let issuer = name(&invite.invite.trusted().issuer);
                (format!("joined, invited by {issuer}"), None)
            }
            Body::Trust { peer, limit } => (
                format!("lets {} owe up to {limit} kudos", name(peer)),
                Some(*limit),
            ),
            Body::Order { provider, max, .. } => (
                format!("{} may charge up to {max} kudos", name(provider)),
                Some(*max),
            ),
            Body::Receipt {
                order,
                amount,
                work,
                ..
            } => {
                let text = format!(
                    "charges {amount} kudos on order {}: {} evaluations at {}x{}",
                    order.short(),
                    work.evaluations,
                    work.width,
                    work.height
                );
                (text, Some(*amount))
            }
            Body::Void { order, reason } => {
                let text = format!("releases order {}: {}", order.short(), void_text(*reason));
                (text, None)
            }
            Body::Ack {
                receipt,
                verdict: Verdict::Accepted,
            } => (format!("accepts receipt {}", receipt.short()), None),
            Body::Ack {
                receipt,
                verdict: Verdict::Disputed(code),
            } => {
                let why = hearth_dispatch::dispute_text(*code);
                (format!("disputes receipt {}: {why}", receipt.short()), None)
            }
            Body::Transfer { to, amount, reason } => {
                let to = name(to);
                let text = match reason {
                    TransferReason::Gift => format!("gives {amount} kudos to {to}"),
                    TransferReason::Seeding { bytes, .. } => {
                        format!("thanks {to} with {amount} kudos for {bytes} served")
                    }
                    TransferReason::Bounty { id } => {
                        format!("pays {amount} kudos to {to} for bounty {}", id.short())
                    }
                    TransferReason::Audit { receipt } => {
                        let what = receipt.short();
                        format!("pays {to} {amount} kudos for auditing {what}")
                    }
                };
                (text, Some(*amount))
            }
            Body::Leave => ("left".into(), None),
            Body::Audit {
                receipt,
                steps,
                verdict,
                ..
            } => {
                let found = match verdict {
                    AuditVerdict::Passed => "holds",
                    AuditVerdict::Failed => "does not hold",
                };
                let text = format!("receipt {} {found}: {steps} steps checked", receipt.short());
                (text, None)
            }
            Body::PairNet(net) => {
                let (given, taken) = (mk_sum(net.given), mk_sum(net.taken));
                let text = format!("nets with {}: gave {given}, took {taken}", name(&net.peer));
                (text, None)
            }
            Body::Amend {
                prices,
                caps,
                rules,
            } => {
                let parts = [
                    prices.map(|_| "prices"),
                    caps.map(|_| "caps"),
                    rules.as_ref().map(|_| "rules"),
                ];
                let parts: Vec<&str> = parts.into_iter().flatten().collect();
                (format!("amends {}", parts.join(", ")), None)
            }
            Body::Heal { tips, .. } => (format!("heals a fork of {} branches", tips.len()), None),
        }
    }
}

/// A sum of a pair as a balance, for its decimal form.
fn mk_sum(sum: u64) -> Balance {
    Balance::from_mk(i128::from(sum))
}

/// Returns the entries that one has to do with: what it settles, what settles it.
fn links(book: &Book, hash: &EntryHash, body: Option<&Body>) -> Vec<Link> {
    let link = |what: &str, entry| Link {
        what: what.to_owned(),
        entry,
    };
    match body {
        Some(Body::Order { .. }) => {
            let receipt = book.order(hash).and_then(|order| order.receipt());
            let receipt = receipt.map(|receipt| link("settled by", receipt.hash));
            receipt.into_iter().collect()
        }
        Some(Body::Receipt { order, .. }) => {
            let ack = book.ack(hash).map(|(ack, _)| link("judged by", ack));
            let audits = book.audits_of(hash).into_iter();
            std::iter::once(link("charges on order", *order))
                .chain(ack)
                .chain(audits.map(|audit| link("audited by", audit.entry)))
                .collect()
        }
        Some(Body::Void { order, .. }) => vec![link("releases order", *order)],
        Some(Body::Ack { receipt, .. }) => vec![link("judges receipt", *receipt)],
        Some(Body::Audit { receipt, .. }) => vec![link("audits receipt", *receipt)],
        Some(Body::Transfer {
            reason: TransferReason::Audit { receipt },
            ..
        }) => vec![link("pays for audit of", *receipt)],
        Some(Body::PairNet(net)) => vec![
            link("closes own up to", net.own.hash),
            link("and theirs", net.theirs.hash),
        ],
        Some(Body::Heal { tips, .. }) => tips.iter().map(|tip| link("heals", *tip)).collect(),
        Some(
            Body::Join { .. }
            | Body::Trust { .. }
            | Body::Transfer { .. }
            | Body::Leave
            | Body::Amend { .. },
        )
        | None => Vec::new(),
    }
}

fn void_text(reason: hearth_protocol::entry::VoidReason) -> &'static str {
    use hearth_protocol::entry::VoidReason;
    match reason {
        VoidReason::Cancelled => "cancelled",
        VoidReason::Refused => "refused",
        VoidReason::Failed => "failed",
        VoidReason::Late => "late",
        VoidReason::Lost => "lost in a restart",
    }
}
