//! Commands about the ledger: balances, entries, reasons, audits, copies, gifts.

use std::collections::BTreeSet;

use hearth_ledger::fork::PROOF_LEN_MAX;
use hearth_ledger::{Book, Insertion, Unchecked};
use hearth_protocol::codec;
use hearth_protocol::control::{
    AuditReply, EntriesRequest, ExportPage, ImportReply, Problem, ProblemKind, RefusedView, Reply,
    Verbatim, WhyRequest,
};
use hearth_protocol::entry::{Body, Entry, TransferReason};
use hearth_protocol::id::{EntryHash, NodeId};
use hearth_protocol::limits;
use hearth_protocol::unit::{Balance, Millikudos};
use hearth_protocol::wire::ForkProof;

use super::{done, refused, usage};
use crate::clock::now;
use crate::switchboard::Switchboard;
use crate::switchboard::commons::alone;
use crate::switchboard::errand;
use crate::switchboard::peers::plain;
use crate::switchboard::view::entries::{Wanted, about_job};
use crate::switchboard::view::hex;
use crate::switchboard::view::statement::{account_view, line_view, pair_views};

/// Digits by which an entry or job may be named.
const BEGINNING_MIN: usize = 4;

fn verbatim<T: serde::Serialize>(value: &T) -> Verbatim {
    Verbatim(codec::encode(value))
}

fn refusal(index: usize, code: u16, why: String) -> RefusedView {
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    RefusedView { index, code, why }
}

fn found_job(book: &Book, job: &str) -> Result<BTreeSet<EntryHash>, Problem> {
    if job.len() < BEGINNING_MIN {
        return Err(usage(format!(
            "name a job by at least {BEGINNING_MIN} digits of its id"
        )));
    }
    let about = about_job(book, job);
    if about.is_empty() {
        return Err(refused(format!("no order is for a job '{}'", plain(job)))
            .hint("a job drawn on one's own machine writes nothing to the ledger"));
    }
    Ok(about)
}

impl Switchboard {
    pub(super) fn show_balances(&self) -> Result<Reply, Problem> {
        let Some(ledger) = &self.ledger else {
            return Err(alone());
        };
        let digest = hex(&ledger.book().digest());
        Ok(Reply::Balances {
            node: self.me,
            balances: self.balances(),
            digest,
        })
    }

    /// One member's account.
    pub(super) fn show_account(&self, peer: Option<&str>) -> Result<Reply, Problem> {
        let book = self.opened()?;
        let node = self.account(peer)?;
        Ok(Reply::Account(Box::new(account_view(
            book, &self.me, &node,
        ))))
    }

    fn opened(&self) -> Result<&Book, Problem> {
        self.book().ok_or_else(alone)
    }

    /// Resolves whose account is meant: oneself, a member, or by its full id somebody who left.
    fn account(&self, peer: Option<&str>) -> Result<NodeId, Problem> {
        let Some(name) = peer else {
            return Ok(self.me);
        };
        self.peer(name).or_else(|problem| {
            let node = name.parse::<NodeId>().map_err(|_| problem)?;
            let book = self.opened()?;
            if book.len_of(&node) == 0 {
                return Err(refused(format!("{} never wrote here", node.short())));
            }
            Ok(node)
        })
    }

    pub(super) fn show_entries(&self, request: &EntriesRequest) -> Result<Reply, Problem> {
        let book = self.opened()?;
        let author = request.author.as_deref();
        let job = request.job.as_deref();
        let wanted = Wanted {
            author: author
                .map(|author| self.account(Some(author)))
                .transpose()?,
            about: job.map(|job| found_job(book, job)).transpose()?,
            kinds: request.kinds.clone(),
            since: request.since,
            after: request.after,
        };
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
        let (entries, next) = self.entries(&wanted, limit.min(limits::LEDGER_PAGE_MAX));
        Ok(Reply::Entries { entries, next })
    }

