//! L-durable and L-fork: killed at any instant, a node loses nothing it acknowledged and never
//! writes two entries at one place.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hearth_protocol::control::{Command, Reply};
use hearth_protocol::snapshot::TrustLevel;
use hearth_protocol::unit::Millikudos;

use crate::commons::{ASKS, Commons, entries};
use crate::node::Node;
use crate::patience::{LATER, SOON, eventually, heavy};

/// Kills in all, by several writers at once.
const KILLS: usize = 208;
const WRITERS: [&str; 2] = ["ada", "bob"];

/// A small generator, so that a run can be repeated.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// What a node said that it wrote.
#[derive(Default)]
struct Acknowledged {
    /// Names of entries.
    entries: Vec<String>,
    /// The last line it said it gives, in millikudos; none while an answer is open.
    line: Option<u64>,
    petname: Option<String>,
}

/// Gives and trusts until told to stop or until the node is gone.
fn write(node: &Node, to: &str, stop: &AtomicBool, said: &mut Acknowledged, chance: &mut Chance) {
    while !stop.load(Ordering::Relaxed) {
        if chance.below(3) > 0 {
            let amount = Millikudos::saturating(1 + chance.below(5));
            let peer = to.to_owned();
            match node.try_ask(&Command::LedgerGive { peer, amount }) {
                Some(Ok(Reply::Wrote { entry, .. })) => said.entries.push(entry.to_string()),
                Some(other) => panic!("a gift is written: {other:?}"),
                None => return,
            }
            continue;
        }
        let line = 1_000 + chance.below(1_000);
        let command = Command::PeersTrust {
            peer: to.to_owned(),
            limit: Some(Millikudos::saturating(line)),
            level: TrustLevel::Known,
        };
        said.line = None;
        match node.try_ask(&command) {
            Some(Ok(Reply::Done { .. })) => said.line = Some(line),
            Some(other) => panic!("a line is written: {other:?}"),
            None => return,
        }
        let name = format!("friend {line}");
        said.petname = None;
        let peer = to.to_owned();
        match node.try_ask(&Command::PeersName {
            peer,
            name: name.clone(),
        }) {
            Some(Ok(Reply::Done { .. })) => said.petname = Some(name),
            Some(other) => panic!("a petname is noted: {other:?}"),
            None => return,
        }
    }
}

/// Checks that everything acknowledged is there and the chain has no hole.
fn check(node: &Node, to: &str, said: &Acknowledged) {
    let own = entries(node, Some(node.id()));
    let kept: BTreeMap<String, u64> = own
        .iter()
        .map(|entry| (entry.entry.to_string(), entry.seq))
        .collect();
    let lost: Vec<_> = said
        .entries
        .iter()
        .filter(|entry| !kept.contains_key(*entry))
        .collect();
    assert!(
        lost.is_empty(),
        "{} lost acknowledged entries: {lost:?}",
        node.name
    );
    let mut seqs: Vec<u64> = own.iter().map(|entry| entry.seq).collect();
    seqs.sort_unstable();
    let whole = 0..u64::try_from(own.len()).expect("a small chain");
    assert!(
        seqs.iter().copied().eq(whole),
        "{}'s chain is whole: {seqs:?}",
        node.name
    );
    let view = node
        .peers()
        .into_iter()
        .find(|peer| peer.node.to_string() == to);
    let view = view.expect("the watcher is a member");
    if let Some(line) = said.line {
        assert_eq!(view.line.get(), line, "the last line acknowledged holds");
    }
    if let Some(petname) = &said.petname {
        assert_eq!(view.name, *petname, "the petname acknowledged is kept");
    }
}

/// Writes and is killed, again and again.
fn suffer(node: &mut Node, to: &str, kills: usize, seed: u64) -> Acknowledged {
    let mut chance = Chance(seed);
    let mut said = Acknowledged::default();
    for _ in 0..kills {
        if chance.below(8) == 0 {
            // Now and then the kill comes while the node is starting.
            node.kill9();
            let lines = node.spawn();
            std::thread::sleep(Duration::from_millis(chance.below(120)));
            drop(lines);
            node.kill9();
            node.up();
        } else {
            let stop = AtomicBool::new(false);
            let after = Duration::from_micros(chance.below(60_000));
            let pid = node.pid();
            std::thread::scope(|scope| {
                let writer = scope.spawn(|| {
                    let mut dice = Chance(seed ^ u64::from(pid).wrapping_mul(0x9e37_79b9) | 1);
                    write(node, to, &stop, &mut said, &mut dice);
                });
                std::thread::sleep(after);
                node.signal_kill();
                stop.store(true, Ordering::Relaxed);
                writer.join().expect("the writer ends with the node");
            });
            node.restart();
        }
        check(node, to, &said);
    }
    said
}

