//! A disk that takes no more fails the one operation and loses nothing.
//!
//! The disk is made full by a limit on the size of files: the same write fails, and no rights are
//! needed. `trap "" XFSZ` makes it an error instead of the end of the process, as a full disk is.

use std::fs;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::commons::{ASKS, Commons, entries};
use crate::node::Node;
use crate::patience::{SOON, eventually};
use crate::weights;

/// Limits the files of a running node, or lifts the limit.
fn limit_files(node: &Node, bytes: Option<u64>) {
    let pid = i32::try_from(node.pid()).ok().and_then(Pid::from_raw);
    let limit = Rlimit {
        current: bytes,
        maximum: None,
    };
    prlimit(pid, Resource::Fsize, limit).expect("a process of ours can be limited");
}

/// Two members; the files of `full` can be limited.
fn two() -> Commons {
    let mut commons = Commons::of(&[("friend", ASKS), ("full", ASKS)]);
    let full = commons.nodes.pop().expect("two nodes");
    let mut full = full.behind("trap '' XFSZ");
    full.stop();
    full.up();
    commons.nodes.push(full);
    commons.meet();
    commons
}

/// Returns the length of the longest file of the own chain.
fn own_chain(node: &Node) -> u64 {
    fn longest(dir: &std::path::Path) -> u64 {
        let files = fs::read_dir(dir)
            .into_iter()
            .flatten()
            .map_while(Result::ok);
        let each = files.map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => longest(&entry.path()),
            Ok(meta) if entry.file_name().to_string_lossy().starts_with("own") => meta.len(),
            Ok(_) | Err(_) => 0,
        });
        each.max().unwrap_or(0)
    }
    longest(&node.home().join("ledger"))
}

#[test]
fn an_entry_that_finds_no_room_fails_alone_and_nothing_acknowledged_is_lost() {
    let mut commons = two();
    let full = commons.node("full");
    let friend = commons.node("friend").id().to_string();
    let give = ["--json", "ledger", "give", &friend, "0.001", "--yes"];
    let mut acknowledged = Vec::new();
    for _ in 0..3 {
        acknowledged.push(full.run(&give).json()["entry"].clone());
    }
    let len = own_chain(full);
    assert!(len > 0, "the chain is on disk");
    limit_files(full, Some(len));
    let failed = full.run(&give);
    failed.fails(1, &["error: the gift could not be written", "cause:"]);
    // The node lives: it answers, and says what it has.
    assert_eq!(full.json(&["status"])["node"], full.id().to_string());
    let kept = |node: &Node, all: &[serde_json::Value]| {
        let own = entries(node, Some(commons.node("full").id()));
        let is_kept =
            |entry: &serde_json::Value| own.iter().any(|kept| *entry == kept.entry.to_string());
        assert!(
            all.iter().all(is_kept),
            "{} keeps what was acknowledged",
            node.name
        );
        assert_eq!(own.len(), 1 + all.len(), "and nothing that was not");
    };
    kept(full, &acknowledged);
    // There is room again: it goes on where it was, without a restart.
    limit_files(full, None);
    acknowledged.push(full.run(&give).json()["entry"].clone());
    kept(full, &acknowledged);
    // Killed on a full disk it comes back as well.
    limit_files(full, Some(own_chain(full)));
    full.run(&give).fails(1, &["the gift could not be written"]);
    commons.node_mut("full").restart();
    let full = commons.node("full");
    let own = entries(full, Some(full.id()));
    assert_eq!(
        own.len(),
        1 + acknowledged.len(),
        "the failed ones left nothing"
    );
    full.run(&give).json();
    commons.meet();
    commons.agree();
}

#[test]
fn a_fetch_that_finds_no_room_fails_with_the_reason_and_can_be_repeated() {
    let commons = two();
    let path = weights::large_lora(commons.dir(), 24);
    let card = commons.share("friend", &path);
    let full = commons.node("full");
    limit_files(full, Some(8 << 20));
    let failed = full.run(&["model", "fetch", &card]);
    failed.fails(1, &["error: cannot fetch", "cause:"]);
    assert_eq!(full.json(&["status"])["node"], full.id().to_string());
    full.json(&["ledger", "give", "friend", "0.001", "--yes"]);
    limit_files(full, None);
    eventually("there is room again", SOON, || {
        (full.run(&["model", "fetch", &card]).code == 0).then_some(())
    });
    let model = full.json(&["model", "show", &card]);
    assert_eq!(model["have"], model["size"]);
    commons.agree();
}
