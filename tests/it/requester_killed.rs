//! A requester dies in the middle of a job: the picture waits for it.

use std::fs;

use hearth_protocol::id::BlobHash;

use crate::commons::{ASKS, Commons, WORKS, count};
use crate::patience::{LATER, SOON, eventually, heavy};
use crate::worker_killed::{LONG, drawing, over, undisputed};

#[test]
fn the_picture_arrives_after_its_requester_was_killed_and_is_accepted() {
    let _turn = heavy();
    let mut commons = Commons::of(&[("worker", WORKS), ("requester", ASKS)]);
    commons.share_checkpoint("worker");
    let out = commons.dir().join("kite.png");
    let shown = out.display().to_string();
    let asked = [&["generate", "a kite", "--out", &shown], LONG].concat();
    let running = commons.node("requester").begin(&asked);
    let view = drawing(commons.node("requester"));
    commons.node_mut("requester").kill9();
    running.finish(LATER).fails(3, &["error:"]);
    // Its worker goes on without it, or at least does not forget.
    commons.node_mut("requester").up();
    let requester = commons.node("requester");
    let done = over(requester, view.job);
    assert_eq!(done.state, "finished", "{done:?}");
    let report = done.report.expect("a report");
    assert_eq!(report.worker, commons.node("worker").id());
    assert_eq!(report.image.path, shown);
    assert_eq!(report.image.blake3, BlobHash::of(&fs::read(&out).unwrap()));
    eventually("the receipt is accepted", SOON, || {
        (count(commons.node("worker"), "ack") == 1).then_some(())
    });
    commons.meet();
    assert_eq!(commons.agree()["worker"], i128::from(report.kudos_mk.get()));
    for node in &commons.nodes {
        assert_eq!(undisputed(node), 1);
        assert_eq!(count(node, "order"), 1, "it was ordered once");
    }
}

#[test]
fn a_picture_that_was_done_while_its_requester_was_away_is_still_delivered() {
    let _turn = heavy();
    // Somebody has to stay: both others come back at new addresses.
    let parts = [("friend", ASKS), ("worker", WORKS), ("requester", ASKS)];
    let mut commons = Commons::of(&parts);
    commons.share_checkpoint("worker");
    let out = commons.dir().join("kite.png");
    let shown = out.display().to_string();
    let asked = [
        "generate", "a kite", "--out", &shown, "--size", "128x128", "--steps", "40",
    ];
    let running = commons.node("requester").begin(&asked);
    let view = drawing(commons.node("requester"));
    commons.node_mut("requester").kill9();
    running.finish(LATER).fails(3, &["error:"]);
    eventually("the worker is done", LATER, || {
        (count(commons.node("worker"), "receipt") == 1).then_some(())
    });
    // The worker, too, may be killed before anybody fetched what it made.
    commons.node_mut("worker").restart();
    commons.node_mut("requester").up();
    let done = over(commons.node("requester"), view.job);
    assert_eq!(done.state, "finished", "{done:?}");
    assert!(out.exists());
    eventually("the receipt is accepted", SOON, || {
        (count(commons.node("worker"), "ack") == 1).then_some(())
    });
    assert_eq!(undisputed(commons.node("worker")), 1);
    commons.agree();
}
