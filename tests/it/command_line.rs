//! Every command: what it prints for programs, and the code it ends with.

use std::fs;
use std::path::Path;

use crate::commons::{ASKS, Commons};
use crate::generate::small;
use crate::node::{Node, hearth};
use crate::patience::{SOON, heavy};
use crate::weights;

#[test]
#[expect(clippy::too_many_lines, reason = "a flat table of commands")]
fn every_command_prints_one_json_object_with_its_schema() {
    // C8
    let _turn = heavy();
    let mut commons = Commons::of(&[("ada", &[]), ("bob", ASKS)]);
    let card = commons.share_checkpoint("ada");
    commons.share("bob", &weights::lora(commons.dir()));
    let (ada, dir) = (commons.node("ada"), commons.dir());
    let job = small(ada, &dir.join("a.png"), &["--where", "local"])["job"].clone();
    let job = job.as_str().unwrap();
    let bob = commons.node("bob").id().to_string();
    let backup = dir.join("key.backup").display().to_string();
    let has = |args: &[&str], keys: &[&str]| {
        let value = ada.json(args);
        for key in keys {
            assert!(
                value.get(key).is_some(),
                "'{key}' in the JSON of {args:?}: {value}"
            );
        }
    };
    has(
        &["status"],
        &[
            "node",
            "commons",
            "connected",
            "balance",
            "digest",
            "device",
            "listening",
        ],
    );
    has(&["doctor"], &["checks"]);
    has(
        &["commons", "show"],
        &["id", "charter", "members", "connected"],
    );
    has(&["commons", "invite"], &["ticket", "expires", "uses"]);
    has(&["peers", "list"], &["peers"]);
    has(
        &["peers", "show", "bob"],
        &["node", "name", "line", "exposure", "balance"],
    );
    has(&["peers", "add", &bob, "/ip4/127.0.0.1/tcp/9"], &["what"]);
    has(&["peers", "trust", "bob", "--line", "7"], &["what"]);
    has(&["peers", "name", &bob, "robert"], &["what"]);
    has(&["peers", "block", "robert"], &["what"]);
    has(&["peers", "trust", "robert", "--level", "known"], &["what"]);
    has(&["model", "list"], &["models"]);
    has(
        &["model", "show", &card],
        &["card", "title", "kind", "size", "files", "seeders"],
    );
    has(&["model", "pin", &card], &["what"]);
    has(&["model", "unpin", &card], &["what"]);
    has(&["jobs", "list"], &["jobs"]);
    has(&["jobs", "show", &job[..8]], &["job", "state", "report"]);
    has(&["ledger", "balance"], &["node", "balances", "digest"]);
    has(&["ledger", "entries"], &["entries"]);
    has(&["ledger", "entries", "bob", "-n", "1"], &["entries"]);
    has(&["ledger", "why"], &["node", "balance", "lines"]);
    has(&["ledger", "audit"], &["ok", "entries", "sum", "findings"]);
    has(
        &["ledger", "give", "bob", "0.5", "--yes"],
        &["entry", "what"],
    );
    let opened = ada.json(&["ledger", "bounty", "open", "a kite", "--pledge", "1"]);
    let bounty = opened["bounty"].as_str().unwrap();
    has(&["ledger", "bounty", "list", "--all"], &["bounties"]);
    has(
        &["ledger", "bounty", "show", &bounty[..6]],
        &[
            "bounty", "title", "state", "pledged", "paid", "due", "claims",
        ],
    );
    has(&["ledger", "bounty", "back", bounty, "2"], &["pledges"]);
    has(&["ledger", "heal"], &["forked", "healed", "branches"]);
    has(&["worker", "pause"], &["what"]);
    has(&["worker", "resume"], &["what"]);
    has(&["identity", "show"], &["node", "file"]);
    has(&["identity", "backup", &backup], &["node", "file"]);
    has(&["config", "show", "--origin"], &["values", "origins"]);
    has(&["paths"], &["ledger", "store", "blobs", "log"]);
    has(&["help", "exit-codes"], &["codes"]);
    has(&["model", "rm", &card, "--yes"], &["what"]);
    has(&["commons", "leave", "--yes"], &["what"]);
    let node = commons.node_mut("ada");
    crate::patience::eventually("who left has stopped", SOON, || {
        (!node.is_alive()).then_some(())
    });
}

