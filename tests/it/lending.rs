//! Whom a node lends to: chosen, shown, kept.

use serde_json::json;

use crate::commons::{ASKS, Commons, WORKS, count};
use crate::generate::SMALL;
use crate::patience::{SOON, eventually};

#[test]
fn l61_a_policy_is_chosen_shown_and_kept_over_a_restart() {
    let parts = [("requester", ASKS), ("worker", WORKS)];
    let mut commons = Commons::with_line(&parts, "0");
    commons.share_checkpoint("worker");
    let (requester, worker) = (commons.node("requester"), commons.node("worker"));
    let shown = worker.json(&["ledger", "policy", "show"]);
    assert_eq!(shown["terms"]["policy"], "neighbour", "{shown}");
    assert_eq!(
        (&shown["cap"], &shown["bucket"]),
        (&json!(100_000), &json!(10_000))
    );
    assert_eq!(shown["members"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        shown["members"][0]["decision"]["room"], 10_000,
        "a newcomer's"
    );

    // The newcomer's picture is lent, and shows.
    let asked = [&["generate", "a kite", "--where", "worker"], SMALL].concat();
    requester.json(&asked);
    let charged = eventually("what it owes is shown", SOON, || {
        let shown = worker.json(&["ledger", "policy", "show", "requester"]);
        let decision = &shown["members"][0]["decision"];
        decision["charged"].as_u64().filter(|mk| *mk > 0)
    });
    let arithmetic = worker.run(&["ledger", "policy", "show", "requester"]);
    arithmetic.succeeds();
    for figure in [
        "charged to it",
        "line",
        "credible net",
        "left for newcomers",
    ] {
        assert!(arithmetic.stdout.contains(figure), "{}", arithmetic.stdout);
    }

    worker.json(&["ledger", "policy", "set", "friends"]);
    requester
        .run(&asked)
        .fails(4, &["not enough credit", "my line is 0"]);
    worker
        .run(&["ledger", "policy", "set", "friends", "--cap", "5"])
        .fails(2, &["--cap means nothing with 'friends'", "hint:"]);
    worker.json(&["ledger", "policy", "set", "open", "--cap", "50"]);
    commons.node_mut("worker").restart();
    let shown = commons.node("worker").json(&["ledger", "policy", "show"]);
    assert_eq!(
        shown["terms"],
        json!({"policy": "open", "cap": 50_000, "newcomer_percent": null})
    );
    assert_eq!(shown["members"][0]["decision"]["room"], 50_000 - charged);
}

#[test]
fn b14_a_fetched_model_is_paid_for_and_shows_in_both_ledgers() {
    let commons = Commons::of(&[("seeder", ASKS), ("reader", ASKS)]);
    let card = commons.share_checkpoint("seeder");
    let reader = commons.node("reader");
    let fetched = reader.json(&["model", "fetch", &card]);
    let bytes = fetched["bytes"].as_u64().expect("bytes came");
    let price = i128::from((bytes * 10).div_ceil(1 << 20));
    eventually("the seeder is thanked", SOON, || {
        (count(reader, "seeding") == 1).then_some(())
    });
    assert_eq!(commons.agree()["seeder"], price);
    let why = reader.run(&["ledger", "why"]);
    why.succeeds();
    assert!(why.stdout.contains("thanks for"), "{}", why.stdout);
    reader.json(&["model", "fetch", &card]);
    assert_eq!(commons.agree()["seeder"], price, "paid for once");
}
