//! A small commons in memory: its exports against frozen texts, its files sound and tampered with.

use std::io::Cursor;
use std::path::Path;

use hearth_ledger::author::Tip;
use hearth_ledger::{Author, Rebuild, moves};
use hearth_protocol::charter::{Admission, Caps, Charter, PriceTable, Windows};
use hearth_protocol::codec;
use hearth_protocol::control::Verbatim;
use hearth_protocol::entry::{
    Body, DisputeCode, Energy, EnergyMethod, Entry, TransferReason, Verdict, Work,
};
use hearth_protocol::id::{Commitment, EntryHash, NodeId};
use hearth_protocol::sign::{NodeKey, Signed};
use hearth_protocol::unit::{Balance, ByteCount, Millikudos, Millis, Timestamp};

use super::calendar::{Since, date, next_day, parse_since, stamp};
use super::copy::Copy;
use super::export::{csv, journal::Journal, lines};
use super::file::{Line, Lines};
use super::verify::{Verdict as Found, verify};
use super::words::{amount, kudos};
use crate::cli::wording::Names;

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

fn check(text: &str) -> Found {
    verify(&mut Lines::new(Cursor::new(text))).unwrap()
}

/// Returns where something was found and what.
fn found(text: &str) -> Vec<(u64, String)> {
    let found = check(text);
    assert!(!found.ok, "something is found");
    let findings = found.findings.into_iter();
    findings
        .map(|finding| (finding.line, finding.what))
        .collect()
}

fn expect_found(text: &str, line: u64, what: &str) {
    let all = found(text);
    let is_it = |(at, told): &(u64, String)| *at == line && told.contains(what);
    assert!(all.iter().any(is_it), "line {line}, '{what}': {all:?}");
}

