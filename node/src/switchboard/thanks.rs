//! Thanks outside jobs: what a person fetched is paid for, and who thanks is served first.

use std::collections::BTreeMap;

use hearth_protocol::charter::PriceTable;
use hearth_protocol::entry::{Body, Entry, TransferReason};
use hearth_protocol::id::{CardId, Commitment, NodeId, Salt};
use hearth_protocol::unit::{ByteCount, Millikudos, Millis};

use super::Switchboard;
use crate::chance;
use crate::clock::now;

/// The span of the daily ceiling on thanks.
const DAY: Millis = Millis::from_secs(86_400);

impl Switchboard {
    /// Thanks whoever served a model this node was told to fetch.
    // B14
    pub(super) fn thank_for_fetch(&mut self, card: CardId, bytes_from: &BTreeMap<NodeId, u64>) {
        let (Some(ledger), Some(known)) = (&self.ledger, self.shelf.card(&card)) else {
            return;
        };
        let (book, day_ago) = (ledger.book(), now().minus(DAY));
        let purse = book
            .spendable(&self.me)
            .plus(book.charter().member_line)
            .mk();
        let left: BTreeMap<NodeId, u64> = bytes_from
            .keys()
            .filter(|seeder| **seeder != self.me && book.is_member(seeder))
            .map(|seeder| {
                let paid = book.thanks_since(&self.me, seeder, day_ago).get();
                let ceiling = book.caps().seeding_day.get();
                (*seeder, ceiling.saturating_sub(paid))
            })
            .collect();
        let size = known.trusted().size();
        let thanks = shares(&book.prices(), size, bytes_from, &left, purse);
        for (to, amount, bytes) in thanks {
            let salt = Salt::from_bytes(chance::bytes());
            let reason = TransferReason::Seeding {
                blobs: Commitment::to(&salt, card.as_bytes()),
                bytes,
            };
            let body = Body::Transfer { to, amount, reason };
            if let Err(cause) = self.write(&body) {
                tracing::warn!(cause, "thanks for a fetched model could not be written");
            }
        }
    }

    /// Remembers who thanked this node for seeding.
    // B13
    pub(super) fn note_thanks(&self, entries: &[Entry]) {
        let Some(ledger) = &self.ledger else { return };
        let book = ledger.book();
        for entry in entries {
            let Ok(Body::Transfer {
                to,
                amount,
                reason: TransferReason::Seeding { .. },
            }) = entry.decode_body()
            else {
                continue;
            };
            let counts = book.standing(&entry.hash()) == Some(hearth_ledger::Standing::Effective);
            if to == self.me && counts {
                let bytes = worth(&book.prices(), amount);
                let peer = entry.header.trusted().author;
                self.rooms.blobs.thanked(peer, bytes);
            }
        }
    }
}

/// Returns the bytes an amount pays for at the charter's price.
fn worth(prices: &PriceTable, amount: Millikudos) -> u64 {
    let bytes = (u128::from(amount.get()) << 20)
        .checked_div(u128::from(prices.fetch_mib.get()))
        .unwrap_or(u128::MAX);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Returns whom to thank how much: the price of the model, by bytes, each within what is left of its
/// day and all within the purse.
fn shares(
    prices: &PriceTable,
    size: ByteCount,
    bytes_from: &BTreeMap<NodeId, u64>,
    left: &BTreeMap<NodeId, u64>,
    purse: i128,
) -> Vec<(NodeId, Millikudos, ByteCount)> {
    let total: u128 = bytes_from.values().map(|bytes| u128::from(*bytes)).sum();
    let fetched = ByteCount::new(u64::try_from(total).unwrap_or(u64::MAX)).min(size);
    let price = u128::from(prices.fetch(fetched).get());
    let price = price.min(u128::try_from(purse).unwrap_or(0));
    let mut shares = Vec::new();
    for (seeder, left) in left {
        let bytes = bytes_from.get(seeder).copied().unwrap_or(0);
        let share = (price * u128::from(bytes)).checked_div(total).unwrap_or(0);
        let amount = u64::try_from(share).unwrap_or(u64::MAX).min(*left);
        if amount > 0 {
            let amount = Millikudos::saturating(amount);
            shares.push((*seeder, amount, ByteCount::new(bytes)));
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn peer(n: u8) -> NodeId {
        NodeId::from_bytes([n; 32])
    }

    fn paid(size: u64, from: &[(u8, u64, u64)], purse: i128) -> Vec<(u8, u64)> {
        let bytes = from.iter().map(|(n, mib, _)| (peer(*n), mib * MIB));
        let left = from.iter().map(|(n, _, left)| (peer(*n), *left));
        let (bytes, left) = (bytes.collect(), left.collect());
        shares(
            &PriceTable::DEFAULT,
            ByteCount::new(size * MIB),
            &bytes,
            &left,
            purse,
        )
        .into_iter()
        .map(|(to, amount, _)| (to.as_bytes()[0], amount.get()))
        .collect()
    }

    #[test]
    fn b14_a_fetched_model_is_paid_for_once_by_bytes_within_day_and_purse() {
        // 10 mk a MiB.
        let much = 1_000_000;
        assert_eq!(
            paid(100, &[(1, 75, much), (2, 25, much)], 9_999),
            [(1, 750), (2, 250)]
        );
        assert_eq!(
            paid(100, &[(1, 100, much), (2, 100, much)], 9_999),
            [(1, 500), (2, 500)],
            "what came twice is paid once"
        );
        assert_eq!(paid(100, &[(1, 75, 300), (2, 25, 0)], 9_999), [(1, 300)]);
        assert_eq!(paid(100, &[(1, 100, much)], 40), [(1, 40)]);
        assert_eq!(paid(100, &[(1, 100, much)], -40), []);
        assert_eq!(paid(100, &[(1, 0, much)], 9_999), [], "nothing came");
    }

    #[test]
    fn b13_thanks_are_worth_the_bytes_they_buy() {
        assert_eq!(worth(&PriceTable::DEFAULT, Millikudos::saturating(10)), MIB);
        assert_eq!(worth(&PriceTable::DEFAULT, Millikudos::ZERO), 0);
    }
}
