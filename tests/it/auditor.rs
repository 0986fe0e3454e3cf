//! An auditor at work: accounts, pairs and entries opened, copies checked, tampered with, brought in.

use std::fs;
use std::path::{Path, PathBuf};

use hearth_protocol::control::{Command, Reply};
use hearth_protocol::unit::Millikudos;
use serde_json::Value;

use crate::commons::{ASKS, Commons, WORKS, count};
use crate::generate::small;
use crate::node::{Node, hearth};
use crate::patience::{SOON, eventually, heavy};

fn export(node: &Node, dir: &Path, format: &str) -> PathBuf {
    let path = dir.join(format!("street.{format}"));
    let file = path.display().to_string();
    let told = node.json(&["ledger", "export", "--format", format, "-o", &file]);
    assert_eq!(told["format"], format);
    path
}

fn verify(path: &Path) -> crate::node::Output {
    // No home and no node: the file alone.
    hearth(&["--json", "ledger", "verify", &path.display().to_string()])
}

fn mk(value: &Value) -> i64 {
    value.as_i64().expect("an amount")
}

/// A job by bob at ada, and a gift by ada, known to both; carol was there and is gone.
fn street() -> (Commons, i64) {
    let mut commons = Commons::of(&[("ada", WORKS), ("bob", ASKS), ("carol", ASKS)]);
    commons.share_checkpoint("ada");
    commons.node_mut("carol").stop();
    let out = commons.dir().join("kite.png");
    let told = small(commons.node("bob"), &out, &["--where", "ada"]);
    let ada = commons.node("ada");
    ada.json(&["ledger", "give", "bob", "0.5", "--yes"]);
    eventually("both know all", SOON, || {
        let digests = ["ada", "bob"].map(|name| commons.node(name).status().digest);
        let acked = count(commons.node("ada"), "ack") == 1;
        (digests[0] == digests[1] && acked).then_some(())
    });
    (commons, mk(&told["kudos_mk"]))
}