fn refused(text: &str) -> String {
    let error = verify(&mut Lines::new(Cursor::new(text))).unwrap_err();
    format!("{error:#}")
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

fn replace_line(text: &str, number: usize, change: impl Fn(&str) -> String) -> String {
    let line = |(index, line): (usize, &str)| {
        if index + 1 == number {
            change(line)
        } else {
            line.to_owned()
        }
    };
    let lines: Vec<String> = text.lines().enumerate().map(line).collect();
    format!("{}\n", lines.join("\n"))
}

/// Changes the signed bytes of a line and leaves what is shown beside them.
fn with_bytes(line: &str, change: impl Fn(&mut Entry)) -> String {
    let Line::Entry(mut entry) = serde_json::from_str(line).unwrap() else {
        panic!("a line with an entry");
    };
    let mut changed: Entry = codec::decode(&entry.bytes.0, 4_096).unwrap();
    change(&mut changed);
    entry.bytes = Verbatim(codec::encode(&changed));
    entry.hash = changed.hash();
    serde_json::to_string(&Line::Entry(entry)).unwrap()
}

#[test]
fn l70_an_export_has_a_header_every_entry_with_its_bytes_and_an_end() {
    let copy = street();
    let text = exported(&copy, None);
    frozen("street.jsonl", &text);
    let found = check(&text);
    assert!(found.ok, "{:?}", found.findings);
    assert_eq!(found.entries, u64::try_from(copy.book.len()).unwrap());
    let sum: Balance = found.balances.iter().map(|line| line.balance).sum();
    assert_eq!(sum, Balance::ZERO);
}

#[test]
fn l71_a_changed_entry_is_named_with_its_line() {
    let text = exported(&street(), None);
    let flipped = replace_line(&text, 3, |line| {
        with_bytes(line, |entry| {
            let last = entry.body.len() - 1;
            entry.body[last] ^= 1;
        })
    });
    expect_found(
        &flipped,
        3,
        "the body shown is not the body that was signed",
    );
    let unsigned = replace_line(&text, 3, |line| {
        with_bytes(line, |entry| {
            let nothing = hearth_protocol::sign::Signature::from_bytes([0; 64]);
            entry.header = Signed::from_parts(*entry.header.trusted(), nothing);
        })
    });
    expect_found(&unsigned, 3, "signature");
    let damaged = replace_line(&text, 3, |line| {
        line.replace("\"bytes\":\"o", "\"bytes\":\"p")
    });
    expect_found(&damaged, 3, "the bytes are no entry");
    let lied = replace_line(&text, 3, |line| line.replace("\"seq\":1", "\"seq\":7"));
    expect_found(&lied, 3, "the place shown is not the place that was signed");
}

#[test]
fn l70_fork_proofs_and_both_branches_are_in_the_file() {
    let mut street = Street::new("forked");
    for member in 0..3 {
        street.write(member, &Body::Join { invite: None }, 0);
    }
    let tip = street.tips[1];
    street.give(1, 0, TransferReason::Gift, 100, 1);
    street.tips[1] = tip;
    street.give(1, 2, TransferReason::Gift, 100, 1);
    let text = exported(&street.copy(), None);
    let found = check(&text);
    assert!(found.ok, "{:?}", found.findings);
    assert_eq!(found.entries, 5);
    assert!(
        found
            .balances
            .iter()
            .all(|line| line.balance == Balance::ZERO)
    );
    let number = text
        .lines()
        .position(|line| line.contains("\"type\":\"fork\""))
        .unwrap();
    let end = u64::try_from(number + 2).unwrap();
    let lied = replace_line(&text, number + 1, |line| {
        line.replace("\"seq\":1", "\"seq\":2")
    });
    expect_found(
        &lied,
        end - 1,
        "the author or place shown is not that of the proof",
    );
    let lines: Vec<&str> = text.lines().collect();
    let without = [&lines[..number], &lines[number + 1..]].concat().join("\n");
    expect_found(
        &format!("{without}\n"),
        end - 1,
        "1 fork proofs were written and 0 are here",
    );
}

#[test]
fn l71_a_claim_that_the_state_does_not_bear_out_is_named() {
    let text = exported(&street(), None);
    let lied = replace_line(&text, 4, |line| line.replace("\"code\":0", "\"code\":117"));
    expect_found(&lied, 4, "is effective; the line says otherwise");
}

#[test]
fn l71_missing_and_doubled_lines_are_found() {
    let text = exported(&street(), None);
    let lines: Vec<&str> = text.lines().collect();
    let all = lines.len();
    let without = |number: usize| {
        let (before, after) = (&lines[..number - 1], &lines[number..]);
        format!("{}\n", [before, after].concat().join("\n"))
    };
    expect_found(&without(2), 2, "the entry before it is missing or bad");
    let last = u64::try_from(all - 1).unwrap();
    // The last entry of a chain: nothing else points at it.
    expect_found(&without(all - 1), last, "entries were written and");
    expect_found(&without(all), last, "cut off");
    let doubled = format!("{}\n{text}", lines[0]);
    expect_found(&doubled, 2, "a second header");
    let again = replace_line(&text, 3, |line| format!("{line}\n{line}"));
    expect_found(&again, 4, "it was there before");
    let more = format!("{text}{}\n", lines[2]);
    expect_found(
        &more,
        u64::try_from(all + 1).unwrap(),
        "follows the last line",
    );
}

#[test]
fn l71_a_file_that_was_cut_off_anywhere_is_never_sound() {
    let text = exported(&street(), None);
    let begins = text.find('\n').unwrap() + 1;
    for cut in (begins..text.len() - 1).step_by(97) {
        assert!(!check(&text[..cut]).ok, "cut at {cut}");
    }
}

#[test]
fn l71_what_is_no_export_of_this_form_is_refused_at_line_one() {
    let text = exported(&street(), None);
    assert!(refused("").contains("line 1: the file is empty"));
    assert!(refused("not json\n").contains("no export"));
    assert!(refused("{\"a\":1}\n").contains("no export"));
    let newer = replace_line(&text, 1, |line| {
        line.replace("\"schema\":1", "\"schema\":2")
    });
    assert!(refused(&newer).contains("schema 2; this version of hearth reads 1"));
    let other = exported(&Street::new("other").copy(), None);
    let mixed = format!(
        "{}\n{}",
        other.lines().next().unwrap(),
        &text[text.find('\n').unwrap() + 1..]
    );
    expect_found(&mixed, 2, "belongs to another commons");
    let of = |text: &str| serde_json::from_str::<Line>(text.lines().next().unwrap()).unwrap();
    let (Line::Header(mut ours), Line::Header(theirs)) = (of(&text), of(&other)) else {
        panic!("headers");
    };
    ours.charter = theirs.charter;
    let swapped = serde_json::to_string(&Line::Header(ours)).unwrap();
    assert!(refused(&format!("{swapped}\n")).contains("the charter is that of another commons"));
    let long = format!("{}{}", text, "x".repeat(200_000));
    assert!(refused(&long).contains("longer than 131072 bytes"));
}

#[test]
fn l72_a_partial_export_says_what_could_not_be_checked() {
    let text = exported(&street(), Some(at(20)));
    let found = check(&text);
    assert!(found.ok, "{:?}", found.findings);
    assert!(found.balances.is_empty(), "nothing is said of balances");
    let told = found.unchecked.join("\n");
    assert!(told.contains("before number"), "{told}");
    assert!(told.contains("balances, digest"), "{told}");
    let lines: Vec<&str> = text.lines().collect();
    let chain = |line: &&str| line.contains(&format!("\"author\":\"{}\"", id(0)));
    let second = lines.iter().position(chain).unwrap() + 1;
    let holed = replace_line(&text, second + 1, |_| lines[second - 1].to_owned());
    assert!(!check(&holed).ok, "a hole inside is still a hole");
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
