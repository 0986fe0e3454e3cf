//! A worker dies in the middle of a job: the job goes on elsewhere, and is paid once.

use std::fs;
use std::path::Path;
use std::time::Duration;

use hearth_protocol::id::JobId;
use hearth_protocol::job::Phase;
use hearth_protocol::snapshot::JobView;

use crate::commons::{ASKS, Commons, WORKS, count, entries};
use crate::node::Node;
use crate::patience::{LATER, SOON, eventually, heavy};

/// A picture that takes long enough to be interrupted.
pub(crate) const LONG: &[&str] = &["--size", "256x256", "--steps", "16", "--seed", "5"];

/// Waits until the one open job of a node is being drawn; returns it.
pub(crate) fn drawing(node: &Node) -> JobView {
    eventually("the picture is being drawn", LATER, || {
        let view = node.jobs().into_iter().find(|job| !job.over)?;
        matches!(view.phase, Some(Phase::Denoising { step, .. }) if step > 0).then_some(view)
    })
}

/// Waits until a job of a node is over; returns how it is shown.
pub(crate) fn over(node: &Node, job: JobId) -> JobView {
    eventually("the job is over", LATER, || {
        node.jobs()
            .into_iter()
            .find(|view| view.job == job && view.over)
    })
}

/// Counts receipts that nobody disputed.
pub(crate) fn undisputed(node: &Node) -> usize {
    let all = entries(node, None);
    let disputes = all
        .iter()
        .filter(|entry| entry.kind == "ack" && entry.text.starts_with("disputes"));
    all.iter().filter(|entry| entry.kind == "receipt").count() - disputes.count()
}

/// Counts the engine processes of a home; they work in a folder of their own.
fn engines(home: &Path) -> usize {
    let processes = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .map_while(Result::ok);
    let works = |process: &fs::DirEntry| {
        fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd == home.join("engine"))
    };
    processes.filter(works).count()
}

#[test]
fn the_job_of_a_killed_worker_is_done_once_after_it_comes_back() {
    let _turn = heavy();
    let mut commons = Commons::of(&[("requester", ASKS), ("ada", WORKS), ("bob", WORKS)]);
    commons.share_checkpoint("requester");
    let out = commons.dir().join("kite.png");
    let shown = out.display().to_string();
    let asked = [&["--json", "generate", "a kite", "--out", &shown], LONG].concat();
    let running = commons.node("requester").begin(&asked);
    let view = drawing(commons.node("requester"));
    let first = commons.name_of(view.peer.expect("a worker"));
    commons.node_mut(&first).kill9();
    // Nobody else is asked while the first may still charge: it must say that the job is lost.
    commons.node_mut(&first).up();
    let told = running.finish(LATER).json();
    assert!(out.exists(), "the picture is there: {told}");
    assert_eq!(told["job"], view.job.to_string());
    commons.meet();
    commons.agree();
    for node in &commons.nodes {
        assert_eq!(undisputed(node), 1, "one receipt is paid");
        assert_eq!(count(node, "void"), 1, "the lost order is released");
        assert_eq!(count(node, "order"), 2);
    }
    let why = commons.node("requester").json(&["ledger", "why"]);
    let paid = i64::try_from(told["kudos_mk"].as_u64().unwrap()).unwrap();
    let lines = why["lines"].as_array().unwrap();
    let is_paid = lines.iter().any(|line| line["amount"] == -paid);
    assert!(is_paid, "{paid} was paid: {why}");
}

#[test]
fn a_job_whose_worker_never_returns_fails_with_a_reason_and_is_not_paid() {
    // C15
    let _turn = heavy();
    let mut commons = Commons::of(&[("requester", ASKS), ("ada", WORKS), ("bob", WORKS)]);
    commons.share_checkpoint("requester");
    let asked = [&["generate", "a kite", "--timeout", "20"], LONG].concat();
    let running = commons.node("requester").begin(&asked);
    let view = drawing(commons.node("requester"));
    let first = commons.name_of(view.peer.expect("a worker"));
    commons.node_mut(&first).kill9();
    let home = commons.node(&first).home().to_owned();
    eventually("its engine ends as well", SOON, || {
        (engines(&home) == 0).then_some(())
    });
    let output = running.finish(LATER);
    output.fails(5, &["error: no picture"]);
    assert_eq!(undisputed(commons.node("requester")), 0, "nothing is paid");
}

#[test]
fn a_worker_that_died_unnoticed_is_no_place_for_a_job_and_that_is_said_soon() {
    let mut commons = Commons::of(&[("requester", ASKS), ("ada", WORKS)]);
    commons.share_checkpoint("requester");
    commons.node_mut("ada").kill9();
    // The connection still looks alive: only the silence after the question tells.
    let asked = [&["generate", "a kite", "--where", "ada"], LONG].concat();
    let output = commons.node("requester").run(&asked);
    output.fails(
        1,
        &[
            "error: no picture came of it",
            "cause: none of 1 workers answered in time",
        ],
    );
    assert!(
        output.took < Duration::from_millis(2_500),
        "it says so soon: {output:?}"
    );
}
