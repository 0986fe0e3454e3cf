//! Kindling, the model in the binary: on every shelf, drawn with by default, taken further from its own
//! pictures and steps.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::commons::{ASKS, Commons, WORKS};
use crate::node::Node;
use crate::patience::{SOON, eventually, heavy};
use crate::weights;

const SHELF: (&str, &str) = ("models.built_in", "true");
const QUICK: &[&str] = &["--steps", "4", "--seed", "5"];

/// Draws with a node of its own and returns what it told.
fn drawn(node: &Node, args: &[&str]) -> Value {
    node.json(&[&["generate"], args, QUICK].concat())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn a_first_picture_needs_no_model_and_no_commons() {
    let _turn = heavy();
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alone", &[SHELF]);
    let models = node.json(&["model", "list"]);
    let titles: Vec<_> = models["models"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["title"].as_str().unwrap())
        .collect();
    assert!(titles.contains(&"Kindling"), "{titles:?}");
    assert!(titles.contains(&"emberglow"), "{titles:?}");

    let first = dir.path().join("first.png");
    let told = drawn(&node, &["a red circle", "--out", &text(&first)]);
    assert_eq!(told["images"][0]["path"], text(&first));
    let info = node.json(&["image", "info", &text(&first)]);
    assert_eq!(
        (&info["width"], &info["height"]),
        (&128.into(), &128.into())
    );
    assert_eq!(info["request"]["prompt"], "a red circle");
    assert_eq!(info["request"]["seed"], 5);

    // Its own metadata draws it again, to the byte of its pixels.
    let again = dir.path().join("again.png");
    drawn(&node, &["--like", &text(&first), "--out", &text(&again)]);
    assert_eq!(fs::read(&first).unwrap(), fs::read(&again).unwrap());

    // The adapter's tag in a prompt is enough.
    let glow = dir.path().join("glow.webp");
    let prompt = "emberglow, a red circle <lora:emberglow:1>";
    drawn(&node, &[prompt, "--out", &text(&glow)]);
    let info = node.json(&["image", "info", &text(&glow)]);
    assert_eq!(info["format"], "webp");
    assert_eq!(info["request"]["loras"][0]["name"], "emberglow");
}

#[test]
fn steps_are_saved_gone_on_from_and_branched() {
    let _turn = heavy();
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alone", &[SHELF]);
    let (whole, steps) = (dir.path().join("whole.png"), dir.path().join("steps"));
    let keep = [
        "a red circle",
        "--out",
        &text(&whole),
        "--save-steps",
        &text(&steps),
    ];
    drawn(&node, &keep);
    for name in ["step_000.safetensors", "step_000.png", "step_003.png"] {
        assert!(steps.join(name).is_file(), "{name}");
    }
    let from = text(&steps.join("step_001.safetensors"));
    let rest = dir.path().join("rest.png");
    node.json(&["generate", "--from-step", &from, "--out", &text(&rest)]);
    let pixels = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        hearth_engine::picture::decode(&bytes).unwrap().picture
    };
    assert_eq!(pixels(&rest), pixels(&whole));
    let branch = dir.path().join("branch.png");
    node.json(&[
        "generate",
        "a blue square",
        "--from-step",
        &from,
        "--out",
        &text(&branch),
    ]);
    assert_ne!(pixels(&branch), pixels(&whole));
    node.run(&["generate", "--from-step", &text(&whole)])
        .fails(1, &["cannot go on from"]);
}

#[test]
fn a_walk_is_animated_and_laid_out() {
    let _turn = heavy();
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alone", &[SHELF]);
    let (film, sheet) = (dir.path().join("walk.webp"), dir.path().join("sheet.png"));
    let (to, frames) = (["--to", "night over the sea"], ["--frames", "3"]);
    let places = ["--out", &text(&film), "--sheet", &text(&sheet)];
    let begin = ["walk", "day over the sea"];
    node.run(&[&begin[..], &to, &frames, &places, QUICK].concat())
        .succeeds();
    let film = fs::read(film).unwrap();
    assert_eq!(film.windows(4).filter(|tag| tag == b"ANMF").count(), 3);
    let sheet = hearth_engine::picture::decode(&fs::read(sheet).unwrap()).unwrap();
    assert!(sheet.picture.width() > 2 * 128, "two in a row");
}

// J16
#[test]
fn j16_a_picture_to_start_from_reaches_the_worker_and_is_dropped() {
    let _turn = heavy();
    let commons = Commons::of(&[("worker", WORKS), ("requester", ASKS)]);
    let card = commons.share("worker", &weights::kindling(commons.dir()));
    let start = commons.dir().join("start.png");
    let picture = hearth_engine::picture::Picture::filled(128, 128, [200, 40, 40]).unwrap();
    let encoding = hearth_engine::picture::Encoding::Png;
    let bytes = hearth_engine::picture::encode(&picture, encoding, None).unwrap();
    fs::write(&start, bytes).unwrap();
    let out = commons.dir().join("redone.png");
    let requester = commons.node("requester");
    let told = drawn(
        requester,
        &[
            "a blue square",
            "--model",
            &card,
            "--image",
            &text(&start),
            "--strength",
            "0.5",
            "--out",
            &text(&out),
        ],
    );
    assert_eq!(told["worker"], commons.node("worker").id().to_string());
    assert!(out.is_file());
    for node in ["worker", "requester"] {
        let folder = commons.node(node).home().join("cache/job-blobs");
        eventually(&format!("{node} keeps no file of the job"), SOON, || {
            let left = fs::read_dir(&folder).map_or(0, Iterator::count);
            (left == 0).then_some(())
        });
    }
}
