//! One picture from wish to receipt, in every way a person can ask for it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use hearth_protocol::id::BlobHash;
use serde_json::Value;

use crate::commons::{ASKS, Commons, WORKS, count};
use crate::node::Node;
use crate::patience::{SOON, eventually, heavy};
use crate::weights;

/// A small picture: what is drawn does not matter, that it is drawn does.
pub(crate) const SMALL: &[&str] = &["--size", "64x64", "--steps", "3", "--seed", "11"];

/// Orders a small picture at a node and returns the JSON.
pub(crate) fn small(node: &Node, out: &Path, more: &[&str]) -> Value {
    let out = out.display().to_string();
    let asked = ["generate", "a red kite", "--out", &out];
    node.json(&[&asked[..], SMALL, more].concat())
}

/// Returns the PNG's text chunk `parameters` and its size in pixels.
fn read_png(path: &Path) -> (String, (u32, u32)) {
    let bytes = fs::read(path).expect("the picture was saved");
    let mut rest = bytes.strip_prefix(b"\x89PNG\r\n\x1a\n").expect("a PNG");
    let (mut text, mut size) = (String::new(), (0, 0));
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes[..4].try_into().expect("four bytes"));
    while !rest.is_empty() {
        let len = usize::try_from(number(rest)).expect("a small chunk");
        let (kind, data) = (&rest[4..8], &rest[8..8 + len]);
        if kind == b"IHDR" {
            size = (number(data), number(&data[4..]));
        }
        if let Some(data) = data.strip_prefix(b"parameters\0") {
            let data = data.strip_prefix(b"\0\0\0\0").unwrap_or(data);
            text = String::from_utf8(data.to_vec()).expect("metadata is text");
        }
        rest = &rest[12 + len..];
    }
    (text, size)
}

fn path_of(image: &Value) -> &Path {
    Path::new(image["path"].as_str().expect("a path"))
}

#[test]
fn a_picture_is_fetched_drawn_delivered_paid_and_every_ledger_agrees() {
    let _turn = heavy();
    let commons = Commons::of(&[("seeder", ASKS), ("worker", WORKS), ("requester", ASKS)]);
    commons.share_checkpoint("seeder");
    commons.share("seeder", &weights::lora(commons.dir()));
    let out = commons.dir().join("kite.png");
    let lora = [
        "--lora",
        "Tiny ember:0.8",
        "--where",
        "any",
        "--negative",
        "rain",
    ];
    let told = small(commons.node("requester"), &out, &lora);

    let image = &told["images"][0];
    assert_eq!(path_of(image), out);
    assert_eq!(image["seed"], 11);
    assert_eq!(
        image["blake3"],
        BlobHash::of(&fs::read(&out).unwrap()).to_string()
    );
    assert_eq!(told["worker"], commons.node("worker").id().to_string());
    assert_eq!(told["job"].as_str().unwrap().len(), 64);
    assert!(told["timings"]["total"].as_u64().unwrap() > 0, "{told}");
    assert!(told["energy"]["millijoules"].is_u64(), "{told}");
    let (parameters, size) = read_png(&out);
    assert_eq!(size, (64, 64));
    for part in [
        "a red kite",
        "Negative prompt: rain",
        "Steps: 3",
        "Seed: 11",
        "Size: 64x64",
    ] {
        assert!(parameters.contains(part), "'{part}' in {parameters}");
    }

    // The seeder is thanked after the receipt.
    let mk = i128::from(told["kudos_mk"].as_u64().unwrap());
    assert!(mk > 0, "work is paid: {told}");
    eventually("the seeder is thanked", SOON, || {
        (count(commons.node("requester"), "seeding") == 1).then_some(())
    });
    let balances = commons.agree();
    assert_eq!(balances["requester"], -mk);
    assert!(balances["seeder"] > 0, "{balances:?}");
    assert_eq!(balances["worker"], mk - balances["seeder"]);
    for kind in ["order", "receipt", "ack"] {
        assert_eq!(count(commons.node("seeder"), kind), 1, "one {kind}");
    }
    let why = commons.node("requester").json(&["ledger", "why"]);
    assert_eq!(why["lines"].as_array().unwrap().len(), 1, "{why}");
    assert_eq!(
        why["lines"][0]["amount"],
        Value::from(i64::try_from(-mk).unwrap())
    );
}

