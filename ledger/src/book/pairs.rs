//! Checkpoints of pairs: which close, and what follows for their orders.

use std::collections::BTreeMap;

use hearth_protocol::entry::Place;
use hearth_protocol::id::{EntryHash, NodeId};
use hearth_protocol::unit::Timestamp;

use super::Book;
use crate::nets::{Closing, Half, PairId, mirrors};
use crate::standing::{NoEffect, Standing, Wait};

impl Book {
    /// Judges a pair's checkpoints anew, and its orders if what is closed changed.
    pub(super) fn refresh_pair(&mut self, id: &PairId) {
        let (closings, standings) = self.judge_pair(id);
        if self.nets.set(id, closings, standings) {
            for order in self.orders.of_pair(id) {
                self.refresh_order(order);
            }
        }
    }

    /// Goes through a pair's halves in order of place: each closing rests on those before it.
    fn judge_pair(&self, id: &PairId) -> (Vec<Closing>, BTreeMap<EntryHash, Standing>) {
        let (first, second) = self.nets.halves(id);
        let (mut closings, mut standings) = (Vec::new(), BTreeMap::new());
        for half in first.iter().filter(|half| self.half_counts(&id.0, half)) {
            let mut others = second
                .iter()
                .filter(|other| self.half_counts(&id.1, other) && mirrors(&half.net, &other.net));
            let Some(other) = others.next() else {
                continue;
            };
            let standing = match self.close(id, half, other, &closings) {
                Ok(closing) => {
                    closings.push(closing);
                    Standing::Effective
                }
                Err(standing) => standing,
            };
            standings.insert(half.hash, standing);
            standings.insert(other.hash, standing);
        }
        (closings, standings)
    }

    fn half_counts(&self, author: &NodeId, half: &Half) -> bool {
        self.rules().counts(author, half.seq)
    }

    /// Makes the closing of two matching halves, or says why there is none.
    fn close(
        &self,
        id: &PairId,
        half: &Half,
        other: &Half,
        before: &[Closing],
    ) -> Result<Closing, Standing> {
        let places = (half.net.own, half.net.theirs);
        let clocks = (
            self.place_date(&id.0, &places.0)?,
            self.place_date(&id.1, &places.1)?,
        );
        let closing = Closing {
            places,
            clocks,
            given: (half.net.given, half.net.taken),
            halves: (half.hash, other.hash),
        };
        let goes_on = before.last().is_none_or(|last| {
            let (was, is) = (last.places, places);
            is.0.seq >= was.0.seq
                && is.1.seq >= was.1.seq
                && (is.0.seq > was.0.seq || is.1.seq > was.1.seq)
        });
        if !goes_on || places.0.seq >= half.seq || places.1.seq >= other.seq {
            return Err(Standing::Without(NoEffect::Places));
        }
        let all = [before, &[closing]].concat();
        let first = self.given_below(id, (&id.0, &id.1), &all)?;
        let second = self.given_below(id, (&id.1, &id.0), &all)?;
        if (first, second) == (closing.given.0.into(), closing.given.1.into()) {
            Ok(closing)
        } else {
            Err(Standing::Without(NoEffect::Sums))
        }
    }

    /// Returns the date of a named entry, if it stands where it is said to and counts.
    fn place_date(&self, author: &NodeId, place: &Place) -> Result<Timestamp, Standing> {
        if !self.contains(&place.hash) {
            return Err(Standing::Waiting(Wait::Target));
        }
        let date = self.date(&place.hash);
        date.filter(|_| self.chains.is_at(author, place.seq, &place.hash))
            .ok_or(Standing::Without(NoEffect::Places))
    }

    /// Sums what one of a pair did for the other and transferred to it below a checkpoint.
    fn given_below(
        &self,
        id: &PairId,
        (from, to): (&NodeId, &NodeId),
        closings: &[Closing],
    ) -> Result<u128, Standing> {
        let rules = self.rules();
        let charged = self.orders.charged_below(id, (to, from), closings, &rules);
        let charged = charged.ok_or(Standing::Without(NoEffect::Open))?;
        let up_to = closings.last().map(|closing| closing.covers(id, from));
        let transfers = self.transfers.of(from).filter(|(_, transfer)| {
            transfer.from == *from && transfer.to == *to && Some(transfer.seq) <= up_to
        });
        let given = transfers.map(|(_, transfer)| u128::from(transfer.amount.get()));
        Ok(charged + given.sum::<u128>())
    }
}
