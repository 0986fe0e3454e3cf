//! The cards this node knows and how much of each lies here.
//!
//! Answers what a person means by a model's name: id, title, any hash people quote, or a trigger.

use std::collections::BTreeMap;

use hearth_dispatch::ShelfCard;
use hearth_protocol::card::{Card, CardFile};
use hearth_protocol::id::CardId;
use hearth_protocol::limits;
use hearth_protocol::sign::Signed;
use hearth_protocol::unit::ByteCount;

use super::peers::plain;
use crate::store::ShelfNote;

/// Places on the shelf that cards of others never take.
const OWN_KEPT: usize = 200;

/// Whether a card is meant.
type Test<'a> = &'a dyn Fn(&CardId, &Card) -> bool;

/// Why a name names no card.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ModelNameError {
    /// Nothing has it.
    #[error("no model is called '{0}'")]
    Unknown(String),
    /// Several have it.
    #[error("'{name}' fits {count} models: {ids}")]
    Ambiguous {
        /// The name.
        name: String,
        /// How many.
        count: usize,
        /// Their short ids.
        ids: String,
    },
}

/// Cards and notes about their files.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    cards: BTreeMap<CardId, Signed<Card>>,
    notes: BTreeMap<CardId, ShelfNote>,
    have: BTreeMap<CardId, ByteCount>,
}

impl Shelf {
    /// Takes up what the store kept.
    pub(crate) fn new(cards: Vec<Signed<Card>>, notes: Vec<(CardId, ShelfNote)>) -> Self {
        Self {
            cards: cards
                .into_iter()
                .map(|card| (card.trusted().id(), card))
                .collect(),
            notes: notes.into_iter().collect(),
            have: BTreeMap::new(),
        }
    }

    /// Adds a card; `false` when it is known or the shelf is full.
    pub(crate) fn add(&mut self, card: Signed<Card>) -> bool {
        if self.cards.len() >= limits::CARD_IDS_MAX {
            return false;
        }
        self.cards.insert(card.trusted().id(), card).is_none()
    }

    /// Returns whether one more card fits; a few places are kept for one's own.
    pub(crate) fn has_room(&self, is_own: bool) -> bool {
        let kept = if is_own { 0 } else { OWN_KEPT };
        self.cards.len() + kept < limits::CARD_IDS_MAX
    }

    /// Returns a card.
    pub(crate) fn card(&self, id: &CardId) -> Option<&Signed<Card>> {
        self.cards.get(id)
    }

    /// Returns every card by id.
    pub(crate) fn cards(&self) -> impl Iterator<Item = (&CardId, &Card)> {
        self.cards.iter().map(|(id, card)| (id, card.trusted()))
    }

    /// Returns the note about a card's files.
    pub(crate) fn note(&self, id: &CardId) -> ShelfNote {
        self.notes.get(id).copied().unwrap_or_default()
    }

    /// Sets the note about a card's files.
    pub(crate) fn set_note(&mut self, id: CardId, note: ShelfNote) {
        self.notes.insert(id, note);
        if note.complete {
            self.have.remove(&id);
        }
    }

    /// Notes how much of an incomplete card is here.
    pub(crate) fn set_have(&mut self, id: CardId, have: ByteCount) {
        self.have.insert(id, have);
    }

    /// Returns how much of a card is here.
    pub(crate) fn have(&self, id: &CardId) -> ByteCount {
        let whole = || {
            self.cards
                .get(id)
                .map(|card| card.trusted().size())
                .unwrap_or_default()
        };
        if self.note(id).complete {
            whole()
        } else {
            self.have.get(id).copied().unwrap_or_default()
        }
    }

    /// Returns the cards whose files are here whole.
    pub(crate) fn complete(&self) -> Vec<CardId> {
        let here = |id: &&CardId| self.note(id).complete;
        self.cards
            .keys()
            .filter(here)
            .copied()
            .take(limits::CAPACITY_CARDS_MAX)
            .collect()
    }

    /// Returns what dispatch needs to know of every card.
    pub(crate) fn for_dispatch(&self) -> BTreeMap<CardId, ShelfCard> {
        self.cards()
            .map(|(id, card)| {
                let size = card.size();
                let missing = ByteCount::new(size.get().saturating_sub(self.have(id).get()));
                (
                    *id,
                    ShelfCard {
                        size,
                        missing,
                        family: card.family,
                    },
                )
            })
            .collect()
    }

    /// Finds the one card a person means.
    pub(crate) fn find(&self, text: &str) -> Result<CardId, ModelNameError> {
        let lower = text.to_lowercase();
        let id = |id: &CardId, _: &Card| lower.len() >= 4 && id.to_string().starts_with(&lower);
        let title = |_: &CardId, card: &Card| card.title.to_lowercase() == lower;
        let hash = |_: &CardId, card: &Card| {
            lower.len() >= 8 && card.files.iter().any(|file| has_hash(file, &lower))
        };
        let source = |_: &CardId, card: &Card| card.sources.iter().any(|source| source == text);
        let part = |_: &CardId, card: &Card| {
            lower.len() >= 3 && card.title.to_lowercase().contains(&lower)
        };
        let tests: [Test<'_>; 5] = [&title, &id, &hash, &source, &part];
        for test in tests {
            let fits: Vec<CardId> = self
                .cards()
                .filter(|(id, card)| test(id, card))
                .map(|(id, _)| *id)
                .collect();
            match fits.as_slice() {
                [] => {}
                [one] => return Ok(*one),
                several => {
                    return Err(ModelNameError::Ambiguous {
                        name: plain(text),
                        count: several.len(),
                        ids: several
                            .iter()
                            .map(CardId::short)
                            .collect::<Vec<_>>()
                            .join(", "),
                    });
                }
            }
        }
        Err(ModelNameError::Unknown(plain(text)))
    }
}

fn has_hash(file: &CardFile, lower: &str) -> bool {
    file.blob.to_string().starts_with(lower)
        || file.sha256.to_string().starts_with(lower)
        || file
            .autov3
            .is_some_and(|autov3| autov3.to_string().starts_with(lower))
        || file.autov1.as_deref() == Some(lower)
        || format!("{:08x}", file.crc32) == lower
}
