//! Exported files: sound, tampered with, cut off, of another form, partial.

use std::io::Cursor;

use hearth_protocol::charter::{Caps, PriceTable};
use hearth_protocol::codec;
use hearth_protocol::control::Verbatim;
use hearth_protocol::entry::{
    AuditVerdict, Body, Entry, HealReason, PairNet, Place, TransferReason,
};
use hearth_protocol::id::{BountyId, EntryHash};
use hearth_protocol::sign::{Signature, Signed};
use hearth_protocol::unit::Balance;

use super::{Journal, Street, at, exported, frozen, id, mk, names, street};
use crate::cli::ledger::file::{Line, Lines};
use crate::cli::ledger::verify::{Verdict as Found, verify};
use crate::cli::ledger::words::facts;

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
            let nothing = Signature::from_bytes([0; 64]);
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
    let lied = replace_line(&text, number + 1, |line| {
        line.replace("\"seq\":1", "\"seq\":2")
    });
    let line = u64::try_from(number + 1).unwrap();
    expect_found(
        &lied,
        line,
        "the author or place shown is not that of the proof",
    );
    let lines: Vec<&str> = text.lines().collect();
    let without = [&lines[..number], &lines[number + 1..]].concat();
    let end = u64::try_from(without.len()).unwrap();
    let without = format!("{}\n", without.join("\n"));
    expect_found(&without, end, "1 fork proofs were written and 0 are here");
}

/// The bodies that are not about daily work, whatever they do here.
fn rare(receipt: EntryHash, at: Place) -> Vec<Body> {
    let (to, amount) = (id(1), mk(250));
    let give = |reason| Body::Transfer { to, amount, reason };
    vec![
        Body::Audit {
            receipt,
            steps: 3,
            distance: 12,
            verdict: AuditVerdict::Passed,
        },
        Body::PairNet(PairNet {
            peer: id(1),
            given: 1_500,
            taken: 0,
            own: at,
            theirs: at,
        }),
        Body::Amend {
            prices: Some(PriceTable::DEFAULT),
            caps: Some(Caps::DEFAULT),
            rules: Some("be kind".to_owned()),
        },
        Body::Heal {
            tips: vec![
                EntryHash::from_bytes([1; 32]),
                EntryHash::from_bytes([2; 32]),
            ],
            reason: HealReason::Restored,
        },
        give(TransferReason::Bounty {
            id: BountyId::from_bytes([8; 32]),
        }),
        give(TransferReason::Audit { receipt }),
        Body::Leave,
    ]
}

#[test]
fn l70_every_kind_of_entry_is_told_and_checked() {
    let mut street = Street::new("rare");
    for member in 0..3 {
        street.write(member, &Body::Join { invite: None }, 0);
    }
    let receipt = street.job((1, 2), 1_000, 1);
    let tip = street.tips[0].unwrap();
    let place = Place {
        seq: tip.seq,
        hash: tip.hash,
    };
    let rare = rare(receipt, place);
    for body in &rare {
        assert!(
            matches!(body, Body::Leave) || facts(body, &names()).len() > 1,
            "{body:?}"
        );
        street.write(0, body, 5);
    }
    let copy = street.copy();
    let text = exported(&copy, None);
    let found = check(&text);
    assert!(found.ok, "{:?}", found.findings);
    for kind in [
        "audit",
        "pair-net",
        "amend",
        "heal",
        "bounty",
        "audit-pay",
        "leave",
    ] {
        assert!(text.contains(&format!("\"kind\":\"{kind}\"")), "{kind}");
    }
    assert!(text.contains("\"code\":128"), "a heal without a fork");
    let journal = Journal::of(&copy, &names(), None).beancount();
    assert!(
        journal.contains("share of bounty") && journal.contains("audit of"),
        "{journal}"
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
