//! Audits of receipts by third parties: evidence that moves nothing.

use std::collections::BTreeMap;

use hearth_protocol::entry::AuditVerdict;
use hearth_protocol::id::{EntryHash, NodeId};
use hearth_protocol::unit::Seq;

use crate::order::Rules;

/// What a third party found when it computed steps of a job again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// The audit's entry.
    pub entry: EntryHash,
    /// Who looked.
    pub auditor: NodeId,
    /// Steps computed again.
    pub steps: u32,
    /// Largest distance found, in millionths of full range.
    pub distance: u32,
    /// What follows from it.
    pub verdict: AuditVerdict,
}

/// The audits of one commons, by receipt, auditor and place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Audits(BTreeMap<(EntryHash, NodeId, Seq, EntryHash), Evidence>);

impl Audits {
    pub(crate) fn add(&mut self, receipt: EntryHash, seq: Seq, found: Evidence) {
        let key = (receipt, found.auditor, seq, found.entry);
        self.0.insert(key, found);
    }

    /// Returns each auditor's last word on a receipt.
    pub(crate) fn of(&self, receipt: &EntryHash, rules: &Rules<'_>) -> Vec<Evidence> {
        let none = [0; 32];
        let from = (
            *receipt,
            NodeId::from_bytes(none),
            Seq::FIRST,
            EntryHash::from_bytes(none),
        );
        let said = self
            .0
            .range(from..)
            .take_while(|(key, _)| key.0 == *receipt);
        let counted = said.filter(|((_, auditor, seq, _), _)| {
            rules.counts(auditor, *seq) && !rules.has_left(auditor, *seq)
        });
        let last: BTreeMap<NodeId, Evidence> = counted
            .map(|((_, auditor, ..), found)| (*auditor, *found))
            .collect();
        last.into_values().collect()
    }
}
