//! Bounties among three members: opened, backed, claimed, awarded and paid, and remembered.

use serde_json::Value;

use crate::commons::{ASKS, Commons};
use crate::node::{Node, Output};
use crate::patience::{LATER, SOON, eventually};

fn run(node: &Node, args: &[&str]) -> Output {
    node.run(&[&["ledger", "bounty"], args].concat())
}

fn json(node: &Node, args: &[&str]) -> Value {
    node.json(&[&["ledger", "bounty"], args].concat())
}

/// Opens a bounty and returns its id.
fn open(node: &Node, args: &[&str]) -> String {
    let bounty = json(node, &[&["open"], args].concat());
    bounty["bounty"].as_str().expect("an id").to_owned()
}

/// Waits until a node sees a bounty in some way.
fn sees(node: &Node, id: &str, how: &str, test: impl Fn(&Value) -> bool) {
    eventually(&format!("{} sees that {how}", node.name), SOON, || {
        let list = json(node, &["list", "--all"]);
        let bounties = list["bounties"].as_array().expect("bounties");
        let found = bounties.iter().find(|bounty| bounty["bounty"] == *id)?;
        test(found).then_some(())
    });
}

#[test]
fn l93_a_bounty_is_opened_backed_claimed_awarded_and_paid() {
    let commons = Commons::of(&[("ada", ASKS), ("bob", ASKS), ("carol", ASKS)]);
    let (ada, bob, carol) = (
        commons.node("ada"),
        commons.node("bob"),
        commons.node("carol"),
    );
    let id = open(
        ada,
        &[
            "A LoRA of our street",
            "--text",
            "CC0",
            "--pledge",
            "50",
            "--yes",
        ],
    );
    let short = &id[..8];
    for node in [bob, carol] {
        sees(node, &id, "it is open", |bounty| bounty["state"] == "open");
    }
    run(carol, &["award", short, "bob"]).fails(1, &["bob has not claimed", "hint:"]);
    json(carol, &["back", short, "20", "--yes"]);
    let lower = ["back", short, "5", "--yes"];
    run(carol, &lower).fails(1, &["pledged 20 kudos already", "raised, not lowered"]);
    run(carol, &["back", short, "5000"]).fails(4, &["cannot pledge 5000 kudos", "may owe"]);
    run(ada, &["claim", short]).fails(1, &["opened that bounty itself"]);
    json(bob, &["claim", short, "--text", "forty photos"]);
    for node in [ada, carol] {
        sees(node, &id, "bob claims it", |bounty| {
            bounty["claims"][0]["name"] == "bob"
        });
    }
    sees(ada, &id, "carol backs it", |bounty| {
        bounty["pledged"] == 70_000
    });
    run(carol, &["award", short, "bob"]).fails(1, &["not awarded to bob", "only ada"]);
    let paid = json(ada, &["award", short, "bob", "--yes"]);
    let what = paid["what"].as_str().expect("a line");
    assert!(what.starts_with("paid 50 kudos to bob"), "{what}");
    run(ada, &["award", short, "bob"]).fails(1, &["has paid what it pledged", "hint:"]);
    sees(carol, &id, "bob is awarded", |bounty| {
        bounty["state"] == "awarded"
    });
    let shown = run(carol, &["show", short]);
    assert!(
        shown.stderr.contains("award") && shown.stderr.contains("20 kudos"),
        "{shown:?}"
    );
    json(carol, &["award", short, "bob", "--yes"]);
    for node in [ada, bob, carol] {
        sees(node, &id, "all is paid", |bounty| bounty["state"] == "paid");
    }
    let balances = commons.agree();
    assert_eq!(balances["ada"], -50_000);
    assert_eq!(balances["bob"], 70_000);
    assert_eq!(balances["carol"], -20_000);
    let why = bob.run(&["ledger", "why"]).stdout;
    let line = format!("share of bounty {}", &id[..10]);
    assert_eq!(why.matches(&line).count(), 2, "{why}");
    let listed = run(bob, &["list"]).stdout;
    assert!(
        !listed.contains(short),
        "what is paid is listed with --all: {listed}"
    );
}

#[test]
fn l91_what_cannot_be_done_says_why() {
    let commons = Commons::of(&[("ada", ASKS), ("bob", ASKS)]);
    let (ada, bob) = (commons.node("ada"), commons.node("bob"));
    run(ada, &["show", "ffff"]).fails(1, &["no bounty 'ffff'", "hint: 'hearth ledger bounty list"]);
    run(ada, &["open", " "]).fails(2, &["needs a title"]);
    run(ada, &["open", "for ever", "--until", "400d"]).fails(2, &["within 366 days"]);
    let short = open(ada, &["soon over", "--until", "1s"]);
    let long = open(ada, &["a kite"]);
    eventually("its end passes", SOON, || {
        (json(ada, &["show", &short])["state"] == "over").then_some(())
    });
    run(ada, &["back", &short, "1"]).fails(1, &["is over", "hint: what was pledged"]);
    sees(bob, &long, "it is there", |_| true);
    json(bob, &["claim", &long]);
    sees(ada, &long, "bob claims it", |bounty| {
        bounty["claims"][0]["name"] == "bob"
    });
    // Who pledged nothing awards without paying, and may pay later.
    let said = json(ada, &["award", &long, "bob"]);
    assert!(said.get("entry").is_none(), "{said}");
    run(ada, &["award", &long, "bob"]).fails(1, &["pledged nothing", "KUDOS"]);
    assert!(
        json(ada, &["award", &long, "bob", "1.5"])
            .get("entry")
            .is_some()
    );
    assert_eq!(json(ada, &["show", &long])["paid"], 1_500);
}

#[test]
fn l94_notes_reach_who_comes_later_and_survive_a_restart() {
    let mut commons = Commons::of(&[("ada", ASKS), ("bob", ASKS)]);
    let id = open(commons.node("ada"), &["a kite", "--pledge", "3"]);
    sees(commons.node("bob"), &id, "it is there", |_| true);
    let ticket = commons.node("ada").json(&["commons", "invite"]);
    let late = Node::start(commons.dir(), "late", ASKS);
    late.json(&[
        "commons",
        "join",
        ticket["ticket"].as_str().expect("a ticket"),
    ]);
    eventually("the latecomer has both notes", LATER, || {
        let list = json(&late, &["list"]);
        (list["bounties"][0]["pledged"] == 3_000).then_some(())
    });
    // One's own are on disk when the command is answered; those of others soon after.
    json(commons.node("bob"), &["back", &id, "2"]);
    commons.node_mut("ada").kill9();
    commons.node_mut("bob").restart();
    let bounty = json(commons.node("bob"), &["show", &id]);
    assert_eq!(bounty["pledged"], 5_000, "{bounty}");
}