#[test]
fn l76_a_balance_opens_into_pairs_lines_and_signed_entries() {
    let _turn = heavy();
    let (commons, paid) = street();
    let bob = commons.node("bob");
    let account = bob.json(&["ledger", "balance", "ada"]);
    assert_eq!(mk(&account["earned"]), paid);
    assert_eq!(mk(&account["given"]), 500);
    assert_eq!(mk(&account["balance"]), paid - 500);
    assert_eq!(mk(&account["spendable"]), paid - 500, "bob acked");
    assert_eq!(mk(&account["terms"]["line_to_it"]), 1_000_000);
    let why = bob.json(&["ledger", "why", "ada", "--pair", "bob"]);
    let pair = &why["pairs"][0];
    assert_eq!(mk(&pair["balance"]), paid - 500);
    let sum: i64 = why["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| mk(&line["amount"]))
        .sum();
    assert_eq!(sum, mk(&why["balance"]));
    let line = &why["lines"][0];
    assert_eq!(line["charge"]["verdict"], "accepted");
    let receipt = line["entry"].as_str().unwrap();
    let entry = bob.json(&["ledger", "why", "--entry", &receipt[..12]]);
    assert_eq!(entry["header"]["author"], account["node"]);
    assert_eq!(mk(&entry["body"]["receipt"]["amount"]), paid);
    let order = line["charge"]["order"].as_str().unwrap();
    assert_eq!(entry["links"][0]["entry"], order);
    let job = line["charge"]["job"].as_str().unwrap();
    let about = bob.json(&["ledger", "entries", "--job", &job[..10]]);
    assert_eq!(
        about["entries"].as_array().unwrap().len(),
        3,
        "order, receipt, ack"
    );
    let gifts = bob.json(&["ledger", "entries", "--peer", "ada", "--kind", "gift"]);
    assert_eq!(gifts["entries"].as_array().unwrap().len(), 1);
    let none = bob.json(&["ledger", "entries", "--since", "2999-01-01"]);
    assert_eq!(none["entries"].as_array().unwrap().len(), 0);
    bob.run(&["ledger", "why", "--entry", "ffffffffffff"])
        .fails(1, &["no entry 'ffffffffffff'"]);
    bob.run(&["ledger", "entries", "--job", "ffffffffffff"])
        .fails(1, &["no order is for a job"]);
    let text = bob.run(&["ledger", "why"]).stdout;
    assert!(
        text.contains("sum with ada") && text.contains("0.500"),
        "{text}"
    );
    let job = bob.jobs()[0].job.to_string();
    let disputed = bob.json(&["jobs", "dispute", &job, "--code", "wrong"]);
    assert!(
        disputed["what"]
            .as_str()
            .unwrap()
            .contains("disputed receipt")
    );
    let account = bob.json(&["ledger", "balance", "ada"]);
    assert_eq!(
        mk(&account["pending"]),
        paid,
        "the debt stands, unspendable"
    );
    let why = bob.json(&["ledger", "why", "ada"]);
    assert_eq!(mk(&why["pairs"][0]["disputed"]), paid);
    let audit = bob.json(&["ledger", "audit"]);
    assert_eq!(
        (audit["ok"].clone(), mk(&audit["pairs"])),
        (Value::Bool(true), 1)
    );
    assert_eq!(audit["unchecked"].as_array().unwrap().len(), 0);
}

#[test]
fn l77_an_export_is_checked_anywhere_and_brings_a_member_up_to_date() {
    // C18
    let _turn = heavy();
    let (mut commons, paid) = street();
    let dir = commons.dir().to_owned();
    let file = export(commons.node("ada"), &dir, "jsonl");
    let sound = verify(&file);
    let told: Value = serde_json::from_str(&sound.stdout).unwrap();
    assert_eq!((sound.code, &told["ok"]), (0, &Value::Bool(true)), "{told}");
    assert_eq!(told["digest"], commons.node("ada").status().digest.unwrap());

    let text = fs::read_to_string(&file).unwrap();
    let line = 1 + text
        .lines()
        .position(|line| line.contains("\"kind\":\"gift\""))
        .unwrap();
    let tampered = dir.join("tampered.jsonl");
    fs::write(&tampered, text.replace("\"amount\":500", "\"amount\":5")).unwrap();
    hearth(&["ledger", "verify", &tampered.display().to_string()]).fails(1, &["does not hold"]);
    let told: Value = serde_json::from_str(&verify(&tampered).stdout).unwrap();
    assert_eq!(told["findings"][0]["line"], line, "{told}");

    for format in ["csv", "beancount", "hledger"] {
        let text = fs::read_to_string(export(commons.node("ada"), &dir, format)).unwrap();
        let kudos = format!("{}.{:03}", paid / 1000, paid % 1000);
        assert!(
            text.contains(&kudos) && text.contains("0.500"),
            "{format}: {text}"
        );
    }
    let raw = commons.node("ada").run(&["ledger", "export"]).stdout;
    assert_eq!(raw.lines().count(), text.lines().count());

    for name in ["ada", "bob"] {
        commons.node_mut(name).stop();
    }
    commons.node_mut("carol").up();
    let carol = commons.node("carol");
    assert_eq!(count(carol, "receipt"), 0, "carol was away");
    let path = |path: &Path| path.display().to_string();
    carol
        .run(&["ledger", "import", &path(&tampered)])
        .fails(1, &["1 line was refused"]);
    let brought = carol.json(&["ledger", "import", &path(&file)]);
    assert!(
        mk(&brought["known"]) > 0 && mk(&brought["new"]) > 0,
        "{brought}"
    );
    let again = carol.json(&["ledger", "import", &path(&file)]);
    assert_eq!(mk(&again["new"]), 0, "{again}");
    assert_eq!(count(carol, "gift"), 1);
    let stranger = Node::start(&dir, "stranger", ASKS);
    stranger.json(&["commons", "create", "Elsewhere"]);
    stranger
        .run(&["ledger", "import", &path(&file)])
        .fails(1, &["line 1: the file is of commons Story"]);
}

#[test]
fn c17_what_does_not_fit_one_page_comes_in_several() {
    const GIFTS: usize = 1_040;
    let commons = Commons::of(&[("ada", ASKS), ("bob", ASKS)]);
    let ada = commons.node("ada");
    for _ in 0..GIFTS {
        let given = ada.ask(&Command::LedgerGive {
            peer: "bob".to_owned(),
            amount: Millikudos::new(1).unwrap(),
        });
        assert!(matches!(given, Ok(Reply::Wrote { .. })), "{given:?}");
    }
    let all = |value: &Value, key: &str| value[key].as_array().unwrap().len();
    let entries = ada.json(&["ledger", "entries", "-n", "0"]);
    assert_eq!(all(&entries, "entries"), GIFTS + 2);
    assert_eq!(
        all(&ada.json(&["ledger", "entries", "-n", "7"]), "entries"),
        7
    );
    let why = ada.json(&["ledger", "why"]);
    assert_eq!(all(&why, "lines"), GIFTS);
    assert_eq!(mk(&why["pairs"][0]["given"]), i64::try_from(GIFTS).unwrap());
    let file = export(ada, commons.dir(), "jsonl");
    let told: Value = serde_json::from_str(&verify(&file).stdout).unwrap();
    assert_eq!(told["ok"], true, "{told}");
    assert_eq!(mk(&told["entries"]), i64::try_from(GIFTS + 2).unwrap());
}

#[test]
fn c19_an_index_that_is_gone_is_built_anew_and_the_state_is_the_same() {
    let commons = Commons::of(&[("ada", ASKS), ("bob", ASKS)]);
    let ada = commons.node("ada");
    ada.json(&["ledger", "give", "bob", "0.5", "--yes"]);
    let before = ada.status().digest;
    let told = ada.json(&["ledger", "rebuild"]);
    let what = told["what"].as_str().expect("a sentence");
    assert!(
        what.contains("3 entries") && what.contains("1 connected"),
        "{what}"
    );
    assert_eq!(ada.status().digest, before);
    ada.run(&["ledger", "audit"]).succeeds();
}