#[test]
fn a_node_killed_at_any_instant_loses_nothing_acknowledged_and_never_forks() {
    let _turn = heavy();
    let begun = Instant::now();
    let seed = seed();
    let mut parts = vec![("watcher", ASKS)];
    parts.extend(WRITERS.map(|name| (name, ASKS)));
    let mut commons = Commons::with_line(&parts, "1000000");
    let to = commons.node("watcher").id().to_string();
    let (watcher, writers) = commons.nodes.split_at_mut(1);
    let said: Vec<Acknowledged> = std::thread::scope(|scope| {
        let each = |(index, node): (usize, _)| {
            let (to, seed) = (
                &to,
                seed.wrapping_add(u64::try_from(index).expect("few")) | 1,
            );
            scope.spawn(move || suffer(node, to, KILLS / WRITERS.len(), seed))
        };
        let threads: Vec<_> = writers.iter_mut().enumerate().map(each).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("the writer held"))
            .collect()
    });
    let written: usize = said.iter().map(|said| said.entries.len()).sum();
    assert!(
        written > KILLS,
        "it did write in between: {written} entries"
    );
    for (node, said) in writers.iter().zip(&said) {
        eventually("the watcher has the whole chain", LATER, || {
            let theirs = entries(node, Some(node.id()));
            let seen = entries(&watcher[0], Some(node.id()));
            // The same entry at every place, or somebody wrote a place twice.
            (seen == theirs || places(&seen) == places(&theirs)).then_some(())
        });
        check(node, &to, said);
    }
    commons.agree();
    report(begun, written, seed);
}

fn places(entries: &[hearth_protocol::snapshot::LedgerView]) -> BTreeMap<u64, String> {
    entries
        .iter()
        .map(|entry| (entry.seq, entry.entry.to_string()))
        .collect()
}

#[expect(
    clippy::print_stderr,
    reason = "a failure is repeated with the seed of its run"
)]
fn seed() -> u64 {
    let given = std::env::var("IT_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or(0x00c0_ffee_5eed);
    eprintln!("IT_SEED={seed}");
    seed
}

#[expect(clippy::print_stderr, reason = "how much was tried is worth knowing")]
fn report(begun: Instant, written: usize, seed: u64) {
    eprintln!(
        "{KILLS} kills, {written} entries, {:?}, IT_SEED={seed}",
        begun.elapsed()
    );
}

#[test]
fn a_join_that_was_acknowledged_survives_a_kill_at_once() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let founder = Node::start(dir.path(), "founder", ASKS);
    founder.json(&["commons", "create", "Story", "--admission", "open"]);
    let ticket = founder.json(&["commons", "invite"]);
    let ticket = ticket["ticket"].as_str().expect("a ticket");
    for name in ["ada", "bob", "eve"] {
        let mut node = Node::start(dir.path(), name, ASKS);
        node.json(&["commons", "join", ticket]);
        node.restart();
        assert_eq!(node.json(&["commons", "show"])["charter"]["name"], "Story");
        eventually("it finds its commons again", SOON, || {
            (node.status().connected > 0).then_some(())
        });
        is_known(&founder, &node);
    }
}

fn is_known(founder: &Node, node: &Node) {
    let members = founder.peers();
    assert!(
        members.iter().any(|peer| peer.node == node.id()),
        "{} is a member",
        node.name
    );
}

/// A home put back from a backup asks members for the rest of its chain before it writes.
#[test]
fn l53_a_backup_put_back_gets_the_rest_of_its_chain_and_makes_no_fork() {
    let _turn = heavy();
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
    let home = commons.node("ada").home().to_owned();
    commons.node_mut("ada").kill9();
    std::fs::remove_dir_all(&home).expect("a home can be removed");
    copy(&backup, &home);
    commons.node_mut("ada").up();
    // At once: the place it would write at by its own disk is taken.
    let give = ["ledger", "give", &watcher, "0.001", "--yes"];
    commons.node("ada").json(&give);
    let ada = commons.node("ada");
    assert_eq!(
        entries(ada, Some(ada.id())).len(),
        3,
        "the lost gift is back"
    );
    eventually("the watcher has all three", SOON, || {
        let watcher = commons.node("watcher");
        (entries(watcher, Some(ada.id())).len() == 3).then_some(())
    });
    for node in &commons.nodes {
        assert!(
            !node.log().contains("chain forked"),
            "{} saw no fork",
            node.name
        );
    }
}

pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder can be made");
    for entry in std::fs::read_dir(from).expect("a folder can be read") {
        let path = entry.expect("a folder can be read").path();
        let target = to.join(path.file_name().expect("entries have names"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("a file can be copied");
        }
    }
}
