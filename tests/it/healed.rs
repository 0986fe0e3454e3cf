//! A chain that forked because an old copy of a home was put back: refused, shown, healed, on probation.

use serde_json::Value;

use crate::commons::{ASKS, Commons, entries};
use crate::durability::copy;
use crate::patience::{LATER, SOON, eventually};

/// A commons whose ada put an old copy back and wrote on with it while nobody was there.
fn forked() -> Commons {
    let mut commons = Commons::of(&[("watcher", ASKS), ("ada", ASKS)]);
    let watcher = commons.node("watcher").id().to_string();
    let ada = commons.node_mut("ada");
    ada.stop();
    let backup = ada.home().with_file_name("backup");
    copy(ada.home(), &backup);
    ada.up();
    ada.json(&["ledger", "give", &watcher, "0.002", "--yes"]);
    commons.meet();
    eventually("the watcher has it", SOON, || {
        let (watcher, ada) = (commons.node("watcher"), commons.node("ada"));
        (entries(watcher, Some(ada.id())).len() == 2).then_some(())
    });
    commons.node_mut("watcher").stop();
    let ada = commons.node_mut("ada");
    ada.kill9();
    let home = ada.home().to_owned();
    std::fs::remove_dir_all(&home).expect("a home can be removed");
    copy(&backup, &home);
    ada.up();
    for amount in ["0.001", "0.003"] {
        ada.json(&["ledger", "give", &watcher, amount, "--yes"]);
    }
    commons.node_mut("watcher").up();
    let listening = commons.node("watcher").status().listening;
    let addr = listening.first().expect("the watcher listens");
    commons.node("ada").json(&["peers", "add", &watcher, addr]);
    commons
}

fn chain(commons: &Commons) -> Value {
    let peer = commons.node("watcher").json(&["peers", "show", "ada"]);
    peer["chain"].clone()
}

#[test]
fn l96_a_forked_node_is_refused_writing_until_it_heals_and_is_on_probation_then() {
    let commons = forked();
    let (watcher, ada) = (commons.node("watcher"), commons.node("ada"));
    let give = ["ledger", "give", "watcher", "0.005", "--yes"];
    eventually("ada learns of both branches", LATER, || {
        ada.status().alerts.first()?;
        let shown = ada.run(&["ledger", "heal"]);
        (shown.stdout.contains("goes on") && shown.stdout.contains("ends")).then_some(())
    });
    ada.run(&give)
        .fails(1, &["own chain forked", "hint: 'hearth ledger heal'"]);
    ada.run(&["ledger", "heal"])
        .fails(1, &["nothing was healed", "--yes"]);
    ada.run(&["doctor"]).fails(1, &["checks failed"]);
    let status = ada.run(&["status"]).stdout;
    assert!(status.contains("hearth ledger heal"), "{status}");
    eventually("the watcher saw the fork", LATER, || {
        (chain(&commons) == "forked").then_some(())
    });
    let healed = ada.json(&["ledger", "heal", "--reason", "restored", "--yes"]);
    assert!(healed.get("entry").is_some(), "{healed}");
    let again = ada.run(&["ledger", "heal", "--yes"]);
    assert!(again.stdout.contains("was healed"), "{again:?}");
    ada.json(&give);
    eventually("the watcher counts the chain again", LATER, || {
        let since = chain(&commons)["probation"]["since"].as_u64()?;
        let newest = entries(watcher, Some(ada.id())).into_iter().next()?;
        (since > 0 && newest.state == "effective" && newest.kind == "gift").then_some(())
    });
    let digests = || (ada.status().digest, watcher.status().digest);
    eventually("both show one digest", SOON, || {
        let (one, other) = digests();
        (one == other).then_some(())
    });
    // What lies between the fork and the heal stays without effect.
    assert_eq!(ada.status().balance.mk(), -5);
    let shown = watcher.run(&["peers", "show", "ada"]).stdout;
    let hint = "on probation: 'hearth peers trust ada --line KUDOS'";
    assert!(shown.contains(hint), "{shown}");
    let checks = watcher.run(&["doctor"]).stdout;
    assert!(checks.contains("healed, on probation: ada"), "{checks}");
    watcher.json(&["peers", "trust", "ada", "--line", "7"]);
    assert_eq!(chain(&commons), "whole");
}
