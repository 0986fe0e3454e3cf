//! A small commons in memory: its exports against frozen texts, its files sound and tampered with.

use std::path::Path;

use hearth_ledger::author::Tip;
use hearth_ledger::{Author, Rebuild, moves};
use hearth_protocol::charter::{Admission, Caps, Charter, PriceTable, Windows};
use hearth_protocol::entry::{
    Body, DisputeCode, Energy, EnergyMethod, TransferReason, Verdict, Work,
};
use hearth_protocol::id::{Commitment, EntryHash, NodeId};
use hearth_protocol::sign::{NodeKey, Signed};
use hearth_protocol::unit::{Balance, ByteCount, Millikudos, Millis, Timestamp};

use super::calendar::{Since, date, next_day, parse_since, stamp};
use super::copy::Copy;
use super::export::{csv, journal::Journal, lines};
use super::words::{amount, kudos};
use crate::cli::wording::Names;

mod files;

const HOUR: u64 = 3_600_000;

fn key(index: u8) -> NodeKey {
    NodeKey::from_seed(&[index + 1; 32])
}

fn id(index: u8) -> NodeId {
    key(index).id()
}

/// 2026-11-01 00:00 UTC and so many hours.
fn at(hours: u64) -> Timestamp {
    Timestamp::from_millis(1_793_491_200_000 + hours * HOUR)
}

fn mk(mk: u64) -> Millikudos {
    Millikudos::new(mk).unwrap()
}

fn names() -> Names {
    [
        (id(0), "Ada"),
        (id(1), "Bob the \"Builder\""),
        (id(2), "=carol, | ;"),
    ]
    .into_iter()
    .collect()
}

struct Street {
    charter: Signed<Charter>,
    rebuild: Rebuild,
    tips: [Option<Tip>; 3],
}

impl Street {
    fn new(name: &str) -> Self {
        let charter = Charter {
            version: 1,
            name: name.to_owned(),
            purpose: String::new(),
            founder: id(0),
            created: at(0),
            admission: Admission::Open,
            prices: PriceTable::DEFAULT,
            member_line: mk(50_000),
            caps: Caps::DEFAULT,
            windows: Windows {
                ack: Millis::from_secs(30 * 86_400),
                skew: Millis::from_secs(60),
                ..Windows::DEFAULT
            },
            rules: String::new(),
        };
        let charter = Signed::sign(charter, &key(0));
        let rebuild = Rebuild::new(&charter).unwrap();
        Self {
            charter,
            rebuild,
            tips: [None; 3],
        }
    }

    fn write(&mut self, by: u8, body: &Body, hours: u64) -> EntryHash {
        let tip = &mut self.tips[usize::from(by)];
        let author = Author::new(key(by), self.charter.trusted().id());
        let entry = author.sign(*tip, body, at(hours));
        *tip = Some(Tip::from(&entry));
        self.rebuild.insert(entry).unwrap()
    }

    /// A job of `by` at `with`, charged an hour later.
    fn job(&mut self, (by, with): (u8, u8), charge: u64, hours: u64) -> EntryHash {
        let order = Body::Order {
            provider: id(with),
            job: Commitment::from_bytes([u8::try_from(hours).unwrap(); 32]),
            max: mk(charge + 2_000),
            deadline: at(hours + 2),
        };
        let order = self.write(by, &order, hours);
        let receipt = Body::Receipt {
            order,
            amount: mk(charge),
            result: Commitment::from_bytes([9; 32]),
            work: Work {
                evaluations: 50,
                width: 512,
                height: 512,
                compute: Millis::new(2_100),
                fetched: ByteCount::new(0),
            },
            energy: Energy {
                millijoules: 84_500,
                method: EnergyMethod::Metered,
            },
        };
        self.write(with, &receipt, hours + 1)
    }

    fn ack(&mut self, by: u8, receipt: EntryHash, verdict: Verdict, hours: u64) {
        self.write(by, &Body::Ack { receipt, verdict }, hours);
    }

    fn give(&mut self, from: u8, to: u8, reason: TransferReason, amount: u64, hours: u64) {
        let (to, amount) = (id(to), mk(amount));
        self.write(from, &Body::Transfer { to, amount, reason }, hours);
    }

    fn copy(self) -> Copy {
        Copy {
            charter: self.charter,
            node: id(0),
            time: at(100),
            book: self.rebuild.finish(),
        }
    }
}

