//! A node that was killed is one of its commons again within seconds, heard and told by everybody.

use std::time::{Duration, Instant};

use hearth_protocol::snapshot::PeerView;

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
            known
                .iter()
                .any(|known| known.entry.to_string() == entry)
                .then_some(())
        });
    }
}

/// Everybody writes and hears the others. What a node learned of others is on its disk a moment
/// later, so that it finds them again: here everybody comes back at a new address.
fn gives_for_a_while(all: &[Node]) {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(500) {
        for (from, to) in [(0, 1), (1, 2), (2, 0)] {
            gives(&all[from], &all[to], all);
        }
    }
}

#[test]
fn a_killed_node_is_connected_and_heard_again_within_seconds() {
    let mut commons = Commons::of(&[("ada", ASKS), ("bob", ASKS), ("eve", ASKS)]);
    gives_for_a_while(&commons.nodes);
    for killed in ["eve", "ada", "bob", "eve"] {
        commons.node_mut(killed).restart();
        let all = commons.nodes.len();
        for node in &commons.nodes {
            let what = format!("{} is connected after {killed} was killed", node.name);
            eventually(&what, QUICKLY, || {
                let peers = node.peers();
                let met = |peer: &&PeerView| peer.connected && peer.accepting.is_some();
                (peers.iter().filter(met).count() == all).then_some(())
            });
        }
        gives_for_a_while(&commons.nodes);
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
