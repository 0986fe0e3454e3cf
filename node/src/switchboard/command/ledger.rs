//! Commands about the ledger: balances, entries, reasons, audits, gifts.

use hearth_protocol::control::{AuditReply, Problem, ProblemKind, Reply};
use hearth_protocol::entry::{Body, TransferReason};
use hearth_protocol::unit::{Balance, Millikudos};

use super::{refused, usage};
use crate::switchboard::Switchboard;
use crate::switchboard::commons::alone;
use crate::switchboard::view::hex;

/// Entries one answer shows at most.
const ENTRIES_MAX: usize = 10_000;

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

    pub(super) fn show_entries(&self, author: Option<&str>, limit: u32) -> Result<Reply, Problem> {
        if self.ledger.is_none() {
            return Err(alone());
        }
        let author = author.map(|author| self.peer(author)).transpose()?;
        let limit = usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .min(ENTRIES_MAX);
        Ok(Reply::Entries {
            entries: self.entries(author, limit),
        })
    }

    pub(super) fn explain(&self, peer: Option<&str>) -> Result<Reply, Problem> {
        let Some(ledger) = &self.ledger else {
            return Err(alone());
        };
        let node = peer.map_or_else(|| Ok(self.me), |peer| self.peer(peer))?;
        let (balance, pending) = (ledger.book().balance(&node), ledger.book().pending(&node));
        Ok(Reply::Why {
            node,
            balance,
            pending,
            lines: self.why_lines(&node),
        })
    }

    /// Checks everything again from the signed bytes.
    pub(super) fn audit(&self) -> Result<Reply, Problem> {
        let Some(ledger) = &self.ledger else {
            return Err(alone());
        };
        let report = hearth_ledger::audit(ledger.book());
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Ok(Reply::Audit(AuditReply {
            ok: report.is_clean(),
            entries: count(report.entries),
            chains: count(report.chains),
            sum: ledger
                .book()
                .balances()
                .into_iter()
                .map(|(_, balance)| balance)
                .sum(),
            digest: hex(&report.digest),
            findings: report.findings.iter().map(ToString::to_string).collect(),
        }))
    }

    /// A gift may lead as far below zero as the commons lets a member owe, and no further.
    pub(super) fn give(&mut self, peer: &str, amount: Millikudos) -> Result<Reply, Problem> {
        let to = self.peer(peer)?;
        let Some(ledger) = &self.ledger else {
            return Err(alone());
        };
        if to == self.me {
            return Err(usage("one cannot give to oneself"));
        }
        if amount == Millikudos::ZERO {
            return Err(usage("a gift of nothing changes nothing"));
        }
        let book = ledger.book();
        let left = book
            .spendable(&self.me)
            .plus(book.charter().member_line)
            .minus(amount);
        if left < Balance::ZERO {
            let spendable = book.spendable(&self.me);
            return Err(
                Problem::new(ProblemKind::Credit, format!("cannot give {amount} kudos")).cause(
                    format!(
                        "{spendable} kudos are spendable and a member may owe {}",
                        book.charter().member_line
                    ),
                ),
            );
        }
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
}