#[test]
fn a_seed_gives_the_same_bytes_wherever_it_is_drawn() {
    let _turn = heavy();
    let commons = Commons::of(&[("requester", WORKS), ("worker", WORKS)]);
    commons.share_checkpoint("requester");
    let (requester, dir) = (commons.node("requester"), commons.dir());
    let local = small(requester, &dir.join("local.png"), &["--where", "local"]);
    assert_eq!(local["worker"], requester.id().to_string());
    assert_eq!(local["kudos_mk"], 0);
    assert_eq!(count(requester, "order"), 0, "a local job writes nothing");
    let first = small(requester, &dir.join("first.png"), &["--where", "worker"]);
    let again = small(requester, &dir.join("again.png"), &["--where", "worker"]);
    assert_eq!(first["worker"], commons.node("worker").id().to_string());
    assert!(
        again["kudos_mk"].as_u64() < first["kudos_mk"].as_u64(),
        "a warm load costs less"
    );
    let hash = |told: &Value| told["images"][0]["blake3"].clone();
    assert_eq!(hash(&first), hash(&again));
    assert_eq!(hash(&first), hash(&local));
    commons.agree();
}

#[test]
fn several_pictures_and_every_latent_land_where_they_were_asked() {
    let _turn = heavy();
    let commons = Commons::of(&[("requester", ASKS), ("worker", WORKS)]);
    commons.share_checkpoint("worker");
    let (requester, dir) = (commons.node("requester"), commons.dir());
    let told = small(requester, &dir.join("pair"), &["--count", "2"]);
    let images = told["images"].as_array().unwrap();
    let seeds: Vec<_> = images
        .iter()
        .map(|image| image["seed"].as_u64().unwrap())
        .collect();
    assert_eq!(seeds, [11, 12]);
    for image in images {
        assert_eq!(path_of(image).parent(), Some(&*dir.join("pair")));
        read_png(path_of(image));
    }
    let sum: u64 = told["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["kudos_mk"].as_u64().unwrap())
        .sum();
    assert_eq!(told["kudos_mk"], sum);
    let steps = dir.join("steps");
    small(
        requester,
        &dir.join("one.png"),
        &["--save-steps", &steps.display().to_string()],
    );
    for step in 0..3 {
        let bytes = fs::read(steps.join(format!("step_{step:03}.safetensors"))).unwrap();
        let (header, data) = weights::split(&bytes);
        assert_eq!(header["latent"]["dtype"], "F32");
        assert_eq!(header["latent"]["shape"], serde_json::json!([1, 4, 8, 8]));
        assert_eq!(data.len(), 4 * 4 * 8 * 8);
    }
    assert_eq!(commons.agree()["worker"], -commons.agree()["requester"]);
}

#[test]
fn l54_an_order_above_the_mark_is_done_after_members_were_asked_about_its_requester() {
    let _turn = heavy();
    let careful = [WORKS, &[("worker.ask_above", "0")]].concat();
    let commons = Commons::of(&[("witness", ASKS), ("worker", &careful), ("requester", ASKS)]);
    commons.share_checkpoint("witness");
    let out = commons.dir().join("kite.png");
    small(commons.node("requester"), &out, &["--where", "any"]);
    let log = commons.node("worker").log();
    assert!(log.contains("asking about a requester"), "{log}");
    assert_eq!(count(commons.node("worker"), "receipt"), 1);
}

#[test]
fn a_dry_run_says_cost_and_worker_and_writes_nothing() {
    let commons = Commons::of(&[("requester", ASKS), ("worker", WORKS)]);
    commons.share_checkpoint("worker");
    let requester = commons.node("requester");
    let told = requester.json(&[&["generate", "a kite", "--dry-run"], SMALL].concat());
    assert!(told["kudos_mk"].as_u64().unwrap() > 0, "{told}");
    assert_eq!(told["workers"][0], commons.node("worker").id().to_string());
    assert_eq!(count(requester, "order"), 0);
    assert!(requester.jobs().is_empty(), "no job was made");
}

#[test]
fn a_job_nobody_can_do_says_why_within_two_seconds() {
    let mut commons = Commons::of(&[("requester", ASKS), ("other", ASKS)]);
    let fails = |commons: &Commons, code: i32, args: &[&str], why: &[&str]| {
        let asked = [&["generate", "a kite"], args].concat();
        let output = commons.node("requester").run(&asked);
        output.fails(code, why);
        // Two seconds, and the start of a process on a busy machine.
        assert!(
            output.took < Duration::from_millis(2_500),
            "it says so soon: {output:?}"
        );
    };
    let unknown = [
        "error: no checkpoint is known here",
        "hint: add one: hearth model add PATH",
    ];
    fails(&commons, 1, &[], &unknown);
    fails(
        &commons,
        1,
        &["--model", "nothing"],
        &["nothing", "'hearth model list' shows"],
    );
    let card = commons.share_checkpoint("other");
    let other = commons.node("other").id().short();
    fails(
        &commons,
        1,
        &["--where", "other"],
        &["error: no picture came of it", "takes no jobs"],
    );
    fails(
        &commons,
        1,
        &["--where", "nobody"],
        &["nobody", "'hearth peers list' shows"],
    );
    fails(
        &commons,
        1,
        &["--lora", "unheard"],
        &["unheard", "'hearth model list' shows"],
    );
    fails(&commons, 2, &["--size", "65x64"], &["error:", "65"]);
    // The one node that has the files goes away.
    commons.node_mut("other").stop();
    let gone = |note: &str| format!("cause: {note}");
    let away = gone(&format!("member {other} is not connected"));
    fails(
        &commons,
        1,
        &["--where", "other"],
        &["error: no picture came of it", &away],
    );
    let nobody = gone("no other member is connected, and this node does not have all the cards");
    fails(&commons, 1, &[], &[&nobody, "hint: 'hearth jobs show"]);
    let obstacle = [
        "error: nobody could do it now",
        "cause: no connected member takes jobs",
    ];
    fails(&commons, 1, &["--dry-run", "--model", &card], &obstacle);
}

#[test]
fn price_and_credit_are_refused_with_their_own_words() {
    let commons = Commons::with_line(&[("requester", ASKS), ("worker", WORKS)], "0");
    commons.share_checkpoint("worker");
    let (requester, worker) = (commons.node("requester"), commons.node("worker"));
    let asked = [&["generate", "a kite", "--where", "worker"], SMALL].concat();
    worker.json(&["ledger", "policy", "set", "friends"]);
    // L60: with every figure.
    let figures = "owe 0, hold 0, run 0; my line is 0: ";
    requester
        .run(&asked)
        .fails(4, &["not enough credit: you ask ", figures, " short"]);
    worker.json(&["peers", "trust", "requester", "--line", "100"]);
    let low = [&asked[..], &["--max-kudos", "0.001"]].concat();
    requester
        .run(&low)
        .fails(1, &["the cheapest quote is", "at most 0.001 are allowed"]);
    worker.json(&["worker", "pause"]);
    eventually("the pause is known", SOON, || {
        let output = requester.run(&asked);
        (output.code == 1 && output.stderr.contains("takes no jobs")).then_some(())
    });
    worker.json(&["worker", "resume"]);
    eventually("it takes jobs again", SOON, || {
        (requester.run(&asked).code == 0).then_some(())
    });
    assert!(commons.agree()["worker"] > 0);
}

#[test]
fn without_a_daemon_the_command_is_the_node_until_its_entries_are_told() {
    // C14
    let _turn = heavy();
    let mut commons = Commons::of(&[("worker", WORKS), ("requester", ASKS)]);
    commons.share_checkpoint("worker");
    commons.node_mut("requester").stop();
    let out = commons.dir().join("alone.png");
    let told = small(commons.node("requester"), &out, &[]);
    assert_eq!(told["worker"], commons.node("worker").id().to_string());
    read_png(&out);
    // The process is gone; what it wrote is with the others at once.
    for kind in ["order", "receipt", "ack"] {
        assert_eq!(
            count(commons.node("worker"), kind),
            1,
            "one {kind} was told"
        );
    }
    commons.node_mut("requester").up();
    commons.meet();
    assert_eq!(count(commons.node("requester"), "ack"), 1);
    let mk = i128::from(told["kudos_mk"].as_u64().unwrap());
    assert_eq!(commons.agree()["worker"], mk);
}