    /// Opens the one entry whose hash begins so.
    pub(super) fn show_entry(&self, name: &str) -> Result<Reply, Problem> {
        let book = self.opened()?;
        let beginning = name.to_lowercase();
        if beginning.len() < BEGINNING_MIN {
            return Err(usage(format!(
                "name an entry by at least {BEGINNING_MIN} digits of its hash"
            )));
        }
        let fits = |entry: &&Entry| entry.hash().to_string().starts_with(&beginning);
        let mut found = book.entries().filter(fits);
        match (found.next(), found.next()) {
            (Some(entry), None) => Ok(Reply::Entry(Box::new(self.entry_detail(book, entry)))),
            (Some(_), Some(_)) => Err(refused(format!("'{}' fits several entries", plain(name)))),
            (None, _) => Err(refused(format!("no entry '{}'", plain(name)))
                .hint("'hearth ledger entries' shows them")),
        }
    }

    pub(super) fn explain(&self, request: &WhyRequest) -> Result<Reply, Problem> {
        let book = self.opened()?;
        let node = self.account(request.peer.as_deref())?;
        let with = request.with.as_deref();
        let with = with.map(|with| self.account(Some(with))).transpose()?;
        let mut lines = hearth_ledger::why(book, &node);
        lines.retain(|line| with.is_none_or(|with| line.counterparty == with));
        let pairs = if request.after.is_none() {
            pair_views(&lines)
        } else {
            Vec::new()
        };
        let begun = request.after.map_or(0, |after| {
            let place = lines.iter().position(|line| line.entry == after);
            place.map_or(lines.len(), |place| place + 1)
        });
        let has_more = lines.len() - begun > limits::LEDGER_PAGE_MAX;
        let page: Vec<_> = lines
            .into_iter()
            .skip(begun)
            .take(limits::LEDGER_PAGE_MAX)
            .map(|line| line_view(book, line))
            .collect();
        Ok(Reply::Why {
            node,
            balance: book.balance(&node),
            pending: book.pending(&node),
            pairs,
            next: page.last().map(|line| line.entry).filter(|_| has_more),
            lines: page,
        })
    }

    /// Builds the index anew from the segments, and compares with every member that is near.
    pub(super) fn rebuild_ledger(&mut self) -> Result<Reply, Problem> {
        let Some(ledger) = self.ledger.as_mut() else {
            return Err(alone());
        };
        ledger.journal_mut().rebuild().map_err(|error| {
            refused("the index could not be rebuilt").cause(errand::causes(&error))
        })?;
        let entries = ledger.book().len();
        let near: Vec<_> = self.peers.connected().copied().collect();
        for peer in &near {
            self.open_comparison(*peer);
        }
        let members = near.len();
        Ok(done(format!(
            "the index holds {entries} entries again; asked {members} connected members for more"
        )))
    }

    /// Checks everything again from the signed bytes.
    pub(super) fn audit(&self) -> Result<Reply, Problem> {
        let Some(ledger) = &self.ledger else {
            return Err(alone());
        };
        let mut report = hearth_ledger::audit(ledger.book());
        if ledger.loose() > 0 {
            let entries = ledger.loose();
            report.unchecked.push(Unchecked::Loose { entries });
        }
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Ok(Reply::Audit(AuditReply {
            ok: report.is_clean(),
            entries: count(report.entries),
            chains: count(report.chains),
            members: count(report.members),
            pairs: count(report.pairs),
            sum: report.sum,
            digest: hex(&report.digest),
            findings: report.findings.iter().map(ToString::to_string).collect(),
            unchecked: report.unchecked.iter().map(ToString::to_string).collect(),
            forked: report.forked,
        }))
    }

    /// A page of everything, as it was signed.
    pub(super) fn export(&self, after: Option<EntryHash>) -> Result<Reply, Problem> {
        let book = self.opened()?;
        let charter = self.charter.as_ref().filter(|_| after.is_none());
        let mut entries = book.entries_after(after.as_ref());
        let page: Vec<&Entry> = entries.by_ref().take(limits::LEDGER_PAGE_MAX).collect();
        let next = entries
            .next()
            .and_then(|_| page.last())
            .map(|entry| entry.hash());
        let forks = if after.is_none() {
            book.proofs().map(verbatim).collect()
        } else {
            Vec::new()
        };
        Ok(Reply::Export(Box::new(ExportPage {
            commons: book.commons(),
            node: self.me,
            time: now(),
            charter: charter.map(verbatim),
            entries: page.into_iter().map(verbatim).collect(),
            forks,
            next,
        })))
    }

