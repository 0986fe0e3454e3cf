//! What the founder changed of the charter since: prices, caps, rules in words.

use std::collections::BTreeMap;

use hearth_protocol::charter::{Caps, PriceTable};
use hearth_protocol::id::{EntryHash, NodeId};
use hearth_protocol::unit::Seq;

use crate::order::Rules;

/// One amendment as written.
#[derive(Debug, Clone)]
pub(crate) struct Amendment {
    pub(crate) prices: Option<PriceTable>,
    pub(crate) caps: Option<Caps>,
    pub(crate) rules: Option<String>,
}

/// The founder's amendments by place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Amendments(BTreeMap<(Seq, EntryHash), Amendment>);

impl Amendments {
    pub(crate) fn add(&mut self, at: (Seq, EntryHash), amendment: Amendment) {
        self.0.insert(at, amendment);
    }

    /// Returns the latest word on one thing and the entry that says it.
    pub(crate) fn latest<T>(
        &self,
        founder: &NodeId,
        rules: &Rules<'_>,
        of: impl Fn(&Amendment) -> Option<&T>,
    ) -> Option<(EntryHash, &T)> {
        self.0
            .iter()
            .rev()
            .filter(|((seq, _), _)| rules.counts(founder, *seq) && !rules.has_left(founder, *seq))
            .find_map(|((_, hash), amendment)| Some((*hash, of(amendment)?)))
    }

    /// Returns whether any part of an amendment is the latest word on it.
    pub(crate) fn is_current(&self, hash: &EntryHash, founder: &NodeId, rules: &Rules<'_>) -> bool {
        let prices = self.latest(founder, rules, |a| a.prices.as_ref());
        let caps = self.latest(founder, rules, |a| a.caps.as_ref());
        let text = self.latest(founder, rules, |a| a.rules.as_ref());
        [
            prices.map(|(entry, _)| entry),
            caps.map(|(entry, _)| entry),
            text.map(|(entry, _)| entry),
        ]
        .contains(&Some(*hash))
    }
}
