//! A node that was killed is one of its commons again within seconds, heard and told by everybody.

use std::time::{Duration, Instant};

use crate::commons::{ASKS, Commons, entries};
use crate::node::Node;
use crate::patience::{SOON, eventually};

/// A dead connection is noticed after half a minute; nobody should have to wait for that.
const QUICKLY: Duration = Duration::from_secs(10);

fn gives(from: &Node, to: &Node, all: &[Node]) {
    let told = from.json(&["ledger", "give", &to.name, "0.001", "--yes"]);
    let entry = told["entry"].as_str().expect("an entry").to_owned();
    for node in all {
        let what = format!("{} hears what {} wrote", node.name, from.name);
        eventually(&what, QUICKLY, || {
            let known = entries(node, Some(from.id()));
            known.iter().any(|known| known.entry.to_string() == entry).then_some(())
        });
    }
}

#[test]
fn a_killed_node_is_connected_and_heard_again_within_seconds() {
    let mut commons = Commons::of(&[("ada", ASKS), ("bob", ASKS), ("eve", ASKS)]);
    // What a node learned is on its disk a moment later.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(500) {
        gives(&commons.nodes[0], &commons.nodes[1], &commons.nodes);
    }
    for killed in ["eve", "ada", "bob", "eve"] {
        commons.node_mut(killed).restart();
        let all = commons.nodes.len();
        for node in &commons.nodes {
            let what = format!("{} is connected after {killed} was killed", node.name);
            eventually(&what, QUICKLY, || {
                let peers = node.peers();
                let met = peers.iter().filter(|peer| peer.connected && peer.accepting.is_some());
                (met.count() == all).then_some(())
            });
        }
        for (from, to) in [(0, 1), (1, 2), (2, 0)] {
            gives(&commons.nodes[from], &commons.nodes[to], &commons.nodes);
        }
    }
    commons.agree();
}

#[test]
fn a_stopped_node_says_goodbye() {
    let mut commons = Commons::of(&[("ada", ASKS), ("bob", ASKS)]);
    commons.node_mut("bob").stop();
    eventually("ada sees that bob left", SOON, || {
        (commons.node("ada").status().connected == 0).then_some(())
    });
}