/// Three members: work accepted, un-acked and disputed, a gift, thanks for bytes.
fn street() -> Copy {
    let mut street = Street::new("Our \"street\"; north");
    for member in 0..3 {
        street.write(member, &Body::Join { invite: None }, 0);
    }
    let first = street.job((1, 0), 10_000, 1);
    street.ack(1, first, Verdict::Accepted, 3);
    street.job((2, 0), 4_250, 20);
    let third = street.job((1, 2), 999, 30);
    street.ack(1, third, Verdict::Disputed(DisputeCode::Corrupt), 32);
    street.give(0, 1, TransferReason::Gift, 500, 40);
    let reason = TransferReason::Seeding {
        blobs: Commitment::from_bytes([5; 32]),
        bytes: ByteCount::new(3 << 20),
    };
    street.give(0, 2, reason, 30, 41);
    street.copy()
}

fn exported(copy: &Copy, since: Option<Timestamp>) -> String {
    let mut text = String::new();
    lines::write(copy, since, &mut |piece| {
        text.push_str(piece);
        Ok(())
    })
    .unwrap();
    text
}

/// Compares with a frozen text; `HEARTH_FREEZE=1` writes it anew.
fn frozen(name: &str, text: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs/vectors/ledger");
    let path = folder.join(name);
    if std::env::var_os("HEARTH_FREEZE").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, kept, "{name}: a changed export is a new form");
}

#[test]
fn l73_tables_and_journals_have_a_fixed_form() {
    let copy = street();
    frozen("street.csv", &csv::write(&copy.book, &names(), None));
    let journal = Journal::of(&copy, &names(), None);
    frozen("street.beancount", &journal.beancount());
    frozen("street.hledger", &journal.hledger());
    let later = Journal::of(&copy, &names(), Some(at(24)));
    frozen("street-later.beancount", &later.beancount());
    frozen("street-later.hledger", &later.hledger());
}

#[test]
fn l73_every_transaction_of_a_journal_balances_and_all_give_the_balances() {
    let copy = street();
    for since in [None, Some(at(0)), Some(at(24)), Some(at(90))] {
        let journal = Journal::of(&copy, &names(), since);
        let mut sums = std::collections::BTreeMap::<NodeId, i128>::new();
        for transaction in &journal.transactions {
            let sum: Balance = transaction.postings.iter().map(|(_, mk)| *mk).sum();
            assert_eq!(sum, Balance::ZERO);
            for (node, balance) in &transaction.postings {
                *sums.entry(*node).or_default() += balance.mk();
            }
        }
        for (node, balance) in copy.book.balances() {
            let sum = sums.get(&node).copied().unwrap_or_default();
            assert_eq!(sum, balance.mk(), "since {since:?}");
        }
    }
    assert_eq!(
        Journal::of(&copy, &names(), None).transactions.len(),
        moves(&copy.book).len(),
        "one transaction a move"
    );
}

#[test]
fn amounts_stand_point_under_point() {
    assert_eq!(amount(mk(0)), "0.000");
    assert_eq!(amount(mk(12_000)), "12.000");
    assert_eq!(kudos(Balance::from_mk(-5)), "-0.005");
    assert_eq!(kudos(Balance::from_mk(-1_234_567)), "-1234.567");
}

#[test]
fn dates_are_those_of_the_calendar() {
    let day = |text: &str| match parse_since(text).unwrap() {
        Since::At(time) => time,
        Since::Ago(_) => panic!("a date"),
    };
    assert_eq!(date(Timestamp::from_millis(0)), "1970-01-01");
    assert_eq!(day("2026-11-01"), at(0));
    assert_eq!(stamp(at(18)), "2026-11-01 18:00:00");
    assert_eq!(day("2026-11-01 18:00"), at(18));
    assert_eq!(day("2026-11-01T18:00:00Z"), at(18));
    for text in ["2000-02-29", "2024-12-31", "2100-03-01", "9999-12-31"] {
        assert_eq!(date(day(text)), text);
    }
    assert_eq!(date(next_day(day("2024-02-28"))), "2024-02-29");
    assert_eq!(date(next_day(day("2100-02-28"))), "2100-03-01");
    assert_eq!(date(Timestamp::from_millis(u64::MAX)).len(), 10);
    assert_eq!(
        parse_since("7d").unwrap(),
        Since::Ago(Millis::from_secs(604_800))
    );
    assert_eq!(Since::Ago(Millis::new(HOUR)).at(at(5)), at(4));
    for text in [
        "2026-02-29",
        "2026-13-01",
        "2026-1",
        "yesterday",
        "2026-11-01 25:00",
        "+026-1-1",
    ] {
        assert!(parse_since(text).is_err(), "{text}");
    }
}