    /// Takes entries in as if a member had sent them.
    pub(super) fn import(
        &mut self,
        entries: &[Verbatim],
        forks: &[Verbatim],
    ) -> Result<Reply, Problem> {
        if entries.len() + forks.len() > limits::LEDGER_IMPORT_MAX {
            let most = limits::LEDGER_IMPORT_MAX;
            return Err(usage(format!("at most {most} entries at a time")));
        }
        let mut done = ImportReply::default();
        let (mut decoded, mut places) = (Vec::new(), Vec::new());
        for (index, bytes) in entries.iter().enumerate() {
            match codec::decode::<Entry>(&bytes.0, limits::ENTRY_LEN_MAX) {
                Ok(entry) => {
                    decoded.push(entry);
                    places.push(index);
                }
                Err(error) => done.refused.push(refusal(index, 0, error.to_string())),
            }
        }
        let outcomes = self
            .take_in(decoded)
            .map_err(|error| refused("the entries could not be kept").because(&error))?;
        for (index, outcome) in places.into_iter().zip(outcomes) {
            match outcome {
                Insertion::Added { .. } => done.new += 1,
                Insertion::Known => done.known += 1,
                Insertion::Gap { .. } => done.loose += 1,
                Insertion::Deferred => done.deferred += 1,
                Insertion::Forked(_) => {
                    done.new += 1;
                    done.forks += 1;
                }
                Insertion::Invalid(rejection) => {
                    let (code, why) = (rejection.code(), rejection.to_string());
                    done.refused.push(refusal(index, code, why));
                }
            }
        }
        for (index, bytes) in forks.iter().enumerate() {
            let place = entries.len() + index;
            match codec::decode::<ForkProof>(&bytes.0, PROOF_LEN_MAX) {
                Ok(proof) => match self.take_fork(&proof) {
                    Ok(is_news) => done.forks += u64::from(is_news),
                    Err(error) => done.refused.push(refusal(place, 0, error.to_string())),
                },
                Err(error) => done.refused.push(refusal(place, 0, error.to_string())),
            }
        }
        Ok(Reply::Imported(done))
    }

    /// A gift may lead as far below zero as the commons lets a member owe, and no further.
    pub(super) fn give(&mut self, peer: &str, amount: Millikudos) -> Result<Reply, Problem> {
        let to = self.peer(peer)?;
        if to == self.me {
            return Err(usage("one cannot give to oneself"));
        }
        if amount == Millikudos::ZERO {
            return Err(usage("a gift of nothing changes nothing"));
        }
        self.must_afford(amount, "give")?;
        let entry = self
            .write(&Body::Transfer {
                to,
                amount,
                reason: TransferReason::Gift,
            })
            .map_err(|cause| refused("the gift could not be written").cause(cause))?;
        let what = format!("gave {amount} kudos to {}", self.peers.name(&to));
        Ok(Reply::Wrote {
            entry: entry.hash(),
            what,
        })
    }

    /// Refuses what would lead further below zero than the commons lets a member owe.
    pub(super) fn must_afford(&self, amount: Millikudos, verb: &str) -> Result<(), Problem> {
        let Some(ledger) = &self.ledger else {
            return Err(alone());
        };
        let book = ledger.book();
        let (spendable, line) = (book.spendable(&self.me), book.charter().member_line);
        if spendable.plus(line).minus(amount) >= Balance::ZERO {
            return Ok(());
        }
        let what = format!("cannot {verb} {amount} kudos");
        let cause = format!("{spendable} kudos are spendable and a member may owe {line}");
        Err(Problem::new(ProblemKind::Credit, what).cause(cause))
    }
}