#[test]
fn exit_codes_mean_what_the_table_says() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home").display().to_string();
    let at = |args: &[&str]| hearth(&[&["--home", &home], args].concat());
    at(&["paths"]).fails(0, &[]);
    at(&["status"]).fails(
        3,
        &["error: no hearth is running", "hint: start the node with"],
    );
    at(&["generate"]).fails(2, &["error:", "Usage: hearth generate"]);
    at(&["model", "lits"]).fails(2, &["tip: a similar subcommand exists: 'list'"]);
    at(&["--set", "worker.watts=3", "up"]).fails(2, &["did you mean 'worker.rated_watts'?"]);
    at(&["--set", "control.listen=0.0.0.0:1", "up"]).fails(2, &["expected a loopback address"]);
    fs::create_dir(&home).unwrap();
    fs::write(Path::new(&home).join("config.toml"), "xyzzy = 3").unwrap();
    at(&["config", "show"]).fails(2, &["unknown key 'xyzzy'"]);
    fs::write(Path::new(&home).join("identity.key"), "nonsense").unwrap();
    fs::write(Path::new(&home).join("config.toml"), "").unwrap();
    at(&["--quiet", "up"]).fails(1, &["error:", "identity.key"]);
    hearth(&[]).fails(2, &["Usage: hearth"]);
    hearth(&["--version"]).fails(0, &[]);
    let codes = at(&["--json", "help", "exit-codes"]).json();
    let codes: Vec<_> = codes["codes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["code"].clone())
        .collect();
    assert_eq!(codes, [0, 1, 2, 3, 4, 5, 130]);
}

#[test]
fn scripts_and_pages_are_printed_whole() {
    for shell in ["bash", "zsh", "fish"] {
        let script = hearth(&["completions", shell]);
        assert!(
            script.code == 0 && script.stdout.contains("hearth"),
            "{shell}: {script:?}"
        );
    }
    assert!(hearth(&["man"]).stdout.contains(".TH hearth"));
    for noun in [
        "up", "generate", "commons", "peers", "model", "jobs", "ledger", "worker",
    ] {
        let help = hearth(&["help", noun]);
        assert!(help.stdout.contains("Usage: hearth"), "{noun}: {help:?}");
    }
    let template = hearth(&["config", "template"]).stdout;
    assert!(template.contains("# enabled = true"), "{template}");
}

#[test]
fn an_interrupted_node_ends_in_order_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::start(dir.path(), "alone", &[]);
    let status = node.interrupt();
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(
        !node.home().join("control.json").exists(),
        "nothing points to it any more"
    );
    node.up();
}

#[test]
fn a_detached_node_is_ended_by_stop() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::new(dir.path(), "alone", &[]);
    let up = node.json(&["up", "--detach"]);
    assert_eq!(up["ready"], true);
    assert_eq!(node.json(&["status"])["node"], up["node"]);
    assert_eq!(node.json(&["stop"])["what"], "stopped");
    node.run(&["stop"]).fails(3, &["no hearth is running"]);
}

#[test]
fn a_restored_key_is_the_same_member() {
    let mut commons = Commons::of(&[("ada", ASKS), ("bob", ASKS)]);
    let file = commons.dir().join("key").display().to_string();
    let bob = commons.node_mut("bob");
    let id = bob.id().to_string();
    bob.json(&["identity", "backup", &file]);
    bob.run(&["identity", "restore", &file])
        .fails(1, &["while the node runs"]);
    bob.stop();
    let fresh = Node::new(commons.dir(), "fresh", ASKS);
    assert_ne!(fresh.json(&["identity", "show"])["node"], id);
    fresh
        .run(&["identity", "restore", &file])
        .fails(1, &["--yes"]);
    assert_eq!(
        fresh.json(&["identity", "restore", &file, "--yes"])["node"],
        id
    );
    assert_eq!(fresh.json(&["identity", "show"])["node"], id);
}

#[test]
fn without_a_terminal_nothing_is_asked() {
    // C11
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alone", &[]);
    let lora = weights::lora(dir.path()).display().to_string();
    node.json(&["model", "add", &lora]);
    node.run(&["model", "rm", "ember"]).fails(0, &[]);
}
